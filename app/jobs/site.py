"""What the command `web build` does: the static site of a model and its looks."""

from collections.abc import Sequence
from pathlib import Path

from hueglass.export.site import build_site
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, embedded_looks, find_look
from hueglass.infer.regions.segmenter import Segmenter
from hueglass.infer.screen.web.shelf import Shelf
from hueglass.previews import street_picture


def build_web(folder: Path, names: Sequence[str], bundle: ModelBundle, segmenter: Segmenter | None = None) -> None:
    """Build the site to `folder`, with the looks of these names or files, or else all embedded ones; the page begins
    with the first, and finds regions if there is a `segmenter`, the bundle's. Prints how to try it. Errors as
    `build_site` and `find_look`."""
    looks = [find_look(name, bundle.manifest) for name in names or embedded_looks()]
    build_site(folder, bundle, looks, look_previews(bundle, looks, segmenter), segmenter is not None)
    print(f"{folder}: put it on any web host with HTTPS; to try it here: python -m http.server -d {folder}")


def look_previews(bundle: ModelBundle, looks: Sequence[Look], segmenter: Segmenter | None = None) -> dict[str, bytes]:
    """The generated street in each look, as JPEG files: what `serve` shows."""
    shelf = Shelf(bundle, looks, street_picture(), segmenter)
    return {entry["name"]: shelf.preview(entry["name"]) or b"" for entry in shelf.entries()}
