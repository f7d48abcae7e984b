"""The frame path on a GPU, beside the one on the CPU: on numpy in place of CuPy, and where a device is, on that."""

import sys
from typing import Any

import numpy as np
import pytest
from support.cupy_on_cpu import array_module

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.grid.cuda import kernels as cuda
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.scene.device import DeviceCuts, DeviceSmoother, DeviceStylizer
from hueglass.infer.scene.scene_cut import CutDetector, cut_score
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer


def scene(seed: int, size: tuple[int, int] = (270, 480)) -> np.ndarray:
    """Blotches of colour; other seeds are other shots."""
    import cv2

    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 16, 3), np.uint8)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


@pytest.fixture(params=["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest) -> Any:
    """CuPy, or numpy with what CuPy has besides."""
    if request.param == "cpu":
        return array_module(request.getfixturevalue("on_cpu"))
    try:
        return cuda._cupy()
    except HueglassError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("seconds", [0.0, 0.35, 5.0])
def test_the_smoother_is_that_of_the_cpu(xp: Any, seconds: float) -> None:
    rng = np.random.default_rng(0)
    ours, theirs = DeviceSmoother(xp, seconds), Smoother(seconds)
    for i in range(20):
        grid = rng.normal(0.2 * (i > 8), 0.02, (2, 3, 3, 12)).astype(np.float32)
        fresh, time = i == 13, i / 25 if i < 17 else 0.1  # a cut, and a clip that begins again
        found = ours.update(xp.asarray(grid), time, xp.asarray(np.array(fresh)))
        np.testing.assert_allclose(xp.asnumpy(found), theirs.update(grid, time, fresh), atol=1e-5)


def test_a_smoother_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match="smoothing over 60 s"):
        DeviceSmoother(np, 60)


@pytest.mark.parametrize("side", [256, 64, 80])
def test_cuts_are_those_of_the_cpu(xp: Any, side: int) -> None:
    shots = [scene(1, (side, side)) // 3, 255 - scene(2, (side, side)) // 3, scene(3, (side, side)) // 2 + 60]
    shots[2][..., 0] = 20  # colours of its own: scenes of one palette are no cut
    dim = (shots[2] * 0.6).astype(np.uint8)
    moved = np.roll(shots[1], 3, 1)
    frames = [shots[0], shots[0], shots[1], moved, shots[2], dim, dim[::-1].copy()]
    ours, theirs = DeviceCuts(xp), CutDetector()
    found = [bool(ours.update(xp.asarray(frame))) for frame in frames]
    assert found == [theirs.update(frame, float(i)) for i, frame in enumerate(frames)]
    assert found[:6] == [True, False, True, False, True, False]


def test_scores_are_those_of_the_cpu(xp: Any) -> None:
    cuts = DeviceCuts(xp)
    for a, b in ((1, 2), (3, 4), (5, 6)):
        first, second = scene(a, (256, 256)), scene(b, (256, 256))
        mixed = (0.5 * first + 0.5 * second).astype(np.uint8)
        for other in (second, mixed):
            grey, histogram = (
                [xp.asnumpy(f(xp.asarray(x))) for x in (first, other)] for f in (cuts._standardised, cuts._histogram)
            )
            structure = np.clip(1 - (grey[0] * grey[1]).mean(), 0, 1)
            score = np.sqrt(structure * 0.5 * np.abs(histogram[0] - histogram[1]).sum())
            assert score == pytest.approx(cut_score(first, other), abs=0.01)


@pytest.mark.parametrize("where", ["host", "device"])
def test_frames_look_as_on_the_cpu(xp: Any, where: str) -> None:
    """Over a cut, whether the network takes arrays on the device or by way of the host."""
    bundle = ModelBundle()
    student = bundle.student
    if where == "device":  # a stand-in for an engine, which takes the device's arrays

        class Engine:
            def run_on_device(self, **inputs: Any) -> Any:
                return xp.asarray(student(**{name: xp.asnumpy(x) for name, x in inputs.items()}))

        bundle.student = Engine()  # type: ignore[assignment]
    look = find_look(embedded_looks()[0], bundle.manifest)
    ours = DeviceStylizer(bundle, look, xp)
    theirs = Stylizer(ModelBundle(), look, smoother=Smoother())
    first, second = scene(1), scene(2)
    frames = [first, (first * 0.9).astype(np.uint8), np.roll(first, 2, 1), second, np.roll(second, 2, 0)]
    for i, image in enumerate(frames):
        found = xp.asnumpy(ours(xp.asarray(image), i / 30)).astype(int)
        wanted = theirs(Frame(image, i / 30, i)).image
        difference = np.abs(found - wanted)
        assert np.quantile(difference, 0.99) <= 2  # the thumbnails are averaged a little differently
        assert np.abs(found - image).mean() > 5


def test_without_cupy_it_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    look = find_look(embedded_looks()[0], ModelBundle().manifest)
    with pytest.raises(HueglassError, match=r'pip install "hueglass\[gpu\]"|cannot be used'):
        DeviceStylizer(ModelBundle(), look, np)(scene(1), 0.0)
