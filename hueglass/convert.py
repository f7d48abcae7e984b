"""What the commands `photo`, `video` and `look` do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import TextColumn

from hueglass.infer.bundle import ModelBundle
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import not_an_input, writable_place
from hueglass.infer.frame import Frame
from hueglass.infer.images import IMAGE_SUFFIXES, read_image, write_image
from hueglass.infer.look import SUFFIX, Look, find_look, make_look, unmatched, write_look
from hueglass.infer.regions import WHOLE, Mask, read_mask, regions_of
from hueglass.infer.sinks import VideoSink
from hueglass.infer.sources import VideoInfo, VideoSource
from hueglass.infer.stylizer import Stylizer
from hueglass.infer.temporal import Smoother
from hueglass.progress import counting_bar

console = Console(stderr=True)


def convert_photo(
    source: Path, target: Path, style: Path | str, masks: tuple[Path, Path] | None, strength: float, bundle: ModelBundle
) -> None:
    """`source` in the light of `style` (a photograph's path or a look's name), to `target`."""
    writable_place(target, IMAGE_SUFFIXES)
    not_an_input(target, source, style, *(masks or ()))
    if masks is not None and not isinstance(style, Path):
        raise UsageError("masks need a reference photograph, expected --style PHOTO instead of --look")
    image = read_image(source)
    look = _look(style, masks and masks[1], bundle)
    regions = None
    if masks is not None:
        regions = regions_of(read_mask(masks[0], image.shape[:2]), bundle.manifest.thumbnail // 2)
        if missing := unmatched(look, regions):
            _warn(f"{masks[0]}: not in the reference: {', '.join(missing)}; takes the light of the whole reference")
    stylizer = Stylizer(bundle, look, strength)
    write_image(target, stylizer(Frame(image, 0.0, 0), regions).image)


def convert_video(
    source: Path, target: Path, style: Path | str, strength: float, smoothing: float, bundle: ModelBundle
) -> None:
    """The clip `source` in the light of `style` to `target`, frame by frame, sound and timestamps kept.

    HueglassError, after everything that can be decoded was written, if frames were lost.
    """
    not_an_input(target, source, style)
    stylizer = Stylizer(bundle, _look(style, None, bundle), strength, Smoother(smoothing))
    with VideoSource(source) as clip, VideoSink(target, clip.info, audio_from=source) as sink:
        for left_out in sink.left_out:
            _warn(f"{target}: left out {left_out}")
        with _progress(clip.info, target.name) as advance:
            for frame in clip:
                sink.write(stylizer(frame))
                advance()
    if clip.lost:
        frames = "frame was" if clip.lost == 1 else "frames were"
        raise HueglassError(f"{source}: {clip.lost} {frames} lost, the file is cut short or damaged; wrote the others")


def make_look_file(reference: Path, out: Path, mask: Path | None, named: list[str], bundle: ModelBundle) -> None:
    """The look of a photograph to a .look file; `named` gives labels of the mask other names, as NAME=LABEL."""
    writable_place(out, (SUFFIX,))
    not_an_input(out, reference, *([mask] if mask is not None else []))
    if named and mask is None:
        raise UsageError("--region names the labels of a mask, expected --mask FILE as well")
    image = read_image(reference)
    regions = _rename(read_mask(mask, image.shape[:2]), named) if mask is not None else None
    write_look(out, make_look(bundle, out.stem, image, regions))


def _rename(mask: Mask, named: list[str]) -> Mask:
    """The mask with its labels renamed by NAME=LABEL; labels that get the same name become one."""
    names = list(mask.names)
    examples = ", ".join(names) if len(names) < 10 else f"{', '.join(names[:9])}, ..."
    for pair in named:
        name, equals, label = pair.partition("=")
        if not (name and equals and label in mask.names):
            raise UsageError(f"--region {pair}: expected NAME=LABEL with a label of the mask ({examples})")
        if name == WHOLE:
            raise UsageError(f"--region {pair}: expected another name, {WHOLE} is the whole picture's")
        names[mask.names.index(label)] = name
    joined = np.array([names.index(name) for name in names], np.uint8)
    return Mask(joined[mask.labels], tuple(names))


def _look(style: Path | str, mask: Path | None, bundle: ModelBundle) -> Look:
    if isinstance(style, str):
        return find_look(style, bundle.manifest)
    reference = read_image(style)
    regions = read_mask(mask, reference.shape[:2]) if mask is not None else None
    return make_look(bundle, style.stem, reference, regions)


def _warn(message: str) -> None:
    console.print(f"hueglass: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress(info: VideoInfo, title: str) -> Iterator:
    """Yields a function to call after every frame. Shows frames, speed and the time left; silent if not a terminal."""
    with counting_bar(TextColumn("{task.fields[rate]:.0f} fps")) as progress:
        task = progress.add_task(title, total=info.frame_count, rate=0.0)

        def advance() -> None:
            progress.advance(task)
            progress.update(task, rate=progress.tasks[0].speed or 0.0)

        yield advance
