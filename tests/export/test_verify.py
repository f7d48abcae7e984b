"""Verification: a good bundle passes whole, and whatever can be wrong with one is found and named."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper

from hueglass.export import verify
from hueglass.export.portable import average, slice_by_planes
from hueglass.export.verify import TENSORRT_OPERATORS, Check, verify_bundle
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.manifest import EMBEDDED, FORMAT, MANIFEST, PORTABLE, STUDENT, read_manifest
from hueglass.train.bilateral import render


@pytest.fixture(scope="module")
def found() -> list[Check]:
    return verify_bundle(EMBEDDED)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the embedded bundle that has no more than the student, the encoder and the portable graph."""
    folder = tmp_path / "bundle"
    shutil.copytree(EMBEDDED, folder, ignore=shutil.ignore_patterns("looks", "*.py", "*.md", "__pycache__"))
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in list(manifest["graphs"]):
        if ".fp16" in name or ".int8" in name or name.startswith("segmenter"):
            del manifest["graphs"][name]
            (folder / name).unlink()
    manifest["regions"] = []
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def resigned(folder: Path, name: str) -> None:
    """Lets the manifest describe the file as it is now."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["graphs"][name]["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def bad(folder: Path) -> dict[tuple[str, str], str]:
    """What is wrong with the files of a bundle; what its graphs compute is not looked at."""
    manifest = read_manifest(folder)
    checks = [check for name in manifest.graphs for check in verify._structure(folder, name, manifest)]
    return {(check.graph, check.what): check.found for check in checks if not check.good}


def test_the_embedded_bundle_is_good(found: list[Check]) -> None:
    assert [check for check in found if not check.good] == []
    looked_at = {(check.graph, check.what) for check in found}
    singles = {"student.onnx", "look_encoder.onnx", "segmenter.onnx", "portable.onnx"}
    twins = {name.replace(".onnx", ".fp16.onnx") for name in singles} | {"student.int8.onnx"}
    for name in singles | twins:
        assert {(name, what) for what in ("file", "opset", "names and shapes", "weights")} <= looked_at
    assert {("student.onnx", "beside torch"), ("look_encoder.onnx", "beside torch")} <= looked_at
    assert {(name, "beside fp32") for name in twins - {"portable.fp16.onnx"}} <= looked_at
    for name in ("portable.onnx", "portable.fp16.onnx"):
        assert {(name, "at 641x359"), (name, "at 1920x1080")} <= looked_at


def test_the_command_prints_the_table(run: Callable, bundle: Path) -> None:
    outcome = run("verify", bundle)
    assert (outcome.status, outcome.err) == (0, "")
    assert "portable.onnx" in outcome.out
    assert "BAD" not in outcome.out
    (bundle / STUDENT).write_bytes(b"")
    outcome = run("verify", bundle)
    assert outcome.status == 1
    assert "BAD" in outcome.out
    assert "checks failed, first student.onnx, file" in outcome.err
    outcome = run("verify", bundle / "nowhere")
    assert outcome.status == 2
    assert "no model bundle here" in outcome.err


def test_missing_and_damaged_and_swapped_graphs_are_named(bundle: Path) -> None:
    student, portable = (bundle / STUDENT).read_bytes(), (bundle / PORTABLE).read_bytes()
    (bundle / PORTABLE).unlink()
    assert "cannot be read" in bad(bundle)[PORTABLE, "file"]
    (bundle / PORTABLE).write_bytes(portable[: len(portable) // 2])
    assert "swapped or damaged" in bad(bundle)[PORTABLE, "file"]
    (bundle / PORTABLE).write_bytes(student)
    resigned(bundle, PORTABLE)
    assert "thumbnail" in bad(bundle)[PORTABLE, "names and shapes"]


def test_a_newer_bundle_and_none_are_refused(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps(manifest | {"format": FORMAT + 1}))
    with pytest.raises(HueglassError, match=f"bundle of format {FORMAT + 1}"):
        verify_bundle(bundle)
    with pytest.raises(UsageError, match="no model bundle here"):
        verify_bundle(bundle / "none")


def changed(folder: Path, name: str, change: Callable) -> None:
    model = onnx.load(str(folder / name))
    change(model)
    onnx.save(model, str(folder / name))
    resigned(folder, name)


def weight_of(model: object) -> object:
    """The first float weight of some size."""
    weights = (t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)  # type: ignore[attr-defined]
    return next(t for t in weights if np.prod(t.dims) > 400)


def test_weights_that_are_not_numbers_are_found(bundle: Path) -> None:
    def broken(model: object) -> None:
        weight = weight_of(model)
        values = numpy_helper.to_array(weight).copy()
        values.flat[3] = np.nan
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))  # type: ignore[attr-defined]

    changed(bundle, STUDENT, broken)
    assert bad(bundle)[STUDENT, "weights"].startswith("not finite: ")


def test_other_weights_are_found_beside_torch(bundle: Path) -> None:
    def doubled(model: object) -> None:
        weight = weight_of(model)
        values = numpy_helper.to_array(weight) * 2
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))  # type: ignore[attr-defined]

    changed(bundle, STUDENT, doubled)
    (bundle / PORTABLE).unlink()  # what is broken is left out of what is computed
    wrong = {(check.graph, check.what): check.found for check in verify_bundle(bundle) if not check.good}
    assert wrong[STUDENT, "beside torch"].startswith("differs by ")
    assert "cannot be read" in wrong[PORTABLE, "file"]


def test_another_opset_and_strange_operators_are_found(bundle: Path) -> None:
    def strange(model: object) -> None:
        graph = model.graph  # type: ignore[attr-defined]
        graph.node.insert(0, helper.make_node("Mish", ["frame"], ["mish"]))
        for node in graph.node[1:]:
            node.input[:] = ["mish" if name == "frame" else name for name in node.input]

    def newer(model: object) -> None:
        model.opset_import[0].version = 20  # type: ignore[attr-defined]

    changed(bundle, PORTABLE, strange)
    assert bad(bundle)[PORTABLE, "operators"] == "Mish"
    changed(bundle, STUDENT, newer)
    assert bad(bundle)[STUDENT, "opset"] == "20"


def test_a_size_that_is_frozen_is_found(bundle: Path) -> None:
    """As an export does that forgets to say which axes are open."""

    def frozen(model: object) -> None:
        graph = model.graph  # type: ignore[attr-defined]
        for value in (*graph.input[:1], *graph.output):
            value.type.tensor_type.shape.dim[2].dim_value = 270

    changed(bundle, PORTABLE, frozen)
    assert "270" in bad(bundle)[PORTABLE, "names and shapes"]


@pytest.mark.parametrize("size", [(97, 131), (16, 16), (40, 33)])
def test_the_slice_by_planes_is_the_slice(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    grid, image = torch.randn(2, 8, 16, 16, 12), torch.rand(2, 3, *size)
    torch.testing.assert_close(slice_by_planes(grid, image), render(grid, image), atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(97, 131), (256, 300), (31, 47)])
def test_the_average_is_that_over_areas(size: tuple[int, int]) -> None:
    import cv2

    image = torch.rand(1, 3, *size)
    wanted = cv2.resize(image[0].permute(1, 2, 0).numpy(), (24, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(average(image, 24)[0].permute(1, 2, 0).numpy(), wanted, atol=1e-5)


def test_no_operator_of_the_list_is_of_a_runtime() -> None:
    """All of them are ONNX's own."""
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    assert known >= TENSORRT_OPERATORS
