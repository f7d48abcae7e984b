"""Pictures: read right to the level, refused in one line when broken, written whole or not at all."""

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.places import ROOT

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import whole_file
from hueglass.infer.media.images import read_image, write_image


@pytest.fixture
def picture() -> np.ndarray:
    """(96, 160, 3) uint8: smooth in every direction, different in every corner."""
    y, x = np.mgrid[0:96, 0:160]
    return np.stack([x * 255 // 159, y * 255 // 95, (x + y) // 2 + 40], -1).astype(np.uint8)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def refused(path: Path, kind: type[Exception] = HueglassError) -> str:
    """The one line that reading `path` is refused with."""
    with pytest.raises(kind) as caught:
        read_image(path)
    assert type(caught.value) is kind
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize(("suffix", "mean"), [(".png", 0), (".jpg", 1.5), (".jpeg", 1.5), (".webp", 2.5)])
def test_written_pictures_read_back(tmp_path: Path, picture: np.ndarray, suffix: str, mean: float) -> None:
    write_image(tmp_path / f"a{suffix}", picture)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.shape == picture.shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - picture).mean() <= mean
    assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (200, 8000, 3), (77, 101, 3)])
def test_unusual_sizes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".png"])
def test_other_kinds(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = saved(Image.fromarray(picture), tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(path), picture)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_grey_becomes_rgb(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    image = read_image(saved(Image.fromarray(picture[..., 0]), tmp_path / f"a{suffix}"))
    assert image.shape == picture.shape
    assert np.ptp(image, axis=2).max() == 0
    assert np.abs(image[..., 0].astype(int) - picture[..., 0]).max() <= 3


def test_palette(tmp_path: Path, picture: np.ndarray) -> None:
    palette = Image.fromarray(picture).convert("P")
    np.testing.assert_array_equal(read_image(saved(palette, tmp_path / "a.png")), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_lies_on_white(tmp_path: Path, picture: np.ndarray, mode: str) -> None:
    image = Image.fromarray(picture).convert(mode)
    image.putalpha(Image.fromarray(picture[..., 1]))
    colour, alpha = np.asarray(image.convert("RGBA"), float)[..., :3], picture[..., 1:2] / 255
    expected = np.floor(colour * alpha + 255 * (1 - alpha) + 0.5)
    assert np.abs(read_image(saved(image, tmp_path / "a.png")) - expected).max() <= 1


def test_16_bits_are_rounded(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = read_image(saved(Image.fromarray(values), tmp_path / "a.png"))
    np.testing.assert_array_equal(image[..., 1], np.rint(values / 257).astype(np.uint8))


def test_cmyk_jpeg(tmp_path: Path, picture: np.ndarray) -> None:
    path = saved(Image.fromarray(picture).convert("CMYK"), tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(path).astype(int) - picture).mean() < 2
    # The same file without the segment that says which way round the ink runs.
    data = path.read_bytes()
    at = data.index(b"\xff\xee")
    path.write_bytes(data[:at] + data[at + 2 + struct.unpack_from(">H", data, at + 2)[0] :])
    assert "CMYK" in refused(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("suffix", "mode"), [(".jpg", "RGB"), (".png", "RGBA"), (".webp", "RGB")])
def test_exif_orientation(tmp_path: Path, picture: np.ndarray, suffix: str, mode: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    path = saved(Image.fromarray(picture).convert(mode), tmp_path / f"a{suffix}", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    image = read_image(path)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97])
def test_cut_short_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path)
    assert capfd.readouterr() == ("", "")


def test_jpeg_completed_with_grey_is_refused(
    tmp_path: Path, picture: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(Image.fromarray(picture), tmp_path / "a.jpg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3] + b"\xff\xd9")
    assert "cut short" in refused(path)
    assert capfd.readouterr() == ("", "")


def test_thumbnail_does_not_hide_a_cut(tmp_path: Path, picture: np.ndarray) -> None:
    """The end-of-image marker of the thumbnail inside EXIF is not the picture's."""
    thumbnail = io.BytesIO()
    Image.fromarray(picture[:32, :32]).save(thumbnail, "jpeg")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail.getvalue()
    path = saved(Image.fromarray(picture), tmp_path / "a.jpg", exif=exif)
    assert read_image(path).shape == picture.shape
    path.write_bytes(path.read_bytes()[:-200])
    refused(path)


def test_flipped_bit_in_png_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    path = saved(Image.fromarray(picture), tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    assert "damaged" in refused(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"no picture\n" * 40, b"BM", b"II*\0", b"\0"])
def test_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    refused(path)


def test_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b""))
    assert "60000x60000" in refused(path)


def test_wrong_use(tmp_path: Path, picture: np.ndarray) -> None:
    refused(tmp_path / "missing.png", UsageError)
    refused(tmp_path, UsageError)
    for target in ("a.gif", "a", "no/folder/a.png"):
        with pytest.raises(UsageError, match=target):
            write_image(tmp_path / target, picture)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="regular file"):
        write_image(tmp_path / "folder.png", picture)
    with pytest.raises(HueglassError, match="expected"):
        write_image(tmp_path / "a.png", picture.astype(np.float32))
    with pytest.raises(HueglassError, match="cannot hold"):
        write_image(tmp_path / "a.webp", np.zeros((1, 20000, 3), np.uint8))
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt(), ValueError("x")]
)
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    expected = HueglassError if isinstance(failure, OSError) else type(failure)

    def write() -> None:
        with whole_file(target) as temporary:
            assert temporary.suffix == ".png"
            temporary.write_bytes(b"half")
            raise failure

    with pytest.raises(expected) as caught:
        write()
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{target}: cannot be written: {failure.strerror}"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"old"


def test_a_link_is_followed(tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "a.png"
    link.symlink_to(tmp_path / "real" / "b.png")
    write_image(link, picture)
    assert link.is_symlink()
    np.testing.assert_array_equal(read_image(tmp_path / "real" / "b.png"), picture)


def test_real_photographs() -> None:
    root = ROOT
    folder = root / os.environ.get("HUEGLASS_DATA", "../shared/data")
    photographs = sorted(p for p in folder.rglob("*") if p.suffix in (".jpg", ".png", ".webp"))[::50]
    if not photographs:
        pytest.skip(f"no photographs in {folder}")
    for path in photographs:
        expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        assert np.abs(read_image(path).astype(int) - expected).max() <= 2


def test_a_device_without_end_is_refused() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero on this system")
    with pytest.raises(UsageError, match="is a device"):
        read_image("/dev/zero")
