"""What the command `evaluate segmenter` does: how well the regions of labelled frames are found."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hueglass.datasets.masks import UNKNOWN, camvid_known
from hueglass.datasets.photos import Photo, load_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.progress import tracked
from hueglass.train.segmenter import scores as segment_scores

MAX_SIDE = 1024
"""Of the shorter side of labelled frames."""


def evaluate_segmenter(frames: Path, bundle: ModelBundle) -> None:
    """Intersection over union of a bundle's segmenter on a folder of labelled frames, each at its own size.

    Of CamVid, what it leaves unlabelled is ignored, as usual there, and, beside that, counted as "other".
    UsageError for a folder without labels or a bundle without a segmenter.
    """
    if bundle.segmenter is None:
        raise UsageError(f"{bundle.folder}: this model has no segmenter")
    photos = [p for p in load_photos(frames, MAX_SIDE, camvid_known) if p.labels is not None]
    if not photos:
        raise UsageError(f"{frames}: nobody labelled these, expected a split of CamVid with its labels beside it")
    found = tracked(photos, "frames", len(photos))
    regions = ((bundle.segmenter(bundle.thumbnail(p.image)), p.image.shape[:2]) for p in found)
    named = [segment_scores.name_pixels_of(*pair) for pair in regions]
    kinds = {"IoU": photos, "unlabelled as other": [_void_as_other(p) for p in photos]}
    scores = {kind: segment_scores.scores(truth, named, "is") for kind, truth in kinds.items()}
    table = Table(title=f"{len(photos)} frames of {escape(str(frames))}", title_justify="left")
    for column in ("", *scores):
        table.add_column(column, justify="right" if column else "left")
    for name in scores["unlabelled as other"]:
        table.add_row(name.removeprefix("is_"), *(f"{s.get(name, float('nan')):.3f}" for s in scores.values()))
    Console().print(table)


def _void_as_other(photo: Photo) -> Photo:
    """A frame of CamVid with "other" where it is unlabelled. What nobody knows of a photograph stays unknown."""
    if photo.labels is None or not photo.filmed:
        return photo
    other = np.uint8(REGION_NAMES.index("other"))
    return replace(photo, labels=np.where(photo.labels == UNKNOWN, other, photo.labels))
