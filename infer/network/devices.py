"""The devices on which networks run, as a table, and the precisions of a graph. Light: the command line reads it.

A new device is a row here, and, where no runtime of the rows before serves it, a module that runs graphs.
"""

from enum import StrEnum


class Device(StrEnum):
    """Where a network runs."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    ORT_TENSORRT = "ort-tensorrt"
    AUTO = "auto"


class Precision(StrEnum):
    """Of the graphs: single, half (inputs and outputs single), 8-bit integers (of the student, where the bundle has
    it)."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"
