"""Small segmentation graphs whose truth can be worked out by hand, and label maps beside them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper

RNG = np.random.default_rng(0)
SIZE = 16
PICTURE = RNG.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
DYNAMIC = (1, 3, "h", "w")
WEIGHT, BIAS = RNG.normal(0, 4, (5, 3)), RNG.normal(0, 1, 5)
LABELS = ["sky", "ground", None, "ground", ""]


def graph(path: Path, nodes: list, shape: Sequence, output: int = TensorProto.FLOAT, **values: np.ndarray) -> Path:
    """A graph from `picture` to `out`, given its nodes and the values they use."""
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    takes = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
    gives = helper.make_tensor_value_info("out", output, None)
    model = helper.make_model(
        helper.make_graph(nodes, "small", [takes], [gives], stored),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(model, path)
    return path


def convolution(path: Path, weight: np.ndarray, bias: np.ndarray, shape: Sequence = DYNAMIC, then: str = "") -> Path:
    """Scores of class c are weight[c] . colour + bias[c]; `then` an operator on them."""
    nodes = [helper.make_node("Conv", ["picture", "weight", "bias"], ["scores" if then else "out"])]
    if then == "ArgMax":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["out"], axis=1, keepdims=0))
    elif then == "ArgMax of one channel":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["out"], axis=1, keepdims=1))
    elif then == "Softmax":
        nodes.append(helper.make_node("Softmax", ["scores"], ["out"], axis=1))
    elif then:
        nodes.append(helper.make_node(then, ["scores"], ["out"]))
    output = TensorProto.INT64 if then.startswith("ArgMax") else TensorProto.FLOAT
    values = {"weight": weight.astype(np.float32)[..., None, None], "bias": bias.astype(np.float32)}
    return graph(path, nodes, shape, output, **values)


def label_file(folder: Path, content: object) -> Path:
    path = folder / "labels.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
