"""The command `live`: a real window, a virtual camera, clips, and what it refuses."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from support.needs import needs_screen

from hueglass.infer.media.images import read_image
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.model.look import embedded_looks


def test_a_virtual_camera_gets_what_is_shown(
    run: Callable, media: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such driver here: a stand-in takes what pyvirtualcam's camera would."""
    sent: list[np.ndarray] = []
    device = SimpleNamespace(send=sent.append, close=lambda: sent.append(np.zeros(0)))
    made = []
    fake = SimpleNamespace(Camera=lambda *arguments: made.append(arguments) or device)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", fake)
    clip = media.Clip().write(tmp_path / "in.mp4")
    options = ("--no-window", "--virtual-camera", "--seconds", "2", "--look", embedded_looks()[0], "-o", tmp_path)
    outcome = run("live", "--camera", clip, *options)
    assert (outcome.status, outcome.err) == (0, "")
    assert "frames a second" in outcome.out
    assert made == [(160, 96, 30)]
    assert len(sent) > 5
    assert all(picture.shape == (96, 160, 3) and picture.flags.c_contiguous for picture in sent[:-1])
    assert sent[-1].size == 0  # closed


def test_what_is_shown_goes_to_a_clip_as_well(run: Callable, media: ModuleType, tmp_path: Path) -> None:
    clip, out = media.Clip().write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = ("--no-window", "--to", out, "--seconds", "2", "--look", embedded_looks()[0], "-o", tmp_path)
    outcome = run("live", "--camera", clip, *options)
    assert (outcome.status, outcome.err) == (0, "")
    with VideoSource(out) as found:
        frames = [*found]
    assert (found.info.width, found.info.height) == (160, 96)
    assert len(frames) > 5
    assert [f.time for f in frames] == sorted(f.time for f in frames)
    assert frames[-1].time < 2.5


def test_a_clip_that_is_there_is_replaced_unless_it_is_the_camera(
    run: Callable, media: ModuleType, tmp_path: Path
) -> None:
    clip, out = media.Clip().write(tmp_path / "in.mp4"), media.Clip(width=64).write(tmp_path / "out.mp4")
    options = ("--no-window", "--seconds", "1", "--look", embedded_looks()[0], "-o", tmp_path)
    assert run("live", "--camera", clip, "--to", out, *options).status == 0
    with VideoSource(out) as found:
        assert found.info.width == 160
    before = clip.read_bytes()
    outcome = run("live", "--camera", clip, "--to", clip, *options)
    assert (outcome.status, "is an input as well" in outcome.err) == (2, True)
    assert clip.read_bytes() == before


def test_a_portrait_clip_is_shown_upright(run: Callable, media: ModuleType, tmp_path: Path) -> None:
    clip, out = media.Clip(rotation=90).write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    options = ("--no-window", "--to", out, "--seconds", "1", "--look", embedded_looks()[0], "-o", tmp_path)
    assert run("live", "--camera", clip, *options).status == 0
    with VideoSource(out) as found:
        assert (found.info.width, found.info.height, found.info.orientation) == (96, 160, 1)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--camera", "63", "--no-window", "--virtual-camera"), 1, "camera 63: cannot be opened"),
        (("--camera", "nowhere.mp4"), 2, "nowhere.mp4: no such camera"),
        (("--no-window",), 2, "--no-window shows nothing, expected --virtual-camera or --to beside it"),
        (("-o", "nowhere"), 2, "nowhere: no such folder"),
        (("--look", "nobody"), 2, "no look named 'nobody'"),
        (("--no-auto-regions", "--region", "sky=0"), 2, "expected --auto-regions"),
    ],
)
def test_refuses(run: Callable, options: tuple[str, ...], status: int, message: str) -> None:
    outcome = run("live", *options)
    assert outcome.status == status
    assert message in outcome.err.splitlines()[-1]


def test_the_window_under_a_virtual_screen(media: ModuleType, tmp_path: Path) -> None:
    """Real key presses into a real window: a picture is written, and `q` ends it."""
    needs_screen()
    clip = media.Clip(pts=list(range(50)), width=320, height=192).write(tmp_path / "in.mp4")
    screen = subprocess.Popen(["Xvfb", "-displayfd", "1", "-screen", "0", "800x600x24"], stdout=subprocess.PIPE)
    assert screen.stdout is not None
    display = f":{int(screen.stdout.readline())}"
    environment = {"DISPLAY": display, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", "from hueglass.cli import main; main()", "live", "--camera", str(clip)]
    live = subprocess.Popen([*command, "-o", str(tmp_path), "--seconds", "60"], env=environment)

    def xdotool(*arguments: str) -> str:
        return subprocess.run(["xdotool", *arguments], env=environment, capture_output=True, text=True).stdout

    try:
        deadline = time.perf_counter() + 40
        while not (found := xdotool("search", "--name", "hueglass").split()) and time.perf_counter() < deadline:
            time.sleep(0.2)
        xdotool("windowfocus", found[0])
        while not [*tmp_path.glob("*.png")] and time.perf_counter() < deadline:
            xdotool("key", "c")
            time.sleep(0.5)
        assert read_image(next(tmp_path.glob("*.png"))).shape == (192, 320, 3)
        while live.poll() is None and time.perf_counter() < deadline:
            xdotool("key", "q")
            time.sleep(0.5)
        assert live.poll() == 0
    finally:
        for process in (live, screen):
            process.kill()
            process.wait()
        screen.stdout.close()
