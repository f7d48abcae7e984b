"""`hueglass bench` at small sizes: every stage is there, in the table and in the file. Its figures are not judged."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hueglass.bench import clip as bench_clip
from hueglass.bench import stages as bench_command

STAGES = {"copy", "resize", "network", "smooth", "render", "frame", "render_yuv", "frame_yuv", "segmenter"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_command, "SIZES", {"small": (90, 160), "odd": (61, 83)})
    monkeypatch.setattr(bench_command, "SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_table_and_file(run: Callable, tmp_path: Path) -> None:
    outcome = run("bench", "--json", tmp_path / "bench.json")
    assert (outcome.status, outcome.err) == (0, "")
    report = json.loads((tmp_path / "bench.json").read_text())
    assert set(report) == {"machine", "results", "rss_mb"}
    assert report["rss_mb"] > 10
    for size in ((90, 160), (61, 83)):
        found = {r["stage"]: r for r in report["results"] if (r["height"], r["width"]) == size}
        assert set(found) >= STAGES
        assert all(0 < r["median_ms"] <= r["p95_ms"] for r in found.values())
    for name in (bench_command.NAMES[stage].split()[0] for stage in STAGES):
        assert name in outcome.out


@pytest.mark.usefixtures("quick")
def test_a_folder_that_is_not_there(run: Callable, tmp_path: Path) -> None:
    outcome = run("bench", "--json", tmp_path / "no" / "bench.json")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "no/bench.json" in outcome.err


@pytest.mark.usefixtures("quick")
def test_the_static_table_leaves_frames_as_they_are() -> None:
    """The yardstick does what it is said to do: the identity, through a table."""
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    stage = bench_command._ffmpeg_stage([image])
    if not stage:
        pytest.skip("this PyAV has no lut3d")
    out = stage["ffmpeg_lut3d"]().to_ndarray(format="rgb24")
    assert np.abs(out.astype(int) - image).max() <= 1


def test_a_clip_beside_its_transcode(
    run: Callable, media: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_clip, "ROUNDS", 1)
    clip = media.Clip().write(tmp_path / "a.mp4")
    outcome = run("bench", "--clip", clip, "--json", tmp_path / "b.json")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads((tmp_path / "b.json").read_text())
    assert (found["clip"], found["width"], found["height"], found["frames"]) == ("a.mp4", 160, 96, 15)
    assert found["ratio"] == pytest.approx(found["video_s"] / found["transcode_s"])
    assert found["transcode_s"] > 0
    assert 50 < found["video_rss_mb"] < 2000
    assert outcome.out.startswith("a.mp4, 160x96, 15 frames: transcoded in ")


def test_a_clip_that_is_none_is_said_in_one_line(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nonsense" * 50)
    outcome = run("bench", "--clip", tmp_path / "a.mp4")
    assert outcome.status == 1
    assert outcome.err.startswith(f"hueglass: {tmp_path / 'a.mp4'}: ")
    assert outcome.err.count("\n") == 1
