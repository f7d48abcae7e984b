"""Colour of video: which YUV a file holds, and the way from there to RGB and back.

Y'CbCr is R'G'B' through a matrix (BT.601, BT.709, ...) into a range (limited 16-235, or full). A file should
say which; where it does not, the matrix follows its size, as players do. Reading and writing use the same
answer, so a frame that nobody touched comes back as it was.
"""

import av
import numpy as np
from av.video.reformatter import ColorRange, ColorTrc, Interpolation, VideoReformatter

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import YuvImage

from .info import BT709, UNSPECIFIED, VideoColor

BT470BG, SMPTE170M = 5, 6
"""Matrix numbers of ITU-T H.273, as in the files; both are the matrix of BT.601."""
_RGB = 0
_RESERVED = {0, 3}
# What swscale can convert. BT.2020 with constant luminance, YCgCo and ICtCp are not among them.
_MATRICES = {BT709, 4, BT470BG, SMPTE170M, 7, 9}
_PLANAR = ("yuv420p", "yuvj420p")
_HDR = {ColorTrc.SMPTE2084.value: "PQ", ColorTrc.ARIB_STD_B67.value: "HLG"}
# swscale's default is fast and wrong by up to 3 levels, darker by 1.4 on average; this is right to 1.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def frame_color(frame: av.VideoFrame) -> VideoColor:
    """The colour of a decoded frame.

    A matrix that is not stated is BT.709 for high definition (1280 wide, or over 576 high) and BT.601 below.
    HueglassError (without a file name) for HDR, and for a matrix that cannot be converted.
    """
    if frame.color_trc in _HDR:
        raise HueglassError(f"is HDR ({_HDR[frame.color_trc]}), expected standard dynamic range")
    matrix = frame.colorspace
    if matrix in (UNSPECIFIED, _RGB):
        matrix = BT709 if frame.width >= 1280 or frame.height > 576 else SMPTE170M
    if matrix not in _MATRICES:
        raise HueglassError(f"has the colour matrix {matrix} of H.273, expected BT.601, BT.709 or BT.2020")
    full = frame.color_range == ColorRange.JPEG.value or frame.format.name.startswith("yuvj")
    primaries, transfer = (UNSPECIFIED if tag in _RESERVED else tag for tag in (frame.color_primaries, frame.color_trc))
    return VideoColor(matrix, full, primaries, transfer)


class ColorConverter:
    """Converts frames of one colour. It keeps swscale's tables between frames; one thread at a time."""

    def __init__(self, color: VideoColor) -> None:
        self._color = color
        self._swscale = VideoReformatter()

    def to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a decoded frame of any depth and subsampling; transparency is dropped."""
        if not frame.format.is_rgb:
            frame.colorspace = self._color.matrix
            frame.color_range = self._color.range
        return self._swscale.reformat(frame, format="rgb24", interpolation=_EXACT).to_ndarray()

    def to_planes(self, frame: av.VideoFrame) -> YuvImage | None:
        """The planes of a decoded frame in 8-bit 4:2:0, not copied; None of any other."""
        if frame.format.name not in _PLANAR or frame.width % 2 or frame.height % 2:
            return None
        half = (frame.height // 2, frame.width // 2)
        sizes = ((frame.height, frame.width), half, half)
        luma, cb, cr = (_view(plane)[:h, :w] for plane, (h, w) in zip(frame.planes, sizes, strict=True))
        return YuvImage((luma, cb, cr), self._color.matrix, self._color.full_range)

    def from_planes(self, image: YuvImage) -> av.VideoFrame:
        """A frame in yuv420p that holds `image`, of even size."""
        height, width = image.shape
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, content in zip(frame.planes, image.planes, strict=True):
            _view(plane)[: content.shape[0], : content.shape[1]] = content
        return self._tagged(frame)

    def from_rgb(self, image: np.ndarray, pixel_format: str) -> av.VideoFrame:
        """A frame of `pixel_format` (yuv420p, yuv444p) that holds `image`, (H, W, 3) uint8 RGB."""
        frame = self._swscale.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"),
            format=pixel_format,
            # swscale's own numbers: they are those of H.273, but for one name of BT.601's matrix.
            dst_colorspace=BT470BG if self._color.matrix == SMPTE170M else self._color.matrix,
            dst_color_range=self._color.range,
            interpolation=_EXACT,
        )
        return self._tagged(frame)

    def _tagged(self, frame: av.VideoFrame) -> av.VideoFrame:
        frame.colorspace = self._color.matrix
        frame.color_range = self._color.range
        frame.color_primaries = self._color.primaries
        frame.color_trc = self._color.transfer
        return frame


def _view(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """The bytes of a plane (rows, line) where they are: lines are padded."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
