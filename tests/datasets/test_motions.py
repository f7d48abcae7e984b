"""Scenes of known motion: cameras that come back, and points that stay on the thing that they are of."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hueglass.datasets import motions
from hueglass.datasets.motions import FRAMES, RATE, SECONDS, TURN, WIDE, Glimpse, glimpses, head_turning, window_over
from hueglass.datasets.panoramas import Panorama


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motions, "WIDTH", 160)
    monkeypatch.setattr(motions, "HEIGHT", 120)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture without edges, every place of which looks different."""
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([40 + 170 * across, 40 + 170 * down, 120 + 80 * np.sin(6 * across + 4 * down)], -1).astype(np.uint8)


def seen_at(glimpse: Glimpse) -> np.ndarray:
    """The colours (n, 3) of the points in a frame, NaN where they are not seen."""
    height, width = glimpse.image.shape[:2]
    found = np.full((len(glimpse.places), 3), np.nan)
    there = ~np.isnan(glimpse.places[:, 0])
    x, y = np.floor(glimpse.places[there] * (width, height)).astype(int).T
    found[there] = glimpse.image[y.clip(0, height - 1), x.clip(0, width - 1)]
    return found


def spread(colours: np.ndarray) -> float:
    """How far a point's colour (frames, n) differs over time at most, of those that are seen."""
    colours = colours[:, ~np.isnan(colours).all(0)]
    return float((np.nanmax(colours, 0) - np.nanmin(colours, 0)).max())


def test_a_window_shows_every_point_in_its_own_colour() -> None:
    frames = list(window_over(smooth(150, 200)))
    assert len(frames) == FRAMES
    assert frames[0].image.shape == (90, 120, 3)
    assert [frame.time for frame in frames[:2]] == [0, 1 / RATE]
    assert frames[-1].time < SECONDS
    colours = np.stack([seen_at(frame) for frame in frames])
    assert max(spread(colours[..., channel]) for channel in range(3)) <= 8  # of neighbouring pixels
    assert (~np.isnan(colours[..., 0])).any(0).mean() > 0.6
    np.testing.assert_allclose(frames[0].places, frames[-1].places, atol=1e-9)
    np.testing.assert_array_equal(frames[0].image, frames[-1].image)
    corner = np.nanmin(frames[FRAMES // 2].places, 0)
    assert (corner < 0.05).all()  # at the other end there is something to see as well


def test_a_head_turns_as_far_as_it_says_and_comes_back() -> None:
    """In a world whose red is its longitude."""
    longitude = np.broadcast_to((np.arange(512) + 0.5) / 512, (256, 512))
    world = Panorama("world", np.repeat(longitude[..., None].astype(np.float32), 3, 2))
    frames = list(head_turning(world, stops=-1))
    assert len(frames) == FRAMES
    middles = [frame.image[60, 80, 0] for frame in (frames[0], frames[FRAMES // 2], frames[-1])]
    assert middles[0] == middles[2] < middles[1]
    colours = np.stack([seen_at(frame)[:, 0] for frame in frames])
    assert spread(colours) <= 6
    seen = ~np.isnan(colours)
    assert seen.any(0).mean() > 0.8
    share = seen[0].mean()
    assert share == pytest.approx(WIDE / (WIDE + TURN), abs=0.12)


def test_the_file_says_what_moves(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), smooth(60, 80))
    cv2.imwrite(str(tmp_path / "b.hdr"), np.ones((16, 32, 3), np.float32))
    assert next(glimpses(tmp_path / "a.png")).image.shape == (36, 48, 3)
    assert next(glimpses(tmp_path / "b.hdr")).image.shape == (120, 160, 3)
