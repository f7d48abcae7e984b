"""What goes over the WebSocket, byte by byte."""

import struct

import numpy as np
from support.streets import picture_of_street

from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import find_look
from hueglass.infer.scene.stylizer import StylizerSettings
from hueglass.infer.screen.web.messages import (
    STEP,
    Packing,
    Result,
    read_thumbnail,
    thumbnail_bytes,
)


def test_a_thumbnail_is_read_row_by_row() -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    message = struct.pack("<II", 7, 1500) + pixels.tobytes()
    assert len(message) == thumbnail_bytes(4)
    thumbnail = read_thumbnail(message, 4)
    assert (thumbnail.sequence, thumbnail.time) == (7, 1.5)
    np.testing.assert_array_equal(thumbnail.pixels, pixels)


def grids(count: int) -> list[np.ndarray]:
    """One after another they change a little, and once all at once."""
    rng = np.random.default_rng(0)
    first, other = (rng.normal(0, 0.5, (3, 5, 4, 12)).cumsum(1).astype(np.float32) for _ in range(2))
    return [(other if i == 3 else first) + 0.01 * i * other for i in range(count)]


def test_grids_come_packed_after_number_and_time() -> None:
    here, there, ways = Packing(), Packing(), []
    for grid in grids(6):
        message = here.message(Result(9, 0.0025, grid))
        assert struct.unpack_from("<II", message) == (9, 2500)
        found = there.unpacked(message[8:], grid.shape)
        assert found.dtype == np.float32
        assert np.abs(found - grid).max() <= STEP / 2 + 1e-6
        ways.append(message[8])
    assert ways[:3] == [0, 1, 1]
    assert struct.unpack_from("<II", here.message(Result(9, 1e9, grid)))[1] == 0xFFFFFFFF


def test_what_does_not_fit_becomes_the_largest_that_does() -> None:
    grid = np.zeros((1, 2, 2, 12), np.float32)
    most = 128 - STEP
    grid[0, 0, 0, :3], grid[0, 1, 1, 0] = (1e9, -1e9, 2.0), most
    found = Packing().unpacked(Packing().packed(grid), grid.shape)
    np.testing.assert_array_equal(found[0, 0, 0, :4], [most, -128, 2, 0])
    assert found[0, 1, 1, 0] == most


def test_grids_of_a_street_take_less_than_half_floats_of_a_quarter(bundle: ModelBundle) -> None:
    """As many bytes a second as grids of half as many cells to a side took, or fewer."""
    stylizer = StylizerSettings(bundle.segmenter).stylizer(bundle, find_look("sunset", bundle.manifest))
    here, there, sizes = Packing(), Packing(), []
    for i in range(12):
        grid = stylizer.predict(Frame(picture_of_street(0, i / 15, 480, 270), i / 15, i))
        message = here.packed(grid)
        sizes.append(len(message))
        assert np.abs(there.unpacked(message, grid.shape) - grid).max() <= STEP / 2 + 1e-6
    assert np.mean(sizes) < grid.size * 2 / 4
