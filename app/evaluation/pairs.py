"""What the command `evaluate pairs` does: every method on every pair, as tables and as a report."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hueglass.datasets.benchmark import OutputFolder, Pair, load_pair, output_folders, pair_names
from hueglass.infer.errors import HueglassError
from hueglass.infer.files import make_folder, whole_file
from hueglass.infer.grid.cpu import native
from hueglass.infer.model.bundle import ModelBundle
from hueglass.progress import tracked
from hueglass.reports.page import jpeg
from hueglass.reports.report import PICTURES, PairFacts, Report, columns, count_text, picture_file, write_report
from hueglass.train import evaluate
from hueglass.workers import in_processes

PROCESSES = 8
"""At most: each takes some 400 MB."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Bench:
    """What is measured: outputs of methods, and the student of the bundle in `model`, if any, beside the baselines."""

    data: Path
    folders: tuple[OutputFolder, ...]
    model: Path | None
    pictures: bool

    def methods(self) -> list[str]:
        """Names in the order of the tables."""
        students = [] if self.model is None else list(evaluate.student_methods(_bundle(self.model)))
        return [*(folder.name for folder in self.folders), *students, *evaluate.BASELINES]


@dataclass(frozen=True)
class Measured:
    """Of one pair: its facts, the scores by method, and by column of the report the pictures as JPEG."""

    facts: PairFacts
    scores: dict[str, dict[str, float]]
    pictures: dict[str, bytes]


def evaluate_pairs(outputs: list[str], data: Path, out: Path | None, model: Path | None) -> None:
    """Every method on every pair: tables, and in `out` pairs.json, the page index.html and contact sheets.

    `model` is the bundle of the student, None to leave it out.
    """
    names = pair_names(data)
    taken = ("content", "style", *evaluate.STUDENT, *evaluate.BASELINES)
    bench = Bench(data, tuple(output_folders(outputs, names, taken)), model, out is not None)
    if out is not None:
        make_folder(out / PICTURES)
    report = _measure_all(bench, names, out)
    print_tables(report)
    if out is not None:
        with whole_file(out / "pairs.json") as temporary:
            temporary.write_text(json.dumps(as_json(report), indent=1))
        write_report(out, report)
        print(out / "index.html")


def _measure_all(bench: Bench, names: list[str], out: Path | None) -> Report:
    """Pairs are measured side by side; their pictures are written as they come."""
    found: dict[str, Measured] = {}
    stems = columns(bench.methods())
    for name, measured in of_pairs(partial(measure_pair, bench), names, "pairs", PROCESSES):
        if isinstance(measured, HueglassError):
            raise HueglassError(f"pair {name}: {measured}")
        for column, data in measured.pictures.items():
            assert out is not None
            file = out / picture_file(name, stems[column])
            with whole_file(file) as temporary:
                temporary.write_bytes(data)
        found[name] = Measured(measured.facts, measured.scores, {})
    scores = {
        method: {name: found[name].scores[method] for name in names if method in found[name].scores}
        for method in bench.methods()
    }
    return Report({name: found[name].facts for name in names}, scores)


def of_pairs(
    task: Callable[[str], Result], names: Sequence[str], title: str, most: int
) -> Iterator[tuple[str, Result | HueglassError]]:
    """`in_processes`, in this process where one would do, and a progress bar where somebody watches."""
    processes = min(most, len(names), native.cores())
    one_by_one = ((name, task(name)) for name in names)
    with closing(in_processes(task, names, processes) if processes > 1 else one_by_one) as results:
        yield from tracked(results, title, len(names))


def measure_pair(bench: Bench, name: str) -> Measured:
    """All methods on one pair. Errors as `load_pair`, `OutputFolder.read` and ModelBundle."""
    pair = load_pair(bench.data, name)
    outputs = _outputs(bench, pair)
    scores = {method: evaluate.measure(pair, output) for method, output in outputs.items()}
    height, width = pair.content.shape[:2]
    shown = {"content": pair.content, "style": pair.style, **outputs} if bench.pictures else {}
    shown.pop(evaluate.UNTOUCHED, None)
    pictures = {column: jpeg(image) for column, image in shown.items()}
    return Measured(PairFacts(width, height, pair.regions), scores, pictures)


def _outputs(bench: Bench, pair: Pair) -> dict[str, np.ndarray]:
    size = pair.content.shape[:2]
    outputs = {folder.name: folder.read(pair.name, size) for folder in bench.folders if pair.name in folder.files}
    methods = dict(evaluate.BASELINES)
    if bench.model is not None:
        methods = evaluate.student_methods(_bundle(bench.model)) | methods
    return outputs | {name: method(pair) for name, method in methods.items()}


@cache
def _bundle(folder: Path) -> ModelBundle:
    """One for all pairs of a process."""
    return ModelBundle(folder, threads=1)


def as_json(report: Report) -> dict[str, object]:
    """Facts by pair; by method the means, their standard errors (null for a single pair) and every pair's scores."""
    methods = {
        name: {
            "means": evaluate.means(scores),
            "standard_errors": evaluate.standard_errors(scores),
            "pairs": scores,
        }
        for name, scores in report.methods.items()
    }
    return {"pairs": {name: asdict(facts) for name, facts in report.pairs.items()}, "methods": methods}


def print_tables(report: Report) -> None:
    """All methods; then, for each that lacks pairs, it and the complete ones on the pairs that it has."""
    _print_means(report.methods, f"means over {len(report.pairs)} pairs")
    for name, scores in report.methods.items():
        if len(scores) < len(report.pairs):
            _print_means(report.on_the_pairs_of(name), f"on the {len(scores)} pairs of {name}")


def _print_means(methods: dict[str, evaluate.Scores], title: str) -> None:
    table = Table(title=escape(title), title_justify="left")
    for column in ("", "pairs", *evaluate.METRICS):
        table.add_column(column, justify="right" if column else "left", no_wrap=bool(column))
    total = max(map(len, methods.values()))
    for name, scores in methods.items():
        means = evaluate.means(scores)
        numbers = (f"{means[metric]:.3f}" for metric in evaluate.METRICS)
        table.add_row(escape(name), count_text(len(scores), total), *numbers)
    Console().print(table)
