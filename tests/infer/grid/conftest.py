"""The two machines on which the CUDA renderer is tested.

Where CuPy has a device, the real thing runs there (marked gpu). Everywhere, the same render.cu is compiled for the CPU
(see cuda_on_cpu.cpp) and called through the same kernels.py, with as much of CuPy as that uses made of numpy. A CPU
shows neither the speed nor what comes of threads in lockstep.
"""

from typing import Any

import pytest

from hueglass.infer.errors import HueglassError
from hueglass.infer.network.gpu import cupy_with_gpu


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def cupy(request: pytest.FixtureRequest) -> Any:
    """CuPy made of numpy, and CuPy."""
    if request.param == "cpu":
        return request.getfixturevalue("on_cpu")
    try:
        return cupy_with_gpu()
    except HueglassError as error:
        pytest.skip(str(error))
