"""Cameras: only the newest frame counts, and what goes away is opened again."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.cameras import SHAPE, numbered, reading

from hueglass.infer.errors import HueglassError
from hueglass.infer.media.camera import Camera, played
from hueglass.infer.media.images import write_image
from hueglass.infer.media.info import CameraWishes
from hueglass.infer.media.source import open_source


def test_whoever_is_slow_gets_the_newest_frame() -> None:
    with Camera(numbered()) as camera:
        first = camera.newest()
        time.sleep(0.2)
        second = camera.newest()
        assert first is not None
        assert second is not None
        assert second.index > first.index + 5
        assert second.image[0, 0, 0] == second.index
        assert camera.now - second.time < 0.1
        assert camera.newest(after=second.index + 10**6, timeout=0.01) is None
    assert not [t for t in threading.enumerate() if t.name == "camera"]


def test_a_camera_that_goes_away_is_opened_again() -> None:
    opened = []

    def read() -> Iterator[np.ndarray]:
        opened.append(time.perf_counter())
        if len(opened) == 2:
            raise HueglassError("camera 0: cannot be opened")
        for i in range(20):
            yield np.full(SHAPE, i, np.uint8)
            time.sleep(0.005)
        raise HueglassError("camera 0: is gone")

    with Camera(reading(read), retry=0.1) as camera:
        said = set()
        deadline = time.perf_counter() + 10
        while len(opened) < 3 and time.perf_counter() < deadline:
            said.add(camera.lost)
            time.sleep(0.01)
        back = camera.newest(after=20, timeout=5)
        assert back is not None
        assert said >= {None, "camera 0: is gone", "camera 0: cannot be opened"}
        assert camera.lost is None


def test_a_camera_that_never_was_is_an_error() -> None:
    def read() -> Iterator[np.ndarray]:
        raise HueglassError("camera 7: cannot be opened")
        yield  # a generator

    with Camera(reading(read)) as camera, pytest.raises(HueglassError, match="camera 7: cannot be opened"):
        camera.newest(timeout=5)


def test_a_recording_plays_at_its_rate_or_another(media: ModuleType, tmp_path: Path) -> None:
    clip = media.Clip(pts=[0, 1, 2, 3]).write(tmp_path / "a.mp4")
    for rate, least in ((None, 4 / 25), (200.0, 4 / 200)):
        with open_source(clip) as source:
            began = time.perf_counter()
            frames = [*played(source.as_decoded(), rate)]
        assert len(frames) == 4
        assert least <= time.perf_counter() - began < 10 * least + 0.5


def test_a_recording_plays_again_and_again(media: ModuleType, tmp_path: Path) -> None:
    clip = media.Clip(pts=[0, 1, 2, 3]).write(tmp_path / "a.mp4")
    with Camera(lambda: open_source(clip), rate=200) as camera:
        later = camera.newest(after=9, timeout=10)
        assert later is not None
        assert later.index >= 10
        assert camera.lost is None


def test_a_portrait_clip_is_played_as_it_is_turned(media: ModuleType, tmp_path: Path) -> None:
    clip = media.Clip(rotation=90).write(tmp_path / "a.mp4")
    with open_source(clip) as source, Camera(lambda: open_source(clip), rate=100) as camera:
        frame = camera.newest(timeout=10)
        assert frame is not None
        assert frame.orientation == source.info.orientation in (6, 8)


def test_no_such_camera() -> None:
    for name, message in (("63", "camera 63: cannot be opened"), ("nowhere.mp4", "no such camera, expected a number")):
        opening = Camera(lambda name=name: open_source(name, CameraWishes()))  # type: ignore[misc]
        with opening as camera, pytest.raises(HueglassError, match=message):
            camera.newest(timeout=10)


def test_one_picture_plays_at_its_rate_and_not_as_fast_as_it_can_be_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SHAPE, np.uint8))
    with Camera(lambda: open_source(tmp_path / "a.png", rate=20)) as camera:
        time.sleep(0.5)
        newest = camera.newest(timeout=10)
    assert newest is not None
    assert newest.index <= 11
