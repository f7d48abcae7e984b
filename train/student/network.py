"""The student: the whole network in one file.

    LookEncoder   reference photo, its regions                 -> a code per region and per tone, once per look
    Student       thumbnail, its regions, the codes            -> coefficients of a bilateral grid

Both see a picture through the same summary: per region, colour moments and a luma histogram with the mean
colour of every bin. The student starts from the closed-form answer to "give this region the colours of that
one" (the Knothe-Rosenblatt map between two Gaussians), learns per region and luma what the closed form gets wrong,
spreads that over the grid by where each region's pixels really lie in space *and* luma, and adds a correction of
its own, thought out in coarser cells. Regions are treated alike whatever their slot, so slots carry no meaning.

What no region covers is matched by the networks themselves: the encoder divides the whole reference softly into
*tones*, the student finds for every pixel the tones that it resembles (attention: embedded pixels against the
tones' keys), and from there on a tone is one more region.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from hueglass.infer.model.manifest import TONES
from hueglass.infer.regions.regions import SLOTS
from hueglass.train.bilateral import depth_tents, guide_map

from .sums import FROM_OPPONENT, MEASURED, MOMENTS, OPPONENT, SUMMARY, averages, region_sums, summary
from .vertices import between, enlarge, filled, filling, halve, merge, mixed, shares, splat


class StudentConfig(BaseModel):
    """Sizes of the two networks. They travel with every checkpoint and bundle."""

    model_config = ConfigDict(extra="forbid")

    thumbnail: int = Field(256, ge=64, le=512, multiple_of=64)
    slots: int = Field(SLOTS, ge=1, le=SLOTS)
    tones: int = Field(8, ge=1, le=TONES)
    """Soft parts of the reference that serve where no region is given."""
    depth: int = Field(8, ge=2, le=32)
    cells: int = Field(32, ge=4, le=64)
    """Cells of the grid along each side of the frame: what a region does is told apart as finely."""
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
        if self.cells % self.context:
            raise ValueError(f"cells is {self.cells}, expected at most {self.context} or a multiple of it")
        return self

    @property
    def context(self) -> int:
        """Cells along each side in which the network's own correction is thought out: a sixteenth of the thumbnail."""
        return min(self.cells, self.thumbnail // 16)


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
        levels = self.look(picture)
        return self.place(levels, levels[-1].mean((2, 3)))

    def look(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the picture shows at a quarter, an eighth and a sixteenth of its size, as if nothing lay around it."""
        quarter = self.quarter(picture)
        eighth = self.eighth(quarter)
        return quarter, eighth, self.sixteenth(eighth)

    def place(self, levels: tuple[Tensor, Tensor, Tensor], around: Tensor) -> tuple[Tensor, Tensor]:
        """The same in its surroundings, whose mean features at a sixteenth are `around` (B, width)."""
        quarter, eighth, sixteenth = levels
        features = sixteenth + self.surroundings(around)[:, :, None, None]
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
        sums = region_sums(halve(halve(reference)), torch.cat([features, features * features], 1), maps)
        measured = summary(sums)
        average, square = averages(sums).chunk(2, -1)
        deviation = (square - average**2).clamp_min(1e-6).sqrt()
        learned = self.head(torch.cat([measured, average, deviation], -1))
        return torch.cat([measured[..., :MOMENTS], learned], -1), tones


class Sight(NamedTuple):
    """What the student makes of a frame: `coefficients` (B, depth, cells, cells, 12); by how much each pixel resembles
    each tone, `attention` (B, tones, T/4, T/4); and the frame's own `sums` (B, slots + tones + 1, MEASURED + width):
    of its regions, its tones, and the whole of it."""

    coefficients: Tensor
    attention: Tensor
    sums: Tensor


class Student(nn.Module):
    """Thumbnail (B, 3, T, T) sRGB in [0, 1], region maps (B, slots, T/2, T/2) in [0, 1] that sum to at most 1, codes
    (B, slots + tones, code) -> coefficients (B, depth, cells, cells, 12). What no map covers goes to the tones."""

    between: Tensor

    def __init__(self, config: StudentConfig, trunk: Trunk) -> None:
        super().__init__()
        self.config = config
        width, hidden, pair = config.width, config.hidden, config.pair
        self.remembered = MEASURED + width
        self.trunk = trunk
        self.register_buffer("between", between(config.context, config.cells // config.context), persistent=False)
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
        self.curve = nn.Linear(pair, config.depth * 12)
        for begins_as_nothing in (self.delta, self.curve):
            nn.init.zeros_(begins_as_nothing.weight)
            nn.init.zeros_(begins_as_nothing.bias)

    def forward(self, thumbnail: Tensor, regions: Tensor, codes: Tensor, memory: Tensor | None = None) -> Tensor:
        return self.see(thumbnail, regions, codes, memory).coefficients

    def see(self, thumbnail: Tensor, regions: Tensor, codes: Tensor, memory: Tensor | None = None) -> "Sight":
        """All that comes of a frame. `memory`, as `Sight.sums`, is of the scene around it, and counts as many frames as
        the mass of its last row says; none: what the frame shows is all there is."""
        half = halve(thumbnail)
        levels = self.trunk.look(thumbnail)
        whole = region_sums(halve(half), levels[-1], torch.ones_like(half[:, :1, ::2, ::2]))
        features, embedded = self.trunk.place(levels, averages(_with(whole, memory, -1))[:, 0])
        attention = self.trunk.tones(embedded, self.key(codes[:, self.config.slots :]))
        uncovered = (1 - regions.sum(1, keepdim=True)).clamp_min(0)  # rounded, it may be less than none
        maps = torch.cat([regions, uncovered * enlarge(attention, 2)], 1)
        sums = torch.cat([region_sums(halve(half), features, halve(maps)), whole], 1)
        pairs, transports = self.pair(_with(sums, memory, 0), codes)
        fine = self.vertices(half, maps)
        coarse = merge(fine, self.config.cells // self.config.context)
        around = filling(coarse)
        grid = mixed(shares(filled(fine, around)), transports)
        return Sight(grid + self.correct(features, coarse, around, pairs, transports), attention, sums)

    def vertices(self, image: Tensor, regions: Tensor) -> Tensor:
        """What lies at each vertex, (B, depth, cells, cells, R + 4): the mass of each region, colours, and all mass."""
        tents = depth_tents(guide_map(image), self.config.depth)
        return splat(torch.cat([regions, image, torch.ones_like(image[:, :1])], 1), tents, self.config.cells)

    def pair(self, sums: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """What each region has to do, from the sums (B, R + 1, S), the last of the whole.

        A learned vector (B, R, pair), and for every depth an affine map (B, depth, R, 12): the closed form, and what is
        learned to be right for all of the region, wherever it lies.
        """
        sums, whole = sums[:, :-1], sums[:, -1:, :1]
        measured = summary(sums, whole)
        task, gate = self.pairing(torch.cat([measured, averages(sums), codes], -1)).split([self.config.pair, 1], -1)
        mean, factor = measured[..., :3], measured[..., 3:MOMENTS]
        closed = gaussian_transport(mean, factor, codes[..., :MOMENTS], torch.sigmoid(gate))
        learned = self.curve(task).unflatten(-1, (self.config.depth, 12)).transpose(1, 2)
        return task, closed[:, None] + learned

    def correct(self, features: Tensor, vertices: Tensor, around: Tensor, pairs: Tensor, transports: Tensor) -> Tensor:
        """What the network adds to the maps of the regions: (B, depth, cells, cells, 12).

        `vertices` and what fills them, `around`, are of its own cells: (B, depth, context, context, R + 4).
        """
        known = shares(filled(vertices, around))
        task = torch.matmul(known.flatten(2, 3), pairs[:, None]).unflatten(2, known.shape[2:4])
        cells = self.condition(features, task.mean(1))
        told = torch.cat([task, mixed(known, transports)], -1)
        h = self.from_cell(cells)[:, None] + self.from_pair(told) + self.from_pixels(self.pixels(vertices, around))
        delta = self.delta(F.relu(self.vertex(F.relu(h + self.by_depth[:, None, None]))))
        if self.config.cells == self.config.context:
            return delta
        rows = torch.matmul(self.between, delta.flatten(3)).unflatten(3, delta.shape[3:])
        return torch.matmul(self.between, rows)

    def pixels(self, vertices: Tensor, around: Tensor) -> Tensor:
        """Mean colour and mass at vertices: (B, depth, context, context, 5)."""
        colour, mass = filled(vertices, around)[..., -4:].split([3, 1], -1)
        own = vertices[..., -1:] / (self.config.thumbnail // 2 / self.config.context) ** 2
        return torch.cat([colour / (mass + 1e-6), own, (10 * own).clamp(0, 1)], -1)

    def condition(self, features: Tensor, task: Tensor) -> Tensor:
        """Convolutions over the cells that know the task (B, context, context, pair): (B, context, context, width)."""
        b, n = features.shape[0], self.config.context
        axis = (torch.arange(n, device=features.device, dtype=features.dtype) + 0.5) / n * 2 - 1
        place = torch.stack([axis[None].expand(n, n), axis[:, None].expand(n, n)])[None].expand(b, 2, n, n)
        features = features if features.shape[-1] == n else F.interpolate(features, size=(n, n), mode="bilinear")
        x = F.relu(self.enter(torch.cat([features, task.permute(0, 3, 1, 2), place], 1)))
        return self.conditioned(x).permute(0, 2, 3, 1)


def _with(sums: Tensor, memory: Tensor | None, first: int) -> Tensor:
    """The sums (B, R, S) and, where there is one, rows of the memory from the `first` on."""
    return sums if memory is None else sums + memory[:, first:]


def new_networks(config: StudentConfig) -> tuple[Student, LookEncoder]:
    """Untrained networks that share their trunk."""
    trunk = Trunk(config)
    return Student(config, trunk), LookEncoder(config, trunk)
