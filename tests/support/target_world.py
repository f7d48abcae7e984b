"""A small world for the teacher to make targets of: photographs, labelled streets, a manifest, weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.torch import save_file

from hueglass.commands.targets import TargetOptions
from hueglass.config_file import read_config
from hueglass.datasets.pairs import Pair, write_pairs
from hueglass.datasets.targets import read_targets
from hueglass.jobs import targets as targets_job
from hueglass.train.features import random_features
from hueglass.train.teacher import pair_work
from hueglass.train.teacher.config import TeacherConfig

CONFIG = "size: 48\nstages: [{evaluations: 2, laplacian: 100}]\ngrid: [2, 4, 4]\n"
GOOD, BAD = 12, "broken"
EVERYTHING = sorted(f"n{i}" for i in range(GOOD))


class World:
    """A folder with data, a manifest of GOOD pairs and a BAD one in their midst, weights and a configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.manifest, self.weights, self.config = folder / "m.jsonl", folder / "w.safetensors", folder / "t.yaml"
        for part in ("photos", "camvid/train", "camvid/train_label"):
            (self.data / part).mkdir(parents=True)
        for i in range(6):
            frame, labels = _street(i)
            cv2.imwrite(str(self.data / "camvid/train" / f"{'AB'[i % 2]}_{i}.png"), frame)
            cv2.imwrite(str(self.data / "camvid/train_label" / f"{'AB'[i % 2]}_{i}.png"), labels)
            cv2.imwrite(str(self.data / "photos" / f"p{i}.png"), np.ascontiguousarray(frame.swapaxes(0, 1)[..., ::-1]))
        whole = (self.data / "photos/p0.png").read_bytes()
        (self.data / "photos/broken.png").write_bytes(whole[: len(whole) // 2])
        self.pairs = [self._pair(i) for i in range(GOOD)]
        self.pairs.insert(4, Pair(name=BAD, content="photos/p1.png", style="photos/broken.png"))
        write_pairs(self.manifest, self.pairs)
        state = random_features("squeezenet", 0).stack.state_dict()
        save_file({f"features.{key}": value for key, value in state.items()}, self.weights)
        self.config.write_text(CONFIG)

    def _pair(self, i: int) -> Pair:
        content, style = f"{'AB'[i % 2]}_{i % 6}.png", f"{'AB'[(i + 1) % 2]}_{(i + 1) % 6}.png"
        if i % 2:
            return Pair(name=f"n{i}", content=f"photos/p{i % 6}.png", style=f"camvid/train/{style}", grade_seed=i)
        return Pair(
            name=f"n{i}",
            content=f"camvid/train/{content}",
            style=f"camvid/train/{style}",
            content_labels=f"camvid/train_label/{content}",
            style_labels=f"camvid/train_label/{style}",
            label_kind="camvid",
        )

    def command(self, store: Path, *more: object) -> list[str]:
        options = {"-o": store, "--config": self.config, "--data": self.data, "--weights": self.weights}
        return [str(x) for x in ("targets", self.manifest, *(y for o in options.items() for y in o), *more)]

    def work(self) -> pair_work.Work:
        return pair_work.Work(self.data, read_config(self.config, TeacherConfig), self.weights)


def _street(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky (0) over houses (1) over road (3) in CamVid's numbers, (48, 64), each of its own noisy colour."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array([0, 1, 3], np.uint8), (14 + seed, 20 - seed, 14))[:, None].repeat(64, 1)
    labels[30:40, 10 : 10 + seed] = 8  # a car that is a slip of the brush, or too small to tell
    colours = rng.integers(40, 216, (12, 3))
    return np.clip(colours[labels] + rng.normal(0, 15, (48, 64, 3)), 0, 255).astype(np.uint8), labels


def names_of(store: Path) -> list[str]:
    return sorted(target.name for target in read_targets(store))


def made_in_batches(world: World, store: Path) -> Path:
    """A store of the whole manifest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_work, "BATCH", 3)
        patch.setattr(targets_job, "in_processes", lambda _, p, __: pair_work.teach_in_batches(p, world.work()))
        options = TargetOptions(config=world.config, data=world.data, weights=world.weights)
        targets_job.run_targets(world.manifest, store, options)
    return store
