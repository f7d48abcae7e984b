"""What a folder of data shows: photographs, views of panoramas and frames of clips, each by its name."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.media import Clip

from hueglass.datasets.scenes import CAMERAS, FRAMES, names_in, shown_files, shown_in
from hueglass.infer.errors import HueglassError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 9, 3), 50, np.uint8))
    radiance = np.ones((32, 64, 3), np.float32)
    radiance[:16] = 8  # sky
    cv2.imwrite(str(tmp_path / "hill.hdr"), radiance)
    Clip(pts=list(range(60))).write(tmp_path / "walk.mp4")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_all_that_shows_something_is_found(folder: Path) -> None:
    assert [path.name for path in shown_files(folder)] == ["a.png", "hill.hdr", "walk.mp4"]
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no photograph, panorama or clip"):
        shown_files(folder / "empty")
    with pytest.raises(UsageError, match="no such folder"):
        shown_files(folder / "none")


def test_everything_has_a_name_that_is_known_beforehand(folder: Path) -> None:
    for file, count in (("a.png", 1), ("hill.hdr", len(CAMERAS)), ("walk.mp4", FRAMES)):
        names = names_in(folder / file, f"data/{file}")
        shown = list(shown_in(folder / file, f"data/{file}"))
        assert [one.name for one in shown] == names
        assert len(set(names)) == count
    assert names_in(folder / "a.png", "data/a.png") == ["data/a.png"]


def test_views_are_all_around_and_at_the_exposure_that_is_asked_for(folder: Path) -> None:
    bright, dark = ([one.image for one in shown_in(folder / "hill.hdr", "h", stops)] for stops in (0.0, -3.0))
    up = [view[:200].mean() for view in bright]
    assert max(up) > 1.5 * min(up)
    assert np.mean(dark) < 0.5 * np.mean(bright)


def test_a_file_that_is_damaged_is_named(folder: Path) -> None:
    for file in ("a.png", "walk.mp4"):
        (folder / file).write_bytes((folder / file).read_bytes()[:50])
        with pytest.raises(HueglassError, match=file):
            list(shown_in(folder / file, file))
