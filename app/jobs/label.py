"""What the command `label` does: soft region maps of pictures, by several teachers at once."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np

import hueglass.configs
from hueglass.commands.label import LabelOptions
from hueglass.config_file import read_config
from hueglass.datasets.masks import camvid_known
from hueglass.datasets.photos import PHOTO_LABELS, drawn_labels
from hueglass.datasets.region_labels import LabelStore, RegionLabel, in_bytes
from hueglass.datasets.scenes import Shown, names_in, shown_files, shown_in
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.resize import fitted
from hueglass.progress import tracked, warn
from hueglass.train.segmenter.ensemble import Ensemble, EnsembleConfig, with_labels
from hueglass.train.segmenter.teachers import MAP, open_teachers

FOLDERS = ("photos", "camvid/train", "camvid/val", "panoramas", "video")
"""What is labelled of a folder of data where nothing is said. CamVid's test split is left to measuring."""
WEIGHTS = "teachers.yaml"
LONGEST = 1024
"""Pixels of the longer side of what teachers are shown, twice what they look at."""


class UnreadableError(HueglassError):
    """One file cannot be read: the others can."""


def run_label(data: Path, folder: Path, options: LabelOptions) -> None:
    """Label what is left of all that is shown below `data`, into `folder`.

    A file that cannot be read is named, and the others go on; HueglassError at the end if there was one.
    """
    files = _files(data, options.folder)
    ensemble = _ensemble(options)
    with LabelStore(folder, {**ensemble.identity(), "map": MAP, "photo_labels": _digest(PHOTO_LABELS)}) as store:
        failed = 0
        for name, path in tracked(files.items(), "files", len(files)):
            try:
                _label_file(name, path, ensemble, store)
            except UnreadableError as error:
                warn(str(error))
                failed += 1
        done = len(store.done)
    print(f"{folder}: {done} pictures labelled")
    if failed:
        raise HueglassError(f"{failed} of {len(files)} files could not be read")


def _files(data: Path, folders: list[str] | None) -> dict[str, Path]:
    """The files to label by their names, which are their paths below `data`."""
    if not data.is_dir():
        raise UsageError(f"{data}: no such folder, expected the data")
    wanted = folders or [name for name in FOLDERS if (data / name).is_dir()] or ["."]
    paths = [path for name in wanted for path in shown_files(data / name)]
    return {path.relative_to(data).as_posix(): path for path in paths}


def _label_file(name: str, path: Path, ensemble: Ensemble, store: LabelStore) -> None:
    """Label what is left of all that a file shows. UnreadableError if it cannot be read."""
    digest = _digest(path)
    if all(_is_done(store, shown, digest) for shown in names_in(path, name)):
        return
    for shown, drawn in _read(path, name):
        if not _is_done(store, shown.name, digest):
            maps = ensemble(fitted(shown.image, LONGEST))
            maps = maps if drawn is None else with_labels(maps, drawn)
            store.add(RegionLabel(shown.name, digest, in_bytes(maps)))


def _read(path: Path, name: str) -> Iterator[tuple[Shown, np.ndarray | None]]:
    """All that a file shows, each with what people drew of it."""
    try:
        drawn = drawn_labels(path, camvid_known)
        for shown in shown_in(path, name):
            yield shown, drawn
    except HueglassError as error:
        raise UnreadableError(str(error)) from None


def _ensemble(options: LabelOptions) -> Ensemble:
    weights = options.weights or Path(hueglass.configs.__file__).with_name(WEIGHTS)
    config = read_config(weights, EnsembleConfig)
    teachers = open_teachers(options.teachers, ModelBundle(options.model_folder(), threads=1), options.threads)
    return Ensemble(teachers, config.belief([teacher.name for teacher in teachers]))


def _is_done(store: LabelStore, name: str, digest: str) -> bool:
    """UsageError if the store holds a label of another picture by that name."""
    if name in store.done and store.done[name] != digest:
        raise UsageError(f"{store.folder}: its label {name} is of another picture, expected a new folder")
    return name in store.done


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from None
