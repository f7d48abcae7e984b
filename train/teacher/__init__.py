"""Deep Photo Style Transfer whole, and the targets it makes. Imports `infer`, `datasets` and what all trainings
share, never the student."""
