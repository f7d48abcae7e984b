"""The survey: a page that gives nothing away, answers checked at the door, and scores that are as sure as they say."""

import base64
import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hueglass.datasets.benchmark import OFFICIAL
from hueglass.reports import study
from hueglass.reports.study_score import REPLICATES, Answers, Interval, intervals, ratings_of

NAMES = [f"scene{n}" for n in range(1, 13)]
METHODS = ["zebrafish", "Ocelot & co", OFFICIAL]
SHADES = {"content": 20, "style": 60, "official": 100, "one": 140, "other": 180}


def save(folder: Path, kind: str, number: int, suffix: str = "jpg") -> None:
    """A picture that says which it is: its red is the kind's, its green the pair's."""
    image = np.full((48, 64, 3), (SHADES[kind], 20 * number, 128), np.uint8)
    path = folder / kind / f"{NAMES[number]}.{suffix}"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path, **({"quality": 98, "comment": b"zebrafish"} if suffix == "jpg" else {}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs and two methods, of which `other` lacks the last two; not to be written to."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(12):
        for kind in ("content", "style", "official", "one"):
            save(folder, kind, number)
        if number < 10:
            save(folder, "other", number, "png")
    return folder


@pytest.fixture
def make(run: Callable, data: Path, tmp_path: Path) -> Callable:
    def command(*options: object, page: str = "page.html") -> object:
        outputs = (f"zebrafish={data / 'one'}", f"Ocelot & co={data / 'other'}")
        return run("study", "make", *outputs, "--data", data, "-o", tmp_path / page, *options)

    return command


def facts_of(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.findall('<script type="application/json" id="study">(.*?)</script>', text)[0])


def pixel(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 64, 3)
    return image[24, 32, ::-1].astype(int)


def test_the_page_shows_every_method_on_the_same_pairs(make: Callable, tmp_path: Path) -> None:
    assert make().status == 0
    facts, key = facts_of(tmp_path / "page.html"), json.loads((tmp_path / "page.key.json").read_text())
    assert facts["study"] == key["study"]
    assert [item["id"] for item in facts["items"]] == list(key["items"])
    assert len(facts["items"]) == 3 * 8
    shades = dict(zip(METHODS, (SHADES["one"], SHADES["other"], SHADES["official"]), strict=True))
    shown: dict[str, set[str]] = {}
    for item in facts["items"]:
        hidden = key["items"][item["id"]]
        number = NAMES.index(hidden["pair"])
        np.testing.assert_allclose(pixel(item["picture"]), (shades[hidden["method"]], 20 * number, 128), atol=3)
        np.testing.assert_allclose(pixel(facts["styles"][item["style"]]), (60, 20 * number, 128), atol=3)
        shown.setdefault(hidden["method"], set()).add(hidden["pair"])
    assert set(shown) == set(METHODS)
    assert len(set(map(frozenset, shown.values()))) == 1
    assert len(shown[OFFICIAL]) == 8
    assert shown[OFFICIAL] <= set(NAMES[:10])


def test_the_page_does_not_say_which_method_made_what(make: Callable, data: Path, tmp_path: Path) -> None:
    make()
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    embedded = re.findall("base64,([A-Za-z0-9+/=]*)", text)
    plain = re.sub("base64,[A-Za-z0-9+/=]*", "", text).lower()
    words = ["zebrafish", "ocelot", "luan", "official", "scene", "method", str(data).lower(), "one.", "other/"]
    assert [word for word in words if word in plain] == []
    assert len(embedded) == 3 * 8 + 8
    assert not any(b"zebrafish" in base64.b64decode(picture) for picture in embedded)


def test_neither_names_nor_their_order_repeat(make: Callable, tmp_path: Path) -> None:
    """Whoever has the program and the pictures still cannot work out which item is whose."""
    pages = []
    for number in range(2):
        make("--seed", 5, page=f"{number}.html")
        key = json.loads((tmp_path / f"{number}.key.json").read_text())
        pages.append((set(key["items"]), [item["method"] for item in key["items"].values()], key["study"]))
    assert pages[0][0] & pages[1][0] == set()
    assert pages[0][1] != pages[1][1]
    assert pages[0][2] != pages[1][2]
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in pages[0][0])


def test_the_seed_draws_the_pairs(make: Callable, tmp_path: Path) -> None:
    drawn = []
    for number, seed in enumerate((0, 0, 1)):
        make("--seed", seed, "--pairs", 4, page=f"{number}.html")
        key = json.loads((tmp_path / f"{number}.key.json").read_text())
        drawn.append({item["pair"] for item in key["items"].values()})
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4


def test_the_page_needs_no_network(make: Callable, tmp_path: Path) -> None:
    make()
    text = re.sub("base64,[A-Za-z0-9+/=]*", "", (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert re.findall(r"https?:|//[a-z]|@import|url\(|<link|<img|src=", text) == []


@pytest.mark.skipif(shutil.which("node") is None, reason="no node here to read the script with")
def test_the_script_is_javascript(tmp_path: Path) -> None:
    text = Path(study.__file__).with_name("study.html").read_text(encoding="utf-8")
    (tmp_path / "script.js").write_text(re.findall("<script>(.*?)</script>", text, re.DOTALL)[0])
    subprocess.run(["node", "--check", tmp_path / "script.js"], check=True, timeout=60)


def test_a_key_is_never_lost(make: Callable, tmp_path: Path) -> None:
    make()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    outcome = make()
    assert outcome.status == 2
    assert "page.key.json: is there already, and the answers to its page need it" in outcome.err
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_cannot_be_made_leaves_nothing(
    make: Callable, run: Callable, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [
        (make("--pairs", 11), "every method has a picture of 10 pairs, expected at least 11"),
        (make(page="page.txt"), "extension .txt, expected .html"),
        (run("study", "make", f"{OFFICIAL}={data / 'one'}", "--data", data, "-o", tmp_path / "x.html"), "already"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(study, "MAX_PAGE_BYTES", 9000)
        outcomes.append((make(), "would be 0 MB, expected at most 0: fewer --pairs or methods"))
        patch.setattr(study, "MAX_ITEMS", 23)
        outcomes.append((make(), "3 methods on 8 pairs: expected at most 23 pictures"))
    for outcome, message in outcomes:
        assert (outcome.status, outcome.out) == (2, "")
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_key_behind(make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text = Path.write_text

    def full(path: Path, text: str, **more: str) -> None:
        if path.suffix == ".html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_text(path, text, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        outcome = make()
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == f"hueglass: {tmp_path}/page.html: cannot be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []
    assert make().status == 0


@pytest.fixture
def key(make: Callable, tmp_path: Path) -> dict:
    make("--pairs", 5)
    return json.loads((tmp_path / "page.key.json").read_text())


def answers_of(key: dict, participant: int, rate: Callable[[str, str], int]) -> dict:
    """`rate` gives the rating by method and part."""
    parts = {part: {name: rate(item["method"], part) for name, item in key["items"].items()} for part in study.PARTS}
    return {"format": 1, "study": key["study"], "participant": f"{participant:016x}", **parts}


def write(folder: Path, answers: list[dict]) -> list[Path]:
    files = [folder / f"answers{number}.json" for number in range(len(answers))]
    for file, content in zip(files, answers, strict=True):
        file.write_text(json.dumps(content))
    return files


def test_scores_are_the_means_of_the_ratings(run: Callable, key: dict, tmp_path: Path) -> None:
    """Of three people one rates the first method's photorealism by one better; all agree on the others."""

    def answers(person: int) -> dict:
        first = {"photorealism": 3 if person == 0 else 2, "faithfulness": 1}
        return answers_of(key, person, lambda method, part: first[part] if method == METHODS[0] else 4)

    files = write(tmp_path, [answers(person) for person in range(3)])
    outcome = run("study", "score", *files, "--key", tmp_path / "page.key.json", "--json", tmp_path / "scores.json")
    assert (outcome.status, outcome.err) == (0, "")
    assert "3 participants, 5 pairs: 15 ratings a cell" in outcome.out
    assert "pigeonhole bootstrap" in outcome.out
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["participants"], found["pairs"], found["study"]) == (3, 5, key["study"])
    assert found["methods"][METHODS[1]]["photorealism"] == {"mean": 4, "low": 4, "high": 4}
    first = found["methods"][METHODS[0]]
    assert first["photorealism"]["mean"] == pytest.approx(7 / 3)
    assert first["faithfulness"] == {"mean": 1, "low": 1, "high": 1}
    # All three drawn alike has a chance of 1 in 27, more than the 2.5 % that are cut off on each side.
    assert (first["photorealism"]["low"], first["photorealism"]["high"]) == (2, 3)
    assert "2.33 (2.00 to 3.00)" in outcome.out
    assert run("study", "score", *files, "--key", tmp_path / "page.key.json").out == outcome.out


def broken(key: dict) -> dict[str, tuple[object, str]]:
    """Answers that are not to be counted, and what is said of them."""
    good = answers_of(key, 1, lambda method, part: 3)
    name = next(iter(key["items"]))
    part = good["photorealism"]
    return {
        "text": ("text", "the file"),
        "empty": ({}, "format: Field required"),
        "other format": ({**good, "format": 2}, "format"),
        "another page": ({**good, "study": "0" * 16}, f"expected {key['study']} as the key has it"),
        "no participant": ({**good, "participant": "me"}, "participant"),
        "too high": ({**good, "photorealism": {**part, name: 5}}, f"photorealism.{name}: Input should be less"),
        "too low": ({**good, "photorealism": {**part, name: 0}}, f"photorealism.{name}: Input should be greater"),
        "a fraction": ({**good, "photorealism": {**part, name: 2.5}}, f"photorealism.{name}"),
        "a word": ({**good, "photorealism": {**part, name: "3"}}, f"photorealism.{name}"),
        "yes": ({**good, "photorealism": {**part, name: True}}, f"photorealism.{name}"),
        "nothing": ({**good, "photorealism": {**part, name: None}}, f"photorealism.{name}"),
        "unknown item": ({**good, "faithfulness": {**part, "a\nb": 3}}, "faithfulness: unknown item 'a\\nb'"),
        "incomplete": ({**good, "faithfulness": {name: 3}}, "faithfulness: rates 1 items, expected all 15"),
        "more": ({**good, "name": "me"}, "name: Extra inputs"),
    }


def test_broken_answers_are_one_line_that_names_them(run: Callable, key: dict, tmp_path: Path) -> None:
    for case, (content, message) in broken(key).items():
        (file,) = write(tmp_path, [content])
        outcome = run("study", "score", file, "--key", tmp_path / "page.key.json", "--json", tmp_path / "scores.json")
        assert (outcome.status, outcome.out) == (1, ""), case
        assert outcome.err.startswith(f"hueglass: {file}: "), case
        assert message in outcome.err.replace("\\\\", "\\"), case
        assert outcome.err.count("\n") == 1, case
    assert not (tmp_path / "scores.json").exists()


def test_nobody_counts_twice(run: Callable, key: dict, tmp_path: Path) -> None:
    files = write(tmp_path, [answers_of(key, 7, lambda method, part, n=n: n) for n in (1, 2)])
    outcome = run("study", "score", *files, "--key", tmp_path / "page.key.json")
    assert outcome.status == 1
    assert outcome.err == f"hueglass: {files[1]}: is of the same participant as {files[0]}\n"


def test_files_of_any_size_are_not_read(run: Callable, key: dict, tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text(" " * (1 << 20) + "{}")
    outcome = run("study", "score", tmp_path / "large.json", "--key", tmp_path / "page.key.json")
    assert outcome.status == 1
    assert "large.json: is larger than 1048576 bytes" in outcome.err
    assert run("study", "score", tmp_path / "none.json", "--key", tmp_path / "page.key.json").status == 2
    outcome = run("study", "score", tmp_path / "large.json", "--key", tmp_path / "page.html")
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)


def test_a_key_has_every_method_once_on_every_pair(run: Callable, key: dict, tmp_path: Path) -> None:
    (file,) = write(tmp_path, [answers_of(key, 1, lambda method, part: 3)])
    (first, second), path = list(key["items"])[:2], tmp_path / "page.key.json"
    for items in (
        {name: item for name, item in key["items"].items() if name != first},
        {**key["items"], first: key["items"][second]},
    ):
        path.write_text(json.dumps({**key, "items": items}))
        outcome = run("study", "score", file, "--key", path)
        assert outcome.status == 1
        assert outcome.err == f"hueglass: {path}: the file: Value error, expected each method once on each pair\n"


def test_a_single_participant_or_pair_does_not_tell_of_others(run: Callable, key: dict, tmp_path: Path) -> None:
    (file,) = write(tmp_path, [answers_of(key, 1, lambda method, part: 3)])
    outcome = run("study", "score", file, "--key", tmp_path / "page.key.json", "--json", tmp_path / "scores.json")
    assert (outcome.status, outcome.err) == (0, "")
    assert " to " not in outcome.out.splitlines()[3]
    found = json.loads((tmp_path / "scores.json").read_text())
    assert found["methods"][METHODS[0]]["photorealism"] == {"mean": 3, "low": None, "high": None}
    assert intervals(np.full((9, 1, 2), 2.0)) == [Interval(2.0, None, None)] * 2


def test_ratings_stand_in_their_places(key: dict) -> None:
    parsed = study.Key.model_validate(key)
    pairs = sorted({item["pair"] for item in key["items"].values()})
    answers = answers_of(key, 1, lambda method, part: 1)
    for name, item in key["items"].items():
        answers["faithfulness"][name] = 1 + (pairs.index(item["pair"]) + METHODS.index(item["method"])) % 4
    ratings = ratings_of([Answers.model_validate(answers)] * 2, parsed, METHODS, "faithfulness")
    expected = 1 + np.add.outer(np.arange(5), np.arange(3)) % 4
    np.testing.assert_array_equal(ratings, np.stack([expected, expected]))


def test_intervals_are_those_of_drawing_people_and_pairs_one_by_one() -> None:
    ratings = np.random.default_rng(0).integers(1, 5, (12, 6, 2)).astype(float)
    rng = np.random.default_rng(1)
    means = [
        np.mean([ratings[p, s] for p in rng.integers(0, 12, 12) for s in drawn], axis=0)
        for drawn in (rng.integers(0, 6, 6) for _ in range(REPLICATES))
    ]
    expected = np.quantile(means, (0.025, 0.975), axis=0)
    for method, found in enumerate(intervals(ratings)):
        assert found.mean == pytest.approx(ratings[..., method].mean())
        assert (found.low, found.high) == pytest.approx(expected[:, method], abs=0.02)


@pytest.mark.parametrize(("person", "pair", "noise"), [(0.5, 0.4, 0.8), (0.2, 0.6, 0.4), (0.7, 0.1, 0.5)])
def test_intervals_hold_the_truth_about_as_often_as_they_say(person: float, pair: float, noise: float) -> None:
    """20 people of tempers, 12 pairs of which some are easy, and chance: the true mean of every method is 2.5."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(30):
        tempers, ease = rng.normal(0, person, (20, 1, 8)), rng.normal(0, pair, (1, 12, 8))
        ratings = 2.5 + tempers + ease + rng.normal(0, noise, (20, 12, 8))
        held += [found.low <= 2.5 <= found.high for found in intervals(ratings)]
    assert 0.9 <= np.mean(held) <= 0.99
