"""Masks are read right whatever wrote them, and their soft maps share out every pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.regions.masks import MASK_COLOURS, MINIMUM_PIXELS, Mask, read_labels, read_mask, regions_of
from hueglass.infer.regions.regions import no_regions

CODES = np.array(list(MASK_COLOURS.values()), np.uint8)
NINE = np.repeat(np.repeat(np.arange(9, dtype=np.uint8).reshape(3, 3), 20, axis=0), 30, axis=1)
"""(60, 90): every code in a block of its own."""
SIZE = NINE.shape


def saved(pixels: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def names_at(mask: Mask) -> np.ndarray:
    return np.array(mask.names)[mask.labels]


NINE_NAMES = np.array(list(MASK_COLOURS))[NINE]


@pytest.mark.parametrize("noise", [0, 25])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_nine_codes(tmp_path: Path, noise: int, suffix: str) -> None:
    """Also with every channel off by up to 10 %."""
    off = np.random.default_rng(0).integers(-noise, noise + 1, (*SIZE, 3))
    path = saved(np.clip(CODES[NINE] + off, 0, 255).astype(np.uint8), tmp_path / f"a.{suffix}")
    mask = read_mask(path, SIZE)
    assert mask.names == tuple(MASK_COLOURS)
    assert mask.labels.dtype == np.uint8
    np.testing.assert_array_equal(mask.labels, NINE)


def test_nine_codes_in_jpeg(tmp_path: Path) -> None:
    mask = read_mask(saved(CODES[NINE], tmp_path / "a.jpg", quality=90), SIZE)
    assert mask.names == tuple(MASK_COLOURS)
    assert (mask.labels == NINE).mean() > 0.93  # chroma is blurred along the edges
    inner = np.s_[5:15, 5:25]
    for y, x in np.ndindex(3, 3):
        block = mask.labels[20 * y : 20 * y + 20, 30 * x : 30 * x + 30][inner]
        np.testing.assert_array_equal(block, 3 * y + x)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "bits", "16 bits", "JPEG"])
def test_codes_in_other_kinds_of_file(tmp_path: Path, kind: str) -> None:
    black_and_white = kind in ("LA", "bits", "16 bits", "JPEG")
    labels = np.where(NINE < 4, 2, 3).astype(np.uint8) if black_and_white else NINE
    image = Image.fromarray(CODES[labels])
    path = tmp_path / ("a.jpg" if kind == "JPEG" else "a.png")
    if kind == "palette":
        image = image.quantize(9, dither=Image.Dither.NONE)
    elif kind == "16 bits":
        image = Image.fromarray(CODES[labels][..., 0].astype(np.uint16) * 257)
    elif kind == "JPEG":
        image = image.convert("L")
    else:
        image = image.convert({"bits": "1"}.get(kind, kind))
    image.save(path)
    np.testing.assert_array_equal(names_at(read_mask(path, SIZE)), np.array(list(MASK_COLOURS))[labels])


@pytest.mark.parametrize("kind", ["grey", "palette", "16 bits"])
def test_label_images(tmp_path: Path, kind: str) -> None:
    """Numbers are names, also those that a grey value of the codes has beside them."""
    numbers = np.where(NINE == 8, 255, NINE).astype(np.uint8)
    image = Image.fromarray(numbers.astype(np.uint16) if kind == "16 bits" else numbers)
    if kind == "palette":
        image.putpalette([7, 7, 7] * 256)
    image.save(tmp_path / "a.png")
    mask = read_mask(tmp_path / "a.png", SIZE)
    assert mask.names == tuple(str(n) for n in range(256))
    np.testing.assert_array_equal(mask.labels, numbers)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), numbers)


def test_coloured_palette_has_both_readings(tmp_path: Path) -> None:
    """As a mask it shows the codes; as a label image (CamVid, Cityscapes) it holds numbers."""
    image = Image.fromarray(NINE)
    image.putpalette([*CODES.ravel().tolist(), *[0] * (3 * 247)])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(names_at(read_mask(tmp_path / "a.png", SIZE)), NINE_NAMES)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), NINE)


@pytest.mark.parametrize(("taller", "wider"), [(2, 2), (-2, 1), (0, -2)])
def test_size_off_by_two_is_resized(tmp_path: Path, taller: int, wider: int) -> None:
    path = saved(CODES[NINE], tmp_path / "a.png")
    mask = read_mask(path, (SIZE[0] + taller, SIZE[1] + wider))
    assert mask.labels.shape == (SIZE[0] + taller, SIZE[1] + wider)
    np.testing.assert_array_equal(mask.labels[10:50:20, 15:80:30], NINE[10:50:20, 15:80:30])
    assert set(np.unique(mask.labels)) == set(range(9))


@pytest.mark.parametrize(("taller", "wider"), [(3, 0), (0, -3), (-30, -45)])
def test_another_size_is_refused(tmp_path: Path, taller: int, wider: int) -> None:
    path = saved(CODES[NINE], tmp_path / "a.png")
    expected = f"{SIZE[1] + wider}x{SIZE[0] + taller}"
    with pytest.raises(UsageError, match=rf"a\.png: the mask is 90x60, expected {expected}"):
        read_mask(path, (SIZE[0] + taller, SIZE[1] + wider))


def test_what_is_no_mask(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(UsageError, match=path.name):
            read_mask(path, SIZE)
    whole_file = saved(CODES[NINE], tmp_path / "a.jpg").read_bytes()
    # Cut in the middle, with and without an end: decoders would fill it with grey.
    for content in (b"", b"text\n" * 99, whole_file[:900], whole_file[:900] + b"\xff\xd9"):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(HueglassError, match=r"bad\.png") as caught:
            read_mask(tmp_path / "bad.png", SIZE)
        assert "\n" not in str(caught.value)


def test_unusual_names(tmp_path: Path) -> None:
    for name in ("a:b.png", "a%03d.png", "a[1-3].png"):
        np.testing.assert_array_equal(read_mask(saved(CODES[NINE], tmp_path / name), SIZE).labels, NINE)


@pytest.mark.parametrize("shape", [(60, 90), (5, 5), (2, 500), (700, 900)])
@pytest.mark.parametrize("size", [32, 128])
def test_soft_maps_share_out_every_pixel(shape: tuple[int, int], size: int) -> None:
    labels = np.random.default_rng(0).integers(0, 9, shape).astype(np.uint8)
    labels[: shape[0] // 2] = 4
    regions = regions_of(Mask(labels, tuple(MASK_COLOURS)), size)
    assert regions.maps.shape == (len(regions.names), size, size)
    assert regions.maps.dtype == np.float32
    assert regions.maps.min() >= 0
    np.testing.assert_allclose(regions.maps.sum(0), 1, atol=1e-5)


def test_soft_maps_lie_where_the_labels_are() -> None:
    regions = regions_of(Mask(NINE, tuple(MASK_COLOURS)), 30)
    for name, region in zip(regions.names, regions.maps, strict=True):
        y, x = divmod(list(MASK_COLOURS).index(name), 3)
        expected = np.zeros((30, 30), np.float32)
        expected[10 * y : 10 * y + 10, 10 * x : 10 * x + 10] = 1
        np.testing.assert_allclose(region, expected, atol=1e-6)


def test_soft_edge_is_the_share_of_the_pixel() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 17:] = 1
    regions = regions_of(Mask(labels, ("left", "right")), 16)
    assert regions.names == ("right", "left")  # the largest first
    np.testing.assert_allclose(regions.maps[1, 5, 3:6], [1, 0.25, 0], atol=1e-6)


@pytest.mark.parametrize("size", [8, 128])
def test_slips_of_the_brush_join_the_largest(size: int) -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 30:] = 1
    labels[:2, :5] = 2
    labels[20:23, 32:36] = 3
    assert (labels == 2).sum() == MINIMUM_PIXELS
    assert (labels == 3).sum() == MINIMUM_PIXELS + 2
    regions = regions_of(Mask(labels, ("a", "b", "slip", "small")), size)
    assert regions.names == ("a", "b", "small")
    assert regions.maps[0, 0, 0] == pytest.approx(1)
    np.testing.assert_allclose(regions.maps.sum(0), 1, atol=1e-5)


def test_nothing_but_slips_is_nothing_known() -> None:
    regions = regions_of(Mask(np.arange(9, dtype=np.uint8).reshape(3, 3), tuple(MASK_COLOURS)), 16)
    assert regions.names == ()
    assert regions.maps.shape == no_regions(16).maps.shape == (0, 16, 16)
