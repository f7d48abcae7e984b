"""What the command `evaluate held-out` does: how well a training knows grades that it has not seen."""

from pathlib import Path

from hueglass.train.student.distill import TrainConfig, load_data
from hueglass.train.student.held_out import HeldOut
from hueglass.train.student.weights import load_weights


def evaluate_held_out(checkpoint: Path, data: Path | None) -> None:
    """PSNR of a checkpoint on held-out self-supervised samples, beside global Monge-Kantorovich on the same ones."""
    student, encoder, facts = load_weights(checkpoint)
    config = TrainConfig.model_validate(facts["config"])
    _, watched = load_data(config.data, data)
    sizes = (config.student.thumbnail, config.student.slots)
    held_out = HeldOut.draw(watched.photos, watched.targets, *sizes, config.samples, batches=32)
    for name, value in held_out.measure(student, encoder).items():
        print(f"{name:32} {value:8.3f}")
