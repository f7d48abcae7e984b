"""The command `video`."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.errors import UsageError
from hueglass.infer.media.codecs import Codec
from hueglass.infer.smoothing import AHEAD, MOST_AHEAD
from hueglass.options import FrameOptions, MotionOptions, StyleOptions
from hueglass.process import use_one_heap


@dataclass(frozen=True, kw_only=True)
class VideoOptions(MotionOptions, FrameOptions, StyleOptions):
    """How clips are converted. It pickles, so that other machines can work by it."""

    ahead: Annotated[
        float, typer.Option(min=0, max=MOST_AHEAD, help="Seconds by which light is seen before it falls; 0: as live.")
    ] = AHEAD
    codec: Annotated[Codec | None, typer.Option(help="The container's own if left out.")] = None
    crf: Annotated[int | None, typer.Option(min=0, max=63, help="Quality: lower is better and larger.")] = None
    preset: Annotated[str | None, typer.Option(help="Of the encoder: veryfast, slow, ...; for AV1 0 to 13.")] = None
    compare: Annotated[bool, typer.Option("--compare", help="Leave the left half as it is.")] = False


def video(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A clip, or a folder of clips.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Where it goes; a folder, if IN is one.")],
    ray: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster for a folder, or local.")] = None,
    *,
    options: VideoOptions,
) -> None:
    """A clip in the light of a photograph: every frame, its time, the sound and the rotation kept.

    Of a folder all clips; those that OUT holds already stay, so that an interrupted run goes on where it stopped.
    """
    use_one_heap()
    from hueglass.jobs.clip import convert_video
    from hueglass.jobs.clip_folder import convert_folder

    if os.path.isdir(source):  # of a name that is too long, too
        convert_folder(source, target, options, ray)
    elif ray is not None:
        raise UsageError(f"{source}: is no folder, expected a folder of clips with --ray")
    else:
        convert_video(source, target, options)
