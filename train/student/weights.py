"""The student's weights on disk: `student.safetensors` and what has to be known of them, `student.json`."""

from pathlib import Path

from hueglass.train.checkpoint import save_network, saved_network

from .network import LookEncoder, Student, StudentConfig, new_networks

WEIGHTS = "student.safetensors"
SETTINGS = "student.json"
TRUNK = "trunk."
"""The networks share it: it is written once."""
CURVE = "curve."
"""What it adds begins as nothing: weights of before there was one are as good."""


def save_weights(folder: Path, student: Student, encoder: LookEncoder, facts: dict) -> None:
    """Write the two networks, their sizes and `facts` (steps, scores, configuration) to `folder`, each file whole."""
    tensors = {f"student.{k}": v for k, v in student.state_dict().items()}
    tensors |= {f"encoder.{k}": v for k, v in encoder.state_dict().items() if not k.startswith(TRUNK)}
    save_network(folder, "student", tensors, {"student": student.config.model_dump(), **facts})


def load_weights(folder: Path, cells: int | None = None) -> tuple[Student, LookEncoder, dict]:
    """The networks of a checkpoint folder, in evaluation mode, and its facts.

    With `cells` of the grid other than those that they were trained with: no weight depends on how many there are.
    UsageError if there is none, HueglassError if its files do not fit together.
    """
    with saved_network(folder, "student", "checkpoint") as (tensors, facts):
        config = StudentConfig.model_validate(facts.pop("student") | ({} if cells is None else {"cells": cells}))
        student, encoder = new_networks(config)
        begun = {name: value for name, value in student.state_dict().items() if name.startswith(CURVE)}
        student.load_state_dict(begun | _part(tensors, "student."))
        trunk = {k: v for k, v in student.state_dict().items() if k.startswith(TRUNK)}
        encoder.load_state_dict(trunk | _part(tensors, "encoder."))
    return student.eval(), encoder.eval(), facts


def _part(tensors: dict, prefix: str) -> dict:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
