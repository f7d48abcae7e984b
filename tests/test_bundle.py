"""The model bundle: its manifest is checked, and its graphs have to fit it."""

import json
from pathlib import Path

import numpy as np
import pytest

from hueglass.infer.bundle import EMBEDDED, FORMAT, LOOK_ENCODER, MANIFEST, STUDENT, ModelBundle, read_manifest
from hueglass.infer.errors import HueglassError, UsageError

GOOD = {
    "format": FORMAT,
    "model": "a-model",
    "thumbnail": 64,
    "slots": 8,
    "tones": 4,
    "code": 16,
    "depth": 8,
    "cells": 16,
}
OLD = {"format": 1, "model": "a-model", "thumbnail": 64, "slots": 8, "code": 16, "depth": 8, "cells": 16}


def written(folder: Path, content: dict | bytes) -> Path:
    (folder / MANIFEST).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return folder


def test_good_manifest(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, {**GOOD, "versions": {"torch": "2"}}))
    assert {k: getattr(manifest, k) for k in GOOD} == GOOD
    assert manifest.versions == {"torch": "2"}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        *[({key: value}, key) for key, value in (("thumbnail", 65), ("thumbnail", 1024), ("slots", 0), ("slots", 9))],
        *[
            ({key: value}, key)
            for key, value in (("code", 0), ("tones", 0), ("tones", 17), ("depth", 1), ("cells", 65), ("cells", "many"))
        ],
        *[({"model": value}, "model") for value in ("", "A", "a b", "../a", "a\n", "a" * 65, 7)],
        ({"extra": 1}, "extra"),
        ({"versions": {"torch": 2}}, "versions.torch"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, change: dict, where: str) -> None:
    with pytest.raises(HueglassError, match=rf"{MANIFEST}: broken bundle: {where}: ") as caught:
        read_manifest(written(tmp_path, {**GOOD, **change}))
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("key", GOOD)
def test_missing_values_are_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(HueglassError, match=rf"broken bundle: {key}: Field required"):
        read_manifest(written(tmp_path, {k: v for k, v in GOOD.items() if k != key}))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100000])
def test_what_is_no_manifest(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(HueglassError, match=rf"{MANIFEST}: broken bundle: the file: ") as caught:
        read_manifest(written(tmp_path, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("manifest", [OLD, {"format": 1}, {**GOOD, "format": 1, "sound": True}])
def test_an_older_format(tmp_path: Path, manifest: dict) -> None:
    with pytest.raises(HueglassError, match=f"bundle of format 1, this hueglass reads format {FORMAT}"):
        read_manifest(written(tmp_path, manifest))


def test_another_format(tmp_path: Path) -> None:
    with pytest.raises(HueglassError, match=f"bundle of format {FORMAT + 1}, this hueglass reads format {FORMAT}"):
        read_manifest(written(tmp_path, {**GOOD, "format": FORMAT + 1}))


def test_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "odd" / MANIFEST).mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "file", tmp_path / "odd", tmp_path / ("n" * 300)):
        with pytest.raises(UsageError, match=f"{folder}: no model bundle here, expected a folder with {MANIFEST}"):
            read_manifest(folder)


def test_device() -> None:
    with pytest.raises(UsageError, match="device 'tpu', expected one of cpu, cuda"):
        ModelBundle(EMBEDDED, "tpu")


def test_graph_is_named(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (tmp_path / STUDENT).write_bytes(b"no graph")
    with pytest.raises(HueglassError, match=f"{STUDENT}: cannot be run: ") as caught:
        ModelBundle(tmp_path)
    assert "\n" not in str(caught.value)


def test_encoder_is_loaded_when_it_is_needed(tmp_path: Path) -> None:
    for name in (MANIFEST, STUDENT):
        (tmp_path / name).symlink_to(EMBEDDED / name)
    bundle = ModelBundle(tmp_path)
    m = bundle.manifest
    thumbnail, maps = np.zeros((m.thumbnail, m.thumbnail, 3), np.uint8), np.zeros((m.slots, *2 * [m.thumbnail // 2]))
    maps = maps.astype(np.float32)
    maps[0] = 1
    grid = bundle.predict(thumbnail, maps, np.zeros((m.slots + m.tones, m.code), np.float32))
    assert grid.shape == (m.depth, m.cells, m.cells, 12)
    with pytest.raises(HueglassError, match=LOOK_ENCODER):
        bundle.encode(thumbnail, maps)


def test_graph_that_does_not_fit_its_manifest(tmp_path: Path) -> None:
    manifest = json.loads((EMBEDDED / MANIFEST).read_bytes())
    for name in (STUDENT, LOOK_ENCODER):
        (tmp_path / name).symlink_to(EMBEDDED / name)
    size, slots = manifest["thumbnail"], manifest["slots"]
    thumbnail = np.zeros((size, size, 3), np.uint8)
    maps = np.zeros((slots, size // 2, size // 2), np.float32)
    bundle = ModelBundle(written(tmp_path, {**manifest, "code": manifest["code"] + 1, "cells": manifest["cells"] - 1}))
    with pytest.raises(HueglassError, match=rf"{LOOK_ENCODER}: gives .* as in {MANIFEST}"):
        bundle.encode(thumbnail, maps)
    with pytest.raises(HueglassError, match=rf"{STUDENT}: gives .* as in {MANIFEST}"):
        bundle.predict(thumbnail, maps, np.zeros((slots + manifest["tones"], manifest["code"]), np.float32))
    with pytest.raises(HueglassError, match=rf"{STUDENT}: cannot be run: ") as caught:
        bundle.predict(thumbnail, maps[:1], np.zeros((slots + manifest["tones"], manifest["code"]), np.float32))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (255, 257), (1000, 700)])
def test_thumbnail(bundle: ModelBundle, shape: tuple[int, int]) -> None:
    size = bundle.manifest.thumbnail
    image = np.full((*shape, 3), (10, 100, 200), np.uint8)
    thumbnail = bundle.thumbnail(image)
    assert (thumbnail.shape, thumbnail.dtype) == ((size, size, 3), np.uint8)
    np.testing.assert_array_equal(thumbnail, np.broadcast_to(image[0, 0], thumbnail.shape))
