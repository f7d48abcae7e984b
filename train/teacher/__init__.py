"""Deep Photo Style Transfer whole, and the targets it makes. Imports `infer`, `datasets` and `train`, never the
student."""
