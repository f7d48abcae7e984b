"""What the segmenter's training sees: two views of a picture, cut, moved and lit, and their truth with them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.sampling import Crop, cut
from hueglass.train.segmenter.lessons import Kind, Lesson
from hueglass.train.segmenter.samples import SegmentSampleConfig, SegmentSampler, cut_maps

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))
STILL = SegmentSampleConfig(smallest_crop=1, stretch=0, flip=0, graded=0, blur=0, noise=0, turn=0, zoom=0)
GREY = np.zeros((8, 8, 3), np.uint8)


def lesson(labels: np.ndarray, image: np.ndarray = GREY, kind: Kind = "photograph") -> Lesson:
    """A picture of which labels (M, M) are sure; -1 is unknown."""
    maps = np.stack([(labels == region) * np.uint8(255) for region in range(8)])
    return Lesson("p", image, maps, kind)


def full(region: int, size: int = 16) -> np.ndarray:
    return np.full((size, size), region)


def patches() -> Lesson:
    """A picture painted in its own labels."""
    labels = np.kron(np.random.default_rng(0).integers(0, 8, (8, 8)), np.ones((16, 16), int))
    return lesson(labels, np.repeat(labels[..., None].astype(np.uint8) * 30, 3, 2))


@pytest.mark.parametrize("crop", [Crop(0, 0, 1, 1, False), Crop(0, 0, 1, 1, True), Crop(0.2, 0.1, 0.5, 0.7, True)])
def test_truth_is_cut_and_mirrored_with_its_picture(crop: Crop) -> None:
    one = patches()
    picture, maps = cut(one.image, crop, 128), cut_maps(one.maps, crop, 64)
    inner = picture.reshape(64, 2, 64, 2, 3).mean((1, 3, 4)) / 30
    assert (np.abs(inner - maps.argmax(-1)) < 0.01).mean() > 0.8  # all but the borders between patches
    np.testing.assert_allclose(maps.sum(-1, dtype=int), 255, atol=4)


def test_maps_are_cut_between_their_pixels_as_a_picture_is_shrunk() -> None:
    """Half a pixel of the map belongs to the crop: bilinear, as its neighbours say."""
    ramp = np.zeros((8, 4, 4), np.uint8)
    ramp[SKY] = np.arange(0, 160, 40)
    seen = cut_maps(ramp, Crop(0.125, 0, 0.75, 1, False), 3)
    np.testing.assert_array_equal(seen[0, :, SKY], [20, 60, 100])
    np.testing.assert_array_equal(cut_maps(ramp, Crop(0.125, 0, 0.75, 1, True), 3)[0, :, SKY], [100, 60, 20])


def test_both_views_agree_on_what_both_show() -> None:
    """Without other light, the second view is the first one, moved as `motion` says."""
    config = STILL.model_copy(update={"smallest_crop": 0.5, "turn": 0.4, "zoom": 0.2, "flip": 0.5})
    batch = SegmentSampler(config, [patches()], 128, seed=1).draw(20)
    places = torch.nn.functional.affine_grid(batch.motion, [20, 8, 64, 64], align_corners=False)
    there = torch.nn.functional.grid_sample(batch.truth[0::2], places, align_corners=False)
    seen = (places.abs() < 1).all(-1)
    alike = (there.argmax(1) == batch.truth[1::2].argmax(1))[seen].float().mean()
    assert 0.3 < seen.float().mean() < 1
    assert alike > 0.9


def test_samples_repeat_after_a_restore() -> None:
    sampler = SegmentSampler(SegmentSampleConfig(), [patches()], 64, seed=3)
    sampler.draw(1)
    state = sampler.state()
    batch = sampler.draw(2)
    sampler.restore(state)
    again = sampler.draw(2)
    assert torch.equal(batch.images, again.images)
    assert torch.equal(batch.truth, again.truth)
    assert torch.equal(batch.motion, again.motion)
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.truth.shape == (4, 8, 32, 32)
    assert batch.weights.shape == (4, 8)
    assert batch.kinds.tolist() == [0] * 4
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1


def test_kinds_are_drawn_by_their_shares_and_rare_regions_often() -> None:
    """Forty frames of road, one of them with a person, and one photograph of a sky, half unknown."""
    road = [lesson(full(GROUND), kind="film") for _ in range(39)]
    crossing = lesson(full(PERSON), kind="film")
    sky = lesson(np.where(np.arange(16) < 8, SKY, -1)[None].repeat(16, 0))
    config = STILL.model_copy(update={"shares": {"photograph": 0.25, "film": 0.75, "panorama": 1}, "rare": 1.0})
    truth = SegmentSampler(config, [*road, crossing, sky], 32, seed=0).draw(400).truth[0::2]
    middle = truth[:, :, 8, 4]
    assert float(middle[:, SKY].mean()) == pytest.approx(0.25, abs=0.07)
    assert float(middle[:, PERSON].mean()) == pytest.approx(0.375, abs=0.07)
    assert (truth[middle[:, SKY] == 1][..., 9:] == 0).all()


def test_rare_pixels_count_more_and_all_pixels_one_on_average() -> None:
    labels = full(GROUND, 10)
    labels[0], labels[1] = PERSON, -1
    config = STILL.model_copy(update={"rare": 0.0, "balance": 0.5})
    batch = SegmentSampler(config, [lesson(labels)], 80, seed=0).draw(1)
    weights = batch.weights[0]
    assert weights[PERSON] / weights[GROUND] == pytest.approx((80 / 10) ** 0.5)
    counted = (batch.truth[0] * weights[:, None, None]).sum(0)
    known = batch.truth[0].sum(0)
    assert float(counted.sum() / known.sum()) == pytest.approx(1, rel=0.02)


def test_the_crop_for_a_rare_region_shows_it() -> None:
    """A person of nine pixels in a hundred by a hundred, and crops of half the picture's sides."""
    labels = full(GROUND, 100)
    labels[:30, 40:80] = PERSON
    config = SegmentSampleConfig(smallest_crop=0.5, rare=1.0)
    drawn = SegmentSampler(config, [lesson(labels)], 128, seed=0).draw(60).truth[0::2]
    assert (drawn[:, PERSON] > 0.5).flatten(1).any(1).float().mean() > 0.6
