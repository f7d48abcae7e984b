"""The compiled renderer. Everything else about the package stands in pyproject.toml.

The extension is optional: where no C++ compiler is found the build warns and goes on, and the runtime
renders through the numpy reference instead, which it says once when it does.
"""

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

setup(
    ext_modules=[
        Pybind11Extension(
            "hueglass.infer.grid.cpu._render",
            ["infer/grid/cpu/render.cpp"],
            cxx_std=17,
            depends=["infer/grid/cpu/simd.h", "infer/grid/cpu/slice_row.inc"],
            extra_compile_args=["-O3"],
            optional=True,
        )
    ]
)
