"""The stability meter: it sees flicker and nothing else, cuts do not count, settling takes what it should."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from hueglass.infer.frame import Frame
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stability import WarpMeter, settle
from hueglass.infer.scene.stylizer import Stylizer


def texture(seed: int = 0) -> np.ndarray:
    """Smooth blobs (200, 400, 3), for the flow to hold on to."""
    noise = np.random.default_rng(seed).standard_normal((200, 400, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip(128 + smooth * (60 / smooth.std()), 0, 255).astype(np.uint8)


def pan(count: int) -> list[np.ndarray]:
    """A window (160, 240) that moves over the texture, two pixels a frame."""
    return [np.ascontiguousarray(texture()[20:180, 2 * i : 2 * i + 240]) for i in range(count)]


def errors(inputs: list[np.ndarray], *outputs: list[np.ndarray]) -> list[float]:
    meter = WarpMeter()
    for i, (frame, *ours) in enumerate(zip(inputs, *outputs, strict=True)):
        meter.update(frame, ours, i / 25)
    return meter.errors


def test_motion_is_not_flicker_and_flicker_is() -> None:
    frames = pan(10)
    calm = [255 - f for f in frames]
    flicker = [
        np.clip(255 - f.astype(int) + (10 if i % 2 else -10), 0, 255).astype(np.uint8) for i, f in enumerate(frames)
    ]
    still, moving, lit = errors([frames[0]] * 10, [255 - frames[0]] * 10)[0], *errors(frames, calm, flicker)
    assert still == 0
    assert moving < 2e-4
    assert lit > moving + 0.5 * (20 / 255) ** 2


def test_a_change_that_comes_with_the_frame_counts_in_both() -> None:
    """A lamp that flickers in the input flickers in the output too: that is why a frozen table is the yardstick."""
    frames = [np.clip(f.astype(int) + (8 if i % 2 else 0), 0, 255).astype(np.uint8) for i, f in enumerate(pan(8))]
    a, b = errors(frames, frames, [f // 2 for f in frames])
    assert a > 3 * b > 0


def test_cuts_do_not_count() -> None:
    first, second = [texture(1)[:160, :240]] * 5, [255 - texture(2)[:160, :240] // 2] * 5
    assert errors(first + second, first + second) == [0.0]


def test_no_pair_no_error() -> None:
    assert errors([], []) == []
    assert errors(pan(1), pan(1)) == []


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.5])
def test_settling_of_a_plain_average(seconds: float) -> None:
    """An exponential average is 90 % there after 2.3 time constants."""
    average = identity_grid()

    def predict(image: np.ndarray, time: float) -> np.ndarray:
        nonlocal average
        wanted = identity_grid() * np.float32(image.mean() / 255)
        average = wanted if time == 0 else average + np.float32(1 - np.exp(-0.04 / seconds)) * (wanted - average)
        return average

    assert settle(predict, texture()) == pytest.approx(2.303 * seconds, abs=0.05)


def test_settling_at_once_and_nothing_to_settle() -> None:
    assert settle(lambda image, time: identity_grid() * np.float32(image.mean()), texture()) == 0
    assert settle(lambda image, time: identity_grid(), texture()) == 0


@pytest.mark.parametrize("name", embedded_looks()[:3])
def test_the_embedded_model_settles_within_half_a_second(bundle: ModelBundle, name: str) -> None:
    stylizer = Stylizer(bundle, find_look(name, bundle.manifest), smoother=Smoother())
    assert settle(lambda image, time: stylizer.predict(Frame(image, time, 0)), texture()) <= 0.5


def test_the_command_on_a_clip_and_a_folder(run: Callable, media: ModuleType, tmp_path: Path) -> None:
    clip = media.Clip(pts=list(range(6))).write(tmp_path / "a.mp4")
    (tmp_path / "frames").mkdir()
    for i, frame in enumerate(pan(5)):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{i:03}.png")
    look = embedded_looks()[0]
    outcome = run("evaluate", "video", clip, tmp_path / "frames", "--look", look, "--json", tmp_path / "s.json")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads((tmp_path / "s.json").read_text())
    assert [(f["clip"], f["look"], f["frames"]) for f in found] == [("a.mp4", look, 6), ("frames", look, 5)]
    for f in found:
        assert f["warp_ratio"] == pytest.approx(f["warp"] / f["table"])
        assert 0 <= f["settle"] < 3
    assert "warp_ratio" in outcome.out


def test_the_command_needs_two_frames(run: Callable, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    Image.fromarray(pan(1)[0]).save(tmp_path / "frames" / "a.png")
    outcome = run("evaluate", "video", tmp_path / "frames")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "has 1 frames, expected two at least" in outcome.err
