"""What a command needs of the process that it runs in."""

import ctypes
from contextlib import suppress

from hueglass.infer.errors import UsageError

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def use_one_heap() -> None:
    """Keeps memory flat over hours of video.

    glibc has a heap per thread. Pictures that one thread makes and another lets go leave holes in them, and the process
    grew by 3 MB a second. Elsewhere, or where threads have heaps already, this does nothing: call it first.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def need_torch() -> None:
    """UsageError, with what installs it, where torch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError('this command needs torch: pip install "hueglass[train]"') from None
