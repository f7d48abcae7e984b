"""The command `bench`."""

from pathlib import Path
from typing import Annotated

import typer

from hueglass.infer.network.devices import Device, Precision
from hueglass.options import DEVICE, PRECISION, FigureFile


def bench(
    clip: Annotated[
        Path | None, typer.Option(metavar="CLIP", help="Time `video` on a clip instead, beside a plain transcode.")
    ] = None,
    path: FigureFile = None,
    device: Annotated[Device, DEVICE] = Device.CPU,
    precision: Annotated[Precision, PRECISION] = Precision.FP32,
) -> None:
    """How long every stage of a frame takes on this machine."""
    if device is not Device.CPU:
        from hueglass.bench.device import run_device_bench

        run_device_bench(device.value, precision.value, path)
    elif clip is not None:
        from hueglass.bench.clip import run_clip_bench

        run_clip_bench(clip, path)
    else:
        from hueglass.bench.stages import run_bench

        run_bench(path)
