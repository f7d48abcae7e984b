"""The student: the whole network in one file.

    LookEncoder   reference photo, its regions                 -> a code per region, once per look
    Student       thumbnail, its regions, a code per region    -> coefficients of a bilateral grid

Both see a picture through the same summary: per region, colour moments and a luma histogram with the mean
colour of every bin. The student starts from the closed-form answer to "give this region the colours of that
one" (the Knothe-Rosenblatt map between two Gaussians), spread over the grid by where each region's pixels
really lie in space *and* luma, and learns everything that the closed form gets wrong. Regions are treated
alike whatever their slot, so slots carry no meaning of their own.
"""

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from hueglass.infer.regions import SLOTS

from .bilateral import depth_tents, guide_map

OPPONENT = (
    (0.299, 0.587, 0.114),
    (-0.169, -0.331, 0.500),
    (0.500, -0.419, -0.081),
)
"""sRGB to luma and two chroma axes (JPEG's YCbCr without the offset). Luma comes first, so that the triangular
transport below maps luma by luma alone, and chroma by luma and chroma: highlights may turn gold, shadows blue."""
FROM_OPPONENT = np.linalg.inv(np.array(OPPONENT)).tolist()
COVARIANCE_FLOOR = (1e-3, 2e-4, 2e-4)
"""Added to each region's variances: keeps flat skies from being stretched into noise and bands."""
MOMENTS = 9
"""A code begins with the mean (3) and the lower Cholesky factor (6) of its region's colours."""
HISTOGRAM_BINS = 8
SUMMARY = MOMENTS + 4 * HISTOGRAM_BINS


class StudentConfig(BaseModel):
    """Sizes of the two networks. They travel with every checkpoint and bundle."""

    model_config = ConfigDict(extra="forbid")

    thumbnail: int = Field(256, ge=64, le=512, multiple_of=64)
    slots: int = Field(SLOTS, ge=1, le=SLOTS)
    depth: int = Field(8, ge=2, le=32)
    code: int = Field(128, gt=MOMENTS, le=1024)
    width: int = Field(96, ge=8, le=256)
    hidden: int = Field(128, ge=8, le=512)
    pair: int = Field(64, ge=8, le=256)

    @property
    def cells(self) -> int:
        """Cells of the grid along each side of the frame."""
        return self.thumbnail // 16


def opponent(image: Tensor) -> Tensor:
    """sRGB (B, 3, H, W) in [0, 1] to luma in [0, 1] and two chroma channels in [-.5, .5]."""
    b, _, h, w = image.shape
    return torch.matmul(image.new_tensor(OPPONENT), image.reshape(b, 3, h * w)).reshape(b, 3, h, w)


def region_moments(colours: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, R, 3) and lower Cholesky factor (B, R, 6: 00 10 11 20 21 22) of opponent colours per region."""
    c = colours.flatten(2)
    weights = regions.flatten(2)
    weights = weights / (weights.sum(2, keepdim=True) + 1e-4)
    products = torch.cat([c, c * c, c[:, :2] * c[:, 1:], c[:, :1] * c[:, 2:]], 1)
    m = torch.matmul(weights, products.transpose(1, 2))
    mean, second = m[..., :3], m[..., 3:]
    yy, uu, vv = (second[..., i] - mean[..., i] ** 2 for i in range(3))
    yu = second[..., 3] - mean[..., 0] * mean[..., 1]
    uv = second[..., 4] - mean[..., 1] * mean[..., 2]
    yv = second[..., 5] - mean[..., 0] * mean[..., 2]
    l00 = (yy.clamp_min(0) + COVARIANCE_FLOOR[0]).sqrt()
    l10, l20 = yu / l00, yv / l00
    l11 = ((uu - l10**2).clamp_min(0) + COVARIANCE_FLOOR[1]).sqrt()
    l21 = (uv - l20 * l10) / l11
    l22 = ((vv - l20**2 - l21**2).clamp_min(0) + COVARIANCE_FLOOR[2]).sqrt()
    return mean, torch.stack([l00, l10, l11, l20, l21, l22], -1)


def region_histogram(image: Tensor, regions: Tensor) -> Tensor:
    """Share and mean colour of each luma bin, per region: (B, R, 4 x bins)."""
    b, r, h, w = regions.shape
    tents = depth_tents(guide_map(image), HISTOGRAM_BINS).flatten(2)
    joint = (regions.flatten(2)[:, :, None] * tents[:, None]).reshape(b, r * HISTOGRAM_BINS, h * w)
    ones = torch.ones_like(image[:, :1])
    sums = torch.matmul(joint, torch.cat([ones, image], 1).flatten(2).transpose(1, 2))
    sums = sums.reshape(b, r, HISTOGRAM_BINS, 4)
    mass = sums[..., :1]
    share = mass / (mass.sum(2, keepdim=True) + 1e-4)
    colour = sums[..., 1:] / (mass + 1e-2 * mass.mean(2, keepdim=True) + 1e-4)
    return torch.cat([share, colour], -1).reshape(b, r, 4 * HISTOGRAM_BINS)


def region_summary(image: Tensor, regions: Tensor) -> Tensor:
    """All that is measured, not learned, of each region: mean, Cholesky factor, histogram (B, R, SUMMARY)."""
    mean, factor = region_moments(opponent(image), regions)
    return torch.cat([mean, factor, region_histogram(image, regions)], -1)


def region_average(features: Tensor, regions: Tensor) -> Tensor:
    """Mean (B, R, K) of features (B, K, H, W) over each region (B, R, H, W)."""
    weights = regions.flatten(2)
    weights = weights / (weights.sum(2, keepdim=True) + 1e-4)
    return torch.matmul(weights, features.flatten(2).transpose(1, 2))


def halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _triangular(factor: Tensor) -> Tensor:
    """Lower triangular matrices (..., 3, 3) from their six entries (..., 6)."""
    l00, l10, l11, l20, l21, l22 = factor.unbind(-1)
    zero = torch.zeros_like(l00)
    return torch.stack([l00, zero, zero, l10, l11, zero, l20, l21, l22], -1).unflatten(-1, (3, 3))


def _triangular_inverse(factor: Tensor) -> Tensor:
    """Inverse of `_triangular(factor)`, written out (no solver has to be exported)."""
    l00, l10, l11, l20, l21, l22 = factor.unbind(-1)
    a, b, c = 1 / l00, 1 / l11, 1 / l22
    zero = torch.zeros_like(a)
    d = -l10 * a * b
    e = -l21 * b * c
    f = (l21 * l10 * b - l20) * a * c
    return torch.stack([a, zero, zero, d, b, zero, f, e, c], -1).unflatten(-1, (3, 3))


def gaussian_transport(mean: Tensor, factor: Tensor, target: Tensor, gate: Tensor) -> Tensor:
    """sRGB affine maps (B, R, 12) that give regions the target moments (Knothe-Rosenblatt map of Gaussians).

    `mean` (B, R, 3) and `factor` (B, R, 6) describe the content, `target` (B, R, 9) is the head of the code.
    `gate` (B, R, 1) in [0, 1] fades from a mere shift of the mean (0) to the full change of covariance (1).
    """
    transport = torch.matmul(_triangular(target[..., 3:]), _triangular_inverse(factor))
    to_opponent = mean.new_tensor(OPPONENT)
    to_rgb = mean.new_tensor(FROM_OPPONENT)
    eye = torch.eye(3, dtype=mean.dtype, device=mean.device)
    linear = eye + gate[..., None] * (transport - eye)
    offset = target[..., :3, None] - torch.matmul(linear, mean[..., None])
    linear = torch.matmul(torch.matmul(to_rgb, linear), to_opponent)
    offset = torch.matmul(to_rgb, offset)
    return torch.cat([linear, offset], -1).flatten(-2)


def splat(values: Tensor, tents: Tensor, cells: int) -> Tensor:
    """Sum values (B, K, H, W) into the vertices of a bilateral grid: (B, cells * cells, depth, K).

    `tents` (B, depth, H, W) are the weights along depth; along x and y every pixel falls in its own cell.
    """
    return torch.matmul(_tiles(tents, cells), _tiles(values, cells).transpose(2, 3))


def _tiles(x: Tensor, cells: int) -> Tensor:
    """(B, K, H, W) cut into cells: (B, cells * cells, K, pixels of a cell)."""
    b, k, h, w = x.shape
    tiles = x.reshape(b, k, cells, h // cells, cells, w // cells).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(b, cells * cells, k, (h // cells) * (w // cells))


def spread(vertices: Tensor, cells: int) -> Tensor:
    """Fill vertices (B, cells * cells, depth, K) that hold few pixels from their neighbours, then from the frame.

    Neighbours weigh a tenth, the frame a hundredth: a full vertex keeps its own mixture.
    """
    b, n, d, k = vertices.shape
    volume = vertices.permute(0, 3, 2, 1).reshape(b, k, d, cells, cells)
    near = F.avg_pool3d(volume, 3, 1, 1, count_include_pad=True)
    far = volume.mean((2, 3, 4), keepdim=True)
    return (volume + 0.1 * near + 0.01 * far).reshape(b, k, d, n).permute(0, 3, 2, 1)


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class LookEncoder(nn.Module):
    """Reference (B, 3, T, T) sRGB in [0, 1] and region maps (B, slots, T/2, T/2) in [0, 1] -> codes (B, slots, code).

    The first nine numbers of a code are its region's colour moments, the others are learned.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.trunk = nn.Sequential(down(3, 16), down(16, 32), down(32, width), Residual(width))
        self.head = mlp(SUMMARY + 2 * width, config.hidden * 2, config.code - MOMENTS)

    def forward(self, reference: Tensor, regions: Tensor) -> Tensor:
        quarter = halve(regions)
        summary = region_summary(halve(halve(reference)), quarter)
        features, eighth = self.trunk(reference), halve(quarter)
        average = region_average(features, eighth)
        deviation = (region_average(features * features, eighth) - average**2).clamp_min(1e-6).sqrt()
        learned = self.head(torch.cat([summary, average, deviation], -1))
        return torch.cat([summary[..., :MOMENTS], learned], -1)


class Student(nn.Module):
    """Thumbnail (B, 3, T, T) sRGB in [0, 1], region maps (B, slots, T/2, T/2) in [0, 1] that sum to at most 1, codes
    (B, slots, code) -> coefficients (B, depth, T/16, T/16, 12)."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden, pair = config.width, config.hidden, config.pair
        self.trunk = nn.Sequential(down(3, 16), down(16, 32), down(32, 64), down(64, width), Residual(width))
        self.pairing = mlp(SUMMARY + width + config.code, 2 * hidden, pair + 1)
        gate = self.pairing[2]
        assert isinstance(gate, nn.Linear)
        nn.init.constant_(gate.bias[pair:], 1.0)
        self.enter = nn.Conv2d(width + pair + 2, width, 1)
        self.conditioned = nn.Sequential(Residual(width), Residual(width))
        self.from_cell = nn.Linear(width, hidden)
        self.from_pair = nn.Linear(pair + 12, hidden, bias=False)
        self.from_pixels = nn.Linear(5, hidden, bias=False)
        self.by_depth = nn.Parameter(0.1 * torch.randn(config.depth, hidden))
        self.vertex = nn.Linear(hidden, hidden)
        self.delta = nn.Linear(hidden, 12)
        nn.init.zeros_(self.delta.weight)
        nn.init.zeros_(self.delta.bias)

    def forward(self, thumbnail: Tensor, regions: Tensor, codes: Tensor) -> Tensor:
        half, quarter = halve(thumbnail), halve(regions)
        features = self.trunk(thumbnail)
        shares, pixels = self.vertices(half, regions)
        summary = region_summary(halve(half), quarter)
        pairs, transports = self.pair(summary, region_average(features, F.avg_pool2d(quarter, 4)), codes)
        cells = self.condition(features, shares, pairs)
        mixed = torch.matmul(shares, torch.cat([pairs, transports], -1)[:, None])
        return self.coefficients(cells, mixed, pixels)

    def vertices(self, image: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """What lies at each vertex: regions' shares (B, cells^2, depth, slots), and mean colour and mass (..., 5)."""
        n, slots = self.config.cells, self.config.slots
        tents = depth_tents(guide_map(image), self.config.depth)
        sums = splat(torch.cat([regions, image, torch.ones_like(image[:, :1])], 1), tents, n)
        full = spread(sums, n)
        shares, colour, mass = full.split([slots, 3, 1], -1)
        own = sums[..., slots + 3 :] / (image.shape[2] * image.shape[3] / n**2)
        pixels = torch.cat([colour / (mass + 1e-6), own, (10 * own).clamp(0, 1)], -1)
        return shares / (shares.sum(-1, keepdim=True) + 1e-4), pixels

    def pair(self, summary: Tensor, seen: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """What each region has to do: a learned vector (B, slots, pair) and a closed-form map (B, slots, 12)."""
        task, gate = self.pairing(torch.cat([summary, seen, codes], -1)).split([self.config.pair, 1], -1)
        mean, factor = summary[..., :3], summary[..., 3:MOMENTS]
        return task, gaussian_transport(mean, factor, codes[..., :MOMENTS], torch.sigmoid(gate))

    def condition(self, features: Tensor, shares: Tensor, pairs: Tensor) -> Tensor:
        """Convolutions over the cells that know the task: (B, cells^2, width)."""
        b, n = features.shape[0], self.config.cells
        task = torch.matmul(shares.mean(2), pairs).transpose(1, 2).reshape(b, -1, n, n)
        axis = (torch.arange(n, device=features.device, dtype=features.dtype) + 0.5) / n * 2 - 1
        place = torch.stack([axis[None].expand(n, n), axis[:, None].expand(n, n)])[None].expand(b, 2, n, n)
        x = F.relu(self.enter(torch.cat([features, task, place], 1)))
        return self.conditioned(x).flatten(2).transpose(1, 2)

    def coefficients(self, cells: Tensor, mixed: Tensor, pixels: Tensor) -> Tensor:
        """The closed-form map of every vertex plus what the network adds to it, as the grid of the contract."""
        b, n, depth = cells.shape[0], self.config.cells, self.config.depth
        h = self.from_cell(cells)[:, :, None] + self.from_pair(mixed) + self.from_pixels(pixels) + self.by_depth
        h = F.relu(self.vertex(F.relu(h)))
        grid = mixed[..., self.config.pair :] + self.delta(h)
        return grid.reshape(b, n, n, depth, 12).permute(0, 3, 1, 2, 4)
