"""The command `live`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.options import FrameOptions, MotionOptions
from hueglass.process import use_one_heap


@dataclass(frozen=True, kw_only=True)
class LiveOptions(MotionOptions, FrameOptions):
    """What can be said of a camera and of the window on it."""

    look: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="A look to show; repeat for those that follow on the key `n`."),
    ] = None
    style: Annotated[list[Path] | None, typer.Option(metavar="PHOTO", help="Look of a photograph; repeat.")] = None
    camera: Annotated[str, typer.Option(metavar="N|URL|FILE", help="Number of a camera, a stream or a clip.")] = "0"
    size: Annotated[tuple[int, int] | None, typer.Option(metavar="W H", help="Asked of the camera.")] = None
    rate: Annotated[float | None, typer.Option(min=1, max=240, help="Asked of the camera; of a clip, taken.")] = None
    virtual_camera: Annotated[bool, typer.Option("--virtual-camera", help="Send the pictures into a call.")] = False
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Send them there too: virtual-camera, or a clip. Repeat."),
    ] = None
    window: Annotated[bool, typer.Option("--window/--no-window", help="Show them here.")] = True
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="For pictures and clips.")] = Path()
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this long; else on `q`.")] = None


def live(*, options: LiveOptions) -> None:
    """A camera in the light of a photograph, in a window and as a virtual camera. Keys: `h` in the window."""
    use_one_heap()
    from hueglass.jobs.live import start_live

    start_live(options)
