"""The command `label`, with teachers of four lines: pictures found, runs gone on with, what people drew kept."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hueglass.datasets.region_labels import RegionLabel, read_region_labels
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.jobs import label as label_job

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))
WEIGHTS = "weights: {bright: {sky: 1, ground: 1}, anything: {other: 0.5}}\n"


class Bright:
    """Calls what is bright sky, and all else ground."""

    name, digest = "bright", "b1"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.asked.append(image.shape)
        small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA).mean(2) / 255
        maps = np.zeros((8, 128, 128), np.float32)
        maps[SKY], maps[GROUND] = small, 1 - small
        return maps

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []


class Anything:
    """Calls everything by every name alike."""

    name, digest = "anything", "a1"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.full((8, 128, 128), 1 / 8, np.float32)


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Bright:
    teacher = Bright()
    monkeypatch.setattr(label_job, "open_teachers", lambda folder, bundle, threads: [teacher, Anything()])
    return teacher


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four photographs, a frame of CamVid's training split with its labels, one of its test split."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text(WEIGHTS)
    for name in ("photos/a", "photos/b", "photos/c/d", "photos/c/e", "camvid/train/f", "camvid/test/g"):
        path = tmp_path / "data" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((48, 64, 3), 40, np.uint8)
        picture[:24] = 230
        cv2.imwrite(str(path), picture)
    labels = np.full((48, 64), 11, np.uint8)  # unlabelled
    labels[24:, :32] = 9  # a pedestrian
    (tmp_path / "data/camvid/train_label").mkdir()
    cv2.imwrite(str(tmp_path / "data/camvid/train_label/f.png"), labels)
    return tmp_path / "data"


def labelled(run: Callable, *more: object, status: int = 0) -> tuple[dict[str, RegionLabel], str]:
    """The labels by name after a run, and what it said on stderr."""
    outcome = run("label", "data", "-o", "out", "--teachers", "t", "--weights", "w.yaml", *more)
    assert outcome.status == status, outcome.err
    return {found.name: found for found in read_region_labels(Path("out"))}, outcome.err


@pytest.mark.usefixtures("data")
def test_photographs_and_frames_are_labelled_but_not_the_test_split(run: Callable, bright: Bright) -> None:
    found, said = labelled(run)
    assert sorted(found) == ["camvid/train/f.png", *(f"photos/{name}.png" for name in ("a", "b", "c/d", "c/e"))]
    assert said == ""
    maps = found["photos/a.png"].probabilities()
    assert maps.shape == (8, 128, 128)
    sky, ground, other = 230 / 255, 25 / 255, 0.5 / 8
    assert maps[SKY, 30, 30] == pytest.approx(sky / (sky + ground + other), abs=1 / 255)
    assert json.loads(Path("out/labels.json").read_text())["teachers"] == {"bright": "b1", "anything": "a1"}


@pytest.mark.usefixtures("data", "bright")
def test_what_people_drew_is_above_the_teachers(run: Callable) -> None:
    maps = labelled(run)[0]["camvid/train/f.png"].maps
    assert (maps[PERSON, 68:, :60] == 255).all()
    assert (maps[PERSON, :60] == 0).all()
    assert (maps[SKY, :60] > 200).all()


@pytest.mark.usefixtures("data")
def test_an_interrupted_run_goes_on(run: Callable, bright: Bright, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at the third picture, then run again: every picture once."""
    look = Bright.__call__

    def interrupted(self: Bright, image: np.ndarray) -> np.ndarray:
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        return look(self, image)

    monkeypatch.setattr(Bright, "__call__", interrupted)
    found, _ = labelled(run, status=130)
    assert len(found) == 2
    monkeypatch.setattr(Bright, "__call__", look)
    found, _ = labelled(run)
    assert (len(found), len(bright.asked)) == (5, 5)
    labelled(run)
    assert len(bright.asked) == 5


@pytest.mark.usefixtures("bright")
def test_a_damaged_picture_is_named_and_the_others_go_on(run: Callable, data: Path) -> None:
    whole = (data / "photos/a.png").read_bytes()
    (data / "photos/b.png").write_bytes(whole[: len(whole) // 2])
    found, said = labelled(run, status=1)
    assert len(found) == 4
    assert said.startswith("hueglass: data/photos/b.png: is cut short or damaged")
    assert said.endswith("hueglass: 1 of 5 files could not be read\n")


@pytest.mark.usefixtures("bright")
def test_any_folder_will_do(run: Callable, data: Path) -> None:
    found, _ = labelled(run, "--folder", "photos/c", "--folder", "camvid/test")
    assert sorted(found) == ["camvid/test/g.png", "photos/c/d.png", "photos/c/e.png"]
    outcome = run("label", data / "photos/c", "-o", "out2", "--teachers", "t", "--weights", "w.yaml")
    assert outcome.status == 0
    assert sorted(found.name for found in read_region_labels(Path("out2"))) == ["d.png", "e.png"]


@pytest.mark.usefixtures("bright")
def test_pictures_and_weights_that_changed_are_refused(run: Callable, data: Path) -> None:
    labelled(run)
    cv2.imwrite(str(data / "photos/a.png"), np.zeros((9, 9, 3), np.uint8))
    assert "its label photos/a.png is of another picture, expected a new folder" in labelled(run, status=2)[1]
    Path("w.yaml").write_text(WEIGHTS.replace("0.5", "0.25"))
    assert "its labels were made with another weights, expected a new folder" in labelled(run, status=2)[1]


@pytest.mark.usefixtures("data")
def test_teachers_that_are_missing_are_named(run: Callable) -> None:
    Path("t").mkdir()
    outcome = run("label", "data", "-o", "out", "--teachers", "t", "--weights", "w.yaml")
    assert outcome.status == 2
    assert outcome.err.startswith(
        "hueglass: t/mosaic_r3.tflite: no such file, expected the teacher mosaic_r3 (SHA-256 "
    )
    assert not Path("out").exists()


def test_the_committed_weights_are_of_our_teachers() -> None:
    from hueglass.config_file import read_config
    from hueglass.train.segmenter.ensemble import EnsembleConfig
    from hueglass.train.segmenter.teachers import EMBEDDED, FILES

    config = read_config(Path(label_job.hueglass.configs.__file__).with_name(label_job.WEIGHTS), EnsembleConfig)
    belief = config.belief([*(file.name for file in FILES), EMBEDDED])
    assert (belief.weights.sum(0) > 0.5).all()
