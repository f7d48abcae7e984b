"""Makes the embedded looks anew, for a new model: `python -m hueglass.export.looks DATA`.

Their references and the outlines of the references' regions stand in `configs/looks.yaml`.
"""

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

import hueglass.configs
from hueglass.infer.media.images import read_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import EMBEDDED_LOOKS, SUFFIX, Look, make_look, write_look
from hueglass.infer.regions.masks import Mask, regions_of

REST = "rest"
"""What no outline covers. No frame has a region of this name, so its code is never used."""


class Reference(BaseModel):
    """A photograph below the data folder; outlines of its regions, in shares of its width and height."""

    model_config = ConfigDict(extra="forbid")

    photo: str
    regions: dict[str, list[tuple[float, float]]]


def make_embedded_looks(data: Path, bundle: ModelBundle) -> None:
    """Write every look of `configs/looks.yaml` beside the embedded model."""
    text = (Path(hueglass.configs.__file__).parent / "looks.yaml").read_text()
    references = TypeAdapter(dict[str, Reference]).validate_python(yaml.safe_load(text))
    for name, reference in references.items():
        image = read_image(data / reference.photo)
        mask = outlined(reference, image.shape[:2])
        look = make_look(bundle, name, image, regions_of(mask, bundle.manifest.thumbnail // 2))
        write_look(EMBEDDED_LOOKS / f"{name}{SUFFIX}", split_names(look))


def outlined(reference: Reference, size: tuple[int, int]) -> Mask:
    """The mask (height, width) that the outlines of a reference paint."""
    labels = np.zeros(size, np.uint8)
    for index, outline in enumerate(reference.regions.values(), 1):
        corners = np.round(np.array(outline) * (size[1], size[0])).astype(np.int32)
        cv2.fillPoly(labels, [corners], index)
    return Mask(labels, (REST, *reference.regions))


def split_names(look: Look) -> Look:
    """The look with a code of its own for each of the names that share a region."""
    pairs = [
        (name, code)
        for names, code in zip(look.names, look.codes, strict=True)
        for name in names.split(",")
        if names != REST
    ]
    codes, names = np.stack([code for _, code in pairs]), tuple(name for name, _ in pairs)
    return replace(look, codes=codes, names=names)


if __name__ == "__main__":
    make_embedded_looks(Path(sys.argv[1]), ModelBundle())
