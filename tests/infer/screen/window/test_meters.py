"""What the window measures."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from support.cameras import numbered

from hueglass.infer.frame import Frame
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.media.camera import Camera
from hueglass.infer.scene.live import Live, Shown
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.infer.screen.window.meters import FlickerMeter, Meter


def test_no_frame_no_figures() -> None:
    assert Meter().lines() == []


def test_the_meter_counts_until_a_frame_is_on_the_screen(stylizer: Stylizer) -> None:
    with Camera(numbered(pause=0.01)) as camera, Live(camera, stylizer) as live:
        meter = Meter()
        for i in range(4):
            while (shown := live.next(timeout=10)) is None:
                pass
            meter.add(shown, shown.frame.time + 0.01 * (i + 1))
    assert [round(timing.delay) for timing in meter.timings] == [10, 20, 30, 40]
    assert meter.lines()[1] == "delay 25 ms (95 % below 38)"


def test_flicker_is_measured_beside_the_pictures(stylizer: Stylizer) -> None:
    """Grids that stand still have none; ones that jump have much; two frames that do not follow are not compared."""
    base = np.kron(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    still = identity_grid()

    def shown(index: int, gain: float) -> Shown:
        noise = np.random.default_rng(index).normal(0, 2, base.shape)
        image = np.clip(base + noise, 0, 255).astype(np.uint8)
        return Shown(image, Frame(image, 2.0 * index, index), still * gain, stylizer, 1.0, 1.0, 0.0)

    with ThreadPoolExecutor(1) as worker:
        for gains, low, high in (((1.0, 1.0), 0.99, 1.01), ((1.0, 0.7), 5.0, 1e4)):
            meter = FlickerMeter(worker)
            assert meter.lines() == []
            for index in range(8):
                meter.add(shown(index, gains[index % 2]))
                if meter.job is not None:
                    meter.job.result()
            assert len(meter.found) >= 6
            ours, frozen = (sum(pair[i] for pair in meter.found) for i in range(2))
            assert low < ours / frozen < high
            assert meter.lines()[0].startswith("flicker ")
        meter = FlickerMeter(worker)
        for index in (0, 2, 4):
            meter.add(shown(index, 1.0))
        assert meter.job is None
