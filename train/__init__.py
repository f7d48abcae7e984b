"""What all trainings share: the loop, checkpoints, samples, grades, losses' parts and measures. Imports `infer`,
`datasets` and no room of its own: `teacher`, `student` and `segmenter` import what lies here, and not each other."""
