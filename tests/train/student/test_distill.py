"""The training loop: it learns, it stops and goes on bit for bit, and it says in one line what is wrong."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from support.training import Killed, ignore, killed_at

from hueglass.datasets.photos import Photo, street_photos
from hueglass.datasets.region_labels import LabelStore, RegionLabel
from hueglass.datasets.target_store import Store
from hueglass.datasets.targets import Target, encode, read_targets
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.media.images import write_image
from hueglass.infer.regions.regions import REGION_NAMES
from hueglass.train.checkpoint import RESUME, load_resume, save_resume
from hueglass.train.loop import keep_best, set_learning_rate
from hueglass.train.student import distill, held_out
from hueglass.train.student.distill import Data, DataConfig, TrainConfig, Training, load_data, load_targets
from hueglass.train.student.network import StudentConfig, new_networks
from hueglass.train.student.weights import SETTINGS, WEIGHTS, load_weights, save_weights

TINY = StudentConfig(thumbnail=64, tones=3, cells=4, code=32, width=16, hidden=24, pair=16, embedding=8)
FEW = {"graded": 2, "unpaired": 1, "taught": 1}


def settings(**changes: object) -> TrainConfig:
    """Three steps in a second; a checkpoint after each."""
    values = {"steps": 3, "batch": FEW, "warmup": 1, "render_size": 32, "laplacian_size": 16, "average": 0.5}
    data = {"streets": 3, "side": 64, "targets": ["targets"]}
    values |= {"student": TINY.model_dump(), "data": data, "checkpoint_minutes": 1e-9}
    return TrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def streets() -> list[Photo]:
    return street_photos(3, 64)


def target_of(street: Photo, name: str = "t") -> Target:
    """What a teacher that halves all colours would make of a street and itself."""
    assert street.labels is not None
    halved = np.eye(3, 4).ravel() / 2
    grid = np.broadcast_to(halved.astype(np.float32), (8, 4, 4, 12)).copy()
    pictures = (street.image, street.image // 2, street.image)
    return Target(name, *pictures, grid, REGION_NAMES, street.labels, street.labels)


@pytest.fixture
def seen(streets: list[Photo]) -> Data:
    return Data(streets[:2], [target_of(streets[0])])


@pytest.fixture(autouse=True)
def _small_world(streets: list[Photo], seen: Data, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streets drawn once, one of them held out, one batch of held-out samples; one thread, so that sums repeat."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    draw = held_out.HeldOut.draw
    monkeypatch.setattr(distill, "load_data", lambda config, folder: (seen, Data(streets[2:], seen.targets)))
    monkeypatch.setattr(held_out.HeldOut, "draw", staticmethod(lambda *given: draw(*given, batches=1)))
    yield
    torch.set_num_threads(before)


def weights(training: Training) -> dict[str, torch.Tensor]:
    parts = {"trained": training.network, "averaged": training.averaged}
    return {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}


def test_losses_are_finite_and_everything_is_written(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    training = distill.run(settings(), tmp_path, None, lambda t, losses: seen.append(losses))
    assert training.step == len(seen) == 3
    names = {"reconstruction", "teacher", "swd", "correspondence", "laplacian", "smooth"}
    names |= {"smooth_depth", "out_of_range", "consistency", "halo", "total"}
    assert all(set(losses) == names for losses in seen)
    assert all(np.isfinite(list(losses.values())).all() for losses in seen)
    configured = {n: weight for n, weight in settings().losses.model_dump().items() if n in names}
    for losses in seen:
        assert losses["total"] == pytest.approx(sum(configured[n] * losses[n] for n in configured), rel=1e-4)
    assert {WEIGHTS, SETTINGS, RESUME, "events", "sheets"} == {p.name for p in tmp_path.iterdir()}
    assert [p.name for p in (tmp_path / "sheets").iterdir()] == ["0000003.jpg"]
    assert 0 < training.scores["psnr_global"] < 60
    assert training.seconds > 0


@pytest.mark.parametrize("name", ["consistency", "halo"])
def test_consistency_and_halos_count_as_much_as_they_weigh(seen: Data, name: str) -> None:
    """The same step with and without a weight of its own: the total differs by the loss, and so do the weights."""
    totals, after = [], []
    for weight in (0.0, 2.0):
        config = settings(losses={name: weight}, batch={**FEW, "unpaired": 6})
        training = distill.start(config, seen, torch.device("cpu"))
        losses = distill.train_step(training, config, torch.device("cpu"))
        assert losses[name] > 0
        totals.append(losses["total"] - weight * losses[name])
        after.append(weights(training))
    assert totals[1] == pytest.approx(totals[0], rel=1e-4)
    assert any(not torch.equal(value, after[1][key]) for key, value in after[0].items())


def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Killed during the third step, after the checkpoint of the second, and started again."""
    whole = distill.run(settings(), tmp_path / "whole", None, ignore)
    with pytest.raises(Killed):
        distill.run(settings(), tmp_path / "killed", None, killed_at(3))
    steps: list[int] = []
    again = distill.run(settings(), tmp_path / "killed", None, lambda t, losses: steps.append(t.step))
    assert steps == [3]
    assert weights(whole).keys() == weights(again).keys()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    assert again.scores == whole.scores
    first, second = ((tmp_path / name / WEIGHTS).read_bytes() for name in ("whole", "killed"))
    assert first == second


def test_a_finished_training_stays_as_it_is(tmp_path: Path) -> None:
    distill.run(settings(steps=1), tmp_path, None, ignore)
    before = (tmp_path / WEIGHTS).read_bytes()
    again = distill.run(settings(steps=1), tmp_path, None, killed_at(2))
    assert again.step == 1
    assert (tmp_path / WEIGHTS).read_bytes() == before


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    distill.run(settings(steps=1), tmp_path, None, ignore)
    before = (tmp_path / WEIGHTS).read_bytes()
    with pytest.raises(UsageError, match="another configuration"):
        distill.run(settings(steps=1, learning_rate=0.5), tmp_path, None, ignore)
    assert (tmp_path / WEIGHTS).read_bytes() == before


def test_what_is_saved_is_the_moving_average(seen: Data) -> None:
    config, device = settings(average=0.75), torch.device("cpu")
    training = distill.start(config, seen, device)
    average: dict[str, torch.Tensor] = {}
    for step in range(3):
        weight = max(0.25, 9 / (10 + step))
        set_learning_rate(training, config)
        distill.train_step(training, config, device)
        now = {k: v.detach().clone() for k, v in training.student.named_parameters()}
        average = {k: average[k] + weight * (v - average[k]) for k, v in now.items()} if average else now
    saved = dict(training.saved()[0].named_parameters())
    for name, value in average.items():
        np.testing.assert_allclose(saved[name].detach().numpy(), value.numpy(), atol=1e-6, err_msg=name)
    assert any(not torch.equal(now[name], saved[name]) for name in now)


def test_a_few_steps_on_one_batch_lower_its_loss(seen: Data) -> None:
    config, device = settings(warmup=0, steps=100), torch.device("cpu")
    training = distill.start(config, seen, device)
    state = training.sampler.state()
    totals = []
    for _ in range(15):
        training.sampler.restore(state)
        torch.manual_seed(0)
        totals.append(distill.train_step(training, config, device)["total"])
    assert totals[-1] < 0.9 * totals[0]


def test_bfloat16_convolutions_give_nearly_the_same_losses(seen: Data) -> None:
    found = []
    for low in (False, True):
        config = settings(bfloat16=low)
        training = distill.start(config, seen, torch.device("cpu"))
        found.append(distill.train_step(training, config, torch.device("cpu"))["total"])
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth(seen: Data) -> None:
    config = settings(steps=1000, warmup=9, learning_rate=0.01)
    training = distill.start(config, seen, torch.device("cpu"))
    rates = []
    for step in range(1001):
        training.step = step
        set_learning_rate(training, config)
        rates.append(training.optimiser.param_groups[0]["lr"])
    np.testing.assert_allclose(rates[:10], 0.01 * np.arange(1, 11) / 10, rtol=1e-3)
    assert rates[500] == pytest.approx(0.00505, rel=1e-6)
    assert rates[1000] == pytest.approx(0.0001, rel=1e-6)
    assert (np.diff(rates[9:]) < 0).all()


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, encoder = new_networks(TINY)
    save_weights(tmp_path / "new" / "folder", student, encoder, {"step": 7})
    again, encoder_again, facts = load_weights(tmp_path / "new" / "folder")
    assert facts == {"step": 7}
    assert again.config == encoder_again.config == TINY
    assert not again.training
    for ours, theirs in ((student, again), (encoder, encoder_again)):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())
    assert again.trunk is encoder_again.trunk
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [SETTINGS, WEIGHTS]


def test_a_training_can_start_from_a_checkpoint(tmp_path: Path, seen: Data) -> None:
    torch.manual_seed(3)
    student, encoder = new_networks(TINY)
    save_weights(tmp_path, student, encoder, {})
    training = distill.start(settings(start_from=str(tmp_path)), seen, torch.device("cpu"))
    for ours, theirs in ((training.student, student), (training.encoder, encoder)):
        assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())
    assert training.student.training
    assert training.student.trunk is training.encoder.trunk
    distill.train_step(training, settings(), torch.device("cpu"))
    wider = TINY.model_copy(update={"width": 24}).model_dump()
    with pytest.raises(UsageError, match="holds networks of other sizes"):
        distill.start(settings(start_from=str(tmp_path), student=wider), seen, torch.device("cpu"))
    with pytest.raises(UsageError, match="no checkpoint here"):
        distill.start(settings(start_from=str(tmp_path / "none")), seen, torch.device("cpu"))


def test_a_training_can_go_on_with_finer_cells(tmp_path: Path, seen: Data) -> None:
    torch.manual_seed(3)
    student, encoder = new_networks(TINY)
    save_weights(tmp_path, student, encoder, {})
    finer = TINY.model_copy(update={"cells": 8})
    config = settings(start_from=str(tmp_path), student=finer.model_dump(), losses={"teacher_grid": 0})
    training = distill.start(config, seen, torch.device("cpu"))
    assert training.student.config == finer
    assert all(torch.equal(v, student.state_dict()[k]) for k, v in training.student.state_dict().items())
    distill.train_step(training, config, torch.device("cpu"))


def test_a_finer_grid_learns_without_the_teachers(seen: Data) -> None:
    """The teacher's grids are of its own size; its pictures teach any student."""
    finer = settings(student=TINY.model_copy(update={"cells": 8}).model_dump(), losses={"teacher_grid": 0})
    losses = distill.train_step(distill.start(finer, seen, torch.device("cpu")), finer, torch.device("cpu"))
    assert "teacher" in losses
    assert "teacher_grid" not in losses


def test_no_checkpoint_is_wrong_use(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="no checkpoint here"):
            load_weights(folder)
    assert load_resume(tmp_path) is None


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "cut short": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:5000]),
    "empty": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "other sizes": lambda folder: save_weights_under(folder, TINY.model_copy(update={"width": 24})),
    "no json": lambda folder: (folder / SETTINGS).write_text("{"),
    "no sizes": lambda folder: (folder / SETTINGS).write_text("{}"),
    "impossible sizes": lambda folder: (folder / SETTINGS).write_text('{"student": {"thumbnail": 63}}'),
}


def save_weights_under(folder: Path, config: StudentConfig) -> None:
    """Weights of other sizes than the settings say."""
    kept = (folder / SETTINGS).read_text()
    save_weights(folder, *new_networks(config), {})
    (folder / SETTINGS).write_text(kept)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_checkpoint_is_one_line(tmp_path: Path, breakage: str) -> None:
    save_weights(tmp_path, *new_networks(TINY), {})
    BREAKAGES[breakage](tmp_path)
    with pytest.raises(HueglassError, match="broken checkpoint") as raised:
        load_weights(tmp_path)
    assert not isinstance(raised.value, UsageError)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_resume_state_is_one_line(tmp_path: Path) -> None:
    for damage in (b"", b"no zip file", b"PK\x03\x04 cut short"):
        (tmp_path / RESUME).write_bytes(damage)
        with pytest.raises(HueglassError, match=RESUME) as raised:
            load_resume(tmp_path)
        assert "\n" not in str(raised.value)


def test_a_file_in_place_of_the_folder_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        distill.run(settings(), tmp_path / "run", None, ignore)


def test_more_regions_than_slots_are_refused() -> None:
    with pytest.raises(ValueError, match="most_regions"):
        settings(student=TINY.model_dump() | {"slots": 2})


def test_resume_states_come_back(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    state = {"numpy": generator.bit_generator.state, "step": 5, "weights": torch.arange(3.0), "scores": {"swd": 0.5}}
    save_resume(tmp_path, state)
    again = load_resume(tmp_path)
    assert again is not None
    assert again["numpy"] == state["numpy"]
    assert (again["step"], again["scores"]) == (5, {"swd": 0.5})
    assert [p.name for p in tmp_path.iterdir()] == [RESUME]


def test_no_data_and_data_that_nobody_says_where_are_wrong_use() -> None:
    with pytest.raises(UsageError, match="too little data"):
        load_data(DataConfig(), None)
    with pytest.raises(UsageError, match=r"\(holiday\).*--data"):
        load_data(DataConfig(photos=["holiday"]), None)


def test_a_few_streets_give_something_to_train_on_and_something_to_watch(
    tmp_path: Path, streets: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held out are those that their name decides; a watched folder takes the place of labelled ones."""
    named = [Photo(f"street-{n}", streets[n % 3].image, streets[n % 3].labels, filmed=True) for n in range(12)]
    monkeypatch.setattr(distill, "street_photos", lambda count, side: named[:count])
    training, held_out = (data.photos for data in load_data(DataConfig(streets=12, side=64), None))
    assert [p.name for p in held_out] == ["street-5", "street-7", "street-10"]
    assert sorted(p.name for p in training + held_out) == sorted(p.name for p in named)
    few, last = (data.photos for data in load_data(DataConfig(streets=3, side=64), None))
    assert [p.name for p in few + last] == ["street-0", "street-1", "street-2"]
    assert [p.name for p in last] == ["street-2"]
    folder = tmp_path / "watched"
    folder.mkdir()
    write_image(folder / "one.png", streets[0].image)
    config = DataConfig(streets=12, watched=["watched"], side=64)
    training, held_out = (data.photos for data in load_data(config, tmp_path))
    assert [p.name for p in held_out] == ["one"]
    assert len(training) == 9
    monkeypatch.setattr(distill, "street_photos", lambda count, side: [replace(p, filmed=False) for p in named])
    assert len(load_data(config, tmp_path)[1].photos) == 4


def test_labels_that_teachers_made_come_with_their_photographs(tmp_path: Path) -> None:
    """A training knows what is what in a photograph that nobody labelled by hand; nobody else is asked."""
    (tmp_path / "data" / "photos").mkdir(parents=True)
    maps = np.zeros((8, 16, 16), np.uint8)
    maps[2] = 255
    with LabelStore(tmp_path / "labels", {}) as store:
        for n in range(12):
            path = tmp_path / "data" / "photos" / f"{n}.png"
            write_image(path, np.full((70, 90, 3), n, np.uint8))
            store.add(RegionLabel(f"photos/{n}.png", sha256(path.read_bytes()).hexdigest(), maps))
    for labels in (None, str(tmp_path / "labels")):
        config = DataConfig(photos=["photos"], side=64, labels=labels)
        photos = [photo for data in load_data(config, tmp_path / "data") for photo in data.photos]
        assert len(photos) == 12
        assert all((p.labels is None) if labels is None else bool((p.labels == 2).all()) for p in photos)


def test_targets_are_held_out_by_their_content(tmp_path: Path, streets: list[Photo]) -> None:
    """One in twenty contents, whatever the style; those without a grid teach nothing here."""
    (tmp_path / "store").mkdir()
    with Store(tmp_path / "store", {}) as store:
        for n in range(60):
            pair = {"pair": {"content": f"photos/{n // 2}.webp"}}
            store.add(f"t-{n}", encode(replace(target_of(streets[0], f"t-{n}"), provenance=pair)))
        store.add("bare", encode(replace(target_of(streets[0], "bare"), grid=None)))
    training, watched = load_targets([str(tmp_path / "store")])
    assert len(training) + len(watched) == 60
    held = {t.provenance["pair"]["content"] for t in watched}
    assert 1 <= len(held) < 8
    assert not held & {t.provenance["pair"]["content"] for t in training}
    assert len(list(read_targets(tmp_path / "store"))) == 61


def test_the_weights_that_are_kept_are_the_best_so_far(tmp_path: Path, seen: Data) -> None:
    config = settings()
    training = distill.start(config, seen, torch.device("cpu"))
    watched = held_out.HeldOut({}, {}, {})
    task = distill.task(lambda training: {}, watched)
    rest = {"psnr_local": 20.0, "swd_shown": 4.0, "swd_hidden": 5.0, "drift": 1.5, "halo": 0.5}
    for step, score, kept in ((1, 20.0, 1), (2, 25.0, 2), (3, 24.0, 2), (4, 25.5, 4)):
        training.step = step
        training.scores = {"psnr_global": score, **rest}
        keep_best(training, task, config, tmp_path)
        assert load_weights(tmp_path)[2]["step"] == kept
    assert training.best == held_out.selection(training.scores) == 34.5
