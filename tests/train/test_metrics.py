"""The yardstick, on pictures whose numbers are known beforehand."""

import cv2
import numpy as np
import pytest

pytest.importorskip("skimage")

from skimage.color import deltaE_ciede2000, lab2rgb
from support.pictures import halves, photo

from hueglass.train.metrics import _projected, delta_e, edge, halo, resid, swd

WHOLE = np.ones((1, 48, 64), bool)


def grey(lightness: float) -> np.ndarray:
    """A flat grey (48, 64, 3) of a CIELAB lightness."""
    return lab2rgb(np.full((48, 64, 3), (lightness, 0.0, 0.0))).astype(np.float32)


def joined(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.where(halves()[0][..., None], left, right)


def length(shift: float) -> float:
    """Sliced Wasserstein-2 of a shift s of every colour: sqrt(mean (d . s)^2) over directions, about |s| / sqrt 3."""
    return shift / 3**0.5


def test_swd_of_a_picture_with_itself_is_zero() -> None:
    assert swd(photo(), WHOLE, photo(), WHOLE) == 0
    shuffled = np.random.default_rng(1).permutation(photo().reshape(-1, 3)).reshape(48, 64, 3)
    assert swd(shuffled, WHOLE, photo(), WHOLE) < 1e-4


@pytest.mark.parametrize(("ours", "theirs"), [(40, 60), (70, 20), (50, 52)])
def test_swd_of_two_greys_is_their_distance(ours: float, theirs: float) -> None:
    assert swd(grey(ours), WHOLE, grey(theirs), WHOLE) == pytest.approx(length(abs(ours - theirs)), rel=0.1)


def test_swd_is_symmetric_and_repeatable() -> None:
    one, other = photo(0), photo(1)
    distance = swd(one, WHOLE, other, WHOLE)
    assert distance > 5
    assert swd(one, WHOLE, other, WHOLE) == distance
    assert swd(other, WHOLE, one, WHOLE) == pytest.approx(distance, rel=1e-6)
    assert swd(one, WHOLE, other, WHOLE, samples=2000) == pytest.approx(distance, rel=0.15)


def test_swd_weighs_regions_by_their_area_in_the_output() -> None:
    """A quarter of the output is 20 off, three quarters are 40 off; the regions of the style lie elsewhere."""
    output, style = joined(grey(50), grey(20)), np.where(halves()[1][..., None], grey(70), grey(60))
    distance = swd(output, halves(), style, halves()[::-1])
    assert distance == pytest.approx(length(0.25 * 20 + 0.75 * 40), rel=0.1)


def test_swd_leaves_out_regions_empty_on_either_side() -> None:
    output, style = joined(grey(50), grey(20)), joined(grey(70), grey(60))
    lacking = halves()
    lacking[1] = False
    for maps, style_maps in ((halves(), lacking), (lacking, halves())):
        assert swd(output, maps, style, style_maps) == pytest.approx(length(20), rel=0.1)
    with pytest.raises(ValueError, match="at least one"):
        swd(output, np.zeros_like(halves()), style, halves())


@pytest.mark.parametrize("count", [1, 2, 11, 1024, 5000])
def test_the_quantiles_of_swd_are_those_of_numpy(count: int) -> None:
    rng = np.random.default_rng(count)
    colours, directions = rng.normal(size=(count, 3)) * 50, rng.normal(size=(3, 64))
    fast = _projected(colours, directions, 8192, rng)
    slow = np.quantile(colours @ directions, (np.arange(1024) + 0.5) / 1024, axis=0)
    np.testing.assert_allclose(fast, slow.T, rtol=0, atol=1e-11)


def test_edge_is_one_for_the_picture_and_falls_with_blur() -> None:
    scores = [edge(photo(), cv2.GaussianBlur(photo(), (0, 0), sigma)) for sigma in (0.7, 1.5, 4)]
    assert edge(photo(), photo()) == pytest.approx(1, abs=1e-9)
    assert 0.95 > scores[0] > scores[1] > scores[2] > -0.1
    assert edge(photo(), photo(1)) < 0.6


def test_edge_does_not_see_exposure() -> None:
    assert edge(photo(), 0.5 * photo() + 0.2) == pytest.approx(1, abs=1e-4)


def test_edge_of_a_flat_picture_is_finite() -> None:
    assert 0 <= edge(photo(), grey(50)) < 0.5


def test_resid_is_nothing_for_affine_recolourings_and_everything_for_noise() -> None:
    content = photo()
    linear = np.array([[0.6, 0.2, 0.0], [0.1, 0.5, 0.1], [0.0, 0.3, 0.5]], np.float32)
    assert resid(content, content) < 0.01
    assert resid(content, content @ linear.T + 0.1) < 0.01
    noise = np.random.default_rng(3).random(content.shape, np.float32)
    assert 0.9 < resid(content, noise) <= 1
    assert resid(grey(50), noise) == pytest.approx(1, abs=1e-6)


def test_resid_is_the_share_of_what_was_added() -> None:
    """Content of variance s^2 plus noise of variance s^2: half of it is new, but for the 3 of 81 a plane can fit."""
    rng = np.random.default_rng(4)
    content, added = (0.5 + 0.1 * rng.standard_normal((96, 96, 3)) for _ in range(2))
    assert resid(content, content + added) == pytest.approx(0.5, abs=0.04)


def test_resid_sees_smearing() -> None:
    assert resid(photo(), cv2.GaussianBlur(photo(), (0, 0), 3)) > 20 * resid(photo(), 0.7 * photo())


def test_delta_e_is_ciede2000() -> None:
    assert delta_e(photo(), photo()) == 0
    known = float(deltaE_ciede2000((50.0, 0.0, 0.0), (60.0, 0.0, 0.0)))
    assert known == pytest.approx(9.5, abs=0.2)
    assert delta_e(grey(50), grey(60)) == pytest.approx(known, abs=0.02)


def test_delta_e_does_not_see_what_a_small_blur_hides() -> None:
    """A checkerboard of single pixels, seen at 3 pixels' blur, is its mean."""
    y, x = np.mgrid[0:300, 0:300]
    checks = 0.5 + 0.02 * ((x + y) % 2 * 2 - 1)
    board = np.repeat(checks[..., None], 3, -1).astype(np.float32)
    assert delta_e(board, np.full_like(board, 0.5)) < 0.05


def scene(size: tuple[int, int] = (150, 200)) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture, and its left and right half as maps."""
    rng = np.random.default_rng(5)
    image = cv2.GaussianBlur(rng.random((*size, 3), np.float32), (0, 0), 2)
    image = (image - image.min()) / (image.max() - image.min())
    left = np.zeros(size, bool)
    left[:, : size[1] // 2] = True
    return image, np.stack([left, ~left])


def lights(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two lights, of which a quadratic map of colours is none the less exact."""
    return 0.2 + 0.5 * image, 0.9 * image**2


def test_a_light_for_each_region_up_to_its_border_has_no_halo() -> None:
    image, maps = scene()
    assert halo(image, image, maps) == pytest.approx(0, abs=1e-3)
    assert halo(image, np.where(maps[0][..., None], *lights(image)), maps) == pytest.approx(0, abs=0.05)


def test_lights_that_reach_into_one_another_are_a_halo() -> None:
    """The wider the border, the more; the band is 3 % of the width."""
    image, maps = scene()
    off = []
    for sigma in (2, 4, 8):
        soft = cv2.GaussianBlur(maps[0].astype(np.float32), (0, 0), sigma)[..., None]
        one, other = lights(image)
        off.append(halo(image, soft * one + (1 - soft) * other, maps))
    assert 0.5 < off[0] < off[1] < off[2]


def test_a_halo_counted_by_hand() -> None:
    """A glow of five lightnesses in a band of the right half alone: it is one of two regions."""
    image, maps = scene()
    output = lab2rgb(np.full((150, 200, 3), (50.0, 0, 0))).astype(np.float32)
    output[:, 100:106] = lab2rgb(np.full((1, 1, 3), (55.0, 0, 0)))
    wanted = deltaE_ciede2000(np.array([50.0, 0, 0]), np.array([55.0, 0, 0]))
    assert halo(image, output, maps) == pytest.approx(float(wanted) / 2, rel=0.02)


def test_regions_too_small_to_have_an_inside_have_no_halo() -> None:
    image, _ = scene()
    thin = np.zeros((1, 150, 200), bool)
    thin[:, :, 90:106] = True
    assert halo(image, 1 - image, thin) == 0
    assert halo(image, 1 - image, np.ones((1, 150, 200), bool)) == 0
