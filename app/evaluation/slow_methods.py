"""What the command `evaluate run` does: one slow method's pictures for the pairs, to be measured later."""

import sys
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console

import hueglass.configs
from hueglass.config_file import read_config
from hueglass.datasets.benchmark import Pair, load_pair, output_files, pair_names
from hueglass.infer.errors import HueglassError, UsageError, failure
from hueglass.infer.files import existing_file, make_folder
from hueglass.infer.media.images import write_image
from hueglass.train.features import Features, Name, load_features
from hueglass.train.teacher.cnnmrf import CnnMrfConfig, cnnmrf
from hueglass.train.teacher.config import TeacherConfig
from hueglass.train.teacher.regions import match_regions
from hueglass.train.teacher.teacher import teach

from .pairs import of_pairs

MethodName = Literal["teacher", "neural-style", "cnnmrf"]
PROCESSES = 2
"""At most: each holds a network, and what its optimiser remembers."""
_features = cache(load_features)


class CnnMrfRun(CnnMrfConfig):
    """The method's configuration and the network that it works in."""

    features: Name = "squeezenet"


@dataclass(frozen=True)
class Job:
    """A method, by its configuration, for the pairs in `data`; `weights` are those of the network."""

    config: TeacherConfig | CnnMrfRun
    weights: Path | None
    data: Path


def evaluate_run(
    method: MethodName, data: Path, out: Path, config: Path | None, weights: Path | None, only: str | None
) -> None:
    """Write NN.png to `out` for every pair, or for those in `only`, that has no picture there yet.

    A pair that fails is reported and the rest goes on; HueglassError at the end names those that failed.
    """
    names = _chosen(pair_names(data), only)
    job = Job(method_config(method, config), None if weights is None else existing_file(weights), data)
    make_folder(out)
    there = output_files(out, names)
    left = [name for name in names if name not in there]
    if there:
        print(f"{out}: {len(there)} of {len(names)} pictures are there already and kept", file=sys.stderr)
    watched, failed = Console(stderr=True).is_terminal, []
    for name, made in of_pairs(partial(attempt_pair, job), left, str(out), PROCESSES):
        if isinstance(made, HueglassError):
            failed.append(name)
            print(f"hueglass: pair {name}: {made}", file=sys.stderr)
            continue
        image, seconds = made
        write_image(out / f"{name}.png", image)
        if not watched:
            print(f"{out / name}.png: {seconds:.0f} s", file=sys.stderr)
    if failed:
        raise HueglassError(f"{out}: {len(failed)} of {len(names)} pairs failed: {', '.join(sorted(failed))}")


def _chosen(names: list[str], only: str | None) -> list[str]:
    """The pairs of a list like "13,16". UsageError for one that there is not."""
    if only is None:
        return names
    wanted = [name.strip() for name in only.split(",")]
    for name in wanted:
        if name not in names:
            raise UsageError(f"--only {only}: there is no pair {name!r}, expected some of: {', '.join(names)}")
    return sorted(set(wanted))


def method_config(method: MethodName, path: Path | None) -> TeacherConfig | CnnMrfRun:
    """The configuration in a file, or the one that comes with the method. Errors as `read_config`."""
    if method == "neural-style" and path is None:
        path = Path(hueglass.configs.__file__).with_name("neural_style.yaml")
    if method == "cnnmrf":
        return CnnMrfRun() if path is None else read_config(path, CnnMrfRun)
    return TeacherConfig() if path is None else read_config(path, TeacherConfig)


def attempt_pair(job: Job, name: str) -> tuple[np.ndarray, float] | HueglassError:
    """The method's picture of a pair (H, W, 3) uint8 and the seconds it took, or what went wrong with the pair.

    Errors of the weights are raised.
    """
    features = _features(job.config.features, job.weights)
    began = time.perf_counter()
    try:
        return _picture(load_pair(job.data, name), job.config, features), time.perf_counter() - began
    except Exception as error:
        return failure(error)


def _picture(pair: Pair, config: TeacherConfig | CnnMrfRun, features: Features) -> np.ndarray:
    if isinstance(config, CnnMrfRun):
        return cnnmrf(pair.content, pair.style, features, config)
    return teach(pair.content, pair.style, match_regions(pair.mask, pair.style_mask), config, features).image
