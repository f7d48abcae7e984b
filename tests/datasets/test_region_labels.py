"""The store of soft maps: whole shards, one identity, one writer, and what was done stays done."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from hueglass.datasets import region_labels
from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.region_labels import LabelStore, RegionLabel, in_bytes, read_region_labels
from hueglass.infer.errors import HueglassError, UsageError

MADE_WITH = {"teachers": {"a": "00"}, "weights": [1.0]}


def a_label(number: int) -> RegionLabel:
    maps = np.random.default_rng(number).integers(0, 256, (8, 16, 16), np.uint8)
    return RegionLabel(f"photos/p{number}.png", f"{number:064x}", maps)


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(region_labels, "SHARD", 3)


def test_what_was_added_is_read(tmp_path: Path) -> None:
    labels = [a_label(i) for i in range(7)]
    with LabelStore(tmp_path / "s", MADE_WITH) as store:
        for label in labels:
            store.add(label)
    found = list(read_region_labels(tmp_path / "s"))
    assert [(f.name, f.digest) for f in found] == [(x.name, x.digest) for x in labels]
    assert all((f.maps == x.maps).all() for f, x in zip(found, labels, strict=True))
    assert len(list((tmp_path / "s").glob("*.npz"))) == 3


def test_probabilities_are_kept_to_half_a_step() -> None:
    maps = np.random.default_rng(0).random((8, 16, 16), np.float32)
    kept = RegionLabel("p", "d", in_bytes(maps)).probabilities()
    assert np.abs(kept - maps).max() <= 0.5 / 255 + 1e-6


def labelled(folder: Path, *maps: list[int]) -> tuple[Path, RegionLabel]:
    """A picture's file, and a label of it: of each region the probabilities in 255ths of two by two parts."""
    path = folder / "p.png"
    path.write_bytes(b"a picture")
    probabilities = np.zeros((8, 2, 2), np.uint8)
    probabilities[: len(maps)] = np.array(maps, np.uint8).reshape(-1, 2, 2)
    return path, RegionLabel("p.png", sha256(b"a picture").hexdigest(), probabilities)


def test_the_likeliest_region_is_named_and_none_where_none_is_likelier_than_not(tmp_path: Path) -> None:
    path, label = labelled(tmp_path, [255, 127, 100, 0], [0, 120, 28, 0], [0, 8, 127, 128])
    names = label.likeliest(path)
    assert names.dtype == np.uint8
    np.testing.assert_array_equal(names, [[0, UNKNOWN], [UNKNOWN, 2]])


@pytest.mark.parametrize("ask", [RegionLabel.check, RegionLabel.likeliest])
def test_a_label_of_another_picture_is_one_line(tmp_path: Path, ask: Callable[[RegionLabel, Path], object]) -> None:
    path, label = labelled(tmp_path, [255] * 4)
    ask(label, path)
    path.write_bytes(b"another picture")
    with pytest.raises(UsageError) as raised:
        ask(label, path)
    assert str(raised.value) == f"{path}: its label is of another picture, label it again"
    path.unlink()
    with pytest.raises(HueglassError, match=r"p\.png") as raised_too:
        ask(label, path)
    assert "\n" not in str(raised_too.value)


def test_an_error_keeps_what_was_done_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _interrupted_after(4, tmp_path)
    (tmp_path / ".ab12.part.npz").write_bytes(b"cut short")
    with LabelStore(tmp_path, MADE_WITH) as store:
        assert store.done == {a_label(i).name: a_label(i).digest for i in range(4)}
        store.add(a_label(4))
    assert [f.name for f in read_region_labels(tmp_path)] == [a_label(i).name for i in range(5)]
    assert not (tmp_path / ".ab12.part.npz").exists()


def _interrupted_after(count: int, folder: Path) -> None:
    with LabelStore(folder, MADE_WITH) as store:
        for i in range(count):
            store.add(a_label(i))
        raise KeyboardInterrupt


def test_labels_of_other_teachers_are_refused(tmp_path: Path) -> None:
    with LabelStore(tmp_path, MADE_WITH):
        pass
    with pytest.raises(UsageError, match=r"its labels were made with another teachers, expected a new folder"):
        LabelStore(tmp_path, {**MADE_WITH, "teachers": {"a": "01"}})


def test_two_do_not_write_at_once(tmp_path: Path) -> None:
    with LabelStore(tmp_path, MADE_WITH), pytest.raises(UsageError, match="another process is writing to it"):
        LabelStore(tmp_path, MADE_WITH)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    with LabelStore(tmp_path, MADE_WITH) as store:
        store.add(a_label(0))
    shard = tmp_path / "labels-000000.npz"
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(HueglassError, match=r"labels-000000.npz: is damaged or no shard"):
        list(read_region_labels(tmp_path))
    with pytest.raises(HueglassError, match="remove it, and they are made again"):
        LabelStore(tmp_path, MADE_WITH)


def test_a_folder_without_labels_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no labels, expected what `hueglass label` wrote"):
        list(read_region_labels(tmp_path))
