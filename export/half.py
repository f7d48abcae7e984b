"""Half-precision twins: the convolutions in 16 bits; inputs, outputs and what is summed over a picture in 32.

Sums over ten thousand pixels do not fit 16 bits, and they are what the closed-form part of the student lives by; the
convolutions are nearly all of the work.
"""

import copy
from collections.abc import Callable

from torch import Tensor

from hueglass.train.segmenter.network import Segmenter
from hueglass.train.student.network import LookEncoder, Student, Trunk

Tensors = Tensor | tuple[Tensor, ...]


def half_student(student: Student) -> Student:
    """A copy of the network whose trunk and conditioned convolutions work in half precision."""
    twin = copy.deepcopy(student)
    _halve_trunk(twin.trunk)
    twin.conditioned.half()
    twin.conditioned.forward = _in_half(twin.conditioned.forward)  # type: ignore[method-assign]
    return twin


def half_encoder(encoder: LookEncoder) -> LookEncoder:
    """A copy of the network whose trunk works in half precision."""
    twin = copy.deepcopy(encoder)
    _halve_trunk(twin.trunk)
    return twin


def half_segmenter(segmenter: Segmenter) -> Segmenter:
    """A copy of the network that works in half precision up to its logits."""
    twin = copy.deepcopy(segmenter).half()
    twin.logits = _in_half(twin.logits)  # type: ignore[method-assign]
    return twin


def _halve_trunk(trunk: Trunk) -> None:
    for name, child in trunk.named_children():
        if name != "prototypes":  # they are used outside
            child.half()
    trunk.look = _in_half(trunk.look)  # type: ignore[method-assign]
    trunk.place = _in_half(trunk.place)  # type: ignore[method-assign]


def _in_half(plain: Callable) -> Callable:
    """A method that works in half precision; what goes in and out, tensors or tuples of them, is in single."""
    return lambda *inputs: _each(plain(*(_each(x, Tensor.half) for x in inputs)), Tensor.float)


def _each(x: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    return change(x) if isinstance(x, Tensor) else tuple(change(part) for part in x)
