"""What the command `video` does with a folder of clips: one after the other, or spread over a Ray cluster.

A clip that is there whole was done by an earlier run; the folder keeps in RECORD with what settings, so that one folder
never holds clips of two kinds.
"""

import hashlib
import json
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from hueglass.commands.video import VideoOptions
from hueglass.infer.errors import HueglassError, UsageError, failure
from hueglass.infer.files import whole_file
from hueglass.infer.grid.cpu import native
from hueglass.infer.media.video_sink import VIDEO_SUFFIXES, Encoding
from hueglass.options import parse_regions
from hueglass.progress import progress_bar, warn
from hueglass.ray_cluster import on_ray

from .clip import clip_stylizer, convert_video

RECORD = "hueglass.json"
CLIP_SUFFIXES = (*VIDEO_SUFFIXES, ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")
CORES = 2
"""Of a cluster, for a clip: the network has one, decoder and encoder the rest."""


@dataclass(frozen=True)
class Clip:
    """One to convert."""

    source: Path
    target: Path


Notes = list[str]
Outcomes = Generator[tuple[Clip, Notes | HueglassError], None, None]


def convert_folder(source: Path, target: Path, options: VideoOptions, ray: str | None) -> None:
    """All clips of the folder `source`, under their names in `target`; those that are there already stay.

    What is wrong with a clip is said, and the others go on. UsageError if `target` was begun with other settings;
    HueglassError at the end, if a clip failed.
    """
    clip_stylizer(options, note=lambda _: None)  # what is wrong with the options is said once, before anything is begun
    clips = clips_of(source, target)
    _keep_settings(target, options)
    left = [clip for clip in clips if not clip.target.exists()]
    if len(left) < len(clips):
        warn(f"{target}: {len(clips) - len(left)} of {len(clips)} clips are there already and stay")
    convert = partial(_convert, options)
    outcomes = on_ray(convert, left, ray, native.cores(), CORES) if ray is not None else _in_turn(convert, left)
    with closing(outcomes):
        failed = _report(outcomes, len(left), shown=ray is not None)
    if failed:
        raise HueglassError(f"{target}: {failed} of {len(clips)} clips failed or lost frames, named above")


def clips_of(source: Path, target: Path) -> list[Clip]:
    """The clips in a folder, by name, and where they go: as MP4 if nothing of their own kind can be written.

    UsageError if there is none, if two would go to the same place, or if the two folders are one.
    """
    found = sorted(p for p in source.iterdir() if p.suffix.lower() in CLIP_SUFFIXES and p.is_file())
    if not found:
        raise UsageError(f"{source}: no clip in this folder, expected files such as .mp4, .mov, .mkv")
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file, expected a folder for the clips of {source}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target}: is the input as well, expected another folder")
    clips: dict[Path, Path] = {}
    for path in found:
        place = target / (path.name if path.suffix.lower() in VIDEO_SUFFIXES else f"{path.stem}.mp4")
        if place in clips:
            raise UsageError(f"{path} and {clips[place].name} would both become {place.name}, expected one of them")
        clips[place] = path
    return [Clip(path, place) for place, path in clips.items()]


def _convert(options: VideoOptions, clip: Clip) -> Notes | HueglassError:
    notes = Notes()
    try:
        convert_video(clip.source, clip.target, options, notes.append)
    except Exception as error:
        return failure(error)
    return notes


def _in_turn(convert: "partial[Notes | HueglassError]", clips: Iterable[Clip]) -> Outcomes:
    for clip in clips:
        yield clip, convert(clip)


def _report(outcomes: Outcomes, total: int, shown: bool) -> int:
    """Says what the user should know of every clip, with a bar for all if `shown`; returns how many failed."""
    failed = 0
    with progress_bar() as bar:
        task = bar.add_task("clips", total=total, visible=shown)
        for clip, outcome in outcomes:
            failed += isinstance(outcome, HueglassError)
            for line in [str(outcome)] if isinstance(outcome, HueglassError) else outcome:
                warn(line if str(clip.source) in line or str(clip.target) in line else f"{clip.source}: {line}")
            bar.advance(task)
    return failed


def _keep_settings(folder: Path, options: VideoOptions) -> None:
    """Writes them down in a new folder. UsageError if an old one was begun with others."""
    settings = json.loads(json.dumps(_settings(options), default=str))
    path = folder / RECORD
    if not path.exists():
        folder.mkdir(exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n")
        return
    try:
        before = json.loads(path.read_text())
        other = sorted(name for name in settings.keys() | before.keys() if settings.get(name) != before.get(name))
    except (ValueError, AttributeError, OSError):
        raise UsageError(f"{path}: not what hueglass wrote, expected another output folder") from None
    if other:
        raise UsageError(f"{folder}: was begun with another {', '.join(other)}, expected the same or another folder")


def _settings(options: VideoOptions) -> dict[str, object]:
    """All that makes a clip what it becomes, under names that last."""
    same = ("segmenter", "labels", "scene_memory", "smoothing", "ahead", "compare", "device", "precision")
    return {
        "style": _identity(options.choice()),
        "strength": {"everywhere": options.strength, "regions": parse_regions(options.region or [])},
        "encoding": asdict(Encoding(options.codec, options.crf, options.preset)),
        "model": options.model_folder(),
        "auto_regions": options.auto_regions is not False,
        **{name: getattr(options, name) for name in same},
    }


def _identity(style: Path | str) -> str:
    """A look's name, or the file with a checksum of what is in it."""
    path = Path(style)
    return f"{style} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" if path.is_file() else str(style)
