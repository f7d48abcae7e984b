"""Photographs by folders: what people named in them, or else what `hueglass label` did."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo, load_folders, load_photos
from hueglass.datasets.region_labels import LabelStore, RegionLabel
from hueglass.infer.errors import UsageError
from hueglass.infer.media.images import write_image
from hueglass.infer.regions.regions import REGION_NAMES

SKY, WATER, GROUND = (REGION_NAMES.index(name) for name in ("sky", "water", "ground"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photographs that nobody labelled, and a frame of CamVid that is all road."""
    folder = tmp_path / "data"
    for name in ("photos/a", "photos/below/b", "camvid/train/f"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{name}.png", np.full((60, 100, 3), 90 + len(name), np.uint8))
    (folder / "camvid/train_label").mkdir()
    write_image(folder / "camvid/train_label/f.png", np.full((60, 100, 3), 3, np.uint8))
    return folder


def said(data: Path, out: Path, **regions: int) -> Path:
    """Labels that say of pictures, by the stems of their files: sky above, and below the region given, half as sure."""
    with LabelStore(out, {}) as store:
        for path in sorted(data.rglob("*.png")):
            if path.stem in regions and "label" not in path.parent.name:
                maps = np.zeros((len(REGION_NAMES), 16, 16), np.uint8)
                maps[SKY, :8], maps[regions[path.stem], 8:] = 255, 140
                digest = sha256(path.read_bytes()).hexdigest()
                store.add(RegionLabel(path.relative_to(data).as_posix(), digest, maps))
    return out


def by_name(photos: list[Photo]) -> dict[str, Photo]:
    return {photo.name: photo for photo in photos}


def test_without_labels_nobody_knows_what_photographs_show(data: Path) -> None:
    photos = by_name(load_folders(["photos", "camvid/train"], data, 30))
    assert [(p.labels is None, p.filmed) for p in photos.values()] == [(True, False), (True, False), (False, True)]
    assert photos["a"].image.shape == (30, 50, 3)


def test_labels_come_with_the_pictures_they_are_of(data: Path, tmp_path: Path) -> None:
    labels = said(data, tmp_path / "labels", a=WATER)
    photos = by_name(load_folders(["photos"], data, 32, labels=labels))
    found = photos["a"].labels
    assert found is not None
    assert (found.dtype, found.shape) == (np.uint8, photos["a"].image.shape[:2])
    assert (found[:15] == SKY).all()
    assert (found[17:] == WATER).all()
    assert photos["b"].labels is None


def test_where_no_region_is_likelier_than_not_nobody_knows(data: Path, tmp_path: Path) -> None:
    maps = np.full((len(REGION_NAMES), 16, 16), 30, np.uint8)
    maps[WATER, :4], maps[GROUND, -4:] = 127, 128
    digest = sha256((data / "photos/a.png").read_bytes()).hexdigest()
    known = {data / "photos/a.png": RegionLabel("photos/a.png", digest, maps)}
    found = by_name(load_photos(data / "photos", 32, known=known))["a"].labels
    assert found is not None
    assert (found[:24] == UNKNOWN).all()
    assert (found[24:] == GROUND).all()


def test_what_people_drew_comes_first(data: Path, tmp_path: Path) -> None:
    """The teachers call the whole frame sky and water; it is a road, says CamVid."""
    labels = said(data, tmp_path / "labels", f=WATER)
    drawn = by_name(load_folders(["camvid/train"], data, 32))["f"].labels
    found = by_name(load_folders(["camvid/train"], data, 32, labels=labels))["f"].labels
    assert drawn is not None
    assert found is not None
    np.testing.assert_array_equal(found, drawn)
    assert set(np.unique(found)) == {GROUND}


def test_a_label_of_another_picture_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    labels = said(data, tmp_path / "labels", a=WATER, b=WATER)
    write_image(data / "photos/a.png", np.zeros((60, 100, 3), np.uint8))
    with pytest.raises(UsageError) as raised:
        load_folders(["photos"], data, 32, labels=labels)
    assert str(raised.value) == f"{data / 'photos/a.png'}: its label is of another picture, label it again"


def test_a_folder_without_labels_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none: holds no labels, expected what `hueglass label` wrote"):
        load_folders(["photos"], data, 32, labels=tmp_path / "none")
