"""The student trained for a tenth of the time, each time with one thing left out or changed."""
