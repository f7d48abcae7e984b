"""How far is the segmenter believed? `python -m hueglass.train.segmenter.doubt DATA [BUNDLE]`, some minutes.

Pairs of photographs that no training sees and that people labelled: each is shown in the light of the other, by regions
as `confident` makes them with other constants, and the colours of what people named are compared from region to region.
`DATA/photos` holds the photographs.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path

import numpy as np

from hueglass.datasets.photos import Photo, load_photos, split
from hueglass.infer.frame import Frame
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import make_look
from hueglass.infer.regions.regions import DOUBT, REGION_NAMES, Doubt, Regions, confident, present
from hueglass.infer.resize import resized_square
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.train.metrics import swd

from .samples import labelled

PAIRS = 40
SIDE = 320
LEAST = 0.04
"""Of both photographs: a smaller region is not shared."""
CHOICES = (
    Doubt(1, 0, 0),
    Doubt(2, 0, 0),
    Doubt(4, 0, 0),
    *(Doubt(power, *edges) for power in (1, 2, 4) for edges in ((0.2, 0.6), (0.3, 0.8), (0.5, 0.9))),
)


@dataclass(frozen=True)
class LabelledPair:
    """A photograph, and another one whose light it is shown in."""

    content: Photo
    style: Photo

    @property
    def shared(self) -> list[int]:
        """The regions that people named in both."""
        shares = np.minimum(*(np.mean(drawn(photo), (1, 2)) for photo in self.both))
        return [int(region) for region in np.flatnonzero(shares > LEAST)]

    @property
    def both(self) -> tuple[Photo, Photo]:
        return self.content, self.style

    def distance(self, output: np.ndarray) -> float:
        """From the colours of what people named in the output (H, W, 3) uint8 to those in the style; see `metrics`."""
        maps, style_maps = (drawn(photo)[self.shared] for photo in self.both)
        ours, theirs = (np.asarray(image, np.float32) / 255 for image in (output, self.style.image))
        return swd(ours, maps, theirs, style_maps)


def drawn(photo: Photo) -> np.ndarray:
    """Where people named which region: (8, H, W) bool."""
    assert photo.labels is not None
    return np.stack([photo.labels == region for region in range(len(REGION_NAMES))])


def pairs(photos: Sequence[Photo], count: int = PAIRS, seed: int = 0) -> list[LabelledPair]:
    """Pairs that share two regions at least, drawn at random; none comes twice."""
    order = np.random.default_rng(seed).permutation(len(photos) * (len(photos) - 1))
    every = list(permutations(photos, 2))
    drawn = (LabelledPair(*every[i]) for i in order)
    return list(islice((pair for pair in drawn if len(pair.shared) >= 2), count))


def truth(photo: Photo, size: int) -> Regions:
    """What people named, as maps."""
    maps = [resized_square(part.astype(np.float32), size) for part in drawn(photo)]
    return present(Regions(np.stack(maps), REGION_NAMES))


def shown(bundle: ModelBundle, pair: LabelledPair, regions: Sequence[Regions | None]) -> np.ndarray:
    """The content in the light of the style, with the regions of both."""
    look = make_look(bundle, pair.style.name, pair.style.image, regions[1])
    return Stylizer(bundle, look)(Frame(pair.content.image, 0.0, 0), regions[0]).image


def measured(bundle: ModelBundle, chosen: Sequence[LabelledPair]) -> Iterator[tuple[str, float]]:
    """Each way to give regions by its name, and the mean distance of the pairs."""
    assert bundle.segmenter is not None
    size = bundle.manifest.thumbnail // 2
    found = {id(p): bundle.segmenter(bundle.thumbnail(p.image)) for pair in chosen for p in pair.both}
    yield "no regions", _mean(bundle, chosen, [(None, None) for _ in chosen])
    yield "the labels", _mean(bundle, chosen, [[truth(p, size) for p in pair.both] for pair in chosen])
    for doubt in CHOICES:
        regions = [[present(confident(found[id(p)], doubt)) for p in pair.both] for pair in chosen]
        yield f"{doubt}{' (as it is)' if doubt == DOUBT else ''}", _mean(bundle, chosen, regions)


def _mean(bundle: ModelBundle, chosen: Sequence[LabelledPair], regions: Sequence[Sequence[Regions | None]]) -> float:
    return float(np.mean([p.distance(shown(bundle, p, r)) for p, r in zip(chosen, regions, strict=True)]))


def main(data: Path, bundle: ModelBundle) -> None:
    _, held = split(labelled(load_photos(data / "photos", SIDE)))
    chosen = pairs(held)
    print(f"{len(chosen)} pairs of {len(held)} photographs")
    for name, distance in measured(bundle, chosen):
        print(f"{name:60}{distance:6.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), ModelBundle(Path(sys.argv[2])) if len(sys.argv) > 2 else ModelBundle())
