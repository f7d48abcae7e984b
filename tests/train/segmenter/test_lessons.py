"""Lessons of the segmenter: what people drew or teachers said of all that is shown, but for what is held out."""

from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from support.media import Clip

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo, held_out
from hueglass.datasets.region_labels import LabelStore, RegionLabel
from hueglass.datasets.scenes import CAMERAS
from hueglass.infer.errors import UsageError
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.lessons import EXPOSURES, lesson_of, load_lessons

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))
KEPT, HELD = (next(n for n in map(str, range(100)) if held_out(n) == held) for held in (False, True))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two photographs, one of them held out by its name, a labelled frame of CamVid, a panorama and the one that is
    held out."""
    folder = tmp_path / "data"
    for name in (f"photos/{KEPT}", f"photos/{HELD}", "camvid/train/f"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    labels = np.full((48, 64), 11, np.uint8)  # unlabelled
    labels[24:] = 9  # a pedestrian
    (folder / "camvid/train_label").mkdir()
    cv2.imwrite(str(folder / "camvid/train_label/f.png"), labels)
    (folder / "panoramas").mkdir()
    for name in ("hill", "venice_sunset_1k"):
        cv2.imwrite(str(folder / f"panoramas/{name}.hdr"), np.ones((16, 32, 3), np.float32))
    return folder


def label(data: Path, out: Path, *names: str) -> Path:
    """Labels that call everything a sky."""
    maps = np.zeros((8, 128, 128), np.uint8)
    maps[SKY] = 255
    with LabelStore(out, {}) as store:
        for name in names:
            digest = sha256((data / name.split("#")[0]).read_bytes()).hexdigest()
            store.add(RegionLabel(name, digest, maps))
    return out


def test_without_labels_there_is_what_people_drew(data: Path) -> None:
    (lesson,) = load_lessons(["photos", "camvid/train", "panoramas"], data, 32, None)
    assert (lesson.name, lesson.kind, lesson.image.shape) == ("camvid/train/f.png", "film", (32, 43, 3))
    assert (lesson.maps[PERSON, 66:] == 255).all()
    assert lesson.maps[:, :62].max() == 0  # nobody knows


def test_labels_come_with_their_pictures_but_for_those_held_out(data: Path, tmp_path: Path) -> None:
    views = [f"panoramas/{name}.hdr#{i:02d}" for name in ("hill", "venice_sunset_1k") for i in range(len(CAMERAS))]
    photos = [f"photos/{name}.png" for name in (KEPT, HELD)]
    labels = label(data, tmp_path / "labels", *photos, "camvid/train/f.png", *views)
    lessons = load_lessons(["photos", "camvid/train", "panoramas"], data, 64, labels)
    assert {lesson.name.split("#")[0] for lesson in lessons} == {photos[0], "camvid/train/f.png", "panoramas/hill.hdr"}
    assert all((lesson.maps[SKY] == 255).all() for lesson in lessons)
    turned = [lesson for lesson in lessons if lesson.kind == "panorama"]
    assert len(turned) == len(CAMERAS) * len(EXPOSURES)
    assert len({lesson.image.mean() for lesson in turned if lesson.name.endswith("#00")}) == len(EXPOSURES)


def test_a_label_of_another_picture_is_refused(data: Path, tmp_path: Path) -> None:
    labels = label(data, tmp_path / "labels", f"photos/{KEPT}.png")
    cv2.imwrite(str(data / f"photos/{KEPT}.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(UsageError, match="its label is of another picture"):
        load_lessons(["photos"], data, 64, labels)


def test_a_photograph_that_nobody_named_teaches_nothing() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    assert lesson_of(Photo("p", image)) is None
    assert lesson_of(Photo("p", image, np.full((6, 8), UNKNOWN, np.uint8))) is None
    labels = np.full((6, 8), UNKNOWN, np.uint8)
    labels[:, :4] = GROUND
    lesson = lesson_of(Photo("p", image, labels, filmed=True))
    assert lesson is not None
    assert lesson.kind == "film"
    assert (lesson.maps[GROUND, :, :50] == 255).all()
    assert (lesson.maps[:, :, 78:] == 0).all()


def test_frames_of_clips_are_lessons_of_their_own_kind(tmp_path: Path) -> None:
    (tmp_path / "data/video").mkdir(parents=True)
    Clip(pts=list(range(30))).write(tmp_path / "data/video/walk.mp4")
    labels = label(tmp_path / "data", tmp_path / "labels", "video/walk.mp4#00", "video/walk.mp4#05")
    lessons = load_lessons(["video"], tmp_path / "data", 64, labels)
    assert [(lesson.name, lesson.kind) for lesson in lessons] == [(f"video/walk.mp4#{n}", "clip") for n in ("00", "05")]
    assert np.abs(lessons[0].image.astype(int) - lessons[1].image).mean() > 1


def test_nobody_is_believed_to_see_a_person_in_a_picture_of_an_animal(data: Path, tmp_path: Path) -> None:
    names = ["photos/n02099601_golden_retriever.png", "photos/n03594945_jeep.png"]
    maps = np.zeros((8, 128, 128), np.uint8)
    maps[PERSON], maps[GROUND] = 155, 100
    with LabelStore(tmp_path / "labels", {}) as store:
        for name in names:
            cv2.imwrite(str(data / name), np.full((48, 64, 3), 90, np.uint8))
            store.add(RegionLabel(name, sha256((data / name).read_bytes()).hexdigest(), maps))
    found = {lesson.name: lesson for lesson in load_lessons(["photos"], data, 64, tmp_path / "labels")}
    assert [int(found[name].maps[PERSON].max()) for name in names] == [0, 155]
    assert all((lesson.maps[GROUND] == 100).all() for lesson in found.values())
