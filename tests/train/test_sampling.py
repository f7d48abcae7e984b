"""Crops, how one lies in another, and label maps, of which all samples are made."""

import numpy as np
import pytest

pytest.importorskip("torch")
from hueglass.train.sampling import Crop, cut, label_maps, motion

FULL = Crop(0, 0, 1, 1, False)


def test_label_maps_are_one_for_each_wanted_label() -> None:
    labels = np.array([[0, 1, 2], [3, 3, 0]], np.uint8)
    maps = label_maps(labels, [3, 0])
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps[..., 0], [[0, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(maps[..., 1], [[1, 0, 0], [0, 0, 1]])


def test_a_full_crop_at_the_same_size_is_the_picture() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut(image, FULL, 48), image)
    np.testing.assert_array_equal(cut(image, Crop(0, 0, 1, 1, True), 48), image[:, ::-1])
    np.testing.assert_array_equal(cut(image, Crop(0.25, 0.5, 0.5, 0.5, False), 24), image[24:, 12:36])


@pytest.mark.parametrize("channels", [2, 3, 4, 7])
def test_cut_takes_any_number_of_channels(channels: int) -> None:
    maps = np.random.default_rng(4).random((40, 50, channels), np.float32)
    out = cut(maps, Crop(0.1, 0.2, 0.6, 0.7, True), 16)
    assert out.shape == (16, 16, channels)
    first = cut(maps[..., :2], Crop(0.1, 0.2, 0.6, 0.7, True), 16)
    np.testing.assert_allclose(out[..., :2], first, atol=1e-6)


def test_cut_is_never_empty() -> None:
    assert cut(np.zeros((1, 200, 3), np.uint8), Crop(0.5, 0.9, 0.1, 0.1, False), 8).shape == (8, 8, 3)


@pytest.mark.parametrize("mirrored", [(False, False), (True, False), (False, True), (True, True)])
def test_motion_says_where_a_place_of_the_second_view_lies_in_the_first(mirrored: tuple[bool, bool]) -> None:
    first = Crop(0.1, 0.2, 0.5, 0.6, mirrored[0])
    second = Crop(0.3, 0.1, 0.4, 0.7, mirrored[1])
    for x, y in ((0.25, 0.5), (0.9, 0.1)):
        across = 1 - x if second.mirrored else x
        in_picture = (second.left + across * second.width, second.top + y * second.height)
        u, v = (in_picture[0] - first.left) / first.width, (in_picture[1] - first.top) / first.height
        wanted = (2 * (1 - u if first.mirrored else u) - 1, 2 * v - 1)
        np.testing.assert_allclose(motion(first, second) @ (2 * x - 1, 2 * y - 1, 1), wanted, atol=1e-6)


def test_a_crop_lies_in_itself_as_it_is_and_mirrored_as_if_turned_round() -> None:
    crop = Crop(0.1, 0.2, 0.5, 0.6, False)
    np.testing.assert_allclose(motion(crop, crop), [[1, 0, 0], [0, 1, 0]], atol=1e-7)
    turned = Crop(0.1, 0.2, 0.5, 0.6, True)
    np.testing.assert_allclose(motion(crop, turned), [[-1, 0, 0], [0, 1, 0]], atol=1e-7)
    assert motion(crop, turned).dtype == np.float32


def test_there_and_back_again_is_where_one_was() -> None:
    first, second = Crop(0.1, 0.2, 0.5, 0.6, True), Crop(0.3, 0.1, 0.4, 0.7, False)
    there, back = (np.vstack([motion(*pair), (0, 0, 1)]) for pair in ((first, second), (second, first)))
    np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-6)
