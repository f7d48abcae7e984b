"""Survey: what a clip shows, seen through before it is restyled, so that every shot is known from its first frame."""

from dataclasses import dataclass, replace

import numpy as np

from .light import LightFollower
from .memory import SceneMemory
from .scene_cut import Summary, same_shot, summary_of

_TICK = 1e-3
"""Clocks that count milliseconds place frames a little too early or late."""


@dataclass(frozen=True)
class Glance:
    """One frame that was looked at: its `time`, what cuts are found by, what is known of its `scene`, and the `light`
    in which that was seen first."""

    time: float
    summary: Summary
    scene: SceneMemory
    light: LightFollower


Survey = list[Glance]
"""In the order of time."""


def scene_at(survey: Survey, thumbnail: np.ndarray, time: float) -> SceneMemory | None:
    """What is known of the shot that begins at `time` with such a thumbnail; None if the survey does not show it."""
    for glance in survey:
        if glance.time >= time - _TICK:
            known = same_shot(summary_of(thumbnail), glance.summary)
            return _begun(glance) if known else None
    return None


def _begun(glance: Glance) -> SceneMemory:
    """The scene of a glance as it is before its first frame."""
    known = glance.scene
    scene = replace(known.afresh(), regions=dict(known.regions), rest=known.rest, light=glance.light.copy())
    return replace(scene, gathered=None, complete=True)
