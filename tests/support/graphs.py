"""Graph files small enough to know what they give, what is fed to them, and lines that errors consist of."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from hueglass.infer.errors import HueglassError
from hueglass.infer.model.manifest import LOOK_ENCODER, SEGMENTER, STUDENT
from hueglass.infer.network.onnx import OnnxGraph

EMBEDDED_GRAPHS = (STUDENT, LOOK_ENCODER, SEGMENTER)
OPEN = (1, 3, "h", "w")
PROFILE = {"picture": ((1, 3, 2, 2), (1, 3, 8, 8), (1, 3, 16, 16))}
PICTURE = np.random.default_rng(0).random((1, 3, 4, 4), np.float32)
TOLERANCE = 1e-3
"""Of coefficients and codes about 1, and of maps: on another device the order of the sums is another, and that is
all."""
REMEDY = "close what else uses the GPU, or take device 'cpu'"


def small_graph(
    path: Path, shape: tuple = (1, 3, 4, 4), scale: float = 2.0, then: str = "", both: bool = False
) -> Path:
    """A graph file: `scaled` = `picture` * scale, and `then` an operator on it, as `out`, in its place or as the second
    of both outputs."""
    helper = onnx.helper
    nodes = [helper.make_node("Mul", ["picture", "scale"], ["scaled"], name="scaling")]
    outputs = [helper.make_tensor_value_info("scaled", onnx.TensorProto.FLOAT, shape)]
    if then:
        kind = onnx.TensorProto.INT64 if then in ("NonZero", "ArgMax") else onnx.TensorProto.FLOAT
        sequence = then == "SequenceConstruct"
        described = helper.make_tensor_sequence_value_info if sequence else helper.make_tensor_value_info
        nodes.append(helper.make_node(then, ["scaled"], ["out"], name="the_last"))
        outputs = [*(outputs if both else ()), described("out", kind, None)]
    takes = helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, shape)
    stored = onnx.numpy_helper.from_array(np.float32(scale), "scale")
    graph = helper.make_graph(nodes, "small", [takes], outputs, [stored])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def assert_same(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], atol: float = 0.0) -> None:
    """All that two graphs give, output by output: to the bit, or to `atol`."""
    assert type(found) is tuple
    for ours, theirs in zip(found, expected, strict=True):
        assert type(ours) is np.ndarray
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def feeds(path: Path, seed: int) -> dict[str, np.ndarray]:
    """Random inputs of an embedded graph."""
    rng = np.random.default_rng(seed)
    return {x.name: rng.random([n or 1 for n in x.shape], np.float32) for x in OnnxGraph(path).inputs}


def line_of(call: Callable, kind: type[HueglassError] = HueglassError) -> str:
    """What an error says, which has to be one line."""
    with pytest.raises(HueglassError) as caught:
        call()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def wrong_inputs() -> list[tuple[dict[str, np.ndarray], str]]:
    return [
        ({}, "given nothing, expected picture"),
        ({"photo": PICTURE}, "given photo, expected picture"),
        ({"picture": PICTURE, "self": PICTURE}, "given picture, self, expected picture"),
        ({"picture": PICTURE.astype(float)}, "input 'picture' is float64 (1, 3, 4, 4), expected float32 (1, 3, 4, 4)"),
        ({"picture": PICTURE[:, :2]}, "input 'picture' is float32 (1, 2, 4, 4), expected float32 (1, 3, 4, 4)"),
        ({"picture": PICTURE[0]}, "input 'picture' is float32 (3, 4, 4), expected float32 (1, 3, 4, 4)"),
        ({"picture": PICTURE.reshape(1, 3, 2, 8)}, "is float32 (1, 3, 2, 8), expected float32 (1, 3, 4, 4)"),
    ]
