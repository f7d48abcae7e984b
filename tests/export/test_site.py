"""The static site is built whole or not at all, and of what it is to hold."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.site import decoded

from hueglass.export import site
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, embedded_looks
from hueglass.infer.model.manifest import EMBEDDED, LOOK_ENCODER, MANIFEST, SEGMENTER, STUDENT
from hueglass.jobs.site import build_web

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is missing")


@pytest.fixture
def without_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's own parts alone, where onnxruntime-web does not matter."""
    monkeypatch.setattr(site, "_add_runtime", lambda folder: folder.mkdir())


@needs_npm
def test_a_site_holds_all_that_the_page_loads(built: Path, looks: list[Look]) -> None:
    assert {path.name for path in built.iterdir()} == set(site.PARTS)
    assert (built / "index.html").read_text().count(site.LOCAL) == 1
    modules = {"local_predictor.js", "worker.js", "networks.js", "photo.js", "regions.js", "smoother.js"}
    assert modules <= {path.name for path in (built / "page").iterdir()}
    for name in (STUDENT, LOOK_ENCODER, MANIFEST):
        assert (built / "model" / name).read_bytes() == (EMBEDDED / name).read_bytes()
    assert not (built / "model" / SEGMENTER).exists()
    assert {path.name for path in (built / "vendor").iterdir()} == set(site.RUNTIME)
    for look in looks:
        kept = json.loads((built / "looks" / f"{look.name}.json").read_text())
        np.testing.assert_array_equal(decoded(kept["tones"]), look.tones.ravel())
        np.testing.assert_array_equal(decoded(kept["codes"]), look.codes.ravel())
        assert (kept["name"], kept["model"], tuple(kept["names"])) == (look.name, look.model, look.names)
        preview = cv2.imdecode(np.frombuffer((built / "looks" / f"{look.name}.jpg").read_bytes(), np.uint8), 1)
        assert preview.shape == (270, 480, 3)
        assert preview.std() > 10
    assert list(built.parent.iterdir()) == [built]


def test_the_lock_has_what_the_package_asks_for() -> None:
    wanted, lock = (json.loads(path.read_text()) for path in site.LOCKED)
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"]
    assert lock["packages"]["node_modules/onnxruntime-web"]["version"] == wanted["dependencies"]["onnxruntime-web"]
    assert all(part["integrity"] for name, part in lock["packages"].items() if name)


@pytest.mark.usefixtures("without_npm")
def test_an_older_site_is_replaced(
    tmp_path: Path, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()  # an empty one is taken as well
    site.build_site(folder, bundle, looks, previews)
    site.build_site(folder, bundle, looks[:1], previews)
    assert sorted(path.name for path in (folder / "looks").iterdir()) == ["golden-hour.jpg", "golden-hour.json"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("without_npm")
def test_a_strangers_folder_stays_as_it_is(
    tmp_path: Path, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> None:
    own = tmp_path / "own"
    site.build_site(own, bundle, looks, previews)
    (own / "CNAME").write_text("example.org")
    strange, file = tmp_path / "strange", tmp_path / "file"
    strange.mkdir()
    (strange / "index.html").write_text("mine")
    file.write_text("mine")
    for folder, said in (
        (own, "CNAME, which is not of the site"),
        (strange, "is no site made by hueglass"),
        (file, "is a file"),
        (tmp_path / "missing" / "site", "does not exist"),
    ):
        with pytest.raises(UsageError, match=said):
            site.build_site(folder, bundle, looks, previews)
    assert (own / "CNAME").exists()
    assert (strange / "index.html").read_text() == file.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.usefixtures("without_npm")
def test_an_interrupted_build_leaves_the_older_site(
    tmp_path: Path, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site"
    site.build_site(folder, bundle, looks, previews)
    rename, calls = (
        os.rename,
        iter((True, False, True)),
    )  # the site goes aside, the new one fails to come, and it is back

    def failing(source: Path, target: Path) -> None:
        if not next(calls):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(HueglassError, match="No space left"):
        site.build_site(folder, bundle, looks[:1], previews)
    assert len(list((folder / "looks").iterdir())) == 2 * len(looks)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.usefixtures("without_npm")
def test_looks_that_cannot_be_on_a_site_are_refused(
    tmp_path: Path, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> None:
    other = replace(looks[0], model="student-0123456789ab")
    for chosen, said in (
        ([], "at least one"),
        ([looks[0], looks[0]], "a name of its own"),
        ([other], "made by student-0123456789ab"),
        ([replace(looks[0], name="../evil")], "are named by"),
        ([replace(looks[0], name="Sunset")], "are named by"),
    ):
        with pytest.raises(UsageError, match=said):
            site.build_site(tmp_path / "site", bundle, chosen, previews)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("npm", "said"),
    [
        (None, "npm is missing.*install Node.js"),
        (
            "printf 'npm error %s\\n' 'code ENOTFOUND' 'syscall connect' '' 'request failed' 'at a line' >&2; exit 1",
            "npm ci: ENOTFOUND, request failed: check the network",
        ),
        ("exit 7", "status 7"),
        ("exit 0", "brought no ort.wasm"),
    ],
)
def test_without_a_working_npm(
    tmp_path: Path,
    bundle: ModelBundle,
    looks: list[Look],
    previews: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    npm: str | None,
    said: str,
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    if npm is not None:
        (tools / "npm").write_text(f"#!/bin/sh\n{npm}\n")
        (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(HueglassError, match=said) as caught:
        site.build_site(tmp_path / "site", bundle, looks, previews)
    assert not isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [tools]


@pytest.mark.usefixtures("without_npm")
def test_the_command_takes_all_embedded_looks_or_those_named(
    tmp_path: Path, bundle: ModelBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    build_web(tmp_path / "two", ["winter", "desert"], bundle)
    assert json.loads((tmp_path / "two" / site.MARKER).read_text())["looks"] == ["winter", "desert"]
    build_web(tmp_path / "all", [], bundle)
    named = json.loads((tmp_path / "all" / site.MARKER).read_text())
    assert named["looks"] == embedded_looks()
    assert named["regions"] is False
    build_web(tmp_path / "regions", ["winter"], bundle, bundle.segmenter)
    assert json.loads((tmp_path / "regions" / site.MARKER).read_text())["regions"] is True
    assert (tmp_path / "regions" / "model" / SEGMENTER).read_bytes() == (EMBEDDED / SEGMENTER).read_bytes()
    assert str(tmp_path / "all") in capsys.readouterr().out
