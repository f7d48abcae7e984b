"""The network that names what a thumbnail shows, and its training. Imports `infer`, `datasets` and what all trainings
share."""
