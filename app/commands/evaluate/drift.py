"""The command `evaluate drift`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import AutoRegionOptions, FigureFile, ModelOptions, MotionOptions


@dataclass(frozen=True, kw_only=True)
class DriftOptions(ModelOptions, MotionOptions, AutoRegionOptions):
    """How scenes are restyled."""

    offline: Annotated[
        bool, typer.Option("--offline", help="As `video` restyles a clip of it; else as `live` shows it.")
    ] = False


def drift(
    scenes: Annotated[
        list[Path], typer.Argument(metavar="PICTURE...", help="Photographs, and panoramas as Radiance HDR.")
    ],
    look: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A look by name or .look file; repeat. Three if left out.")
    ] = None,
    path: FigureFile = None,
    strips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write three moments of each scene there, one above the other.")
    ] = None,
    *,
    options: DriftOptions,
) -> None:
    """How far things change their colour while a camera looks around: a window over a photograph, a head turning in a
    panorama."""
    from hueglass.evaluation.drift import evaluate_drift
    from hueglass.evaluation.steadiness import LOOKS, Measuring
    from hueglass.infer.model.look import embedded_looks, find_look

    bundle = options.open_bundle()
    looks = [find_look(name, bundle.manifest) for name in look or embedded_looks()[:LOOKS]]
    measuring = Measuring(bundle, options.find_segmenter(bundle), options.steady(), offline=options.offline)
    evaluate_drift(scenes, looks, measuring, path, strips)
