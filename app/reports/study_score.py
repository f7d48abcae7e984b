"""The scores of a survey: what the answers say of each method, and how sure that is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hueglass.infer.errors import HueglassError, first_problem
from hueglass.infer.files import existing_file, whole_file, writable_place

from .study import MAX_ITEMS, PARTS, STUDY_ID, Key

MAX_BYTES = 1 << 20
REPLICATES = 5000
SCHEME = (
    "95 % intervals by the pigeonhole bootstrap (Owen 2007): participants and pairs are drawn with replacement, "
    f"independently of each other, {REPLICATES} times; an interval holds the middle 95 % of the means; a single "
    "participant or pair gives none"
)
Rating = Annotated[int, Field(ge=1, le=4)]
Model = TypeVar("Model", bound=BaseModel)


class Answers(BaseModel):
    """What the page saves: in both parts, a rating of every item."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    study: str = Field(pattern=STUDY_ID)
    participant: str = Field(pattern=STUDY_ID)
    photorealism: dict[str, Rating] = Field(max_length=MAX_ITEMS)
    faithfulness: dict[str, Rating] = Field(max_length=MAX_ITEMS)


@dataclass(frozen=True)
class Interval:
    """A mean rating and where it would lie with other participants and pairs; None where a single one cannot tell."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})")


def score_study(files: list[Path], key_file: Path, out: Path | None) -> None:
    """Print each method's mean ratings with their intervals, and write them to `out` as JSON.

    UsageError for a missing file; HueglassError for a key or answers that are broken, of another page, incomplete,
    or a second set of one participant.
    """
    if out is not None:
        writable_place(out)
    key = _read(key_file, Key)
    everyone = read_answers(files, key)
    methods = sorted({item.method for item in key.items.values()})
    ratings = {part: ratings_of(everyone, key, methods, part) for part in PARTS}
    scores = {part: dict(zip(methods, intervals(values), strict=True)) for part, values in ratings.items()}
    participants, pairs, _ = ratings[PARTS[0]].shape
    _print(methods, scores, f"{participants} participants, {pairs} pairs: {participants * pairs} ratings a cell")
    if out is not None:
        facts = {"study": key.study, "participants": participants, "pairs": pairs, "scheme": SCHEME}
        table = {method: {part: asdict(scores[part][method]) for part in PARTS} for method in methods}
        with whole_file(out) as temporary:
            temporary.write_text(json.dumps({**facts, "methods": table}, indent=1))


def read_answers(files: list[Path], key: Key) -> list[Answers]:
    """The answers of every participant, each complete and to this page."""
    found: dict[str, Path] = {}
    everyone = []
    for file in files:
        answers = _read(file, Answers)
        _check(file, answers, key)
        if answers.participant in found:
            raise HueglassError(f"{file}: is of the same participant as {found[answers.participant]}")
        found[answers.participant] = file
        everyone.append(answers)
    return everyone


def _read(path: Path, model: type[Model]) -> Model:
    try:
        with open(existing_file(path), "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise HueglassError(
                f"{path}: is larger than {MAX_BYTES} bytes, expected {model.__name__.lower()} of a study"
            )
        return model.model_validate_json(data)
    except ValidationError as error:
        raise HueglassError(f"{path}: {first_problem(error)}") from None
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror}") from None


def _check(file: Path, answers: Answers, key: Key) -> None:
    if answers.study != key.study:
        raise HueglassError(f"{file}: answers the page {answers.study}, expected {key.study} as the key has it")
    for part in PARTS:
        rated = getattr(answers, part)
        unknown = [item for item in rated if item not in key.items]
        if unknown:
            raise HueglassError(f"{file}: {part}: unknown item {unknown[0][:64]!r}, expected those of the page")
        if len(rated) < len(key.items):
            raise HueglassError(f"{file}: {part}: rates {len(rated)} items, expected all {len(key.items)} of the page")


def ratings_of(everyone: list[Answers], key: Key, methods: list[str], part: str) -> np.ndarray:
    """Ratings (participants, pairs, methods) in one part."""
    pairs = sorted({item.pair for item in key.items.values()})
    ratings = np.zeros((len(everyone), len(pairs), len(methods)))
    for person, answers in enumerate(everyone):
        for name, value in getattr(answers, part).items():
            item = key.items[name]
            ratings[person, pairs.index(item.pair), methods.index(item.method)] = value
    return ratings


def intervals(ratings: np.ndarray, seed: int = 0) -> list[Interval]:
    """For each method of `ratings` (participants, pairs, methods), its mean and interval: see SCHEME."""
    means = ratings.mean((0, 1))
    people, pairs, _ = ratings.shape
    if min(people, pairs) < 2:
        return [Interval(float(mean), None, None) for mean in means]
    rng = np.random.default_rng(seed)
    times_person = rng.multinomial(people, np.full(people, 1 / people), REPLICATES)
    times_pair = rng.multinomial(pairs, np.full(pairs, 1 / pairs), REPLICATES)
    drawn = np.einsum("rp,rs,psm->rm", times_person, times_pair, ratings, optimize=True) / (people * pairs)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [Interval(*map(float, x)) for x in zip(means, low, high, strict=True)]


def _print(methods: list[str], scores: dict[str, dict[str, Interval]], counts: str) -> None:
    table = Table(title=f"mean ratings, 1 to 4; {counts}", title_justify="left")
    for column in ("", *PARTS):
        table.add_column(column, no_wrap=True)
    for method in methods:
        table.add_row(escape(method), *(str(scores[part][method]) for part in PARTS))
    Console().print(table)
    Console().print(f"{SCHEME}.", highlight=False)
