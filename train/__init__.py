"""The student, its losses, its training and its evaluation."""
