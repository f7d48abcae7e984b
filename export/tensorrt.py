"""TensorRT engines of a bundle, built ahead of their first use; `infer.network.engine_cache` keeps them."""

from collections.abc import Iterator
from pathlib import Path

from hueglass.infer.errors import HueglassError
from hueglass.infer.model.manifest import PORTABLE, Manifest, check_graph, read_manifest, twin
from hueglass.infer.network.engine_cache import load_engine
from hueglass.infer.network.gpu import current_gpu
from hueglass.infer.network.tensorrt_builder import import_tensorrt
from hueglass.infer.network.tensors import Profile

SMALLEST, USUAL, LARGEST = (720, 1280), (1080, 1920), (2160, 3840)
"""Height and width of the frames that the portable graph's engine serves; it is fastest at the usual one."""


def build_engines(folder: Path) -> Iterator[str]:
    """Build, or find in the cache, the engine of every graph of a bundle; gives their names as they are done.

    What TensorRT does not take, 8-bit integers as the CPU likes them, is left out. HueglassError if there is no GPU or
    no TensorRT, before anything is built, or if a graph cannot be built.
    """
    import_tensorrt()
    current_gpu()
    manifest = read_manifest(folder)
    for name in manifest.graphs:
        if not name.endswith(".int8.onnx"):
            check_graph(folder, name, manifest)
            load_engine(folder / name, profile_of(name, manifest))
            yield name


def profile_of(name: str, manifest: Manifest) -> Profile | None:
    """The sizes to build a graph for: of the portable one, whose frames have any; None for the others."""
    if name not in (PORTABLE, twin(PORTABLE, "fp16")):
        return None
    open_inputs = [i for i, shape in manifest.graphs[name].inputs.items() if any(isinstance(n, str) for n in shape)]
    if open_inputs != ["frame"]:
        raise HueglassError(f"{name}: has open sizes in {', '.join(open_inputs) or 'no input'}, expected in frame")
    small, usual, large = ((1, 3, *size) for size in (SMALLEST, USUAL, LARGEST))
    return {"frame": (small, usual, large)}
