"""What the command `train` does: read the configuration, train, say how it goes."""

import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hueglass.config_file import read_config
from hueglass.progress import progress_bar
from hueglass.train.loop import LoopConfig, Training, progress
from hueglass.train.segmenter import train as segment
from hueglass.train.student import distill

LOG_SECONDS = 60
"""How often a training that nobody watches writes a line."""
CONFIGS: dict[str, type[LoopConfig]] = {"student": distill.TrainConfig, "segmenter": segment.SegmentConfig}


class WhichNetwork(BaseModel):
    """What has to be known of a configuration before it can be read: what it is for."""

    model_config = ConfigDict(extra="ignore")

    network: Literal["student", "segmenter"] = "student"


def run_training(config_path: Path, folder: Path, data: Path | None) -> None:
    """Train by the configuration into `folder`, or go on with what is there."""
    config = read_config(config_path, CONFIGS[read_config(config_path, WhichNetwork).network])
    with progress_bar(counted=False) as bar:
        task = bar.add_task(str(folder), total=1.0)
        last = time.monotonic()

        def report(training: Training, losses: dict[str, float]) -> None:
            nonlocal last
            text = f"{folder} step {training.step}: loss {losses['total']:.4f}"
            bar.update(task, completed=progress(training, config), description=text)
            if bar.disable and time.monotonic() - last > LOG_SECONDS:
                print(text, flush=True)
                last = time.monotonic()

        training: Training
        if isinstance(config, distill.TrainConfig):
            training = distill.run(config, folder, data, report)
        else:
            assert isinstance(config, segment.SegmentConfig)
            training = segment.run(config, folder, data, report)
    print(f"{folder}: {training.step} steps in {training.seconds / 60:.0f} minutes")
    for name, value in training.scores.items():
        print(f"  {name:32} {value:8.3f}")
