"""What every source and every sink does. A new one is one more line in SOURCES or SINKS."""

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest

from hueglass.infer import ycbcr
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame, YuvImage
from hueglass.infer.media.images import write_image
from hueglass.infer.media.info import CameraWishes, VideoInfo
from hueglass.infer.media.sink import VIRTUAL_CAMERA, Sink, open_sink
from hueglass.infer.media.source import Source, open_source, spread_frames

FRAMES, HEIGHT, WIDTH = 6, 96, 160


def picture(index: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    image = np.full((height, width, 3), 40 * index, np.uint8)
    image[:, : width // 2, 0] = 200
    return image


def clip(folder: Path, media: ModuleType, rotation: int = 0) -> Path:
    recipe = media.Clip(pts=list(range(FRAMES)), width=WIDTH, height=HEIGHT, rotation=rotation)
    return recipe.write(folder / "clip.mp4")


def folder_of_pictures(folder: Path, media: ModuleType) -> Path:
    for index in range(FRAMES):
        write_image(folder / f"{index:03}.png", picture(index))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def one_picture(folder: Path, media: ModuleType) -> Path:
    write_image(folder / "one.png", picture(0))
    return folder / "one.png"


def stream(folder: Path, media: ModuleType) -> str:
    """OpenCV opens addresses of files as it opens those of streams."""
    return f"file://{clip(folder, media)}"


SOURCES: dict[str, tuple[Callable[[Path, ModuleType], "str | Path"], int]] = {
    "video file": (clip, FRAMES),
    "folder of pictures": (folder_of_pictures, FRAMES),
    "picture": (one_picture, 1),
    "stream": (stream, FRAMES),
}
"""By name, how it is made, and how many frames it has."""


@pytest.fixture(params=SOURCES)
def opening(request: pytest.FixtureRequest, tmp_path: Path, media: ModuleType) -> tuple[Callable[[], Source], int]:
    make, count = SOURCES[request.param]
    name = make(tmp_path, media)
    return (lambda: open_source(name, CameraWishes())), count


def taken(source: Source, decoded: bool = False) -> list[Frame]:
    """All frames; those of a live source until it fails."""
    frames: list[Frame] = []
    try:
        for frame in source.as_decoded() if decoded else source:
            frames.append(frame)
    except HueglassError:
        assert source.live
    return frames


def test_a_source_says_what_its_frames_are(opening: tuple[Callable[[], Source], int]) -> None:
    open_it, count = opening
    with open_it() as source:
        info = source.info
        frames = taken(source)
        assert len(frames) == count
        assert (info.width, info.height, info.orientation) == (WIDTH, HEIGHT, 1)
        assert info.upright_size == (WIDTH, HEIGHT)
        assert info.frame_count == (None if source.live else count)
        assert isinstance(info.time_base, Fraction)
        assert source.lost == 0


def test_a_source_gives_frames_in_order(opening: tuple[Callable[[], Source], int]) -> None:
    open_it, count = opening
    with open_it() as source:
        frames = taken(source)
    assert [frame.index for frame in frames] == list(range(count))
    assert all(a.time < b.time for a, b in itertools.pairwise(frames))
    for frame in frames:
        assert (frame.image.shape, frame.image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert frame.orientation == 1
        assert frame.duration >= 0


def test_a_source_gives_the_same_as_decoded(opening: tuple[Callable[[], Source], int]) -> None:
    open_it, count = opening
    with open_it() as plain, open_it() as planar:
        frames, decoded = taken(plain), taken(planar, decoded=True)
    assert len(decoded) == count
    for a, b in zip(frames, decoded, strict=True):
        assert a.index == b.index
        pixels = 255 * ycbcr.to_rgb(b.image) if isinstance(b.image, YuvImage) else b.image
        assert np.abs(pixels.astype(int) - a.image).mean() < 2


def test_a_source_may_be_left_early_and_opened_again(opening: tuple[Callable[[], Source], int]) -> None:
    open_it, _ = opening
    for _ in range(2):
        with open_it() as source:
            first = next(iter(source))
        assert first.index == 0


def test_frames_are_spread_over_a_recording(tmp_path: Path, media: ModuleType) -> None:
    with open_source(clip(tmp_path, media, rotation=90)) as source:
        frames = [*spread_frames(source, 3)]
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert {frame.image.shape for frame in frames} == {(WIDTH, HEIGHT, 3)}


@pytest.mark.parametrize(
    ("name", "wishes", "error", "message"),
    [
        ("nowhere.mp4", None, UsageError, "no such file"),
        ("nowhere.mp4", CameraWishes(), UsageError, "no such camera, expected a number"),
        ("0", None, UsageError, "0: no such file"),
        ("nowhere.png", None, UsageError, "no such file"),
        ("63", CameraWishes(), HueglassError, "camera 63: cannot be opened"),
        ("/dev/none", CameraWishes(), HueglassError, "camera /dev/none: cannot be opened"),
        ("/dev/zero", None, UsageError, "is a device, expected a file"),
        (".", None, UsageError, "no picture in this folder"),
    ],
)
def test_names_that_are_nothing(
    name: str,
    wishes: CameraWishes | None,
    error: type[HueglassError],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        open_source(name, wishes)


def test_pictures_have_the_rate_that_is_asked_for_and_one_size(tmp_path: Path, media: ModuleType) -> None:
    with open_source(folder_of_pictures(tmp_path, media), rate=15) as source:
        assert [frame.time for frame in source] == pytest.approx([i / 15 for i in range(FRAMES)])
        assert source.info.duration == pytest.approx(FRAMES / 15)
    write_image(tmp_path / "zzz.png", picture(0, 48, 80))
    with open_source(tmp_path) as source, pytest.raises(HueglassError, match=r"zzz.png: is 80x48, expected 160x96"):
        list(source)


# ------------------------------------------------------------------------------------------------ sinks


class VirtualCameraStandIn:
    """What pyvirtualcam's camera would take: there is no such driver here."""

    made: list["VirtualCameraStandIn"] = []  # noqa: RUF012

    def __init__(self, width: int, height: int, rate: float) -> None:
        self.shape, self.sent, self.closed = (height, width, 3), [], False
        self.made.append(self)

    def send(self, image: np.ndarray) -> None:
        assert (image.shape, image.dtype) == (self.shape, np.uint8)
        assert image.flags.c_contiguous
        self.sent.append(image.copy())

    def close(self) -> None:
        self.closed = True


def frames_of_file(path: Path) -> list[np.ndarray]:
    with open_source(path) as source:
        return [frame.image for frame in source]


def frames_of_virtual_camera(path: Path) -> list[np.ndarray]:
    assert VirtualCameraStandIn.made[-1].closed
    return VirtualCameraStandIn.made[-1].sent


SINKS: dict[str, tuple[str, Callable[[Path], list[np.ndarray]]]] = {
    "mp4": ("out.mp4", frames_of_file),
    "matroska": ("out.mkv", frames_of_file),
    "webm": ("out.webm", frames_of_file),
    "virtual camera": (VIRTUAL_CAMERA, frames_of_virtual_camera),
}
"""By name, what `open_sink` is given, and what came out of it."""
INFO = VideoInfo(Path("test"), WIDTH, HEIGHT, Fraction(1, 1000), Fraction(25))


@pytest.fixture(params=SINKS)
def sinking(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[[VideoInfo], Sink], Callable[[], list[np.ndarray]], Path]:
    name, read = SINKS[request.param]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=VirtualCameraStandIn))
    place = tmp_path / name
    given = name if name == VIRTUAL_CAMERA else place
    return (lambda info: open_sink(given, info)), (lambda: read(place)), place


Sinking = tuple[Callable[[VideoInfo], Sink], Callable[[], list[np.ndarray]], Path]


@pytest.mark.parametrize("planar", [False, True])
def test_a_sink_keeps_every_frame(sinking: Sinking, planar: bool) -> None:
    open_it, read, _ = sinking
    with open_it(INFO) as sink:
        assert sink.left_out == []
        for index in range(FRAMES):
            image = picture(index)
            sink.write(Frame(ycbcr.from_rgb(image / np.float32(255)) if planar else image, index / 25, index, 1 / 25))
    found = read()
    assert len(found) == FRAMES
    for index, image in enumerate(found):
        assert np.abs(image.astype(int) - picture(index)).mean() < 6


def test_a_sink_refuses_another_size(sinking: Sinking) -> None:
    open_it, _, _ = sinking

    def write() -> None:
        with open_it(INFO) as sink:
            sink.write(Frame(picture(0), 0.0, 0))
            sink.write(Frame(picture(1, 48, 80), 0.04, 1))

    with pytest.raises(HueglassError, match=r"expected"):
        write()


def test_a_sink_refuses_frames_out_of_order(sinking: Sinking) -> None:
    open_it, _, _ = sinking

    def write() -> None:
        with open_it(INFO) as sink:
            for time in (0.0, 0.08, 0.04):
                sink.write(Frame(picture(0), time, 0))

    with pytest.raises(HueglassError, match="is not after the one before"):
        write()


def test_a_sink_leaves_nothing_half_done(sinking: Sinking) -> None:
    open_it, _, place = sinking

    def fail() -> None:
        with open_it(INFO) as sink:
            sink.write(Frame(picture(0), 0.0, 0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [*place.parent.iterdir()] == []
    if place.name == VIRTUAL_CAMERA:
        assert VirtualCameraStandIn.made[-1].closed


def test_a_sink_shows_what_lies_upright(sinking: Sinking) -> None:
    """A file keeps how it is stored and says so; a screen is given what a person sees."""
    open_it, read, place = sinking
    turned = replace(INFO, display_matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    if place.suffix in (".mkv", ".webm"):
        pytest.skip("Matroska is written without a display matrix by this test's reader")
    assert (turned.orientation, turned.upright_size) == (6, (HEIGHT, WIDTH))
    with open_it(turned) as sink:
        sink.write(Frame(picture(3), 0.0, 0, orientation=6))
    (found,) = read()
    seen = cv2.rotate(picture(3), cv2.ROTATE_90_CLOCKWISE)
    if place.name == VIRTUAL_CAMERA:
        np.testing.assert_array_equal(found, seen)
    else:
        assert found.shape == picture(3).shape
        with open_source(place) as source:
            assert source.info.orientation == 6


def test_a_name_that_no_sink_has(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"extension .gif, expected .mp4"):
        open_sink(tmp_path / "out.gif", INFO)


def test_a_missing_virtual_camera_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeError("no device found\nlong explanation")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=none))
    with pytest.raises(HueglassError, match=r"^no virtual camera: no device found$"):
        open_sink(VIRTUAL_CAMERA, INFO).__enter__()
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(HueglassError, match=r'pip install "hueglass\[camera\]"'):
        open_sink(VIRTUAL_CAMERA, INFO).__enter__()
