"""Teachers: files known by their checksum, pictures laid out and maps cut back, classes added up; and the real ones."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from support.places import DATA

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.media.images import read_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.segmenter.teacher_classes import ADE20K, DEEPLAB_REGIONS, MOSAIC_REGIONS, region_of
from hueglass.train.segmenter.teachers import (
    FILES,
    GREY,
    MAP,
    BundleTeacher,
    Teacher,
    TeacherFile,
    checked_file,
    letterboxed,
    open_teachers,
    region_probabilities,
    unboxed,
)

SKY, PERSON, OTHER = (REGION_NAMES.index(name) for name in ("sky", "person", "other"))
MODELS = DATA.parent / "models"


def a_file(**changes: object) -> TeacherFile:
    return replace(TeacherFile("a", "a.tflite", "0" * 64, ("sky", None, "person", "sky")), **changes)  # type: ignore[arg-type]


def test_every_class_has_a_region() -> None:
    assert len(ADE20K) == 150
    assert (len(DEEPLAB_REGIONS), len(MOSAIC_REGIONS)) == (151, 32)
    assert {*DEEPLAB_REGIONS} == {*REGION_NAMES}
    assert {*MOSAIC_REGIONS} == {*REGION_NAMES, None}
    assert (MOSAIC_REGIONS[0], MOSAIC_REGIONS[3], MOSAIC_REGIONS[13], MOSAIC_REGIONS[31]) == (
        None,
        "sky",
        "person",
        "other",
    )
    found = [region_of(name) for name in ("mountain", "wall", "ceiling", "floor", "field", "boat", "animal")]
    assert found == ["ground", "building", "other", "ground", "vegetation", "vehicle", "other"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"{tmp_path}/a.tflite: no such file, expected the teacher a \(SHA-256 0000"):
        checked_file(tmp_path, a_file())


def test_another_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"weights")
    with pytest.raises(
        HueglassError, match=rf"a.tflite: is another file \(SHA-256 {sha256(b'weights').hexdigest()[:12]}"
    ):
        checked_file(tmp_path, a_file())
    known = a_file(sha256=sha256(b"weights").hexdigest())
    assert checked_file(tmp_path, known) == tmp_path / "a.tflite"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, bundle: ModelBundle) -> None:
    with pytest.raises(UsageError, match=r"none: no such folder, expected one with mosaic_r3.tflite, "):
        open_teachers(tmp_path / "none", bundle)


@pytest.mark.parametrize(("height", "width"), [(30, 60), (60, 30), (1, 200), (50, 50)])
@pytest.mark.parametrize("size", [1.0, 0.5])
def test_the_whole_picture_is_laid_on_grey_and_found_again(height: int, width: int, size: float) -> None:
    picture = np.full((height, width, 3), 200, np.uint8)
    box, (top, left, bottom, right) = letterboxed(picture, (128, 256), size)
    assert box.shape == (128, 256, 3)
    inside = (slice(round(top * 128), round(bottom * 128)), slice(round(left * 256), round(right * 256)))
    assert (box[inside] == 200).all()
    outside = np.ones((128, 256), bool)
    outside[inside] = False
    assert (box[outside] == GREY).all()
    assert max((bottom - top), (right - left)) == pytest.approx(size, abs=0.01)


def test_what_is_cut_out_lies_where_the_picture_lay() -> None:
    """A ramp over the picture comes back as a ramp over the map."""
    maps = np.zeros((64, 64, 2), np.float32)
    maps[16:48, :, 0] = (np.arange(32)[:, None] + 0.5) / 32
    maps[16:48, :, 1] = (np.arange(64) + 0.5) / 64
    found = unboxed(maps, (0.25, 0, 0.75, 1))
    middle = (np.arange(MAP) + 0.5) / MAP
    np.testing.assert_allclose(found[0, 4:-4], np.broadcast_to(middle[4:-4, None], (MAP - 8, MAP)), atol=1e-5)
    np.testing.assert_allclose(found[1, 4:-4, 4:-4], np.broadcast_to(middle[4:-4], (MAP - 8, MAP - 8)), atol=1e-5)


def test_classes_of_a_region_are_added_and_those_of_none_left_out() -> None:
    scores = np.log(np.array([[[1.0, 1000.0, 2.0, 5.0]]], np.float32))
    found = region_probabilities(scores, a_file())
    assert found.shape == (1, 1, 8)
    assert (found[0, 0, SKY], found[0, 0, PERSON]) == (pytest.approx(6 / 8), pytest.approx(2 / 8))
    assert found.sum() == pytest.approx(1)
    known = region_probabilities(np.array([[[0.7]]], np.float32), a_file(regions=("person",), softmax=False))
    assert (known[0, 0, PERSON], known.sum()) == (pytest.approx(0.7), pytest.approx(0.7))


def test_a_teacher_is_asked_mirrored_as_well_and_at_each_size() -> None:
    """One that calls sky whatever is bright, and is blind on its left side."""
    asked = []

    def network(box: np.ndarray) -> np.ndarray:
        asked.append(box)
        sky = (box[..., :1] > 200).astype(np.float32)
        sky[:, :32] = 0
        return sky

    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:20] = 255
    teacher = Teacher(a_file(regions=("sky",), softmax=False, sizes=(1.0, 0.5)), network, (64, 64))
    maps = teacher(picture)
    assert len(asked) == 4
    assert maps.shape == (8, MAP, MAP)
    assert maps[SKY, :36].mean() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(maps[SKY], maps[SKY, :, ::-1], atol=1e-5)
    assert maps[1:].max() == 0


def test_the_embedded_segmenter_is_a_teacher(bundle: ModelBundle) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    maps = BundleTeacher(bundle, "digest")(picture)
    assert maps.shape == (8, MAP, MAP)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-4)
    mirrored = BundleTeacher(bundle, "digest")(np.ascontiguousarray(picture[:, ::-1]))
    np.testing.assert_allclose(maps, mirrored[..., ::-1], atol=1e-2)


def _real() -> list[TeacherFile]:
    """Those whose files lie beside the data."""
    return [file for file in FILES if (MODELS / file.file).is_file()]


@pytest.mark.skipif(not _real(), reason=f"no teachers in {MODELS}")
@pytest.mark.skipif(not (DATA / "camvid").is_dir(), reason=f"no CamVid in {DATA}")
@pytest.mark.parametrize("file", FILES[:3], ids=lambda f: f.name)
def test_the_real_ones_see_the_sky_and_the_street(file: TeacherFile, capfd: pytest.CaptureFixture[str]) -> None:
    """And say nothing on stderr."""
    pytest.importorskip("ai_edge_litert")
    from hueglass.train.segmenter.teachers import _open

    if file not in _real():
        pytest.skip(f"no {file.file} in {MODELS}")
    path = checked_file(MODELS, file)
    frame = read_image(min((DATA / "camvid/val").iterdir()))
    maps = _open(path, file, threads=1)(frame)
    assert maps.shape == (8, MAP, MAP)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-3)
    named = maps.argmax(0)
    assert (named[:6, 40:90] == SKY).mean() > 0.5
    assert (named[-20:, 40:90] == REGION_NAMES.index("ground")).mean() > 0.8
    assert capfd.readouterr().err == ""
