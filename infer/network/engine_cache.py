"""TensorRT engines: built from a graph file for the GPU at hand, kept on disk, and loaded only where they fit.

An engine serves one version of TensorRT on one kind of GPU, and building it takes up to minutes. So it is kept in the
cache folder under a name made from all that it depends on, beside a JSON file that says the same in full and the
checksum of the engine. An engine that does not agree with its JSON is built anew and never loaded.
The engines of ONNX Runtime's own TensorRT provider are kept alike, in a folder each.
"""

import hashlib
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
from pathlib import Path
from types import ModuleType
from typing import Any

from hueglass.infer.errors import HueglassError, one_line
from hueglass.infer.files import existing_file

from .gpu import Gpu, current_gpu
from .tensorrt_builder import EnginePrecision, because, build_engine, deserialised, import_tensorrt, write_if_possible
from .tensors import Profile

_FORMAT = 1
"""Of the JSON beside an engine."""
_RECORD = "record.json"
"""In the folder of a provider's engine."""


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


def load_engine(
    path: Path,
    profile: Profile | None = None,
    precision: EnginePrecision = "as-written",
    workspace: int | None = None,
    outputs: int | None = None,
) -> Any:
    """The engine (`tensorrt.ICudaEngine`) of a graph file: the one kept in the cache folder, or a new one, then kept.

    A warning says when one is built, and why one that was there is not used. Errors as `build_engine`; a cache that
    cannot be written to is a warning.

    Processes may build the same engine at once. Each uses its own, and each file is renamed into place when it is
    whole; where the engine of one comes to lie beside the JSON of another, the next to load them sees it and builds.
    """
    data = read_graph(path)
    trt, gpu = import_tensorrt(), current_gpu()
    made_from = {**_made_from(trt, gpu, data, profile or {}, precision), "outputs": outputs}
    place = engine_path(path, made_from)
    engine = _kept(trt, place, made_from)
    if engine is not None:
        return engine
    warnings.warn(f"{path}: building a TensorRT engine for {gpu.name}, which is done once", stacklevel=2)
    built = build_engine(path, data, profile, precision, workspace, _timing_cache_path(trt, gpu), outputs)
    engine = deserialised(trt, built)
    if engine is None:
        raise HueglassError(f"{path}: TensorRT built an engine that it cannot load{because(trt)}")
    _keep(place, built, made_from)
    return engine


@contextmanager
def provider_cache(path: Path, runtime: str) -> Iterator[Path | None]:
    """A folder in which ONNX Runtime's own TensorRT provider, of version `runtime`, keeps its engine of a graph file.

    What the provider calls an engine says nothing of the network's weights, so here each graph has a folder of its own.
    It is used again only as it was left: one in which anything has changed is removed, with a warning. A new one lies
    elsewhere until the engine is built and comes into its place whole; None, with a warning, where none can be written.
    """
    made_from = {**_made_from(import_tensorrt(), current_gpu(), read_graph(path), {}, "tf32"), "onnxruntime": runtime}
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
        if write_if_possible(growing / _RECORD, json.dumps(record, indent=2).encode() + b"\n"):
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


def read_graph(path: Path) -> bytes:
    """The content of a graph file. UsageError if it is missing, HueglassError if it cannot be read."""
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
    engine = deserialised(trt, data)
    return engine if engine is not None else _stale(place, f"TensorRT cannot load it{because(trt)}")


def _stale(place: Path, why: str) -> None:
    warnings.warn(f"{place}: not used: {why}", stacklevel=4)


def _keep(place: Path, data: bytes, made_from: dict[str, Any]) -> None:
    record = {**made_from, "engine_sha256": hashlib.sha256(data).hexdigest()}
    if write_if_possible(place, data):
        write_if_possible(_record_path(place), json.dumps(record, indent=2).encode() + b"\n")


def _record_path(place: Path) -> Path:
    return place.with_suffix(".json")
