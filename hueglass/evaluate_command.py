"""What the commands `evaluate pairs` and `evaluate held-out` do."""

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hueglass.infer.bundle import ModelBundle
from hueglass.infer.errors import UsageError
from hueglass.infer.files import whole_file
from hueglass.infer.images import write_image

ROWS_PER_SHEET = 10


def evaluate_pairs(data: Path, out: Path | None, bundle: ModelBundle) -> None:
    """The model, the baselines and the paper on every pair: a table, and with `out` JSON and contact sheets."""
    from hueglass.train import evaluate

    if out is not None and not out.is_dir():
        raise UsageError(f"{out}: no such folder, expected one for the results")
    methods = {
        "student, masks": evaluate.student_with_masks(bundle),
        "student, no masks": evaluate.student_without_masks(bundle),
        **evaluate.BASELINES,
    }
    scores: dict[str, dict[str, dict[str, float]]] = {name: {} for name in methods}
    rows = []
    console = Console(stderr=True)
    for pair in track(evaluate.load_pairs(data), "pairs", console=console, disable=not console.is_terminal):
        outputs = {name: method(pair) for name, method in methods.items()}
        for name, output in outputs.items():
            scores[name][pair.name] = evaluate.measure(pair, output)
        rows.append(evaluate.sheet_row(pair, [outputs["student, masks"], outputs["student, no masks"]]))
    _print_means(scores, evaluate.METRICS)
    if out is not None:
        _write(out, scores, rows)


def _print_means(scores: dict[str, dict[str, dict[str, float]]], names: tuple[str, ...]) -> None:
    count = len(next(iter(scores.values())))
    table = Table(title=f"means over {count} pairs", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for method, pairs in scores.items():
        means = [np.mean([pair[name] for pair in pairs.values()]) for name in names]
        table.add_row(method, *(f"{m:.3f}" for m in means))
    Console().print(table)


def _write(out: Path, scores: dict, rows: list[np.ndarray]) -> None:
    with whole_file(out / "pairs.json") as temporary:
        temporary.write_text(json.dumps(scores, indent=1))
    for i in range(0, len(rows), ROWS_PER_SHEET):
        write_image(out / f"sheet{i // ROWS_PER_SHEET}.png", np.vstack(rows[i : i + ROWS_PER_SHEET]))


def evaluate_held_out(checkpoint: Path, data: Path | None) -> None:
    """PSNR of a checkpoint on held-out self-supervised samples, beside global Monge-Kantorovich on the same ones."""
    from hueglass.train.checkpoint import load_weights
    from hueglass.train.distill import TrainConfig, load_data
    from hueglass.train.scenes import Scenes

    student, encoder, facts = load_weights(checkpoint)
    config = TrainConfig.model_validate(facts["config"])
    _, watched = load_data(config.data, data)
    scenes = Scenes.draw(watched, config.student.thumbnail, config.student.slots, config.samples, batches=32)
    for name, value in scenes.measure(student, encoder).items():
        print(f"{name:32} {value:8.3f}")
