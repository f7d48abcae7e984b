"""Engines of the cache, and those that had to be built."""

import warnings
from pathlib import Path

from hueglass.infer.network.engine_cache import load_engine

from .fake_tensorrt import Engine

BUILDING = "building a TensorRT engine for"


def built(path: Path, **options: object) -> Engine:
    """An engine that had to be built, with nothing to complain of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine = load_engine(path, **options)  # type: ignore[arg-type]
    assert [BUILDING in str(w.message) for w in caught] == [True]
    return engine


def found(path: Path, **options: object) -> Engine:
    """An engine of the cache: nothing is said and nothing is built."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_engine(path, **options)  # type: ignore[arg-type]


def engine_file(cache: Path) -> Path:
    (path,) = cache.glob("*.engine")
    return path


def built_or_found(path: Path) -> Engine:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_engine(path)
