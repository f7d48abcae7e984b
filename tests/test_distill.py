"""The training loop: it learns, it stops and goes on bit for bit, and it says in one line what is wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from hueglass.config_file import read_config  # noqa: E402
from hueglass.datasets.photos import Photo, street_photos  # noqa: E402
from hueglass.infer.errors import HueglassError, UsageError  # noqa: E402
from hueglass.train import distill, scenes  # noqa: E402
from hueglass.train.checkpoint import (  # noqa: E402
    RESUME,
    SETTINGS,
    WEIGHTS,
    load_resume,
    load_weights,
    save_resume,
    save_weights,
)
from hueglass.train.distill import DataConfig, TrainConfig, Training, load_data, progress, set_learning_rate  # noqa: E402
from hueglass.train.student import LookEncoder, Student, StudentConfig  # noqa: E402

CONFIGS = Path(__file__).parents[1] / "configs"
TINY = StudentConfig(thumbnail=64, code=32, width=16, hidden=24, pair=16)


class Killed(Exception):
    """Stands for a power cut."""


def settings(**changes: object) -> TrainConfig:
    """Three steps in a second; a checkpoint after each."""
    values = {"steps": 3, "batch": 2, "warmup": 1, "render_size": 32, "laplacian_size": 16, "average": 0.5}
    values |= {"student": TINY.model_dump(), "data": {"streets": 3, "side": 64}, "checkpoint_minutes": 1e-9}
    return TrainConfig.model_validate(values | changes)


@pytest.fixture(scope="module")
def streets() -> list[Photo]:
    return street_photos(3, 64)


@pytest.fixture(autouse=True)
def _small_world(streets: list[Photo], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streets drawn once, one of them held out, one batch of held-out scenes; one thread, so that sums repeat."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    draw = scenes.Scenes.draw
    monkeypatch.setattr(distill, "load_data", lambda config, folder: (streets[:2], streets[2:]))
    monkeypatch.setattr(scenes.Scenes, "draw", staticmethod(lambda *given: draw(*given, batches=1)))
    yield
    torch.set_num_threads(before)


def ignore(training: Training, losses: dict[str, float]) -> None:
    pass


def killed_at(step: int) -> Callable[[Training, dict], None]:
    def report(training: Training, losses: dict[str, float]) -> None:
        if training.step == step:
            raise Killed

    return report


def weights(training: Training) -> dict[str, torch.Tensor]:
    parts = {"trained": training.both, "averaged": training.averaged}
    return {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}


def test_losses_are_finite_and_everything_is_written(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    training = distill.run(settings(), tmp_path, None, lambda t, losses: seen.append(losses))
    assert training.step == len(seen) == 3
    names = {"reconstruction", "swd", "laplacian", "smooth", "smooth_depth", "out_of_range", "total"}
    assert all(set(losses) == names for losses in seen)
    assert all(np.isfinite(list(losses.values())).all() for losses in seen)
    configured = settings().losses.model_dump()
    for losses in seen:
        assert losses["total"] == pytest.approx(sum(configured[n] * losses[n] for n in configured), rel=1e-4)
    assert {WEIGHTS, SETTINGS, RESUME, "events", "sheets"} == {p.name for p in tmp_path.iterdir()}
    assert [p.name for p in (tmp_path / "sheets").iterdir()] == ["0000003.jpg"]
    assert 0 < training.scores["psnr_global"] < 60
    assert training.seconds > 0


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


def test_what_is_saved_is_the_moving_average(streets: list[Photo]) -> None:
    config, device = settings(average=0.75), torch.device("cpu")
    training = distill.start(config, streets, device)
    average: dict[str, torch.Tensor] = {}
    for _ in range(3):
        set_learning_rate(training, config)
        distill.train_step(training, config, device)
        now = {k: v.detach().clone() for k, v in training.student.named_parameters()}
        average = {k: 0.75 * average[k] + 0.25 * v for k, v in now.items()} if average else now
    saved = dict(training.saved()[0].named_parameters())
    for name, value in average.items():
        np.testing.assert_allclose(saved[name].detach().numpy(), value.numpy(), atol=1e-6, err_msg=name)
    assert any(not torch.equal(now[name], saved[name]) for name in now)


def test_a_few_steps_on_one_batch_lower_its_loss(streets: list[Photo]) -> None:
    config, device = settings(batch=4, warmup=0, steps=100), torch.device("cpu")
    training = distill.start(config, streets, device)
    state = training.sampler.state()
    totals = []
    for _ in range(15):
        training.sampler.restore(state)
        torch.manual_seed(0)
        totals.append(distill.train_step(training, config, device)["total"])
    assert totals[-1] < 0.9 * totals[0]


def test_bfloat16_convolutions_give_nearly_the_same_losses(streets: list[Photo]) -> None:
    found = []
    for low in (False, True):
        config = settings(bfloat16=low)
        training = distill.start(config, streets, torch.device("cpu"))
        found.append(distill.train_step(training, config, torch.device("cpu"))["total"])
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_progress_is_by_steps_or_minutes_whichever_is_further(streets: list[Photo]) -> None:
    training = distill.start(settings(), streets, torch.device("cpu"))
    training.step, training.seconds = 25, 30.0
    assert progress(training, settings(steps=100)) == 0.25
    assert progress(training, settings(steps=100, minutes=1)) == 0.5
    assert progress(training, settings(steps=40, minutes=1)) == 0.625
    assert progress(training, settings(steps=20)) == 1
    assert progress(training, settings(steps=100, minutes=0.1)) == 1


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth(streets: list[Photo]) -> None:
    config = settings(steps=1000, warmup=9, learning_rate=0.01)
    training = distill.start(config, streets, torch.device("cpu"))
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
    student, encoder = Student(TINY), LookEncoder(TINY)
    save_weights(tmp_path / "new" / "folder", student, encoder, {"step": 7})
    again, encoder_again, facts = load_weights(tmp_path / "new" / "folder")
    assert facts == {"step": 7}
    assert again.config == encoder_again.config == TINY
    assert not again.training
    for ours, theirs in ((student, again), (encoder, encoder_again)):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(v, theirs.state_dict()[k]) for k, v in ours.state_dict().items())
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [SETTINGS, WEIGHTS]


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
    save_weights(folder, Student(config), LookEncoder(config), {})
    (folder / SETTINGS).write_text(kept)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_checkpoint_is_one_line(tmp_path: Path, breakage: str) -> None:
    save_weights(tmp_path, Student(TINY), LookEncoder(TINY), {})
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


@pytest.mark.parametrize("name", ["student.yaml", "tiny.yaml"])
def test_the_configurations_that_come_along_are_valid(name: str) -> None:
    config = read_config(CONFIGS / name, TrainConfig)
    assert config.steps > config.warmup
    assert config.data.photos or config.data.streets
    assert config.student.slots >= config.samples.most_regions


def test_the_tiny_configuration_needs_no_data() -> None:
    assert read_config(CONFIGS / "tiny.yaml", TrainConfig).data.streets > 0


WRONG = {
    "steps: 3\nstepz: 4": "stepz: Extra inputs are not permitted",
    "steps: 3\nstudent: {widht: 8}": "student.widht: Extra inputs are not permitted",
    "steps: 3\nsamples: {grades: {sepia: 1}}": "samples.grades.sepia: Extra inputs are not permitted",
    "steps: 3\nlosses: {swd: -1}": "losses.swd: Input should be greater than or equal to 0",
    "steps: 3\nbatch: 5": "batch: Input should be a multiple of 2",
    "steps: 0": "steps: Input should be greater than 0",
    "": "steps: Field required",
    "- 1": "the file: Input should be a valid dictionary",
    "steps: [": "is not YAML",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_configuration_is_one_line_that_names_the_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(HueglassError) as raised:
        read_config(path, TrainConfig)
    assert str(raised.value).startswith(f"{path}: ")
    assert WRONG[text] in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_configuration_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_config(tmp_path / "none.yaml", TrainConfig)


def test_no_data_and_data_that_nobody_says_where_are_wrong_use() -> None:
    with pytest.raises(UsageError, match="too little data"):
        load_data(DataConfig(), None)
    with pytest.raises(UsageError, match=r"\(holiday\).*--data"):
        load_data(DataConfig(photos=["holiday"]), None)


def test_a_few_streets_give_something_to_train_on_and_something_to_watch(
    tmp_path: Path, streets: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held out are those that their name decides; a watched folder takes the place of labelled ones."""
    named = [Photo(f"street-{n}", streets[n % 3].image, streets[n % 3].labels) for n in range(12)]
    monkeypatch.setattr(distill, "street_photos", lambda count, side: named[:count])
    training, held_out = load_data(DataConfig(streets=12, side=64), None)
    assert [p.name for p in held_out] == ["street-5", "street-7", "street-10"]
    assert sorted(p.name for p in training + held_out) == sorted(p.name for p in named)
    few, last = load_data(DataConfig(streets=3, side=64), None)
    assert [p.name for p in few + last] == ["street-0", "street-1", "street-2"]
    assert [p.name for p in last] == ["street-2"]
    folder = tmp_path / "watched"
    folder.mkdir()
    distill.write_image(folder / "one.png", streets[0].image)
    training, held_out = load_data(DataConfig(streets=12, watched=["watched"], side=64), tmp_path)
    assert [p.name for p in held_out] == ["one"]
    assert len(training) == 9
