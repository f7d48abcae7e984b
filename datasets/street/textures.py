"""Procedural surfaces of the generated street: noise, clouds, hills, ground and façades.

Colours here are *light*: float32, the square of sRGB in [0, 1], close enough to linear light that shading, haze
and anti-aliasing can simply be multiplied and averaged. Textures with an alpha channel are premultiplied.
"""

from dataclasses import dataclass

import cv2
import numpy as np

FACADE_SCALE = 40
"""Texels per metre of a façade."""
GROUND_SCALE = 32
"""Texels per metre of the ground."""
GROUND_HALF_WIDTH = 16.0
GROUND_PERIOD = 48.0
"""The ground repeats after this many metres."""
ROAD_HALF_WIDTH = 5.3
PAVEMENT_EDGE = 8.3
CLOUD_SIZE = 768


def light(red: float, green: float, blue: float) -> np.ndarray:
    """An sRGB colour in [0, 1] as light (3,)."""
    return np.array([red, green, blue], np.float32) ** 2


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    slope: float = 1.6,
    stretch: tuple[float, float] = (1, 1),
) -> np.ndarray:
    """Tileable noise (H, W), mean 0, deviation 1, with spectrum 1/f^slope; `stretch` lengthens it along y, x."""
    height, width = shape
    fy = np.fft.fftfreq(height)[:, None] * height * stretch[0]
    fx = np.fft.rfftfreq(width)[None] * height * stretch[1]
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) / radius**slope
    noise = np.fft.irfft2(spectrum, s=shape).astype(np.float32)
    return noise / noise.std()


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, a smooth ramp between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def running_sums(texture: np.ndarray) -> np.ndarray:
    """Sums (N + 1, ...) along the first axis: the mean over any stretch of rows is then two look-ups."""
    sums = np.zeros((len(texture) + 1, *texture.shape[1:]), np.float32)
    np.cumsum(texture, axis=0, dtype=np.float32, out=sums[1:])
    return sums


def cloud_field(rng: np.random.Generator) -> np.ndarray:
    """Cumulus seen from below, tileable (N, N, 2): opacity in [0, 1], and how much sun reaches the viewer."""
    shape = (CLOUD_SIZE, CLOUD_SIZE)
    noise = -0.05 + fractal_noise(rng, shape, 2.0) + 0.22 * fractal_noise(rng, shape, 1.25)
    opacity = smoothstep(0.1, 1.0, noise)
    thickness = cv2.GaussianBlur(np.tile(np.maximum(noise, 0), (3, 3)), (0, 0), 5)
    thickness = thickness[CLOUD_SIZE:-CLOUD_SIZE, CLOUD_SIZE:-CLOUD_SIZE]
    towards_sun = np.roll(thickness, (9, -9), (0, 1))
    sunlit = np.clip(np.exp(-0.42 * thickness) + 0.22 * (thickness - towards_sun), 0.2, 1.15)
    return np.dstack([opacity, sunlit]).astype(np.float32)


def hill_profile(rng: np.random.Generator, roughness: float) -> np.ndarray:
    """Heights (2048,) in [0, 1] of a ridge all around the horizon."""
    noise = fractal_noise(rng, (1, 2048), roughness, (1, 2048))[0]
    return (noise - noise.min()) / np.ptp(noise)


def ground_texture(rng: np.random.Generator) -> np.ndarray:
    """Road, kerbs, pavements and verges (Nz, Nx, 3): rows along the street, columns across it, left to right."""
    rows, columns = int(GROUND_PERIOD * GROUND_SCALE), int(2 * GROUND_HALF_WIDTH * GROUND_SCALE)
    x = (np.arange(columns) + 0.5) / GROUND_SCALE - GROUND_HALF_WIDTH
    mottle = fractal_noise(rng, (rows, columns), 1.3)
    grain = rng.standard_normal((rows, columns), dtype=np.float32)
    asphalt = _asphalt(x, mottle, grain, fractal_noise(rng, (rows, columns), 1.5, (6, 1)))
    _paint_markings(asphalt, x, mottle)
    paving = _paving(rng, rows, x, mottle, grain)
    grass = light(0.36, 0.42, 0.22) * (1 + 0.22 * mottle + 0.3 * grain)[..., None]
    across = np.abs(x)[None, :, None]
    ground = np.where(across < ROAD_HALF_WIDTH, asphalt, paving)
    kerb = light(0.66, 0.65, 0.62) * (1 + 0.06 * grain[..., None])
    ground = np.where((across > ROAD_HALF_WIDTH) & (across < ROAD_HALF_WIDTH + 0.2), kerb, ground)
    gutter = 1 - 0.38 * np.exp(-(((across - ROAD_HALF_WIDTH + 0.06) / 0.13) ** 2))
    return np.clip(np.where(across < PAVEMENT_EDGE, ground * gutter, grass), 0.01, 1).astype(np.float32)


def _asphalt(x: np.ndarray, mottle: np.ndarray, grain: np.ndarray, streaks: np.ndarray) -> np.ndarray:
    worn = np.exp(-(((np.abs(np.abs(x) - 1.6) - 0.8) / 0.35) ** 2))  # two wheel tracks in each lane
    seams = np.exp(-((np.abs(np.abs(x) - 3.15) / 0.05) ** 2))
    shade = 1 + 0.08 * mottle + 0.07 * streaks + 0.10 * grain + 0.10 * worn - 0.25 * seams
    cracks = smoothstep(0.03, 0.0, np.abs(mottle - 0.4 + 0.03 * grain)) * smoothstep(0.2, 1.2, streaks)
    return light(0.43, 0.435, 0.45) * (shade - 0.3 * cracks)[..., None]


def _paint_markings(asphalt: np.ndarray, x: np.ndarray, mottle: np.ndarray) -> None:
    z = (np.arange(len(asphalt)) + 0.5) / GROUND_SCALE
    dashed = (np.abs(x)[None] < 0.075) & ((z % 8) < 3.4)[:, None]
    edges = np.broadcast_to(np.abs(np.abs(x) - 3.05) < 0.05, dashed.shape)
    cover = (dashed | edges) * np.clip(0.85 - 0.16 * mottle, 0.35, 1) * 0.9
    asphalt += cover.astype(np.float32)[..., None] * (light(0.88, 0.87, 0.83) - asphalt)


def _paving(rng: np.random.Generator, rows: int, x: np.ndarray, mottle: np.ndarray, grain: np.ndarray) -> np.ndarray:
    z = (np.arange(rows) + 0.5) / GROUND_SCALE
    along, across = np.floor(z / 0.8).astype(int), np.floor(x / 0.6).astype(int)
    slabs = rng.standard_normal((along.max() + 1, np.ptp(across) + 1)).astype(np.float32)
    tone = slabs[along][:, across - across.min()]
    joints = ((z % 0.8) < 0.035)[:, None] | ((x % 0.6) < 0.035)[None]
    shade = 1 + 0.05 * tone + 0.08 * mottle + 0.06 * grain - 0.28 * joints
    return light(0.62, 0.60, 0.56) * shade[..., None]


@dataclass(frozen=True)
class FacadeStyle:
    """What the street side and the end wall of one house share. Lengths in metres, colours as light."""

    wall: np.ndarray
    brick: bool
    trim: np.ndarray
    roof: np.ndarray
    joinery: np.ndarray
    floors: int
    shop: bool

    @property
    def eaves(self) -> float:
        """Height of the cornice."""
        return 3.7 + 3.1 * (self.floors - 1) + 0.35

    @property
    def height(self) -> float:
        """Height of the texture: the cornice, the roof and the chimneys on it."""
        return self.eaves + 3.2


WALLS = (
    (light(0.64, 0.38, 0.29), True),
    (light(0.86, 0.79, 0.66), False),
    (light(0.71, 0.53, 0.40), True),
    (light(0.83, 0.68, 0.46), False),
    (light(0.55, 0.33, 0.28), True),
    (light(0.85, 0.84, 0.80), False),
    (light(0.80, 0.62, 0.53), False),
    (light(0.73, 0.66, 0.55), True),
    (light(0.66, 0.70, 0.64), False),
)
JOINERY = (light(0.16, 0.26, 0.24), light(0.38, 0.13, 0.12), light(0.17, 0.22, 0.33), light(0.27, 0.22, 0.18))


def facade_style(rng: np.random.Generator, index: int) -> FacadeStyle:
    """One house of the street; `index` walks through the wall colours, so that neighbours differ."""
    wall, brick = WALLS[index % len(WALLS)]
    return FacadeStyle(
        wall=wall * rng.uniform(0.9, 1.1),
        brick=brick,
        trim=light(0.84, 0.81, 0.75) * rng.uniform(0.8, 1),
        roof=light(0.38, 0.39, 0.43) if rng.random() < 0.6 else light(0.52, 0.35, 0.29),
        joinery=JOINERY[rng.integers(len(JOINERY))],
        floors=int(rng.integers(2, 5)),
        shop=rng.random() < 0.6,
    )


def facade(rng: np.random.Generator, style: FacadeStyle, width: float, blind: bool = False) -> np.ndarray:
    """A house front (H, W, 4), premultiplied light and alpha; `blind` leaves out most windows and the shop."""
    rows, columns = int(style.height * FACADE_SCALE), int(width * FACADE_SCALE)
    wall = np.empty((rows, columns, 3), np.float32)
    wall[:] = _masonry(rng, style, rows, columns)[..., None] * style.wall
    pen = _Pen(wall, style.height)
    bays = max(2, round(width / 2.7))
    for floor in range(style.floors):
        base = 0.0 if floor == 0 else 3.7 + 3.1 * (floor - 1)
        if floor == 0 and style.shop and not blind:
            _shop_front(rng, pen, style, width)
            continue
        for bay in range(bays):
            centre = width * (bay + 0.5) / bays
            if blind and rng.random() < 0.65:
                continue
            if floor == 0 and bay == bays // 2 and not blind:
                _door(pen, style, centre)
            else:
                _window(rng, pen, style, centre, base + 1.0, 1.75 if floor < 2 else 1.55)
    _string_courses(pen, style, width)
    alpha = _roof(rng, pen, style, width)
    height = style.height - (np.arange(rows, dtype=np.float32) + 0.5) / FACADE_SCALE
    wall *= (0.66 + 0.34 * smoothstep(-0.6, 5.5, height))[:, None, None]
    return np.dstack([wall * alpha[..., None], alpha]).astype(np.float32)


class _Pen:
    """Draws rectangles in metres, from the left edge and up from the ground."""

    def __init__(self, image: np.ndarray, height: float) -> None:
        self.image, self.height = image, height

    def area(self, left: float, right: float, bottom: float, top: float) -> np.ndarray:
        rows = slice(
            max(0, round((self.height - top) * FACADE_SCALE)),
            max(0, round((self.height - bottom) * FACADE_SCALE)),
        )
        return self.image[rows, max(0, round(left * FACADE_SCALE)) : max(0, round(right * FACADE_SCALE))]

    def fill(self, left: float, right: float, bottom: float, top: float, colour: np.ndarray | float) -> None:
        self.area(left, right, bottom, top)[:] = colour

    def shade(self, left: float, right: float, bottom: float, top: float, upper: float, lower: float) -> None:
        """Multiply by a vertical ramp."""
        area = self.area(left, right, bottom, top)
        area *= np.linspace(upper, lower, len(area), dtype=np.float32)[:, None, None]


def _masonry(rng: np.random.Generator, style: FacadeStyle, rows: int, columns: int) -> np.ndarray:
    stains = fractal_noise(rng, (rows, columns), 1.5, (3, 1))
    shade = 1 + 0.07 * stains + 0.05 * rng.standard_normal((rows, columns), dtype=np.float32)
    if not style.brick:
        return shade
    course = np.arange(rows) // 4
    stone = (np.arange(columns)[None] + 5 * (course % 2)[:, None]) // 10
    tones = rng.standard_normal((course.max() + 1, stone.max() + 1)).astype(np.float32)
    mortar = (np.arange(rows) % 4 == 0)[:, None] | ((np.arange(columns)[None] + 5 * (course % 2)[:, None]) % 10 == 0)
    return shade + 0.13 * tones[course[:, None], stone] + 0.2 * mortar


def _window(rng: np.random.Generator, pen: _Pen, style: FacadeStyle, centre: float, base: float, height: float) -> None:
    left, right, top = centre - 0.55, centre + 0.55, base + height
    pen.fill(left - 0.14, right + 0.14, base - 0.02, top + 0.22, style.trim * 0.9)
    pen.fill(left - 0.2, right + 0.2, base - 0.14, base, style.trim)
    pen.shade(left - 0.2, right + 0.2, base - 0.42, base - 0.14, 0.62, 1.0)
    pen.fill(left, right, base, top, light(0.85, 0.84, 0.81))
    _glass(rng, pen, left + 0.07, right - 0.07, base + 0.07, top - 0.07)
    pen.fill(centre - 0.03, centre + 0.03, base, top, light(0.82, 0.81, 0.78))
    pen.fill(left, right, base + height * 0.62, base + height * 0.62 + 0.06, light(0.82, 0.81, 0.78))
    pen.shade(left, right, top - 0.28, top, 0.35, 0.85)  # the lintel's shadow
    pen.shade(right - 0.12, right, base, top - 0.28, 0.6, 0.6)


def _glass(rng: np.random.Generator, pen: _Pen, left: float, right: float, bottom: float, top: float) -> None:
    area = pen.area(left, right, bottom, top)
    ramp = np.linspace(0, 1, len(area), dtype=np.float32)[:, None, None] ** 1.5
    tint = rng.uniform(0.7, 1.3)
    area[:] = light(0.44, 0.52, 0.60) * tint * (1 - ramp) + light(0.17, 0.18, 0.20) * ramp
    if rng.random() < 0.45:  # a curtain on either side
        cloth = light(0.70, 0.66, 0.58) * rng.uniform(0.4, 0.8)
        width = max(1, int(area.shape[1] * rng.uniform(0.15, 0.3)))
        for strip in (area[:, :width], area[:, -width:]):
            strip[:] = 0.3 * strip + 0.7 * cloth


def _door(pen: _Pen, style: FacadeStyle, centre: float) -> None:
    pen.fill(centre - 0.75, centre + 0.75, 0, 2.85, style.trim * 0.9)
    pen.fill(centre - 0.52, centre + 0.52, 0.12, 2.6, style.joinery)
    pen.fill(centre - 0.42, centre + 0.42, 2.1, 2.5, light(0.30, 0.35, 0.40))
    for left in (-0.4, 0.06):
        pen.shade(centre + left, centre + left + 0.34, 0.35, 1.05, 0.7, 1.2)
        pen.shade(centre + left, centre + left + 0.34, 1.2, 1.95, 0.7, 1.2)
    pen.shade(centre - 0.52, centre + 0.52, 2.3, 2.6, 0.4, 0.9)


def _shop_front(rng: np.random.Generator, pen: _Pen, style: FacadeStyle, width: float) -> None:
    pen.fill(0.15, width - 0.15, 0, 3.45, style.joinery)
    panes = max(2, round(width / 2.4))
    for pane in range(panes):
        left = 0.35 + (width - 0.7) * pane / panes
        right = 0.35 + (width - 0.7) * (pane + 1) / panes - 0.14
        bottom = 0.15 if pane == panes // 2 else 0.6
        _glass(rng, pen, left, right, bottom, 2.6)
        inside = pen.area(left + 0.1, right - 0.1, bottom + 0.1, 2.5)
        lamps = np.linspace(1, 0, len(inside), dtype=np.float32)[:, None, None] ** 2
        inside += lamps * light(0.46, 0.38, 0.26) * rng.uniform(0.2, 1)
        for place in rng.uniform(0.1, 0.9, 5):  # goods on display
            reach = rng.uniform(0.1, 0.22)
            middle, top = left + place * (right - left), bottom + rng.uniform(0.3, 0.8)
            goods = pen.area(max(left + 0.1, middle - reach), min(right - 0.1, middle + reach), bottom + 0.08, top)
            goods[:] = 0.55 * goods + 0.45 * light(0.62, 0.52, 0.42) * rng.uniform(0.2, 1.2) * rng.uniform(0.75, 1.2, 3)
    awning = (light(0.62, 0.22, 0.18), light(0.24, 0.38, 0.33), light(0.78, 0.72, 0.6))[rng.integers(3)]
    stripes = (np.arange(pen.area(0.3, width - 0.3, 2.25, 2.95).shape[1]) // 14 % 2)[None, :, None]
    pen.area(0.3, width - 0.3, 2.25, 2.95)[:] = np.where(stripes, awning, light(0.86, 0.83, 0.76))
    pen.shade(0.3, width - 0.3, 2.25, 2.95, 1.05, 0.75)
    pen.shade(0.3, width - 0.3, 1.3, 2.25, 0.35, 1.0)
    pen.fill(0.15, width - 0.15, 3.45, 3.58, style.trim)


def _string_courses(pen: _Pen, style: FacadeStyle, width: float) -> None:
    eaves = style.eaves
    pen.fill(0, width, 3.6, 3.74, style.trim * 0.9)
    pen.shade(0, width, 3.4, 3.6, 0.7, 1.0)
    pen.fill(0, width, eaves - 0.38, eaves, style.trim)
    pen.shade(0, width, eaves - 0.38, eaves, 1.05, 0.72)
    pen.shade(0, width, eaves - 0.85, eaves - 0.38, 0.5, 1.0)
    pen.shade(0, 0.12, 0, eaves, 0.72, 0.72)  # a downpipe where two houses meet


def _roof(rng: np.random.Generator, pen: _Pen, style: FacadeStyle, width: float) -> np.ndarray:
    """Draw roof and chimneys; return the alpha of the whole façade."""
    eaves, ridge = style.eaves, style.eaves + 2.0
    area = pen.area(0, width, eaves, ridge)
    tiles = 1 + 0.12 * rng.standard_normal(area.shape[:2], dtype=np.float32)
    tiles *= 1 - 0.25 * (np.arange(len(area)) % 7 == 0)[:, None]
    area[:] = style.roof * tiles[..., None]
    pen.shade(0, width, eaves, ridge, 1.2, 0.85)
    mask = np.zeros(pen.image.shape[:2], np.float32)
    alpha = _Pen(mask, style.height)
    alpha.fill(0, width, 0, ridge, 1.0)
    for place in rng.uniform(0.1, 0.9, int(rng.integers(1, 3))):
        centre = 0.5 + place * (width - 1.2)
        alpha.fill(centre, centre + 0.75, ridge, ridge + 0.85, 1.0)
        alpha.fill(centre + 0.12, centre + 0.28, ridge, ridge + 1.15, 1.0)
        alpha.fill(centre + 0.45, centre + 0.61, ridge, ridge + 1.15, 1.0)
        pen.fill(centre, centre + 0.75, ridge - 0.5, ridge + 1.15, light(0.50, 0.36, 0.30))
        pen.shade(centre, centre + 0.75, ridge - 0.5, ridge + 0.85, 1.1, 0.7)
    for bay in range(max(1, round(width / 4.5))):
        centre = width * (bay + 0.5) / max(1, round(width / 4.5))
        pen.fill(centre - 0.6, centre + 0.6, eaves + 0.1, eaves + 1.6, style.trim * 0.85)
        _glass(rng, pen, centre - 0.42, centre + 0.42, eaves + 0.25, eaves + 1.35)
    return mask
