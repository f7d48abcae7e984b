"""Running one network graph, on whatever device: the table of devices, ONNX Runtime, TensorRT and its engines.
Imports the ground alone."""
