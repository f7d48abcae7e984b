"""What goes over the WebSocket, byte by byte."""

import struct

import numpy as np

from hueglass.infer.screen.web.messages import Result, half_floats, read_thumbnail, result_message, thumbnail_bytes


def test_a_thumbnail_is_read_row_by_row() -> None:
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    message = struct.pack("<II", 7, 1500) + pixels.tobytes()
    assert len(message) == thumbnail_bytes(4)
    thumbnail = read_thumbnail(message, 4)
    assert (thumbnail.sequence, thumbnail.time) == (7, 1.5)
    np.testing.assert_array_equal(thumbnail.pixels, pixels)


def test_a_grid_comes_as_half_floats_after_its_number_and_time() -> None:
    grid = np.linspace(-1, 1, 24, dtype=np.float32).reshape(1, 1, 2, 12)
    message = result_message(Result(9, 0.0025, grid))
    assert struct.unpack_from("<II", message) == (9, 2500)
    np.testing.assert_array_equal(np.frombuffer(message, "<f2", offset=8), grid.astype(np.float16).ravel())
    assert struct.unpack_from("<II", result_message(Result(9, 1e9, grid)))[1] == 0xFFFFFFFF


def test_what_half_floats_cannot_hold_becomes_the_largest_that_they_can() -> None:
    found = np.frombuffer(half_floats(np.array([1e9, -1e9, 2.0], np.float32)), "<f2")
    np.testing.assert_array_equal(found, np.array([65504, -65504, 2], np.float16))
