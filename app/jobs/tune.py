"""What `train --tune` does: make a look of one photograph and improve it on frames like those it will be used on."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hueglass.commands.train import TuneOptions
from hueglass.datasets.photos import load_photos, street_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.media.images import READ_SUFFIXES, read_image
from hueglass.infer.media.source import open_source, spread_frames
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import SUFFIX, make_look, write_look
from hueglass.infer.regions.masks import read_mask, regions_of
from hueglass.infer.regions.regions import no_regions
from hueglass.infer.regions.segmenter import find_regions
from hueglass.progress import progress_bar
from hueglass.train.student.tune import TuneConfig, TuningFrame, distance, tune
from hueglass.train.student.weights import load_weights

STREETS = 80
"""Generated frames to tune on where nobody gives any."""
FRAMES = 200
"""Of a clip, spread over it; of a folder, all."""
UNSEEN = 10
"""So many frames are kept back, to say what the tuning is worth."""


def tune_look(reference: Path, out: Path, options: TuneOptions) -> None:
    """Tune the look of `reference` on frames (a folder of pictures, a clip, or generated streets) into `out`.

    Regions come from the model's segmenter where it has one, the reference's from a mask if given.
    """
    bundle, frames, mask = options.open_bundle(), options.frames, options.mask
    writable_place(out, (SUFFIX,))
    not_an_input(out, reference, *([mask] if mask is not None else []))
    image = read_image(reference)
    student, _, _ = load_weights(bundle.folder)
    style = _tuning_frame(image, bundle)
    if mask is not None:
        named = regions_of(read_mask(mask, image.shape[:2]), bundle.manifest.thumbnail // 2)
        style = TuningFrame(style.thumbnail, named)
    look = make_look(bundle, out.stem, image, style.regions)
    taken = [_tuning_frame(frame, bundle) for frame in _frames(frames, bundle.manifest.thumbnail)]
    if len(taken) <= UNSEEN:
        raise UsageError(f"{frames}: {len(taken)} frames, expected more than {UNSEEN}")
    order = np.random.default_rng(0).permutation(len(taken))
    unseen, seen = ([taken[i] for i in part] for part in (order[:UNSEEN], order[UNSEEN:]))
    with progress_bar(counted=False) as bar:
        task = bar.add_task(str(out), total=1.0)
        began = time.monotonic()
        tuned = tune(
            student,
            look,
            style,
            seen,
            TuneConfig(minutes=options.minutes),
            lambda done, loss: bar.update(task, completed=done, description=f"{out}: loss {loss:.4f}"),
        )
    write_look(out, tuned)
    print(f"{out}: tuned on {len(seen)} frames in {(time.monotonic() - began) / 60:.1f} minutes")
    for shown, how in ((True, "with regions"), (False, "without")):
        before, after = (distance(student, x, style, unseen, shown) for x in (look, tuned))
        print(f"  swd on {len(unseen)} unseen frames {how}: {before:.2f} before, {after:.2f} after")


def _tuning_frame(image: np.ndarray, bundle: ModelBundle) -> TuningFrame:
    thumbnail = bundle.thumbnail(image)
    empty = no_regions(bundle.manifest.thumbnail // 2)
    return TuningFrame(thumbnail, empty if bundle.segmenter is None else find_regions(bundle.segmenter, thumbnail))


def _frames(path: Path | None, side: int) -> Iterator[np.ndarray]:
    """Pictures (H, W, 3) of a folder or a clip, or of generated streets; of a clip one at a time is in memory."""
    if path is None:
        yield from (photo.image for photo in street_photos(STREETS, side))
    elif path.is_dir():
        yield from (photo.image for photo in load_photos(path, 2 * side))
    elif path.suffix.lower() in READ_SUFFIXES:
        raise UsageError(f"{path}: is one picture, expected a folder of them or a clip")
    else:
        with open_source(path) as clip:
            yield from (frame.image for frame in spread_frames(clip, FRAMES, most=2 * FRAMES))
