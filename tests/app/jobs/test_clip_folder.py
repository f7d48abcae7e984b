"""Folders of clips: every clip, taken up where it stopped, nothing mixed, a bad one in nobody's way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.model.look import embedded_looks

LOOK, OTHER = embedded_looks()[:2]
LIKE = 2.0
"""Mean levels: libx264 does not always write the same from the same pictures."""
HUEGLASS = [sys.executable, "-c", "from hueglass.cli import main; main()"]


@pytest.fixture
def clips(media: ModuleType, tmp_path: Path) -> Path:
    """Two clips and a file that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.mkv"):
        media.Clip().write(folder / name)
    (folder / "notes.txt").write_text("not a clip")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pictures(path: Path) -> np.ndarray:
    with VideoSource(path) as clip:
        return np.array([frame.image for frame in clip])


def distance(a: Path, b: Path) -> float:
    return float(np.abs(pictures(a).astype(int) - pictures(b)).mean())


def test_every_clip_is_converted_like_a_single_one(run: Callable, clips: Path, tmp_path: Path) -> None:
    outcome = run("video", clips, tmp_path / "out", "--look", LOOK)
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    assert names(tmp_path / "out") == ["a.mp4", "b.mkv", "hueglass.json"]
    run("video", clips / "a.mp4", tmp_path / "alone.mp4", "--look", LOOK)
    assert distance(tmp_path / "out" / "a.mp4", tmp_path / "alone.mp4") < LIKE


def test_what_is_there_stays_and_the_rest_is_made(run: Callable, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("video", clips, out, "--look", LOOK)
    (out / "b.mkv").unlink()
    kept = (out / "a.mp4").stat()
    outcome = run("video", clips, out, "--look", LOOK)
    assert outcome.status == 0
    assert outcome.err == f"hueglass: {out}: 1 of 2 clips are there already and stay\n"
    assert names(out) == ["a.mp4", "b.mkv", "hueglass.json"]
    assert (out / "a.mp4").stat().st_mtime_ns == kept.st_mtime_ns


def test_a_killed_run_goes_on(clips: Path, media: ModuleType, run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    media.Clip(pts=list(range(0, 2000)), width=320, height=192).write(clips / "c.mp4")
    command = [*HUEGLASS, "video", str(clips), str(out), "--look", LOOK]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (out / "b.mkv").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    assert {"a.mp4", "b.mkv"} <= set(names(out))
    assert "c.mp4" not in names(out)
    assert run("video", clips, out, "--look", LOOK).status == 0
    assert len(pictures(out / "c.mp4")) == 2000


def test_a_bad_clip_is_said_and_the_others_are_made(run: Callable, clips: Path, tmp_path: Path) -> None:
    (clips / "aa.mp4").write_bytes(b"nonsense" * 100)
    out = tmp_path / "out"
    outcome = run("video", clips, out, "--look", LOOK)
    assert outcome.status == 1
    lines = outcome.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"hueglass: {clips / 'aa.mp4'}: ")
    assert lines[1] == f"hueglass: {out}: 1 of 3 clips failed or lost frames, named above"
    assert names(out) == ["a.mp4", "b.mkv", "hueglass.json"]


def test_clips_of_two_kinds_do_not_share_a_folder(run: Callable, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("video", clips, out, "--look", LOOK)
    outcome = run("video", clips, out, "--look", OTHER, "--crf", 30)
    expected = f"hueglass: {out}: was begun with another encoding, style, expected the same or another folder\n"
    assert (outcome.status, outcome.err) == (2, expected)
    (out / "hueglass.json").write_text("[]")
    outcome = run("video", clips, out, "--look", LOOK)
    assert outcome.status == 2
    assert "not what hueglass wrote" in outcome.err


def test_a_reference_that_changed_is_another_setting(run: Callable, clips: Path, tmp_path: Path) -> None:
    from PIL import Image

    reference, out = tmp_path / "ref.png", tmp_path / "out"
    for colour in ("orange", "blue"):
        Image.new("RGB", (64, 64), colour).save(reference)
        outcome = run("video", clips, out, "--style", reference)
    assert outcome.status == 2
    assert "was begun with another style" in outcome.err


def test_wrong_folders_are_refused_before_anything_is_made(
    run: Callable, clips: Path, media: ModuleType, tmp_path: Path
) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    (tmp_path / "file").write_text("x")
    (clips / "A.avi").write_bytes((clips / "a.mp4").read_bytes())
    (clips / "A.mp4").write_bytes((clips / "a.mp4").read_bytes())
    for arguments, said in (
        ((empty, out), "no clip in this folder"),
        ((clips, out), "would both become A.mp4"),
        ((tmp_path / "none", out), "no such file"),
    ):
        outcome = run("video", *arguments, "--look", LOOK)
        assert outcome.status == 2
        assert said in outcome.err.lower() or said in outcome.err
        assert outcome.err.count("\n") == 1
    (clips / "A.avi").unlink()
    for target, said in ((clips, "is the input as well"), (tmp_path / "file", "is a file, expected a folder")):
        outcome = run("video", clips, target, "--look", LOOK)
        assert outcome.status == 2
        assert said in outcome.err
    outcome = run("video", clips / "a.mp4", tmp_path / "x.mp4", "--look", LOOK, "--ray", "local")
    assert (outcome.status, "expected a folder of clips with --ray" in outcome.err) == (2, True)
    assert run("video", clips, out, "--look", "no-such-look").status == 2
    assert not out.exists()


def test_settings_are_written_in_plain_sight(run: Callable, clips: Path, tmp_path: Path) -> None:
    run("video", clips, tmp_path / "out", "--look", LOOK, "--strength", 0.5, "--codec", "h264")
    settings = json.loads((tmp_path / "out" / "hueglass.json").read_text())
    assert settings["style"] == LOOK
    assert settings["strength"] == {"everywhere": 0.5, "regions": {}}
    assert settings["encoding"]["codec"] == "h264"


@pytest.mark.skipif(os.name != "posix", reason="Ray clusters of this kind need Unix")
def test_ray_makes_the_same_clips(run: Callable, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (clips / "bad.mp4").write_bytes(b"nonsense" * 100)
    out = tmp_path / "out"
    outcome = run("video", clips, out, "--look", LOOK, "--ray", "local")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == f"hueglass: {out}: 1 of 3 clips failed or lost frames, named above"
    assert f"hueglass: {clips / 'bad.mp4'}: " in outcome.err
    assert names(out) == ["a.mp4", "b.mkv", "hueglass.json"]
    run("video", clips, tmp_path / "here", "--look", LOOK)
    for name in ("a.mp4", "b.mkv"):
        assert distance(out / name, tmp_path / "here" / name) < LIKE
