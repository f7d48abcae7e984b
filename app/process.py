"""What a command needs of the process that it runs in."""

import ctypes
from contextlib import suppress

from hueglass.infer.errors import UsageError

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Of glibc's malloc.h."""
_NEVER = 2**31 - 1


def use_one_heap() -> None:
    """Keeps memory flat over hours of video.

    glibc has a heap per thread. Pictures that one thread makes and another lets go leave holes in them, and the process
    grew by 3 MB a second. Elsewhere, or where threads have heaps already, this does nothing: call it first.
    """
    _tell_malloc(_M_ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """Halves the time of a training step on a CPU; the process keeps the memory that it once needed.

    A step makes and frees some gigabytes of tensors. glibc gives large ones back to the kernel at once, and fetching
    the same pages again, cleared, took as long as the arithmetic. Elsewhere this does nothing.
    """
    _tell_malloc(_M_MMAP_MAX, 0)
    _tell_malloc(_M_TRIM_THRESHOLD, _NEVER)


def _tell_malloc(parameter: int, value: int) -> None:
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(parameter, value)


def need_torch() -> None:
    """UsageError, with what installs it, where torch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UsageError('this command needs torch: pip install "hueglass[train]"') from None
