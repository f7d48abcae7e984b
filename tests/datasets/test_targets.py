"""Targets on disk: bit-exact there and back, and nothing wrong is believed."""

import dataclasses
import io
import json
import pickle
import struct
import tarfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hueglass.datasets.targets import Target, decode, encode, read_provenance, read_tar, read_targets
from hueglass.infer.errors import HueglassError, UsageError


def make_target(name: str = "a-1", size: tuple[int, int] = (13, 17), seed: int = 0, **changes: Any) -> Target:
    rng = np.random.default_rng(seed)
    height, width = size
    fields: dict[str, Any] = {
        "name": name,
        "content": rng.integers(0, 256, (height, width, 3), np.uint8),
        "target": rng.integers(0, 256, (height, width, 3), np.uint8),
        "style": rng.integers(0, 256, (width, height + 1, 3), np.uint8),
        "grid": rng.normal(0, 1, (2, 3, 4, 12)).astype(np.float32),
        "names": ("sky", "ground", "Wände"),
        "labels": rng.integers(0, 2, (height, width), np.uint8),
        "style_labels": rng.integers(0, 3, (width, height + 1), np.uint8),
        "unmatched": ("ground",),
        "losses": {"style": 0.1, "content": 1 / 3},
        "provenance": {"pair": {"content": "x/ä.png", "grade_seed": (1 << 63) - 1}, "seconds": 1.5},
    }
    return Target(**{**fields, **changes})


def assert_equal(a: Target, b: Target) -> None:
    for field in dataclasses.fields(Target):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype
            assert np.array_equal(x, y)
        else:
            assert x == y


def _members(target: Target) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(encode(target))) as tar:
        return {info.name.split(".", 1)[1]: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def _store(folder: Path, *targets: Target) -> Path:
    """A store of one shard, written without the code under test."""
    folder.mkdir()
    with tarfile.open(folder / "targets-000000.tar", "w") as tar:
        for target in targets:
            for extension, data in _members(target).items():
                info = tarfile.TarInfo(f"{target.name}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return folder


@pytest.mark.parametrize("size", [(13, 17), (1, 1), (1, 40), (64, 3)])
@pytest.mark.parametrize("grid", [True, False])
def test_a_target_comes_back_bit_for_bit(tmp_path: Path, size: tuple[int, int], grid: bool) -> None:
    target = make_target(size=size)
    target = target if grid else dataclasses.replace(target, grid=None)
    (back,) = read_targets(_store(tmp_path / "s", target))
    assert_equal(back, target)


def test_equal_targets_are_equal_bytes() -> None:
    assert encode(make_target()) == encode(make_target())
    assert encode(make_target()) != encode(make_target(seed=1))


def test_shards_are_read_in_order_and_what_waits_comes_last(tmp_path: Path) -> None:
    folder = _store(tmp_path / "s", make_target("b"), make_target("a"))
    (folder / "targets-000001.tar").write_bytes(encode(make_target("c")))
    (folder / "pending").mkdir()
    for name in ("0", "a"):
        (folder / "pending" / f"{name}.tar").write_bytes(encode(make_target(name, seed=5)))
    (folder / "pending" / ".0123.part.tar").write_bytes(b"half of it")
    back = list(read_targets(folder))
    assert [t.name for t in back] == ["b", "a", "c", "0"]
    assert_equal(back[1], make_target("a"))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves the shard to be closed
def test_a_shard_is_what_webdataset_reads(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    targets = [make_target(f"t{i}", seed=i) for i in range(3)]
    shard = _store(tmp_path / "s", *targets) / "targets-000000.tar"
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False))
    assert [s["__key__"] for s in samples] == ["t0", "t1", "t2"]
    for sample, target in zip(samples, targets, strict=True):
        picture = cv2.imdecode(np.frombuffer(sample["target.png"], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.array_equal(picture, target.target)
        assert np.array_equal(np.load(io.BytesIO(sample["grid.npy"]), allow_pickle=False), target.grid)
        assert json.loads(sample["json"])["losses"] == target.losses


def test_provenance_is_read_without_the_pictures(tmp_path: Path) -> None:
    folder = _store(tmp_path / "s", make_target("a"), make_target("b", provenance={"n": 2}))
    assert list(read_provenance(folder / "targets-000000.tar")) == [("a", make_target().provenance), ("b", {"n": 2})]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a.b"}, "is no name"),
        ({"name": "../a"}, "is no name"),
        ({"content": np.zeros((13, 17), np.uint8)}, "expected pictures"),
        ({"content": np.zeros((13, 17, 3))}, "expected pictures"),
        ({"content": np.zeros((0, 17, 3), np.uint8)}, "expected pictures"),
        ({"target": np.zeros((13, 16, 3), np.uint8)}, "differ in size"),
        ({"labels": np.zeros((13, 16), np.uint8)}, "labels are uint8"),
        ({"labels": np.zeros((13, 17), np.int64)}, "labels are int64"),
        ({"style_labels": np.full((17, 14), 3, np.uint8)}, "label 3 has no name"),
        ({"names": ("sky", "sky", "ground")}, "repeat"),
        ({"unmatched": ("water",)}, "missing among them"),
        ({"losses": {"style": float("nan")}}, "not finite"),
        ({"grid": np.zeros((2, 3, 4, 11), np.float32)}, "shape"),
        ({"grid": np.full((2, 3, 4, 12), np.inf, np.float32)}, "NaN or infinity"),
    ],
)
def test_what_is_no_target_is_not_written(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HueglassError, match=said):
        encode(make_target(**changes))


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    """A byte of every member, of every kind, in turn: the JSON's own text is held against what it must be."""
    members = _members(make_target())
    rng = np.random.default_rng(0)
    for extension, data in members.items():
        for place in rng.integers(0, len(data), 40):
            changed = bytearray(data)
            changed[place] ^= 1 << int(rng.integers(8))
            if extension == "json" and b'"crc32"' in changed and _harmless(bytes(changed)):
                continue
            with pytest.raises(HueglassError, match=r"^a-1: "):
                decode("a-1", {**members, extension: bytes(changed)})


def _harmless(text: bytes) -> bool:
    """Another digit in a loss, another letter in the provenance: JSON guards neither."""
    try:
        facts = json.loads(text)
        return facts["crc32"] == json.loads(_members(make_target())["json"])["crc32"]
    except (ValueError, KeyError):
        return False


def test_a_shard_cut_short_yields_no_wrong_target(tmp_path: Path) -> None:
    targets = [make_target(f"t{i}", seed=i) for i in range(2)]
    shard = _store(tmp_path / "s", *targets) / "targets-000000.tar"
    data = shard.read_bytes()
    for length in range(0, len(data) - 1024, 511):
        shard.write_bytes(data[:length])
        back: list[Target] = []
        with suppress(HueglassError):
            for found in read_targets(shard.parent):
                back.append(found)
        for found, target in zip(back, targets, strict=False):
            assert_equal(found, target)


def _npy(header: str, data: bytes) -> bytes:
    text = header.encode().ljust(118 - 10 - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _with_sum(extension: str, data: bytes, **facts: Any) -> dict[str, bytes]:
    """Members with one replaced and a checksum that says it is right."""
    members = _members(make_target())
    noted = json.loads(members["json"])
    noted["crc32"][extension] = zlib.crc32(data)
    return {**members, extension: data, "json": json.dumps({**noted, **facts}).encode()}


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000, 12), }"
OBJECTS = "{'descr': '|O', 'fortran_order': False, 'shape': (1, 1, 1, 12), }"
BOMB = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()
BOMB = (
    BOMB[:16]
    + struct.pack(">II", 60000, 60000)
    + BOMB[24:29]
    + struct.pack(">I", zlib.crc32(BOMB[12:16] + struct.pack(">II", 60000, 60000) + BOMB[24:29]))
    + BOMB[33:]
)


@pytest.mark.parametrize(
    ("extension", "data"),
    [
        ("grid.npy", _npy(HUGE, b"1234")),
        ("grid.npy", _npy(OBJECTS, pickle.dumps([print] * 12))),
        ("grid.npy", _npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 1, 12), }", b"\0" * 48)),
        ("grid.npy", _npy("__import__('os').getcwd()", b"\0" * 48)),
        ("grid.npy", b"\x93NUMPY\x03\x00"),
        ("grid.npy", b""),
        ("content.png", BOMB),
        ("content.png", b"GIF89a"),
        ("content_labels.png", b""),
        ("style.png", cv2.imencode(".jpg", np.zeros((17, 14, 3), np.uint8))[1].tobytes()),
    ],
)
def test_hostile_members_are_refused_before_they_are_decoded(extension: str, data: bytes) -> None:
    with pytest.raises(HueglassError, match=r"^a-1: (grid.npy is no float32|holds no picture)"):
        decode("a-1", _with_sum(extension, data))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"names": []}, "JSON: names"),
        ({"names": "sky"}, "JSON: names"),
        ({"losses": {"style": "much"}}, "JSON: losses.style"),
        ({"more": 1}, "JSON: more"),
        ({"provenance": {"long": "x" * (1 << 20)}}, "larger than"),
    ],
)
def test_wrong_facts_are_named(facts: dict[str, Any], said: str) -> None:
    members = _members(make_target())
    with pytest.raises(HueglassError, match=said):
        decode("a-1", _with_sum("content.png", members["content.png"], **facts))


@pytest.mark.parametrize("extension", ["content.png", "target.png", "style.png", "style_labels.png", "json"])
def test_a_missing_member_is_named(extension: str) -> None:
    members = _members(make_target())
    del members[extension]
    with pytest.raises(HueglassError, match="expected content"):
        decode("a-1", members)


def test_links_and_strangers_in_a_shard_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "targets-000000.tar"
    strangers = (("a.png", tarfile.REGTYPE), ("../a.json", tarfile.REGTYPE), ("a", tarfile.DIRTYPE))
    for name, kind in (("a.content.png", tarfile.SYMTYPE), *strangers):
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        with pytest.raises(HueglassError, match="expected the members of targets"):
            list(read_tar(path))
    path.write_bytes(b"not a tar at all" * 64)
    with pytest.raises(HueglassError, match="is damaged"):
        list(read_tar(path))


def test_no_store_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        list(read_targets(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="holds no targets"):
        list(read_targets(tmp_path))
