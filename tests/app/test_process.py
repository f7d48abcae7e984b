"""What commands ask of malloc, each in a process of its own: it cannot be taken back."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from hueglass.process import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(1 << 26, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(sum(faults() for _ in range(4)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is told")
def test_freed_memory_is_not_fetched_from_the_kernel_again() -> None:
    counts = {}
    for how in ("kept", "as it is"):
        done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
        counts[how] = int(done.stdout)
    assert counts["kept"] < 100
    assert counts["as it is"] > 10 * max(counts["kept"], 1)
