"""Manifests: what is refused, and which pairs are drawn."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np
import pytest
from support.places import DATA

from hueglass.datasets import pairs as module
from hueglass.datasets.pairs import MIX, Pair, Picture, check_files, draw_pairs, read_pairs, write_pairs
from hueglass.infer.errors import HueglassError, UsageError

HEADER = '{"hueglass_pairs":1}'
LABELLED = {"content_labels": "l/a.png", "style_labels": "l/b.png", "label_kind": "camvid"}


def _line(**changes: object) -> str:
    return json.dumps({"name": "a", "content": "photos/a.png", "style": "photos/b.png", **changes})


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    pairs = [
        Pair(name="a", content="photos/a.png", style="photos/ä b/c.webp"),
        Pair(name="B-2_x", content="x.png", style="y.png", grade_seed=(1 << 63) - 1),
        Pair.model_validate({"name": "c", "content": "x.png", "style": "y.png", **LABELLED}),
    ]
    write_pairs(tmp_path / "m.jsonl", pairs)
    assert read_pairs(tmp_path / "m.jsonl") == pairs
    assert pairs[2].paths() == ["x.png", "y.png", "l/a.png", "l/b.png"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([HEADER, _line(colour="red")], "line 2: colour: Extra inputs"),
        ([HEADER, _line(content="../a.png")], "line 2: content: .*inside the data folder"),
        ([HEADER, _line(style="photos/../../b.png")], "line 2: style: .*inside the data folder"),
        ([HEADER, _line(content="/etc/passwd")], "line 2: content: .*inside the data folder"),
        ([HEADER, _line(content="..\\a.png")], "line 2: content: .*inside the data folder"),
        ([HEADER, _line(content="a\x1b[31m.png")], "line 2: content: .*inside the data folder"),
        ([HEADER, _line(content="")], "line 2: content: .*at least 1"),
        ([HEADER, _line(content="a" * 513)], "line 2: content: .*at most 512"),
        ([HEADER, _line(name="a/b")], "line 2: name: .*pattern"),
        ([HEADER, _line(name="a.b")], "line 2: name: .*pattern"),
        ([HEADER, _line(name="a\n")], "line 2: name: .*pattern"),
        ([HEADER, _line(name="a" * 65)], "line 2: name: .*pattern"),
        ([HEADER, _line(grade_seed=-1)], "line 2: grade_seed: .*greater"),
        ([HEADER, _line(grade_seed=1 << 63)], "line 2: grade_seed: .*less"),
        ([HEADER, _line(content_labels="l.png")], "line 2: .*together"),
        ([HEADER, _line(**{**LABELLED, "label_kind": "coco"})], "line 2: label_kind: .*camvid"),
        ([HEADER, _line(), _line(name="b"), _line()], "line 4: the name a was there before"),
        ([HEADER, _line(), "{"], "line 3: Invalid JSON"),
        ([HEADER, _line(), ""], "line 3: Invalid JSON"),
        ([HEADER], "has 0 pairs"),
        ([_line(), _line(name="b")], "line 1, the header: hueglass_pairs: Field required"),
        (['{"hueglass_pairs":2}', _line()], "line 1, the header: hueglass_pairs: Input should be 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(HueglassError, match=said) as caught:
        read_pairs(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\udcffb", "ä" * 120 + "/" + "b" * 200 + "/" + "c" * 200])
def test_a_picture_whose_name_cannot_stand_in_a_manifest_is_named(tmp_path: Path, name: str) -> None:
    data = _data(tmp_path, frames=0)
    path = data / "photos" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((data / "photos/some/p0.png").read_bytes())
    with pytest.raises(HueglassError, match="its name cannot stand in a manifest"):
        draw_pairs(data, 1, 0)


def test_size_and_length_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join([HEADER, *(_line(name=f"n{i}") for i in range(5))]))
    monkeypatch.setattr(module, "MAX_PAIRS", 5)
    assert len(read_pairs(path)) == 5
    monkeypatch.setattr(module, "MAX_PAIRS", 4)
    with pytest.raises(HueglassError, match="has 5 pairs, expected 1 to 4"):
        read_pairs(path)
    monkeypatch.setattr(module, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(HueglassError, match="is larger than"):
        read_pairs(path)


def test_the_first_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"1")
    pairs = [
        Pair(name="a", content="x.png", style="y.png"),
        Pair.model_validate({"name": "b", "content": "x.png", "style": "y.png", **LABELLED}),
    ]
    check_files(pairs[:1], tmp_path)
    with pytest.raises(UsageError, match=r"l/a\.png: no such file"):
        check_files(pairs, tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        check_files(pairs, tmp_path / "nowhere")


def _data(folder: Path, photos: int = 30, frames: int = 12) -> Path:
    """Pictures of random colour and layout; frames of three sequences with labels."""
    rng = np.random.default_rng(0)
    names = [f"photos/some/p{i}.png" for i in range(photos)]
    names += [f"camvid/{part}/{'ABC'[i % 3]}_{i:03}.png" for part in ("train", "val", "test") for i in range(frames)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 256, (4, 5, 3), np.uint8), (40, 30)))
        if "camvid" in name:
            labels = path.parent.with_name(path.parent.name + "_label")
            labels.mkdir(exist_ok=True)
            cv2.imwrite(str(labels / path.name), rng.integers(0, 12, (30, 40), np.uint8))
    return folder


def _kind(pair: Pair) -> str:
    return "-".join("street" if path.startswith("camvid") else "photo" for path in (pair.content, pair.style))


def test_every_ten_pairs_are_in_the_shares_of_the_mix(tmp_path: Path) -> None:
    pairs = draw_pairs(_data(tmp_path), 200, 3)
    for first in range(0, 200, 10):
        assert Counter(_kind(p) for p in pairs[first : first + 10]) == Counter(MIX)
    assert len({p.name for p in pairs}) == 200


def test_pairs_follow_from_the_seed_and_a_longer_manifest_begins_with_a_shorter_one(tmp_path: Path) -> None:
    data = _data(tmp_path)
    pairs = draw_pairs(data, 60, 3)
    assert draw_pairs(data, 60, 3) == pairs
    assert draw_pairs(data, 23, 3) == pairs[:23]
    others = draw_pairs(data, 60, 4)
    assert not {p.name for p in others} & {p.name for p in pairs}
    assert [p.style for p in others] != [p.style for p in pairs]


def test_only_street_pairs_have_labels_and_their_frames_are_of_two_sequences(tmp_path: Path) -> None:
    for pair in draw_pairs(_data(tmp_path), 200, 0):
        content, style = Path(pair.content), Path(pair.style)
        assert content != style
        assert (pair.label_kind is not None) == (_kind(pair) == "street-street")
        if pair.label_kind:
            assert content.name[0] != style.name[0]
            assert pair.content_labels == f"camvid/train_label/{content.name}"
            assert pair.style_labels == f"camvid/train_label/{style.name}"


def test_every_content_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    pairs = [p for p in draw_pairs(_data(tmp_path), 300, 0) if _kind(p) == "photo-photo"]
    contents = [p.content for p in pairs]
    once = len(set(contents))
    assert 20 <= once <= 30
    for first in range(0, len(contents) - once, once):
        assert len(set(contents[first : first + once])) == once


def test_street_styles_are_graded_more_often_than_photographs(tmp_path: Path) -> None:
    pairs = draw_pairs(_data(tmp_path), 1000, 0)
    shares = {
        side: np.mean([p.grade_seed is not None for p in pairs if _kind(p).endswith(side)])
        for side in ("street", "photo")
    }
    assert shares["street"] == pytest.approx(0.8, abs=0.06)
    assert shares["photo"] == pytest.approx(0.25, abs=0.06)
    seeds = [p.grade_seed for p in pairs if p.grade_seed is not None]
    assert len(set(seeds)) == len(seeds)


def test_what_students_hold_out_is_not_drawn(tmp_path: Path) -> None:
    """Held against the side of the split that a training really gets."""
    distill = pytest.importorskip("hueglass.train.student.distill", reason="needs torch")
    data = _data(tmp_path)
    config = distill.DataConfig(photos=["photos", "camvid/train"], watched=["camvid/val"])
    sides = distill.load_data(config.model_copy(update={"side": 64}), data)
    training, held_out = ({p.name for p in side.photos} for side in sides)
    pairs = draw_pairs(data, 600, 0)
    drawn = {Path(path).stem for p in pairs for path in p.paths()}
    assert {Path(p.content).stem for p in pairs} == training
    assert drawn == training
    assert any(name.startswith("p") for name in held_out)
    assert not any("val" in path or "test" in path for p in pairs for path in p.paths())


def test_a_kind_without_data_is_left_out(tmp_path: Path) -> None:
    assert {_kind(p) for p in draw_pairs(_data(tmp_path / "a", frames=0), 30, 0)} == {"photo-photo"}
    assert {_kind(p) for p in draw_pairs(_data(tmp_path / "b", photos=0), 30, 0)} == {"street-street"}
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match="neither in photos nor in camvid/train"):
        draw_pairs(tmp_path / "c", 30, 0)


def _picture(layout: float, colour: float) -> Picture:
    return Picture(f"{layout}/{colour}", None, "", np.full((2, 16, 16), layout), np.full(6, colour))


def test_a_style_is_laid_out_like_the_content_in_other_colours() -> None:
    content = _picture(0, 0)
    # 6 equal differences d are a distance of d * sqrt(6): 4.8 is nearer than 12, 5 is not.
    near, similar, far = _picture(0.1, 4.8), _picture(0.2, 5), _picture(0.3, 90)
    assert module.similar_picture(content, [far, near, similar]) is similar
    assert module.similar_picture(content, [far, near]) is far
    assert module.similar_picture(content, [_picture(0, 1), near, _picture(0, 2)]) is near


@pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="needs the photographs, see HUEGLASS_DATA")
def test_drawn_pictures_are_more_alike_than_chance_and_differ_in_colour() -> None:
    pictures = {one.path: one for one in module._pictures(DATA, "photos/imagenet1k_samples")}
    assert not any(crc32(Path(path).stem.encode()) % 10 == 0 for path in pictures)
    stream = module._stream("photo-photo", {"photo": list(pictures.values())}, np.random.default_rng(0))
    drawn = [next(stream) for _ in range(200)]

    def apart(pairs: list[tuple[Picture, Picture]]) -> float:
        return float(np.mean([np.abs(a.layout - b.layout).mean() for a, b in pairs]))

    chance = apart([(a, b) for (a, *_), (_, b, _) in pairwise(drawn)])
    assert apart([(a, b) for a, b, _ in drawn]) < 0.85 * chance
    distances = [np.linalg.norm(a.colour - b.colour) for a, b, _ in drawn]
    assert np.mean(np.array(distances) >= module.COLOUR_DISTANCE) > 0.95
