"""Regions that nobody drew, on the command line: the model's own segmenter, somebody else's, and tuned looks."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.streets import labels_of_street, picture_of_street

from hueglass.infer.media.images import read_image, write_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, read_look
from hueglass.infer.model.manifest import EMBEDDED, SEGMENTER
from hueglass.infer.regions.regions import REGION_NAMES

LOOK = embedded_looks()[0]


@pytest.fixture(scope="module")
def streets() -> tuple[np.ndarray, np.ndarray]:
    """A street, and another one under a red sky."""
    image, other = (picture_of_street(seed, 1.0, 320, 240) for seed in (3, 4))
    labels = labels_of_street(4, 1.0, 320, 240)
    red = np.where((labels == labels[2, 160])[..., None], (200, 60, 40), other)
    return image, red.astype(np.uint8)


@pytest.fixture
def street(streets: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with both."""
    monkeypatch.chdir(tmp_path)
    for name, image in zip(("in.png", "ref.png"), streets, strict=True):
        write_image(Path(name), image)
    return tmp_path


def converted(run: Callable, *options: object) -> np.ndarray:
    outcome = run("photo", "in.png", "out.png", *options)
    assert (outcome.status, outcome.err) == (0, "")
    return read_image(Path("out.png"))


def redness(image: np.ndarray) -> float:
    return float(image[..., 0].mean() - image[..., 1:].mean())


def test_the_light_of_the_sky_goes_to_the_sky(run: Callable, street: Path, bundle: ModelBundle) -> None:
    """More of the red lies in the sky than in what is below, and more than without regions."""
    assert bundle.segmenter is not None
    image = converted(run, "--style", "ref.png", "--auto-regions")
    regions = bundle.segmenter(bundle.thumbnail(read_image(Path("in.png"))))
    sky = np.asarray(Image.fromarray(regions.maps[regions.names.index("sky")]).resize((320, 240))) > 0.9
    below = np.asarray(Image.fromarray(regions.maps[regions.names.index("ground")]).resize((320, 240))) > 0.9
    assert min(sky.mean(), below.mean()) > 0.03
    assert redness(image[sky]) > redness(image[below]) + 40


def test_an_embedded_look_finds_its_regions(run: Callable, street: Path) -> None:
    plain, found = converted(run, "--look", LOOK, "--no-auto-regions"), converted(run, "--look", LOOK, "--auto-regions")
    assert np.abs(plain.astype(int) - found).mean() > 1
    np.testing.assert_array_equal(converted(run, "--look", LOOK), found)  # unless somebody says otherwise


def test_another_segmenter_takes_the_place_of_the_models(run: Callable, street: Path) -> None:
    """The model's own graph as a file with a label map does the same; with other labels it does not."""
    Path("labels.json").write_text(json.dumps(REGION_NAMES))
    files = ("--segmenter", EMBEDDED / SEGMENTER, "--labels", "labels.json")
    own = converted(run, "--style", "ref.png", "--auto-regions")
    np.testing.assert_allclose(converted(run, "--style", "ref.png", *files).astype(int), own, atol=1)
    Path("labels.json").write_text(json.dumps(["all"] * 8))
    assert np.abs(converted(run, "--style", "ref.png", *files).astype(int) - own).mean() > 1


def test_looks_are_made_of_found_regions(run: Callable, street: Path, bundle: ModelBundle) -> None:
    assert run("look", "make", "ref.png", "-o", "a.look", "--auto-regions").status == 0
    assert {"sky", "ground"} <= set(read_look(Path("a.look"), bundle.manifest).names) <= set(REGION_NAMES)
    by_look, by_photo = (
        converted(run, *options, "--auto-regions") for options in (("--look", "a.look"), ("--style", "ref.png"))
    )
    np.testing.assert_array_equal(by_look, by_photo)


def test_a_bundle_without_a_segmenter_says_so(run: Callable, street: Path) -> None:
    manifest = json.loads((EMBEDDED / "bundle.json").read_text())
    folder = street / "plain"
    folder.mkdir()
    for file in EMBEDDED.glob("*.onnx"):
        (folder / file.name).symlink_to(file)
    (folder / "bundle.json").write_text(json.dumps({**manifest, "regions": []}))
    plain = converted(run, "--style", "ref.png", "--model", folder)
    np.testing.assert_array_equal(plain, converted(run, "--style", "ref.png", "--no-auto-regions"))
    outcome = run("photo", "in.png", "out.png", "--style", "ref.png", "--auto-regions", "--model", folder)
    assert outcome.status == 2
    assert "this model has no segmenter, expected --segmenter FILE --labels FILE" in outcome.err


def test_a_label_map_for_another_graph_is_refused(run: Callable, street: Path) -> None:
    Path("labels.json").write_text('["sky", "ground"]')
    files = ("--segmenter", EMBEDDED / SEGMENTER, "--labels", "labels.json")
    outcome = run("photo", "in.png", "out.png", "--style", "ref.png", *files)
    assert outcome.status == 2
    assert "labels.json: is for 2 classes" in outcome.err
    assert not Path("out.png").exists()


def test_a_tuned_look_is_a_look(run: Callable, street: Path, bundle: ModelBundle) -> None:
    pytest.importorskip("torch")
    Path("frames").mkdir()
    for index in range(12):
        write_image(Path(f"frames/{index}.png"), picture_of_street(3 + index // 6, 2.0 * index, 96, 72))
    outcome = run("train", "--tune", "ref.png", "-o", "a.look", "--on", "frames", "--minutes", "0.05")
    assert (outcome.status, outcome.err) == (0, "")
    assert "a.look: tuned on 2 frames" in outcome.out
    assert "swd on 10 unseen frames with regions" in outcome.out
    look = read_look(Path("a.look"), bundle.manifest)
    assert run("look", "make", "ref.png", "-o", "b.look", "--auto-regions").status == 0
    plain = read_look(Path("b.look"), bundle.manifest)
    assert look.names == plain.names
    assert np.abs(look.codes - plain.codes).max() > 1e-3
    assert converted(run, "--look", "a.look", "--auto-regions").shape == (240, 320, 3)


def test_too_few_frames_to_tune_on(run: Callable, street: Path) -> None:
    pytest.importorskip("torch")
    Path("frames").mkdir()
    write_image(Path("frames/one.png"), np.zeros((8, 8, 3), np.uint8))
    outcome = run("train", "--tune", "ref.png", "-o", "a.look", "--on", "frames")
    assert outcome.status == 2
    assert "frames: 1 frames, expected more than 10" in outcome.err
    assert not Path("a.look").exists()


def test_the_segmenter_is_measured_on_labelled_frames(run: Callable, street: Path, streets: tuple) -> None:
    """Half of a frame is labelled sky, half unlabelled: everything named sky outside the first half is wrong there."""
    pytest.importorskip("torch")
    labels = np.full((240, 320), 11, np.uint8)
    labels[:120] = 0
    for folder, name, pixels in (("split", "a.png", streets[0]), ("split_label", "a.png", labels)):
        Path(folder).mkdir()
        Image.fromarray(pixels).save(f"{folder}/{name}")
    outcome = run("evaluate", "segmenter", "split")
    assert (outcome.status, outcome.err) == (0, "")
    rows = {line.split("│")[1].strip(): line.split("│")[2:4] for line in outcome.out.splitlines() if "│" in line}
    ignored, counted = (float(x) for x in rows["sky"])
    bundle = ModelBundle()
    assert bundle.segmenter is not None
    found = np.argmax(bundle.segmenter(bundle.thumbnail(streets[0])).maps, 0)
    above = float((found[:64] == 0).mean())
    assert ignored == pytest.approx(above, abs=0.02)
    assert counted <= ignored + 1e-6
    assert rows["other"][0].strip() == "nan"


def test_frames_that_nobody_labelled_are_no_measure(run: Callable, street: Path) -> None:
    pytest.importorskip("torch")
    Path("plain").mkdir()
    write_image(Path("plain/a.png"), np.zeros((8, 8, 3), np.uint8))
    outcome = run("evaluate", "segmenter", "plain")
    assert outcome.status == 2
    assert "plain: nobody labelled these" in outcome.err


def test_what_was_found_is_shown(run: Callable, street: Path) -> None:
    """By `photo` and by `look make`, of a segmenter or of a mask; where nothing is looked for, that is said."""
    converted(run, "--style", "ref.png", "--auto-regions", "--show-regions", "found.png")
    assert run("look", "make", "ref.png", "-o", "a.look", "--auto-regions", "--show", "ref_found.png").status == 0
    for name, shown in (("in.png", "found.png"), ("ref.png", "ref_found.png")):
        image, drawn = read_image(Path(name)), read_image(Path(shown))
        assert drawn.shape[1] == 320
        assert drawn.shape[0] > 240
        assert np.abs(drawn[:240].astype(int) - image).mean() > 5
    outcome = run("photo", "in.png", "out.png", "--style", "ref.png", "--no-auto-regions", "--show-regions", "none.png")
    assert (outcome.status, "none.png: there are no regions to show" in outcome.err) == (2, True)
    outcome = run("photo", "in.png", "out.png", "--style", "ref.png", "--auto-regions", "--show-regions", "out.png")
    assert (outcome.status, "out.png: is the other output as well" in outcome.err) == (2, True)
    outcome = run("look", "make", "ref.png", "-o", "a.look", "--auto-regions", "--show", "ref.png")
    assert (outcome.status, "ref.png: is an input as well" in outcome.err) == (2, True)
    assert not Path("none.png").exists()
