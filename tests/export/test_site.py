"""The static site: its arithmetic is Python's, its networks give what onnxruntime gives, and it is built whole or not
at all. What needs node runs the page's modules by it; what needs a browser runs a built site in Chromium."""

import base64
import io
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from support.browser import WEBGL, bytes_of, camera, chromium, picture_of, playwright, text_of, until, write_mjpeg
from support.streets import picture_of_street

from hueglass.export import site
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.grid import bilateral
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, assign, embedded_looks, find_look, make_look, mix_looks
from hueglass.infer.model.manifest import EMBEDDED, LOOK_ENCODER, MANIFEST, SEGMENTER, STUDENT
from hueglass.infer.regions.region_smoother import RegionSmoother
from hueglass.infer.regions.regions import Regions, confident, present
from hueglass.infer.regions.segmenter import find_regions, region_maps
from hueglass.infer.scene.scene_cut import CutDetector, cut_score
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.jobs.site import build_web, look_previews

NAMES = ("golden-hour", "moonlight", "winter")
BLANK = b"<!doctype html><meta charset=utf-8><title>empty</title>"
DECODE = """
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const text = (array) => {
    const all = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let out = '';
    for (let i = 0; i < all.length; i += 8192) out += String.fromCharCode(...all.subarray(i, i + 8192));
    return btoa(out);
  };
"""
"""Arrays come and go as base64."""
LOOKS = """
  const numbers = (text) => new Float32Array(bytes(text).buffer);
  const decodedLook = ({ codes, tones, ...more }) => ({ ...more, codes: numbers(codes), tones: numbers(tones) });
"""
PREDICTOR = """
  const { LocalPredictor } = await import('/page/local_predictor.js');
  const predictor = new LocalPredictor(location.origin + '/');
  const hello = await predictor.start();
  const predicted = (rgb, time) => new Promise((resolve, reject) => {
    predictor.onGrid = (grid, info) => resolve({ grid: text(grid), ...info });
    predictor.onTrouble = (message) => reject(new Error(message));
    if (!predictor.predict(rgb, time)) reject(new Error('busy'));
  });
"""

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is missing")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is missing")


def decoded(text: str, kind: type = np.float32) -> np.ndarray:
    return bytes_of(text).view(kind)


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """(401, 700, 3) uint8."""
    return picture_of_street(3, 0, 700, 401)


@pytest.fixture(scope="module")
def streets(bundle: ModelBundle, street: np.ndarray) -> list[np.ndarray]:
    """Thumbnails (T, T, 3) uint8: five past which the camera moves, then one upside down and in other colours."""
    return [bundle.thumbnail(x) for x in (*(street[:, 12 * i : 12 * i + 640] for i in range(5)), street[::-1, :, ::-1])]


@pytest.fixture(scope="module")
def looks(bundle: ModelBundle) -> list[Look]:
    return [find_look(name, bundle.manifest) for name in NAMES]


# The arithmetic, by node.


def by_node(script: str, given: object) -> Any:
    """What a script with the page's modules in `page` and `given` prints as JSON."""
    head = f"const page = {json.dumps(site.PAGE.as_uri())};\n{DECODE}"
    read = "const given = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));\n"
    command = ["node", "--input-type=module", "-e", head + read + script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
@pytest.mark.parametrize("seconds", [0.35, 0.0])
def test_the_smoother_is_pythons(seconds: float) -> None:
    rng = np.random.default_rng(1)
    grids = rng.normal(0, 0.01, (30, 600)).cumsum(0).astype(np.float32)
    grids[15:] += 0.3  # the light falls
    times = np.arange(30) * 0.04
    times[22:] -= 0.5  # the clip begins again
    steps = [(grid, float(time), index == 8) for index, (grid, time) in enumerate(zip(grids, times, strict=True))]
    smoother = Smoother(seconds)
    wanted = [smoother.update(*step) for step in steps]
    script = """
      const { Smoother } = await import(page + '/smoother.js');
      const smoother = new Smoother(given.seconds);
      const update = ([grid, time, fresh]) => smoother.update(new Float32Array(bytes(grid).buffer), time, fresh);
      console.log(JSON.stringify(given.steps.map((step) => text(update(step)))));
    """
    sent = {"seconds": seconds, "steps": [(text_of(grid), time, fresh) for grid, time, fresh in steps]}
    found = [decoded(text) for text in by_node(script, sent)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert np.abs(wanted[14] - grids[14]).max() > 0.001 or not seconds


@needs_node
@pytest.mark.parametrize("size", [256, 80, 64])
def test_cuts_are_found_where_python_finds_them(streets: list[np.ndarray], size: int) -> None:
    """Motion, cuts, a change of light, noise, flat pictures, and a time that goes back. 80 is no multiple of 32."""
    noise = np.random.default_rng(2).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    flat = [np.full((256, 256, 3), level, np.uint8) for level in (0, 90)]
    pictures = [*streets, streets[5] // 2, noise, *flat, streets[0], streets[1], 255 - streets[1]]
    small = [cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA) for x in pictures]
    times = [0.1 * index for index in range(len(small) - 2)] + [0.3, 0.4]
    detector = CutDetector()
    wanted = [detector.update(*step) for step in zip(small, times, strict=True)]
    assert wanted[0]
    assert not any(wanted[1:5])
    assert any(wanted[5:-2])
    assert wanted[-2]
    script = """
      const { CutDetector, cutScore } = await import(page + '/smoother.js');
      const small = given.small.map(bytes);
      const detector = new CutDetector();
      const cuts = small.map((picture, i) => detector.update(picture, given.size, given.times[i]));
      const scores = small.slice(1).map((picture, i) => cutScore(small[i], picture, given.size));
      console.log(JSON.stringify({ cuts, scores }));
    """
    found = by_node(script, {"small": [text_of(x) for x in small], "size": size, "times": times})
    assert found["cuts"] == wanted
    scores = [cut_score(a, b) for a, b in pairwise(small)]
    # At 256 both round alike; OpenCV's own ways with other ratios move a few grey levels by one.
    np.testing.assert_allclose(found["scores"], scores, atol=2e-5 if size == 256 else 5e-3)


@needs_node
def test_half_floats_are_numpys() -> None:
    rng = np.random.default_rng(3)
    scales = np.float32(10) ** rng.integers(-9, 6, 20000).astype(np.float32)
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    halfway = (every[:-1] + every[1:]) / 2
    special = np.array([0, -0.0, np.inf, -np.inf, 65504, 65519.996, 65520, 1e-8, 2.0**-25, 2.0**-24], np.float32)
    near = (np.nextafter(halfway, np.float32(0)), np.nextafter(halfway, np.float32(1e9)))
    values = np.concatenate([rng.normal(0, 1, 20000).astype(np.float32) * scales, every, halfway, *near, special])
    script = """
      const { halfFloats } = await import(page + '/smoother.js');
      const found = halfFloats(new Float32Array(bytes(given.values).buffer));
      console.log(JSON.stringify([text(found), [...halfFloats(Float32Array.of(NaN))]]));
    """
    found, [nothing] = by_node(script, {"values": text_of(values)})
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(decoded(found, np.uint16), values.astype(np.float16).view(np.uint16))
    assert np.isnan(np.uint16(nothing).view(np.float16))


def soft_maps(seed: int, count: int, side: int) -> np.ndarray:
    """(count, side, side) float32, smooth and summing to 1."""
    rng = np.random.default_rng(seed)
    scores = np.stack([cv2.resize(rng.normal(0, 4, (5, 5)).astype(np.float32), (side, side)) for _ in range(count)])
    shares = np.exp(scores)
    return np.asarray(shares / shares.sum(0), np.float32)


@needs_node
def test_regions_are_made_confident_as_python_does() -> None:
    names = ("sky", "building", "ground", "other")
    scores = soft_maps(0, 4, 40) * np.linspace(1.2, -0.05, 40, dtype=np.float32)  # networks round below 0
    scores[1] *= 0.01
    maps = region_maps(scores.copy(), np.eye(4, dtype=np.float32), 40, False)
    wanted = [Regions(maps, names), confident(Regions(maps, names)), present(confident(Regions(maps, names)))]
    assert len(wanted[2].names) < 4
    script = """
      const { named, believed, present } = await import(page + '/regions.js');
      const found = [named(new Float32Array(bytes(given.scores).buffer), given.names)];
      found.push(believed(found[0]));
      found.push(present(found[1]));
      console.log(JSON.stringify(found.map(({ maps, names }) => ({ maps: text(maps), names }))));
    """
    for one, regions in zip(by_node(script, {"scores": text_of(scores), "names": names}), wanted, strict=True):
        assert tuple(one["names"]) == regions.names
        np.testing.assert_allclose(decoded(one["maps"]), regions.maps.ravel(), atol=1e-6)


@needs_node
@pytest.mark.parametrize("seconds", [0.35, 0.0])
def test_the_region_smoother_is_pythons(seconds: float) -> None:
    """Regions drift, one comes and one goes, a cut, and a time that goes back."""
    names, side = ("sky", "building", "person", "other"), 24
    a, b = soft_maps(1, 4, side), soft_maps(2, 4, side)
    a[2] = 0
    b[1] *= 0.002
    frames = [a + (b - a) * np.float32(min(max(i - 4, 0) / 6, 1)) for i in range(16)]
    times = [0.1 * i for i in range(14)] + [0.2, 0.3]
    steps = [(frame, time, index == 12) for index, (frame, time) in enumerate(zip(frames, times, strict=True))]
    smoother = RegionSmoother(seconds)
    wanted = [smoother.update(Regions(frame, names), time, fresh) for frame, time, fresh in steps]
    assert len({regions.names for regions in wanted}) > 2
    script = """
      const { RegionSmoother } = await import(page + '/regions.js');
      const smoother = new RegionSmoother(given.seconds);
      const found = given.steps.map(([frame, time, fresh]) => {
        const regions = { maps: new Float32Array(bytes(frame).buffer), names: given.names };
        const { maps, names } = smoother.update(regions, time, fresh);
        return { maps: text(maps), names };
      });
      console.log(JSON.stringify(found));
    """
    sent = [(text_of(frame), time, fresh) for frame, time, fresh in steps]
    for one, regions in zip(by_node(script, {"steps": sent, "names": names, "seconds": seconds}), wanted, strict=True):
        assert tuple(one["names"]) == regions.names
        np.testing.assert_allclose(decoded(one["maps"]), regions.maps.ravel(), atol=1e-5)


@needs_node
def test_looks_are_mixed_and_assigned_as_python_does(bundle: ModelBundle, looks: list[Look]) -> None:
    """Of other regions, of none, and with more regions than slots."""
    manifest = bundle.manifest
    side, bare = manifest.thumbnail // 2, replace(looks[2], codes=looks[2].codes[:0], names=())
    regions = Regions(soft_maps(3, 10, side), ("sky", "a", "b", "c", "ground", "building", "d", "e", "f", "vegetation"))
    many = replace(looks[0], names=regions.names, codes=np.repeat(looks[0].codes[:1], 10, 0) + np.arange(10)[:, None])
    many = replace(many, codes=many.codes.astype(np.float32))
    pairs = [(looks[0], looks[1]), (looks[1], bare), (bare, bare), (many, looks[0])]
    pairs.append((mix_looks(*pairs[0], 0.4, ""), looks[2]))
    mixtures = [mix_looks(a, b, 0.3, "") for a, b in pairs]
    script = f"""
      const {{ mixed, assign, NO_REGIONS }} = await import(page + '/regions.js');
      {LOOKS}
      const regions = {{ maps: numbers(given.maps), names: given.names }};
      console.log(JSON.stringify(given.pairs.map((pair) => {{
        const look = mixed(...pair.map(decodedLook), 0.3, given.manifest.code);
        const {{ maps, codes }} = assign(look, regions, given.manifest);
        const none = assign(look, NO_REGIONS, given.manifest);
        const arrays = [look.codes, look.tones, maps, codes, none.maps, none.codes, Float32Array.from(look.shares)];
        return arrays.map(text).concat([look.names]);
      }})));
    """
    sent = {
        "pairs": [[site.look_as_json(look) for look in pair] for pair in pairs],
        "maps": text_of(regions.maps),
        "names": regions.names,
        "manifest": {"slots": manifest.slots, "code": manifest.code, "thumbnail": manifest.thumbnail},
    }
    none = Regions(regions.maps[:0], ())
    for look, found in zip(mixtures, by_node(script, sent), strict=True):
        assert tuple(found.pop()) == look.names
        given = [*assign(look, regions, manifest.slots), *assign(look, none, manifest.slots)]
        wanted = [look.codes, look.tones, *given, np.ones(len(look.names)) if look.shares is None else look.shares]
        for one, array in zip(found, wanted, strict=True):
            np.testing.assert_allclose(decoded(one) if one else np.zeros(0), array.ravel(), atol=1e-5)


def pictures_of(shape: tuple[int, int]) -> dict[str, bytes]:
    """A picture of one size in every kind of file that the page reads."""
    image = np.random.default_rng(4).integers(0, 256, (*shape, 4), dtype=np.uint8)
    kinds: dict[str, tuple[str, int, list[int]]] = {
        "jpeg": (".jpg", 3, []),
        "progressive jpeg": (".jpg", 3, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "png": (".png", 4, []),
        "webp": (".webp", 3, [cv2.IMWRITE_WEBP_QUALITY, 80]),
        "webp with alpha": (".webp", 4, [cv2.IMWRITE_WEBP_QUALITY, 80]),
        "lossless webp": (".webp", 4, [cv2.IMWRITE_WEBP_QUALITY, 101]),
    }
    return {name: cv2.imencode(s, image[..., :n], options)[1].tobytes() for name, (s, n, options) in kinds.items()}


@needs_node
def test_sizes_are_read_from_headers() -> None:
    files = {
        **pictures_of((37, 300)),
        "cut short": pictures_of((37, 300))["jpeg"][:30],
        "junk": b"GIF89a, but not really",
        "empty": b"",
    }
    script = """
      const { imageSize } = await import(page + '/photo.js');
      console.log(JSON.stringify(Object.fromEntries(Object.entries(given).map(([k, v]) => [k, imageSize(bytes(v))]))));
    """
    found = by_node(script, {name: base64.b64encode(data).decode() for name, data in files.items()})
    assert found == {name: [300, 37] if name in pictures_of((37, 300)) else None for name in files}


# Building.


@pytest.fixture(scope="module")
def previews(bundle: ModelBundle, looks: list[Look]) -> dict[str, bytes]:
    return look_previews(bundle, looks)


def _needs_registry() -> None:
    """Skips where npm reaches no packages: what is tested is the site, not the network."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is missing")
    try:
        asked = subprocess.run([npm, "view", "onnxruntime-web", "version"], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip("npm waits for its registry in vain")
    if asked.returncode:
        pytest.skip("npm reaches no registry")


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> Path:
    return built_site(tmp_path_factory, bundle, looks, previews, regions=False)


@pytest.fixture(scope="module")
def built_with_regions(
    tmp_path_factory: pytest.TempPathFactory, bundle: ModelBundle, looks: list[Look], previews: dict[str, bytes]
) -> Path:
    return built_site(tmp_path_factory, bundle, looks, previews, regions=True)


def built_site(factory: pytest.TempPathFactory, *parts: Any, regions: bool) -> Path:
    """A new site of a bundle, looks and previews, in a folder of its own."""
    _needs_registry()
    folder = factory.mktemp("web") / "site"
    site.build_site(folder, *parts, regions=regions)
    return folder


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


# The site in a browser.


class Handler(SimpleHTTPRequestHandler):
    """As a web host: the site with the right types, and `/blank` for pages of the tests' own."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".mjs": "text/javascript"}  # noqa: RUF012
    extra: tuple[tuple[str, str], ...] = ()

    def do_GET(self) -> None:
        if self.path not in ("/blank", "/favicon.ico"):
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(BLANK)

    def end_headers(self) -> None:
        for name, value in self.extra:
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


def headers_of(folder: Path) -> tuple[tuple[str, str], ...]:
    """Those that a host which reads `_headers` sends with every file."""
    first, *lines = (folder / site.HEADERS).read_text().splitlines()
    assert first == "/*"
    return tuple((name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines))


def complaints(message: Any) -> list[str]:
    """Of a line in the console; that nothing is elsewhere is as it should be."""
    wrong = message.type == "error" and "/elsewhere/" not in message.location["url"]
    return [f"{message.location['url']}: {message.text}"] if wrong else []


@dataclass(frozen=True)
class Site:
    """A page on a served site. `call(script, given)` runs a script in it, with DECODE's functions at hand."""

    page: Any
    problems: list[str]
    regions: bool

    def call(self, script: str, given: object = None) -> Any:
        return self.page.evaluate(f"async (given) => {{ {DECODE} {script} }}", given)


@pytest.fixture(scope="module")
def browser(street: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """With a camera that shows the street."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    frame = np.ascontiguousarray(street[:360, :640])
    clip = write_mjpeg(tmp_path_factory.mktemp("camera") / "street.mjpeg", [frame])
    with playwright() as running, chromium(running, *WEBGL, *camera(clip)) as started:
        yield started


@pytest.fixture(scope="module", params=["plain", "isolated"])
def served(request: pytest.FixtureRequest, browser: Any) -> Iterator[Site]:
    """On a host that sends no headers, where the networks have one thread, and, with regions, on one that sends the
    site's."""
    regions = request.param == "isolated"
    folder: Path = request.getfixturevalue("built_with_regions" if regions else "built")
    handler = type("Host", (Handler,), {"extra": headers_of(folder) if regions else ()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page, problems = browser.new_page(viewport={"width": 320, "height": 180}), list[str]()
    page.set_default_timeout(30000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.extend(complaints(message)))
    page.goto(f"http://127.0.0.1:{server.server_port}/blank")
    assert page.evaluate("crossOriginIsolated") is (request.param == "isolated")
    yield Site(page, problems, regions)
    page.close()
    server.shutdown()
    server.server_close()
    assert problems == []


def test_the_networks_give_what_onnxruntime_gives(
    served: Site, bundle: ModelBundle, looks: list[Look], streets: list[np.ndarray]
) -> None:
    noise = np.random.default_rng(5).integers(0, 256, streets[0].shape, dtype=np.uint8)
    thumbnails = [streets[0], streets[5], noise]
    script = """
      const { Networks } = await import('/page/networks.js');
      const networks = await Networks.open(location.origin + '/', given.regions, crossOriginIsolated ? 2 : 1);
      const { NO_REGIONS } = await import('/page/regions.js');
      const out = { grids: [], bare: [], looks: [] };
      for (const thumbnail of given.thumbnails.map(bytes)) {
        const regions = await networks.segment(thumbnail);
        for (const look of given.looks.map(decodedLook)) {
          out.grids.push(text(await networks.predict(thumbnail, regions, look)));
          out.bare.push(text(await networks.predict(thumbnail, NO_REGIONS, look)));
        }
        const { names, codes, tones } = await networks.encode(thumbnail);
        out.looks.push({ names, codes: text(codes), tones: text(tones) });
      }
      return out;
    """
    sent = {"thumbnails": [text_of(x) for x in thumbnails], "looks": [site.look_as_json(look) for look in looks]}
    found = served.call(LOOKS + script, {**sent, "regions": served.regions})
    segmenter = bundle.segmenter if served.regions else None
    bare, wanted = (
        [Stylizer(bundle, look, segmenter=own).predict(Frame(x, 0.0, 0)) for x in thumbnails for look in looks]
        for own in (None, segmenter)
    )
    assert np.abs(np.array([decoded(text) for text in found["bare"]]) - np.reshape(bare, (9, -1))).max() < 1e-3
    far = np.abs(np.array([decoded(text) for text in found["grids"]]) - np.reshape(wanted, (9, -1)))
    assert far.max() < (2e-3 if served.regions else 1e-3)  # what the segmenter is off by is made more by believing it
    for one, x in zip(found["looks"], thumbnails, strict=True):
        look = make_look(bundle, "", x, None if segmenter is None else find_regions(segmenter, x))
        assert tuple(one["names"]) == look.names
        assert np.abs(decoded(one["tones"]) - look.tones.ravel()).max() < 1e-3
        assert np.abs(decoded(one["codes"]) - look.codes.ravel()).max(initial=0) < 1e-3
    assert len(found["looks"][0]["names"]) > 2 or not served.regions
    assert np.abs(np.subtract(wanted[0], wanted[1])).max() > 0.05  # looks differ


def smoothed(bundle: ModelBundle, steps: list[tuple[np.ndarray, float, Look]], regions: bool) -> list[np.ndarray]:
    """What Python predicts for thumbnails, seconds and looks, one after another."""
    stylizer = StylizerSettings(bundle.segmenter if regions else None).stylizer(bundle, steps[0][2])
    grids = []
    for thumbnail, seconds, look in steps:
        stylizer.look = look
        grids.append(stylizer.predict(Frame(thumbnail, seconds, 0)).ravel())
    return grids


def test_a_cross_fade_is_pythons_and_ends_at_the_new_look(
    served: Site, bundle: ModelBundle, looks: list[Look], streets: list[np.ndarray]
) -> None:
    """Smoothing, a cut and a fade behind the predictor's face, frame by frame."""
    thumbnails = [*streets[:4], streets[5], streets[5], streets[5], streets[5]]
    times = [1000.0, 1050, 1100, 1150, 1200, 1300, 1400, 30000]
    script = f"""
      {PREDICTOR}
      const grids = [await predicted(bytes(given.thumbnails[0]), given.times[0])];
      await predictor.setLook(given.name, 0.25);
      for (let i = 1; i < given.times.length; i++) {{
        grids.push(await predicted(bytes(given.thumbnails[i]), given.times[i]));
      }}
      const unknown = await predictor.setLook('no such look', 0).catch((error) => error.message);
      predictor.close();
      return {{ hello, grids, unknown, closed: predictor.predict(bytes(given.thumbnails[0]), 0) }};
    """
    sent = {"thumbnails": [text_of(x) for x in thumbnails], "times": times, "name": NAMES[1]}
    found = served.call(script, sent)
    assert found["hello"]["size"] == bundle.manifest.thumbnail
    assert found["hello"]["grid"] == [8, 16, 16, 12]
    assert found["hello"]["model"] == bundle.manifest.model
    assert [look["name"] for look in found["hello"]["looks"]] == list(NAMES)
    assert [info["time"] for info in found["grids"]] == times
    assert "no look named no such look" in found["unknown"]
    assert found["closed"] is False
    a, b = looks[:2]
    way = [0, 0, 0.2, 0.4, 0.6, 1, 1, 1]
    steps = zip(thumbnails, np.divide(times, 1000), (mix_looks(a, b, w, "") for w in way), strict=True)
    wanted = np.array(smoothed(bundle, list(steps), served.regions))
    grids = np.array([decoded(info["grid"], np.float16) for info in found["grids"]], np.float32)
    assert np.abs(grids - wanted).max() < 1.5e-3  # of which half floats up to 2 have 0.5e-3
    alone = smoothed(bundle, [(streets[5], 0.0, b)], served.regions)[0]
    assert np.abs(grids[-1] - alone).max() < 1.5e-3
    assert np.abs(grids[1] - grids[-1]).max() > 0.05


def test_a_photograph_becomes_a_look(served: Site, bundle: ModelBundle, streets: list[np.ndarray]) -> None:
    """Of the size of a thumbnail, so that the network sees what Python's sees."""
    reference = np.clip(streets[5] * np.array([1.3, 0.8, 0.4]), 0, 255).astype(np.uint8)
    data = cv2.imencode(".png", reference[..., ::-1])[1]
    script = f"""
      {PREDICTOR}
      const file = new File([bytes(given.png)], 'evening.png');
      const looks = [await predictor.addLook(file), await predictor.addLook(file)];
      const image = new Image();
      image.src = looks[0].preview;
      await image.decode();
      await predictor.setLook(looks[0].name, 0);
      return {{ looks, width: image.width, grid: (await predicted(bytes(given.thumbnail), 0)).grid }};
    """
    found = served.call(script, {"png": text_of(data), "thumbnail": text_of(streets[0])})
    assert [look["name"] for look in found["looks"]] == ["evening", "evening 2"]
    assert found["width"] == bundle.manifest.thumbnail
    segmenter = bundle.segmenter if served.regions else None
    look = make_look(bundle, "evening", reference, None if segmenter is None else find_regions(segmenter, reference))
    wanted = smoothed(bundle, [(streets[0], 0.0, look)], served.regions)[0]
    assert np.abs(decoded(found["grid"], np.float16) - wanted).max() < 1.5e-3


def test_one_prediction_at_a_time(served: Site, streets: list[np.ndarray]) -> None:
    script = f"""
      {PREDICTOR}
      const first = predicted(bytes(given), 0);
      const second = predictor.predict(bytes(given), 1);
      const {{ time, milliseconds }} = await first;
      const third = await predicted(bytes(given), 2);
      return {{ second, time, milliseconds, third: third.time }};
    """
    found = served.call(script, text_of(streets[0]))
    assert (found["second"], found["time"], found["third"]) == (False, 0, 2)
    assert 0 < found["milliseconds"] < 10000


def test_thumbnails_are_the_mean_over_the_exact_area(served: Site, bundle: ModelBundle, street: np.ndarray) -> None:
    """Large and small ones of any shape; what is transparent lies on white."""
    large, small = street, cv2.resize(street, (120, 80), interpolation=cv2.INTER_AREA)
    alpha = np.dstack([large, np.full(large.shape[:2], 255, np.uint8)])
    alpha[:200, :300] = (10, 20, 30, 0)
    white = large.copy()
    white[:200, :300] = 255
    script = """
      const { thumbnailOf } = await import('/page/photo.js');
      const out = [];
      for (const file of given) {
        const options = { colorSpaceConversion: 'none' };
        out.push(text(thumbnailOf(await createImageBitmap(new Blob([bytes(file)]), options), 256)));
      }
      return out;
    """
    swapped = (large[..., ::-1], small[..., ::-1], alpha[..., [2, 1, 0, 3]])
    found = served.call(script, [text_of(cv2.imencode(".png", image)[1]) for image in swapped])
    for text, image in zip(found, (large, small, white), strict=True):
        thumbnail = decoded(text, np.uint8).reshape(256, 256, 3).astype(int)
        # Python's, for speed, is the mean over the exact area by and large; browsers enlarge with coarse weights.
        assert np.abs(thumbnail - bundle.thumbnail(image)).mean() < 1.5
        if image is not small:
            assert np.abs(thumbnail - cv2.resize(image, (256, 256), interpolation=cv2.INTER_AREA)).max() <= 1


def test_a_photograph_is_turned_upright(served: Site) -> None:
    """As phones write them: 40x20 pixels, and a note to turn them by a quarter."""
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 120, 40)).save(file, "jpeg", exif=exif)
    script = f"""
      {PREDICTOR}
      const image = new Image();
      image.src = (await predictor.addLook(new Blob([bytes(given)]))).preview;
      await image.decode();
      return [image.width, image.height];
    """
    assert served.call(script, base64.b64encode(file.getvalue()).decode()) == [20, 40]


def test_what_is_no_photograph_is_refused_in_plain_words(served: Site, streets: list[np.ndarray]) -> None:
    png = cv2.imencode(".png", streets[0])[1].tobytes()
    bomb = bytearray(png)
    bomb[16:24] = (60000).to_bytes(4, "big") * 2
    files = [b"just words", b"", bytes(bomb), png[:100]]
    script = f"""
      {PREDICTOR}
      const files = given.map((file) => new Blob([bytes(file)]));
      files.push(new Blob([new Uint8Array((16 << 20) + 1)]));
      const said = [];
      for (const file of files) said.push(await predictor.addLook(file).then(() => 'taken', (error) => error.message));
      return said;
    """
    said = served.call(script, [base64.b64encode(data).decode() for data in files])
    assert ["no photo" in said[0], "no photo" in said[1], "60000 x 60000" in said[2]] == [True] * 3
    assert "damaged" in said[3]
    assert "16 MiB" in said[4]


def test_a_site_that_is_not_whole_is_said_in_plain_words(served: Site) -> None:
    script = """
      const { LocalPredictor } = await import('/page/local_predictor.js');
      const predictor = new LocalPredictor(location.origin + '/elsewhere/');
      return predictor.start().then(() => 'started', (error) => error.message);
    """
    assert "/elsewhere/site.json cannot be loaded (404)" in served.call(script)


SHOWN = f"""async () => {{ {DECODE}
  const {{ renderer }} = window.hueglass;
  const strength = renderer.strength;
  const read = (wanted) => {{
    renderer.strength = wanted;
    const {{ width, height, pixels }} = renderer.readPixels();
    return {{ width, height, pixels: text(pixels) }};
  }};
  return {{ plain: read(0), styled: read(strength), grid: text(renderer.grid.values) }};
}}"""
"""What the page draws of a frame without and with the look, and the grid: in one task, so that they belong together."""


def shown(page: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    answer = page.evaluate(SHOWN)
    grid = decoded(answer["grid"], np.float16).astype(np.float32).reshape(bilateral.GRID_SHAPE)
    return picture_of(answer["plain"]), picture_of(answer["styled"]), grid


def next_grid(page: Any, before: np.ndarray) -> np.ndarray:
    """The first that is far from the one before."""
    end = time.monotonic() + 60
    while np.abs((grid := shown(page)[2]) - before).mean() < 0.02:
        assert time.monotonic() < end, f"the grid stays; the page says {page.inner_text('body')!r}"
        page.wait_for_timeout(50)
    return grid


def test_the_page_restyles_the_camera_by_itself(served: Site, street: np.ndarray, tmp_path: Path) -> None:
    """The whole site: the canvas is the numpy reference's, and looks and photographs change it."""
    page = served.page
    page.goto(page.url.replace("/blank", "/"))
    until(page, "window.hueglass?.counts.predicted > 1", 60)
    assert page.evaluate("window.hueglass.predictor.constructor.name") == "LocalPredictor"
    assert page.locator("#looks [data-look]").count() == len(NAMES)
    plain, styled, first = shown(page)
    difference = np.abs(bilateral.render(first, plain).astype(int) - styled).max(-1)
    assert (difference > 2).mean() < 0.001
    assert np.abs(plain.astype(int) - styled).mean() > 5
    page.evaluate(f"document.querySelector('[data-look={NAMES[1]}]').click()")
    second = next_grid(page, first)
    cv2.imwrite(str(tmp_path / "red.png"), (street * np.array([1, 0.4, 0.3]))[..., ::-1])
    page.set_input_files("#photos", str(tmp_path / "red.png"))
    until(page, f"document.querySelectorAll('[data-look]').length === {len(NAMES) + 1}", 60)
    next_grid(page, second)
