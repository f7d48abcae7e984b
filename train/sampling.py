"""What samples of photographs are made of, whoever learns from them: crops, label maps, and chance that can be kept."""

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.resize import resized_square


class PhotoConfig(BaseModel):
    """Photographs to learn from. Folders are relative to the data folder given on the command line."""

    model_config = ConfigDict(extra="forbid")

    photos: list[str] = []
    watched: list[str] = []
    """Folders never trained on, watched beside the photographs held out."""
    streets: int = Field(0, ge=0, le=1000)
    """Procedural street frames to train on as well."""
    side: int = Field(320, ge=64, le=1024)


@dataclass(frozen=True)
class Crop:
    """A rectangle of a photograph in shares of its sides, and whether it is mirrored."""

    left: float
    top: float
    width: float
    height: float
    mirrored: bool


def cut(image: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """The crop of an (H, W, C) array as (size, size, C)."""
    h, w = image.shape[:2]
    top, left = int(crop.top * h), int(crop.left * w)
    bottom, right = (
        max(top + 1, int((crop.top + crop.height) * h)),
        max(left + 1, int((crop.left + crop.width) * w)),
    )
    part = image[top:bottom, left:right]
    part = part[:, ::-1] if crop.mirrored else part
    if part.shape[2] == 3:
        return resized_square(np.ascontiguousarray(part), size)
    channels = [np.ascontiguousarray(part[..., i]) for i in range(part.shape[2])]  # cv2 resizes at most four at once
    return np.stack([resized_square(c, size) for c in channels], -1)


def motion(first: Crop, second: Crop) -> np.ndarray:
    """Where places of the second crop lie in the first, both in [-1, 1]: an affine map (2, 3) float32."""
    across = _along(first.left, first.width, first.mirrored, second.left, second.width, second.mirrored)
    down = _along(first.top, first.height, False, second.top, second.height, False)
    return np.array([[across[0], 0, across[1]], [0, down[0], down[1]]], np.float32)


def _along(start: float, size: float, mirrored: bool, other: float, other_size: float, other_mirrored: bool) -> tuple:
    """The factor and the offset of that map along one side."""
    factor = other_size / size
    offset = (2 * other + other_size - 2 * start - size) / size
    if other_mirrored:
        factor = -factor
    return (-factor, -offset) if mirrored else (factor, offset)


def label_maps(labels: np.ndarray, wanted: list[int]) -> np.ndarray:
    """Maps (H, W, len(wanted)) float32 of a label image; what is none of the wanted is in none."""
    return np.stack([labels == n for n in wanted], -1).astype(np.float32)


def shares_of(labels: np.ndarray) -> np.ndarray:
    """The share (len(REGION_NAMES)) of a label image that each region covers."""
    return np.bincount(labels.ravel(), minlength=256)[: len(REGION_NAMES)] / labels.size


class Chance:
    """What drawing batches depends on: two random generators, whose state `state` and `restore` carry."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.torch_rng = torch.Generator().manual_seed(seed)

    def state(self) -> dict:
        return {"numpy": self.rng.bit_generator.state, "torch": self.torch_rng.get_state()}

    def restore(self, state: dict) -> None:
        self.rng.bit_generator.state = state["numpy"]
        self.torch_rng.set_state(state["torch"])
