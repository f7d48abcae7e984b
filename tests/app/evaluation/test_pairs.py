"""The bench: pairs and outputs at the door, what is measured of them, slow methods' pictures, and the commands."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

import torch
import torchvision
from PIL import Image

from hueglass.datasets.benchmark import OFFICIAL, OutputFolder, load_pair, output_folders, pair_names
from hueglass.evaluation import slow_methods
from hueglass.evaluation.pairs import Bench, measure_pair
from hueglass.evaluation.slow_methods import Job, attempt_pair, method_config
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.media.images import read_image
from hueglass.infer.model.manifest import EMBEDDED
from hueglass.train import evaluate
from hueglass.train.features import load_features
from hueglass.train.teacher.regions import match_regions
from hueglass.train.teacher.teacher import teach

NAMES = ["01", "02", "05"]
WIDTH, HEIGHT = 96, 64
BLUE, GREEN, RED = (0, 0, 255), (0, 255, 0), (255, 0, 0)


def photo(seed: int, width: int = WIDTH) -> np.ndarray:
    """Patches with some grain (HEIGHT, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    patches = np.kron(rng.integers(40, 216, (HEIGHT // 16, width // 16, 3)), np.ones((16, 16, 1), int))
    return np.clip(patches + rng.normal(0, 4, patches.shape), 0, 255).astype(np.uint8)


def mask(*colours: tuple[int, int, int], width: int = WIDTH) -> np.ndarray:
    """Stripes of equal width, one for each colour."""
    stripes = np.minimum(np.arange(width) * len(colours) // width, len(colours) - 1)
    return np.tile(np.array(colours, np.uint8)[stripes], (HEIGHT, 1, 1))


def save(image: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, each with two regions in common and a third on one side; not to be written to."""
    folder = tmp_path_factory.mktemp("pairs")
    for seed, name in enumerate(NAMES):
        save(photo(seed), folder / "content" / f"{name}.jpg")
        save(photo(seed + 10, 112), folder / "style" / f"{name}.jpg")
        save(photo(seed)[..., ::-1], folder / "official" / f"{name}.jpg")
        save(mask(BLUE, GREEN, RED), folder / "content_mask" / f"{name}.png")
        save(mask(GREEN, BLUE, width=112), folder / "style_mask" / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def outputs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of three methods: `same` is the content, `few` has two pairs, `large` a picture of another size."""
    folder = tmp_path_factory.mktemp("outputs")
    for name in NAMES:
        save(read_image(data / "content" / f"{name}.jpg"), folder / "same" / f"{name}.png")
    for name in NAMES[1:]:
        save(photo(7), folder / "few" / f"{name}.png")
    save(photo(7, 128), folder / "large" / "01.png")
    return folder


def test_a_pair_knows_the_regions_that_both_sides_have(data: Path) -> None:
    assert pair_names(data) == NAMES
    pair = load_pair(data, "02")
    assert pair.regions == ("blue", "green")
    np.testing.assert_array_equal(pair.maps[0][0], np.arange(WIDTH) < WIDTH / 3)
    np.testing.assert_array_equal(pair.style_maps[0][0], np.arange(112) >= 56)
    assert pair.content.shape == pair.official.shape == (HEIGHT, WIDTH, 3)
    assert pair.style.shape == (HEIGHT, 112, 3)


def test_a_folder_without_pairs_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pairs here, expected content/NN\.jpg"):
        pair_names(tmp_path)
    save(photo(0), tmp_path / "content" / "a\nb.jpg")
    with pytest.raises(UsageError, match=r"a pair is named 'a\\nb', expected letters"):
        pair_names(tmp_path)


def test_masks_without_a_common_region_are_one_clear_error(tmp_path: Path) -> None:
    """Labels by number have other names than labels by colour."""
    for kind, image in (("content", photo(0)), ("style", photo(1)), ("official", photo(2))):
        save(image, tmp_path / kind / "01.jpg")
    save(mask(BLUE, GREEN), tmp_path / "content_mask" / "01.png")
    for other in (mask(RED, (255, 255, 0)), np.full((HEIGHT, WIDTH), 3, np.uint8)):
        save(other, tmp_path / "style_mask" / "01.png")
        with pytest.raises(HueglassError, match="the masks of pair 01 have no region in common"):
            load_pair(tmp_path, "01")


def test_a_picture_too_small_to_be_measured_is_refused(data: Path, tmp_path: Path) -> None:
    for kind in ("content", "style", "official"):
        save(photo(0)[:15], tmp_path / kind / "01.jpg")
    with pytest.raises(HueglassError, match="the content of pair 01 is 96x15, expected 16 or more a side"):
        load_pair(tmp_path, "01")


def test_folders_of_outputs_are_named_after_themselves_or_as_told(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, named = output_folders([f"{outputs}/same/", f"our best={outputs / 'few'}"], NAMES)
    assert (same.name, list(same.files)) == ("same", NAMES)
    assert (named.name, list(named.files)) == ("our best", NAMES[1:])
    monkeypatch.chdir(outputs / "same")
    assert output_folders(["."], NAMES)[0].name == "same"


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(tmp_path: Path) -> None:
    save(photo(0), tmp_path / "weight=3" / "01.webp")
    (folder,) = output_folders([str(tmp_path / "weight=3")], NAMES)
    assert (folder.name, folder.files) == ("weight=3", {"01": tmp_path / "weight=3" / "01.webp"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such folder"),
        (["x=none"], "none: no such folder"),
        (["=same"], "the method's name is ''"),
        ([f"{'n' * 41}=same"], "expected 1 to 40 letters"),
        (["a\tb=same"], "expected 1 to 40 letters"),
        (["same", "same=few"], "a method named 'same' already"),
        ([f"{OFFICIAL}=same"], "already, expected another NAME=FOLDER"),
        (["empty"], r"no picture is named like a pair, expected 01\.png"),
        (["twice"], r"holds 01\.jpg and 01\.png, expected one picture a pair"),
    ],
)
def test_folders_that_cannot_be_measured_are_wrong_use(
    arguments: list[str], message: str, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outputs / "empty").mkdir(exist_ok=True)
    for suffix in (".png", ".jpg"):
        save(photo(0), outputs / "twice" / f"01{suffix}")
    monkeypatch.chdir(outputs)
    with pytest.raises(UsageError, match=message):
        output_folders(arguments, NAMES, (OFFICIAL,))


def test_outputs_are_read_at_the_size_of_the_content(tmp_path: Path) -> None:
    exact = OutputFolder("exact", {"01": tmp_path / "01.png"})
    save(photo(0), tmp_path / "01.png")
    np.testing.assert_array_equal(exact.read("01", (HEIGHT, WIDTH)), photo(0))
    assert exact.read("01", (HEIGHT + 2, WIDTH - 2)).shape == (HEIGHT + 2, WIDTH - 2, 3)
    for size in ((HEIGHT + 3, WIDTH), (HEIGHT, WIDTH - 3)):
        with pytest.raises(UsageError, match=rf"01\.png: is 96x64, expected {size[1]}x{size[0]} like its content"):
            exact.read("01", size)


def test_baselines_hold_what_they_say(data: Path) -> None:
    pair = load_pair(data, "01")
    outputs = {name: method(pair) for name, method in evaluate.BASELINES.items()}
    scores = {name: evaluate.measure(pair, output) for name, output in outputs.items()}
    assert len(outputs) == 8
    assert scores["untouched"]["edge"] == pytest.approx(1)
    assert scores[OFFICIAL]["dE"] == 0
    assert scores["untouched"]["dE"] > 5
    assert scores["untouched"]["halo"] == pytest.approx(0, abs=1e-3)
    rest = ~pair.maps.any(0)
    for name in ("Reinhard", "Monge-Kantorovich", "distribution transfer"):
        assert scores[f"{name} per region"]["swd"] < min(scores[name]["swd"], scores["untouched"]["swd"])
        np.testing.assert_array_equal(outputs[f"{name} per region"][rest], pair.content[rest])
        assert outputs[name].dtype == np.uint8


SCORES = {
    "01": {"swd": 1.0, "edge": 0.9, "resid": 0.1, "dE": 3.0, "halo": 1.0},
    "02": {"swd": 2.0, "edge": 0.8, "resid": 0.3, "dE": 5.0, "halo": 2.0},
    "05": {"swd": 6.0, "edge": 0.4, "resid": 0.2, "dE": 4.0, "halo": 0.0},
}


def test_means_and_standard_errors() -> None:
    assert evaluate.means(SCORES) == pytest.approx({"swd": 3, "edge": 0.7, "resid": 0.2, "dE": 4, "halo": 1})
    # The deviations of swd are -2, -1, 3: variance 14 / 2, over 3 pairs.
    assert evaluate.standard_errors(SCORES)["swd"] == pytest.approx((14 / 2 / 3) ** 0.5)
    assert evaluate.standard_errors({"01": SCORES["01"]}) == dict.fromkeys(evaluate.METRICS)


def test_what_is_best_by_definition_does_not_compete() -> None:
    means = {name: dict(SCORES["01"]) for name in ("a", "b", "untouched", OFFICIAL)}
    means["untouched"].update(edge=1.0, resid=0.0)
    means[OFFICIAL].update(swd=0.5, dE=0.0)
    means["b"].update(edge=0.95, dE=2.0, halo=0.5)
    assert evaluate.best(means) == {"swd": OFFICIAL, "edge": "b", "resid": "a", "dE": "b", "halo": "b"}
    assert evaluate.best({"untouched": means["untouched"]}) == {}


def test_every_method_is_measured_on_a_pair(data: Path, outputs: Path) -> None:
    folders = tuple(output_folders([str(outputs / "same"), str(outputs / "few")], NAMES))
    bench = Bench(data, folders, EMBEDDED, pictures=True)
    measured = measure_pair(bench, "01")
    assert set(bench.methods()) - set(measured.scores) == {"few"}
    assert measured.scores["same"] == measured.scores["untouched"]
    assert measured.facts.regions == ("blue", "green")
    assert set(measured.pictures) == {"content", "style", *measured.scores} - {"untouched"}
    pair = load_pair(data, "01")
    assert measured.scores["Reinhard"] == evaluate.measure(pair, evaluate.BASELINES["Reinhard"](pair))
    assert measured.scores["student, masks"] != measured.scores["student, no masks"]


def test_evaluate_pairs_writes_the_whole_report(run: Callable, data: Path, outputs: Path, tmp_path: Path) -> None:
    report = tmp_path / "new" / "report"
    outcome = run("evaluate", "pairs", outputs / "same", f"[x]={outputs / 'few'}", "--data", data, "-o", report)
    assert (outcome.status, outcome.err) == (0, "")
    assert "means over 3 pairs" in outcome.out
    assert "on the 2 pairs of [x]" in outcome.out
    assert "2 of 3" in outcome.out
    found = json.loads((report / "pairs.json").read_text())
    assert found["pairs"]["05"] == {"width": WIDTH, "height": HEIGHT, "regions": ["blue", "green"]}
    assert list(found["methods"]) == ["same", "[x]", *evaluate.STUDENT, *evaluate.BASELINES]
    few = found["methods"]["[x]"]
    assert list(few["pairs"]) == NAMES[1:]
    assert few["pairs"]["02"] == evaluate.measure(load_pair(data, "02"), photo(7))
    assert few["means"] == evaluate.means(few["pairs"])
    assert few["standard_errors"] == evaluate.standard_errors(few["pairs"])
    names = {file.name for file in (report / "pictures").iterdir()}
    assert len(names) == 3 * 13 + 2
    assert {"05-content.jpg", "05-x.jpg", "05-luan-et-al-2017.jpg"} <= names
    assert {"index.html", "sheet0.png"} <= {file.name for file in report.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "pairs", "{outputs}/large", "--no-student", "--data", "{data}"), "01.png: is 128x64"),
        (("evaluate", "pairs", "--data", "{outputs}"), "no pairs here"),
        (("evaluate", "pairs", "--data", "{data}", "-o", "{data}/content/01.jpg"), "a file is in the way"),
        (("evaluate", "pairs", "--data", "{data}", "--model", "{data}"), "bundle.json"),
        (("evaluate", "run", "cnnmrf", "--data", "{data}", "-o", "{tmp}", "--only", "01,3"), "no pair '3'"),
        (("evaluate", "run", "teacher", "--data", "{data}", "-o", "{tmp}", "--weights", "none"), "none: no such file"),
        (("evaluate", "run", "cnnmrf", "--data", "{data}", "-o", "{tmp}", "--config", "none"), "none: no such file"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: tuple[str, ...], message: str, run: Callable, data: Path, outputs: Path, tmp_path: Path
) -> None:
    outcome = run(*(a.format(outputs=outputs, data=data, tmp=tmp_path / "out") for a in arguments))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet without training."""
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_0().state_dict(), file)
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "teacher.yaml"
    file.write_text("features: squeezenet\nsize: 64\nstages: [{evaluations: 3, laplacian: 100}]\n")
    return file


def test_a_slow_method_goes_on_where_it_was_left_and_past_what_fails(
    run: Callable, data: Path, weights: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_methods, "PROCESSES", 1)  # others would load torch anew
    broken, out = tmp_path / "broken", tmp_path / "out"
    for folder in ("content", "style", "content_mask", "style_mask", "official"):
        (broken / folder).mkdir(parents=True)
        for file in (data / folder).iterdir():
            (broken / folder / file.name).write_bytes(file.read_bytes())
    (broken / "style" / "02.jpg").write_bytes(b"not a picture")
    save(photo(3), out / "01.webp")
    command = ("evaluate", "run", "teacher", "--data", broken, "-o", out, "--config", config, "--weights", weights)
    outcome = run(*command)
    assert outcome.status == 1
    assert f"{out}: 1 of 3 pictures are there already and kept" in outcome.err
    assert "pair 02: " in outcome.err
    assert outcome.err.splitlines()[-1] == f"hueglass: {out}: 1 of 3 pairs failed: 02"
    assert sorted(file.name for file in out.iterdir()) == ["01.webp", "05.png"]
    pair = load_pair(data, "05")
    features = load_features("squeezenet", weights)
    taught = teach(
        pair.content, pair.style, match_regions(pair.mask, pair.style_mask), method_config("teacher", config), features
    )
    assert np.abs(read_image(out / "05.png").astype(int) - taught.image).max() <= 1
    assert run(*command, "--only", "05, 01").status == 0


def test_cnnmrf_makes_pictures_of_the_size_of_the_content(data: Path, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "cnnmrf.yaml"
    file.write_text("size: 64\nevaluations: 2\n")
    made = attempt_pair(Job(method_config("cnnmrf", file), weights, data), "01")
    assert isinstance(made, tuple)
    assert made[0].shape == (HEIGHT, WIDTH, 3)
    assert made[0].dtype == np.uint8


def test_neural_style_is_the_teacher_without_the_laplacian() -> None:
    config = method_config("neural-style", None)
    assert {stage.laplacian for stage in config.stages} == {0}
