"""The network that looks at a thumbnail and predicts a grid: its losses, samples and training. Imports `infer`,
`datasets` and what all trainings share."""
