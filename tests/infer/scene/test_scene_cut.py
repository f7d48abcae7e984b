"""Cuts are found; a change of light, noise and motion are none."""

import cv2
import numpy as np
import pytest
from support.places import DATA

from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.scene.scene_cut import THRESHOLD, CutDetector, cut_score

SIZE = 128


def landscape(seed: int, width: int = SIZE) -> np.ndarray:
    """(SIZE, width, 3) uint8: a sky with a gradient over a random skyline, some of it dark and some of it bright."""
    generator = np.random.default_rng(seed)
    image = np.empty((SIZE, width, 3))
    top, bottom = generator.integers(40, 216, (2, 3))
    image[:] = top + (bottom - top) * np.linspace(0, 1, SIZE)[:, None, None]
    for left in range(0, width, 16):
        height = generator.integers(20, 100)
        image[-height:, left : left + 16] = generator.integers(10, 190) + generator.integers(0, 50, 3)
    return image.astype(np.uint8)


SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_identical_pictures_score_0(seed: int) -> None:
    for picture in (landscape(seed), np.full((SIZE, SIZE, 3), 40 * seed, np.uint8)):
        assert cut_score(picture, picture.copy()) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("seed", SEEDS)
def test_different_pictures_are_a_cut(seed: int) -> None:
    score = cut_score(landscape(seed), landscape(seed + 100))
    assert THRESHOLD < score <= 1
    assert cut_score(landscape(seed + 100), landscape(seed)) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", ["darker", "brighter", "warmer", "gamma"])
def test_light_is_no_cut(seed: int, change: str) -> None:
    picture = landscape(seed).astype(np.float32)
    after = {
        "darker": picture * 0.4,
        "brighter": picture * 1.6,
        "warmer": picture * [1.3, 1, 0.6],
        "gamma": 255 * (picture / 255) ** 0.5,
    }[change]
    assert cut_score(picture.astype(np.uint8), np.clip(after, 0, 255).astype(np.uint8)) < 0.8 * THRESHOLD


@pytest.mark.parametrize("seed", SEEDS)
def test_light_is_no_cut_in_fog(seed: int) -> None:
    """At a tenth of the contrast, where rounding to whole levels shows."""
    fog = 90 + 0.1 * landscape(seed)
    assert cut_score(fog.astype(np.uint8), (0.6 * fog).astype(np.uint8)) < THRESHOLD


@pytest.mark.parametrize("seed", SEEDS)
def test_light_is_no_cut_under_a_lamp_of_one_colour(seed: int) -> None:
    """Where two channels are black, they say nothing."""
    lamp = landscape(seed) * np.array([1, 0.3, 0])
    assert cut_score(lamp.astype(np.uint8), (0.5 * lamp).astype(np.uint8)) < THRESHOLD


@pytest.mark.parametrize("seed", SEEDS)
def test_from_black_to_a_picture_is_a_cut(seed: int) -> None:
    assert cut_score(np.zeros((SIZE, SIZE, 3), np.uint8), landscape(seed)) > THRESHOLD


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("deviation", [5, 25])
def test_noise_is_no_cut(seed: int, deviation: int) -> None:
    generator = np.random.default_rng(seed)
    noisy = [
        np.clip(landscape(seed) + generator.normal(0, deviation, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
        for _ in range(2)
    ]
    assert cut_score(*noisy) < THRESHOLD / 2


def test_noise_on_a_flat_picture_is_no_cut() -> None:
    generator = np.random.default_rng(0)
    flat = [np.clip(128 + generator.normal(0, 10, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8) for _ in range(2)]
    assert cut_score(*flat) < THRESHOLD


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [1, 4, 12])
def test_panning_is_no_cut(seed: int, step: int) -> None:
    """Up to a tenth of the width from one frame to the next."""
    wide = landscape(seed, 2 * SIZE)
    for left in range(0, SIZE - step, 16):
        before, after = (np.ascontiguousarray(wide[:, x : x + SIZE]) for x in (left, left + step))
        assert cut_score(before, after) < THRESHOLD


CUTS = {"avc720p_aac.mp4": [], "bunny_cut.mp4": [235], "driving_highway.mp4": [], "driving_white_lane.mp4": []}
"""The first frame after each cut, found by looking at the frames."""


@pytest.mark.parametrize("name", CUTS)
def test_real_clips(name: str) -> None:
    path = DATA / "video" / name
    if not path.exists():
        pytest.skip(f"no clip {path}")
    scores = {}
    with VideoSource(path) as clip:
        before = None
        for frame in clip:
            small = cv2.resize(frame.image, (256, 256), interpolation=cv2.INTER_AREA)
            if before is not None:
                scores[frame.index] = cut_score(before, small)
            before = small
    assert [i for i, score in scores.items() if score > THRESHOLD] == CUTS[name]
    assert max(score for i, score in scores.items() if i not in CUTS[name]) < THRESHOLD / 2


def test_the_detector_says_where_shots_begin() -> None:
    """The first frame, a cut, and time going back; nothing else."""
    rng = np.random.default_rng(3)
    still = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    other = np.kron(rng.integers(0, 90, (4, 4, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    detector = CutDetector()
    shots = [
        detector.update(x, t) for x, t in ((still, 0.0), (still, 0.04), (other, 0.08), (other, 0.12), (other, 0.1))
    ]
    assert shots == [True, False, True, False, True]
