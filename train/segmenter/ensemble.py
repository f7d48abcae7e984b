"""What several segmenters say of a picture, in one voice.

Each errs in its own way: MOSAIC knows no "other", DeepLab few persons, the embedded segmenter few rooms. A weight for
each teacher and region, never below zero, says how far it is believed there (stacked regressions: Breiman 1996). One
that knows a single region, calls a bear a person and sees nobody far away, confirms rather than votes: its word is
multiplied in (Hinton 2002, products of experts) where that is more. What people named themselves stands above all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import nnls

from hueglass.datasets.masks import UNKNOWN
from hueglass.infer.errors import UsageError
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.infer.resize import resized_square

COUNT = len(REGION_NAMES)
RIDGE = 0.02
"""How strongly weights are held to all alike, in shares of the pixels."""
Weight = Annotated[float, Field(ge=0, le=10)]
Power = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Belief:
    """How far teachers are believed: `weights` and `powers`, (teachers, 8) float32 each.

    The powers of a region sum to less than 1: what is left is that of the weighted sum.
    """

    weights: np.ndarray
    powers: np.ndarray


class EnsembleConfig(BaseModel):
    """How far each teacher is believed of each region: `configs/teachers.yaml`. What is left out is 0."""

    model_config = ConfigDict(extra="forbid")

    weights: dict[str, dict[str, Weight]]
    powers: dict[str, dict[str, Power]] = {}

    def belief(self, teachers: Sequence[str]) -> Belief:
        """In tables. UsageError unless it is of just these teachers, of our regions, and powers leave something."""
        named = {*self.weights, *self.powers}
        if named != set(teachers):
            found = ", ".join(sorted(named)) or "none"
            raise UsageError(f"weights: of the teachers {found}, expected {', '.join(sorted(teachers))}")
        belief = Belief(_table(self.weights, teachers), _table(self.powers, teachers))
        if belief.powers.sum(0).max() >= 1:
            raise UsageError("powers: of a region sum to 1 or more, expected less")
        return belief


def _table(numbers: dict[str, dict[str, float]], teachers: Sequence[str]) -> np.ndarray:
    table = np.zeros((len(teachers), COUNT), np.float32)
    for row, teacher in zip(table, teachers, strict=True):
        for region, number in numbers.get(teacher, {}).items():
            if region not in REGION_NAMES:
                raise UsageError(f"weights: {teacher} has {region}, expected one of {', '.join(REGION_NAMES)}")
            row[REGION_NAMES.index(region)] = number
    return table


class Voice(Protocol):
    """A teacher: from a picture (H, W, 3) uint8 sRGB to probabilities (8, M, M) of REGION_NAMES."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Ensemble:
    """The teachers and how far each is believed."""

    teachers: Sequence[Voice]
    belief: Belief

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (8, M, M) float32 of REGION_NAMES over a picture (H, W, 3) uint8 sRGB, summing to 1."""
        return combined(np.stack([teacher(image) for teacher in self.teachers]), self.belief)

    def identity(self) -> dict[str, object]:
        """What labels are made by: the checksum of each teacher, and how far it is believed."""
        digests = {teacher.name: teacher.digest for teacher in self.teachers}
        tables = {"weights": self.belief.weights, "powers": self.belief.powers}
        return {"teachers": digests, **{name: table.round(4).tolist() for name, table in tables.items()}}


def combined(maps: np.ndarray, belief: Belief) -> np.ndarray:
    """What teachers say, (teachers, 8, ...), as one: (8, ...) float32, summing to 1 everywhere.

    The weighted sum, scaled to 1; then a region that has powers becomes the product of its sum and of what its teachers
    say, each to its power, where that is more, and the others share the rest. Where nobody who is believed says
    anything it is "other".
    """
    summed = np.einsum("tr,tr...->r...", belief.weights, maps, dtype=np.float32)
    total = summed.sum(0)
    summed[REGION_NAMES.index("other")][total <= 0] = 1
    summed /= np.where(total > 0, total, 1)
    for region in np.flatnonzero(belief.powers.any(0)):
        powers = belief.powers[:, region]
        said = np.prod([maps[t, region] ** powers[t] for t in np.flatnonzero(powers)], 0)
        confirmed = np.maximum(summed[region], said * summed[region] ** (1 - powers.sum()))
        rest = 1 - summed[region]
        summed *= np.where(rest > 0, (1 - confirmed) / np.maximum(rest, 1e-6), 0)
        summed[region] = confirmed
    return summed / np.maximum(summed.sum(0), 1e-6)


def fitted_weights(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weights (teachers, 8) float32 that bring teachers, (teachers, 8, n), nearest to labels (n) uint8.

    Least squares without negative weights, region by region, with a ridge towards all teachers that know the region
    alike. Pixels of UNKNOWN do not count.
    """
    known = labels != UNKNOWN
    weights = np.zeros((len(maps), COUNT), np.float32)
    for region in range(COUNT):
        said = maps[:, region, known].astype(np.float64)
        speak = np.flatnonzero(said.any(1))
        if len(speak):
            truth = (labels[known] == region).astype(np.float64)
            weights[speak, region] = _stacked(said[speak], truth)
    return weights


def _stacked(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Minimises |said' w - truth|^2 / n + RIDGE |w - 1/teachers|^2 over w >= 0, through the normal equations."""
    count = len(said)
    products = said @ said.T / len(truth) + RIDGE * np.eye(count)
    right = said @ truth / len(truth) + RIDGE / count
    root = np.linalg.cholesky(products)
    found: np.ndarray = nnls(root.T, np.linalg.solve(root, right))[0]
    return found


def with_labels(maps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Maps (8, M, M) with what people named, labels (H, W) uint8, in place of what they say.

    A pixel of the maps that people named in part keeps its own for the rest.
    """
    size = maps.shape[-1]
    named = np.stack([resized_square((labels == r).astype(np.float32), size) for r in range(COUNT)])
    return named + maps * np.maximum(0, 1 - named.sum(0))
