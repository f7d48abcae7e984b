"""What the command `photo` does: one photograph in the light of another, or of a look."""

from pathlib import Path

from hueglass.commands.photo import PhotoOptions
from hueglass.infer.errors import UsageError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.media.images import IMAGE_SUFFIXES, read_image, write_image
from hueglass.infer.model.look import unmatched
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.progress import warn

from .looks import check_shown, look_of, regions_in, show_regions


def convert_photo(source: Path, target: Path, options: PhotoOptions) -> None:
    """`source` in the light that the options choose, to `target`.

    Regions are matched by masks of both, by a segmenter, or not at all.
    """
    style, masks = options.choice(), options.masks
    bundle = options.open_bundle()
    segmenter = options.find_segmenter(bundle, drawn=masks is not None)
    writable_place(target, IMAGE_SUFFIXES)
    not_an_input(target, source, style, *(masks or ()))
    check_shown(options.show_regions, target, source, style, *(masks or ()))
    if masks is not None and not isinstance(style, Path):
        raise UsageError("masks need a reference photograph, expected --style PHOTO instead of --look")
    image = read_image(source)
    look = look_of(style, masks and masks[1], segmenter, bundle)
    regions = regions_in(image, masks and masks[0], segmenter, bundle)
    show_regions(options.show_regions, image, regions)
    strength = options.strengths(regions)
    if masks is not None and regions is not None and (missing := unmatched(look, regions)):
        warn(f"{masks[0]}: not in the reference: {', '.join(missing)}; takes the light of all of the reference")
    write_image(target, Stylizer(bundle, look, strength)(Frame(image, 0.0, 0), regions).image)
