"""Live: only the newest frame counts, cameras come and go, the window does what its keys say."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from support.needs import needs_screen

from hueglass.infer import ycbcr
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.grid.bilateral import identity_grid
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.camera import Camera, open_reader
from hueglass.infer.media.images import read_image
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.fade import Fade
from hueglass.infer.scene.live import Live, Shown
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.jobs.live import Flicker, Meter, Recorder, View, arranged, on_key

SHAPE = (48, 64, 3)


def numbered(count: int | None = None, pause: float = 0.005) -> Callable[[], Iterator[np.ndarray]]:
    """A reader whose picture number i is full of i."""

    def read() -> Iterator[np.ndarray]:
        i = 0
        while count is None or i < count:
            yield np.full(SHAPE, i % 256, np.uint8)
            i += 1
            time.sleep(pause)

    return read


@pytest.fixture
def stylizer(bundle: ModelBundle) -> Stylizer:
    return Stylizer(bundle, find_look(embedded_looks()[0], bundle.manifest), smoother=Smoother())


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
        yield from numbered(20)()
        raise HueglassError("camera 0: is gone")

    with Camera(read, retry=0.1) as camera:
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

    with Camera(read) as camera, pytest.raises(HueglassError, match="camera 7: cannot be opened"):
        camera.newest(timeout=5)


def test_readers(media: ModuleType, tmp_path: Path) -> None:
    """A clip plays at its own rate, or another, and begins again; what is neither clip nor camera is refused."""
    clip = media.Clip(pts=[0, 1, 2, 3]).write(tmp_path / "a.mp4")
    pictures = open_reader(str(clip), rate=200)()
    found = [next(pictures) for _ in range(9)]
    np.testing.assert_array_equal(found[0], found[4])
    np.testing.assert_array_equal(found[3], found[7])
    assert not np.array_equal(found[0], found[3])
    began = time.perf_counter()
    slow = open_reader(str(clip))()
    for _ in range(4):
        next(slow)
    assert time.perf_counter() - began >= 3 / 25
    with pytest.raises(UsageError, match="no such camera, expected a number"):
        open_reader(str(tmp_path / "none.mp4"))
    with pytest.raises(HueglassError, match="camera 63: cannot be opened"):
        next(open_reader("63")())


def test_frames_are_the_newest_and_never_shown_twice(stylizer: Stylizer) -> None:
    with Camera(numbered(pause=0.01)) as camera, Live(camera, stylizer) as live:
        shown = [s for s in (live.next() for _ in range(30)) if s is not None]
    indices = [s.frame.index for s in shown]
    assert len(shown) > 10
    assert indices == sorted(set(indices))
    assert all(s.image.shape == SHAPE for s in shown)
    assert all(s.rendering > 0 and s.prediction > 0 and s.grid_age >= 0 for s in shown)
    assert not [t for t in threading.enumerate() if t.name == "prediction"]


def test_a_look_changes_at_once_or_fades(bundle: ModelBundle, stylizer: Stylizer) -> None:
    other = find_look(embedded_looks()[1], bundle.manifest)
    grey = np.full(SHAPE, 128, np.uint8)

    def read() -> Iterator[np.ndarray]:
        while True:
            yield grey
            time.sleep(0.005)

    def wait_for(live: Live, done: Callable[[np.ndarray], bool]) -> bool:
        deadline = time.perf_counter() + 10
        while time.perf_counter() < deadline:
            shown = live.next()
            if shown is not None and done(shown.image.astype(int)):
                return True
        return False

    expected = Stylizer(bundle, other)(Frame(grey, 0.0, 0)).image.astype(int)
    start = Stylizer(bundle, stylizer.look)(Frame(grey, 0.0, 0)).image.astype(int)
    assert np.abs(expected - start).max() > 8
    with Camera(read) as camera, Live(camera, stylizer) as live:
        assert wait_for(live, lambda image: np.abs(image - start).max() <= 1)
        live.fade_to(other, seconds=0)
        assert wait_for(live, lambda image: np.abs(image - expected).max() <= 1)
        live.fade_to(find_look(embedded_looks()[0], bundle.manifest), seconds=0.5)
        between = np.abs(expected - start).max() / 3
        assert wait_for(live, lambda i: np.abs(i - start).max() > between < np.abs(i - expected).max())
        assert wait_for(live, lambda image: np.abs(image - start).max() <= 1)


def test_fade(bundle: ModelBundle) -> None:
    a, b = (find_look(name, bundle.manifest) for name in embedded_looks()[:2])
    fade = Fade(a, b, 10.0, 2.0)
    np.testing.assert_allclose(fade.at(11.0)[0].tones, (a.tones + b.tones) / 2, atol=1e-5)
    assert fade.at(11.0)[1] is False
    assert fade.at(12.0) == (b, True)
    assert Fade(a, b, 10.0, 0.0).at(10.0) == (b, True)


def test_an_error_of_prediction_reaches_whoever_shows(stylizer: Stylizer) -> None:
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        assert live.next(timeout=10) is not None

        def fail(_: Stylizer) -> None:
            raise HueglassError("out of memory")

        live.change(fail)

        def go_on() -> None:
            for _ in range(1000):
                live.next(timeout=0.1)

        with pytest.raises(HueglassError, match="out of memory"):
            go_on()


def test_keys(bundle: ModelBundle, stylizer: Stylizer, tmp_path: Path) -> None:
    looks = [find_look(name, bundle.manifest) for name in embedded_looks()[:3]]
    view, recorder = View(looks), Recorder(tmp_path)
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
        assert shown is not None

        def press(keys: str) -> list[str | None]:
            return [on_key(ord(key), view, live, shown, recorder) for key in keys]

        assert press("nnnp") == [looks[1].name, looks[2].name, looks[0].name, looks[2].name]
        assert press("--+") == ["strength 0.9", "strength 0.8", "strength 0.9"]
        press("smih")
        assert (view.split, view.mirror, view.figures, view.help) == (0.5, True, True, True)
        press("smih")
        assert (view.split, view.mirror, view.figures, view.help) == (None, False, False, False)
        (said,) = press("c")
        assert said is not None
        np.testing.assert_array_equal(read_image(Path(said.removeprefix("wrote "))), shown.image)
        press("r")
        for _ in range(5):
            again = live.next(timeout=10)
            assert again is not None
            recorder.add(again.frame, again.image)
        assert press("r") == ["recorded"]
        assert on_key(-1, view, live, shown, recorder) is None
        assert press("?") == [None]
        press("q")
        assert view.quit
    with VideoSource(next(tmp_path.glob("*.mp4"))) as clip:
        assert len([*clip]) == 5


def test_what_the_window_shows(stylizer: Stylizer) -> None:
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
    assert shown is not None
    view = View([stylizer.look])
    np.testing.assert_array_equal(arranged(shown, view), shown.image)
    view.split, view.mirror = 0.25, True
    clean = arranged(shown, view, clean=True)
    np.testing.assert_array_equal(clean[:, ::-1][:, :16], shown.frame.image[:, :16])
    np.testing.assert_array_equal(clean[:, ::-1][:, 16:], shown.image[:, 16:])
    written = arranged(shown, View([stylizer.look]), notes=["hello"])
    assert not np.array_equal(written, shown.image)
    assert Meter().lines() == []


def test_planar_frames_are_shown_like_others(bundle: ModelBundle, stylizer: Stylizer) -> None:
    """A clip that plays as a camera is never converted to RGB before it is rendered."""
    image = ycbcr.from_rgb(np.random.default_rng(0).random((48, 64, 3), np.float32))

    def read() -> Iterator[YuvImage]:
        while True:
            time.sleep(0.005)
            yield image

    with Camera(read) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
    assert shown is not None
    assert np.abs(shown.original - 255 * ycbcr.to_rgb(image)).max() <= 1
    rendered = native.render(shown.grid, shown.original).astype(int)
    assert np.abs(shown.image - rendered).mean() < 1
    view = View([stylizer.look], split=0.5)
    np.testing.assert_array_equal(arranged(shown, view, clean=True)[:, :32], shown.original[:, :32])


def test_the_meter_counts_until_a_frame_is_on_the_screen(stylizer: Stylizer) -> None:
    with Camera(numbered(pause=0.01)) as camera, Live(camera, stylizer) as live:
        meter = Meter()
        for i in range(4):
            while (shown := live.next(timeout=10)) is None:
                pass
            meter.add(shown, shown.frame.time + 0.01 * (i + 1))
    assert [round(figures.delay) for figures in meter.figures] == [10, 20, 30, 40]
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
            meter = Flicker(worker)
            assert meter.lines() == []
            for index in range(8):
                meter.add(shown(index, gains[index % 2]))
                if meter.job is not None:
                    meter.job.result()
            assert len(meter.found) >= 6
            ours, frozen = (sum(pair[i] for pair in meter.found) for i in range(2))
            assert low < ours / frozen < high
            assert meter.lines()[0].startswith("flicker ")
        meter = Flicker(worker)
        for index in (0, 2, 4):
            meter.add(shown(index, 1.0))
        assert meter.job is None


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


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--camera", "63", "--no-window", "--virtual-camera"), 1, "camera 63: cannot be opened"),
        (("--camera", "nowhere.mp4"), 2, "nowhere.mp4: no such camera"),
        (("--no-window",), 2, "--no-window shows nothing, expected --virtual-camera beside it"),
        (("-o", "nowhere"), 2, "nowhere: no such folder"),
        (("--look", "nobody"), 2, "no look named 'nobody'"),
        (("--region", "sky=0"), 2, "expected --auto-regions"),
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


def test_strength_is_kept_by_region(stylizer: Stylizer) -> None:
    """`+` and `-` change it everywhere but where a region has its own."""
    stylizer.strength = Strength(1.0, {"sky": 0.0})
    with Camera(numbered()) as camera, Live(camera, stylizer) as live:
        shown = live.next(timeout=10)
        assert shown is not None
        on_key(ord("-"), View([stylizer.look]), live, shown, Recorder(Path()))
        deadline = time.perf_counter() + 10
        while stylizer.strength.everywhere == 1.0 and time.perf_counter() < deadline:
            live.next(timeout=0.1)
    assert stylizer.strength == Strength(0.9, {"sky": 0.0})
