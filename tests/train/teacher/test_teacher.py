"""The teacher on small pictures and an untrained network: what it asks for, what it promises, how it fails."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import hueglass.configs
from hueglass.config_file import read_config
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.grid import bilateral
from hueglass.infer.grid.cpu import native
from hueglass.infer.regions.masks import Mask
from hueglass.train.features import Features, random_features
from hueglass.train.matting_laplacian import MattingLaplacian
from hueglass.train.teacher.config import TeacherConfig
from hueglass.train.teacher.finishing import local_affine_reconstruction
from hueglass.train.teacher.regions import RegionPair, match_regions, whole_pair
from hueglass.train.teacher.teacher import Taught, check_picture, teach, teach_batch

CONFIGS = Path(hueglass.configs.__file__).parent
RED, BLUE, GREEN = (0.7, 0.2, 0.15), (0.15, 0.25, 0.7), (0.2, 0.6, 0.25)


@pytest.fixture(scope="module")
def features() -> Features:
    return random_features("squeezenet")


def setting(**changes: Any) -> TeacherConfig:
    """Ours, but tiny."""
    small: dict[str, Any] = {"size": 48, "stages": [{"evaluations": 6, "laplacian": 300}], "colour_pixels": 1024}
    return TeacherConfig.model_validate(small | {"start": "content"} | changes)


def two_colours(
    height: int, width: int, left: tuple[float, ...], right: tuple[float, ...], seed: int = 0
) -> np.ndarray:
    """Two colours side by side, shaded and with patches and grain: (H, W, 3) uint8 sRGB."""
    rng = np.random.default_rng(seed)
    colours = np.where(np.arange(width)[None, :, None] < width // 2, np.array(left), np.array(right))
    shade = np.linspace(0.8, 1.2, height)[:, None, None]
    patches = cv2.resize(rng.uniform(-0.1, 0.1, (8, 8)), (width, height), interpolation=cv2.INTER_NEAREST)
    image = colours * shade + patches[..., None] + rng.normal(0, 0.02, (height, width, 3))
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def grey(height: int = 48, width: int = 48, seed: int = 0) -> np.ndarray:
    return two_colours(height, width, (0.5, 0.45, 0.4), (0.4, 0.45, 0.5), seed)


def halves(image: np.ndarray, left: str = "left", right: str = "right") -> Mask:
    labels = np.zeros(image.shape[:2], np.uint8)
    labels[:, image.shape[1] // 2 :] = 1
    return Mask(labels, (left, right))


def by_halves(content: np.ndarray, style: np.ndarray) -> RegionPair:
    return match_regions(halves(content), halves(style))


def whole(content: np.ndarray, style: np.ndarray) -> RegionPair:
    return whole_pair((len(content), content.shape[1]), (len(style), style.shape[1]))


def red_less_blue(image: np.ndarray) -> tuple[float, float]:
    """Of the left and the right half, in grey levels."""
    gap = image[..., 0].astype(float) - image[..., 2]
    return float(gap[:, : image.shape[1] // 2].mean()), float(gap[:, image.shape[1] // 2 :].mean())


def matting_energy(content: np.ndarray, output: np.ndarray) -> float:
    image, other = (torch.from_numpy(x.astype(np.float32) / 255).permute(2, 0, 1)[None] for x in (content, output))
    return float(MattingLaplacian(image, eps=1e-5).energy(other))


# What comes out


def test_the_output_has_the_contents_size_and_tells_what_it_cost(features: Features) -> None:
    content, style = grey(80, 57), two_colours(48, 64, RED, BLUE)
    heard: list[tuple[int, int]] = []
    taught = teach(content, style, by_halves(content, style), setting(), features, lambda *n: heard.append(n))
    assert taught.image.shape == content.shape
    assert taught.image.dtype == np.uint8
    assert taught.grid is not None
    assert taught.grid.shape == (8, 16, 16, 12)
    assert set(taught.losses) == {"content", "style", "laplacian", "colour", "out_of_range"}
    assert all(np.isfinite(value) and value >= 0 for value in taught.losses.values())
    assert heard == [(n, 6) for n in range(2, 7)]


@pytest.mark.parametrize("start", ["content", "transport", "noise"])
def test_the_energy_falls_from_every_start(start: str, features: Features) -> None:
    content, style = grey(), two_colours(48, 48, RED, BLUE)
    energies = []
    for evaluations in (1, 4, 8):  # the first only looks
        stages = [{"evaluations": evaluations, "laplacian": 300}]
        config = setting(start=start, stages=stages)
        energies.append(sum(teach(content, style, by_halves(content, style), config, features).losses.values()))
    assert energies[0] > energies[1] > energies[2]
    if start != "transport":
        assert energies[2] < 0.7 * energies[0]


def test_the_same_again_is_the_same(features: Features) -> None:
    content, style = grey(), two_colours(48, 48, RED, BLUE)
    one, two = (teach(content, style, by_halves(content, style), setting(start="noise"), features) for _ in range(2))
    assert np.array_equal(one.image, two.image)
    assert one.losses == two.losses


def test_the_contents_light_is_kept_where_it_is_the_styles(features: Features) -> None:
    content = grey()
    taught = teach(content, content, whole(content, content), setting(), features)
    assert np.abs(taught.image.astype(int) - content).max() <= 1
    assert sum(taught.losses.values()) < 0.1


# Regions


@pytest.mark.parametrize("start", ["content", "transport"])
def test_each_region_takes_the_light_of_its_own(start: str, features: Features) -> None:
    content, style = grey(), two_colours(40, 56, RED, BLUE)
    config = setting(start=start, stages=[{"evaluations": 8, "laplacian": 300}])
    left, right = red_less_blue(teach(content, style, by_halves(content, style), config, features).image)
    assert left > 60
    assert right < -60
    crossed = match_regions(halves(content), halves(style, "right", "left"))
    left, right = red_less_blue(teach(content, style, crossed, config, features).image)
    assert left < -60
    assert right > 60


def test_without_regions_the_halves_do_not_part(features: Features) -> None:
    content = two_colours(48, 48, (0.5, 0.45, 0.4), (0.5, 0.45, 0.4))
    style = two_colours(48, 48, RED, BLUE)
    config = setting(stages=[{"evaluations": 8, "laplacian": 300}])
    left, right = red_less_blue(teach(content, style, whole(content, style), config, features).image)
    assert abs(left - right) < 30
    left, right = red_less_blue(teach(content, style, by_halves(content, style), config, features).image)
    assert left - right > 100


def test_a_region_without_a_counterpart_takes_the_whole_style(features: Features) -> None:
    content, style = grey(), two_colours(48, 48, GREEN, GREEN)
    pair = match_regions(halves(content, "sky", "wall"), halves(style, "sky", "field"))
    assert pair.unmatched == ("wall",)
    taught = teach(content, style, pair, setting(stages=[{"evaluations": 8, "laplacian": 300}]), features)
    assert all(np.isfinite(value) for value in taught.losses.values())
    gain = taught.image[:, 24:].astype(float).mean((0, 1)) - content[:, 24:].mean((0, 1))
    assert gain[1] > 20
    assert gain[0] < -20


def test_a_sliver_of_a_region_that_deep_layers_cannot_see_does_no_harm(features: Features) -> None:
    content, style = grey(), two_colours(48, 48, RED, BLUE)
    labels = np.zeros((48, 48), np.uint8)
    labels[20, 10:25] = 1
    pair = match_regions(Mask(labels, ("left", "right")), halves(style))
    taught = teach(content, style, pair, setting(), features)
    assert all(np.isfinite(value) for value in taught.losses.values())


# Batches


def test_a_batch_is_its_pictures_one_by_one(features: Features) -> None:
    contents = [grey(48, 40, seed) for seed in range(3)]
    styles = [two_colours(48, 48, RED, BLUE), two_colours(44, 60, GREEN, RED), two_colours(47, 33, BLUE, GREEN)]
    items = [(c, s, by_halves(c, s)) for c, s in zip(contents, styles, strict=True)]
    for item, together in zip(items, teach_batch(items, setting(), features), strict=True):
        alone = teach(*item, setting(), features)
        assert isinstance(together, Taught)
        assert np.abs(together.image.astype(int) - alone.image).max() <= 2
        assert together.losses == pytest.approx(alone.losses, rel=0.02, abs=1e-4)


def test_pictures_with_fewer_regions_go_along(features: Features) -> None:
    content, style = grey(48, 40), two_colours(48, 48, RED, BLUE)
    items = [(content, style, by_halves(content, style)), (content, style, whole(content, style))]
    config = setting(start="transport", colour_pixels=1 << 14)
    for item, together in zip(items, teach_batch(items, config, features), strict=True):
        alone = teach(*item, config, features)
        assert isinstance(together, Taught)
        assert np.abs(together.image.astype(int) - alone.image).mean() < 2


class Faulty(Features):
    """A network that answers nothing for bright red pictures."""

    def forward(self, image: torch.Tensor, layers: Any) -> dict[str, torch.Tensor]:
        bad = (image[:, 0].mean((1, 2)) > 0.6)[:, None, None, None]
        return {name: torch.where(bad, torch.nan, values) for name, values in super().forward(image, layers).items()}


def test_a_picture_that_fails_fails_alone(features: Features) -> None:
    faulty = Faulty(features.name, features.stack, features.preparation, "faulty")
    style = two_colours(48, 48, GREEN, BLUE)
    contents = [grey(seed=1), two_colours(48, 48, (0.9, 0.1, 0.1), (0.9, 0.1, 0.1)), grey(seed=2)]
    items = [(content, style, whole(content, style)) for content in contents]
    one, failed, three = teach_batch(items, setting(), faulty)
    assert isinstance(failed, HueglassError)
    assert "\n" not in str(failed)
    with pytest.raises(HueglassError, match="not a number"):
        teach(*items[1], setting(), faulty)
    for item, result in ((items[0], one), (items[2], three)):
        assert isinstance(result, Taught)
        assert np.abs(result.image.astype(int) - teach(*item, setting(), features).image).max() <= 2


def test_a_picture_too_small_is_refused_alone_in_one_line(features: Features) -> None:
    content, style, tiny = grey(), two_colours(48, 48, RED, BLUE), grey(1, 1)
    items = [(content, s, whole(content, s)) for s in (style, tiny, style)]
    one, refused, three = teach_batch(items, setting(), features)
    assert isinstance(one, Taught)
    assert isinstance(three, Taught)
    assert isinstance(refused, UsageError)
    assert str(refused).startswith("the style: is 1x1, expected at least 32 pixels a side")


@pytest.mark.parametrize(("size", "side"), [((5, 5), "content"), ((31, 60), "content"), ((300, 60), "style")])
def test_what_leaves_the_layers_nothing_is_refused(size: tuple[int, int], side: str, features: Features) -> None:
    small, other = grey(*size), grey()
    content, style = (small, other) if side == "content" else (other, small)
    with pytest.raises(UsageError, match=f"the {side}: is {size[1]}x{size[0]}, expected at least 32 pixels a side"):
        teach(content, style, whole(content, style), setting(), features)
    check_picture(small if size[0] > 100 else other, "any", 256)


def test_the_smallest_pictures_pass(features: Features) -> None:
    content, style = grey(32, 32), grey(32, 48)
    for finish in ("grid", "local_affine", "none"):
        taught = teach(content, style, whole(content, style), setting(finish=finish), features)
        assert taught.image.shape == (32, 32, 3)
        assert all(np.isfinite(value) for value in taught.losses.values())


def test_contents_of_several_sizes_are_no_batch(features: Features) -> None:
    style = grey()
    items = [(content, style, whole(content, style)) for content in (grey(48, 48), grey(48, 40))]
    with pytest.raises(ValueError, match="several sizes in one batch"):
        teach_batch(items, setting(), features)


def test_contents_of_one_size_where_they_are_optimised_are_a_batch(features: Features) -> None:
    style = grey()
    contents = (grey(96, 72), grey(192, 144))
    results = teach_batch([(content, style, whole(content, style)) for content in contents], setting(), features)
    assert [r.image.shape for r in results if isinstance(r, Taught)] == [c.shape for c in contents]


# The finish


def test_a_larger_content_is_rendered_through_the_grid(features: Features) -> None:
    content, style = grey(150, 120), two_colours(48, 48, RED, BLUE)
    for finish in ("grid", "local_affine"):
        taught = teach(content, style, by_halves(content, style), setting(finish=finish, grid=(4, 6, 5)), features)
        assert taught.grid is not None
        assert taught.grid.shape == (4, 6, 5, 12)
        assert np.array_equal(taught.image, native.render(taught.grid, content))
        assert np.abs(taught.image.astype(int) - bilateral.render(taught.grid, content)).max() <= 1


def test_without_a_finish_a_larger_content_gets_the_enlarged_pixels(features: Features) -> None:
    content, style = grey(96, 72), two_colours(48, 48, RED, BLUE)
    taught = teach(content, style, by_halves(content, style), setting(finish="none"), features)
    assert taught.grid is None
    assert taught.image.shape == content.shape
    small = cv2.resize(content, (36, 48), interpolation=cv2.INTER_AREA)
    expected = teach(small, style, by_halves(small, style), setting(finish="none"), features).image
    assert np.abs(cv2.resize(taught.image, (36, 48), interpolation=cv2.INTER_AREA).astype(int) - expected).mean() < 6


def test_local_affine_at_full_size_needs_no_grid(features: Features) -> None:
    content, style = grey(48, 40), two_colours(48, 48, RED, BLUE)
    pair = by_halves(content, style)
    plain, affine = (teach(content, style, pair, setting(finish=f), features) for f in ("none", "local_affine"))
    assert plain.grid is None
    assert affine.grid is None
    assert affine.losses == plain.losses
    expected = local_affine_reconstruction(content.astype(np.float32) / 255, plain.image.astype(np.float32) / 255)
    assert np.abs(affine.image - np.clip(expected, 0, 1) * 255).mean() < 1
    assert matting_energy(content, affine.image) < matting_energy(content, plain.image)


def test_a_repaired_output_has_the_contents_detail(features: Features) -> None:
    content, style = grey(48, 40), two_colours(48, 48, RED, BLUE)
    pair = whole(content, style)
    plain, mended = (teach(content, style, pair, setting(finish="none", repair=r), features) for r in (False, True))
    fine = [x.astype(float) - cv2.blur(x.astype(float), (3, 3)) for x in (content, plain.image, mended.image)]
    added = fine[2] - fine[1]
    assert (added * fine[0]).sum() / np.square(fine[0]).sum() > 0.3


# Stages


def test_the_second_stage_makes_the_output_a_photograph_again(features: Features) -> None:
    content, style = grey(), two_colours(48, 48, RED, BLUE)
    pair, free, held = whole(content, style), {"evaluations": 8, "laplacian": 0}, {"evaluations": 8, "laplacian": 1e5}
    one = teach(content, style, pair, setting(stages=[free], finish="none"), features)
    heard: list[tuple[int, int]] = []
    config = setting(stages=[free, held], finish="none")
    two = teach(content, style, pair, config, features, lambda *n: heard.append(n))
    assert matting_energy(content, two.image) < 0.5 * matting_energy(content, one.image)
    assert "laplacian" not in one.losses
    assert two.losses["laplacian"] > 0
    assert heard[-1] == (16, 16)
    assert [n for n, _ in heard] == sorted(n for n, _ in heard)


def test_the_papers_setting_runs_on_small_pictures(features: Features) -> None:
    content, style = grey(), two_colours(48, 48, RED, BLUE)
    paper = read_config(CONFIGS / "teacher_paper.yaml", TeacherConfig)
    energies = []
    for evaluations in (1, 6):
        small = {"features": "squeezenet", "size": 48}
        stages = [{"evaluations": evaluations, "laplacian": stage.laplacian} for stage in paper.stages]
        config = TeacherConfig.model_validate(paper.model_dump() | small | {"stages": stages})
        taught = teach(content, style, by_halves(content, style), config, features)
        energies.append(sum(taught.losses.values()))
    assert energies[1] < 0.9 * energies[0]
    assert taught.grid is None
    assert set(taught.losses) == {"content", "style", "laplacian", "total_variation"}


# The configuration


@pytest.mark.parametrize("file", ["teacher.yaml", "teacher_paper.yaml", "neural_style.yaml"])
def test_the_configurations_that_come_along_are_valid(file: str) -> None:
    config = read_config(CONFIGS / file, TeacherConfig)
    for name in {config.features, *config.style_layers}:
        chosen = TeacherConfig.model_validate(config.model_dump() | {"features": name})
        with torch.device("meta"):  # its layers are wanted, not its weights
            network = random_features(name)
        network.check([*chosen.content_weights(), *chosen.style_weights()])


def test_the_defaults_are_our_setting() -> None:
    assert read_config(CONFIGS / "teacher.yaml", TeacherConfig) == TeacherConfig()


@pytest.mark.parametrize(
    "fault",
    [
        {"evaluations": 5},
        {"stages": []},
        {"stages": [{"evaluations": 0, "laplacian": 1}]},
        {"stages": [{"evaluations": 10**9, "laplacian": 1}]},
        {"stages": [{"evaluations": 5, "laplacian": -1}]},
        {"stages": [{"evaluations": 5, "laplacian": 1, "steps": 3}]},
        {"features": "resnet"},
        {"size": 8},
        {"size": 100_000},
        {"start": "style"},
        {"style_layers": {}},
        {"style_layers": {"vgg19": {"relu1_1": 1}}},
        {"style_layers": {"squeezenet": {"fire2": -1}}},
        {"style_layers": {"squeezenet": {"fire2": float("nan")}}},
        {"colour": -1},
        {"colour_pixels": 0},
        {"colour_directions": 10_000},
        {"laplacian_eps": 0},
        {"finish": "poisson"},
        {"grid": [8, 16]},
        {"grid": [0, 16, 16]},
        {"grid": [8, 16, 65]},
        {"grid_smoothness": 0},
        {"seed": -1},
    ],
)
def test_what_makes_no_sense_is_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        TeacherConfig.model_validate(fault)


def test_a_layer_that_the_network_lacks_is_named(features: Features) -> None:
    content = grey()
    config = setting(style_layers={"squeezenet": {"relu1_1": 1}})
    with pytest.raises(UsageError, match="squeezenet has no layer 'relu1_1'"):
        teach(content, content, whole(content, content), config, features)
