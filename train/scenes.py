"""Held-out scenes: the samples on which a training is watched, the same ones every time."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from hueglass.datasets.photos import Photo

from .baselines import monge_kantorovich
from .bilateral import render
from .losses import sliced_wasserstein
from .samples import Batch, SampleConfig, Sampler
from .student import LookEncoder, Student

CHUNK = 8
KINDS = {"global": {"local": 0.0, "shown": 0.0}, "local": {"local": 1.0, "shown": 1.0}}


@dataclass(frozen=True)
class Scenes:
    """Batches of each self-supervised kind (one grade for all; one per region, regions shown), and unpaired ones."""

    taught: dict[str, list[Batch]]
    free: list[Batch]

    @staticmethod
    def draw(
        photos: list[Photo], thumbnail: int, slots: int, config: SampleConfig, batches: int = 6, seed: int = 7
    ) -> "Scenes":
        sampler = Sampler(config, photos, thumbnail, slots, seed)
        taught = {
            kind: [sampler.self_supervised(CHUNK, **shares) for _ in range(batches)] for kind, shares in KINDS.items()
        }
        return Scenes(taught, [sampler.unpaired(CHUNK) for _ in range(batches)])

    def measure(self, student: Student, encoder: LookEncoder) -> dict[str, float]:
        """Mean PSNR in dB per kind beside global Monge-Kantorovich's on the same samples; swd of the unpaired."""
        scores = {}
        for kind, batches in self.taught.items():
            pairs = [(b, stylize(student, encoder, b)) for b in batches]
            scores[f"psnr_{kind}"] = _mean([psnr(out, b.target) for b, out in pairs])
            scores[f"psnr_{kind}_monge_kantorovich"] = _mean([psnr(_transfer(b), b.target) for b in batches])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            distances = [float(_distance(b, stylize(student, encoder, b))) for b in self.free]
            untouched = [float(_distance(b, b.content)) for b in self.free]
        scores["swd"], scores["swd_untouched"] = (
            100 * float(np.mean(distances)),
            100 * float(np.mean(untouched)),
        )
        return {name: round(value, 3) for name, value in scores.items()}

    def sheet(self, student: Student, encoder: LookEncoder) -> np.ndarray:
        """A contact sheet (uint8): content, reference, output and, where there is one, target."""
        shown = [b for batches in self.taught.values() for b in batches[:1]] + self.free[:2]
        rows = []
        for batch in shown:
            out = stylize(student, encoder, batch)
            target = batch.target if batch.target is not None else torch.zeros_like(out)
            rows += [_strip(x) for x in (batch.content, batch.reference, out, target)]
        return np.vstack(rows)


@torch.no_grad()
def stylize(student: Student, encoder: LookEncoder, batch: Batch) -> Tensor:
    """The batch's contents in the light of its references, at full thumbnail size, clipped."""
    device = next(student.parameters()).device
    content, maps = batch.content.to(device), batch.content_maps.to(device)
    codes = encoder(batch.reference.to(device), batch.reference_maps.to(device))
    return render(student(content, maps, codes), content).clamp(0, 1).cpu()


def psnr(output: Tensor, target: Tensor | None) -> list[float]:
    """Peak signal-to-noise ratio in dB of each picture of a batch in [0, 1]."""
    assert target is not None
    error = (output - target).square().mean((1, 2, 3)).clamp_min(1e-10)
    return (-10 * error.log10()).tolist()


def _mean(values: list[list[float]]) -> float:
    return float(np.mean(np.concatenate(values)))


def _transfer(batch: Batch) -> Tensor:
    pairs = zip(batch.content.permute(0, 2, 3, 1).numpy(), batch.reference.permute(0, 2, 3, 1).numpy(), strict=True)
    return torch.stack([torch.from_numpy(monge_kantorovich(c, s)).permute(2, 0, 1) for c, s in pairs])


def _distance(batch: Batch, output: Tensor) -> Tensor:
    half = torch.nn.functional.avg_pool2d
    return sliced_wasserstein(half(output, 2), batch.content_maps, half(batch.reference, 2), batch.reference_maps)


def _strip(pictures: Tensor, size: int = 128) -> np.ndarray:
    tiles = (pictures.permute(0, 2, 3, 1).numpy() * 255 + 0.5).astype(np.uint8)
    return np.hstack([cv2.resize(t, (size, size), interpolation=cv2.INTER_AREA) for t in tiles])
