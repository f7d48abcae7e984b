"""Every bad input is refused in one line that names it, with the right status, and leaves nothing behind."""

import errno
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save

from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks
from hueglass.infer.model.manifest import EMBEDDED, LOOK_ENCODER, MANIFEST, SEGMENTER, STUDENT

LOOK = embedded_looks()[0]
SIZE = (48, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, media: ModuleType) -> Path:
    """A folder of good and bad inputs, not to be written to."""
    folder = tmp_path_factory.mktemp("files")
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "in.png")
    Image.fromarray(255 - noise).save(folder / "ref.png")
    Image.fromarray(noise[: SIZE[0] // 2]).save(folder / "half.png")
    Image.fromarray(noise).save(folder / "cut.jpg")
    media.Clip(pts=list(range(5)), width=64, height=48, sound_start=0).write(folder / "in.mp4")
    for name in ("cut.jpg", "in.mp4", "in.png"):
        data = (folder / name).read_bytes()
        (folder / f"cut{Path(name).suffix}").write_bytes(data[: len(data) // 2])
    # A JPEG with its end but not its middle: decoders fill the rest with grey.
    (folder / "grey.jpg").write_bytes((folder / "cut.jpg").read_bytes() + b"\xff\xd9")
    for suffix in ("png", "mp4", "look"):
        (folder / f"folder.{suffix}").mkdir()
        (folder / f"empty.{suffix}").write_bytes(b"")
        (folder / f"text.{suffix}").write_text("not what the name says\n" * 20)
        (folder / f"random.{suffix}").write_bytes(np.random.default_rng(1).bytes(5000))
    (folder / "playlist.png").write_text("ffconcat version 1.0\nfile in.png\n")
    return folder


@pytest.fixture
def refused(run: Callable, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`refused(2, "photo", ...)`: the one line on stderr. Relative names are looked for among `files`."""

    def command(status: int, *arguments: object) -> str:
        monkeypatch.chdir(files)
        before = (sorted(files.iterdir()), sorted(tmp_path.rglob("*")))
        outcome = run(*arguments)
        assert outcome.out == ""
        assert outcome.err.startswith("hueglass: ")
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith("\n")
        assert outcome.status == status, outcome.err
        assert before == (sorted(files.iterdir()), sorted(tmp_path.rglob("*")))
        return outcome.err

    return command


PHOTO_ROLES = {
    "input": ("photo", "{}", "OUT.png", "--look", LOOK),
    "reference": ("photo", "in.png", "OUT.png", "--style", "{}"),
    "mask of the input": ("photo", "in.png", "OUT.png", "--style", "ref.png", "--masks", "{}", "ref.png"),
    "mask of the reference": ("photo", "in.png", "OUT.png", "--style", "ref.png", "--masks", "in.png", "{}"),
    "reference of a clip": ("video", "in.mp4", "OUT.mp4", "--style", "{}"),
    "reference of a look": ("look", "make", "{}", "-o", "OUT.look"),
    "mask of a look": ("look", "make", "ref.png", "-o", "OUT.look", "--mask", "{}"),
}
BAD_PHOTOS = {
    **{"missing.png": 2, "folder.png": 2, "empty.png": 1, "text.png": 1, "random.png": 1, "cut.png": 1},
    **{"cut.jpg": 1, "grey.jpg": 1, "in.mp4": 1, "playlist.png": 1},
}


@pytest.mark.parametrize("name", BAD_PHOTOS)
@pytest.mark.parametrize("role", PHOTO_ROLES)
def test_bad_photographs_and_masks(refused: Callable, tmp_path: Path, role: str, name: str) -> None:
    command = [a.format(name).replace("OUT", str(tmp_path / "out")) for a in PHOTO_ROLES[role]]
    assert f"hueglass: {name}: " in refused(BAD_PHOTOS[name], *command)


@pytest.mark.parametrize("role", ["mask of the input", "mask of the reference", "mask of a look"])
def test_mask_of_another_size(refused: Callable, tmp_path: Path, role: str) -> None:
    command = [a.format("half.png").replace("OUT", str(tmp_path / "out")) for a in PHOTO_ROLES[role]]
    assert "half.png: the mask is 64x24, expected 64x48" in refused(2, *command)


BAD_CLIPS = {
    **{"missing.mp4": 2, "folder.mp4": 2, "empty.mp4": 1, "text.mp4": 1, "random.mp4": 1},
    **{"cut.mp4": 1, "in.png": 1},  # this cut took the index
}


@pytest.mark.parametrize("name", BAD_CLIPS)
def test_bad_clips(refused: Callable, tmp_path: Path, name: str) -> None:
    line = refused(BAD_CLIPS[name], "video", name, tmp_path / "out.mp4", "--look", LOOK)
    assert f"hueglass: {name}: " in line


PHOTO = ("photo", "in.png", "OUT.png")
VIDEO = ("video", "in.mp4", "OUT.mp4")
MAKE = ("look", "make", "ref.png", "-o", "OUT.look")
LONG = "n" * 252
WRONG_USE = {
    "unknown look": ((*PHOTO, "--look", "no-such-look"), f"'no-such-look', expected a .look file or one of: {LOOK}, "),
    "unknown look of a clip": ((*VIDEO, "--look", "no-such-look"), f"one of: {LOOK}, "),
    "unknown look of the demo": (("demo", "-o", "OUT", "--look", "no-such-look"), f"one of: {LOOK}, "),
    "missing look file": ((*PHOTO, "--look", "missing.look"), "missing.look: no such file"),
    "neither": (PHOTO, "expected either --style PHOTO or --look NAME"),
    "both": ((*VIDEO, "--style", "ref.png", "--look", LOOK), "expected either --style PHOTO or --look NAME"),
    "masks with a look": ((*PHOTO, "--look", LOOK, "--masks", "in.png", "in.png"), "expected --style PHOTO"),
    "one mask": ((*PHOTO, "--style", "ref.png", "--masks", "in.png"), "'--masks' requires 2"),
    "strength over 2": ((*PHOTO, "--look", LOOK, "--strength", "2.01"), "'--strength'"),
    "strength below 0": ((*VIDEO, "--look", LOOK, "--strength", "-1"), "'--strength'"),
    "strength not a number": ((*PHOTO, "--look", LOOK, "--strength", "nan"), "'--strength'"),
    "strength a word": ((*PHOTO, "--look", LOOK, "--strength", "much"), "'--strength'"),
    "smoothing": ((*VIDEO, "--look", LOOK, "--smoothing", "11"), "'--smoothing'"),
    "smoothing not a number": ((*VIDEO, "--look", LOOK, "--smoothing", "nan"), "'--smoothing'"),
    "device": ((*PHOTO, "--look", LOOK, "--device", "tpu"), "'tpu' is not one of 'cpu', 'cuda', 'tensorrt', "),
    "demo length": (("demo", "-o", "OUT", "--seconds", "nan"), "'--seconds'"),
    "demo on a file": (("demo", "-o", "in.png"), "in.png: is a file, expected a folder"),
    "command": (("fotograf",), "No such command 'fotograf'"),
    "option": ((*PHOTO, "--stlye", "ref.png"), "--stlye"),
    "missing argument": (("photo", "in.png"), "'OUT'"),
    "photo extension": (("photo", "in.png", "OUT.gif", "--look", LOOK), "out.gif: extension .gif, expected .jpg"),
    "no extension": (("photo", "in.png", "OUT", "--look", LOOK), "extension (none), expected .jpg"),
    "clip extension": (("video", "in.mp4", "OUT.avi", "--look", LOOK), "out.avi: extension .avi, expected .mp4"),
    "look extension": (("look", "make", "ref.png", "-o", "OUT.png"), "out.png: extension .png, expected .look"),
    "photo folder": (("photo", "in.png", "OUT/a.png", "--look", LOOK), "out does not exist"),
    "clip folder": (("video", "in.mp4", "OUT/a.mp4", "--look", LOOK), "out does not exist"),
    "look folder": (("look", "make", "ref.png", "-o", "OUT/a.look"), "out does not exist"),
    "photo on a folder": (("photo", "in.png", "folder.png", "--look", LOOK), "folder.png: is not a regular file"),
    "clip on a folder": (("video", "in.mp4", "folder.mp4", "--look", LOOK), "folder.mp4: is not a regular file"),
    "look on a folder": (("look", "make", "ref.png", "-o", "folder.look"), "folder.look: is not a regular file"),
    "long output": (("photo", "in.png", f"{LONG}.png", "--look", LOOK), "expected at most 255 bytes"),
    "long input": (("photo", f"{LONG}.png", "OUT.png", "--look", LOOK), f"{LONG}.png: no such file"),
    "long clip": (("video", f"{LONG}.mp4", "OUT.mp4", "--look", LOOK), f"{LONG}.mp4: no such file"),
    "long look": ((*PHOTO, "--look", f"{LONG}.look"), f"{LONG}.look: no such file"),
    "long model": ((*PHOTO, "--look", LOOK, "--model", LONG + LONG), "no model bundle here"),
    "photo over itself": (("photo", "in.png", "in.png", "--look", LOOK), "in.png: is an input as well"),
    "photo over its reference": (("photo", "in.png", "ref.png", "--style", "ref.png"), "ref.png: is an input as well"),
    "clip over itself": (("video", "in.mp4", "in.mp4", "--look", LOOK), "in.mp4: is an input as well"),
    "region without mask": ((*MAKE, "--region", "sky=blue"), "expected --mask FILE"),
    "region of no label": ((*MAKE, "--mask", "in.png", "--region", "sky=bleu"), "cyan, magenta)"),
    "region without label": ((*MAKE, "--mask", "in.png", "--region", "sky"), "sky: expected NAME=LABEL"),
    "a served region without a segmenter": (
        ("serve", "--no-auto-regions", "--region", "sky=0"),
        "expected --auto-regions",
    ),
    "a served region of no name": (("serve", "--auto-regions", "--region", "sea=0"), "sea: no such region"),
    "masks and a segmenter": (
        ("photo", "in.png", "OUT.png", "--style", "ref.png", "--masks", "in.png", "ref.png", "--auto-regions"),
        "expected one of them",
    ),
    "a mask and a segmenter": ((*MAKE, "--mask", "in.png", "--auto-regions"), "expected one of them"),
    "a segmenter without labels": (
        ("photo", "in.png", "OUT.png", "--style", "ref.png", "--segmenter", "ref.png"),
        "--segmenter and --labels belong together",
    ),
    "labels without a segmenter": (
        ("video", "in.mp4", "OUT.mp4", "--style", "ref.png", "--labels", "ref.png"),
        "--segmenter and --labels belong together",
    ),
    "no such segmenter": (
        (*MAKE, "--segmenter", "none.onnx", "--labels", "none.json"),
        "none.json: no such file",
    ),
    "train nothing": (("train",), "expected either CONFIG"),
    "train both": (("train", "a.yaml", "--tune", "ref.png"), "expected either CONFIG"),
    "frames without a reference": (("train", "a.yaml", "--on", "in.mp4"), "belong to --tune"),
    "tune to no look": (("train", "--tune", "ref.png", "-o", "OUT"), ".look"),
    "tune on one picture": (("train", "--tune", "ref.png", "-o", "OUT.look", "--on", "in.png"), "is one picture"),
    "tune on nothing": (("train", "--tune", "ref.png", "-o", "OUT.look", "--on", "none"), "none"),
    "escape sequences": (("photo", "a\n\x1b[31mb.png", "OUT.png", "--look", LOOK), r"a\n\x1b[31mb.png: no such file"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use(refused: Callable, tmp_path: Path, case: str) -> None:
    arguments, expected = WRONG_USE[case]
    assert expected in refused(2, *(a.replace("OUT", str(tmp_path / "out")) for a in arguments))


def test_output_that_links_to_an_input(refused: Callable, files: Path, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(files / "in.png")
    (tmp_path / "hard.look").hardlink_to(files / "ref.png")
    refused(2, "photo", "in.png", tmp_path / "link.png", "--look", LOOK)
    refused(2, "photo", "ref.png", tmp_path / "link.png", "--style", "ref.png", "--masks", "in.png", "ref.png")
    refused(2, "look", "make", "ref.png", "-o", tmp_path / "hard.look")


def test_device_that_is_not_there(refused: Callable, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    line = refused(1, "photo", "in.png", tmp_path / "out.png", "--look", LOOK, "--device", "cuda")
    assert "device 'cuda'" in line


def test_size_that_the_format_cannot_hold(refused: Callable, tmp_path: Path) -> None:
    Image.new("RGB", (17000, 2)).save(tmp_path / "long.png")
    line = refused(1, "photo", tmp_path / "long.png", tmp_path / "out.webp", "--look", LOOK)
    assert "out.webp: .webp cannot hold 17000x2 pixels" in line


def look_bytes(bundle: ModelBundle, **changes: object) -> bytes:
    """A .look file of two regions; `changes` replace its tensors (None: left out) or its metadata."""
    m = bundle.manifest
    tensors = {"codes": np.zeros((2, m.code), np.float32), "tones": np.zeros((m.tones, m.code), np.float32)}
    tensors |= {name: changes.pop(name) for name in list(changes) if name in tensors}
    metadata = {"format": "2", "name": "a", "model": m.model, "regions": '["sky", "sea"]'}
    return save({name: x for name, x in tensors.items() if x is not None}, {**metadata, **changes})


def unusual_dtype(bundle: ModelBundle) -> bytes:
    """Valid safetensors of a type that numpy does not have."""
    code = bundle.manifest.code
    tensor = {"dtype": "F8_E4M3", "shape": [1, code], "data_offsets": [0, code]}
    header = json.dumps({"__metadata__": {"model": bundle.manifest.model}, "tones": tensor}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(code)


BAD_LOOKS: dict[str, tuple[Callable[[ModelBundle], bytes], str]] = {
    "another model": (lambda b: look_bytes(b, model="another-model"), "made by another-model, this model is"),
    "model with line feeds": (lambda b: look_bytes(b, model="a\n\x1b[31m"), r"made by a\n\x1b[31m, this"),
    "narrow": (lambda b: look_bytes(b, codes=np.zeros((2, 5), np.float32)), "float32 (2, 5), expected float32 (2, "),
    "more names than codes": (lambda b: look_bytes(b, regions='["a", "sky", "sea"]'), "expected float32 (3, "),
    "doubles": (lambda b: look_bytes(b, codes=np.zeros((2, b.manifest.code))), "float64"),
    "not finite": (
        lambda b: look_bytes(b, codes=np.full((2, b.manifest.code), np.nan, np.float32)),
        "codes are broken",
    ),
    "tones not finite": (
        lambda b: look_bytes(b, tones=np.full((b.manifest.tones, b.manifest.code), np.inf, np.float32)),
        "tones are broken",
    ),
    "too few tones": (
        lambda b: look_bytes(b, tones=np.zeros((1, b.manifest.code), np.float32)),
        "tones are float32 (1, ",
    ),
    "names that are numbers": (lambda b: look_bytes(b, regions='["sky", 1]'), "broken look"),
    "names that repeat": (lambda b: look_bytes(b, regions='["sky", "sky"]'), "broken look"),
    "lists for names": (lambda b: look_bytes(b, regions='[["sky"], []]'), "broken look"),
    "names no JSON": (lambda b: look_bytes(b, regions="sky"), "cannot be read"),
    "names no list": (lambda b: look_bytes(b, regions="null"), "cannot be read"),
    "names deep": (lambda b: look_bytes(b, regions="[" * 100000), "cannot be read"),
    "another tensor": (lambda b: look_bytes(b, tones=None), "cannot be read"),
    "truncated": (lambda b: look_bytes(b)[:-10], "cannot be read"),
    "unusual type": (unusual_dtype, "cannot be read"),
    "endless header": (lambda b: struct.pack("<Q", 1 << 62) + b"{}", "cannot be read"),
    "text": (lambda b: b"not a look\n", "cannot be read"),
    "huge": (lambda b: bytes((1 << 20) + 1), "is larger than 1048576 bytes"),
    "empty": (lambda b: b"", "is empty"),
}


@pytest.mark.parametrize("case", BAD_LOOKS)
def test_bad_looks(refused: Callable, bundle: ModelBundle, tmp_path: Path, case: str) -> None:
    make, expected = BAD_LOOKS[case]
    (tmp_path / "bad.look").write_bytes(make(bundle))
    line = refused(1, "photo", "in.png", tmp_path / "out.png", "--look", tmp_path / "bad.look")
    assert "bad.look: " in line
    assert expected in line


def test_bad_look_of_a_clip_and_of_the_demo(refused: Callable, tmp_path: Path) -> None:
    refused(2, "video", "in.mp4", tmp_path / "out.mp4", "--look", "folder.look")
    refused(1, "demo", "-o", tmp_path / "out", "--look", "random.look")


def manifest(**changes: object) -> bytes:
    return json.dumps({**json.loads((EMBEDDED / MANIFEST).read_bytes()), **changes}).encode()


def graph(name: str) -> bytes:
    return (EMBEDDED / name).read_bytes()


BAD_BUNDLES: dict[str, tuple[dict[str, Callable[[], bytes] | None], str]] = {
    "another format": ({MANIFEST: lambda: manifest(format=3)}, "bundle of format 3, this hueglass reads format 4"),
    "another key": ({MANIFEST: lambda: manifest(**{"a\nb": 1})}, r"broken bundle: a\nb: "),
    "model's name": ({MANIFEST: lambda: manifest(model="a b")}, "broken bundle: model: "),
    "manifest text": ({MANIFEST: lambda: b"hello"}, "broken bundle: the file: "),
    "manifest empty": ({MANIFEST: lambda: b""}, "broken bundle: the file: "),
    "manifest no text": ({MANIFEST: lambda: b"\xff\xfe\0"}, "broken bundle: the file: "),
    "no graph": ({STUDENT: None}, f"{STUDENT}: cannot be read: No such file"),
    "no encoder": ({LOOK_ENCODER: None}, f"{LOOK_ENCODER}: cannot be read: No such file"),
    "graph empty": ({STUDENT: lambda: b""}, f"{STUDENT}: is not the graph"),
    "graph random": ({STUDENT: lambda: np.random.default_rng(0).bytes(5000)}, f"{STUDENT}: is not the graph"),
    "graph cut": ({STUDENT: lambda: graph(STUDENT)[:100000]}, f"{STUDENT}: is not the graph"),
    "graphs swapped": ({STUDENT: lambda: graph(LOOK_ENCODER)}, f"{STUDENT}: is not the graph"),
    "no segmenter": ({SEGMENTER: None}, f"{SEGMENTER}: cannot be read: No such file"),
    "another thumbnail": ({MANIFEST: lambda: manifest(thumbnail=64)}, f"{SEGMENTER}: cannot be run"),
    "other slots": ({MANIFEST: lambda: manifest(slots=3)}, f"{LOOK_ENCODER}: cannot be run"),
    "another code": ({MANIFEST: lambda: manifest(code=77)}, f"{LOOK_ENCODER}: gives ("),
    "other tones": ({MANIFEST: lambda: manifest(tones=3)}, f"{LOOK_ENCODER}: gives ("),
    "another depth": ({MANIFEST: lambda: manifest(depth=3)}, f"{STUDENT}: gives ("),
}


@pytest.mark.parametrize("case", BAD_BUNDLES)
def test_broken_bundles(refused: Callable, tmp_path: Path, case: str) -> None:
    changes, expected = BAD_BUNDLES[case]
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in (MANIFEST, STUDENT, LOOK_ENCODER, SEGMENTER):
        make = changes.get(name, 0)
        if make == 0:
            shutil.copy(EMBEDDED / name, folder)
        elif make is not None:
            (folder / name).write_bytes(make())
    line = refused(1, "photo", "in.png", tmp_path / "out.png", "--style", "ref.png", "--model", folder)
    assert str(folder) in line
    assert expected in line


@pytest.mark.parametrize("name", ["no-such-folder", "in.png", "."])
def test_no_bundle(refused: Callable, tmp_path: Path, name: str) -> None:
    line = refused(2, "video", "in.mp4", tmp_path / "out.mp4", "--look", LOOK, "--model", name)
    assert f"hueglass: {name}: no model bundle here" in line


def test_full_disk(refused: Callable, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        for arguments in (
            ("photo", "in.png", disk / "out.png", "--look", LOOK),
            ("video", "in.mp4", disk / "out.mp4", "--look", LOOK),
            ("look", "make", "ref.png", "-o", disk / "out.look", "--mask", "in.png"),
            ("demo", "-o", disk, "--seconds", "0.2"),
        ):
            line = refused(1, *arguments)
            assert f"cannot be written: {os.strerror(errno.ENOSPC)}" in line
            assert f"hueglass: {disk}/" in line
    finally:
        subprocess.run(["umount", str(disk)], check=True)
