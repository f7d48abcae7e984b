"""Graphs in ONNX Runtime: the same numbers on every provider, the device that was asked for or a refusal.

Its CUDA provider is a stand-in; tests marked `gpu` use the real one where there is a GPU.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_onnxruntime import FakeOnnxRuntime
from support.graphs import (
    EMBEDDED_GRAPHS,
    OPEN,
    PICTURE,
    REMEDY,
    TOLERANCE,
    assert_same,
    feeds,
    line_of,
    small_graph,
    wrong_inputs,
)

from hueglass.infer.errors import HueglassError
from hueglass.infer.model.manifest import EMBEDDED
from hueglass.infer.network.graph import open_graph
from hueglass.infer.network.onnx import OnnxGraph


@pytest.mark.parametrize("cuda", ["", "loops", "capture"], indirect=True)
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_cuda_gives_what_the_cpu_gives(name: str, cuda: FakeOnnxRuntime) -> None:
    graph, reference = OnnxGraph(EMBEDDED / name, "cuda", 2), OnnxGraph(EMBEDDED / name)
    session = cuda.sessions[-2]
    assert graph.device == "cuda"
    assert session.options == {"enable_cuda_graph": "0" if cuda.fault else "1", "use_tf32": "0"}
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        assert_same(graph(**inputs), reference(**inputs))
    assert (session.runs, session.bound_runs) == (0, 4)  # the first when it is opened


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_outputs_come_in_the_order_of_the_file(tmp_path: Path, cuda: FakeOnnxRuntime, device: str) -> None:
    """Of two types and shapes; on CUDA both stay bound, and neither is overwritten by the next call."""
    network = OnnxGraph(small_graph(tmp_path / "two.onnx", then="ArgMax", both=True), device)
    pictures = [PICTURE, PICTURE[:, ::-1]]
    for picture, found in zip(pictures, [network(picture=picture) for picture in pictures], strict=True):
        assert_same(found, [2 * picture, picture.argmax(0, keepdims=True)])
    assert cuda.sessions[-1].bound_runs == (3 if device == "cuda" else 0)


@pytest.mark.parametrize("then", ["NonZero", "SequenceConstruct"])
def test_outputs_that_cannot_be_bound(tmp_path: Path, cuda: FakeOnnxRuntime, then: str) -> None:
    """What has no size before it is computed, or is no tensor: where it is wanted nothing is bound."""
    path = small_graph(tmp_path / "two.onnx", then=then, both=True)
    first, second = OnnxGraph(path, "cuda")(picture=PICTURE)
    np.testing.assert_array_equal(first, 2 * PICTURE)
    np.testing.assert_array_equal(second, np.nonzero(PICTURE) if then == "NonZero" else [2 * PICTURE])
    assert (cuda.sessions[-1].runs, cuda.sessions[-1].bound_runs) == (1, 0)
    assert_same(OnnxGraph(path, "cuda", outputs=1)(picture=PICTURE), [2 * PICTURE])
    assert (cuda.sessions[-1].runs, cuda.sessions[-1].bound_runs) == (0, 2)


def test_cuda_graphs_are_run_by_one_thread(graph: Path, cuda: FakeOnnxRuntime) -> None:
    network, results = OnnxGraph(graph, "cuda"), {}

    def work(i: int) -> None:
        results[i] = [network(picture=i * PICTURE)[0] for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for i, found in results.items():
        np.testing.assert_array_equal(found, 20 * [2 * i * PICTURE])


def test_open_sizes_on_cuda(open_sizes: Path, cuda: FakeOnnxRuntime) -> None:
    """Nothing is bound, and nothing recorded."""
    graph = OnnxGraph(open_sizes, "cuda")
    assert [session.recorded for session in cuda.sessions] == [True, False]
    for shape in ((1, 3, 5, 7), (1, 3, 2, 2)):
        picture = np.ones(shape, np.float32)
        assert_same(graph(picture=picture), [2 * picture])
    assert (cuda.sessions[1].runs, cuda.sessions[1].bound_runs) == (2, 0)


@pytest.mark.parametrize(("inputs", "expected"), wrong_inputs())
def test_inputs_that_do_not_fit_on_cuda(graph: Path, cuda: FakeOnnxRuntime, inputs: dict, expected: str) -> None:
    """The real `update_inplace` takes doubles for floats, and any shape of as many numbers: this one does too."""
    network = OnnxGraph(graph, "cuda")
    assert expected in line_of(lambda: network(**inputs))
    assert_same(network(picture=PICTURE), [2 * PICTURE])


@pytest.mark.parametrize("view", [np.s_[..., ::2], np.s_[..., 3::-1]])
def test_inputs_of_any_strides_on_cuda(graph: Path, cuda: FakeOnnxRuntime, view: Any) -> None:
    wide = np.random.default_rng(0).random((1, 3, 4, 8), np.float32)
    assert_same(OnnxGraph(graph, "cuda")(picture=wide[view]), [2 * wide[view]])


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("no libraries", "device 'cuda': cannot be used here, expected a working driver and its libraries"),
        ("no driver", "small.onnx: cannot be run on cuda: CUDA failure 35: CUDA driver version is insufficient"),
        ("memory", "Failed to allocate memory for requested buffer of size 786432; " + REMEDY),
    ],
    indirect=["cuda"],
)
def test_cuda_is_had_or_refused(
    graph: Path, cuda: FakeOnnxRuntime, expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing falls back to the CPU, and nothing is printed that is not an error of ours."""
    for opened in (lambda: OnnxGraph(graph, "cuda"), lambda: open_graph(graph, "cuda")):
        assert line_of(opened).endswith(expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cuda", ["foreign layer"], indirect=True)
def test_layers_that_cuda_lacks(graph: Path, cuda: FakeOnnxRuntime, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(UserWarning, match=r"small\.onnx: some of its layers run on the CPU, the others on cuda"):
        network = OnnxGraph(graph, "cuda")
    assert network.device == "cuda"
    assert_same(network(picture=PICTURE), [2 * PICTURE])
    assert not cuda.sessions[-1].recorded
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cuda", ["at run"], indirect=True)
@pytest.mark.parametrize("shape", [(1, 3, 4, 4), OPEN], ids=["bound", "open"])
def test_cuda_that_fails_at_work(tmp_path: Path, cuda: FakeOnnxRuntime, shape: tuple) -> None:
    graph = OnnxGraph(small_graph(tmp_path / "a.onnx", shape), "cuda")
    assert line_of(lambda: graph(picture=PICTURE)).endswith(
        "a.onnx: cannot be run on cuda: CUDA failure 700: an illegal memory access was encountered"
    )


def test_the_cpu_is_opened_as_ever(graph: Path, cuda: FakeOnnxRuntime, capfd: pytest.CaptureFixture[str]) -> None:
    """Where CUDA is installed too: no libraries are loaded for it, and the session is a plain one."""
    network = OnnxGraph(graph, threads=1)
    (session,) = cuda.sessions
    assert (network.device, session.options, session.providers) == ("cpu", None, ["CPUExecutionProvider"])
    assert session.real.get_session_options().intra_op_num_threads == 1
    assert session.real.get_session_options().get_session_config_entry("session.force_spinning_stop") == "1"
    assert_same(network(picture=PICTURE), [2 * PICTURE])
    assert (session.runs, session.bound_runs, cuda.severity) == (1, 0, None)
    assert capfd.readouterr() == ("", "")


def test_threads_of_the_cpu(graph: Path) -> None:
    network = open_graph(graph, "cpu", 1)
    assert isinstance(network, OnnxGraph)
    assert network._session.get_session_options().intra_op_num_threads == 1
    assert network._bound is None


@pytest.fixture
def real_cuda(graph: Path) -> None:
    try:
        OnnxGraph(graph, "cuda")
    except HueglassError as error:
        pytest.skip(str(error))


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_real_cuda_agrees_with_the_cpu(name: str, real_cuda: None) -> None:
    graph, reference = OnnxGraph(EMBEDDED / name, "cuda"), OnnxGraph(EMBEDDED / name)
    assert graph._bound is not None
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        assert_same(graph(**inputs), reference(**inputs), atol=TOLERANCE)


@pytest.mark.gpu
@pytest.mark.parametrize("then", ["Neg", "NonZero"])
def test_real_cuda_gives_all_outputs(tmp_path: Path, real_cuda: None, then: str) -> None:
    path = small_graph(tmp_path / "two.onnx", then=then, both=True)
    assert_same(OnnxGraph(path, "cuda")(picture=PICTURE), OnnxGraph(path)(picture=PICTURE))
    first = OnnxGraph(path, "cuda", outputs=1)
    assert first._bound is not None or then == "NonZero"
    assert_same(first(picture=PICTURE), [2 * PICTURE])


@pytest.mark.gpu
def test_real_cuda_takes_open_sizes_and_other_threads(open_sizes: Path, graph: Path, real_cuda: None) -> None:
    picture = np.random.default_rng(0).random((1, 3, 5, 7), np.float32)
    assert_same(OnnxGraph(open_sizes, "cuda")(picture=picture), [2 * picture])
    network, found = OnnxGraph(graph, "cuda"), []
    thread = threading.Thread(target=lambda: found.extend(network(picture=PICTURE)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found, [2 * PICTURE])
