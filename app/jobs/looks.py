"""Looks of photographs and of names: what the commands `look make` and `look mix` do, and what others need of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hueglass.infer.errors import UsageError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.media.images import read_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import SUFFIX, Look, find_look, make_look, mix_looks, write_look
from hueglass.infer.regions.masks import Mask, read_mask, regions_of
from hueglass.infer.regions.regions import Regions
from hueglass.infer.regions.segmenter import Segmenter, find_regions


def make_look_file(
    reference: Path,
    out: Path,
    mask: Path | None,
    named: list[str],
    segmenter: Segmenter | None,
    bundle: ModelBundle,
) -> None:
    """The look of a photograph to a .look file; `named` gives labels of the mask other names, as NAME=LABEL."""
    writable_place(out, (SUFFIX,))
    not_an_input(out, reference, *([mask] if mask is not None else []))
    if named and mask is None:
        raise UsageError("--region names the labels of a mask, expected --mask FILE as well")
    image = read_image(reference)
    regions = regions_in(image, mask, segmenter, bundle, named)
    write_look(out, make_look(bundle, out.stem, image, regions))


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
