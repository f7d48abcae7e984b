"""The student's configurations: those that come along, and in one line what is wrong with another."""

from pathlib import Path

import pytest
from support.places import CONFIGS

pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from hueglass.config_file import read_config
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.train.student.distill import TrainConfig

ABLATIONS = sorted((CONFIGS / "ablations").glob("*.yaml"))
COMMITTED = [
    "student.yaml",
    "student_finish.yaml",
    "student_scene.yaml",
    "tiny.yaml",
    *(f"ablations/{p.name}" for p in ABLATIONS),
]
WRONG = {
    "steps: 3\nstepz: 4": "stepz: Extra inputs are not permitted",
    "steps: 3\nstudent: {widht: 8}": "student.widht: Extra inputs are not permitted",
    "steps: 3\nsamples: {grades: {sepia: 1}}": "samples.grades.sepia: Extra inputs are not permitted",
    "steps: 3\nlosses: {swd: -1}": "losses.swd: Input should be greater than or equal to 0",
    "steps: 3\nbatch: {graded: 0}": "batch.graded: Input should be greater than or equal to 1",
    "steps: 3\nbatch: {taught: 2}": "expected data.targets and batch.taught either both or neither",
    "steps: 0": "steps: Input should be greater than 0",
    "": "steps: Field required",
    "- 1": "the file: Input should be a valid dictionary",
    "steps: [": "is not YAML",
}


@pytest.mark.parametrize("name", COMMITTED)
def test_the_configurations_that_come_along_are_valid(name: str) -> None:
    config = read_config(CONFIGS / name, TrainConfig)
    assert config.steps > config.warmup
    assert config.data.photos or config.data.streets
    assert config.student.slots >= config.samples.most_regions


def test_ablations_differ_in_one_thing() -> None:
    """From `everything.yaml`."""
    base = read_config(CONFIGS / "ablations" / "everything.yaml", TrainConfig).model_dump()
    changed = {}
    for path in ABLATIONS:
        values = read_config(path, TrainConfig).model_dump()
        changed[path.stem] = [k for k in base if values[k] != base[k]]
    assert changed.pop("everything") == []
    assert len(changed) >= 8
    assert all(len(keys) == 1 for keys in changed.values())


def test_the_tiny_configuration_needs_no_data() -> None:
    assert read_config(CONFIGS / "tiny.yaml", TrainConfig).data.streets > 0


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
