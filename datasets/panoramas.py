"""Panoramas: everything that can be seen from one place, in radiance. A camera turns in them at any exposure.

They are equirectangular: longitude from -180 degrees at the left edge to 180 at the right one, latitude from 90 at the
top to -90. Cameras are pinholes that stand upright: where a point of one picture lies in another is known.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file

SUFFIX = ".hdr"
HELD_OUT = ("venice_sunset_1k",)
"""Never trained on: what is said of turning cameras is measured here."""
KEY = 0.18
"""Linear light of a scene's middle grey at an exposure of 0 stops (Reinhard et al. 2002, section 3.1)."""
MAX_BYTES = 1 << 28
MAX_SIDE = 16384
_LUMINANCE = (0.2126, 0.7152, 0.0722)


@dataclass(frozen=True)
class Panorama:
    """`radiance` (H, 2 H, 3) float32, linear Rec. 709, finite and at least 0, of whatever unit."""

    name: str
    radiance: np.ndarray

    @cached_property
    def middle(self) -> float:
        """The scene's middle grey: the mean logarithm of its luminance, each pixel by the part of the sphere that it
        is."""
        luminance = self.radiance @ np.array(_LUMINANCE, np.float32)
        height = len(luminance)
        area = np.cos((0.5 - (np.arange(height) + 0.5) / height) * np.pi)
        smallest = 1e-4 * float(luminance.mean()) + 1e-12
        return float(np.exp(np.average(np.log(luminance + smallest).mean(1), weights=area)))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at longitude `yaw` and latitude `pitch`, `wide` degrees from side to side, and takes
    pictures of `width` by `height` pixels."""

    yaw: float
    pitch: float
    wide: float
    width: int
    height: int

    @cached_property
    def axes(self) -> np.ndarray:
        """Right, down and forward (3, 3) in the world, whose axes are east, down and north (longitude 0)."""
        yaw, pitch = np.radians([self.yaw, self.pitch])
        right = (np.cos(yaw), 0.0, -np.sin(yaw))
        down = (np.sin(pitch) * np.sin(yaw), np.cos(pitch), np.sin(pitch) * np.cos(yaw))
        forward = (np.cos(pitch) * np.sin(yaw), -np.sin(pitch), np.cos(pitch) * np.cos(yaw))
        return np.array([right, down, forward])

    @cached_property
    def focal(self) -> float:
        """In widths of the picture."""
        return 0.5 / float(np.tan(np.radians(self.wide) / 2))

    def directions(self, points: np.ndarray) -> np.ndarray:
        """Where points (n, 2), (x, y) in shares of the picture's sides, lie in the world: (n, 3), not of length 1."""
        x = (points[:, 0] - 0.5) / self.focal
        y = (points[:, 1] - 0.5) * self.height / self.width / self.focal
        rays: np.ndarray = np.stack([x, y, np.ones_like(x)], 1) @ self.axes
        return rays

    def points(self, directions: np.ndarray) -> np.ndarray:
        """Where directions (n, 3) lie in the picture: (n, 2) in shares of its sides, NaN for those behind the camera.
        Those beside the picture are below 0 or above 1."""
        x, y, z = (directions @ self.axes.T).T
        ahead = np.where(z > 1e-6, z, np.nan)
        return np.stack([0.5 + self.focal * x / ahead, 0.5 + self.focal * y / ahead * self.width / self.height], 1)


def read_panorama(path: str | os.PathLike[str]) -> Panorama:
    """The panorama in a Radiance HDR file. UsageError for a missing file, HueglassError for one that is not one."""
    path = existing_file(Path(path))
    if path.stat().st_size > MAX_BYTES:
        raise HueglassError(f"{path}: is larger than {MAX_BYTES} bytes, expected a panorama")
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror}") from None
    width, height = _stated_size(bytes(data[:4096]))
    if not (width == 2 * height and 8 <= width <= MAX_SIDE):
        raise HueglassError(f"{path}: is no Radiance HDR picture twice as wide as high, expected a panorama")
    pixels = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR)
    if pixels is None or pixels.dtype != np.float32 or pixels.shape != (height, width, 3):
        raise HueglassError(f"{path}: is damaged, expected a Radiance HDR picture")
    radiance = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if not np.isfinite(radiance).all() or radiance.max() <= 0:
        raise HueglassError(f"{path}: holds no light, expected a panorama")
    return Panorama(path.stem, np.maximum(radiance, 0))


def _stated_size(header: bytes) -> tuple[int, int]:
    """Width and height in the header of a Radiance HDR file; zeros for anything else."""
    if not header.startswith((b"#?RADIANCE", b"#?RGBE")):
        return 0, 0
    for line in header.split(b"\n"):
        words = line.split()
        if len(words) == 4 and words[0] == b"-Y" and words[2] == b"+X" and (words[1] + words[3]).isdigit():
            return int(words[3][:9]), int(words[1][:9])
    return 0, 0


def view(panorama: Panorama, camera: Camera) -> np.ndarray:
    """What the camera sees: radiance (height, width, 3) float32."""
    x, y = np.meshgrid((np.arange(camera.width) + 0.5) / camera.width, (np.arange(camera.height) + 0.5) / camera.height)
    rays = camera.directions(np.stack([x.ravel(), y.ravel()], 1)).astype(np.float32)
    height, width = panorama.radiance.shape[:2]
    longitude = np.arctan2(rays[:, 0], rays[:, 2])
    latitude = np.arcsin(-rays[:, 1] / np.linalg.norm(rays, axis=1))
    column = ((longitude / (2 * np.pi) + 0.5) * width - 0.5).reshape(x.shape)
    row = ((0.5 - latitude / np.pi) * height - 0.5).reshape(x.shape)
    # Around the sphere the right edge is the left one's neighbour; above the poles there is nothing.
    seam = np.pad(panorama.radiance, ((0, 0), (1, 1), (0, 0)), mode="wrap")
    seen: np.ndarray = cv2.remap(seam, column + 1, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return seen


def exposed(radiance: np.ndarray, middle: float, stops: float = 0.0) -> np.ndarray:
    """What a camera makes of radiance (H, W, 3): uint8 sRGB, `middle` at KEY times two to the power of `stops`."""
    light = np.clip(radiance * (KEY * 2.0**stops / middle), 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    pixels: np.ndarray = np.rint(255 * encoded).astype(np.uint8)
    return pixels
