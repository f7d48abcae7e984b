"""What the commands `photo` and `look` do, and what other commands need of it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from hueglass.infer.errors import UsageError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.media.images import IMAGE_SUFFIXES, read_image, write_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import SUFFIX, Look, find_look, make_look, mix_looks, unmatched, write_look
from hueglass.infer.regions.masks import Mask, read_mask, regions_of
from hueglass.infer.regions.regions import Regions
from hueglass.infer.regions.segmenter import Segmenter, find_regions, open_segmenter
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.stylizer import Stylizer

console = Console(stderr=True)


def convert_photo(
    source: Path,
    target: Path,
    style: Path | str,
    masks: tuple[Path, Path] | None,
    segmenter: Segmenter | None,
    strength: Strength,
    bundle: ModelBundle,
) -> None:
    """`source` in the light of `style` (a photograph's path or a look's name), to `target`.

    Regions are matched by `masks` of both, by a segmenter, or not at all.
    """
    writable_place(target, IMAGE_SUFFIXES)
    not_an_input(target, source, style, *(masks or ()))
    if masks is not None and not isinstance(style, Path):
        raise UsageError("masks need a reference photograph, expected --style PHOTO instead of --look")
    image = read_image(source)
    look = look_of(style, masks and masks[1], segmenter, bundle)
    regions = _regions(image, masks and masks[0], segmenter, bundle)
    check_strength(strength, () if regions is None else regions.names, masks is not None or segmenter is not None)
    if masks is not None and regions is not None and (missing := unmatched(look, regions)):
        warn(f"{masks[0]}: not in the reference: {', '.join(missing)}; takes the light of all of the reference")
    write_image(target, Stylizer(bundle, look, strength)(Frame(image, 0.0, 0), regions).image)


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
    regions = _regions(image, mask, segmenter, bundle, named)
    write_look(out, make_look(bundle, out.stem, image, regions))


def mix_look_file(first: str, second: str, weight: float, out: Path, bundle: ModelBundle) -> None:
    """A look between two others, embedded or in files, to a .look file."""
    writable_place(out, (SUFFIX,))
    a, b = (find_look(name, bundle.manifest) for name in (first, second))
    write_look(out, mix_looks(a, b, weight, out.stem))


def choose_segmenter(
    auto: bool, graph: Path | None, labels: Path | None, bundle: ModelBundle, drawn: bool = False
) -> Segmenter | None:
    """The segmenter that the options ask for: the bundle's, the user's own, or none.

    UsageError if they disagree, or if masks are `drawn` that say already what is what.
    """
    if drawn and (auto or graph is not None):
        raise UsageError("masks say what --auto-regions or --segmenter would find, expected one of them")
    if (graph is None) != (labels is None):
        raise UsageError("--segmenter and --labels belong together, expected both or neither")
    if graph is not None and labels is not None:
        return open_segmenter(graph, labels, bundle.manifest.thumbnail // 2)
    if auto and bundle.segmenter is None:
        raise UsageError(f"{bundle.folder}: this model has no segmenter, expected --segmenter FILE --labels FILE")
    return bundle.segmenter if auto else None


def check_strength(strength: Strength, names: Sequence[str], known: bool) -> None:
    """UsageError if a region that has a strength of its own cannot be there."""
    if strength.regions and not known:
        raise UsageError("--region needs to know where regions are, expected --auto-regions, --segmenter or --masks")
    for name in strength.regions:
        if name not in names:
            raise UsageError(f"--region {name}: no such region, expected one of {', '.join(names) or 'none'}")


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
    return make_look(bundle, style.stem, reference, _regions(reference, mask, segmenter, bundle))


def _regions(
    image: np.ndarray, mask: Path | None, segmenter: Segmenter | None, bundle: ModelBundle, named: Sequence[str] = ()
) -> Regions | None:
    """Those of a picture by its mask file, else by the segmenter, else None."""
    if mask is not None:
        return regions_of(_rename(read_mask(mask, image.shape[:2]), named), bundle.manifest.thumbnail // 2)
    return None if segmenter is None else find_regions(segmenter, bundle.thumbnail(image))


def warn(message: str) -> None:
    console.print(f"hueglass: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
