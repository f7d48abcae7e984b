"""What is held out: the samples on which a training is watched, the same ones every time."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.color import deltaE_ciede2000, rgb2lab
from torch import Tensor

from hueglass.datasets.photos import Photo
from hueglass.datasets.targets import Target
from hueglass.train.baselines import monge_kantorovich
from hueglass.train.bilateral import render

from .losses import borders, sliced_wasserstein, unevenness
from .network import LookEncoder, Student
from .samples import Batch, SampleConfig, Sampler
from .scene import HEAVIEST

CHUNK = 8
GRADED = {"global": {"local": 0.0, "shown": 0.0}, "local": {"local": 1.0, "shown": 1.0}}
"""One grade for all, found without regions; a grade per region, regions shown."""
SEEN = {"shown": 1.0, "hidden": 0.0}
"""Whether the networks are shown the regions."""


@dataclass(frozen=True)
class HeldOut:
    """Batches with exact targets by kind of grade; with the teacher's targets, and without targets, by what is seen."""

    graded: dict[str, list[Batch]]
    taught: dict[str, list[Batch]]
    free: dict[str, list[Batch]]

    @staticmethod
    def draw(
        photos: list[Photo],
        targets: list[Target],
        thumbnail: int,
        slots: int,
        config: SampleConfig,
        batches: int = 6,
        seed: int = 7,
    ) -> "HeldOut":
        plain = config.model_copy(update={"soft": 0.0, "regraded": 0.0, "noise": 0.0, "flat": 0.0})
        sampler = Sampler(plain, photos, targets, thumbnail, slots, seed)
        graded = {k: [sampler.graded(CHUNK, **kind) for _ in range(batches)] for k, kind in GRADED.items()}
        taught = {k: [sampler.taught(CHUNK, v, 1.0) for _ in range(batches)] for k, v in SEEN.items() if targets}
        free = {k: [sampler.unpaired(CHUNK, v, 1.0) for _ in range(batches)] for k, v in SEEN.items()}
        return HeldOut(graded, taught, free)

    def measure(self, student: Student, encoder: LookEncoder) -> dict[str, float]:
        """Mean PSNR in dB to known targets (beside global Monge-Kantorovich's) and to the teacher's; `bleed`, how
        much larger the error is where regions meet; swd region to region, in CIELAB units; `halo`, the same where they
        meet as `losses.unevenness`, in hundredths; and `drift`, by how many CIEDE2000 a second view of a scene that is
        remembered differs from the first."""
        scores = {}
        for kind, batches in self.graded.items():
            pairs = [(b, stylize(student, encoder, b)) for b in batches]
            scores[f"psnr_{kind}"] = _mean([psnr(out, b.target) for b, out in pairs])
            scores[f"psnr_{kind}_monge_kantorovich"] = _mean([psnr(_transfer(b), b.target) for b in batches])
            if kind == "local":
                scores["bleed"] = float(np.mean([bleed(out, b) for b, out in pairs]))
        for seen, batches in self.taught.items():
            scores[f"psnr_teacher_{seen}"] = _mean([psnr(stylize(student, encoder, b), b.target) for b in batches])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for seen, batches in self.free.items():
                distances = [_distance(b, stylize(student, encoder, b)) for b in batches]
                scores[f"swd_{seen}"] = 100 * float(np.mean(distances))
            scores["halo"] = 100 * float(np.mean([_halo(b, stylize(student, encoder, b)) for b in self.free["shown"]]))
            scores["drift"] = float(
                np.mean([drift(student, encoder, b) for batches in self.free.values() for b in batches])
            )
            scores["swd_untouched"] = 100 * float(np.mean([_distance(b, b.content) for b in self.free["shown"]]))
        return {name: round(value, 3) for name, value in scores.items()}

    def sheet(self, student: Student, encoder: LookEncoder) -> np.ndarray:
        """A contact sheet (uint8): content, reference, output and, where there is one, target."""
        kinds = [*self.graded.values(), *self.taught.values(), *self.free.values()]
        rows = []
        for batch in [batches[0] for batches in kinds]:
            out = stylize(student, encoder, batch)
            target = batch.target if batch.target is not None else torch.zeros_like(out)
            rows += [_strip(x) for x in (batch.content, batch.reference, out, target)]
        return np.vstack(rows)


def selection(scores: dict[str, float]) -> float:
    """By what the weights to keep are chosen: decibels to known targets less what colours are off, from references, in
    a second view and along borders."""
    gains = ("psnr_global", "psnr_local", "psnr_teacher_shown", "psnr_teacher_hidden")
    losses = ("swd_shown", "swd_hidden", "drift", "halo")
    return sum(scores.get(name, 0.0) for name in gains) - sum(scores[name] for name in losses)


def bleed(output: Tensor, batch: Batch) -> float:
    """Mean absolute error where regions meet (within 3 % of the picture), over that further inside."""
    assert batch.target is not None
    near = F.interpolate(borders(batch.content_truth), size=output.shape[-2:]) > 0.05
    error = (output - batch.target).abs().mean(1, keepdim=True)
    return float(error[near].mean() / error[~near].mean())


@torch.no_grad()
def stylize(student: Student, encoder: LookEncoder, batch: Batch) -> Tensor:
    """The batch's contents in the light of its references, at full thumbnail size, clipped."""
    device = next(student.parameters()).device
    content, maps = batch.content.to(device), batch.content_maps.to(device)
    codes = encoder(batch.reference.to(device), batch.reference_maps.to(device))
    return render(student(content, maps, codes), content).clamp(0, 1).cpu()


@torch.no_grad()
def drift(student: Student, encoder: LookEncoder, batch: Batch) -> float:
    """Mean CIEDE2000 between what both views of the batch's scenes show, the second seen with a heavy memory of the
    first."""
    device = next(student.parameters()).device
    batch = batch.to(device)
    codes = encoder(batch.reference, batch.reference_maps)
    first = student.see(batch.content, batch.content_maps, codes)
    again = student.see(batch.view, batch.view_maps, codes, HEAVIEST * first.sums)
    small, view = (F.avg_pool2d(x, 4) for x in (batch.content, batch.view))
    places = F.affine_grid(batch.motion, list(view.shape), align_corners=False)
    moved = view + F.grid_sample(
        render(first.coefficients, small) - small, places, padding_mode="border", align_corners=False
    )
    inside = (places.abs() <= 1).all(-1).cpu().numpy()
    if not inside.any():
        return 0.0
    ours, theirs = (
        x.clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()[inside] for x in (moved, render(again.coefficients, view))
    )
    return float(deltaE_ciede2000(rgb2lab(ours), rgb2lab(theirs)).mean())


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


def _distance(batch: Batch, output: Tensor) -> float:
    half = F.avg_pool2d
    ours, theirs = batch.content_truth[:, :-1], batch.reference_truth[:, :-1]
    return float(sliced_wasserstein(half(output, 2), ours, half(batch.reference, 2), theirs))


def _halo(batch: Batch, output: Tensor) -> float:
    half = F.avg_pool2d
    return float(unevenness(half(output, 2), half(batch.content, 2), batch.content_truth[:, :-1]))


def _strip(pictures: Tensor, size: int = 128) -> np.ndarray:
    tiles = (pictures.permute(0, 2, 3, 1).numpy() * 255 + 0.5).astype(np.uint8)
    return np.hstack([cv2.resize(t, (size, size), interpolation=cv2.INTER_AREA) for t in tiles])
