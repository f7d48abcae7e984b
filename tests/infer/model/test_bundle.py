"""The model bundle: its manifest is checked, and its graphs have to fit it."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.streets import picture_of_street

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Task
from hueglass.infer.model.manifest import EMBEDDED, FORMAT, LOOK_ENCODER, MANIFEST, STUDENT, read_manifest
from hueglass.infer.network.devices import Precision

GOOD = {
    "format": FORMAT,
    "model": "a-model",
    "thumbnail": 64,
    "slots": 8,
    "tones": 4,
    "code": 16,
    "depth": 8,
    "cells": 16,
    "remembered": 58,
    "graphs": {},
}
OLD = {"format": 1, "model": "a-model", "thumbnail": 64, "slots": 8, "code": 16, "depth": 8, "cells": 16}


def facts(content: bytes) -> dict:
    return {"sha256": hashlib.sha256(content).hexdigest(), "inputs": {}, "outputs": {}}


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
        *[({"remembered": value}, "remembered") for value in (42, 1025, "all")],
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


def test_precisions() -> None:
    with pytest.raises(UsageError, match="precision 'fp8', expected one of fp32, fp16, int8"):
        ModelBundle(EMBEDDED, precision="fp8")
    grids = {}
    for precision in Precision:
        bundle = ModelBundle(EMBEDDED, precision=precision)
        m, size = bundle.manifest, bundle.manifest.thumbnail
        thumbnail = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
        maps = np.zeros((m.slots, size // 2, size // 2), np.float32)
        task = Task(maps, bundle.encode(thumbnail[::-1], maps), ())
        grids[precision] = bundle.predict(thumbnail, task).coefficients
        assert bundle.segmenter is not None
    for precision in ("fp16", "int8"):
        difference = np.abs(grids[precision] - grids["fp32"])
        assert 0 < difference.max() < 0.1
        assert difference.mean() < 0.01


def test_device() -> None:
    with pytest.raises(UsageError, match="device 'tpu', expected one of cpu, cuda"):
        ModelBundle(EMBEDDED, "tpu")


def test_graph_is_named(tmp_path: Path) -> None:
    written(tmp_path, {**GOOD, "graphs": {STUDENT: facts(b"no graph")}})
    (tmp_path / STUDENT).write_bytes(b"no graph")
    with pytest.raises(HueglassError, match=f"{STUDENT}: cannot be run: ") as caught:
        ModelBundle(tmp_path)
    assert "\n" not in str(caught.value)


def test_graphs_are_those_that_the_manifest_describes(tmp_path: Path) -> None:
    """Swapped, damaged, missing and forgotten ones are named before they are run."""
    shutil.copytree(EMBEDDED, tmp_path / "bundle", ignore=shutil.ignore_patterns("looks", "*.py", "__pycache__"))
    folder = tmp_path / "bundle"
    student = (folder / STUDENT).read_bytes()
    for content in (student[:-1] + bytes([student[-1] ^ 1]), student[:1000], (folder / LOOK_ENCODER).read_bytes()):
        (folder / STUDENT).write_bytes(content)
        with pytest.raises(HueglassError, match=f"{STUDENT}: is not the graph that {MANIFEST} describes") as caught:
            ModelBundle(folder)
        assert "\n" not in str(caught.value)
    (folder / STUDENT).unlink()
    with pytest.raises(HueglassError, match=f"{STUDENT}: cannot be read: No such file"):
        ModelBundle(folder)
    (folder / STUDENT).write_bytes(student)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["graphs"][LOOK_ENCODER]
    bundle = ModelBundle(written(folder, manifest))
    with pytest.raises(HueglassError, match=f"says nothing of {LOOK_ENCODER}"):
        _ = bundle.encoder
    manifest["graphs"].pop("student.int8.onnx", None)
    written(folder, manifest)
    with pytest.raises(UsageError, match="has no student in int8"):
        ModelBundle(folder, precision="int8")


def test_encoder_is_loaded_when_it_is_needed(tmp_path: Path) -> None:
    for name in (MANIFEST, STUDENT):
        (tmp_path / name).symlink_to(EMBEDDED / name)
    bundle = ModelBundle(tmp_path)
    m = bundle.manifest
    thumbnail, maps = np.zeros((m.thumbnail, m.thumbnail, 3), np.uint8), np.zeros((m.slots, *2 * [m.thumbnail // 2]))
    maps = maps.astype(np.float32)
    maps[0] = 1
    found = bundle.predict(thumbnail, Task(maps, np.zeros((m.slots + m.tones, m.code), np.float32), ("sky",)))
    assert found.coefficients.shape == (m.depth, m.cells, m.cells, 12)
    assert found.sums.shape == (m.slots + m.tones + 1, m.remembered)
    with pytest.raises(HueglassError, match=LOOK_ENCODER):
        bundle.encode(thumbnail, maps)


def test_graph_that_does_not_fit_its_manifest(tmp_path: Path) -> None:
    manifest = json.loads((EMBEDDED / MANIFEST).read_bytes())
    for name in (STUDENT, LOOK_ENCODER):
        (tmp_path / name).symlink_to(EMBEDDED / name)
    size, slots = manifest["thumbnail"], manifest["slots"]
    thumbnail = np.zeros((size, size, 3), np.uint8)
    maps = np.zeros((slots, size // 2, size // 2), np.float32)
    codes = np.zeros((slots + manifest["tones"], manifest["code"]), np.float32)
    bundle = ModelBundle(written(tmp_path, {**manifest, "code": manifest["code"] + 1, "cells": manifest["cells"] - 1}))
    with pytest.raises(HueglassError, match=rf"{LOOK_ENCODER}: gives .* as in {MANIFEST}"):
        bundle.encode(thumbnail, maps)
    with pytest.raises(HueglassError, match=rf"{STUDENT}: gives .* as in {MANIFEST}"):
        bundle.predict(thumbnail, Task(maps, codes, ()))
    with pytest.raises(HueglassError, match=rf"{STUDENT}: cannot be run: ") as caught:
        bundle.predict(thumbnail, Task(maps[:1], codes, ()))
    assert "\n" not in str(caught.value)


def test_sums_that_do_not_fit_the_manifest(tmp_path: Path) -> None:
    manifest = json.loads((EMBEDDED / MANIFEST).read_bytes())
    for name in (STUDENT, LOOK_ENCODER):
        (tmp_path / name).symlink_to(EMBEDDED / name)
    bundle = ModelBundle(written(tmp_path, {**manifest, "remembered": manifest["remembered"] + 1}))
    with pytest.raises(HueglassError, match=rf"{STUDENT}: cannot be run: |{STUDENT}: gives .* as in {MANIFEST}"):
        bundle.predict(*street_task(bundle))


def street_task(bundle: ModelBundle) -> tuple[np.ndarray, Task]:
    """A street with its sky and ground, in the light of itself upside down."""
    m = bundle.manifest
    image = picture_of_street(1, 0.0, 320, 240)
    thumbnail, half = bundle.thumbnail(image), m.thumbnail // 2
    maps = np.zeros((m.slots, half, half), np.float32)
    maps[0, : half // 3], maps[1, half // 2 :] = 1, 1
    return thumbnail, Task(maps, bundle.encode(thumbnail[::-1], maps), ("sky", "ground"))


def test_what_a_frame_shows_is_summed_up(bundle: ModelBundle) -> None:
    """The first number of a row is how much of the picture there is of it; the last row is of the whole of it."""
    thumbnail, task = street_task(bundle)
    sums = bundle.predict(thumbnail, task).sums
    slots = bundle.manifest.slots
    np.testing.assert_allclose(sums[:slots, 0], task.maps.mean((1, 2)), atol=1e-4)
    np.testing.assert_allclose(sums[[slots - 1, -1], 0], [0, 1], atol=1e-5)
    assert sums[:-1, 0].sum() == pytest.approx(1, abs=1e-3)
    luma = (thumbnail @ np.array([0.299, 0.587, 0.114])).mean() / 255
    assert sums[-1, 1] == pytest.approx(luma, abs=1e-3)


def test_a_memory_of_nothing_is_none_and_one_of_something_else_is_not(bundle: ModelBundle) -> None:
    """Told of a scene that is half as bright around the frame, the student makes another grid and the same sums."""
    thumbnail, task = street_task(bundle)
    plain = bundle.predict(thumbnail, task)
    nothing = bundle.predict(thumbnail, task, np.zeros_like(plain.sums))
    itself = bundle.predict(thumbnail, task, 1000 * plain.sums)
    other = bundle.predict(thumbnail, task, 1000 * bundle.predict(thumbnail // 2, task).sums)
    np.testing.assert_array_equal(nothing.coefficients, plain.coefficients)
    np.testing.assert_allclose(itself.coefficients, plain.coefficients, atol=0.01)
    assert np.abs(other.coefficients - plain.coefficients).mean() > 0.02
    slots = bundle.manifest.slots
    np.testing.assert_allclose(other.sums[:slots, :42], plain.sums[:slots, :42], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, -1), (-1, 0)])
def test_a_memory_of_another_shape_is_refused(bundle: ModelBundle, shape: tuple[int, int]) -> None:
    m = bundle.manifest
    wrong = np.zeros((m.slots + m.tones + 1 + shape[0], m.remembered + shape[1]), np.float32)
    with pytest.raises(HueglassError, match=f"{STUDENT}: .*expected"):
        bundle.predict(*street_task(bundle), wrong)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (255, 257), (1000, 700)])
def test_thumbnail(bundle: ModelBundle, shape: tuple[int, int]) -> None:
    size = bundle.manifest.thumbnail
    image = np.full((*shape, 3), (10, 100, 200), np.uint8)
    thumbnail = bundle.thumbnail(image)
    assert (thumbnail.shape, thumbnail.dtype) == ((size, size, 3), np.uint8)
    np.testing.assert_array_equal(thumbnail, np.broadcast_to(image[0, 0], thumbnail.shape))
