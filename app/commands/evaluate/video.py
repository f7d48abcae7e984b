"""The command `evaluate video`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import AutoRegionOptions, FigureFile, ModelOptions, MotionOptions


@dataclass(frozen=True, kw_only=True)
class SteadinessOptions(ModelOptions, MotionOptions, AutoRegionOptions):
    """How clips are restyled, and how much of them."""

    frames: Annotated[int, typer.Option(min=2, max=2000, help="Of each clip, at most.")] = 250
    rate: Annotated[float, typer.Option(min=1, max=240, help="Frames a second of folders of pictures.")] = 15.0
    offline: Annotated[
        bool, typer.Option("--offline", help="As `video` converts them, with look-ahead; else as `live` shows them.")
    ] = False


def video(
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...", help="Video files, or folders of pictures.")],
    look: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A look by name or .look file; repeat. Three if left out.")
    ] = None,
    path: FigureFile = None,
    *,
    options: SteadinessOptions,
) -> None:
    """How steady restyled clips are: the warping error, beside that of a frozen table of colours, and the settling."""
    from hueglass.evaluation.steadiness import Measuring, evaluate_videos

    bundle = options.open_bundle()
    segmenter = options.find_segmenter(bundle)
    measuring = Measuring(bundle, segmenter, options.steady(), options.frames, options.rate, options.offline)
    evaluate_videos(clips, look or [], measuring, path)
