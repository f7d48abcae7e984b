"""The command `serve`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import Looks, MotionOptions, SceneOptions
from hueglass.process import use_one_heap


@dataclass(frozen=True, kw_only=True)
class ServeOptions(MotionOptions, SceneOptions):
    """What can be said of the server, and of what all its clients see."""

    host: Annotated[str, typer.Option(help="Where to listen; beyond this machine by TLS and a token.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8787
    look: Looks = None
    certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Your own, with --key.")] = None
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="Of the certificate.")] = None
    max_clients: Annotated[int, typer.Option(min=1, max=1000, help="At a time.")] = 32


def serve(
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Show the page here.")] = True,
    *,
    options: ServeOptions,
) -> None:
    """A page that turns the browser of a phone, a headset or glasses into a window on the restyled world."""
    use_one_heap()
    from hueglass.infer.scene.stylizer import StylizerSettings
    from hueglass.jobs.serve import build_server
    from hueglass.jobs.serve import serve as run_server

    bundle = options.open_bundle()
    segmenter = options.find_segmenter(bundle)
    settings = StylizerSettings(segmenter, options.strengths(segmenter), options.steady())
    run_server(*build_server(options, bundle, settings), open_browser)
