"""How far is each teacher to be believed? `python -m hueglass.train.segmenter.weigh_teachers DATA TEACHERS [OUT]`.

The labelled photographs that no training sees fall into two halves by their names. Weights fitted to the first are
written to OUT, `configs/teachers.yaml`. What is printed of photographs is measured on each half with the weights of the
other, so that none was fitted to what it is measured on; of CamVid, with the weights that are written. Half an hour.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

from hueglass.datasets.masks import UNKNOWN, camvid_known
from hueglass.datasets.photos import Photo, load_photos, split
from hueglass.infer.files import whole_file
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.regions import REGION_NAMES, Regions

from .ensemble import Belief, EnsembleConfig, Voice, combined, fitted_weights
from .samples import labelled
from .scores import confusion, intersection_over_union, name_pixels_of
from .teachers import MAP, open_teachers

SIDE = 512
"""Of the shorter side of labelled pictures."""
PERSON = REGION_NAMES.index("person")
CAMVID = ("camvid/val", "camvid/test")
POWERS = {"selfie": {"person": 0.4}}
"""Chosen on all of the same photographs: 0, 0.3, 0.4 and 0.5 make the IoU of persons .706, .737, .746 and .755 on those
with people, .63, .63, .63 and .61 on all, where bears are."""
HEAD = """\
# How far each teacher is believed of each region, by non-negative least squares on one half of the labelled photographs
# that no training sees: python -m hueglass.train.segmenter.weigh_teachers DATA TEACHERS configs/teachers.yaml
# Powers are chosen, see there.
"""


def halves(photos: list[Photo]) -> tuple[list[int], list[int]]:
    """The places of those that weights are fitted to and of the others, by the checksum that held them out."""
    first = [crc32(p.name.encode()) // 10 % 2 == 0 for p in photos]
    return [i for i, f in enumerate(first) if f], [i for i, f in enumerate(first) if not f]


def said_of(photos: list[Photo], teachers: Sequence[Voice]) -> np.ndarray:
    """What each teacher says of each picture: (pictures, teachers, 8, MAP, MAP)."""
    return np.stack([[teacher(photo.image) for teacher in teachers] for photo in photos])


def fitted(said: np.ndarray, photos: list[Photo], names: Sequence[str]) -> Belief:
    """Weights fitted to the labels of pictures, every pixel of the maps counting alike, for those without POWERS."""
    labels = [cv2.resize(_labels(p), (MAP, MAP), interpolation=cv2.INTER_NEAREST) for p in photos]
    votes = [i for i, name in enumerate(names) if name not in POWERS]
    by_teacher = np.moveaxis(said[:, votes], 0, 2).reshape(len(votes), len(REGION_NAMES), -1)
    table = fitted_weights(by_teacher, np.stack(labels).ravel()).round(3).tolist()
    weights = {names[i]: dict(zip(REGION_NAMES, row, strict=True)) for i, row in zip(votes, table, strict=True)}
    powers = {name: powers for name, powers in POWERS.items() if name in names}
    return EnsembleConfig(weights=weights, powers=powers).belief(names)


def crossed(said: np.ndarray, photos: list[Photo], names: Sequence[str]) -> np.ndarray:
    """Maps (pictures, 8, MAP, MAP) of the ensemble, of each half by the weights fitted to the other."""
    maps = np.empty((len(photos), *said.shape[2:]), np.float32)
    one, other = halves(photos)
    for seen, unseen in ((one, other), (other, one)):
        belief = fitted(said[seen], [photos[i] for i in seen], names)
        for i in unseen:
            maps[i] = combined(said[i], belief)
    return maps


def counts(photo: Photo, maps: np.ndarray) -> np.ndarray:
    """The `confusion` of maps (8, M, M) with a picture's labels, at its size; of whatever they say nothing, other."""
    whole = maps.copy()
    whole[REGION_NAMES.index("other")] += np.maximum(0, 1 - maps.sum(0))
    return confusion(_labels(photo), name_pixels_of(Regions(whole, REGION_NAMES), photo.image.shape[:2]))


def report(title: str, rows: dict[str, np.ndarray]) -> None:
    """Prints mean IoU and that of every region, from confusions by name."""
    print(f"\n{title:24}  mean " + " ".join(f"{name[:5]:>5}" for name in REGION_NAMES))
    for name, found in rows.items():
        each = intersection_over_union(found)
        print(f"{name:24} {np.nanmean(each):5.3f} " + " ".join(f"{value:5.2f}" for value in each), flush=True)


def report_photos(photos: list[Photo], said: np.ndarray, teachers: Sequence[Voice]) -> None:
    """On all labelled photographs held out, and on those of them that show people."""
    names = [teacher.name for teacher in teachers]
    maps = {name: said[:, i] for i, name in enumerate(names)} | {"ensemble": crossed(said, photos, names)}
    each = {name: np.stack([counts(p, m) for p, m in zip(photos, found, strict=True)]) for name, found in maps.items()}
    report(f"{len(photos)} photographs", {name: found.sum(0) for name, found in each.items()})
    people = [i for i, p in enumerate(photos) if (_labels(p) == PERSON).any()]
    report(f"{len(people)} of them with people", {name: found[people].sum(0) for name, found in each.items()})


def report_frames(folder: Path, teachers: Sequence[Voice], belief: Belief) -> None:
    """On a split of CamVid, what it leaves unlabelled ignored."""
    photos = load_photos(folder, SIDE, camvid_known)
    names = [*(teacher.name for teacher in teachers), "ensemble"]
    found = {name: np.zeros((len(REGION_NAMES),) * 2, np.int64) for name in names}
    for photo in photos:
        said = said_of([photo], teachers)[0]
        for name, maps in zip(names, [*said, combined(said, belief)], strict=True):
            found[name] += counts(photo, maps)
    report(f"{len(photos)} frames, {folder.name}", found)


def text_of(belief: Belief, names: Sequence[str]) -> str:
    """The configuration of an ensemble."""
    return HEAD + "weights:\n" + _rows(belief.weights, names) + "powers:\n" + _rows(belief.powers, names)


def _rows(table: np.ndarray, names: Sequence[str]) -> str:
    """A row for each teacher that has a number above 0."""
    text = ""
    for name, row in zip(names, table, strict=True):
        pairs = [f"{region}: {number:.3f}" for region, number in zip(REGION_NAMES, row, strict=True) if number > 0]
        text += f"  {name}: {{{', '.join(pairs)}}}\n" if pairs else ""
    return text


def _labels(photo: Photo) -> np.ndarray:
    return np.full(photo.image.shape[:2], UNKNOWN, np.uint8) if photo.labels is None else photo.labels


def main(data: Path, folder: Path, out: Path | None) -> None:
    """Fits, writes, measures."""
    teachers = open_teachers(folder, ModelBundle(threads=1))
    _, photos = split(labelled(load_photos(data / "photos", SIDE)))
    said = said_of(photos, teachers)
    report_photos(photos, said, teachers)
    first = halves(photos)[0]
    belief = fitted(said[first], [photos[i] for i in first], [teacher.name for teacher in teachers])
    text = text_of(belief, [teacher.name for teacher in teachers])
    print(f"\nfitted to {len(first)} photographs\n{text}", flush=True)
    if out is not None:
        with whole_file(out) as temporary:
            temporary.write_text(text)
    for name in CAMVID:
        report_frames(data / name, teachers, belief)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
