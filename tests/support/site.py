"""A static site for tests: built once, served as a web host does, and called from Python."""

import shutil
import subprocess
from dataclasses import dataclass, replace
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hueglass.export import site
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look
from hueglass.infer.scene.stylizer import StylizerSettings
from support.browser import bytes_of

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


def decoded(text: str, kind: type = np.float32) -> np.ndarray:
    return bytes_of(text).view(kind)


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


def built_site(factory: pytest.TempPathFactory, *parts: Any, regions: bool) -> Path:
    """A new site of a bundle, looks and previews, in a folder of its own."""
    _needs_registry()
    folder = factory.mktemp("web") / "site"
    site.build_site(folder, *parts, regions=regions)
    return folder


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


def smoothed(
    bundle: ModelBundle, steps: list[tuple[np.ndarray, float]], looks: tuple[Look, ...], regions: bool
) -> list[np.ndarray]:
    """What Python predicts for thumbnails and seconds, one after another, in the first look; of two the second one is
    faded to within a quarter of a second, from the second frame on."""
    stylizer = StylizerSettings(bundle.segmenter if regions else None).stylizer(bundle, looks[0])
    grids = []
    for index, (thumbnail, seconds) in enumerate(steps):
        if index == 1 and len(looks) == 2:
            stylizer.fade_to(looks[1], 0.25)
            assert stylizer._fade is not None
            stylizer._fade = replace(stylizer._fade, began=seconds)
        grids.append(stylizer.predict(Frame(thumbnail, seconds, 0)).ravel())
    return grids
