"""The segmenter: small graphs whose truth can be worked out by hand, run for real; and every door is kept."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.network.graph import GraphInput, OnnxGraph
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.regions.segmenter import (
    LEAST_NAMED,
    MAX_BYTES,
    MAX_CLASSES,
    Segmenter,
    open_segmenter,
    read_label_map,
    region_maps,
)

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper

RNG = np.random.default_rng(0)
SIZE = 16
PICTURE = RNG.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
DYNAMIC = (1, 3, "h", "w")


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


def probabilities(picture: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """(C, H, W): the softmax of each pixel (H, W, 3) in [0, 1], in double precision."""
    scores = np.einsum("cd,hwd->chw", weight, picture) + bias[:, None, None]
    weights = np.exp(scores)
    return weights / weights.sum(0)


def slow_maps(shares: np.ndarray, labels: Sequence[str | None], size: int) -> dict[str, np.ndarray]:
    """Region maps of class shares (C, k size, k size), pixel by pixel."""
    factor = shares.shape[1] // size
    maps = {name: np.zeros((size, size)) for name in labels if name}
    for y in range(size):
        for x in range(size):
            for c, name in enumerate(labels):
                block = shares[c, y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
                if name:
                    maps[name][y, x] += block.mean()
            named = max(sum(m[y, x] for m in maps.values()), LEAST_NAMED)
            for m in maps.values():
                m[y, x] /= named
    return maps


WEIGHT, BIAS = RNG.normal(0, 4, (5, 3)), RNG.normal(0, 1, 5)
LABELS = ["sky", "ground", None, "ground", ""]


@pytest.mark.parametrize("size", [SIZE, SIZE // 2, SIZE // 4])
@pytest.mark.parametrize("softmax", [True, False])
def test_region_maps_are_those_of_the_slow_loop(size: int, softmax: bool) -> None:
    scores = RNG.normal(0, 3, (5, SIZE, SIZE)).astype(np.float32)
    shares = np.exp(scores.astype(float))
    shares /= shares.sum(0)
    membership = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 1, 0]], np.float32)
    maps = region_maps(scores if softmax else shares.astype(np.float32), membership, size, softmax)
    expected = slow_maps(shares, LABELS, size)
    np.testing.assert_allclose(maps, np.stack([expected["sky"], expected["ground"]]), atol=2e-6)
    assert (maps.dtype, maps.shape) == (np.float32, (2, size, size))


def test_class_numbers_are_probabilities_of_one() -> None:
    numbers = RNG.integers(0, 5, (SIZE, SIZE))
    membership = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 1, 0]], np.float32)
    sure = (np.arange(5)[:, None, None] == numbers).astype(np.float32)
    for size in (4, 8, 16, 23):
        expected = region_maps(sure, membership, size, softmax=False)
        np.testing.assert_allclose(region_maps(numbers, membership, size, softmax=False), expected, atol=1e-6)
    maps = slow_maps(sure, LABELS, 8)
    np.testing.assert_allclose(region_maps(numbers, membership, 8, False), [maps["sky"], maps["ground"]], atol=1e-6)


def test_maps_grow_without_steps_and_still_sum_to_one() -> None:
    scores = np.zeros((2, 2, 2), np.float32)
    scores[0, :, 0] = scores[1, :, 1] = 1
    maps = region_maps(scores, np.eye(2, dtype=np.float32), 8, softmax=False)
    row = np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)  # bilinear between the two columns
    np.testing.assert_allclose(maps[1], np.tile(row, (8, 1)), atol=1e-6)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-6)


@pytest.mark.parametrize(("named", "covered"), [(0.5, 1), (0.11, 1), (0.05, 0.5), (0.001, 0.01), (0, 0)])
def test_pixels_of_nameless_classes_stay_uncovered(named: float, covered: float) -> None:
    scores = np.array([0.75 * named, 0.25 * named, 1 - named], np.float32)[:, None, None] * np.ones((1, 4, 4))
    maps = region_maps(scores.astype(np.float32), np.eye(3, dtype=np.float32)[:2], 2, softmax=False)
    np.testing.assert_allclose(maps[:, 0, 0], [0.75 * covered, 0.25 * covered], atol=1e-6)


def test_maps_are_maps_whatever_comes_as_probabilities() -> None:
    scores = RNG.normal(0.3, 1, (5, SIZE, SIZE)).astype(np.float32)
    maps = region_maps(scores, np.eye(5, dtype=np.float32)[:3], SIZE // 2, softmax=False)
    assert maps.min() >= 0
    assert maps.sum(0).max() <= 1 + 1e-6


def test_scores_are_probabilities_only_if_none_is_negative(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", np.array([[2, 0, 0], [-2, 0, 0]]), np.array([0, 1]))  # they sum to 1
    assert open_segmenter(path, label_file(tmp_path, ["a", "b"]), SIZE).softmax
    path = convolution(tmp_path / "net.onnx", np.array([[1, 0, 0], [-1, 0, 0]]), np.array([0, 1]))
    assert not open_segmenter(path, label_file(tmp_path, ["a", "b"]), SIZE).softmax


def test_large_logits_do_not_overflow() -> None:
    scores = np.array([3e4, -3e4, 2.9e4], np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    maps = region_maps(scores, np.eye(3, dtype=np.float32), 2, softmax=True)
    np.testing.assert_array_equal(maps[:, 0, 0], [1, 0, 0])


@pytest.mark.parametrize("then", ["", "Softmax", "ArgMax", "ArgMax of one channel"])
def test_a_users_segmenter_gives_what_can_be_worked_out_by_hand(tmp_path: Path, then: str) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, then=then)
    segmenter = open_segmenter(path, label_file(tmp_path, LABELS), SIZE // 2, threads=1)
    regions = segmenter(PICTURE)
    shares = probabilities(PICTURE / 255, WEIGHT, BIAS)
    if then.startswith("ArgMax"):
        shares = (np.arange(5)[:, None, None] == shares.argmax(0)).astype(float)
    expected = slow_maps(shares, LABELS, SIZE // 2)
    assert regions.names == ("sky", "ground")
    np.testing.assert_allclose(regions.maps, [expected["sky"], expected["ground"]], atol=1e-5)
    assert regions.maps.min() >= 0
    assert regions.maps.sum(0).max() <= 1 + 1e-6
    assert segmenter.softmax == (then == "")


def test_the_bundles_segmenter_is_the_one_with_nothing_to_say(tmp_path: Path) -> None:
    weight, bias = RNG.normal(0, 4, (8, 3)), RNG.normal(0, 1, 8)
    halved = [
        helper.make_node("AveragePool", ["thumbnail"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["half", "weight", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["out"], axis=1),
    ]
    path = graph(
        tmp_path / "segmenter.onnx",
        [helper.make_node("Identity", ["picture"], ["thumbnail"]), *halved],
        (1, 3, SIZE, SIZE),
        weight=weight.astype(np.float32)[..., None, None],
        bias=bias.astype(np.float32),
    )
    segmenter = Segmenter(OnnxGraph(path), path, REGION_NAMES, (SIZE, SIZE), SIZE // 2, input="picture")
    regions = segmenter(PICTURE)
    small = (PICTURE / 255).reshape(SIZE // 2, 2, SIZE // 2, 2, 3).mean((1, 3))
    np.testing.assert_allclose(regions.maps, probabilities(small, weight, bias), atol=1e-5)
    np.testing.assert_allclose(regions.maps.sum(0), 1, atol=1e-6)
    assert regions.names == REGION_NAMES
    with pytest.raises(HueglassError, match="gives scores of 8 classes, expected 7"):
        Segmenter(OnnxGraph(path), path, REGION_NAMES[:7], (SIZE, SIZE), SIZE // 2, input="picture")(PICTURE)


@pytest.mark.parametrize("shape", [DYNAMIC, ("n", "c", "h", "w"), (1, 3, 24, 40), (1, 3, "h", 40)])
def test_pictures_are_sized_and_normalised_as_the_label_map_says(tmp_path: Path, shape: tuple) -> None:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    content = {"labels": LABELS, "mean": mean.tolist(), "std": deviation.tolist(), "size": [24, 40]}
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, shape)
    segmenter = open_segmenter(path, label_file(tmp_path, content), SIZE // 2)
    larger = cv2.resize(PICTURE, (40, 24), interpolation=cv2.INTER_LINEAR) / 255
    expected = np.einsum("cd,hwd->chw", WEIGHT, (larger - mean) / deviation) + BIAS[:, None, None]
    np.testing.assert_allclose(segmenter.scores(PICTURE), expected, atol=1e-3, rtol=1e-4)
    assert segmenter.size == (24, 40)
    assert segmenter(PICTURE).maps.shape == (2, SIZE // 2, SIZE // 2)


def test_smaller_pictures_are_averaged(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", np.eye(3), np.zeros(3), (1, 3, 4, 4))
    segmenter = open_segmenter(path, label_file(tmp_path, ["r", "g", "b"]), SIZE // 2)
    means = PICTURE.reshape(4, 4, 4, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(segmenter.scores(PICTURE) * 255, means, atol=0.51)


def test_sizes_that_nothing_fixes_are_the_thumbnails(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS)
    assert open_segmenter(path, label_file(tmp_path, LABELS), 20).size == (40, 40)
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, (1, 3, "h", 24))
    assert open_segmenter(path, label_file(tmp_path, LABELS), 20).size == (40, 24)


def test_classes_that_an_object_does_not_number_have_no_name(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS)
    listed = open_segmenter(path, label_file(tmp_path, LABELS), SIZE // 2)(PICTURE)
    content = {"labels": {"3": "ground", "1": " ground ", "0": "sky", "4": None}}
    numbered = open_segmenter(path, label_file(tmp_path, content), SIZE // 2)(PICTURE)
    assert numbered.names == listed.names
    np.testing.assert_array_equal(numbered.maps, listed.maps)
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, then="ArgMax")
    numbered = open_segmenter(path, label_file(tmp_path, {"labels": {"0": "sky"}}), SIZE // 2)(PICTURE)
    sky = probabilities(PICTURE / 255, WEIGHT, BIAS).argmax(0) == 0
    expected = slow_maps(sky[None].astype(float), ["sky"], SIZE // 2)
    np.testing.assert_allclose(numbered.maps, [expected["sky"]], atol=1e-6)


def test_there_may_be_more_names_than_slots(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(30)]
    path = convolution(tmp_path / "net.onnx", RNG.normal(0, 4, (30, 3)), np.zeros(30))
    regions = open_segmenter(path, label_file(tmp_path, names), SIZE)(PICTURE)
    assert regions.names == tuple(names)
    np.testing.assert_allclose(regions.maps.sum(0), 1, atol=1e-5)


def test_of_several_outputs_the_first_counts_and_half_floats_do(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["picture", "weight", "bias"], ["scores"]),
        helper.make_node("Cast", ["scores"], ["out"], to=TensorProto.FLOAT16),
        helper.make_node("Neg", ["scores"], ["aux"]),
    ]
    values = {"weight": WEIGHT.astype(np.float32)[..., None, None], "bias": BIAS.astype(np.float32)}
    path = graph(tmp_path / "net.onnx", nodes, DYNAMIC, TensorProto.FLOAT16, **values)
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("aux", TensorProto.FLOAT, None))
    onnx.save(model, path)
    segmenter = open_segmenter(path, label_file(tmp_path, LABELS), SIZE // 2)
    expected = np.einsum("cd,hwd->chw", WEIGHT, PICTURE / 255) + BIAS[:, None, None]
    np.testing.assert_allclose(segmenter.scores(PICTURE), expected, atol=0.02)
    assert segmenter.scores(PICTURE).dtype == np.float32


def test_any_name_of_the_input_will_do(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS)
    before = open_segmenter(path, label_file(tmp_path, LABELS), SIZE)(PICTURE)
    for name in ("self", "input.1", "images:0", "x y"):
        model = onnx.load(path)
        model.graph.input[0].name = model.graph.node[0].input[0] = name
        onnx.save(model, tmp_path / "renamed.onnx")
        segmenter = open_segmenter(tmp_path / "renamed.onnx", label_file(tmp_path, LABELS), SIZE)
        assert segmenter.input == name
        np.testing.assert_array_equal(segmenter(PICTURE).maps, before.maps)


def test_inputs_of_a_graph(tmp_path: Path) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS, (1, 3, "h", 24))
    assert OnnxGraph(path).inputs == [GraphInput("picture", "tensor(float)", (1, 3, None, 24))]


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


@pytest.mark.parametrize(
    ("labels", "number"), [(["a"] * 4, 4), (["a"] * 6, 6), ({"labels": {"5": "a"}}, 6), ({"labels": ["a"]}, 1)]
)
def test_labels_for_another_number_of_classes_name_both_numbers(tmp_path: Path, labels: object, number: int) -> None:
    path = convolution(tmp_path / "net.onnx", WEIGHT, BIAS)
    file = label_file(tmp_path, labels)
    said = refused(path, file, UsageError)
    assert said == f"{file}: is for {number} classes, {path} gives scores of 5"


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
    ("content", "said"),
    [
        (b"{", "cannot be read, expected a label map in JSON"),
        (b"\xff\xfe\x00", "cannot be read, expected a label map in JSON"),
        (b"[" * 100000, "cannot be read, expected a label map in JSON"),
        (b" " * (MAX_BYTES + 1), f"is larger than {MAX_BYTES} bytes, expected a label map"),
        ("sky", "broken label map: the file: "),
        (7, "broken label map: the file: "),
        ([], "names no class, expected at least one"),
        ([None, "", "  "], "names no class, expected at least one"),
        ({"labels": {}}, "names no class, expected at least one"),
        ({}, "broken label map: labels: Field required"),
        ({"labels": 7}, "broken label map: labels.object: "),
        (["sky", 7], "broken label map: labels.list.1: "),
        (["sky", "a" * 65], "broken label map: labels.list.1: "),
        (["sky", "a\nb"], "broken label map: labels.list.1: Value error, expected a name of printable characters"),
        (["sky", "\ud800"], "broken label map: labels.list.1: "),
        (["sky"] * (MAX_CLASSES + 1), "broken label map: labels.list: "),
        ({"labels": {"-1": "sky"}}, "broken label map: labels.object.-1.[key]: "),
        ({"labels": {"1024": "sky"}}, "broken label map: labels.object.1024.[key]: "),
        ({"labels": {"sky": "0"}}, "broken label map: labels.object.sky.[key]: "),
        ({"labels": ["sky"], "names": []}, "broken label map: names: "),
        ({"labels": ["sky"], "mean": [123.7, 116.3, 103.5]}, "broken label map: mean.0: "),
        ({"labels": ["sky"], "mean": 0.5}, "broken label map: mean: "),
        ({"labels": ["sky"], "std": [0.2, 0.2]}, "broken label map: std"),
        ({"labels": ["sky"], "std": [0.2, 0, 0.2]}, "broken label map: std.1: "),
        (b'{"labels": ["sky"], "std": [0.2, NaN, 0.2]}', "broken label map: std.1: "),
        (b'{"labels": ["sky"], "mean": [0.2, Infinity, 0.2]}', "broken label map: mean.1: "),
        ({"labels": ["sky"], "size": 512}, "broken label map: size: "),
        ({"labels": ["sky"], "size": [0, 512]}, "broken label map: size.0: "),
        ({"labels": ["sky"], "size": [512, 2049]}, "broken label map: size.1: "),
    ],
)
def test_label_maps_that_are_broken(tmp_path: Path, content: object, said: str) -> None:
    path = label_file(tmp_path, content)
    with pytest.raises(HueglassError) as caught:
        read_label_map(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UsageError)


def test_missing_label_map(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels.json: no such file"):
        read_label_map(tmp_path / "labels.json")


def test_names_are_free(tmp_path: Path) -> None:
    names = ["Straße", "the old town", "空", "a" * 64]
    label_map = read_label_map(label_file(tmp_path, json.dumps([*names, "", None], ensure_ascii=False).encode()))
    assert label_map.names(6) == (*names, None, None)
    assert (label_map.mean, label_map.std, label_map.size) == ((0, 0, 0), (1, 1, 1), None)
