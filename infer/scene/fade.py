"""Fade: from one look to another, without a jump."""

from dataclasses import dataclass

from hueglass.infer.model.look import Look, mix_looks

FADE_SECONDS = 0.6


@dataclass(frozen=True)
class Fade:
    """From one look to another within `seconds`, from the moment `began` on, on the clock of the frames."""

    old: Look
    new: Look
    began: float
    seconds: float

    def way(self, now: float) -> float:
        """How far it is at a moment, 0 to 1."""
        return min(max((now - self.began) / self.seconds, 0.0), 1.0) if self.seconds else 1.0

    def at(self, way: float) -> Look:
        """The look when it is so far."""
        return self.new if way == 1 else mix_looks(self.old, self.new, way, self.new.name)
