"""View: what of the window the user has set."""

from dataclasses import dataclass

from hueglass.infer.model.look import Look


@dataclass
class View:
    """What of the window the user has set."""

    looks: list[Look]
    look: int = 0
    strength: float = 1.0
    split: float | None = None
    mirror: bool = False
    help: bool = False
    figures: bool = False
    quit: bool = False
    dragging: bool = False
