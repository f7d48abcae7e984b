"""What a video is, and what is asked of a camera, as plain data."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from hueglass.infer.orientation import LYING, orientation_of

BT709 = 1
"""The number of its matrix in ITU-T H.273."""
UNSPECIFIED = 2


@dataclass(frozen=True)
class VideoColor:
    """H.273 numbers: `matrix` (never unspecified), `primaries` and `transfer` as tagged; `full_range`."""

    matrix: int = BT709
    full_range: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def range(self) -> int:
        """libav's number for it."""
        return 2 if self.full_range else 1


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, and all that is needed to write one like it.

    `width` x `height` are stored pixels. `display_matrix` (nine integers as in ISO 14496-12, None: as stored)
    says how a player turns them; frames are not turned. `rotation` is its angle in degrees, anticlockwise.
    `time_base` is the tick of the file's clock in seconds: `Frame.time` is always a whole number of ticks.
    `rate` is the average in frames per second. `frame_count` and `duration` (seconds) are what the file
    claims, None where it does not say: for progress, not for truth.
    """

    path: Path
    width: int
    height: int
    time_base: Fraction
    rate: Fraction | None = None
    frame_count: int | None = None
    duration: float | None = None
    rotation: int = 0
    display_matrix: tuple[int, ...] | None = None
    pixel_aspect: Fraction | None = None
    color: VideoColor = field(default_factory=VideoColor)
    codec: str = ""
    has_audio: bool = False

    @property
    def orientation(self) -> int:
        """What turns frames upright, 1 to 8 as in EXIF; the display matrix's nearest."""
        return 1 if self.display_matrix is None else orientation_of(self.display_matrix)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height in pixels as a person sees frames, pixels taken as square."""
        return (self.height, self.width) if self.orientation in LYING else (self.width, self.height)


@dataclass(frozen=True)
class CameraWishes:
    """What is asked of a camera, which may give others: width and height in pixels, frames a second."""

    width: int | None = None
    height: int | None = None
    rate: float | None = None
