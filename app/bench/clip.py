"""What `bench --clip` does: a clip converted by `hueglass video`, beside its plain transcode, in turns, start included.

The transcode decodes and encodes by the same libraries with the same codec, quality, preset and threads, and does
nothing between.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file, whole_file, writable_place
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.model.look import embedded_looks
from hueglass.progress import progress_bar

from .stages import megabytes

ROUNDS = 3
_TRANSCODE = """
import sys
from pathlib import Path
from hueglass.infer.media.video_source import VideoSource
from hueglass.infer.media.video_sink import VideoSink
source, target = map(Path, sys.argv[1:])
with VideoSource(source) as clip, VideoSink(target, clip.info, source) as sink:
    for frame in clip.as_decoded():
        sink.write(frame)
"""
_CONVERT = "import sys; from hueglass.cli import main; main()"


@dataclass(frozen=True)
class ClipTiming:
    """Medians, in seconds and MB of resident memory at its highest."""

    clip: str
    width: int
    height: int
    frames: int
    transcode_s: float
    video_s: float
    ratio: float
    video_rss_mb: float


def run_clip_bench(clip: Path, path: Path | None) -> None:
    """Print how long a clip takes, and write it as JSON to `path`. Errors as `VideoSource`."""
    if path is not None:
        writable_place(path, (".json",))
    found = time_clip(existing_file(clip))
    Console().print(
        f"{found.clip}, {found.width}x{found.height}, {found.frames} frames: transcoded in {found.transcode_s:.2f} s, "
        f"restyled in {found.video_s:.2f} s, {found.ratio:.2f} times as long; {found.video_rss_mb:.0f} MB of memory",
        highlight=False,
        soft_wrap=True,
    )
    if path is not None:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(found), indent=1))


def time_clip(clip: Path) -> ClipTiming:
    with VideoSource(clip) as source:
        info, frames = source.info, sum(1 for _ in source.as_decoded())
    plain, restyled, memory = [], [], []
    with tempfile.TemporaryDirectory() as folder, progress_bar() as bar:
        out = Path(folder) / "out.mp4"
        for _ in bar.track(range(ROUNDS), description="rounds"):
            plain.append(_timed([sys.executable, "-c", _TRANSCODE, str(clip), str(out)])[0])
            command = [sys.executable, "-c", _CONVERT, "video", str(clip), str(out), "--look", embedded_looks()[0]]
            seconds, resident = _timed(command)
            restyled.append(seconds)
            memory.append(resident)
    a, b = statistics.median(plain), statistics.median(restyled)
    return ClipTiming(clip.name, info.width, info.height, frames, a, b, b / a, statistics.median(memory))


def _timed(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and MB of a process. HueglassError if it fails."""
    began = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise HueglassError(said.strip().splitlines()[-1] if said.strip() else f"{command[0]} failed")
    return time.perf_counter() - began, megabytes(usage)
