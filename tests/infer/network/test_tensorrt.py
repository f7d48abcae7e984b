"""Graphs as TensorRT engines: the same numbers as on the CPU, one line for errors.

TensorRT and CuPy are stand-ins; tests marked `gpu` use the real ones where there is a GPU.
"""

import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_cupy import Machine, Stream
from support.graphs import (
    EMBEDDED_GRAPHS,
    OPEN,
    PICTURE,
    PROFILE,
    REMEDY,
    TOLERANCE,
    assert_same,
    feeds,
    line_of,
    small_graph,
    wrong_inputs,
)

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.manifest import EMBEDDED, SEGMENTER, STUDENT
from hueglass.infer.network import tensorrt_builder
from hueglass.infer.network.engine_cache import unavailable
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.infer.network.tensorrt import TensorRtGraph
from hueglass.infer.network.tensors import GraphInput

pytestmark = pytest.mark.filterwarnings("ignore:(?s).*building a TensorRT engine")


@pytest.fixture
def cupy(tensorrt: None) -> Any:
    return sys.modules["cupy"]


@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_an_engine_gives_what_the_graph_gives(name: str, tensorrt: None) -> None:
    """To the bit, frame after frame: whatever is bound to the wrong place or fetched too early shows."""
    engine, graph = TensorRtGraph(EMBEDDED / name), OnnxGraph(EMBEDDED / name)
    assert engine.device == "tensorrt"
    assert engine.inputs == graph.inputs
    for seed in range(3):
        inputs = feeds(EMBEDDED / name, seed)
        assert_same(engine(**inputs), graph(**inputs))


def test_memory_on_the_gpu_is_kept_between_frames(tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(EMBEDDED / STUDENT)
    results = [engine(**feeds(EMBEDDED / STUDENT, seed))[0] for seed in range(3)]
    assert machine.allocations == 6  # four inputs and the two outputs
    assert not (results[0] == results[1]).all()  # a result is not overwritten by the next


def test_inputs_of_any_strides(graph: Path, tensorrt: None) -> None:
    wide = np.random.default_rng(0).random((1, 3, 4, 8), np.float32)
    engine = TensorRtGraph(graph)
    for view in (wide[..., ::2], wide[..., 3::-1], np.asfortranarray(wide[..., :4])):
        assert_same(engine(picture=view), [2 * view])


def test_open_sizes_within_the_profile(open_sizes: Path, tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(open_sizes, PROFILE)
    assert engine.inputs == [GraphInput("picture", "tensor(float)", (1, 3, None, None))]
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 8, 8), (1, 3, 2, 16), (1, 3, 16, 2), (1, 3, 16, 2)):
        picture = rng.random(shape, np.float32)
        assert_same(engine(picture=picture), [2 * picture])
    assert machine.allocations == 2 * 3
    assert machine.used == 2 * 4 * 3 * 32


@pytest.mark.parametrize(("then", "dtype"), [("ArgMax", np.int64), ("Identity", np.float32)])
def test_outputs_of_other_types(tmp_path: Path, tensorrt: None, then: str, dtype: type) -> None:
    path = small_graph(tmp_path / "other.onnx", then=then)
    ours = TensorRtGraph(path)(picture=PICTURE)
    assert [output.dtype for output in ours] == [dtype]
    assert_same(ours, OnnxGraph(path)(picture=PICTURE))


def test_outputs_come_in_the_order_of_the_file(tmp_path: Path, tensorrt: None, machine: Machine) -> None:
    """The engine has them in another."""
    path = small_graph(tmp_path / "two.onnx", then="ArgMax", both=True)
    engine, graph = TensorRtGraph(path), OnnxGraph(path)
    for picture in (PICTURE, PICTURE[..., ::-1]):
        assert_same(engine(picture=picture), graph(picture=picture))
    assert machine.allocations == 3  # the input and two outputs, kept between frames


def test_outputs_of_open_sizes(tmp_path: Path, tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(small_graph(tmp_path / "open.onnx", OPEN, then="Neg", both=True), PROFILE)
    for shape in ((1, 3, 8, 8), (1, 3, 2, 16), (1, 3, 2, 16)):
        picture = np.full(shape, 3, np.float32)
        assert_same(engine(picture=picture), [2 * picture, -2 * picture])
    assert machine.allocations == 2 * 3


@pytest.mark.parametrize(("inputs", "expected"), wrong_inputs())
def test_inputs_that_do_not_fit_an_engine(
    graph: Path, tensorrt: None, machine: Machine, inputs: dict[str, np.ndarray], expected: str
) -> None:
    engine = TensorRtGraph(graph)
    assert expected in line_of(lambda: engine(**inputs))
    assert machine.uploads == 0
    assert_same(engine(picture=PICTURE), [2 * PICTURE])


@pytest.mark.parametrize("shape", [(1, 3, 1, 8), (1, 3, 17, 8), (1, 3, 8, 40)])
def test_sizes_beyond_the_profile(open_sizes: Path, tensorrt: None, shape: tuple[int, ...]) -> None:
    engine = TensorRtGraph(open_sizes, PROFILE)
    expected = f"open.onnx: input 'picture' is {shape}, expected (1, 3, 2, 2) to (1, 3, 16, 16) as built"
    assert line_of(lambda: engine(picture=np.zeros(shape, np.float32))).endswith(expected)


def test_open_sizes_without_a_profile(open_sizes: Path, tensorrt: None) -> None:
    assert "is (1, 3, ?, ?), expected a profile" in line_of(lambda: TensorRtGraph(open_sizes), UsageError)


def test_sizes_that_follow_from_values(tmp_path: Path, tensorrt: None) -> None:
    engine = TensorRtGraph(small_graph(tmp_path / "nonzero.onnx", then="NonZero"))
    assert "gives (4, ?), expected sizes that follow from the input's" in line_of(lambda: engine(picture=PICTURE))
    path = small_graph(tmp_path / "second.onnx", then="NonZero", both=True)
    assert "gives (4, ?), expected" in line_of(lambda: TensorRtGraph(path)(picture=PICTURE))
    assert_same(TensorRtGraph(path, outputs=1)(picture=PICTURE), [2 * PICTURE])


def test_inputs_that_are_sizes(graph: Path, tensorrt: None, machine: Machine) -> None:
    machine.fails.add("device shape")
    assert "'picture' sets the sizes of other tensors" in line_of(lambda: TensorRtGraph(graph))


def test_no_memory_for_the_engine(graph: Path, tensorrt: None, machine: Machine) -> None:
    machine.fails.add("context memory")
    line = line_of(lambda: TensorRtGraph(graph))
    assert "small.onnx: cannot be run on tensorrt: [executionContext.cpp" in line
    assert line.endswith(REMEDY)


def test_no_memory_for_the_frames(tensorrt: None, machine: Machine) -> None:
    machine.memory = 1 << 20
    engine = TensorRtGraph(EMBEDDED / STUDENT)
    line = line_of(lambda: engine(**feeds(EMBEDDED / STUDENT, 0)))
    assert "student.onnx: cannot be run on tensorrt: Out of memory allocating" in line
    assert line.endswith(REMEDY)
    machine.memory = 1 << 30
    inputs = feeds(EMBEDDED / STUDENT, 1)
    assert_same(engine(**inputs), OnnxGraph(EMBEDDED / STUDENT)(**inputs))


def test_a_gpu_that_fails(graph: Path, tensorrt: None, machine: Machine) -> None:
    engine = TensorRtGraph(graph)
    machine.fails.add("execute")
    tensorrt_builder._log(engine._trt).log(engine._trt.ILogger.ERROR, "of long ago")
    assert "small.onnx: cannot be run on tensorrt: IExecutionContext::enqueueV3" in line_of(
        lambda: engine(picture=PICTURE)
    )


def test_a_failure_without_a_word(graph: Path, tensorrt: None, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TensorRtGraph(graph)
    monkeypatch.setattr(engine._context, "execute_async_v3", lambda stream: False)
    assert "TensorRT says not why it cannot be run" in line_of(lambda: engine(picture=PICTURE))


def test_threads_take_turns(tensorrt: None) -> None:
    engine, graph = TensorRtGraph(EMBEDDED / SEGMENTER), OnnxGraph(EMBEDDED / SEGMENTER)
    wrong = []

    def work(seed: int) -> None:
        for i in range(4):
            inputs = feeds(EMBEDDED / SEGMENTER, 10 * seed + i)
            if not all(map(np.array_equal, engine(**inputs), graph(**inputs))):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_callers_stream_is_current_again(graph: Path, cupy: Any) -> None:
    engine = TensorRtGraph(graph)
    for call in (lambda: engine(picture=PICTURE), lambda: engine(picture=PICTURE[0])):
        try:
            call()
        except HueglassError:
            assert cupy.cuda.get_current_stream().ptr == 0
    assert not Stream.stack.__dict__.get("streams")


@pytest.fixture
def real_tensorrt() -> None:
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EMBEDDED_GRAPHS)
def test_real_tensorrt_agrees_with_the_cpu(name: str, real_tensorrt: None) -> None:
    reference, inputs = OnnxGraph(EMBEDDED / name), feeds(EMBEDDED / name, 0)
    with pytest.warns(UserWarning, match="building a TensorRT engine"):
        graph = TensorRtGraph(EMBEDDED / name)
    assert_same(graph(**inputs), reference(**inputs), atol=TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # from the cache
        again = TensorRtGraph(EMBEDDED / name)
    assert_same(again(**inputs), graph(**inputs))


@pytest.mark.gpu
def test_real_tensorrt_gives_all_outputs(tmp_path: Path, real_tensorrt: None) -> None:
    path = small_graph(tmp_path / "two.onnx", then="Neg", both=True)
    assert_same(TensorRtGraph(path)(picture=PICTURE), [2 * PICTURE, -2 * PICTURE])
    path = small_graph(tmp_path / "nonzero.onnx", then="NonZero", both=True)
    assert_same(TensorRtGraph(path, outputs=1)(picture=PICTURE), [2 * PICTURE])


@pytest.mark.gpu
def test_real_tensorrt_with_a_profile(open_sizes: Path, real_tensorrt: None) -> None:
    graph = TensorRtGraph(open_sizes, PROFILE)
    for shape in ((1, 3, 8, 8), (1, 3, 2, 16)):
        picture = np.random.default_rng(0).random(shape, np.float32)
        assert_same(graph(picture=picture), [2 * picture])
    assert "as built" in line_of(lambda: graph(picture=np.zeros((1, 3, 17, 8), np.float32)))


@pytest.mark.gpu
def test_real_tensorrt_refuses_an_engine_that_is_none(real_tensorrt: None) -> None:
    trt = tensorrt_builder.import_tensorrt()
    assert tensorrt_builder.deserialised(trt, os.urandom(1000)) is None
    assert tensorrt_builder.take_error(trt) != ""
