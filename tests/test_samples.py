"""What a training step is given: exact targets, regions that belong together, and chance that can be replayed."""

from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from hueglass.datasets.photos import Photo, street_photos  # noqa: E402
from hueglass.infer.regions import REGION_NAMES  # noqa: E402
from hueglass.train.samples import (  # noqa: E402
    MAP_SIZE,
    Batch,
    Crop,
    SampleConfig,
    Sampler,
    cut,
    divide,
    label_maps,
    random_crop,
    random_rule,
)

SIZE, SLOTS, COUNT = 64, 8, 6
FULL = Crop(0, 0, 1, 1, False)


@pytest.fixture(scope="module")
def streets() -> list[Photo]:
    return street_photos(3, 80)


@pytest.fixture
def sampler(streets: list[Photo]) -> Sampler:
    return Sampler(SampleConfig(), streets, SIZE, SLOTS, seed=3)


def posterised() -> Photo:
    """Sixteen flat patches, no labels: many pixels of exactly the same colour."""
    colours = np.random.default_rng(0).integers(40, 216, (4, 4, 3), dtype=np.uint8)
    return Photo("patches", np.kron(colours, np.ones((32, 32, 1), np.uint8)))


def tensors(batch: Batch) -> list[Tensor]:
    return [x for x in vars(batch).values() if x is not None]


def assert_same(first: Batch, second: Batch) -> None:
    for a, b in zip(tensors(first), tensors(second), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def assert_well_formed(batch: Batch, size: int = SIZE) -> None:
    for picture in (batch.content, batch.reference):
        assert picture.shape == (COUNT, 3, size, size)
        assert picture.dtype == torch.float32
        assert 0 <= float(picture.min()) < float(picture.max()) <= 1
        assert float(picture.flatten(1).std(1).min()) > 0.01
    for maps in (batch.content_maps, batch.reference_maps):
        assert maps.shape == (COUNT, SLOTS, size // 2, size // 2)
        assert 0 <= float(maps.min()) <= float(maps.max()) <= 1 + 1e-5
        np.testing.assert_allclose(maps.sum(1).numpy(), 1, atol=1e-4)


def test_streets_are_labelled(streets: list[Photo]) -> None:
    for street in streets:
        assert street.image.shape == (80, 106, 3)
        assert street.labels is not None
        assert street.labels.shape == (80, 106)
        assert {REGION_NAMES[n] for n in np.unique(street.labels)} >= {"sky", "building", "ground"}


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 1.0), (None, None)])
def test_self_supervised_samples_are_well_formed(sampler: Sampler, shares: tuple[float | None, float | None]) -> None:
    batch = sampler.self_supervised(COUNT, *shares)
    assert_well_formed(batch)
    assert batch.target is not None
    assert batch.target.shape == batch.content.shape
    assert 0 <= float(batch.target.min()) < float(batch.target.max()) <= 1
    assert float((batch.target - batch.content).abs().mean()) > 0.02


def test_unpaired_samples_have_no_target(sampler: Sampler) -> None:
    batch = sampler.unpaired(COUNT)
    assert_well_formed(batch)
    assert batch.target is None


def test_hidden_regions_are_one_that_covers_everything(sampler: Sampler) -> None:
    batch = sampler.self_supervised(COUNT, shown=0.0)
    for maps in (batch.content_maps, batch.reference_maps):
        np.testing.assert_array_equal(maps[:, 0].numpy(), 1)
        np.testing.assert_array_equal(maps[:, 1:].numpy(), 0)


def test_shown_regions_are_several(sampler: Sampler) -> None:
    batch = sampler.self_supervised(COUNT, shown=1.0)
    used = (batch.content_maps.mean((2, 3)) > 0.01).sum(1)
    assert int(used.min()) >= 1
    assert float(used.float().mean()) > 1.5
    assert float(batch.content_maps[:, 0].min()) < 0.01


@pytest.mark.parametrize("local", [0.0, 1.0])
def test_the_reference_is_in_the_light_of_the_target(streets: list[Photo], local: float) -> None:
    """Where both crops are the whole picture, the reference is the target."""
    config = SampleConfig(smallest_crop=1, flip=0)
    batch = Sampler(config, streets, SIZE, SLOTS, seed=1).self_supervised(COUNT, local=local, shown=1.0)
    assert batch.target is not None
    np.testing.assert_array_equal(batch.target.numpy(), batch.reference.numpy())
    np.testing.assert_array_equal(batch.content_maps.numpy(), batch.reference_maps.numpy())
    assert float((batch.target - batch.content).abs().mean()) > 0.02


def largest_disagreement(batch: Batch) -> float:
    """The most by which target colours differ between pixels of the same content colour (clipped ones left out)."""
    assert batch.target is not None
    worst = 0.0
    for content, target in zip(batch.content, batch.target, strict=True):
        c, t = content.flatten(1).T.numpy(), target.flatten(1).T.numpy()
        inside = ((c > 0.02) & (c < 0.98)).all(1)
        colours, group, counts = np.unique(c[inside], axis=0, return_inverse=True, return_counts=True)
        for n in np.flatnonzero(counts > 20):
            worst = max(worst, float(np.ptp(t[inside][group.ravel() == n], axis=0).max()))
        assert len(colours) == 0 or counts.max() > 20
    return worst


def test_one_grade_for_all_is_a_function_of_colour_alone() -> None:
    sampler = Sampler(SampleConfig(), [posterised()], SIZE, SLOTS, seed=0)
    assert largest_disagreement(sampler.self_supervised(COUNT, local=0.0)) < 1e-5


def test_local_grades_are_a_function_of_colour_and_place() -> None:
    """Two of the same colour, in different regions, part: colour alone does not tell the target."""
    photo = posterised()
    flat = Photo("flat", np.full_like(photo.image, 120), np.repeat([[0, 3]], 64, 1).repeat(128, 0).astype(np.uint8))
    sampler = Sampler(SampleConfig(smallest_crop=0.9), [flat], SIZE, SLOTS, seed=0)
    batch = sampler.self_supervised(16, local=1.0)
    assert batch.target is not None
    varied = batch.target.flatten(2).amax(2) - batch.target.flatten(2).amin(2)
    assert float((varied.amax(1) > 0.02).float().mean()) > 0.8
    plain = sampler.self_supervised(16, local=0.0)
    assert plain.target is not None
    assert float((plain.target.flatten(2).amax(2) - plain.target.flatten(2).amin(2)).max()) < 1e-5


def interior(maps: Tensor) -> Tensor:
    """Pixels (B, slots, T, T) well inside each region of maps (B, slots, T/2, T/2)."""
    inside = -torch.nn.functional.max_pool2d(-maps, 5, 1, 2) > 0.999
    return inside.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_a_region_has_one_light_in_target_and_reference() -> None:
    """A flat picture shows the light alone: the same in a region's every pixel, wherever either crop has it."""
    labels = np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((60, 60), np.uint8))
    flat = Photo("flat", np.full((120, 120, 3), 120, np.uint8), labels)
    batch = Sampler(SampleConfig(), [flat], SIZE, SLOTS, seed=0).self_supervised(16, local=1.0, shown=1.0)
    assert batch.target is not None
    inside, inside_reference = interior(batch.content_maps), interior(batch.reference_maps)
    both = (inside.sum((2, 3)) > 20) & (inside_reference.sum((2, 3)) > 20)
    lights = []
    for b, r in both.nonzero().tolist():
        target, reference = batch.target[b][:, inside[b, r]], batch.reference[b][:, inside_reference[b, r]]
        lights.append(target.mean(1))
        np.testing.assert_allclose(target.numpy(), lights[-1][:, None].expand_as(target).numpy(), atol=0.005)
        np.testing.assert_allclose(reference.numpy(), lights[-1][:, None].expand_as(reference).numpy(), atol=0.005)
    assert len(lights) > 20
    assert float(torch.stack(lights).std(0).min()) > 0.05


def test_a_seed_decides_everything(streets: list[Photo], sampler: Sampler) -> None:
    again = Sampler(SampleConfig(), streets, SIZE, SLOTS, seed=3)
    other = Sampler(SampleConfig(), streets, SIZE, SLOTS, seed=4)
    first = sampler.self_supervised(COUNT)
    assert_same(first, again.self_supervised(COUNT))
    assert float((first.content - other.self_supervised(COUNT).content).abs().mean()) > 0.02


def test_a_restored_sampler_goes_on_bit_for_bit(streets: list[Photo], sampler: Sampler) -> None:
    sampler.self_supervised(2)
    sampler.unpaired(2)
    state = sampler.state()
    taught, free = sampler.self_supervised(COUNT), sampler.unpaired(COUNT)
    fresh = Sampler(SampleConfig(), streets, SIZE, SLOTS, seed=99)
    fresh.restore(state)
    assert_same(taught, fresh.self_supervised(COUNT))
    assert_same(free, fresh.unpaired(COUNT))
    sampler.restore(state)
    assert_same(taught, sampler.self_supervised(COUNT))


def test_unlabelled_photographs_alone_will_do() -> None:
    sampler = Sampler(SampleConfig(labelled=1), [posterised()], SIZE, SLOTS, seed=5)
    assert_well_formed(sampler.self_supervised(COUNT))
    assert_well_formed(sampler.unpaired(COUNT))


def test_unpaired_labels_keep_their_slot_on_both_sides(streets: list[Photo]) -> None:
    """What is sky in one picture is sky in the other: the slot's colour is blue-ish, the other slots' is not."""
    config = SampleConfig(labelled=1, regions=1, smallest_crop=1, flip=0)
    batch = Sampler(config, streets, SIZE, SLOTS, seed=6).unpaired(COUNT)
    rows = torch.arange(SIZE // 2)[:, None]
    heights = [(maps * rows).sum((2, 3)) / maps.sum((2, 3)) for maps in (batch.content_maps, batch.reference_maps)]
    used = batch.content_maps.mean((2, 3)) > 0.01
    assert int(used.sum(1).min()) >= 3
    assert float((heights[0] - heights[1])[used].abs().mean()) < 5
    assert float(torch.stack(heights)[:, used].std()) > 5


def test_shared_classes_are_large_on_both_sides_and_the_largest_come_first() -> None:
    first, second = np.zeros((2, 20, 20), np.uint8)
    first[:8], first[8:10, :10], first[10:12, :2] = 3, 5, 6  # 160, 20 and 4 pixels: four are 1 %, not more
    second[:5], second[5:7], second[7:] = 3, 5, 6
    shared = Sampler(SampleConfig(), [posterised()], SIZE, SLOTS, seed=0)._classes
    assert shared(first, second) == [3, 5]
    assert shared(first, first) == [0, 3, 5]
    assert shared(first, np.full_like(first, 7)) == [0]


def test_label_maps_are_one_for_each_wanted_label_and_the_last_takes_the_rest() -> None:
    labels = np.array([[0, 1, 2], [3, 3, 0]], np.uint8)
    maps = label_maps(labels, [3, 0])
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps[..., 0], [[0, 0, 0], [1, 1, 0]])
    np.testing.assert_array_equal(maps[..., 1], [[1, 1, 1], [0, 0, 1]])
    np.testing.assert_array_equal(label_maps(labels, [2])[..., 0], 1)


def test_divide_makes_soft_maps_that_sum_to_one() -> None:
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for count in (2, 4):
        rule = random_rule(np.random.default_rng(count), count)
        maps, again = (divide(image, rule, np.random.default_rng(9)) for _ in range(2))
        assert maps.shape == (MAP_SIZE, MAP_SIZE, count)
        assert maps.dtype == np.float32
        assert maps.min() >= 0
        np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
        np.testing.assert_array_equal(maps, again)
        assert (maps.max(-1) > 0.9).mean() > 0.6


def test_divide_follows_the_colour_its_rule_names() -> None:
    """A rule that looks at red alone divides a picture half black, half red along their border, give or take chance."""
    image = np.zeros((96, 96, 3), np.uint8)
    image[:, 48:, 0] = 255
    rule = np.array([[0, 0, 5, 0, 0], [0, 0, -5, 0, 0]], float)
    maps = divide(image, rule, np.random.default_rng(2))
    assert maps[:, 56:, 0].mean() > 0.95
    assert maps[:, :40, 1].mean() > 0.95


def test_a_full_crop_at_the_same_size_is_the_picture() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut(image, FULL, 48), image)
    np.testing.assert_array_equal(cut(image, Crop(0, 0, 1, 1, True), 48), image[:, ::-1])
    np.testing.assert_array_equal(cut(image, Crop(0.25, 0.5, 0.5, 0.5, False), 24), image[24:, 12:36])


@pytest.mark.parametrize("channels", [2, 3, 4, 7])
def test_cut_takes_any_number_of_channels(channels: int) -> None:
    maps = np.random.default_rng(4).random((40, 50, channels), np.float32)
    out = cut(maps, Crop(0.1, 0.2, 0.6, 0.7, True), 16)
    assert out.shape == (16, 16, channels)
    first = cut(maps[..., :2], Crop(0.1, 0.2, 0.6, 0.7, True), 16)
    np.testing.assert_allclose(out[..., :2], first, atol=1e-6)


def test_cut_is_never_empty() -> None:
    assert cut(np.zeros((1, 200, 3), np.uint8), Crop(0.5, 0.9, 0.1, 0.1, False), 8).shape == (8, 8, 3)


def test_crops_lie_in_the_picture_and_keep_enough_of_it() -> None:
    rng = np.random.default_rng(5)
    crops = [random_crop(rng, SampleConfig(smallest_crop=0.6)) for _ in range(300)]
    for c in crops:
        assert 0.6 <= min(c.width, c.height) <= max(c.width, c.height) <= 1
        assert min(c.left, c.top) >= 0
        assert max(c.left + c.width, c.top + c.height) <= 1 + 1e-12
    assert 0.35 < np.mean([c.mirrored for c in crops]) < 0.65
    assert not any(a == b for a, b in pairwise(crops))
    assert not any(random_crop(rng, SampleConfig(flip=0)).mirrored for _ in range(50))
