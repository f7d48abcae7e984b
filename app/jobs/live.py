"""What the command `live` does: a window onto a camera in the light of a look, or a virtual camera for calls."""

from pathlib import Path

from hueglass.commands.live import LiveOptions
from hueglass.infer.errors import UsageError
from hueglass.infer.files import not_an_input
from hueglass.infer.media.camera import Camera
from hueglass.infer.media.info import CameraWishes
from hueglass.infer.media.sink import VIRTUAL_CAMERA
from hueglass.infer.media.source import open_source
from hueglass.infer.model.look import embedded_looks
from hueglass.infer.scene.stylizer import StylizerSettings
from hueglass.infer.screen.window.recorder import RATE
from hueglass.infer.screen.window.window import Screening, show

from .looks import look_of


def start_live(options: LiveOptions) -> None:
    """Make the looks, open the camera, and show it; at the end, print the figures of the last frames.

    Where no look is named, all the embedded ones take part. UsageError for what does not fit together.
    """
    how = screening(options)
    # One thread: the other cores read, render and show, and no frame may wait for a prediction.
    bundle = options.open_bundle(1)
    segmenter = options.find_segmenter(bundle)
    strength = options.strengths(segmenter)
    styles: list[str | Path] = [*(options.look or []), *(options.style or [])] or [*embedded_looks()]
    looks = [look_of(style, None, segmenter, bundle) for style in styles]
    stylizer = StylizerSettings(segmenter, strength, options.steady()).stylizer(bundle, looks[0])
    width, height = options.size or (None, None)
    wishes = CameraWishes(width, height, options.rate)
    camera = Camera(lambda: open_source(options.camera, wishes), options.rate)
    for line in show(camera, stylizer, looks, how):
        print(line)


def screening(options: LiveOptions) -> Screening:
    """Where pictures go. UsageError if nowhere."""
    sinks = (*(options.to or []), *([VIRTUAL_CAMERA] if options.virtual_camera else []))
    if not (options.window or sinks):
        raise UsageError("--no-window shows nothing, expected --virtual-camera or --to beside it")
    for sink in sinks:
        not_an_input(sink, options.camera)
    if not options.folder.is_dir():
        raise UsageError(f"{options.folder}: no such folder, expected one for pictures and clips")
    return Screening(options.folder, sinks, options.window, options.seconds, options.rate or RATE)
