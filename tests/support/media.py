"""Clips that the tests make for themselves, and what a file holds when it is read by PyAV alone."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MATRICES = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr, Kb of BT.709, BT.601 and BT.2020."""
PATCHES = np.random.default_rng(3).integers(0, 256, (4, 6, 3), dtype=np.uint8)
VARIABLE = [0, 100, 133, 400, 433, 466, 900, 1000, 1033, 1300, 1400, 1433, 1466, 1500, 1800]
"""Timestamps of a clip with a variable frame rate, in thousandths of a second."""


def moving_patches(width: int, height: int, count: int) -> list[np.ndarray]:
    """`count` pictures (height, width, 3) uint8 of flat colours that drift sideways."""
    rows = np.arange(height) * PATCHES.shape[0] // height
    columns = np.arange(width) * PATCHES.shape[1] // width
    still = PATCHES[rows][:, columns]
    return [np.roll(still, 2 * i, axis=1) for i in range(count)]


def to_ycbcr(image: np.ndarray, matrix: int, full: bool, depth: int = 8) -> list[np.ndarray]:
    """Y, Cb, Cr planes (H, W) of ITU-T H.273, computed here so that no library is its own judge."""
    red, green, blue = (image[..., i] / 255 for i in range(3))
    kr, kb = MATRICES[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    luma, chroma, black = (255, 255, 0) if full else (219, 224, 16)
    planes = [y * luma + black, cb * chroma + 128, cr * chroma + 128]
    scale = 1 << (depth - 8)
    return [np.clip(np.rint(p * scale), 0, 256 * scale - 1) for p in planes]


@dataclass
class Clip:
    """Recipe of a clip. `pts` in `time_base`; `sound_start` in samples at 44100 Hz, None: no sound; every `keys`-th
    picture, at least, can be decoded alone."""

    pts: list[int] = field(default_factory=lambda: list(range(15)))
    time_base: Fraction = Fraction(1, 25)
    last: int = 1
    width: int = 160
    height: int = 96
    matrix: int = 1
    tag: int | None = None
    full: bool = False
    transfer: int = 1
    pixel_format: str = "yuv444p"
    rotation: int = 0
    sound_start: int | None = None
    sound_packets: int = 40
    keys: int = 5
    options: dict[str, str] = field(default_factory=dict)

    def pictures(self) -> list[np.ndarray]:
        return moving_patches(self.width, self.height, len(self.pts))

    def write(self, path: Path) -> Path:
        """Encodes the clip losslessly enough (crf 1) to judge colours by it."""
        with av.open(str(path), "w", container_options=self.options) as container:
            stream = self._add_video(container)
            sound = None
            if self.sound_start is not None:
                sound = container.add_stream("aac", rate=44100, layout="mono", time_base=Fraction(1, 44100))
            for i, image in enumerate(self.pictures()):
                container.mux(stream.encode(self._picture(i, image)))
            container.mux(stream.encode(None))
            if sound is not None:
                self._write_sound(container, sound)
        return path

    def _add_video(self, container: av.container.OutputContainer) -> av.video.VideoStream:
        webm = container.format.name == "webm"
        options = {"crf": "4", "b": "0", "cpu-used": "8"} if webm else {"crf": "1", "preset": "ultrafast", "bf": "2"}
        stream = container.add_stream(
            "libvpx-vp9" if webm else "libx264",
            rate=25,
            options={**options, "g": str(self.keys)},
            width=self.width,
            height=self.height,
            pix_fmt=self.pixel_format,
            time_base=self.time_base,
        )
        context = stream.codec_context
        context.flags |= av.codec.context.Flags.frame_duration
        context.colorspace = self.matrix if self.tag is None else self.tag
        context.color_range = 2 if self.full else 1
        context.color_primaries = self.matrix
        context.color_trc = self.transfer
        if self.rotation:
            stream.set_display_rotation(self.rotation)
        return stream

    def _picture(self, i: int, image: np.ndarray) -> av.VideoFrame:
        deep = "10" in self.pixel_format
        planes = to_ycbcr(image, self.matrix, self.full, 10 if deep else 8)
        picture = av.VideoFrame(self.width, self.height, self.pixel_format)
        for plane, values in zip(picture.planes, planes, strict=True):
            row = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
            step = (self.height // plane.height, self.width // plane.width)
            row[:, : plane.width] = values[:: step[0], :: step[1]]
        picture.pts, picture.time_base = self.pts[i], self.time_base
        following = self.pts[i + 1 : i + 2] or [self.pts[i] + self.last]
        picture.duration = following[0] - self.pts[i]
        picture.color_range = 2 if self.full else 1
        return picture

    def _write_sound(self, container: av.container.OutputContainer, sound: av.audio.AudioStream) -> None:
        for i in range(self.sound_packets):
            t = (np.arange(1024) + 1024 * i) / 44100
            wave = (0.4 * np.sin(2 * np.pi * (300 + 20 * i) * t)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base = 44100, Fraction(1, 44100)
            frame.pts = self.sound_start + 1024 * i
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


@dataclass(frozen=True)
class Track:
    """Packets of one track: presentation times in seconds, sorted; contents in file order; end in seconds."""

    times: list[Fraction]
    contents: list[bytes]
    end: Fraction


def tracks(path: Path) -> dict[str, Track]:
    """The video and audio track of a file, by kind."""
    found: dict[str, list[av.Packet]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                found.setdefault(packet.stream.type, []).append(packet)
        return {
            kind: Track(
                sorted(p.pts * p.time_base for p in packets),
                [bytes(p) for p in packets],
                max((p.pts + (p.duration or 0)) * p.time_base for p in packets),
            )
            for kind, packets in found.items()
        }
