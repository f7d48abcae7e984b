"""Crops and label maps, of which all samples are made."""

import numpy as np
import pytest

pytest.importorskip("torch")
from hueglass.train.sampling import Crop, cut, label_maps

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
