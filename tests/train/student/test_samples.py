"""What a training step is given: exact targets, regions that belong together, and chance that can be replayed."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import Tensor

from hueglass.datasets.masks import UNKNOWN
from hueglass.datasets.photos import Photo, street_photos
from hueglass.datasets.targets import Target
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.sampling import Crop, cut, shares_of
from hueglass.train.student.divisions import MAP_SIZE, divide, random_rule
from hueglass.train.student.samples import (
    Batch,
    SampleConfig,
    Sampler,
    joined,
    random_crop,
    turned,
)

SIZE, SLOTS, COUNT = 64, 8, 6
FULL = Crop(0, 0, 1, 1, False)


@pytest.fixture(scope="module")
def streets() -> list[Photo]:
    return street_photos(3, 80)


@pytest.fixture
def sampler(streets: list[Photo]) -> Sampler:
    return Sampler(SampleConfig(), streets, [], SIZE, SLOTS, seed=3)


def taught_by(street: Photo, other: Photo, seed: int, *unmatched: str) -> Target:
    """A target that is the content in another order of channels, with a grid that is full of its number."""
    assert street.labels is not None
    assert other.labels is not None
    grid = np.full((8, 4, 4, 12), seed, np.float32) + np.arange(4, dtype=np.float32)[None, None, :, None] / 10
    pictures = (street.image, street.image[..., ::-1].copy(), other.image)
    return Target(f"t{seed}", *pictures, grid, REGION_NAMES, street.labels, other.labels, unmatched)


@pytest.fixture
def targets(streets: list[Photo]) -> list[Target]:
    a, b, c = streets
    nothing = np.zeros(a.image.shape[:2], np.uint8)
    whole = Target("w", a.image, b.image, c.image, np.zeros((8, 4, 4, 12), np.float32), ("whole",), nothing, nothing)
    return [taught_by(a, b, 1), taught_by(b, c, 2, "sky"), whole]


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
    for picture in (batch.content, batch.reference, batch.view):
        assert picture.shape == (COUNT, 3, size, size)
        assert picture.dtype == torch.float32
        assert 0 <= float(picture.min()) < float(picture.max()) <= 1
        assert float(picture.flatten(1).std(1).min()) > 0.01
    for maps in (batch.content_maps, batch.reference_maps, batch.view_maps):
        assert maps.shape == (COUNT, SLOTS, size // 2, size // 2)
    for maps in (batch.content_truth, batch.reference_truth):
        assert maps.shape == (COUNT, SLOTS + 1, size // 2, size // 2)
    shown = (batch.content_maps, batch.reference_maps, batch.view_maps)
    for maps in (*shown, batch.content_truth, batch.reference_truth[:, :-1]):
        assert float(maps.min()) >= 0
        assert float(maps.sum(1).max()) <= 1 + 1e-4
    np.testing.assert_allclose(batch.content_truth.sum(1).numpy(), 1, atol=1e-4)
    np.testing.assert_array_equal(batch.reference_truth[:, -1].numpy(), 1)
    assert batch.semantic.shape == (COUNT,)
    assert batch.motion.shape == (COUNT, 2, 3)
    assert batch.motion.dtype == torch.float32


def test_streets_are_labelled(streets: list[Photo]) -> None:
    for street in streets:
        assert street.image.shape == (80, 106, 3)
        assert street.labels is not None
        assert street.labels.shape == (80, 106)
        assert {REGION_NAMES[n] for n in np.unique(street.labels)} >= {"sky", "building", "ground"}


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, 1.0), (None, None)])
def test_graded_samples_are_well_formed(sampler: Sampler, shares: tuple[float | None, float | None]) -> None:
    batch = sampler.graded(COUNT, *shares)
    assert_well_formed(batch)
    for target, picture in ((batch.target, batch.content), (batch.view_target, batch.view)):
        assert target is not None
        assert target.shape == picture.shape
        assert 0 <= float(target.min()) < float(target.max()) <= 1
        assert float((target - picture).abs().mean()) > 0.02


def test_unpaired_samples_have_no_target(sampler: Sampler) -> None:
    batch = sampler.unpaired(COUNT)
    assert_well_formed(batch)
    assert batch.target is None
    assert batch.view_target is None


def test_of_hidden_regions_the_networks_are_shown_nothing(sampler: Sampler) -> None:
    batch = sampler.graded(16, shown=0.0)
    for maps in (batch.content_maps, batch.reference_maps, batch.view_maps):
        assert float(maps.abs().max()) == 0
    assert 0 < int(batch.semantic.sum()) < 16
    known = batch.content_truth[:, :-1].mean((1, 2, 3))
    assert float(known[batch.semantic].min()) > 0.01  # the losses know what things are ...
    assert float(known[~batch.semantic].max()) == 0  # ... and that nobody can find out a division by chance


def test_shown_regions_are_several_and_true(sampler: Sampler) -> None:
    sampler.config = SampleConfig(soft=0)
    batch = sampler.graded(COUNT, shown=1.0)
    used = (batch.content_maps.mean((2, 3)) > 0.01).sum(1)
    assert int(used.min()) >= 1
    assert float(used.float().mean()) > 1.5
    assert float(batch.content_maps[:, 0].min()) < 0.01
    np.testing.assert_array_equal(batch.content_maps.numpy(), batch.content_truth[:, :-1].numpy())
    np.testing.assert_array_equal(batch.reference_maps.numpy(), batch.reference_truth[:, :-1].numpy())


def test_what_the_reference_lacks_is_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above sky, below ground; the reference is all sky."""
    labels = np.zeros((64, 64), np.uint8)
    labels[32:] = 3
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    photos = [Photo("both", image, labels), Photo("sky", image, np.zeros_like(labels))]
    sampler = Sampler(SampleConfig(smallest_crop=1, flip=0, soft=0), photos, [], SIZE, SLOTS, seed=1)
    monkeypatch.setattr(sampler, "_alike", lambda: photos)
    batch = sampler.unpaired(2, shown=1.0, labelled=1.0)
    below = np.arange(SIZE // 2)[:, None].repeat(SIZE // 2, 1) >= SIZE // 4
    for b in range(2):
        np.testing.assert_array_equal(batch.content_truth[b, -1].numpy(), below)
        np.testing.assert_array_equal(batch.content_maps[b].sum(0).numpy(), ~below)
        np.testing.assert_array_equal(batch.reference_maps[b, 0].numpy(), 1)


def test_soft_regions_are_as_large_as_hard_ones_and_blurred(streets: list[Photo]) -> None:
    hard, soft = (
        Sampler(SampleConfig(soft=share), streets, [], SIZE, SLOTS, seed=8).graded(COUNT, shown=1.0)
        for share in (0.0, 1.0)
    )
    np.testing.assert_array_equal(hard.content_truth.numpy(), soft.content_truth.numpy())
    areas = [batch.content_maps.mean((2, 3)).numpy() for batch in (hard, soft)]
    np.testing.assert_allclose(areas[0], areas[1], atol=0.03)
    mixed = [float(((b.content_maps > 0.05) & (b.content_maps < 0.95)).float().mean()) for b in (hard, soft)]
    assert mixed[1] > 1.5 * mixed[0]


def test_taught_samples_are_the_targets_cut_alike(streets: list[Photo], targets: list[Target]) -> None:
    """The target is the content with its channels turned round, so it must be after any crop and mirroring."""
    sampler = Sampler(SampleConfig(regraded=0), streets, targets, SIZE, SLOTS, seed=2)
    batch = sampler.taught(COUNT, regional=1.0)
    assert_well_formed(batch)
    assert batch.target is not None
    np.testing.assert_array_equal(batch.target.numpy(), batch.content.flip(1).numpy())
    assert batch.view_target is not None
    assert float((batch.view_target - batch.view.flip(1)).abs().max()) < 6 * sampler.config.noise
    assert bool(batch.semantic.all())


def test_grids_of_targets_are_known_where_nothing_was_cut_or_graded(
    streets: list[Photo], targets: list[Target]
) -> None:
    batch = Sampler(SampleConfig(), streets, targets, SIZE, SLOTS, seed=2).taught(40, regional=1.0)
    assert batch.grid is not None
    assert batch.grid_known is not None
    assert batch.target is not None
    whole = Crop(0, 0, 1, 1, False)
    for b in range(40):
        number = round(float(batch.grid[b, 0, 0, 0, 0]) - 0.15)
        source = targets[number - 1].content
        full = torch.from_numpy(cut(source, whole, SIZE)).permute(2, 0, 1).float() / 255
        mirrored = bool(batch.grid[b, 0, 0, 0, 0] > batch.grid[b, 0, 0, 3, 0])
        assert torch.equal(batch.content[b], full.flip(2) if mirrored else full) == bool(batch.grid_known[b])
    assert 5 < int(batch.grid_known.sum()) < 30


def test_regions_that_the_teacher_did_not_match_are_left_over(streets: list[Photo], targets: list[Target]) -> None:
    sky = REGION_NAMES.index("sky")
    config = SampleConfig(smallest_crop=1, flip=0)
    batch = Sampler(config, streets, [targets[1]], SIZE, SLOTS, seed=2).taught(2, shown=1.0)
    above = cut((targets[1].labels == sky).astype(np.float32)[..., None].repeat(2, -1), FULL, SIZE // 2)[..., 0]
    assert above.mean() > 0.05
    np.testing.assert_allclose(batch.content_truth[0, -1].numpy(), above, atol=1e-5)


def test_targets_without_regions_have_none_to_find(streets: list[Photo], targets: list[Target]) -> None:
    batch = Sampler(SampleConfig(), streets, targets, SIZE, SLOTS, seed=2).taught(COUNT, shown=0.0, regional=0.0)
    assert not bool(batch.semantic.any())
    np.testing.assert_array_equal(batch.content_truth[:, -1].numpy(), 1)


def test_batches_are_joined_in_order(streets: list[Photo], targets: list[Target]) -> None:
    sampler = Sampler(SampleConfig(), streets, targets, SIZE, SLOTS, seed=2)
    graded, free, taught = sampler.graded(2), sampler.unpaired(3), sampler.taught(2)
    batch = joined([graded, free, taught])
    np.testing.assert_array_equal(batch.content.numpy(), torch.cat([x.content for x in (graded, free, taught)]).numpy())
    assert batch.target is not None
    assert graded.target is not None
    np.testing.assert_array_equal(batch.target[:2].numpy(), graded.target.numpy())
    np.testing.assert_array_equal(batch.target[2:5].numpy(), free.content.numpy())
    for name in ("view", "view_maps", "motion"):
        parts = [getattr(x, name).numpy() for x in (graded, free, taught)]
        np.testing.assert_array_equal(getattr(batch, name).numpy(), np.concatenate(parts))
    assert batch.view_target is not None
    assert graded.view_target is not None
    np.testing.assert_array_equal(batch.view_target[:2].numpy(), graded.view_target.numpy())
    np.testing.assert_array_equal(batch.view_target[2:5].numpy(), free.view.numpy())
    assert batch.grid is not None
    assert batch.grid_known is not None
    assert float(batch.grid[:5].abs().max()) == 0
    assert not bool(batch.grid_known[:5].any())
    assert joined([graded, free]).grid is None


def test_partners_of_labelled_photographs_are_alike(streets: list[Photo]) -> None:
    """Among skies and walls, a sky meets a sky nearly always: one of eight candidates will do."""
    image = streets[0].image
    photos = [Photo(f"{n}", image, np.full(image.shape[:2], n % 2, np.uint8)) for n in range(12)]
    sampler = Sampler(SampleConfig(), photos, [], SIZE, SLOTS, seed=2)
    pairs = [sampler._alike() for _ in range(60)]
    same = [first.labels is not None and bool((first.labels == second.labels).all()) for first, second in pairs]
    assert np.mean(same) > 0.9


def test_unknown_pixels_are_no_region() -> None:
    labels = np.full((20, 20), UNKNOWN, np.uint8)
    labels[:5] = 2
    shared = Sampler(SampleConfig(), [posterised()], [], SIZE, SLOTS, seed=0)._classes
    assert shared(labels, labels) == [2]
    assert shares_of(labels).tolist() == [0, 0, 0.25, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("local", [0.0, 1.0])
def test_the_reference_is_in_the_light_of_the_target(streets: list[Photo], local: float) -> None:
    """Where both crops are the whole picture, the reference is the target."""
    config = SampleConfig(smallest_crop=1, flip=0, soft=0)
    batch = Sampler(config, streets, [], SIZE, SLOTS, seed=1).graded(COUNT, local=local, shown=1.0)
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
    sampler = Sampler(SampleConfig(), [posterised()], [], SIZE, SLOTS, seed=0)
    assert largest_disagreement(sampler.graded(COUNT, local=0.0)) < 1e-5


def test_local_grades_are_a_function_of_colour_and_place() -> None:
    """Two of the same colour, in different regions, part: colour alone does not tell the target."""
    photo = posterised()
    flat = Photo("flat", np.full_like(photo.image, 120), np.repeat([[0, 3]], 64, 1).repeat(128, 0).astype(np.uint8))
    sampler = Sampler(SampleConfig(smallest_crop=0.9), [flat], [], SIZE, SLOTS, seed=0)
    batch = sampler.graded(16, local=1.0)
    assert batch.target is not None
    varied = batch.target.flatten(2).amax(2) - batch.target.flatten(2).amin(2)
    assert float((varied.amax(1) > 0.02).float().mean()) > 0.8
    plain = sampler.graded(16, local=0.0)
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
    batch = Sampler(SampleConfig(soft=0), [flat], [], SIZE, SLOTS, seed=0).graded(16, local=1.0, shown=1.0)
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
    again = Sampler(SampleConfig(), streets, [], SIZE, SLOTS, seed=3)
    other = Sampler(SampleConfig(), streets, [], SIZE, SLOTS, seed=4)
    first = sampler.graded(COUNT)
    assert_same(first, again.graded(COUNT))
    assert float((first.content - other.graded(COUNT).content).abs().mean()) > 0.02


def test_a_restored_sampler_goes_on_bit_for_bit(streets: list[Photo], sampler: Sampler) -> None:
    sampler.graded(2)
    sampler.unpaired(2)
    state = sampler.state()
    taught, free = sampler.graded(COUNT), sampler.unpaired(COUNT)
    fresh = Sampler(SampleConfig(), streets, [], SIZE, SLOTS, seed=99)
    fresh.restore(state)
    assert_same(taught, fresh.graded(COUNT))
    assert_same(free, fresh.unpaired(COUNT))
    sampler.restore(state)
    assert_same(taught, sampler.graded(COUNT))


def test_unlabelled_photographs_alone_will_do() -> None:
    sampler = Sampler(SampleConfig(labelled=1), [posterised()], [], SIZE, SLOTS, seed=5)
    assert_well_formed(sampler.graded(COUNT))
    assert_well_formed(sampler.unpaired(COUNT))


def test_unpaired_labels_keep_their_slot_on_both_sides(streets: list[Photo]) -> None:
    """What is sky in one picture is sky in the other: the slot's colour is blue-ish, the other slots' is not."""
    config = SampleConfig(labelled=1, shown=1, smallest_crop=1, flip=0)
    batch = Sampler(config, streets, [], SIZE, SLOTS, seed=6).unpaired(COUNT)
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
    shared = Sampler(SampleConfig(), [posterised()], [], SIZE, SLOTS, seed=0)._classes
    assert shared(first, second) == [3, 5]
    assert shared(first, first) == [0, 3, 5]
    assert shared(first, np.full_like(first, 7)) == [0]


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


KINDS: dict[str, Callable[[Sampler], Batch]] = {
    "graded as a whole": lambda sampler: sampler.graded(12, local=0.0),
    "graded by region": lambda sampler: sampler.graded(12, local=1.0, shown=1.0),
    "taught": lambda sampler: sampler.taught(12),
    "unpaired": lambda sampler: sampler.unpaired(12),
}
STEADY = SampleConfig(noise=0, soft=0, flat=0)


@pytest.fixture
def views(streets: list[Photo], targets: list[Target]) -> Callable[..., Batch]:
    """Draws a batch of a kind, with a configuration that differs from STEADY in what is given."""

    def draw(kind: str, **changes: float) -> Batch:
        config = STEADY.model_copy(update=changes)
        return KINDS[kind](Sampler(config, streets, targets, SIZE, SLOTS, seed=11))

    return draw


def where_both(batch: Batch, content: Tensor, view: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Of every sample the same places in both, (n, channels) of the content and of the view: what both show."""
    places = F.affine_grid(batch.motion, list(view.shape), align_corners=False)
    inside = (places.abs() < 0.95).all(-1)
    assert 0.05 < float(inside.float().mean()) < 1
    moved = F.grid_sample(content, places, align_corners=False)
    ours, theirs = (x.permute(0, 2, 3, 1)[inside].numpy() for x in (moved, view))
    return ours, theirs


def elsewhere(batch: Batch, content: Tensor, view: Tensor) -> float:
    """How far both are from one another where the motion of another sample leads."""
    ours, theirs = where_both(replace(batch, motion=batch.motion.flip(0)), content, view)
    return float(np.abs(ours - theirs).mean())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{"regraded": 0.0}, {"regraded": 1.0}, {"regraded": 1.0, "flat": 1.0}])
def test_the_second_view_shows_the_same_in_the_same_light(
    views: Callable[..., Batch], kind: str, changes: dict[str, float]
) -> None:
    """Where its places lead to in the content, but for what two ways of shrinking make of edges."""
    batch = views(kind, **changes)
    ours, theirs = where_both(batch, batch.content, batch.view)
    assert np.abs(ours - theirs).mean() < 0.04
    assert np.abs(np.median(ours - theirs, 0)).max() < 0.002
    assert elsewhere(batch, batch.content, batch.view) > 2 * np.abs(ours - theirs).mean()
    if batch.target is not None:
        assert batch.view_target is not None
        ours, theirs = where_both(batch, batch.target, batch.view_target)
        assert np.abs(ours - theirs).mean() < 0.04
        assert np.abs(np.median(ours - theirs, 0)).max() < 0.002


@pytest.mark.parametrize("kind", KINDS)
def test_the_regions_of_the_second_view_lie_where_the_contents_lie(views: Callable[..., Batch], kind: str) -> None:
    batch = views(kind, shown=1.0)
    ours, theirs = where_both(batch, batch.content_maps, batch.view_maps)
    assert float(batch.view_maps.mean()) > 0.02
    assert np.abs(ours - theirs).mean() < 0.02
    assert elsewhere(batch, batch.content_maps, batch.view_maps) > 5 * np.abs(ours - theirs).mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{"regraded": 0.0}, {"regraded": 1.0, "flat": 1.0}])
def test_a_camera_that_neither_turns_nor_zooms_sees_the_same(
    views: Callable[..., Batch], kind: str, changes: dict[str, float]
) -> None:
    batch = views(kind, turn=0.0, zoom=0.0, **changes)
    np.testing.assert_array_equal(batch.view.numpy(), batch.content.numpy())
    np.testing.assert_array_equal(batch.view_maps.numpy(), batch.content_maps.numpy())
    np.testing.assert_allclose(batch.motion.numpy(), np.eye(2, 3)[None].repeat(12, 0), atol=1e-6)
    if batch.target is not None:
        assert batch.view_target is not None
        np.testing.assert_array_equal(batch.view_target.numpy(), batch.target.numpy())


def test_second_views_are_moved_and_zoomed_by_no_more_than_they_may() -> None:
    rng, config = np.random.default_rng(5), SampleConfig(turn=0.3, zoom=0.2, smallest_crop=0.3)
    shifts, sizes = [], []
    for _ in range(300):
        first = random_crop(rng, config)
        second = turned(first, rng, config)
        assert second.mirrored == first.mirrored
        assert min(second.left, second.top) >= 0
        assert max(second.left + second.width, second.top + second.height) <= 1 + 1e-12
        middles = [c.left + c.width / 2 for c in (first, second)]
        assert abs(middles[1] - middles[0]) <= 0.3 * first.width + max(0, second.width - first.width) / 2 + 1e-9
        shifts.append(abs(middles[1] - middles[0]) / first.width)
        sizes.append(np.log(second.width / first.width))
    assert max(shifts) > 0.25
    assert np.abs(sizes).max() <= 0.2 + 1e-9
    assert min(sizes) < -0.15 < 0.15 < max(sizes)


def test_noise_is_in_the_second_view_alone_as_strong_as_it_may_be_and_in_range(views: Callable[..., Batch]) -> None:
    """Of one light and one place: what differs is the noise."""
    batch = views("unpaired", turn=0.0, zoom=0.0, noise=0.1, regraded=0.0)
    strength = (batch.view - batch.content).flatten(1).std(1)
    assert 0.05 < float(strength.max()) < 0.1
    assert float(strength.min()) < 0.05
    assert float(batch.view.min()) >= 0
    assert float(batch.view.max()) <= 1
    clean = views("unpaired", turn=0.0, zoom=0.0, noise=0.0, regraded=0.0)
    np.testing.assert_array_equal(clean.content.numpy(), batch.content.numpy())


def test_one_region_is_painted_in_one_colour_in_both_views(streets: list[Photo]) -> None:
    """Of labelled streets, which have grain and texture everywhere; the others stay as they were."""
    config = STEADY.model_copy(update={"flat": 1.0, "regraded": 0.0, "smallest_crop": 0.8, "turn": 0.2, "zoom": 0.1})
    batch, plain = (
        Sampler(c, streets, [], SIZE, SLOTS, seed=4).unpaired(12, shown=1.0, labelled=1.0)
        for c in (config, config.model_copy(update={"flat": 0.0}))
    )
    np.testing.assert_array_equal(batch.content_maps.numpy(), plain.content_maps.numpy())
    found = 0
    for b in range(12):
        insides = [interior(maps)[b] for maps in (batch.content_maps, batch.view_maps)]
        flat = 0
        for pixels, others in zip(*insides, strict=True):
            ours, theirs = batch.content[b][:, pixels], batch.view[b][:, others]
            if min(ours.shape[1], theirs.shape[1]) > 60 and float(ours.std(1).max()) < 1e-4:
                assert float(theirs.std(1).max()) < 1e-4
                np.testing.assert_allclose(ours.mean(1).numpy(), theirs.mean(1).numpy(), atol=1e-5)
                flat += 1
        assert flat <= 1
        assert not torch.equal(plain.content[b], batch.content[b])
        found += flat
    assert found >= 6
    np.testing.assert_array_equal(batch.reference.numpy(), plain.reference.numpy())
