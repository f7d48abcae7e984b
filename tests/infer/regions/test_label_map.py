"""The label map beside a segmenter: what it may say, and how it is refused."""

import json
from pathlib import Path

import pytest
from support.segmenter_graphs import label_file

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.regions.label_map import MAX_BYTES, MAX_CLASSES, read_label_map


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "cannot be read, expected a label map in JSON"),
        (b"\xff\xfe\x00", "cannot be read, expected a label map in JSON"),
        (b"[" * 100000, "cannot be read, expected a label map in JSON"),
        (b" " * (MAX_BYTES + 1), f"is larger than {MAX_BYTES} bytes, expected a label map"),
        ("sky", "broken label map: the file: "),
        (7, "broken label map: the file: "),
        ([], "names no class, expected at least one"),
        ([None, "", "  "], "names no class, expected at least one"),
        ({"labels": {}}, "names no class, expected at least one"),
        ({}, "broken label map: labels: Field required"),
        ({"labels": 7}, "broken label map: labels.object: "),
        (["sky", 7], "broken label map: labels.list.1: "),
        (["sky", "a" * 65], "broken label map: labels.list.1: "),
        (["sky", "a\nb"], "broken label map: labels.list.1: Value error, expected a name of printable characters"),
        (["sky", "\ud800"], "broken label map: labels.list.1: "),
        (["sky"] * (MAX_CLASSES + 1), "broken label map: labels.list: "),
        ({"labels": {"-1": "sky"}}, "broken label map: labels.object.-1.[key]: "),
        ({"labels": {"1024": "sky"}}, "broken label map: labels.object.1024.[key]: "),
        ({"labels": {"sky": "0"}}, "broken label map: labels.object.sky.[key]: "),
        ({"labels": ["sky"], "names": []}, "broken label map: names: "),
        ({"labels": ["sky"], "mean": [123.7, 116.3, 103.5]}, "broken label map: mean.0: "),
        ({"labels": ["sky"], "mean": 0.5}, "broken label map: mean: "),
        ({"labels": ["sky"], "std": [0.2, 0.2]}, "broken label map: std"),
        ({"labels": ["sky"], "std": [0.2, 0, 0.2]}, "broken label map: std.1: "),
        (b'{"labels": ["sky"], "std": [0.2, NaN, 0.2]}', "broken label map: std.1: "),
        (b'{"labels": ["sky"], "mean": [0.2, Infinity, 0.2]}', "broken label map: mean.1: "),
        ({"labels": ["sky"], "size": 512}, "broken label map: size: "),
        ({"labels": ["sky"], "size": [0, 512]}, "broken label map: size.0: "),
        ({"labels": ["sky"], "size": [512, 2049]}, "broken label map: size.1: "),
    ],
)
def test_label_maps_that_are_broken(tmp_path: Path, content: object, said: str) -> None:
    path = label_file(tmp_path, content)
    with pytest.raises(HueglassError) as caught:
        read_label_map(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, UsageError)


def test_missing_label_map(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels.json: no such file"):
        read_label_map(tmp_path / "labels.json")


def test_names_are_free(tmp_path: Path) -> None:
    names = ["Straße", "the old town", "空", "a" * 64]
    label_map = read_label_map(label_file(tmp_path, json.dumps([*names, "", None], ensure_ascii=False).encode()))
    assert label_map.names(6) == (*names, None, None)
    assert (label_map.mean, label_map.std, label_map.size) == ((0, 0, 0), (1, 1, 1), None)
