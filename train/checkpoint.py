"""Checkpoints: everything that a training needs to go on as if it had never stopped.

A network's weights lie in NAME.safetensors (no pickle: this is the file people pass around), the optimiser's and the
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

RESUME = "resume.pt"


def save_network(folder: Path, name: str, tensors: dict[str, torch.Tensor], facts: dict) -> None:
    """Write NAME.safetensors and NAME.json to `folder`, each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.safetensors.part"
    save_file({k: v.contiguous() for k, v in tensors.items()}, part)
    os.replace(part, folder / f"{name}.safetensors")
    part = folder / f"{name}.json.part"
    part.write_text(json.dumps(facts, indent=1))
    os.replace(part, folder / f"{name}.json")


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
