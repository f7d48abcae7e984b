"""`import hueglass` costs next to nothing, gives every public name when it is asked for, and runs where it is read."""

import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.modules import FOLDERS
from support.places import ROOT

import hueglass

HEAVY = ("numpy", "cv2", "av", "torch", "onnxruntime", "scipy")
LOADED = f"; import sys; print([name for name in {HEAVY} if name in sys.modules])"


def python(code: str, env: dict[str, str] | None = None) -> str:
    """What a new interpreter prints that stands in the clone's root."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_import_loads_nothing_heavy() -> None:
    assert python("import hueglass" + LOADED) == "[]\n"
    assert python("import hueglass.cli" + LOADED) == "[]\n"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["photo", "--help"], ["evaluate", "pairs", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = f"import sys; sys.argv = ['hueglass', *{words}]; from hueglass.cli import run; assert run() == 0"
    assert python(code + LOADED).splitlines()[-1] == "[]"


def test_the_names_are_what_they_were() -> None:
    assert [name for name in hueglass.__all__ if not hasattr(hueglass, name)] == []
    assert {name for names in hueglass._HOMES.values() for name in names} == set(hueglass.__all__)
    assert set(hueglass.__all__) <= set(dir(hueglass))
    from hueglass import Stylizer
    from hueglass.infer.scene import stylizer

    assert Stylizer is hueglass.Stylizer is stylizer.Stylizer
    with pytest.raises(AttributeError, match="module 'hueglass' has no attribute 'Stilizer'"):
        hueglass.Stilizer  # noqa: B018


def test_all_of_them_can_be_starred() -> None:
    printed = python("from hueglass import *; print(Frame.__module__, find_look.__module__)")
    assert printed == "hueglass.infer.frame hueglass.infer.model.look\n"


def test_they_pickle_by_their_home() -> None:
    assert pickle.loads(pickle.dumps(hueglass.Frame)) is hueglass.Frame
    code = "import hueglass, multiprocessing as m; print(m.get_context('spawn').Pool(1).apply(hueglass.embedded))"
    code = code.replace("hueglass.embedded", "hueglass.UsageError, ('as it was',)")
    assert python(code) == "as it was\n"


def test_the_model_opens_where_the_reader_stands() -> None:
    assert python("import hueglass; print(hueglass.ModelBundle().manifest.thumbnail)") == "256\n"


def test_a_plain_install_is_the_whole_package(tmp_path: Path) -> None:
    """Not an editable one: what is in the wheel has to do, and the clone's own folders must not come before it."""
    if shutil.which("c++") is None or find_spec("pip") is None or find_spec("pybind11") is None:
        pytest.skip("no compiler, pip or pybind11 here")
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*install, "--target", str(target), str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    code = (
        "import hueglass; from hueglass.infer.grid.cpu import native;"
        "print(hueglass.__file__, native.available(), hueglass.ModelBundle().manifest.thumbnail)"
    )
    printed = python(code, env={**os.environ, "PYTHONPATH": str(target)})
    assert printed == f"{target / 'hueglass' / '__init__.py'} True 256\n"
