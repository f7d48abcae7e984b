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
from hueglass.datasets.masks import UNKNOWN, camvid_known, camvid_regions
from hueglass.datasets.photos import Photo, street_photos
from hueglass.infer.errors import UsageError
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.checkpoint import RESUME
from hueglass.train.loop import set_learning_rate
from hueglass.train.sampling import Crop, cut
from hueglass.train.segmenter import train as segment
from hueglass.train.segmenter.network import (
    SETTINGS,
    WEIGHTS,
    Segmenter,
    SegmenterConfig,
    load_segmenter,
    save_segmenter,
)
from hueglass.train.segmenter.samples import SegmentSampleConfig, SegmentSampler, cut_labels
from hueglass.train.segmenter.scores import confusion, intersection_over_union, name_pixels, scores, selection
from hueglass.train.segmenter.train import SegmentConfig, SegmentDataConfig, load_data, measure, overlap_loss

SKY, GROUND, PERSON = (REGION_NAMES.index(name) for name in ("sky", "ground", "person"))
STILL = SegmentSampleConfig(smallest_crop=1, stretch=0, flip=0, graded=0, blur=0, noise=0)


def settings(**changes: object) -> SegmentConfig:
    """Three steps in a second or two; a checkpoint after each."""
    values = {"steps": 3, "batch": 2, "warmup": 1, "average": 0.5, "segmenter": {"thumbnail": 64}}
    values |= {"data": {"streets": 3, "side": 64}, "checkpoint_minutes": 1e-9}
    return SegmentConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def streets() -> list[Photo]:
    return street_photos(3, 64)


@pytest.fixture
def _small_world(streets: list[Photo], monkeypatch: pytest.MonkeyPatch) -> None:
    """Streets drawn once, one of them held out."""
    monkeypatch.setattr(segment, "load_data", lambda config, folder: (streets[:2], streets[2:]))


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
    training = segment.run(settings(), tmp_path, None, lambda t, losses: seen.append(losses))
    assert training.step == len(seen) == 3
    for losses in seen:
        assert losses["total"] == pytest.approx(losses["cross_entropy"] + 0.5 * losses["overlap"], rel=1e-5)
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


def test_a_training_can_start_from_another(tmp_path: Path, streets: list[Photo]) -> None:
    torch.manual_seed(3)
    before = Segmenter(SegmenterConfig(thumbnail=64))
    save_segmenter(tmp_path, before, {})
    training = segment.start(settings(start_from=str(tmp_path)), streets, None, torch.device("cpu"))
    assert all(torch.equal(v, training.segmenter.state_dict()[k]) for k, v in before.state_dict().items())
    assert training.segmenter.training
    segment.train_step(training, settings(), torch.device("cpu"))
    larger = {"thumbnail": 128}
    with pytest.raises(UsageError, match="holds a segmenter of other sizes"):
        segment.start(settings(start_from=str(tmp_path), segmenter=larger), streets, None, torch.device("cpu"))
    with pytest.raises(UsageError, match="no segmenter here"):
        segment.start(settings(start_from=str(tmp_path / "none")), streets, None, torch.device("cpu"))


@pytest.mark.usefixtures("_small_world")
def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    segment.run(settings(steps=1), tmp_path, None, ignore)
    with pytest.raises(UsageError, match="another configuration"):
        segment.run(settings(steps=1, learning_rate=0.5), tmp_path, None, ignore)


def test_it_learns_a_street(streets: list[Photo]) -> None:
    """Sixty steps on one picture halve the loss, and the averaged network names its sky."""
    config = settings(steps=60, learning_rate=0.01, trunk_rate=1, average=0.8, samples=STILL.model_dump())
    training = segment.start(config, streets[:1], None, torch.device("cpu"))
    losses = []
    for _ in range(60):
        set_learning_rate(training, config)
        losses.append(segment.train_step(training, config, torch.device("cpu"))["cross_entropy"])
    assert losses[-1] < 0.5 * losses[0]
    named = name_pixels(training.saved(), streets[:1])
    assert scores(streets[:1], named, "films")["films_sky"] > 0.7


def test_what_is_saved_is_the_moving_average(streets: list[Photo]) -> None:
    config = settings(average=0.75)
    training = segment.start(config, streets, None, torch.device("cpu"))
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


def test_the_trunk_learns_more_slowly(streets: list[Photo]) -> None:
    config = settings(learning_rate=0.01, trunk_rate=0.1, warmup=0)
    training = segment.start(config, streets, None, torch.device("cpu"))
    set_learning_rate(training, config)
    rates = [group["lr"] for group in training.optimiser.param_groups]
    assert rates == pytest.approx([0.01, 0.001])
    counted = sum(p.numel() for group in training.optimiser.param_groups for p in group["params"])
    assert counted == sum(p.numel() for p in training.segmenter.parameters())


def test_unknown_pixels_do_not_count() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 8, 6, 6), torch.randint(0, 8, (2, 6, 6))
    unknown = torch.rand(2, 6, 6) < 0.4
    partly = labels.masked_fill(unknown, UNKNOWN)
    changed = torch.where(unknown[:, None], torch.randn(2, 8, 6, 6), logits)
    weights = (~unknown).float()
    before, after = (measure(x, partly, weights, settings()) for x in (logits, changed))
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    by_hand = torch.nn.functional.cross_entropy(logits.permute(0, 2, 3, 1)[~unknown], labels[~unknown])
    assert before["cross_entropy"] == pytest.approx(float(by_hand), rel=1e-5)


def test_a_batch_of_which_nothing_is_known_has_no_overlap_to_lose() -> None:
    assert overlap_loss(torch.randn(1, 8, 4, 4), torch.full((1, 4, 4), UNKNOWN)) == 0


def test_the_overlap_loss_is_dice_counted_by_hand() -> None:
    """Left half sky, right half ground; a network that says sky everywhere, surely."""
    labels = torch.full((1, 4, 4), SKY)
    labels[..., 2:] = GROUND
    logits = torch.full((1, 8, 4, 4), -50.0)
    logits[:, SKY] = 50
    assert overlap_loss(logits, labels) == pytest.approx(((1 - 2 * 8 / (16 + 8)) + 1) / 2, abs=1e-5)


def test_intersection_over_union_counted_by_hand() -> None:
    truth = np.array([[SKY, SKY, SKY, GROUND], [GROUND, GROUND, UNKNOWN, UNKNOWN]], np.uint8)
    named = np.array([[SKY, SKY, GROUND, GROUND], [GROUND, PERSON, SKY, PERSON]], np.uint8)
    counts = confusion(truth, named)
    assert counts.sum() == 6
    assert (counts[SKY, SKY], counts[SKY, GROUND], counts[GROUND, PERSON]) == (2, 1, 1)
    each = intersection_over_union(counts)
    assert each[SKY] == pytest.approx(2 / 3)
    assert each[GROUND] == pytest.approx(2 / 4)
    assert np.isnan(np.delete(each, [SKY, GROUND])).all()  # a person was named, but is not in the truth
    photo = Photo("p", np.zeros((2, 4, 3), np.uint8), truth)
    found = scores([photo, photo], [named, named], "photos")
    assert found == {
        "photos_miou": pytest.approx((2 / 3 + 1 / 2) / 2),
        "photos_sky": pytest.approx(2 / 3),
        "photos_ground": pytest.approx(1 / 2),
    }
    assert selection(found | {"films_miou": 0.1, "films_sky": 0.9}) == pytest.approx((7 / 12 + 0.1) / 2)


def test_pixels_are_named_at_the_size_of_their_picture(streets: list[Photo]) -> None:
    network = Segmenter(SegmenterConfig(thumbnail=64)).eval()
    with torch.no_grad():
        network.name.bias[PERSON] = 20
    named = name_pixels(network, streets)
    assert [n.shape for n in named] == [p.image.shape[:2] for p in streets]
    assert all((n == PERSON).all() for n in named)


def test_labels_are_cut_and_mirrored_with_their_picture() -> None:
    """A picture painted in its own labels: wherever it is cut, both still say the same."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 8, (6, 8)), np.ones((20, 20))).astype(np.uint8)
    image = np.repeat(labels[..., None] * 30, 3, 2)
    for crop in (Crop(0, 0, 1, 1, False), Crop(0, 0, 1, 1, True), Crop(0.2, 0.1, 0.5, 0.7, True)):
        picture, cells = cut(image, crop, 128), cut_labels(labels, crop, 64)
        inner = picture.reshape(64, 2, 64, 2, 3).mean((1, 3, 4)) / 30
        assert (np.abs(inner - cells) < 0.01).mean() > 0.8  # all but the borders between patches
    assert (
        cut_labels(labels, Crop(0, 0, 1, 1, True), 64) == cut_labels(labels, Crop(0, 0, 1, 1, False), 64)[:, ::-1]
    ).all()


def test_samples_repeat_after_a_restore(streets: list[Photo]) -> None:
    sampler = SegmentSampler(SegmentSampleConfig(), streets, 64, seed=3)
    sampler.draw(2)
    state = sampler.state()
    images, labels, weights = sampler.draw(4)
    sampler.restore(state)
    again, named, _ = sampler.draw(4)
    assert torch.equal(images, again)
    assert torch.equal(labels, named)
    assert images.shape == (4, 3, 64, 64)
    assert labels.shape == weights.shape == (4, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1


def test_photographs_and_films_are_drawn_by_their_shares_and_rare_regions_often() -> None:
    """Forty frames of road and one photograph of a person, half unknown."""
    grey = np.zeros((8, 8, 3), np.uint8)
    road = [Photo(f"f{i}", grey, np.full((8, 8), GROUND, np.uint8), filmed=True) for i in range(39)]
    crossing = Photo("f39", grey, np.full((8, 8), PERSON, np.uint8), filmed=True)
    sky = Photo("p", grey, np.where(np.arange(8) < 4, SKY, UNKNOWN).astype(np.uint8)[None].repeat(8, 0))
    config = STILL.model_copy(update={"photographs": 0.25, "rare": 1.0})
    _, labels, _ = SegmentSampler(config, [*road, crossing, sky], 64, seed=0).draw(400)
    middle = labels[:, 16, 8].numpy()
    assert (middle == SKY).mean() == pytest.approx(0.25, abs=0.07)
    assert (middle == PERSON).mean() == pytest.approx(0.375, abs=0.07)
    assert (labels[middle == SKY][:, :, 16:] == UNKNOWN).all()


def test_rare_pixels_count_more_and_all_pixels_one_on_average() -> None:
    labels = np.full((10, 10), GROUND, np.uint8)
    labels[0] = PERSON
    labels[1] = UNKNOWN
    photo = Photo("p", np.zeros((10, 10, 3), np.uint8), labels)
    config = STILL.model_copy(update={"rare": 0.0, "balance": 0.5})
    _, drawn, weights = SegmentSampler(config, [photo], 80, seed=0).draw(1)
    assert weights[drawn == PERSON][0] / weights[drawn == GROUND][0] == pytest.approx((80 / 10) ** 0.5)
    assert (weights[drawn == UNKNOWN] == 0).all()
    assert float(weights[drawn != UNKNOWN].mean()) == pytest.approx(1, rel=1e-4)


def test_the_crop_for_a_rare_region_shows_it() -> None:
    """One pixel of a person in a hundred by a hundred, and crops of half the picture's sides."""
    labels = np.full((100, 100), GROUND, np.uint8)
    labels[3:6, 90:93] = PERSON
    photo = Photo("p", np.zeros((100, 100, 3), np.uint8), labels)
    config = SegmentSampleConfig(smallest_crop=0.5, rare=1.0)
    _, drawn, _ = SegmentSampler(config, [photo], 128, seed=0).draw(60)
    seen = (drawn == PERSON).flatten(1).any(1).float().mean()
    assert seen > 0.6  # half are drawn for the person, and the ground's crops are large


def test_camvids_unlabelled_pixels_are_unknown_and_all_else_is_as_before() -> None:
    numbers = np.arange(256, dtype=np.uint8).reshape(16, 16)
    known = camvid_known(numbers)
    assert known.dtype == np.uint8
    assert (known[numbers >= 11] == UNKNOWN).all()
    assert (known[numbers < 11] == camvid_regions(numbers)[numbers < 11]).all()


def test_too_little_data_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too little labelled data"):
        load_data(SegmentDataConfig(streets=1, side=64), None)
    with pytest.raises(UsageError, match="--data DIR"):
        load_data(SegmentDataConfig(photos=["photos"]), None)


def test_missing_weights_are_named(streets: list[Photo], tmp_path: Path) -> None:
    config = settings(data={"streets": 3, "weights": "squeezenet.npz"})
    with pytest.raises(UsageError, match=f"{tmp_path}/squeezenet.npz: no such file"):
        segment.start(config, streets, tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("segmenter*.yaml")), ids=lambda p: p.stem)
def test_the_committed_configurations_are_valid(path: Path) -> None:
    config = read_config(path, SegmentConfig)
    assert config.data.watched == ["camvid/val"]
    assert not any("test" in name or "dpst" in name for name in config.data.photos + config.data.watched)
