"""Checkpoints: everything that a training needs to go on as if it had never stopped.

Weights lie in `student.safetensors` (no pickle: this is the file people pass around), the optimiser's and the
generators' state in `resume.pt`, which only its own machine reads, with `weights_only=True`.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.student.network import LookEncoder, Student, StudentConfig, new_networks

WEIGHTS = "student.safetensors"
RESUME = "resume.pt"
SETTINGS = "student.json"
TRUNK = "trunk."
"""The networks share it: it is written once."""


def save_weights(folder: Path, student: Student, encoder: LookEncoder, facts: dict) -> None:
    """Write the two networks, their sizes and `facts` (steps, scores, configuration) to `folder`, each file whole."""
    tensors = {f"student.{k}": v for k, v in student.state_dict().items()}
    tensors |= {f"encoder.{k}": v for k, v in encoder.state_dict().items() if not k.startswith(TRUNK)}
    save_network(folder, "student", tensors, {"student": student.config.model_dump(), **facts})


def save_network(folder: Path, name: str, tensors: dict[str, torch.Tensor], facts: dict) -> None:
    """Write NAME.safetensors and NAME.json to `folder`, each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.safetensors.part"
    save_file({k: v.contiguous() for k, v in tensors.items()}, part)
    os.replace(part, folder / f"{name}.safetensors")
    part = folder / f"{name}.json.part"
    part.write_text(json.dumps(facts, indent=1))
    os.replace(part, folder / f"{name}.json")


def load_weights(folder: Path) -> tuple[Student, LookEncoder, dict]:
    """The networks of a checkpoint folder, in evaluation mode, and its facts.

    UsageError if there is none, HueglassError if its files do not fit together.
    """
    with saved_network(folder, "student", "checkpoint") as (tensors, facts):
        student, encoder = new_networks(StudentConfig.model_validate(facts.pop("student")))
        student.load_state_dict(_part(tensors, "student."))
        trunk = {k: v for k, v in student.state_dict().items() if k.startswith(TRUNK)}
        encoder.load_state_dict(trunk | _part(tensors, "encoder."))
    return student.eval(), encoder.eval(), facts


@contextmanager
def saved_network(folder: Path, name: str, what: str) -> Iterator[tuple[dict[str, torch.Tensor], dict]]:
    """Tensors and facts of NAME in a folder; whatever goes wrong in building networks of them is one line.

    UsageError if there is no `what`, HueglassError if its files do not fit together.
    """
    weights, settings = folder / f"{name}.safetensors", folder / f"{name}.json"
    if not weights.is_file() or not settings.is_file():
        raise UsageError(f"{folder}: no {what} here, expected {weights.name} and {settings.name}")
    try:
        yield load_file(weights), json.loads(settings.read_text())
    except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise HueglassError(f"{folder}: broken checkpoint: {str(error).splitlines()[0]}") from None


def _part(tensors: dict, prefix: str) -> dict:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def save_resume(folder: Path, state: dict) -> None:
    part = folder / f"{RESUME}.part"
    torch.save(state, part)
    os.replace(part, folder / RESUME)


def load_resume(folder: Path) -> dict | None:
    """The state that `save_resume` wrote, or None where there is none. HueglassError if it is damaged."""
    path = folder / RESUME
    if not path.is_file():
        return None
    try:
        return torch.load(path, weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError):
        raise HueglassError(f"{path}: broken checkpoint, remove it to begin again") from None
