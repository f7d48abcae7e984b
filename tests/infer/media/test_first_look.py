"""A first look at a video: some of its frames, about as far apart as wanted, each the one of the whole reading."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import VARIABLE, Clip, moving_patches

from hueglass.infer.errors import HueglassError
from hueglass.infer.media.source import open_source
from hueglass.infer.media.video_source import SPARSE, VideoSource

RATE = 25
LONG = list(range(10 * RATE))
"""Ten seconds."""


def seen(path: Path, every: float | None = None) -> dict[float, np.ndarray]:
    """The pictures that come, by their times."""
    with VideoSource(path, every) as source:
        return {frame.time: frame.image for frame in source}


def key_times(path: Path) -> list[float]:
    """When the pictures are shown that can be decoded alone, as PyAV says."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size and packet.is_keyframe]
        return sorted(float(packet.pts * packet.time_base) for packet in packets)


def assert_about(times: list[float], every: float, end: float, tolerance: float) -> None:
    """From the beginning to near the end, so many seconds apart, or a little more."""
    gaps = np.diff(times)
    assert len(times) > 2
    assert times[0] == 0
    assert end - times[-1] < every + tolerance
    assert (gaps >= every - 1e-6).all(), gaps
    assert (gaps <= every + tolerance).all(), gaps


def assert_of_the_whole_reading(some: dict[float, np.ndarray], path: Path) -> None:
    """The same pictures at the same times, but for what smooths the edges of blocks."""
    whole = seen(path)
    assert set(some) <= set(whole)
    for time, image in some.items():
        assert np.abs(image.astype(int) - whole[time]).mean() < 1


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("every", [0.5, 1.0])
def test_where_pictures_that_can_be_decoded_alone_lie_close_only_they_come(
    tmp_path: Path, suffix: str, every: float
) -> None:
    path = Clip(LONG, keys=5).write(tmp_path / f"in{suffix}")
    keys = key_times(path)
    assert len(keys) == 50
    found = seen(path, every)
    assert set(found) <= set(keys)
    assert_about(list(found), every, 10, 0.2)
    assert_of_the_whole_reading(found, path)


@pytest.mark.parametrize("gap", [0.9, 1.1])
def test_pictures_that_can_be_decoded_alone_may_lie_three_times_as_far_apart(tmp_path: Path, gap: float) -> None:
    """Below that, as few come as there are; above, some of all."""
    path = Clip(LONG, keys=round(gap * RATE * SPARSE * 0.5)).write(tmp_path / "in.mp4")
    keys, found = key_times(path), list(seen(path, 0.5))
    assert (set(found) <= set(keys)) == (gap < 1)
    assert max(np.diff(found)) <= 0.5 * SPARSE


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("every", [0.5, 2.0])
def test_with_a_single_key_frame_others_come_as_far_apart(tmp_path: Path, suffix: str, every: float) -> None:
    path = Clip(LONG, keys=1000).write(tmp_path / f"in{suffix}")
    assert key_times(path) == [0]
    found = seen(path, every)
    assert_about(list(found), every, 10, 0.25)
    assert_of_the_whole_reading(found, path)


def test_of_pictures_that_can_all_be_decoded_alone_few_come(tmp_path: Path) -> None:
    """Motion JPEG: every picture is a key frame."""
    path = tmp_path / "in.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=RATE, width=160, height=96, pix_fmt="yuvj420p")
        for i, image in enumerate(moving_patches(160, 96, len(LONG))):
            picture = av.VideoFrame.from_ndarray(image).reformat(format="yuvj420p")
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert len(key_times(path)) == len(LONG)
    found = seen(path, 1.0)
    assert_about(list(found), 1.0, 10, 0.1)
    assert_of_the_whole_reading(found, path)


CLIPS = {
    "variable rate, sound": Clip(VARIABLE, Fraction(1, 1000), 200, sound_start=0),
    "pictures start later": Clip([t + 500 for t in VARIABLE], Fraction(1, 1000), 200, sound_start=0),
    "sound runs on": Clip(list(range(75)), sound_start=0, sound_packets=300),
    "sound ahead": Clip(list(range(25, 100)), sound_start=0, sound_packets=150),
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("keys", [5, 1000])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_are_those_of_the_whole_reading(tmp_path: Path, name: str, keys: int, suffix: str) -> None:
    clip = CLIPS[name]
    clip = Clip(**{**vars(clip), "keys": keys})
    path = clip.write(tmp_path / f"in{suffix}")
    found = seen(path, 0.4)
    assert next(iter(found)) == next(iter(seen(path)))
    assert_of_the_whole_reading(found, path)
    assert 2 <= len(found) <= 1 + (clip.pts[-1] - clip.pts[0]) * clip.time_base / 0.4


@pytest.mark.parametrize("keys", [5, 1000])
def test_broadcast_clocks_begin_anywhere(tmp_path: Path, keys: int) -> None:
    """A transport stream's ten hours are 0 here, as when the whole of it is read."""
    pts = [900000 + i * 3600 for i in range(100)]
    path = Clip(pts, Fraction(1, 90000), 3600, sound_start=441000, keys=keys).write(tmp_path / "in.ts")
    found = seen(path, 1.0)
    assert_of_the_whole_reading(found, path)
    gaps = np.diff(list(found))
    assert (gaps >= 1 - 1e-6).all(), gaps
    assert 3 <= len(found) <= 5


def test_a_first_look_costs_a_part_of_the_work(tmp_path: Path) -> None:
    """Counted in pictures that are handed out; and what is asked for by `open_source` is the same."""
    path = Clip(LONG, keys=5).write(tmp_path / "in.mp4")
    with open_source(path, every=1.0) as source:
        frames = [frame.time for frame in source.as_decoded()]
    assert frames == list(seen(path, 1.0))
    assert len(frames) <= 10


def test_a_clip_of_one_frame_is_that_frame(tmp_path: Path) -> None:
    path = Clip(pts=[0], last=3).write(tmp_path / "in.mp4")
    assert list(seen(path, 1.0)) == [0]


def test_what_is_wrong_with_a_file_is_said_by_a_first_look_too(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(HueglassError, match=r"text\.mp4: is not a video that can be read"):
        VideoSource(tmp_path / "text.mp4", 1.0)


def test_a_file_that_is_cut_short_shows_what_it_has(tmp_path: Path) -> None:
    path = Clip(LONG, keys=5).write(tmp_path / "in.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = seen(path, 1.0)
    assert 3 <= len(found) < 8
    assert_of_the_whole_reading(found, path)
