"""What the tests of commands share: a folder to work in, with a picture and a reference."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture() -> np.ndarray:
    """(96, 160, 3) uint8: coarse patches of every colour, no pixel near black or white."""
    patches = np.random.default_rng(5).integers(40, 216, (6, 10, 3), dtype=np.uint8)
    return np.kron(patches, np.ones((16, 16, 1), np.uint8))


@pytest.fixture
def folder(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a picture, and a reference whose left half is warm and right half cold."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(picture).save("in.png")
    light = np.full(picture.shape, (230, 140, 60))
    light[:, 80:] = (50, 110, 220)
    Image.fromarray(np.clip(light + picture // 3 - 40.0, 0, 255).astype(np.uint8)).save("ref.png")
    return tmp_path
