"""Videos: every frame at its own time, sound untouched, colours right, damage reported, outputs whole or absent."""

import errno
import gc
import os
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from support import media
from support.places import ROOT

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.media.codecs import Codec
from hueglass.infer.media.video_sink import Encoding, VideoSink
from hueglass.infer.media.video_source import VideoSource

Clip, tracks, VARIABLE = media.Clip, media.tracks, media.VARIABLE
MILLISECONDS = Fraction(1, 1000)


def pass_through(source_path: Path, sink_path: Path, sound: bool = True) -> int:
    """Copies a video frame by frame; the number of frames that were lost."""
    with (
        VideoSource(source_path) as source,
        VideoSink(sink_path, source.info, source_path if sound else None) as sink,
    ):
        for frame in source:
            sink.write(frame)
    return source.lost


def assert_same_tracks(before: Path, after: Path) -> None:
    """Timestamps, durations and, for sound, contents are identical."""
    old, new = tracks(before), tracks(after)
    assert set(old) == set(new)
    for kind in old:
        assert old[kind].times == new[kind].times, kind
    assert old["video"].end == new["video"].end
    if "audio" in old:
        assert old["audio"].contents == new["audio"].contents


VARIABLE_RATE = {"pts": VARIABLE, "time_base": MILLISECONDS, "last": 200}
CLIPS = {
    "plain": Clip(),
    "variable rate, sound": Clip(**VARIABLE_RATE, sound_start=0),
    "pictures start later": Clip(**{**VARIABLE_RATE, "pts": [t + 500 for t in VARIABLE]}, sound_start=0),
    "sound starts later": Clip(**VARIABLE_RATE, sound_start=22050),
    "both start late": Clip([t + 33 for t in VARIABLE], MILLISECONDS, 200, sound_start=4321),
    "sound runs on": Clip(sound_start=0, sound_packets=150),
    "odd size": Clip(width=101, height=77),
    "one frame": Clip(pts=[0], last=3),
}


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_times_and_sound_are_kept_exactly(tmp_path: Path, name: str, suffix: str) -> None:
    clip = CLIPS[name]
    before, after = clip.write(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}"
    assert pass_through(before, after) == 0
    assert_same_tracks(before, after)
    with VideoSource(after) as source:
        frames = list(source)
    assert [round(f.time / clip.time_base) for f in frames] == clip.pts
    assert [f.index for f in frames] == list(range(len(clip.pts)))
    assert frames[-1].duration == pytest.approx(float(clip.last * clip.time_base))
    assert frames[0].image.shape == (clip.height, clip.width, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == [before.name, after.name]


@pytest.mark.parametrize("start", [0, 22050])
def test_matroska_to_matroska(tmp_path: Path, start: int) -> None:
    before = Clip(**VARIABLE_RATE, sound_start=start).write(tmp_path / "in.mkv")
    assert pass_through(before, tmp_path / "out.mkv") == 0
    assert_same_tracks(before, tmp_path / "out.mkv")


def test_mp4_to_matroska_stays_in_step(tmp_path: Path) -> None:
    """Sound that starts before 0 moves the pictures by as much: nothing shifts against anything."""
    before, after = Clip(**VARIABLE_RATE, sound_start=0).write(tmp_path / "in.mp4"), tmp_path / "out.mkv"
    pass_through(before, after)
    old, new = tracks(before), tracks(after)
    for kind in ("video", "audio"):
        offset = old["audio"].times[0] - new["audio"].times[0]
        assert max(abs(a - b - offset) for a, b in zip(old[kind].times, new[kind].times, strict=True)) <= MILLISECONDS
    assert old["audio"].contents == new["audio"].contents


def test_broadcast_clock_starts_near_zero(tmp_path: Path) -> None:
    clip = Clip([900000 + i * 3600 for i in range(15)], Fraction(1, 90000), 3600, sound_start=441000 + 4410)
    before, after = clip.write(tmp_path / "in.ts"), tmp_path / "out.mp4"
    assert pass_through(before, after) == 0
    old, new = tracks(before), tracks(after)
    assert new["video"].times[0] == 0
    gaps = [t["audio"].times[0] - t["video"].times[0] for t in (old, new)]
    assert abs(gaps[0] - gaps[1]) < Fraction(1, 40000)
    assert len(old["audio"].times) == len(new["audio"].times)


def test_webm(tmp_path: Path) -> None:
    before = Clip(**VARIABLE_RATE, width=101, height=77).write(tmp_path / "in.webm")
    pass_through(before, tmp_path / "out.webm")
    assert tracks(before)["video"].times == tracks(tmp_path / "out.webm")["video"].times


@pytest.mark.parametrize("rotation", [90, -90, 180])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_rotation_is_kept(tmp_path: Path, rotation: int, suffix: str) -> None:
    pass_through(Clip(rotation=rotation).write(tmp_path / "in.mp4"), tmp_path / f"out{suffix}")
    with VideoSource(tmp_path / f"out{suffix}") as source:
        assert source.info.rotation % 360 == rotation % 360
        assert (source.info.width, source.info.height) == (160, 96)


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuv420p", "yuv420p10le", "yuv444p10le"])
def test_colour_is_right_and_survives(tmp_path: Path, matrix: int, full: bool, pixel_format: str) -> None:
    """Flat patches through YUV computed by hand, read back, and once more through the sink with its tags."""
    clip = Clip(matrix=matrix, full=full, pixel_format=pixel_format, width=192, height=128, pts=[0, 1, 2])
    before, after = clip.write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    pass_through(before, after)
    for path, levels, mean in ((before, 3, 0.7), (after, 8, 1.5)):
        with VideoSource(path) as source:
            first = next(iter(source)).image
        color = source.info.color
        assert (color.matrix, color.full_range, color.primaries, color.transfer) == (matrix, full, matrix, 1)
        # The middle 16 x 16 pixels of each of the 4 x 6 patches: edges are another matter in 4:2:0.
        error = np.abs(first.astype(int) - clip.pictures()[0]).reshape(4, 32, 6, 32, 3)[:, 8:24, :, 8:24]
        assert error.max() <= levels
        assert error.mean() <= mean


@pytest.mark.parametrize(("width", "height", "matrix"), [(1280, 640, 1), (480, 720, 1), (720, 576, 6), (640, 360, 6)])
def test_unstated_matrix_follows_the_size(tmp_path: Path, width: int, height: int, matrix: int) -> None:
    clip = Clip(width=width, height=height, matrix=matrix, tag=2, pts=[0])
    with VideoSource(clip.write(tmp_path / "in.mp4")) as source:
        frame = next(iter(source))
    assert source.info.color.matrix == matrix
    assert np.abs(frame.image.astype(int) - clip.pictures()[0]).mean() < 0.7


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path: Path, transfer: int, name: str) -> None:
    path = Clip(transfer=transfer, pixel_format="yuv420p10le", pts=[0]).write(tmp_path / "in.mp4")
    with pytest.raises(HueglassError, match=rf"in\.mp4: is HDR \({name}\)"):
        VideoSource(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("keep", [0.4, 0.8, 0.99])
def test_truncated_clip_gives_what_it_has(tmp_path: Path, suffix: str, keep: float) -> None:
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    clip = Clip(pts=list(range(60)), sound_start=0, sound_packets=100, options=options)
    data = clip.write(tmp_path / f"whole{suffix}").read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * keep)])
    lost = pass_through(cut, tmp_path / "out.mp4")
    count = len(tracks(tmp_path / "out.mp4")["video"].times)
    assert lost > 0
    assert abs(count + lost - 60) <= 1
    assert count >= 60 * keep * 0.5
    with VideoSource(cut) as source:
        error = [np.abs(f.image.astype(int) - clip.pictures()[round(f.time * 25)]).mean() for f in source]
    assert max(error) < 1  # no half-grey picture at the end


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    clip = Clip(pts=list(range(60)), options={"movflags": "faststart"})
    path = clip.write(tmp_path / "in.mp4")
    data, middle = bytearray(path.read_bytes()), path.stat().st_size // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    with VideoSource(path) as source:
        frames = list(source)
    assert frames[-1].time == pytest.approx(59 / 25)
    assert 0 < source.lost == 60 - len(frames) < 20


def test_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "in.mp4")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HueglassError, match=r"in\.mp4"):
        VideoSource(path)


@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"WEBVTT\n\nnot a video\n" * 100, b"#EXTM3U\nhttp://x/\n"])
def test_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.mp4").write_bytes(content)
    with pytest.raises(HueglassError, match=r"in\.mp4") as caught:
        VideoSource(tmp_path / "in.mp4")
    assert "\n" not in str(caught.value)


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.mp4"):
        with pytest.raises(UsageError, match=str(path)):
            VideoSource(path)
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        Clip(sound_start=0)._write_sound(container, container.add_stream("aac", rate=44100, layout="mono"))
    with pytest.raises(HueglassError, match="no video track"):
        VideoSource(sound)


def test_wrong_outputs_are_refused(tmp_path: Path) -> None:
    path = Clip(sound_start=0).write(tmp_path / "in.mp4")
    (tmp_path / "link.mp4").symlink_to(path)
    with VideoSource(path) as source:
        info = source.info
    for target in ("out.gif", "out", "no/folder/out.mp4", "in.mp4", "link.mp4"):
        with pytest.raises(UsageError, match=target):
            VideoSink(tmp_path / target, info)
    with pytest.raises(HueglassError, match="cannot hold the aac sound"):
        VideoSink(tmp_path / "out.webm", info, path).__enter__()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "link.mp4"]


def test_frames_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, out = Clip().write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with VideoSource(path) as source:
        frame = next(iter(source))

    def write(*frames: object) -> None:
        with VideoSink(out, source.info) as sink:
            for each in frames:
                sink.write(each)

    for frames in ((replace(frame, image=frame.image[1:]),), (frame, frame), ()):
        with pytest.raises(HueglassError, match=r"out\.mp4"):
            write(*frames)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("codec", [codec for codec in Codec if codec != Codec.VP9])  # which MP4 does not take
@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_a_failure_leaves_nothing(
    tmp_path: Path, failure: type[BaseException], codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path, out = Clip(sound_start=0).write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    out.write_bytes(b"old")

    def fail() -> None:
        with VideoSource(path) as source, VideoSink(out, source.info, path, Encoding(codec)) as sink:
            for frame in source:
                sink.write(frame)
                if frame.index == 9:
                    raise failure

    with pytest.raises(failure):
        fail()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert out.read_bytes() == b"old"
    assert capfd.readouterr() == ("", "")


def test_full_disk_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        path = Clip(pts=list(range(60)), width=640, height=480).write(tmp_path / "in.mp4")
        with pytest.raises(HueglassError, match=rf"out\.mp4: cannot be written: {os.strerror(errno.ENOSPC)}"):
            pass_through(path, disk / "out.mp4")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert capfd.readouterr() == ("", "")


def test_titles_and_languages_come_along(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    (tmp_path / "in.srt").write_text("1\n00:00:00,100 --> 00:00:00,400\nBonjour\n")
    with av.open(str(path), "w") as container, av.open(str(tmp_path / "in.srt")) as subtitles:
        container.metadata["title"] = "A street"
        stream = Clip()._add_video(container)
        words = container.add_stream_from_template(subtitles.streams[0])
        words.metadata["language"] = "fra"
        for i, image in enumerate(Clip().pictures()):
            container.mux(stream.encode(Clip()._picture(i, image)))
        container.mux(stream.encode(None))
        for line in subtitles.demux():
            if line.size:
                line.stream = words
                container.mux(line)
    with VideoSource(path) as source:
        info = source.info
    pass_through(path, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"] == "A street"
        assert container.streams.subtitles[0].language == "fra"
        assert [bytes(p) for p in container.demux(container.streams.subtitles[0]) if p.size] == [b"Bonjour"]
    with VideoSink(tmp_path / "out.mp4", info, path) as sink, VideoSource(path) as source:
        for frame in source:
            sink.write(frame)
    assert len(sink.left_out) == 1
    assert "subtitle" in sink.left_out[0]


def test_no_picture_waits_for_the_garbage_collector(media: ModuleType, tmp_path: Path) -> None:
    """A clip that is opened again and again would fill the memory with first frames."""
    path = media.Clip().write(tmp_path / "a.mp4")
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        with VideoSource(path) as source:
            assert len(list(source)) == 15
        del source
        gc.collect()
        left = [(o.width, o.height) for o in gc.garbage if isinstance(o, av.VideoFrame)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert all(width <= 16 and height <= 16 for width, height in left)


def priorities() -> set[tuple[int, int]]:
    """Scheduling policy and priority of all threads of this process."""
    threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    return {(os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority) for thread in threads}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks Linux for the threads of a process")
@pytest.mark.parametrize("codec", Codec)
def test_no_encoder_raises_its_priority(tmp_path: Path, codec: str) -> None:
    """Run by root, SVT-AV1 would have the machine for itself: these tests and all that they start, too."""
    before = priorities()
    with (
        VideoSource(Clip().write(tmp_path / "in.mp4")) as source,
        VideoSink(tmp_path / "out.mkv", source.info, encoding=Encoding(codec)) as sink,
    ):
        for frame in source:
            sink.write(frame)
        assert priorities() == before
    assert priorities() == before


CLIP_NAMES = ["avc720p_aac.mp4", "bunny_cut.mp4", "driving_highway.mp4", "driving_white_lane.mp4"]


@pytest.mark.parametrize("name", CLIP_NAMES)
def test_real_clips(tmp_path: Path, name: str) -> None:
    root = ROOT
    path = root / os.environ.get("HUEGLASS_DATA", "../shared/data") / "video" / name
    if not path.exists():
        pytest.skip(f"no clip {path}")
    out = tmp_path / "out.mp4"
    assert pass_through(path, out) == 0
    assert_same_tracks(path, out)
    with VideoSource(path) as before, VideoSource(out) as after:
        old, new = before.info, after.info
        error = [
            np.abs(a.image.astype(int) - b.image).mean() for a, b, _ in zip(before, after, range(20), strict=False)
        ]
    assert (new.width, new.height, new.rotation, new.color) == (old.width, old.height, old.rotation, old.color)
    assert (new.frame_count, new.rate) == (old.frame_count, old.rate)
    assert new.duration == pytest.approx(old.duration, abs=float(1 / old.rate))
    assert np.mean(error) < 4
