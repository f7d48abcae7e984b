"""Tensors as a graph takes and gives them: shapes, types, and whether what is given fits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hueglass.infer.errors import HueglassError

TensorShape = tuple[int, ...]
"""-1 for a size left open."""
Profile = Mapping[str, tuple[TensorShape, TensorShape, TensorShape]]
"""By input name the smallest shape, the one to be fastest at, and the largest; for every input with open sizes."""
KINDS: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(bool)": np.dtype(np.bool_),
}
"""What ONNX Runtime calls the tensors that numpy has too."""


@dataclass(frozen=True)
class GraphInput:
    """What a graph file says of an input: `kind` as "tensor(float)", `shape` with None for sizes left open."""

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def takes(self, array: Any) -> bool:
        """Whether an array of numpy or CuPy has its type and shape."""
        fits = len(array.shape) == len(self.shape) and all(
            n in (None, m) for n, m in zip(self.shape, array.shape, strict=True)
        )
        return fits and array.dtype == KINDS[self.kind]


def check_inputs(path: Path, expected: list[GraphInput], given: Mapping[str, Any]) -> None:
    """HueglassError, in one line, unless all inputs are there and are of the right type and shape."""
    if {x.name for x in expected} != set(given):
        names = ", ".join(sorted(given)) or "nothing"
        raise HueglassError(f"{path}: cannot be run: given {names}, expected {', '.join(x.name for x in expected)}")
    for x in expected:
        if not x.takes(given[x.name]):
            found = f"input {x.name!r} is {given[x.name].dtype} {shown(given[x.name].shape)}"
            wanted = shown(tuple(-1 if n is None else n for n in x.shape))
            raise HueglassError(f"{path}: cannot be run: {found}, expected {KINDS[x.kind]} {wanted}")


def fits_profile(shape: TensorShape, profile: tuple[TensorShape, TensorShape, TensorShape]) -> bool:
    """Whether the three shapes rise, and keep the sizes that are not open."""
    if len(profile) != 3 or any(len(x) != len(shape) for x in profile):
        return False
    return all(1 <= a <= b <= c and n in (-1, a) and n in (-1, c) for n, a, b, c in zip(shape, *profile, strict=True))


def shown(shape: TensorShape) -> str:
    """A shape in words: (1, 3, ?, ?)."""
    return f"({', '.join('?' if n < 0 else str(n) for n in shape)})"
