"""From a checkpoint to a bundle: the graphs are the networks, and a bundle is there whole or not at all."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from hueglass.export import onnx as exporting
from hueglass.export.verify import example_inputs
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import make_look
from hueglass.infer.model.manifest import EMBEDDED, LOOK_ENCODER, MANIFEST, PORTABLE, SEGMENTER, STUDENT, twin
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.train.segmenter.network import Segmenter, SegmenterConfig, load_segmenter, save_segmenter
from hueglass.train.student.network import StudentConfig, new_networks
from hueglass.train.student.weights import SETTINGS, WEIGHTS, load_weights, save_weights

TINY = StudentConfig(thumbnail=64, tones=3, cells=4, code=32, width=16, hidden=24, pair=16, embedding=8)
GRAPHS = {
    STUDENT: (
        {"thumbnail": [1, 3, 64, 64], "regions": [1, 8, 32, 32], "codes": [1, 11, 32], "memory": [1, 12, 58]},
        {"coefficients": [1, 8, 4, 4, 12], "sums": [1, 12, 58]},
    ),
    LOOK_ENCODER: ({"reference": [1, 3, 64, 64], "regions": [1, 8, 32, 32]}, {"codes": [1, 11, 32]}),
    SEGMENTER: ({"thumbnail": [1, 3, 64, 64]}, {"maps": [1, 8, 32, 32]}),
    PORTABLE: (
        {"frame": [1, 3, "height", "width"], "regions": [1, 8, 32, 32], "codes": [1, 11, 32]},
        {"restyled": [1, 3, "height", "width"]},
    ),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random networks whose last layer says something."""
    torch.manual_seed(0)
    student, encoder = new_networks(TINY)
    torch.nn.init.normal_(student.delta.weight, std=0.05)
    torch.nn.init.normal_(student.key.weight, std=0.3)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_weights(folder, student, encoder, {})
    return folder


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random segmenter that has seen numbers, so that its normalisation is not that of the first day."""
    torch.manual_seed(0)
    network = Segmenter(SegmenterConfig(thumbnail=64))
    network.train()(torch.rand(4, 3, 64, 64))
    folder = tmp_path_factory.mktemp("segmenter")
    save_segmenter(folder, network, {})
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, segmenter: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    exporting.export_bundle(checkpoint, folder, segmenter)
    return ModelBundle(folder)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def test_the_manifest_says_what_the_graphs_are(bundle: ModelBundle) -> None:
    manifest = bundle.manifest
    assert (manifest.thumbnail, manifest.slots, manifest.code) == (64, 8, 32)
    assert (manifest.depth, manifest.cells, manifest.tones) == (8, 4, 3)
    assert manifest.regions == REGION_NAMES
    assert manifest.versions["opset"] == "18"
    assert {"hueglass", "torch", "onnx"} <= set(manifest.versions)
    assert json.loads((bundle.folder / MANIFEST).read_text())["model"] == manifest.model


def test_a_bundle_is_graphs_weights_and_manifest(bundle: ModelBundle, checkpoint: Path) -> None:
    """And nothing left over; the weights are the checkpoint's."""
    singles = (STUDENT, LOOK_ENCODER, SEGMENTER, PORTABLE)
    graphs = [twin(name, precision) for name in singles for precision in ("fp32", "fp16")]
    assert sorted(bundle.manifest.graphs) == sorted(graphs)
    names = [MANIFEST, WEIGHTS, SETTINGS, *graphs]
    assert sorted(p.name for p in bundle.folder.iterdir()) == sorted(names)
    assert (bundle.folder / WEIGHTS).read_bytes() == (checkpoint / WEIGHTS).read_bytes()


@pytest.fixture
def copied(bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that does not take half a minute: it writes the graphs that the bundle has."""

    def copy(graph: exporting.Graph, folder: Path) -> None:
        shutil.copy(bundle.folder / graph.file, folder / graph.file)

    monkeypatch.setattr(exporting, "_export", copy)


@pytest.mark.usefixtures("copied")
def test_a_bundle_may_be_without_a_segmenter(bundle: ModelBundle, checkpoint: Path, tmp_path: Path) -> None:
    """Exported over one that has it, the old segmenter is gone."""
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    exporting.export_bundle(checkpoint, tmp_path / "bundle")
    plain = ModelBundle(tmp_path / "bundle")
    assert plain.manifest.regions == ()
    assert plain.segmenter is None
    assert not (tmp_path / "bundle" / SEGMENTER).exists()


def test_a_segmenter_of_other_thumbnails_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    save_segmenter(tmp_path / "other", Segmenter(SegmenterConfig(thumbnail=128)), {})
    with pytest.raises(UsageError, match="thumbnails are 128 wide, the student's 64"):
        exporting.export_bundle(checkpoint, tmp_path / "bundle", tmp_path / "other")


def test_the_bundles_segmenter_names_what_torch_does(bundle: ModelBundle, segmenter: Path, image: np.ndarray) -> None:
    thumbnail = bundle.thumbnail(image)
    assert bundle.segmenter is not None
    regions = bundle.segmenter(thumbnail)
    network, _ = load_segmenter(segmenter)
    with torch.no_grad():
        expected = network(torch.from_numpy(thumbnail).permute(2, 0, 1)[None].float() / 255)[0]
    assert regions.names == REGION_NAMES
    np.testing.assert_allclose(regions.maps, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize("name", [twin(name, precision) for name in GRAPHS for precision in ("fp32", "fp16")])
def test_graphs_have_the_names_and_sizes_of_the_contract(bundle: ModelBundle, name: str) -> None:
    graph = onnx.load(str(bundle.folder / name), load_external_data=False)
    assert [(s.domain, s.version) for s in graph.opset_import if s.domain in ("", "ai.onnx")] == [("", 18)]
    assert not any(t.external_data for t in graph.graph.initializer)

    def sizes(values: list) -> dict[str, list[int | str]]:
        assert {v.type.tensor_type.elem_type for v in values} == {onnx.TensorProto.FLOAT}
        return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    assert (sizes(graph.graph.input), sizes(graph.graph.output)) == GRAPHS[name.replace(".fp16", "")]
    assert {n.domain for n in graph.graph.node} == {""}
    halves = [t.name for t in graph.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert bool(halves) == name.endswith(".fp16.onnx")


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_say_nothing_of_the_machine_they_were_made_on(bundle: ModelBundle, name: str) -> None:
    for folder in (bundle.folder, EMBEDDED):
        model = onnx.load(str(folder / name))
        del model.graph.initializer[:]  # numbers may spell anything
        text = model.SerializeToString()
        assert b".py" not in text
        assert b"site-packages" not in text


def test_a_frame_gets_the_coefficients_that_torch_predicts(
    bundle: ModelBundle, checkpoint: Path, image: np.ndarray
) -> None:
    """The whole way: reference to look, look and frame to coefficients, by the runtime and by the networks."""
    reference = np.random.default_rng(1).integers(60, 200, (100, 80, 3), dtype=np.uint8)
    coefficients = Stylizer(bundle, make_look(bundle, "look", reference)).predict(Frame(image, 0.0, 0))
    student, encoder, _ = load_weights(checkpoint)
    maps = torch.zeros(1, 8, 32, 32)
    content, style = (
        torch.from_numpy(bundle.thumbnail(x)).permute(2, 0, 1)[None].float() / 255 for x in (image, reference)
    )
    with torch.no_grad():
        tones = encoder(style, maps)[:, 8:]
        expected = student(content, maps, torch.cat([torch.zeros(1, 8, 32), tones], 1))[0]
    assert coefficients.shape == (8, 4, 4, 12)
    np.testing.assert_allclose(coefficients, expected.numpy(), atol=1e-3)
    identity = np.tile([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (8, 4, 4, 1))
    assert np.abs(coefficients - identity).max() > 0.05


def test_a_model_is_named_by_its_weights(bundle: ModelBundle, checkpoint: Path, tmp_path: Path) -> None:
    student, encoder, _ = load_weights(checkpoint)
    networks = exporting.Networks(student, encoder, None)
    again = exporting._manifest(networks, checkpoint, {})
    student.delta.bias.data[0] += 1e-6
    save_weights(tmp_path, student, encoder, {})
    assert again.model == bundle.manifest.model
    assert exporting._manifest(networks, tmp_path, {}).model != again.model


def test_a_bundle_says_how_it_came_about(checkpoint: Path) -> None:
    student, encoder, _ = load_weights(checkpoint)
    facts = {"step": 7, "seconds": 2, "scores": {"psnr": 20.5}, "config": {"seed": 1}}
    networks = exporting.Networks(student, encoder, None)
    manifest = exporting._manifest(networks, checkpoint, facts)
    assert (manifest.training["step"], manifest.training["seconds"], manifest.scores) == (7, 2, {"psnr": 20.5})
    other = exporting._manifest(networks, checkpoint, facts | {"config": {"seed": 2}})
    assert other.training["config_sha256"] != manifest.training["config_sha256"]


def test_example_inputs_are_what_the_networks_take() -> None:
    inputs = example_inputs(TINY, seed=1)
    assert {name: list(x.shape) for name, x in inputs.items()} == GRAPHS[STUDENT][0] | GRAPHS[LOOK_ENCODER][0]
    assert all(x.dtype == np.float32 for x in inputs.values())
    np.testing.assert_allclose(inputs["regions"].sum(1), 0.8, atol=1e-5)
    np.testing.assert_array_equal(inputs["codes"], example_inputs(TINY, seed=1)["codes"])


def test_no_checkpoint_leaves_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint here"):
        exporting.export_bundle(tmp_path / "none", tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_checkpoint_leaves_no_bundle(checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    (broken / WEIGHTS).write_bytes((broken / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(HueglassError, match="broken checkpoint"):
        exporting.export_bundle(broken, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_wrong_place_is_refused_before_anything_is_made(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        exporting.export_bundle(checkpoint, tmp_path / "file")
    with pytest.raises(UsageError, match="does not exist"):
        exporting.export_bundle(checkpoint, tmp_path / "no" / "bundle")
    assert (tmp_path / "file").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("copied")
def test_graphs_that_differ_leave_no_bundle(bundle: ModelBundle, checkpoint: Path, tmp_path: Path) -> None:
    """An exporter that writes the graphs of another model."""
    student, encoder, _ = load_weights(checkpoint)
    torch.nn.init.constant_(student.delta.bias, 0.05)
    save_weights(tmp_path / "checkpoint", student, encoder, {})
    with pytest.raises(HueglassError, match=r"student\.onnx, beside torch: differs by 5\.0e-02"):
        exporting.export_bundle(tmp_path / "checkpoint", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert exporting.export_bundle(checkpoint, tmp_path / "bundle").model == bundle.manifest.model
    assert len(list((tmp_path / "bundle").iterdir())) == 9


@pytest.mark.usefixtures("copied")
def test_a_segmenter_that_differs_leaves_no_bundle(checkpoint: Path, segmenter: Path, tmp_path: Path) -> None:
    network, _ = load_segmenter(segmenter)
    torch.nn.init.normal_(network.name.weight)
    save_segmenter(tmp_path / "other", network, {})
    with pytest.raises(HueglassError, match=r"segmenter\.onnx, beside torch: differs by "):
        exporting.export_bundle(checkpoint, tmp_path / "bundle", tmp_path / "other")
    assert not (tmp_path / "bundle").exists()
