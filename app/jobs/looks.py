"""Looks of photographs and of names: what the commands `look make` and `look mix` do, and what others need of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.media.images import IMAGE_SUFFIXES, read_image, write_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import SUFFIX, Look, find_look, make_look, mix_looks, write_look
from hueglass.infer.regions.drawing import drawn_regions
from hueglass.infer.regions.masks import Mask, read_mask, regions_of
from hueglass.infer.regions.regions import Regions
from hueglass.infer.regions.segmenter import Segmenter, find_regions


@dataclass(frozen=True)
class LookParts:
    """Which part of a reference is what: by its `mask`, of which `named` gives labels other names as NAME=LABEL, or by
    the segmenter; and where a picture of it goes."""

    mask: Path | None = None
    named: Sequence[str] = ()
    segmenter: Segmenter | None = None
    show: Path | None = None


def make_look_file(reference: Path, out: Path, parts: LookParts, bundle: ModelBundle) -> None:
    """The look of a photograph to a .look file."""
    writable_place(out, (SUFFIX,))
    not_an_input(out, reference, *([parts.mask] if parts.mask is not None else []))
    if parts.named and parts.mask is None:
        raise UsageError("--region names the labels of a mask, expected --mask FILE as well")
    check_shown(parts.show, out, reference, parts.mask)
    image = read_image(reference)
    regions = regions_in(image, parts.mask, parts.segmenter, bundle, parts.named)
    show_regions(parts.show, image, regions)
    write_look(out, make_look(bundle, out.stem, image, regions))


def check_shown(path: Path | None, target: Path, *inputs: Path | str | None) -> None:
    """UsageError if a picture of regions cannot be written there, or `target` is to be."""
    if path is not None:
        writable_place(path, IMAGE_SUFFIXES)
        if path.resolve() == target.resolve():
            raise UsageError(f"{path}: is the other output as well, expected a file of its own")
        not_an_input(path, *(name for name in inputs if name is not None))


def show_regions(path: Path | None, image: np.ndarray, regions: Regions | None) -> None:
    """A picture of what was found to `path`. UsageError if nobody was asked to find any."""
    if path is None:
        return
    if regions is None:
        raise UsageError(f"{path}: there are no regions to show, expected --auto-regions, --segmenter or a mask")
    write_image(path, drawn_regions(image, regions))


def mix_look_file(first: str, second: str, weight: float, out: Path, bundle: ModelBundle) -> None:
    """A look between two others, embedded or in files, to a .look file."""
    writable_place(out, (SUFFIX,))
    a, b = (find_look(name, bundle.manifest) for name in (first, second))
    write_look(out, mix_looks(a, b, weight, out.stem))


def _rename(mask: Mask, named: Sequence[str]) -> Mask:
    """The mask with its labels renamed by NAME=LABEL; labels that get the same name become one."""
    names = list(mask.names)
    examples = ", ".join(names) if len(names) < 10 else f"{', '.join(names[:9])}, ..."
    for pair in named:
        name, equals, label = pair.partition("=")
        if not (name and equals and label in mask.names):
            raise UsageError(f"--region {pair}: expected NAME=LABEL with a label of the mask ({examples})")
        names[mask.names.index(label)] = name
    joined = np.array([names.index(name) for name in names], np.uint8)
    return Mask(joined[mask.labels], tuple(names))


def look_of(style: Path | str, mask: Path | None, segmenter: Segmenter | None, bundle: ModelBundle) -> Look:
    """The look of that name, or the one of a reference photograph with its mask's, the segmenter's or no regions."""
    if isinstance(style, str):
        return find_look(style, bundle.manifest)
    reference = read_image(style)
    return make_look(bundle, style.stem, reference, regions_in(reference, mask, segmenter, bundle))


def regions_in(
    image: np.ndarray, mask: Path | None, segmenter: Segmenter | None, bundle: ModelBundle, named: Sequence[str] = ()
) -> Regions | None:
    """Those of a picture by its mask file, else by the segmenter, else None."""
    if mask is not None:
        return regions_of(_rename(read_mask(mask, image.shape[:2]), named), bundle.manifest.thumbnail // 2)
    return None if segmenter is None else find_regions(segmenter, bundle.thumbnail(image))
