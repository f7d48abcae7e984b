"""The segmenter: small graphs whose truth can be worked out by hand, run for real."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.segmenter_graphs import BIAS, DYNAMIC, LABELS, PICTURE, RNG, SIZE, WEIGHT, convolution, graph, label_file

from hueglass.infer.errors import HueglassError
from hueglass.infer.network.onnx import OnnxGraph
from hueglass.infer.network.tensors import GraphInput
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.regions.segmenter import LEAST_NAMED, Segmenter, region_maps
from hueglass.infer.regions.user_segmenter import open_segmenter

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper


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
    assert len(segmenter.graph(picture=np.zeros((1, 3, SIZE, SIZE), np.float32))) == 1  # no device has to give the rest


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
