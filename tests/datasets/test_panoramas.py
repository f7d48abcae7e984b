"""Panoramas: cameras turn the right way round, what one sees another finds again, and bad files are one line."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hueglass.datasets.panoramas import Camera, Panorama, exposed, read_panorama, view
from hueglass.infer.errors import HueglassError, UsageError


def world(height: int = 256) -> Panorama:
    """Red grows to the east (longitude -180 to 180), green upwards, blue is 0.25."""
    longitude = np.broadcast_to((np.arange(2 * height) + 0.5) / (2 * height), (height, 2 * height))
    latitude = np.broadcast_to(1 - ((np.arange(height) + 0.5) / height)[:, None], (height, 2 * height))
    return Panorama("world", np.stack([longitude, latitude, np.full_like(longitude, 0.25)], -1).astype(np.float32))


def angles(colour: np.ndarray) -> tuple[float, float]:
    """The longitude and latitude in degrees of a colour of the world."""
    return 360 * float(colour[0]) - 180, 180 * float(colour[1]) - 90


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (40, 0), (-100, 20), (170, -35), (0, 60)])
def test_the_middle_of_a_view_is_where_the_camera_looks(yaw: float, pitch: float) -> None:
    seen = view(world(), Camera(yaw, pitch, 60, 65, 65))
    assert angles(seen[32, 32]) == pytest.approx((yaw, pitch), abs=1)


def test_a_view_is_as_wide_as_it_says_and_not_mirrored() -> None:
    seen = view(world(), Camera(10, 0, 90, 181, 91))
    left, right = angles(seen[45, 0])[0], angles(seen[45, -1])[0]
    assert (left, right) == pytest.approx((10 - 44.8, 10 + 44.8), abs=1)
    assert angles(seen[0, 90])[1] > 20  # up is up
    assert angles(seen[-1, 90])[1] < -20


def test_around_the_back_there_is_no_seam() -> None:
    """Where left and right edge meet the world is continuous in all but the ramp of this one."""
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(np.tile(rng.random((64, 128, 3), np.float32), (1, 3, 1)), (0, 0), 4)[:, 128:256]
    seen = view(Panorama("p", np.ascontiguousarray(smooth)), Camera(180, 0, 40, 80, 40))
    assert np.abs(np.diff(seen, axis=1)).max() < 0.02


def test_a_point_is_found_again_in_another_view() -> None:
    one, other = Camera(20, 5, 75, 320, 240), Camera(50, -10, 60, 200, 200)
    points = np.random.default_rng(1).random((500, 2))
    np.testing.assert_allclose(one.points(one.directions(points)), points, atol=1e-9)
    there = other.points(one.directions(points))
    inside = ((there > 0.02) & (there < 0.98)).all(1)
    assert 50 < inside.sum() < 400
    a, b = view(world(512), one), view(world(512), other)
    for (x, y), (u, v) in zip(points[inside], there[inside], strict=True):
        here, again = a[int(y * 240), int(x * 320)], b[int(v * 200), int(u * 200)]
        np.testing.assert_allclose(here, again, atol=0.006)


def test_what_is_behind_a_camera_is_nowhere_in_its_picture() -> None:
    camera = Camera(0, 0, 75, 320, 240)
    assert np.isnan(camera.points(np.array([[0.0, 0, -1], [0.5, 0, -1]]))).all()
    assert (camera.points(np.array([[5.0, 0, 1]]))[0, 0] > 1).all()


def test_exposure_is_a_cameras() -> None:
    """Middle grey is 118 of 255, a stop brings four fifths of it in sRGB, and light beyond white is white."""
    grey = np.full((2, 2, 3), 7.0, np.float32)
    assert exposed(grey, 7.0)[0, 0].tolist() == [118, 118, 118]
    assert exposed(grey, 7.0, -1)[0, 0, 0] == round(255 * (1.055 * 0.09 ** (1 / 2.4) - 0.055))
    assert (exposed(1000 * grey, 7.0) == 255).all()
    assert (exposed(0 * grey, 7.0) == 0).all()


def test_middle_grey_weighs_by_area() -> None:
    """Half the height of an equirectangular picture, around the equator, is seven tenths of the sphere."""
    radiance = np.full((64, 128, 3), 1.0, np.float32)
    radiance[16:48] = np.e
    assert np.log(Panorama("p", radiance).middle) == pytest.approx(np.sin(np.pi / 4), abs=2e-3)


def test_a_panorama_is_read_as_it_was_written(tmp_path: Path) -> None:
    radiance = (world(64).radiance * 40).astype(np.float32)
    cv2.imwrite(str(tmp_path / "w.hdr"), cv2.cvtColor(radiance, cv2.COLOR_RGB2BGR))
    found = read_panorama(tmp_path / "w.hdr")
    assert found.name == "w"
    np.testing.assert_allclose(found.radiance, radiance, atol=0.4)


def test_files_that_are_no_panorama_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.hdr: no such file"):
        read_panorama(tmp_path / "none.hdr")
    square = tmp_path / "square.hdr"
    cv2.imwrite(str(square), np.ones((32, 32, 3), np.float32))
    huge = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 500000 +X 1000000\n"
    for name, content in (("text", b"hello"), ("square", square.read_bytes()), ("huge", huge)):
        path = tmp_path / f"{name}.hdr"
        path.write_bytes(content)
        with pytest.raises(HueglassError, match="is no Radiance HDR picture twice as wide as high"):
            read_panorama(path)
    good = tmp_path / "good.hdr"
    cv2.imwrite(str(good), world(64).radiance)
    dark = tmp_path / "dark.hdr"
    cv2.imwrite(str(dark), np.zeros((32, 64, 3), np.float32))
    with pytest.raises(HueglassError, match="holds no light"):
        read_panorama(dark)
    good.write_bytes(good.read_bytes()[:300])
    with pytest.raises(HueglassError, match=r"good\.hdr: is damaged|good\.hdr: holds no light"):
        read_panorama(good)
