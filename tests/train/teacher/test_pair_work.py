"""The teacher on pairs: what a target holds, and pairs of one size taught together."""

import io
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from support.target_world import BAD, EVERYTHING, GOOD, World

from hueglass.datasets.pairs import Pair
from hueglass.datasets.targets import Target, decode, read_targets
from hueglass.infer.errors import HueglassError
from hueglass.infer.grid.bilateral import render
from hueglass.train.teacher import pair_work as target_work


def test_a_target_holds_what_the_teacher_saw_and_made(world: World, made: Path) -> None:
    targets = {target.name: target for target in read_targets(made)}
    assert sorted(targets) == EVERYTHING
    for target in targets.values():
        assert max(target.content.shape[:2]) == 48
        assert target.grid is not None
        again = render(target.grid, target.content).astype(int)
        assert np.abs(again - target.target).max() <= 1
        assert target.losses["style"] > 0
        pair = Pair.model_validate(target.provenance["pair"])
        assert pair in world.pairs
        assert target.provenance["teacher"]["size"] == 48
        assert set(target.provenance) >= {"weights", "config", "hueglass", "torch", "seconds"}
    assert targets["n1"].names == ("whole",)
    assert not targets["n1"].labels.any()


def test_regions_are_those_of_the_label_images(world: World, made: Path) -> None:
    """Held against a pixel by pixel reading; regions of ten pixels or fewer join the content's largest."""
    named = {0: "sky", 1: "building", 3: "ground", 8: "vehicle"}
    targets = {target.name: target for target in read_targets(made)}
    slips = 0
    for pair in world.pairs:
        if pair.label_kind is None:
            assert targets.get(pair.name, targets["n1"]).names == ("whole",)
            continue
        target = targets[pair.name]
        content, style = (
            cv2.resize(
                cv2.imread(str(world.data / str(path)), cv2.IMREAD_UNCHANGED),
                labels.shape[::-1],
                interpolation=cv2.INTER_NEAREST,
            )
            for path, labels in ((pair.content_labels, target.labels), (pair.style_labels, target.style_labels))
        )
        sizes = {camvid: int((content == camvid).sum()) for camvid in named}
        largest = max(sizes, key=lambda camvid: sizes[camvid])
        for y, x in np.ndindex(content.shape):
            expected = named[content[y, x] if sizes[content[y, x]] > 10 else largest]
            assert target.names[target.labels[y, x]] == expected
        for y, x in np.ndindex(style.shape):
            assert target.names[target.style_labels[y, x]] == named[style[y, x]]
        slips += 0 < sizes[8] <= 10
        in_style = {name for camvid, name in named.items() if (style == camvid).sum() > 10}
        in_content = {name for camvid, name in named.items() if sizes[camvid] > 10}
        assert set(target.unmatched) == in_content - in_style
    assert slips > 0


def test_the_style_is_graded_by_its_seed(world: World, made: Path) -> None:
    targets = {target.name: target for target in read_targets(made)}
    for pair in world.pairs:
        if pair.name in targets:
            plain = cv2.imread(str(world.data / pair.style))[..., ::-1]
            height, width = targets[pair.name].style.shape[:2]
            plain = cv2.resize(plain, (width, height), interpolation=cv2.INTER_AREA)
            same = np.array_equal(plain, targets[pair.name].style)
            assert same == (pair.grade_seed is None)


def test_a_grade_follows_from_its_seed_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    first = target_work.graded(image, 5)
    torch.manual_seed(1)
    assert np.array_equal(target_work.graded(image, 5), first)
    assert np.array_equal(target_work.graded(image[:2], 5), first[:2])
    assert not np.array_equal(target_work.graded(image, 6), first)


def test_batches_and_single_pairs_are_taught_alike(world: World, made: Path) -> None:
    work = world.work()
    targets = {target.name: target for target in read_targets(made)}
    for pair in (world.pairs[0], world.pairs[1]):
        data = target_work.teach_pair(work, pair)
        assert isinstance(data, bytes)
        alone = _decoded(pair.name, data)
        assert np.array_equal(alone.style, targets[pair.name].style)
        assert np.abs(alone.target.astype(int) - targets[pair.name].target).max() <= 2


def _decoded(name: str, data: bytes) -> Target:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return decode(name, {i.name.split(".", 1)[1]: tar.extractfile(i).read() for i in tar})  # type: ignore[union-attr]


def test_a_batch_that_fails_is_tried_one_by_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, teach_batch = [], target_work.teach_batch

    def fragile(items: list, *more: Any) -> list:
        sizes.append(len(items))
        if len(items) > 2:
            raise RuntimeError("CUDA out of\nmemory")
        return [HueglassError("no finite energy")] if len(sizes) == 3 else teach_batch(items, *more)

    monkeypatch.setattr(target_work, "teach_batch", fragile)
    monkeypatch.setattr(target_work, "BATCH", 3)
    outcomes = dict(target_work.teach_in_batches(world.pairs[:7], world.work()))
    assert sizes == [3, 1, 1, 1, 3, 1, 1, 1]
    assert {pair.name: str(o) for pair, o in outcomes.items() if isinstance(o, HueglassError)} == {
        "n2": "no finite energy",
        BAD: f"{world.data}/photos/broken.png: is cut short or damaged",
    }
    assert sorted(pair.name for pair in outcomes) == sorted(p.name for p in world.pairs[:7])


def test_only_so_many_pairs_wait_for_others_of_their_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[str] = []
    batches: list[set[tuple[int, ...]]] = []
    load_pair, teach_batch = target_work.load_pair, target_work.teach_batch

    def load(pair: Pair, work: target_work.Work) -> target_work.LoadedPair:
        loaded = load_pair(pair, work)
        waiting.append(pair.name)
        assert len(waiting) <= 3
        return loaded

    def teach(items: list, *more: Any) -> list:
        del waiting[: len(items)]
        batches.append({content.shape for content, _, _ in items})
        return teach_batch(items, *more)

    monkeypatch.setattr(target_work, "load_pair", load)
    monkeypatch.setattr(target_work, "teach_batch", teach)
    monkeypatch.setattr(target_work, "WAITING", 3)
    outcomes = dict(target_work.teach_in_batches(world.pairs, world.work()))
    assert sum(isinstance(outcome, bytes) for outcome in outcomes.values()) == GOOD
    assert len(batches) >= GOOD / 3
    assert {size for sizes in batches for size in sizes} == {(36, 48, 3), (48, 36, 3)}
