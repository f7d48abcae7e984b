"""TensorRT engines, built from a graph file for the GPU at hand.

TensorRT 10 and 11 are used alike: the networks are strongly typed, which is to say that the graph file alone decides
what is computed in half precision. TensorRT is optional, and imported when it is first needed.
"""

import functools
import importlib
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from hueglass.infer.errors import HueglassError, UsageError, one_line
from hueglass.infer.files import whole_file

from .gpu import MEMORY_REMEDY, OUT_OF_MEMORY
from .tensors import Profile, fits_profile, shown

EnginePrecision = Literal["as-written", "tf32"]
"""What is done to float32: "as-written" keeps all of it, "tf32" lets products round their factors to 10 bits. Half
precision is a matter of the graph file."""
VERSIONS = (10, 11)
"""Of TensorRT."""


def import_tensorrt() -> ModuleType:
    """The package. HueglassError if it is missing, cannot be loaded, or is of a version that is not served."""
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "tensorrt"
        problem = "is not installed" if missing else f"cannot be loaded: {one_line(error)}"
        raise HueglassError(f'TensorRT {problem}: pip install "hueglass[tensorrt]"') from None
    except OSError as error:  # the libraries that the package loads
        raise HueglassError(f'TensorRT cannot be loaded: {one_line(error)}: pip install "hueglass[tensorrt]"') from None
    if _major(trt) not in VERSIONS:
        expected = " or ".join(map(str, VERSIONS))
        raise HueglassError(f'TensorRT {trt.__version__}, expected {expected}: pip install "hueglass[tensorrt]"')
    return trt


def build_engine(
    path: Path,
    graph: bytes,
    profile: Profile | None = None,
    precision: EnginePrecision = "as-written",
    workspace: int | None = None,
    timing_cache: Path | None = None,
    outputs: int | None = None,
) -> bytes:
    """The engine of `graph`, the content of the file `path`, for this TensorRT and this GPU.

    It gives the first `outputs` of the graph's outputs, None for all, by their `output_name`; what only the others need
    is not computed. `workspace` limits the bytes of scratch memory on the GPU. `timing_cache` is a file that remembers
    which ways of computing a layer were fastest: it is read if it is there, and renewed. UsageError for a profile that
    does not fit the graph's inputs; HueglassError, one line that names the file, if the graph cannot be built.
    """
    if precision not in get_args(EnginePrecision):
        raise UsageError(f"precision {precision!r}, expected one of {', '.join(get_args(EnginePrecision))}")
    trt = import_tensorrt()
    take_error(trt)
    builder = _created(trt, trt.Builder)
    network, parser = _parsed(trt, path, builder, graph, outputs)
    config = builder.create_builder_config()
    if precision != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    sizes = _checked_profile(path, network, profile or {})
    if sizes and config.add_optimization_profile(_optimization_profile(builder, sizes)) < 0:
        raise HueglassError(f"{path}: TensorRT refuses the profile{because(trt)}")
    timings = None if timing_cache is None else _timings(config, timing_cache)
    engine = builder.build_serialized_network(network, config)
    del parser  # which holds the weights until here
    if engine is None:
        raise HueglassError(f"{path}: TensorRT cannot build it{because(trt)}")
    if timing_cache is not None and timings is not None:
        write_if_possible(timing_cache, bytes(timings.serialize()))
    return bytes(engine)


def output_name(index: int) -> str:
    """What an engine calls the output at this place in the graph file. It lists its tensors in an order of its own."""
    return f"output {index}"


def deserialised(trt: ModuleType, data: bytes) -> Any:
    """The engine (`tensorrt.ICudaEngine`) of what `build_engine` gave; None if TensorRT cannot load it."""
    take_error(trt)  # what is reported from here on is about this engine
    return _created(trt, trt.Runtime).deserialize_cuda_engine(data)


def write_if_possible(place: Path, data: bytes) -> bool:
    """Whether it could be written. If not, the work is done once more the next time: a reason to warn, not to fail."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as temporary:
            temporary.write_bytes(data)
        return True
    except OSError as error:
        warnings.warn(f"{place}: cannot be written: {error.strerror or error}", stacklevel=2)
    except HueglassError as error:
        warnings.warn(str(error), stacklevel=2)
    return False


def take_error(trt: ModuleType) -> str:
    """The first error that TensorRT reported since this was last asked, in one line; "" if there was none."""
    errors = _log(trt).errors
    first = errors[0] if errors else ""
    errors.clear()
    return first


def _major(trt: ModuleType) -> int:
    found = re.match(r"\d+", trt.__version__)
    return int(found[0]) if found else 0


@functools.cache
def _log(trt: ModuleType) -> Any:
    """What TensorRT logs into. There is one for a process: TensorRT keeps the first that it is given, for good."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # The first error names the cause. They come in bursts, and nothing reads them while all is well.
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) and len(self.errors) < 100:
                self.errors.append(one_line(message))

    return Log()


def because(trt: ModuleType) -> str:
    """ ": " and what TensorRT said, with the remedy if memory ran out."""
    reason = take_error(trt)
    if OUT_OF_MEMORY.search(reason):
        reason += f"; {MEMORY_REMEDY}"
    return f": {reason}" if reason else ""


def _created(trt: ModuleType, kind: Any) -> Any:
    """A Builder or a Runtime: both need a GPU, and are refused without saying why."""
    try:
        return kind(_log(trt))
    except Exception:
        raise HueglassError(f"TensorRT {trt.__version__} cannot be used here{because(trt)}") from None


def _parsed(trt: ModuleType, path: Path, builder: Any, graph: bytes, outputs: int | None) -> tuple[Any, Any]:
    """The network, and the parser that filled it. Weights in a file beside the graph are not looked for: no key would
    know of them."""
    # From 11 on all networks are strongly typed, and the flag is on its way out.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if _major(trt) < 11 else 0
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, _log(trt))
    if not parser.parse(graph):
        raise HueglassError(f"{path}: {_parse_error(trt, parser)}")
    while outputs is not None and network.num_outputs > outputs:
        network.unmark_output(network.get_output(network.num_outputs - 1))
    for i in range(network.num_outputs):
        network.get_output(i).name = output_name(i)
    return network, parser


def _parse_error(trt: ModuleType, parser: Any) -> str:
    if not parser.num_errors:
        return f"TensorRT cannot read it{because(trt)}"
    error = parser.get_error(0)
    node = ""
    if error.node() >= 0:
        node = f"node {error.node_name() or error.node()} ({error.node_operator()}): "
    return f"{node}TensorRT cannot read it: {one_line(error.desc())}"


def _checked_profile(path: Path, network: Any, profile: Profile) -> Profile:
    """The profile. UsageError unless it is for the inputs with open sizes, and fits them."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    open_inputs = {x.name: tuple(x.shape) for x in inputs if -1 in tuple(x.shape)}
    for name, shape in open_inputs.items():
        if name not in profile:
            raise UsageError(f"{path}: input {name!r} is {shown(shape)}, expected a profile that says which sizes")
    for name, shapes in profile.items():
        if name not in open_inputs:
            raise UsageError(f"{path}: no input {name!r} with open sizes, expected profiles for those alone")
        if not fits_profile(open_inputs[name], shapes):
            found = " to ".join(map(shown, shapes))
            raise UsageError(f"{path}: profile {found}, expected rising sizes that fit {shown(open_inputs[name])}")
    return profile


def _optimization_profile(builder: Any, profile: Profile) -> Any:
    """The profile as TensorRT has it."""
    sizes = builder.create_optimization_profile()
    for name, shapes in profile.items():
        sizes.set_shape(name, *map(tuple, shapes))
    return sizes


def _timings(config: Any, path: Path) -> Any:
    """The timing cache of a file. One of another GPU or another TensorRT is of no use: a new one takes its place."""
    try:
        kept = path.read_bytes() if path.is_file() else b""
    except OSError:
        kept = b""
    cache = config.create_timing_cache(kept)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache
