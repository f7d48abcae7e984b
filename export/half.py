"""Half-precision twins: the convolutions in 16 bits; inputs, outputs and what is summed over a picture in 32.

Sums over ten thousand pixels do not fit 16 bits, and they are what the closed-form part of the student lives by; the
convolutions are nearly all of the work.
"""

import copy
from collections.abc import Callable

from torch import Tensor

from hueglass.train.segmenter.network import Segmenter
from hueglass.train.student.network import LookEncoder, Student, Trunk


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
    trunk.forward = _in_half(trunk.forward)  # type: ignore[method-assign]


def _in_half(plain: Callable) -> Callable:
    def run(x: Tensor) -> Tensor | tuple[Tensor, ...]:
        out = plain(x.half())
        return out.float() if isinstance(out, Tensor) else tuple(y.float() for y in out)

    return run
