"""The student: the whole network in one file.

    LookEncoder   reference photo, its regions                 -> a code per region and per tone, once per look
    Student       thumbnail, its regions, the codes            -> coefficients of a bilateral grid

Both see a picture through the same summary: per region, colour moments and a luma histogram with the mean
colour of every bin. The student starts from the closed-form answer to "give this region the colours of that
one" (the Knothe-Rosenblatt map between two Gaussians), spread over the grid by where each region's pixels
really lie in space *and* luma, and learns everything that the closed form gets wrong. Regions are treated
alike whatever their slot, so slots carry no meaning of their own.

What no region covers is matched by the networks themselves: the encoder divides the whole reference softly into
*tones*, the student finds for every pixel the tones that it resembles (attention: embedded pixels against the
tones' keys), and from there on a tone is one more region.
"""

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from hueglass.infer.model.manifest import TONES
from hueglass.infer.regions.regions import SLOTS
from hueglass.train.bilateral import depth_tents, guide_map

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
SUMMARY = MOMENTS + 4 * HISTOGRAM_BINS + 1


class StudentConfig(BaseModel):
    """Sizes of the two networks. They travel with every checkpoint and bundle."""

    model_config = ConfigDict(extra="forbid")

    thumbnail: int = Field(256, ge=64, le=512, multiple_of=64)
    slots: int = Field(SLOTS, ge=1, le=SLOTS)
    tones: int = Field(8, ge=1, le=TONES)
    """Soft parts of the reference that serve where no region is given."""
    depth: int = Field(8, ge=2, le=32)
    cells: int = Field(16, ge=4, le=64)
    """Cells of the grid along each side of the frame."""
    code: int = Field(128, gt=MOMENTS, le=1024)
    width: int = Field(96, ge=8, le=256)
    hidden: int = Field(128, ge=8, le=512)
    pair: int = Field(64, ge=8, le=256)
    embedding: int = Field(32, ge=4, le=128)
    """Length of the vectors by which pixels are matched with tones."""

    @model_validator(mode="after")
    def _cells_divide(self) -> "StudentConfig":
        if (self.thumbnail // 2) % self.cells:
            raise ValueError(f"cells is {self.cells}, expected a divisor of half the thumbnail, {self.thumbnail // 2}")
        return self


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
    """All that is measured, not learned, of each region: mean, Cholesky factor, histogram, area (B, R, SUMMARY)."""
    mean, factor = region_moments(opponent(image), regions)
    area = regions.mean((2, 3))[..., None]
    return torch.cat([mean, factor, region_histogram(image, regions), area], -1)


def region_average(features: Tensor, regions: Tensor) -> Tensor:
    """Mean (B, R, K) of features (B, K, H, W) over each region (B, R, H, W)."""
    weights = regions.flatten(2)
    weights = weights / (weights.sum(2, keepdim=True) + 1e-4)
    return torch.matmul(weights, features.flatten(2).transpose(1, 2))


def halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def enlarge(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


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
    volume = vertices.permute(0, 3, 2, 1).reshape(b, k, d, n)
    # Three by three by three, as two flat means: runtimes are at home in four dimensions.
    across = F.avg_pool2d(volume.reshape(b, k * d, cells, cells), 3, 1, 1)
    near = F.avg_pool2d(across.reshape(b, k, d, n), (3, 1), 1, (1, 0))
    far = volume.mean((2, 3), keepdim=True)
    return (volume + 0.1 * near + 0.01 * far).permute(0, 3, 2, 1)


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


class Trunk(nn.Module):
    """What both networks see in a picture (B, 3, T, T): features (B, width, T/16, T/16), embedded pixels
    (B, embedding, T/4, T/4). They share one, so that alike things are embedded alike in frame and reference."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        width, embedding = config.width, config.embedding
        self.quarter = nn.Sequential(down(3, 16), down(16, 32))
        self.eighth = down(32, 64)
        self.sixteenth = nn.Sequential(down(64, width), Residual(width), Residual(width))
        self.surroundings = nn.Linear(width, width)
        self.laterals = nn.ModuleList(nn.Conv2d(channels, embedding, 1) for channels in (32, 64, width))
        self.embed = nn.Sequential(nn.ReLU(), nn.Conv2d(embedding, embedding, 3, 1, 1))
        self.prototypes = nn.Linear(embedding, config.tones)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        quarter = self.quarter(picture)
        eighth = self.eighth(quarter)
        features = self.sixteenth(eighth)
        features = features + self.surroundings(features.mean((2, 3)))[:, :, None, None]
        coarse = self.laterals[1](eighth) + enlarge(self.laterals[2](features), 2)
        return features, self.embed(self.laterals[0](quarter) + enlarge(coarse, 2))

    def tones(self, embedded: Tensor, keys: Tensor | float = 0.0) -> Tensor:
        """Share of each tone in embedded pixels (B, embedding, h, w): (B, tones, h, w), summing to 1.

        A softmax over dot products with the tones' prototypes, shifted by `keys` (B, tones, embedding + 1).
        """
        b, _, h, w = embedded.shape
        keys = keys + torch.cat([self.prototypes.weight, self.prototypes.bias[:, None]], 1)[None]
        logits = torch.matmul(keys[..., :-1], embedded.flatten(2)) + keys[..., -1:]
        return torch.softmax(logits, 1).reshape(b, -1, h, w)


class LookEncoder(nn.Module):
    """Reference (B, 3, T, T) sRGB in [0, 1] and region maps (B, slots, T/2, T/2) in [0, 1]
    -> codes (B, slots + tones, code): of the regions, then of the tones of the whole reference.

    The first nine numbers of a code are its region's colour moments, the others are learned.
    """

    def __init__(self, config: StudentConfig, trunk: Trunk) -> None:
        super().__init__()
        self.config = config
        self.trunk = trunk
        self.head = mlp(SUMMARY + 2 * config.width, config.hidden * 2, config.code - MOMENTS)

    def forward(self, reference: Tensor, regions: Tensor) -> Tensor:
        return self.encode(reference, regions)[0]

    def encode(self, reference: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """The codes, and where the tones lie in the reference: (B, tones, T/4, T/4), summing to 1."""
        features, embedded = self.trunk(reference)
        tones = self.trunk.tones(embedded)
        maps = torch.cat([halve(regions), tones], 1)
        summary = region_summary(halve(halve(reference)), maps)
        coarse = F.avg_pool2d(maps, 4)
        average = region_average(features, coarse)
        deviation = (region_average(features * features, coarse) - average**2).clamp_min(1e-6).sqrt()
        learned = self.head(torch.cat([summary, average, deviation], -1))
        return torch.cat([summary[..., :MOMENTS], learned], -1), tones


class Student(nn.Module):
    """Thumbnail (B, 3, T, T) sRGB in [0, 1], region maps (B, slots, T/2, T/2) in [0, 1] that sum to at most 1, codes
    (B, slots + tones, code) -> coefficients (B, depth, cells, cells, 12). What no map covers goes to the tones."""

    def __init__(self, config: StudentConfig, trunk: Trunk) -> None:
        super().__init__()
        self.config = config
        width, hidden, pair = config.width, config.hidden, config.pair
        self.trunk = trunk
        self.key = nn.Linear(config.code, config.embedding + 1)
        nn.init.zeros_(self.key.weight)
        nn.init.zeros_(self.key.bias)
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
        return self.match(thumbnail, regions, codes)[0]

    def match(self, thumbnail: Tensor, regions: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The coefficients, and by how much each pixel resembles each tone: attention (B, tones, T/4, T/4)."""
        features, embedded = self.trunk(thumbnail)
        matched = self.trunk.tones(embedded, self.key(codes[:, self.config.slots :]))
        uncovered = 1 - regions.sum(1, keepdim=True)
        maps = torch.cat([regions, uncovered * enlarge(matched, 2)], 1)
        return self.predict(thumbnail, features, maps, codes), matched

    def predict(self, thumbnail: Tensor, features: Tensor, regions: Tensor, codes: Tensor) -> Tensor:
        """Coefficients for regions (B, slots + tones, T/2, T/2), each with its code."""
        half, quarter = halve(thumbnail), halve(regions)
        shares, pixels = self.vertices(half, regions)
        summary = region_summary(halve(half), quarter)
        pairs, transports = self.pair(summary, region_average(features, F.avg_pool2d(quarter, 4)), codes)
        cells = self.condition(features, shares, pairs)
        mixed = torch.matmul(shares, torch.cat([pairs, transports], -1)[:, None])
        return self.coefficients(cells, mixed, pixels)

    def vertices(self, image: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
        """What lies at each vertex: regions' shares (B, cells^2, depth, R), and mean colour and mass (..., 5)."""
        n, slots = self.config.cells, regions.shape[1]
        tents = depth_tents(guide_map(image), self.config.depth)
        sums = splat(torch.cat([regions, image, torch.ones_like(image[:, :1])], 1), tents, n)
        full = spread(sums, n)
        shares, colour, mass = full.split([slots, 3, 1], -1)
        own = sums[..., slots + 3 :] / (image.shape[2] * image.shape[3] / n**2)
        pixels = torch.cat([colour / (mass + 1e-6), own, (10 * own).clamp(0, 1)], -1)
        return shares / (shares.sum(-1, keepdim=True) + 1e-4), pixels

    def pair(self, summary: Tensor, seen: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """What each region has to do: a learned vector (B, R, pair) and a closed-form map (B, R, 12)."""
        task, gate = self.pairing(torch.cat([summary, seen, codes], -1)).split([self.config.pair, 1], -1)
        mean, factor = summary[..., :3], summary[..., 3:MOMENTS]
        return task, gaussian_transport(mean, factor, codes[..., :MOMENTS], torch.sigmoid(gate))

    def condition(self, features: Tensor, shares: Tensor, pairs: Tensor) -> Tensor:
        """Convolutions over the cells that know the task: (B, cells^2, width)."""
        b, n = features.shape[0], self.config.cells
        task = torch.matmul(shares.mean(2), pairs).transpose(1, 2).reshape(b, -1, n, n)
        axis = (torch.arange(n, device=features.device, dtype=features.dtype) + 0.5) / n * 2 - 1
        place = torch.stack([axis[None].expand(n, n), axis[:, None].expand(n, n)])[None].expand(b, 2, n, n)
        features = features if features.shape[-1] == n else F.interpolate(features, size=(n, n), mode="bilinear")
        x = F.relu(self.enter(torch.cat([features, task, place], 1)))
        return self.conditioned(x).flatten(2).transpose(1, 2)

    def coefficients(self, cells: Tensor, mixed: Tensor, pixels: Tensor) -> Tensor:
        """The closed-form map of every vertex plus what the network adds to it, as the grid of the contract."""
        b, n, depth = cells.shape[0], self.config.cells, self.config.depth
        h = self.from_cell(cells)[:, :, None] + self.from_pair(mixed) + self.from_pixels(pixels) + self.by_depth
        h = F.relu(self.vertex(F.relu(h)))
        grid = mixed[..., self.config.pair :] + self.delta(h)
        return grid.reshape(b, n, n, depth, 12).permute(0, 3, 1, 2, 4)


def new_networks(config: StudentConfig) -> tuple[Student, LookEncoder]:
    """Untrained networks that share their trunk."""
    trunk = Trunk(config)
    return Student(config, trunk), LookEncoder(config, trunk)
