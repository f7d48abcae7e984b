"""The devices on which networks run, as a table, and the precisions of a graph. Light: the command line reads it.

A new device is a row of `Device`, and, where no runtime of the rows before serves it, a module of this room with

    missing(device) -> str | None                                why the device cannot be used here, in one line
    open_on(device, path, threads, profile, outputs) -> Graph    a graph file on it, or a HueglassError
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Self

from hueglass.infer.errors import UsageError


class Precision(StrEnum):
    """Of the graphs: single, half (inputs and outputs single), 8-bit integers (of the student, where the bundle has
    it)."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


FLOATS = (Precision.FP32, Precision.FP16)


@dataclass(frozen=True)
class Row:
    """What is known of a device."""

    title: str
    extra: str
    """Which of our extras installs it."""
    system: str = ""
    """The only one that it is for."""
    runner: Literal["onnx", "tensorrt"] = "onnx"
    """The module of this room that runs its graphs, and knows whether it is here."""
    provider: str = ""
    """What ONNX Runtime calls it: it is here if that lists it."""
    precisions: tuple[Precision, ...] = FLOATS
    renders_on: Literal["host", "cuda"] = "host"
    """Where the frames of its networks are rendered, if that works there."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What its provider is told."""
    recording: str = ""
    """What its provider calls the option to record a CUDA graph."""
    threads: str = ""
    """What its provider calls the number of threads, where it does not keep to ONNX Runtime's."""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f'pip install "hueglass[{self.extra}]"' + (f" on {self.system}" if self.system else "")


_ANY = Row("the best that works here", "cpu", precisions=tuple(Precision))


class Device(StrEnum):
    """Where a network runs: the table. A member is its name, with the rest of its row as `row`."""

    row: Row

    def __new__(cls, name: str, row: Row = _ANY) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.row = row
        return member

    CPU = "cpu", Row("the CPU", "cpu", provider="CPUExecutionProvider", precisions=tuple(Precision))
    CUDA = (
        "cuda",
        Row(
            "CUDA",
            "gpu",
            provider="CUDAExecutionProvider",
            renders_on="cuda",
            settings={"use_tf32": "0"},  # sums are float32 there as well
            recording="enable_cuda_graph",
        ),
    )
    TENSORRT = "tensorrt", Row("TensorRT", "tensorrt", runner="tensorrt", renders_on="cuda")
    ORT_TENSORRT = (
        "ort-tensorrt",
        Row(
            "ONNX Runtime's TensorRT",
            "tensorrt",
            provider="TensorrtExecutionProvider",
            # It mixes types as it likes where it may use halves at all, and refuses graphs with halves where it may
            # not: TENSORRT keeps to what the graph says.
            precisions=(Precision.FP32,),
            renders_on="cuda",
            recording="trt_cuda_graph_enable",
        ),
    )
    OPENVINO = (
        "openvino",
        Row(
            "OpenVINO",
            "openvino",
            provider="OpenVINOExecutionProvider",
            # Left to choose, it takes bfloat16 where the processor has it.
            settings={"device_type": "CPU", "precision": "ACCURACY"},
            threads="num_of_threads",
        ),
    )
    COREML = "coreml", Row("CoreML", "cpu", "macOS", provider="CoreMLExecutionProvider")
    DIRECTML = "directml", Row("DirectML", "directml", "Windows", provider="DmlExecutionProvider")
    AUTO = "auto"


BEST_FIRST = (Device.TENSORRT, Device.CUDA)
"""What AUTO tries before it takes the CPU. The others have to be asked for: where each is faster than the CPU is not
known."""


def known_device(name: str) -> Device:
    """The row of that name. UsageError if there is none."""
    try:
        return Device(name)
    except ValueError:
        raise UsageError(f"device {str(name)!r}, expected one of {', '.join(Device)}") from None


def check_precision(name: str, device: str) -> Precision:
    """The precision of that name, for the device of that name. UsageError for one that the device does not serve."""
    row = known_device(device).row
    if name not in tuple(Precision):
        raise UsageError(f"precision {str(name)!r}, expected one of {', '.join(Precision)}")
    if name not in row.precisions:
        serving = [other for other in Device if name in other.row.precisions and other is not Device.AUTO]
        raise UsageError(
            f"precision {name} on device {str(device)!r}, expected {' or '.join(row.precisions)} there, "
            f"or device {' or '.join(serving)}"
        )
    return Precision(name)
