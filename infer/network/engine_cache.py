"""TensorRT engines: built from a graph file for the GPU at hand, kept on disk, and loaded only where they fit.

An engine serves one version of TensorRT on one kind of GPU, and building it takes up to minutes. So it is kept in the
cache folder under a name made from all that it depends on, beside a JSON file that says the same in full and the
checksum of the engine. An engine that does not agree with its JSON is built anew and never loaded.
The engines of ONNX Runtime's own TensorRT provider are kept alike, in a folder each.

TensorRT 10 and 11 are used alike: the networks are strongly typed, which is to say that the graph file alone decides
what is computed in half precision. TensorRT and CuPy are optional, and imported when they are first needed.
"""

import functools
import hashlib
import importlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import existing_file, whole_file

Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]
"""By input name the smallest shape, the one to be fastest at, and the largest; for every input with open sizes."""
Precision = Literal["as-written", "tf32"]
"""What is done to float32: "as-written" keeps all of it, "tf32" lets products round their factors to 10 bits. Half
precision is a matter of the graph file."""
VERSIONS = (10, 11)
"""Of TensorRT."""
OUT_OF_MEMORY = re.compile(r"out ?of ?memory|failed to allocate|cannot allocate|std::bad_alloc", re.IGNORECASE)
"""How TensorRT, CUDA, CuPy and ONNX Runtime say so."""
MEMORY_REMEDY = "close what else uses the GPU, or take --device cpu"
_FORMAT = 1
"""Of the JSON beside an engine."""
_RECORD = "record.json"
"""In the folder of a provider's engine."""


@dataclass(frozen=True)
class Gpu:
    """The GPU in use: `name` as the driver gives it, `capability` as "9.0"."""

    name: str
    capability: str


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


def import_cupy() -> ModuleType:
    """CuPy, which holds the memory on the GPU. HueglassError if it is missing or cannot be loaded."""
    try:
        return importlib.import_module("cupy")
    except (ImportError, OSError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        problem = "is not installed" if missing else f"cannot be loaded: {one_line(error)}"
        raise HueglassError(f'CuPy {problem}: pip install "hueglass[gpu]"') from None


def current_gpu() -> Gpu:
    """The GPU that this thread uses. HueglassError if there is none, or no driver for it."""
    cuda = import_cupy().cuda
    try:
        number = cuda.runtime.getDevice()
        name = cuda.runtime.getDeviceProperties(number)["name"]
        capability = cuda.Device(number).compute_capability
    except Exception as error:  # CuPy raises a class of its own, known once it is loaded
        raise HueglassError(f"no GPU can be used here: {one_line(error)}, expected one with a working driver") from None
    return Gpu(name.decode() if isinstance(name, bytes) else name, f"{capability[:-1]}.{capability[-1]}")


def unavailable() -> str | None:
    """Why no engine can be built or run here, in one line; None if it can."""
    try:
        import_tensorrt()
        current_gpu()
    except HueglassError as error:
        return str(error)
    return None


def cache_folder() -> Path:
    """Where engines are kept: $HUEGLASS_CACHE, or the place that the platform has for such things."""
    if chosen := os.environ.get("HUEGLASS_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "hueglass" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/hueglass"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hueglass"


def build_engine(
    path: Path,
    profile: Profile | None = None,
    precision: Precision = "as-written",
    workspace: int | None = None,
    timing_cache: Path | None = None,
) -> bytes:
    """The engine of the graph file `path`, for this TensorRT and this GPU. It gives the first of the graph's outputs.

    `workspace` limits the bytes of scratch memory on the GPU. `timing_cache` is a file that remembers which ways of
    computing a layer were fastest: it is read if it is there, and renewed. UsageError for a missing file or a profile
    that does not fit the graph's inputs; HueglassError, one line that names the file, if the graph cannot be built.
    """
    return _built(path, _read(path), profile or {}, precision, workspace, timing_cache)


def load_engine(
    path: Path, profile: Profile | None = None, precision: Precision = "as-written", workspace: int | None = None
) -> Any:
    """The engine (`tensorrt.ICudaEngine`) of a graph file: the one kept in the cache folder, or a new one, then kept.

    A warning says when one is built, and why one that was there is not used. Errors as `build_engine`; a cache that
    cannot be written to is a warning.

    Processes may build the same engine at once. Each uses its own, and each file is renamed into place when it is
    whole; where the engine of one comes to lie beside the JSON of another, the next to load them sees it and builds.
    """
    data = _read(path)
    trt, gpu = import_tensorrt(), current_gpu()
    made_from = _made_from(trt, gpu, data, profile or {}, precision)
    place = engine_path(path, made_from)
    engine = _kept(trt, place, made_from)
    if engine is not None:
        return engine
    warnings.warn(f"{path}: building a TensorRT engine for {gpu.name}, which is done once", stacklevel=2)
    built = _built(path, data, profile or {}, precision, workspace, _timing_cache_path(trt, gpu))
    engine = _deserialised(trt, built)
    if engine is None:
        raise HueglassError(f"{path}: TensorRT built an engine that it cannot load{_because(trt)}")
    _keep(place, built, made_from)
    return engine


@contextmanager
def provider_cache(path: Path, runtime: str) -> Iterator[Path | None]:
    """A folder in which ONNX Runtime's own TensorRT provider, of version `runtime`, keeps its engine of a graph file.

    What the provider calls an engine says nothing of the network's weights, so here each graph has a folder of its own.
    It is used again only as it was left: one in which anything has changed is removed, with a warning. A new one lies
    elsewhere until the engine is built and comes into its place whole; None, with a warning, where none can be written.
    """
    made_from = {**_made_from(import_tensorrt(), current_gpu(), _read(path), {}, "tf32"), "onnxruntime": runtime}
    place = engine_path(path, made_from).with_suffix("")
    if _as_it_was_left(place, made_from):
        yield place
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        growing = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    except OSError as error:
        warnings.warn(f"{place}: cannot be written: {error.strerror or error}", stacklevel=3)
        yield None
        return
    try:
        yield growing
        record = {**made_from, "files": _checksums(growing)}
        if _save(growing / _RECORD, json.dumps(record, indent=2).encode() + b"\n"):
            with suppress(OSError):  # of two processes that build the same the first has it
                growing.rename(place)
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _as_it_was_left(place: Path, made_from: dict[str, Any]) -> bool:
    """Whether a provider's folder is there and can be used. If it is there and cannot, it is removed."""
    if not place.exists():
        return False
    try:
        record = json.loads((place / _RECORD).read_bytes())
        if record == {**made_from, "files": _checksums(place)}:
            return True
        why = "something in it has changed"
    except (OSError, ValueError, RecursionError) as error:
        why = f"it or its record cannot be read: {one_line(error)}"
    _stale(place, why)
    shutil.rmtree(place, ignore_errors=True)
    return False


def _checksums(folder: Path) -> dict[str, str]:
    """Of all files in a provider's folder but the record."""
    files = sorted(path for path in folder.iterdir() if path.name != _RECORD)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def engine_path(path: Path, made_from: Mapping[str, Any]) -> Path:
    """Where the engine of a graph file is kept that was made from all this."""
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    stem = re.sub(r"[^\w.-]+", "_", path.stem, flags=re.ASCII)[:40]
    return cache_folder() / "engines" / f"{stem}-{key[:32]}.engine"


def said(trt: ModuleType) -> str:
    """The first error that TensorRT reported since this was last asked, in one line; "" if there was none."""
    errors = _log(trt).errors
    first = errors[0] if errors else ""
    errors.clear()
    return first


def one_line(error: object) -> str:
    """What an exception or TensorRT says, without line feeds, and not endlessly."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _major(trt: ModuleType) -> int:
    found = re.match(r"\d+", trt.__version__)
    return int(found[0]) if found else 0


@functools.cache
def _log(trt: ModuleType) -> Any:
    """What TensorRT logs into. There is one for a process: TensorRT keeps the first that it is given, for good."""

    class Log(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            # The first error names the cause. They come in bursts, and nothing reads them while all is well.
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) and len(self.errors) < 100:
                self.errors.append(one_line(message))

    return Log()


def _because(trt: ModuleType) -> str:
    """ ": " and what TensorRT said, with the remedy if memory ran out."""
    reason = said(trt)
    if OUT_OF_MEMORY.search(reason):
        reason += f"; {MEMORY_REMEDY}"
    return f": {reason}" if reason else ""


def _read(path: Path) -> bytes:
    try:
        return existing_file(path).read_bytes()
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror or error}") from None


def _made_from(trt: ModuleType, gpu: Gpu, graph: bytes, profile: Profile, precision: str) -> dict[str, Any]:
    """All that an engine depends on."""
    return {
        "format": _FORMAT,
        "onnx_sha256": hashlib.sha256(graph).hexdigest(),
        "tensorrt": trt.__version__,
        "gpu": gpu.name,
        "compute_capability": gpu.capability,
        "platform": f"{sys.platform} {platform.machine()}",
        "precision": precision,
        "profile": {name: [list(shape) for shape in profile[name]] for name in sorted(profile)},
    }


def _timing_cache_path(trt: ModuleType, gpu: Gpu) -> Path:
    """One for each version of TensorRT and kind of GPU, for all graphs."""
    key = hashlib.sha256(f"{trt.__version__} {gpu.name} {gpu.capability}".encode()).hexdigest()
    return cache_folder() / "engines" / f"timing-{key[:32]}.cache"


def _kept(trt: ModuleType, place: Path, made_from: dict[str, Any]) -> Any:
    """The engine in the cache, or None, with a warning if there is one that must not be used."""
    if not place.is_file():
        return None
    try:
        record, data = json.loads(_record_path(place).read_bytes()), place.read_bytes()
    except (OSError, ValueError, RecursionError) as error:
        return _stale(place, f"it or its record cannot be read: {one_line(error)}")
    if not isinstance(record, dict) or {k: v for k, v in record.items() if k != "engine_sha256"} != made_from:
        return _stale(place, "its record is of another engine")
    if record.get("engine_sha256") != hashlib.sha256(data).hexdigest():
        return _stale(place, "its checksum is wrong")
    engine = _deserialised(trt, data)
    return engine if engine is not None else _stale(place, f"TensorRT cannot load it{_because(trt)}")


def _stale(place: Path, why: str) -> None:
    warnings.warn(f"{place}: not used: {why}", stacklevel=4)


def _keep(place: Path, data: bytes, made_from: dict[str, Any]) -> None:
    record = {**made_from, "engine_sha256": hashlib.sha256(data).hexdigest()}
    if _save(place, data):
        _save(_record_path(place), json.dumps(record, indent=2).encode() + b"\n")


def _record_path(place: Path) -> Path:
    return place.with_suffix(".json")


def _save(place: Path, data: bytes) -> bool:
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


def _deserialised(trt: ModuleType, data: bytes) -> Any:
    said(trt)  # what is reported from here on is about this engine
    return _created(trt, trt.Runtime).deserialize_cuda_engine(data)


def _created(trt: ModuleType, kind: Any) -> Any:
    """A Builder or a Runtime: both need a GPU, and are refused without saying why."""
    try:
        return kind(_log(trt))
    except Exception:
        raise HueglassError(f"TensorRT {trt.__version__} cannot be used here{_because(trt)}") from None


def _built(
    path: Path, graph: bytes, profile: Profile, precision: str, workspace: int | None, timing_cache: Path | None
) -> bytes:
    if precision not in get_args(Precision):
        raise UsageError(f"precision {precision!r}, expected one of {', '.join(get_args(Precision))}")
    trt = import_tensorrt()
    said(trt)
    builder = _created(trt, trt.Builder)
    # From 11 on all networks are strongly typed, and the flag is on its way out.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if _major(trt) < 11 else 0
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, _log(trt))  # holds the weights until the engine is built
    _parse(trt, path, parser, graph)
    while network.num_outputs > 1:
        network.unmark_output(network.get_output(network.num_outputs - 1))
    config = builder.create_builder_config()
    if precision != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    _set_profile(trt, path, builder, network, config, profile)
    timings = None if timing_cache is None else _timings(config, timing_cache)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise HueglassError(f"{path}: TensorRT cannot build it{_because(trt)}")
    if timing_cache is not None and timings is not None:
        _save(timing_cache, bytes(timings.serialize()))
    return bytes(engine)


def _parse(trt: ModuleType, path: Path, parser: Any, graph: bytes) -> None:
    """Fills the parser's network. Weights in a file beside the graph are not looked for: no key would know of them."""
    if parser.parse(graph):
        return
    if not parser.num_errors:
        raise HueglassError(f"{path}: TensorRT cannot read it{_because(trt)}")
    error = parser.get_error(0)
    node = ""
    if error.node() >= 0:
        node = f"node {error.node_name() or error.node()} ({error.node_operator()}): "
    raise HueglassError(f"{path}: {node}TensorRT cannot read it: {one_line(error.desc())}")


def _set_profile(trt: ModuleType, path: Path, builder: Any, network: Any, config: Any, profile: Profile) -> None:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    open_inputs = {x.name: tuple(x.shape) for x in inputs if -1 in tuple(x.shape)}
    for name, shape in open_inputs.items():
        if name not in profile:
            raise UsageError(f"{path}: input {name!r} is {shown(shape)}, expected a profile that says which sizes")
    for name, shapes in profile.items():
        if name not in open_inputs:
            raise UsageError(f"{path}: no input {name!r} with open sizes, expected profiles for those alone")
        if not _fits(open_inputs[name], shapes):
            found = " to ".join(map(shown, shapes))
            raise UsageError(f"{path}: profile {found}, expected rising sizes that fit {shown(open_inputs[name])}")
    if not open_inputs:
        return
    sizes = builder.create_optimization_profile()
    for name, shapes in profile.items():
        sizes.set_shape(name, *map(tuple, shapes))
    if config.add_optimization_profile(sizes) < 0:
        raise HueglassError(f"{path}: TensorRT refuses the profile{_because(trt)}")


def _fits(shape: Shape, profile: tuple[Shape, Shape, Shape]) -> bool:
    """Whether the three shapes rise, and keep the sizes that are not open."""
    if len(profile) != 3 or any(len(x) != len(shape) for x in profile):
        return False
    return all(1 <= a <= b <= c and n in (-1, a) and n in (-1, c) for n, a, b, c in zip(shape, *profile, strict=True))


def shown(shape: Shape) -> str:
    """A shape in words: (1, 3, ?, ?)."""
    return f"({', '.join('?' if n < 0 else str(n) for n in shape)})"


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
