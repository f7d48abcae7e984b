"""ONNX Runtime's own TensorRT provider: all of a graph or a refusal, and its engines kept as carefully as ours.

It is a stand-in, as are TensorRT and CuPy; tests marked `gpu` use the real ones where there is a GPU.
"""

import sys
import warnings
from pathlib import Path

import pytest
from support.fake_cupy import Machine
from support.fake_onnxruntime import ENGINE, FakeOnnxRuntime
from support.fake_tensorrt import install
from support.graphs import EMBEDDED_GRAPHS, PICTURE, REMEDY, TOLERANCE, assert_same, feeds, line_of, small_graph

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.manifest import EMBEDDED
from hueglass.infer.network.engine_cache import provider_cache
from hueglass.infer.network.graph import open_graph
from hueglass.infer.network.onnx import OnnxGraph


@pytest.fixture
def provider(cuda: FakeOnnxRuntime, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    install(monkeypatch, machine)
    return cuda


def kept(tmp_path: Path) -> list[Path]:
    """The folders of engines in the cache."""
    return sorted((tmp_path / "cache" / "engines").iterdir())


@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_the_provider_gives_what_the_cpu_gives(name: str, provider: FakeOnnxRuntime) -> None:
    graph, reference = open_graph(EMBEDDED / name, "ort-tensorrt", 2), OnnxGraph(EMBEDDED / name)
    session = provider.sessions[0]
    assert graph.device == "ort-tensorrt"
    assert session.recorded
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        assert_same(graph(**inputs), reference(**inputs))
    assert (session.runs, session.bound_runs) == (0, 4)


@pytest.mark.parametrize("cuda", ["capture"], indirect=True)
def test_the_provider_without_recording(graph: Path, provider: FakeOnnxRuntime) -> None:
    assert_same(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), [2 * PICTURE])
    assert [session.recorded for session in provider.sessions] == [True, False]


def test_the_providers_engine_is_kept(graph: Path, tmp_path: Path, provider: FakeOnnxRuntime) -> None:
    for _ in range(3):
        assert_same(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), [2 * PICTURE])
    assert provider.builds == 1
    (folder,) = kept(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [ENGINE, "record.json"]


def test_networks_alike_have_engines_of_their_own(
    graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, machine: Machine
) -> None:
    """The provider itself would take the engine of one for that of the other; and an H100's for an H200's."""
    other = small_graph(tmp_path / "other.onnx", scale=3.0)
    for _ in range(2):
        assert_same(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), [2 * PICTURE])
        assert_same(OnnxGraph(other, "ort-tensorrt")(picture=PICTURE), [3 * PICTURE])
    assert (provider.builds, len(kept(tmp_path))) == (2, 2)
    small_graph(graph, scale=5.0)
    assert_same(OnnxGraph(graph, "ort-tensorrt")(picture=PICTURE), [5 * PICTURE])
    machine.gpu = "NVIDIA Fake 9001"
    OnnxGraph(graph, "ort-tensorrt")
    provider.__version__ = "1.32.0"
    OnnxGraph(graph, "ort-tensorrt")
    assert (provider.builds, len(kept(tmp_path))) == (5, 5)


@pytest.mark.parametrize("harm", ["other engine", "no engine", "one more", "no record", "no JSON", "foreign record"])
def test_a_providers_engine_that_was_changed(graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, harm: str) -> None:
    OnnxGraph(graph, "ort-tensorrt")
    (folder,) = kept(tmp_path)
    record = folder / "record.json"
    {
        "other engine": lambda: small_graph(folder / ENGINE, scale=7.0),
        "no engine": (folder / ENGINE).unlink,
        "one more": lambda: (folder / "more.engine").write_bytes(b"more"),
        "no record": record.unlink,
        "no JSON": lambda: record.write_bytes(b"{"),
        "foreign record": lambda: record.write_bytes(record.read_bytes().replace(b"Fake 9000", b"Fake 9001")),
    }[harm]()
    with pytest.warns(UserWarning, match="not used: "):
        network = OnnxGraph(graph, "ort-tensorrt")
    assert_same(network(picture=PICTURE), [2 * PICTURE])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OnnxGraph(graph, "ort-tensorrt")
    assert (provider.builds, kept(tmp_path)) == (2, [folder])


def test_two_build_the_same_for_the_provider(graph: Path, tmp_path: Path, provider: FakeOnnxRuntime) -> None:
    with provider_cache(graph, provider.__version__) as growing:
        assert growing is not None
        OnnxGraph(graph, "ort-tensorrt")
    assert provider.builds == 1
    assert len(kept(tmp_path)) == 1
    OnnxGraph(graph, "ort-tensorrt")
    assert provider.builds == 1


def test_no_place_for_the_providers_engine(
    graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HUEGLASS_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"):
        network = OnnxGraph(graph, "ort-tensorrt")
    assert_same(network(picture=PICTURE), [2 * PICTURE])


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("foreign layer", "small.onnx: has layers that ONNX Runtime's TensorRT provider does not take"),
        ("memory", "Failed to allocate memory for requested buffer of size 786432; " + REMEDY),
    ],
    indirect=["cuda"],
)
def test_the_provider_is_had_or_refused(
    graph: Path, tmp_path: Path, provider: FakeOnnxRuntime, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """No layer goes elsewhere, nothing is printed, and no engine is left that was not used."""
    assert expected in line_of(lambda: open_graph(graph, "ort-tensorrt"))
    assert capfd.readouterr() == ("", "")
    assert kept(tmp_path) == []


def test_the_provider_without_its_tensorrt(
    graph: Path, machine: Machine, cuda: FakeOnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, machine, "11.4.0.106")
    line = line_of(lambda: open_graph(graph, "ort-tensorrt"))
    assert (
        line == "device 'ort-tensorrt': TensorRT 11.4.0.106, expected the version that ONNX Runtime 1.31.1 is made for"
    )
    machine.driver = False
    assert "no GPU can be used here" in line_of(lambda: open_graph(graph, "ort-tensorrt"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert "hueglass[tensorrt]" in line_of(lambda: open_graph(graph, "ort-tensorrt"))


def test_open_sizes_with_the_provider(open_sizes: Path, provider: FakeOnnxRuntime) -> None:
    assert line_of(lambda: OnnxGraph(open_sizes, "ort-tensorrt")).endswith(
        "open.onnx: has open sizes, expected fixed ones on 'ort-tensorrt'"
    )


def test_several_outputs_with_the_provider(tmp_path: Path, provider: FakeOnnxRuntime) -> None:
    path = small_graph(tmp_path / "two.onnx", then="Neg", both=True)
    assert_same(OnnxGraph(path, "ort-tensorrt")(picture=PICTURE), [2 * PICTURE, -2 * PICTURE])
    path = small_graph(tmp_path / "nonzero.onnx", then="NonZero", both=True)
    assert "nonzero.onnx: has open sizes" in line_of(lambda: OnnxGraph(path, "ort-tensorrt"))
    assert_same(OnnxGraph(path, "ort-tensorrt", outputs=1)(picture=PICTURE), [2 * PICTURE])


@pytest.mark.parametrize("cuda", ["at run"], indirect=True)
def test_a_provider_that_fails_at_work(graph: Path, provider: FakeOnnxRuntime) -> None:
    network = OnnxGraph(graph, "ort-tensorrt")
    assert "small.onnx: cannot be run on ort-tensorrt: CUDA failure 700" in line_of(lambda: network(picture=PICTURE))


def test_the_provider_in_half_precision(provider: FakeOnnxRuntime) -> None:
    """It mixes types as it likes where it may use halves at all, and refuses graphs with halves where it may not."""
    line = line_of(lambda: ModelBundle(device="ort-tensorrt", precision="fp16"), UsageError)
    expected = "precision fp16 on device 'ort-tensorrt', expected fp32 there, or device cpu or cuda or tensorrt"
    assert line.startswith(expected)
    assert ModelBundle(device="ort-tensorrt").device == "ort-tensorrt"


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_the_real_provider_agrees_with_the_cpu(name: str, graph: Path) -> None:
    try:
        OnnxGraph(graph, "ort-tensorrt")
    except HueglassError as error:
        pytest.skip(str(error))
    reference, inputs = OnnxGraph(EMBEDDED / name), feeds(EMBEDDED / name, 0)
    for _ in range(2):  # the second from the cache
        network = OnnxGraph(EMBEDDED / name, "ort-tensorrt")
        assert_same(network(**inputs), reference(**inputs), atol=10 * TOLERANCE)  # factors of 10 bits
