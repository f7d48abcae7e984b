"""What the command `teach` does: one photograph by the whole optimisation of Deep Photo Style Transfer."""

import warnings
from pathlib import Path

import numpy as np

from hueglass.commands.teach import TeachOptions
from hueglass.config_file import read_config
from hueglass.infer.errors import HueglassError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.media.images import IMAGE_SUFFIXES, read_image, write_image
from hueglass.infer.regions.masks import read_mask
from hueglass.progress import progress_bar
from hueglass.train.features import Features, load_features
from hueglass.train.teacher.config import TeacherConfig
from hueglass.train.teacher.regions import RegionPair, match_regions, reduced_mask, whole_pair
from hueglass.train.teacher.teacher import Taught, check_picture, teach

MASK_SIDE = 1024
"""Masks of larger photographs are reduced to this many pixels before they are compared."""


def teach_photo(content: Path, style: Path, target: Path, options: TeachOptions) -> None:
    """`content` in the light of `style`, to `target`, at the size of `content`."""
    writable_place(target, IMAGE_SUFFIXES)
    not_an_input(target, content, style, *(options.masks or ()))
    settings = _settings(options)
    pictures = [read_image(path) for path in (content, style)]
    for path, picture in zip((content, style), pictures, strict=True):
        check_picture(picture, str(path), settings.size)
    regions = _regions(pictures, options.masks)
    network = load_features(settings.features, options.weights, options.device)
    taught = _watched(content, pictures, regions, settings, network)
    write_image(target, taught.image)
    print(f"{target}: " + ", ".join(f"{name} {value:.3g}" for name, value in taught.losses.items()))


def _settings(options: TeachOptions) -> TeacherConfig:
    settings = TeacherConfig() if options.config is None else read_config(options.config, TeacherConfig)
    if options.features is None:
        return settings
    return TeacherConfig.model_validate(settings.model_dump() | {"features": options.features})


def _regions(pictures: list[np.ndarray], masks: tuple[Path, Path] | None) -> RegionPair:
    sizes = [(picture.shape[0], picture.shape[1]) for picture in pictures]
    if masks is None:
        return whole_pair((1, 1), (1, 1))
    read = [reduced_mask(read_mask(path, size), MASK_SIDE) for path, size in zip(masks, sizes, strict=True)]
    regions = match_regions(*read)
    if regions.unmatched:
        missing = ", ".join(regions.unmatched)
        warnings.warn(f"{masks[0]}: not in {masks[1]}: {missing}; takes the light of the whole style", stacklevel=1)
    return regions


def _watched(
    path: Path, pictures: list[np.ndarray], regions: RegionPair, settings: TeacherConfig, network: Features
) -> Taught:
    """`teach` with a progress bar; errors name the photograph."""
    with progress_bar() as bar:
        task = bar.add_task(path.name, total=sum(stage.evaluations for stage in settings.stages))
        try:
            content, style = pictures
            return teach(content, style, regions, settings, network, lambda done, _: bar.update(task, completed=done))
        except HueglassError as error:
            raise type(error)(f"{path}: {error}") from None
