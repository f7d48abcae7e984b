"""Would a learned guide map be worth it? `python -m hueglass.train.student.guide_study DATA`, some minutes.

The contract's guide map is luma. HDRNet (Gharbi et al. 2017, section 3.4.1) learns one: a colour matrix, a
piecewise-linear curve per channel, their sum. Both are compared by the best that any grid can do with them: grids are
fitted to photographs under grades of their own per region, one grid each, together with one guide for all; then grids
alone to photographs that the guide never saw. What is left of the error there is what no student could remove. (The
teacher's targets would not do: they end in a grid on luma.)
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from hueglass.datasets.photos import load_folders
from hueglass.infer.grid.bilateral import GRID_SHAPE, identity_grid
from hueglass.train.bilateral import LUMA, apply_affine, slice_grid

from .losses import smoothness
from .network import StudentConfig
from .samples import SampleConfig, Sampler

SIZE = 256
SEEN, UNSEEN = 12, 12
STEPS = 120
KNOTS = 16
BATCH = 12
SMOOTH = 1e-3


class LumaGuide(nn.Module):
    """The contract's: nothing to learn."""

    def forward(self, image: Tensor) -> Tensor:
        return (image * image.new_tensor(LUMA)[:, None, None]).sum(1)


class CurvesGuide(nn.Module):
    """HDRNet's, which begins as luma: (B, 3, H, W) to (B, H, W) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(3))
        self.shift = nn.Parameter(torch.zeros(3))
        self.slopes = nn.Parameter(torch.tensor(LUMA)[:, None] * torch.eye(1, KNOTS))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, image: Tensor) -> Tensor:
        mixed = torch.einsum("ij,bjhw->bihw", self.matrix, image) + self.shift[:, None, None]
        knots = torch.linspace(0, 1, KNOTS + 1)[:-1]
        bends = (mixed[..., None] - knots).clamp_min(0)
        return ((bends * self.slopes[:, None, None]).sum((1, 4)) + self.offset).clamp(0, 1)


def fit(guide: nn.Module, contents: Tensor, targets: Tensor, learn_guide: bool) -> float:
    """The mean PSNR (dB) of the best grids for pictures (N, 3, H, W) in [0, 1]."""
    parts = list(zip(contents.split(BATCH), targets.split(BATCH), strict=True))
    start = torch.from_numpy(identity_grid())
    grids = [start.repeat(len(x), 1, 1, 1, 1).requires_grad_() for x, _ in parts]
    groups = [{"params": grids, "lr": 0.02}]
    if learn_guide:
        groups.append({"params": list(guide.parameters()), "lr": 0.005})
    optimiser = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS * len(parts))
    for _ in range(STEPS):
        for grid, (content, target) in zip(grids, parts, strict=True):
            across, depth = smoothness(grid)
            loss = (_sliced(grid, guide, content) - target).square().mean() + SMOOTH * (across + depth)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        sliced = torch.cat([_sliced(g, guide, content) for g, (content, _) in zip(grids, parts, strict=True)])
    errors = (sliced.clamp(0, 1) - targets).square().mean((1, 2, 3))
    return float((-10 * errors.log10()).mean())


def _sliced(grids: Tensor, guide: nn.Module, contents: Tensor) -> Tensor:
    return apply_affine(slice_grid(grids, guide(contents)), contents)


def pictures(data: Path, count: int) -> tuple[Tensor, Tensor]:
    """Photographs and what their grades make of them (count, 3, SIZE, SIZE) in [0, 1]."""
    photos = load_folders(["photos"], data, 320)
    student = StudentConfig()
    batch = Sampler(SampleConfig(), photos, [], SIZE, student.slots, seed=1).graded(count, local=1.0)
    assert batch.target is not None
    return batch.content, batch.target


if __name__ == "__main__":
    torch.manual_seed(0)
    contents, targets = pictures(Path(sys.argv[1]), SEEN + UNSEEN)
    print(f"{GRID_SHAPE}, {SEEN} photographs for the guide, {UNSEEN} unseen; PSNR of the best grids")
    for guide in (LumaGuide(), CurvesGuide()):
        seen = fit(guide, contents[:SEEN], targets[:SEEN], learn_guide=isinstance(guide, CurvesGuide))
        unseen = fit(guide.requires_grad_(False), contents[SEEN:], targets[SEEN:], learn_guide=False)
        print(f"{type(guide).__name__:12} seen {seen:.2f} dB, unseen {unseen:.2f} dB", flush=True)
