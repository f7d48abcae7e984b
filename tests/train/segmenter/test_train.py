"""Training the segmenter: it learns, goes on where it stopped, and its scores are what a hand would count."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.places import CONFIGS

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
pytest.importorskip("tensorboard")

from support.training import Killed, ignore, killed_at

from hueglass.config_file import read_config
from hueglass.datasets.photos import Photo, street_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.checkpoint import RESUME
from hueglass.train.loop import set_learning_rate
from hueglass.train.segmenter import train as segment
from hueglass.train.segmenter.lessons import Lesson, lesson_of
from hueglass.train.segmenter.network import (
    SETTINGS,
    WEIGHTS,
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)
from hueglass.train.segmenter.samples import Batch, SegmentSampleConfig
from hueglass.train.segmenter.scores import name_pixels, scores
from hueglass.train.segmenter.train import (
    SegmentConfig,
    SegmentDataConfig,
    load_data,
    measure,
    overlap_loss,
    steady_loss,
)

SKY, GROUND = (REGION_NAMES.index(name) for name in ("sky", "ground"))
STILL = SegmentSampleConfig(smallest_crop=1, stretch=0, flip=0, graded=0, blur=0, noise=0, turn=0, zoom=0)


def settings(**changes: object) -> SegmentConfig:
    """Three steps in a second or two; a checkpoint after each."""
    values = {"steps": 3, "batch": 2, "warmup": 1, "average": 0.5, "segmenter": {"thumbnail": 64, "seen": 64}}
    values |= {"data": {"streets": 3, "side": 64}, "checkpoint_minutes": 1e-9}
    return SegmentConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def streets() -> list[Photo]:
    return street_photos(3, 64)


@pytest.fixture(scope="module")
def lessons(streets: list[Photo]) -> list[Lesson]:
    return [lesson for photo in streets if (lesson := lesson_of(photo))]


@pytest.fixture
def _small_world(lessons: list[Lesson], streets: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    """Streets drawn once, one of them held out."""
    monkeypatch.setattr(segment, "load_data", lambda config, folder: (lessons[:2], streets[2:]))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """So that sums repeat."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_small_world")
def test_everything_is_written_and_the_losses_add_up(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    training = segment.run(settings(steady=0.25), tmp_path, None, lambda t, losses: seen.append(losses))
    assert training.step == len(seen) == 3
    for losses in seen:
        three = losses["cross_entropy"] + 0.5 * losses["overlap"] + 0.25 * losses["steady"]
        assert losses["total"] == pytest.approx(three, rel=1e-5)
        assert losses["steady"] > 0
    assert {WEIGHTS, SETTINGS, RESUME, "events", "sheets"} == {p.name for p in tmp_path.iterdir()}
    assert [p.name for p in (tmp_path / "sheets").iterdir()] == ["0000003.jpg"]
    assert 0 <= training.scores["films_miou"] <= 1
    assert load_segmenter(tmp_path)[1]["scores"] == training.scores


@pytest.mark.usefixtures("_small_world")
def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Killed during the third step, after the checkpoint of the second, and started again."""
    whole = segment.run(settings(), tmp_path / "whole", None, ignore)
    with pytest.raises(Killed):
        segment.run(settings(), tmp_path / "killed", None, killed_at(3))
    steps: list[int] = []
    again = segment.run(settings(), tmp_path / "killed", None, lambda t, losses: steps.append(t.step))
    assert steps == [3]
    for part in ("segmenter", "averaged"):
        ours = getattr(again, part).state_dict()
        for name, value in getattr(whole, part).state_dict().items():
            assert torch.equal(value, ours[name]), name
    assert again.scores == whole.scores


def test_a_training_can_start_from_another(tmp_path: Path, lessons: list[Lesson]) -> None:
    torch.manual_seed(3)
    before = Segmenter(SegmenterConfig(thumbnail=64, seen=64))
    save_segmenter(tmp_path, before, {})
    training = segment.start(settings(start_from=str(tmp_path)), lessons, torch.device("cpu"))
    assert all(torch.equal(v, training.segmenter.state_dict()[k]) for k, v in before.state_dict().items())
    assert training.segmenter.training
    segment.train_step(training, settings(), torch.device("cpu"))
    finer = {"thumbnail": 64, "seen": 96}  # of another size is only what it looks at
    assert segment.start(settings(start_from=str(tmp_path), segmenter=finer), lessons, torch.device("cpu"))
    wider = {"thumbnail": 64, "widths": (16, 32, 64, 64)}
    with pytest.raises(UsageError, match="holds a segmenter of other widths"):
        segment.start(settings(start_from=str(tmp_path), segmenter=wider), lessons, torch.device("cpu"))
    with pytest.raises(UsageError, match="no segmenter here"):
        segment.start(settings(start_from=str(tmp_path / "none")), lessons, torch.device("cpu"))


@pytest.mark.usefixtures("_small_world")
def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    segment.run(settings(steps=1), tmp_path, None, ignore)
    with pytest.raises(UsageError, match="another configuration"):
        segment.run(settings(steps=1, learning_rate=0.5), tmp_path, None, ignore)


def test_it_learns_a_street(streets: list[Photo], lessons: list[Lesson]) -> None:
    """Sixty steps on one picture halve the loss, and the averaged network names its sky."""
    config = settings(steps=60, learning_rate=0.01, trunk_rate=1, average=0.8, samples=STILL.model_dump())
    training = segment.start(config, lessons[:1], torch.device("cpu"))
    losses = []
    for _ in range(60):
        set_learning_rate(training, config)
        losses.append(segment.train_step(training, config, torch.device("cpu"))["cross_entropy"])
    assert losses[-1] < 0.5 * losses[0]
    named = name_pixels(training.saved(), streets[:1])
    assert scores(streets[:1], named, "films")["films_sky"] > 0.7


def test_what_is_saved_is_the_moving_average(lessons: list[Lesson]) -> None:
    config = settings(average=0.75)
    training = segment.start(config, lessons, torch.device("cpu"))
    average: dict[str, torch.Tensor] = {}
    for _ in range(3):
        set_learning_rate(training, config)
        segment.train_step(training, config, torch.device("cpu"))
        now = {k: v.clone() for k, v in training.segmenter.state_dict().items() if v.is_floating_point()}
        average = {k: 0.75 * average[k] + 0.25 * v for k, v in now.items()} if average else now
    saved = training.saved().state_dict()
    for name, value in average.items():
        np.testing.assert_allclose(saved[name], value, atol=1e-5, err_msg=name)
    assert any("running_mean" in name for name in average)


def test_the_trunk_learns_more_slowly(lessons: list[Lesson]) -> None:
    config = settings(learning_rate=0.01, trunk_rate=0.1, warmup=0)
    training = segment.start(config, lessons, torch.device("cpu"))
    set_learning_rate(training, config)
    rates = [group["lr"] for group in training.optimiser.param_groups]
    assert rates == pytest.approx([0.01, 0.001])
    counted = sum(p.numel() for group in training.optimiser.param_groups for p in group["params"])
    assert counted == sum(p.numel() for p in training.segmenter.parameters())


def truth_of(labels: torch.Tensor) -> torch.Tensor:
    """Labels (B, H, W), -1 where unknown, as probabilities (B, 8, H, W)."""
    return torch.stack([(labels == region).float() for region in range(8)], 1)


IN_PLACE = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
ALL_ALIKE = torch.zeros(4, dtype=torch.long)
"""Pictures of one kind."""


def test_unknown_pixels_do_not_count() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 8, 6, 6), torch.randint(0, 8, (2, 6, 6))
    unknown = torch.rand(2, 6, 6) < 0.4
    changed = torch.where(unknown[:, None], torch.randn(2, 8, 6, 6), logits)
    weights = torch.rand(2, 8) + 0.5
    batch = Batch(logits, truth_of(labels.masked_fill(unknown, -1)), weights, ALL_ALIKE[:2], IN_PLACE)
    before, after = (measure(x, batch, settings()) for x in (logits, changed))
    for name in ("cross_entropy", "overlap"):
        assert torch.equal(before[name], after[name]), name
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    counts = torch.gather(weights, 1, labels.flatten(1)).view_as(labels) * ~unknown
    assert before["cross_entropy"] == pytest.approx(float((each * counts).sum() / counts.sum()), rel=1e-5)


def test_a_batch_of_which_nothing_is_known_has_no_overlap_to_lose() -> None:
    assert overlap_loss(torch.rand(1, 8, 4, 4), torch.zeros(1, 8, 4, 4), ALL_ALIKE[:1]) == 0


def test_the_overlap_loss_is_dice_counted_by_hand() -> None:
    """Left half sky, right half ground; a network that says sky everywhere, surely."""
    labels = torch.full((1, 4, 4), SKY)
    labels[..., 2:] = GROUND
    named = truth_of(torch.full((1, 4, 4), SKY))
    by_hand = ((1 - 2 * 8 / (16 + 8)) + 1) / 2
    assert overlap_loss(named, truth_of(labels), ALL_ALIKE[:1]) == pytest.approx(by_hand, abs=1e-5)


def test_what_is_rare_in_one_kind_of_pictures_is_missed_there() -> None:
    """A photograph full of ground, named rightly, does not make up for the strip on the street that is not."""
    labels = torch.full((2, 4, 4), GROUND)
    labels[1, :, 1:] = SKY
    named = truth_of(labels)
    named[1] = truth_of(torch.full((1, 4, 4), SKY))[0]
    together = overlap_loss(named, truth_of(labels), torch.tensor([0, 0]))
    assert together == pytest.approx(((1 - 2 * 16 / (20 + 16)) + (1 - 2 * 12 / (12 + 16))) / 2, abs=1e-5)
    apart = overlap_loss(named, truth_of(labels), torch.tensor([0, 1]))
    assert apart == pytest.approx((0 + 1 + (1 - 2 * 12 / (12 + 16))) / 3, abs=1e-5)


def test_what_is_surely_named_alike_in_both_views_costs_nothing() -> None:
    """The second view is the first one moved by a quarter of its width; at its left edge half is another thing."""
    first = torch.full((1, 8, 8), GROUND)
    first[..., 4:] = SKY
    second = first.roll(-2, 2)  # what was at x is now at x - 2; its last two columns show what is new
    moved = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]])
    both = truth_of(torch.cat([first, second]))
    assert steady_loss(both, moved, 2) == pytest.approx(0, abs=1e-5)
    other = both.clone()
    other[1, :, :4] = truth_of(torch.full((1, 8, 8), 5))[0, :, :4]  # above, all is a vehicle
    assert steady_loss(other, moved, 2) == pytest.approx(-np.log(1e-6) / 2 / 2, rel=1e-4)  # of half of what both see


def test_views_that_are_alike_but_undecided_are_drawn_to_the_likelier_name() -> None:
    maps = torch.zeros(2, 8, 4, 4)
    maps[:, SKY], maps[:, GROUND] = 0.6, 0.4
    sharp = 0.36 / (0.36 + 0.16)
    cost = -(sharp * np.log(0.6) + (1 - sharp) * np.log(0.4))
    assert steady_loss(maps, IN_PLACE, 2) == pytest.approx(cost, rel=1e-5)
    maps.requires_grad_()
    steady_loss(maps, IN_PLACE, 2).backward()
    assert maps.grad is not None
    # Along the logits, whose sum is free: the softmax takes the mean gradient off.
    pull = maps.grad * maps.detach()
    assert ((pull - maps.detach() * pull.sum(1, keepdim=True))[:, SKY] < 0).all()


def test_too_little_data_is_said() -> None:
    with pytest.raises(UsageError, match="too little labelled data"):
        load_data(SegmentDataConfig(streets=1, side=64), None)
    with pytest.raises(UsageError, match="--data DIR"):
        load_data(SegmentDataConfig(photos=["photos"]), None)


def test_missing_weights_are_named(lessons: list[Lesson], tmp_path: Path) -> None:
    config = settings(data={"streets": 3, "weights": str(tmp_path / "lite0.pth")})
    with pytest.raises(UsageError, match=f"{tmp_path}/lite0.pth: no such file"):
        segment.start(config, lessons, torch.device("cpu"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("segmenter*.yaml")), ids=lambda p: p.stem)
def test_the_committed_configurations_are_valid(path: Path) -> None:
    config = read_config(path, SegmentConfig)
    assert config.data.watched == ["camvid/val"]
    assert not any("test" in name or "dpst" in name for name in config.data.photos + config.data.watched)
