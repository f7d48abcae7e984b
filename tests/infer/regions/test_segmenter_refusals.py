"""Segmenters that do not fit: every door is kept, in one line that names the file."""

from pathlib import Path

import numpy as np
import pytest
from support.segmenter_graphs import BIAS, DYNAMIC, LABELS, PICTURE, SIZE, WEIGHT, convolution, graph, label_file

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.infer.regions.segmenter import MAX_CLASSES, Segmenter
from hueglass.infer.regions.user_segmenter import open_segmenter

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper


def refused(path: Path, labels: Path, kind: type = HueglassError) -> str:
    with pytest.raises(HueglassError) as caught:
        open_segmenter(path, labels, SIZE)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((1, 4, 8, 8), "tensor(float) (1, 4, 8, 8)"),
        ((1, 8, 8, 3), "tensor(float) (1, 8, 8, 3)"),
        ((2, 3, 8, 8), "tensor(float) (2, 3, 8, 8)"),
        ((3, 8, 8), "tensor(float) (3, 8, 8)"),
    ],
)
def test_other_inputs_are_refused(tmp_path: Path, shape: tuple, found: str) -> None:
    path = graph(tmp_path / "net.onnx", [helper.make_node("Identity", ["picture"], ["out"])], shape)
    said = refused(path, label_file(tmp_path, LABELS))
    assert said == f"{path}: takes {found}, expected only tensor(float) (1, 3, height, width)"


def test_inputs_of_another_kind_or_number_are_refused(tmp_path: Path) -> None:
    labels = label_file(tmp_path, LABELS)
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS)
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))
    onnx.save(model, path)
    assert "takes tensor(float) (1, 3, ?, ?) and tensor(float) (1), expected only" in refused(path, labels)
    path = graph(tmp_path / "bytes.onnx", [helper.make_node("Identity", ["picture"], ["out"])], DYNAMIC)
    model = onnx.load(path)
    for part in (model.graph.input[0], model.graph.output[0]):
        part.type.tensor_type.elem_type = TensorProto.UINT8
    onnx.save(model, path)
    assert "takes tensor(uint8) (1, 3, ?, ?), expected only" in refused(path, labels)


@pytest.mark.parametrize(
    ("node", "output", "found"),
    [
        (helper.make_node("ReduceMean", ["picture"], ["out"], keepdims=0), TensorProto.FLOAT, "float32 ()"),
        (helper.make_node("Flatten", ["picture"], ["out"]), TensorProto.FLOAT, "float32 (1, 3072)"),
        (helper.make_node("Concat", ["picture", "picture"], ["out"], axis=0), TensorProto.FLOAT, "float32 (2, 3, 32,"),
        (helper.make_node("ReduceMax", ["picture", "axis"], ["out"]), TensorProto.FLOAT, "float32 (1, 1, 32, 32)"),
        (helper.make_node("Cast", ["picture"], ["out"], to=TensorProto.INT32), TensorProto.INT32, "int32 (1, 3, 32,"),
        (helper.make_node("Cast", ["picture"], ["out"], to=TensorProto.BOOL), TensorProto.BOOL, "bool (1, 3, 32, 32)"),
        (helper.make_node("SequenceConstruct", ["picture"], ["out"]), None, "no tensor"),
    ],
)
def test_other_outputs_are_refused(tmp_path: Path, node: object, output: int | None, found: str) -> None:
    path = graph(tmp_path / "net.onnx", [node], DYNAMIC, output or TensorProto.FLOAT, axis=np.array([1]))
    if output is None:
        model = onnx.load(path)
        model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("out", TensorProto.FLOAT, None))
        onnx.save(model, path)
    said = refused(path, label_file(tmp_path, LABELS))
    assert said.startswith(f"{path}: gives {found}")
    assert said.endswith(
        "expected float scores (1, 2 to 1024, h, w) or integer class numbers (1, h, w), sides up to 2048"
    )


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    many = MAX_CLASSES + 1
    path = convolution(tmp_path / "net.onnx", np.zeros((many, 3)), np.zeros(many))
    assert f"gives float32 (1, {many}, 32, 32), expected" in refused(path, label_file(tmp_path, LABELS))


def test_scores_that_are_not_finite_are_refused_at_the_door_and_later(tmp_path: Path) -> None:
    labels = label_file(tmp_path, ["a", "b", "c"])
    path = convolution(tmp_path / "net.onnx", -np.eye(3), -np.ones(3), then="Log")
    assert refused(path, labels) == f"{path}: gives NaN or infinity, expected finite scores"
    path = convolution(tmp_path / "net.onnx", np.eye(3), np.zeros(3), then="Log")
    with pytest.raises(HueglassError, match="NaN or infinity"):
        Segmenter(OnnxGraph(path), path, ("a", "b", "c"), (SIZE, SIZE), SIZE, "picture")(np.zeros_like(PICTURE))


def test_class_numbers_beyond_the_labels_are_refused(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", np.zeros((5, 3)), np.arange(5), then="ArgMax")  # 4 everywhere
    assert open_segmenter(path, label_file(tmp_path, [*"abcde"]), SIZE)(PICTURE).maps[4].min() == 1
    with pytest.raises(HueglassError, match=r"net.onnx: gives class numbers 4 to 4, expected 0 to 3"):
        open_segmenter(path, label_file(tmp_path, [*"abcd"]), SIZE)(PICTURE)
    nodes = [
        helper.make_node("ArgMax", ["picture"], ["first"], axis=1, keepdims=0),
        helper.make_node("Sub", ["first", "three"], ["out"]),
    ]
    path = graph(tmp_path / "below.onnx", nodes, DYNAMIC, TensorProto.INT64, three=np.array(3))
    with pytest.raises(HueglassError, match=r"below.onnx: gives class numbers -3 to -1, expected 0 to 3"):
        open_segmenter(path, label_file(tmp_path, [*"abcd"]), SIZE)(PICTURE)


@pytest.mark.parametrize(
    ("shape", "size", "expected"), [((1, 3, 24, 40), [40, 24], [24, 40]), ((1, 3, "h", 24), [30, 30], [30, 24])]
)
def test_a_size_that_the_graph_does_not_have_is_refused(
    tmp_path: Path, shape: tuple, size: list[int], expected: list[int]
) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, shape)
    labels = label_file(tmp_path, {"labels": LABELS, "size": size})
    assert refused(path, labels, UsageError) == f"{labels}: size is {size}, expected {expected} as {path} has it"


def test_pictures_that_are_too_large_are_refused(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, (1, 3, 8, 2049))
    said = refused(path, label_file(tmp_path, LABELS))
    assert said == f"{path}: takes pictures of 2049x8, expected sides of 1 to 2048"


def test_outputs_that_are_too_large_are_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Tile", ["picture", "times"], ["out"])]
    path = graph(tmp_path / "net.onnx", nodes, (1, 3, 1, 1), times=np.array([1, 1, 1, 2049]))
    assert "gives float32 (1, 3, 1, 2049), expected" in refused(path, label_file(tmp_path, LABELS))


def test_what_is_no_graph(tmp_path: Path) -> None:
    labels, path = label_file(tmp_path, LABELS), tmp_path / "net.onnx"
    assert refused(path, labels, UsageError) == f"{path}: no such file"
    assert refused(tmp_path, labels, UsageError) == f"{tmp_path}: is a directory, expected a file"
    path.write_bytes(b"")
    assert refused(path, labels) == f"{path}: is empty"
    path.write_bytes(b"no graph")
    assert refused(path, labels).startswith(f"{path}: cannot be run: ")
    convolution(path, WEIGHT, BIAS)
    path.write_bytes(path.read_bytes()[:-40])
    assert refused(path, labels).startswith(f"{path}: cannot be run: ")
    convolution(path, WEIGHT, BIAS)
    with pytest.raises(UsageError, match="device 'tpu', expected one of cpu, cuda"):
        open_segmenter(path, labels, SIZE, device="tpu")


@pytest.mark.parametrize(
    ("labels", "number"), [(["a"] * 4, 4), (["a"] * 6, 6), ({"labels": {"5": "a"}}, 6), ({"labels": ["a"]}, 1)]
)
def test_labels_for_another_number_of_classes_name_both_numbers(tmp_path: Path, labels: object, number: int) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS)
    file = label_file(tmp_path, labels)
    said = refused(path, file, UsageError)
    assert said == f"{file}: is for {number} classes, {path} gives scores of 5"
