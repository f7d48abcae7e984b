"""What the command `video` does with one clip; `clip_folder` has many."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import TextColumn

from hueglass.commands.video import VideoOptions
from hueglass.infer.errors import HueglassError
from hueglass.infer.files import not_an_input
from hueglass.infer.frame import AnyImage, Frame, YuvImage
from hueglass.infer.media.info import VideoInfo
from hueglass.infer.media.source import open_source
from hueglass.infer.media.video_sink import Encoding, VideoSink
from hueglass.infer.orientation import LYING, as_stored, upright
from hueglass.infer.scene.clip import GLANCES, stylize_clip, survey
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.infer.scene.survey import Survey
from hueglass.progress import progress_bar, tracked, warn

from .looks import look_of


def clip_stylizer(options: VideoOptions, note: Callable[[str], None] = warn) -> Stylizer:
    """A new one, for one clip; `note` is told where its network runs. Errors for whatever of the options does not
    fit."""
    style = options.choice()
    # One thread: decoder and encoder keep the other cores busy; threads that wait for each other waste them.
    bundle = options.open_bundle(1, note)
    segmenter = options.find_segmenter(bundle)
    strength = options.strengths(segmenter)
    look = look_of(style, None, segmenter, bundle)
    return StylizerSettings(segmenter, strength, options.steady(), region_period=0.0).stylizer(bundle, look)


def convert_video(source: Path, target: Path, options: VideoOptions, note: Callable[[str], None] = warn) -> None:
    """The clip `source` in the light of a look to `target`, frame by frame, sound and timestamps kept.

    `note` is called with what the user should know. HueglassError, after everything that can be decoded was written,
    if frames were lost.
    """
    not_an_input(target, source, options.choice())
    stylizer = clip_stylizer(options, note)
    encoding = Encoding(options.codec, options.crf, options.preset)
    with open_source(source) as clip, VideoSink(target, clip.info, source, encoding) as sink:
        for left_out in sink.left_out:
            note(f"{target}: left out {left_out}")
        if stylizer.memory is not None:
            stylizer.survey = _look_through(source, stylizer, note)
        with (
            _progress(clip.info, target.name) as advance,
            closing(stylize_clip(stylizer, clip.as_decoded(), options.ahead)) as frames,
        ):
            for frame, out in frames:
                sink.write(side_by_side(frame, out) if options.compare else out)
                advance()
    if clip.lost:
        lost = "frame was" if clip.lost == 1 else "frames were"
        raise HueglassError(f"{source}: {clip.lost} {lost} lost, the file is cut short or damaged; wrote the others")


def _look_through(source: Path, stylizer: Stylizer, note: Callable[[str], None]) -> Survey:
    """What a first look at a clip shows of its scenes; nothing where it cannot be read twice. What is wrong with the
    file is for whoever restyles it to say."""
    if not source.is_file():
        note(f"{source}: cannot be read twice, so that of its scenes only what has been seen is remembered")
        return []
    with suppress(HueglassError), open_source(source, every=GLANCES) as clip:
        total = round((clip.info.duration or 0) / GLANCES)
        return survey(stylizer, tracked(clip.as_decoded(), f"{source.name}, looked through", total))
    return []


def side_by_side(before: Frame[AnyImage], after: Frame[AnyImage]) -> Frame[AnyImage]:
    """The left half of one picture and the right half of the other, a white line between them; left and right as a
    person sees them, stored as they were."""

    def joined(a: np.ndarray, b: np.ndarray, half: int, line: int, white: int) -> np.ndarray:
        a, b = (upright(x, before.orientation) for x in (a, b))
        both = np.concatenate([a[:, :half], b[:, half:]], 1)
        both[:, half : half + line] = white
        return np.ascontiguousarray(as_stored(both, before.orientation))

    a, b = before.image, after.image
    width = a.shape[0] if before.orientation in LYING else a.shape[1]
    if isinstance(a, YuvImage) and isinstance(b, YuvImage):
        half = width // 4  # of chroma, which is half as wide
        parts = ((2 * half, 2, 255 if a.full_range else 235), (half, 1, 128), (half, 1, 128))
        luma, cb, cr = (joined(x, y, *part) for x, y, part in zip(a.planes, b.planes, parts, strict=True))
        return replace(after, image=replace(b, planes=(luma, cb, cr)))
    assert isinstance(a, np.ndarray)
    assert isinstance(b, np.ndarray)
    return replace(after, image=joined(a, b, width // 2, 2, 255))  # type: ignore[arg-type]  # of the same kind


@contextmanager
def _progress(info: VideoInfo, title: str) -> Iterator[Callable[[], None]]:
    """Yields a function to call after every frame. Shows frames, speed and the time left; silent if not a terminal."""
    with progress_bar(TextColumn("{task.fields[rate]:.0f} fps")) as progress:
        task = progress.add_task(title, total=info.frame_count, rate=0.0)

        def advance() -> None:
            progress.advance(task)
            progress.update(task, rate=progress.tasks[0].speed or 0.0)

        yield advance
