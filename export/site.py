"""A static site that runs the networks in the page: any web host can serve it, and no frame leaves the device.

It holds the page, the networks, the looks, and onnxruntime-web, which npm brings in the versions that
`package-lock.json` names. `site.json` lists the looks, says whether regions are found, and marks a folder as such a
site.
"""

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import disk_errors
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look
from hueglass.infer.model.manifest import LOOK_ENCODER, MANIFEST, SEGMENTER, STUDENT, check_graph
from hueglass.infer.screen.web.headers import headers_file
from hueglass.infer.screen.web.page_files import PAGE

FORMAT = 1
"""Version of the site's lay-out."""
MARKER = "site.json"
HEADERS = "_headers"
"""For hosts that read it. Two of its lines give the networks threads; without them one does the work."""
PARTS = ("index.html", "page", "model", "looks", "vendor", MARKER, HEADERS)
"""All that a site holds. A folder with anything else in it is never replaced."""
PAGE_SUFFIXES = (".js", ".css", ".svg", ".png")
LOCKED = (Path(__file__).parent / "package.json", Path(__file__).parent / "package-lock.json")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""What of onnxruntime-web the page loads: the module for WebAssembly, its loader, and the program."""
NPM_SECONDS = 600
LOCAL = '<meta name="hueglass" content="local">'
"""By this the page knows that it predicts by itself."""
NO_NPM = "npm is missing, which brings onnxruntime-web: install Node.js 18 or newer"


def build_site(
    folder: Path, bundle: ModelBundle, looks: Sequence[Look], previews: Mapping[str, bytes], regions: bool = False
) -> None:
    """Write the site of a bundle and its looks to `folder`, whole or not at all; an older site there is replaced.

    `previews` has a JPEG file for the name of each look; with `regions`, the bundle's segmenter finds them. UsageError
    for a folder that is no such site, or looks that are none, share a name or are of another model; HueglassError for a
    failing npm or a full disk.
    """
    place = _place(folder)
    _check_looks(looks, bundle)
    with disk_errors(folder), _whole_folder(place) as site:
        _add_runtime(site / "vendor")
        _add_page(site)
        _add_model(site / "model", bundle, regions)
        _add_looks(site / "looks", looks, previews)
        (site / HEADERS).write_text(headers_file())
        marker = {"hueglass": FORMAT, "model": bundle.manifest.model, "regions": regions}
        marker["looks"] = [look.name for look in looks]
        (site / MARKER).write_text(json.dumps(marker, indent=1) + "\n")


def _place(folder: Path) -> Path:
    """Where `folder` really is; UsageError unless nothing, an empty folder or an older site is there."""
    place = Path(os.path.realpath(folder))
    if not place.parent.is_dir():
        raise UsageError(f"{folder}: folder {place.parent} does not exist")
    if not os.path.lexists(place):
        return place
    if not place.is_dir():
        raise UsageError(f"{folder}: is a file, expected a folder for the site")
    found = {path.name for path in place.iterdir()}
    if found and MARKER not in found:
        raise UsageError(f"{folder}: is no site made by hueglass, expected a new or an empty folder")
    if others := sorted(found - set(PARTS)):
        raise UsageError(f"{folder}: holds {others[0]}, which is not of the site and would be lost: move it elsewhere")
    return place


def _check_looks(looks: Sequence[Look], bundle: ModelBundle) -> None:
    names = [look.name for look in looks]
    if not names or len({*names}) < len(names):
        raise UsageError(f"looks {', '.join(names) or '(none)'}, expected at least one, each with a name of its own")
    for look in looks:
        # Names become files on hosts that may not tell capitals apart, and parts of addresses.
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", look.name):
            raise UsageError(f"look {look.name!r}: a site's looks are named by a-z, 0-9, - and _ alone")
        if look.model != bundle.manifest.model:
            raise UsageError(f"look {look.name}: made by {look.model}, this model is {bundle.manifest.model}")


@contextmanager
def _whole_folder(place: Path) -> Iterator[Path]:
    """A new folder beside `place`, which takes its place if the body succeeds, else is removed."""
    name = secrets.token_hex(6)
    fresh, old = place.with_name(f".{name}.part"), place.with_name(f".{name}.old")
    fresh.mkdir()
    try:
        yield fresh
        if place.exists():
            os.rename(place, old)
        os.rename(fresh, place)
    finally:
        if old.exists() and not place.exists():  # the second renaming failed or was interrupted
            os.rename(old, place)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _add_runtime(folder: Path) -> None:
    """onnxruntime-web as locked. No script of any package is run."""
    npm = shutil.which("npm")
    if npm is None:
        raise HueglassError(NO_NPM)
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="hueglass-web-") as name:
        for file in LOCKED:
            shutil.copy(file, name)
        _install(npm, Path(name))
        package = Path(name) / "node_modules" / "onnxruntime-web" / "dist"
        for part in RUNTIME:
            if not (package / part).is_file():
                raise HueglassError(f"npm ci: brought no {part}, expected onnxruntime-web as locked: try again")
            shutil.copyfile(package / part, folder / part)


def _install(npm: str, folder: Path) -> None:
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise HueglassError(f"npm ci: not done after {NPM_SECONDS} s: check the network and try again") from None
    except OSError as error:
        raise HueglassError(f"npm ci: cannot be run: {error.strerror}: install Node.js 18 or newer") from None
    if done.returncode:
        reason = _npm_reason(done.stderr or done.stdout) or f"status {done.returncode}"
        raise HueglassError(f"npm ci: {reason}: check the network, and that npm is 7 or newer")


def _npm_reason(said: str) -> str:
    """Of the many lines that a failing npm prints: the error's code, and the first one that is a sentence."""
    lines = [line.removeprefix("npm error").strip() for line in said.splitlines()]
    codes = [line.removeprefix("code ") for line in lines if line.startswith("code ")]
    sentences = [line for line in lines if line and line.split()[0] not in ("code", "errno", "syscall", "path", "dest")]
    return ", ".join([*codes[:1], *sentences[:1]])[:200]


def _add_page(site: Path) -> None:
    """The page as the server has it, told to predict by itself."""
    (site / "page").mkdir()
    for file in sorted(PAGE.iterdir()):
        if file.suffix in PAGE_SUFFIXES:
            shutil.copyfile(file, site / "page" / file.name)
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    marked, count = re.subn(r"<head\b[^>]*>", lambda head: f"{head[0]}\n{LOCAL}", html, count=1)
    if count != 1:
        raise HueglassError(f"{PAGE / 'index.html'}: has no <head>, expected the page as it was installed")
    (site / "index.html").write_text(marked, encoding="utf-8")


def _add_model(folder: Path, bundle: ModelBundle, regions: bool) -> None:
    folder.mkdir()
    for name in (STUDENT, LOOK_ENCODER, *((SEGMENTER,) if regions else ())):
        check_graph(bundle.folder, name, bundle.manifest)
        shutil.copyfile(bundle.folder / name, folder / name)
    shutil.copyfile(bundle.folder / MANIFEST, folder / MANIFEST)


def _add_looks(folder: Path, looks: Sequence[Look], previews: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for look in looks:
        (folder / f"{look.name}.json").write_text(json.dumps(look_as_json(look), indent=1) + "\n")
        (folder / f"{look.name}.jpg").write_bytes(previews[look.name])


def look_as_json(look: Look) -> dict[str, str | list[str] | list[float]]:
    """A whole look for the page: `tones` (tones, code) and `codes` (n, code) as base64 of little-endian float32."""
    tones, codes = (
        base64.b64encode(np.ascontiguousarray(x, dtype="<f4").tobytes()).decode() for x in (look.tones, look.codes)
    )
    shares = [1.0] * len(look.names) if look.shares is None else look.shares.tolist()
    return {
        "name": look.name,
        "model": look.model,
        "names": list(look.names),
        "shares": shares,
        "tones": tones,
        "codes": codes,
    }
