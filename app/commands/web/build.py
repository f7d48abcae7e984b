"""The command `web build`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import AutoRegionOptions, Looks, ModelOptions


def build(
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New, empty, or an older site.")],
    look: Looks = None,
    *,
    regions: AutoRegionOptions,
    model: ModelOptions,
) -> None:
    """A static site that restyles the camera in the page itself, without a server of ours. Needs npm."""
    from hueglass.jobs.site import build_web

    bundle = model.open_bundle()
    build_web(folder, look or [], bundle, regions.find_segmenter(bundle))
