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

    def at(self, now: float) -> tuple[Look, bool]:
        """The look at a moment, and whether the fade is over."""
        way = (now - self.began) / self.seconds if self.seconds else 1.0
        return (self.new, True) if way >= 1 else (mix_looks(self.old, self.new, max(way, 0.0), self.new.name), False)
