"""The house as it is built: which way imports point, what the runtime never touches, what ends up in a wheel."""

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.modules import FOLDERS, MODULES, ORDER, TREES, dotted, files, imports, layer, own_imports
from support.places import ROOT

LIGHT = ("infer", "datasets")
HEAVY = {"torch", "torchvision", "onnx", "scipy", "skimage", "yaml"}
"""What `train` and `export` may need and LIGHT never does."""
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


ROOM_ORDER = ("models", "", "media", "network", "grid", "regions", "model", "scene", "screen")
"""Inside `infer`: each room may import itself and what stands to its left. "" is the ground, modules that lie in no
room; `models` is data."""
TRAIN_ROOMS = ("teacher", "student", "segmenter")
"""Inside `train`: each may import itself and what lies in no room, which imports no room."""


def test_the_tree_was_read() -> None:
    """The tests below would hold on an empty tree."""
    assert len(MODULES) > 40
    assert {layer(module) for module in MODULES} == set(FOLDERS)
    native = own_imports("hueglass.infer.grid.cpu.native")
    assert native == {f"hueglass.infer.{name}" for name in ("grid.bilateral", "errors", "frame")}
    named = {"hueglass.infer.grid.renderer", "hueglass.infer.regions.strength", "numpy"}
    assert named <= imports("hueglass.infer.scene.stylizer")
    assert "hueglass.jobs.photo" in own_imports("hueglass.commands.photo")
    assert "hueglass.jobs.photo" not in own_imports("hueglass.commands.photo", when_loaded=True)


def test_imports_name_modules_that_exist() -> None:
    assert {name for module in MODULES for name in own_imports(module)} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module: str) -> None:
    room = layer(module)
    allowed = {room, *ORDER[: ORDER.index(room)]} if room in ORDER else {room}
    if room in ("train", "export", "app"):
        allowed.add("configs")
    # The bare package runs before any module in it: taking its version from it adds no dependency.
    version = {"hueglass"} if room in ("train", "export") else set()
    wrong = {name for name in own_imports(module) - version if layer(name) not in allowed}
    assert wrong == set()


def _room(module: str) -> str:
    """Which room of its folder a module lies in: "grid" for infer.grid.cpu.native, "" for infer.frame."""
    path = MODULES[module].relative_to(ROOT).parts
    return path[1] if len(path) > 2 else ""


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) == "infer"])
def test_rooms_of_infer_point_one_way(module: str) -> None:
    allowed = ROOM_ORDER[: ROOM_ORDER.index(_room(module)) + 1]
    assert {name for name in own_imports(module) if _room(name) not in allowed} == set()


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) == "train"])
def test_rooms_of_train_do_not_know_each_other(module: str) -> None:
    rooms = {name for name in own_imports(module) if layer(name) == "train" and _room(name) not in ("", _room(module))}
    assert rooms == set()


def test_every_room_was_asked() -> None:
    assert {_room(module) for module in MODULES if layer(module) == "infer"} == set(ROOM_ORDER)
    assert {_room(module) for module in MODULES if layer(module) == "train"} == {"", *TRAIN_ROOMS}


@pytest.mark.parametrize("module", [m for m, p in MODULES.items() if p.name == "__init__.py" and m != "hueglass"])
def test_a_room_says_in_three_lines_what_it_is_for(module: str) -> None:
    """And holds no code; those of the runtime and of training say what they may import as well."""
    (said,) = TREES[module].body
    text = ast.get_docstring(TREES[module])
    assert text is not None
    assert said.end_lineno is not None
    assert said.end_lineno <= 3
    assert "Imports" in text or layer(module) in ("app", "configs")


def test_the_bare_package_imports_nothing_of_ours_but_the_runtime() -> None:
    """Every module runs it first, so whatever it imports is imported everywhere."""
    assert {layer(name) for name in own_imports("hueglass")} <= {"infer"}


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) in LIGHT])
def test_the_runtime_and_the_data_are_light(module: str) -> None:
    assert {name.split(".")[0] for name in imports(module)} & HEAVY == set()


def test_no_import_cycles() -> None:
    graph = {module: own_imports(module, when_loaded=True) - {"hueglass"} for module in MODULES}
    order = list(TopologicalSorter(graph).static_order())  # CycleError names the cycle
    names = ("hueglass.infer.errors", "hueglass.infer.scene.stylizer", "hueglass.jobs.demo")
    assert [name for name in order if name in names] == list(names)
    assert sorted(order) == sorted({*graph, *(name for names in graph.values() for name in names)})


RUN_WITHOUT_TORCH = """
import importlib, pkgutil, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("torch"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Refuse())
import hueglass.datasets, hueglass.infer
for package in (hueglass.infer, hueglass.datasets):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
for name in ("cli", "jobs.looks", "jobs.demo"):
    importlib.import_module("hueglass." + name)

import numpy as np
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.frame import Frame
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.scene.stylizer import Stylizer

bundle = ModelBundle()
image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
out = Stylizer(bundle, find_look(embedded_looks()[0], bundle.manifest))(Frame(image, 0.0, 0)).image
loaded = [name for name in sys.modules if name.split(".")[0].startswith("torch")]
imported = sum(name.startswith("hueglass.infer.") for name in sys.modules)
print(out.shape, out.dtype, bool((out != image).any()), imported, loaded)
"""


def test_the_runtime_runs_where_torch_cannot_be_imported() -> None:
    done = subprocess.run([sys.executable, "-c", RUN_WITHOUT_TORCH], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(90, 160, 3) uint8 True")
    imported, loaded = done.stdout.split("True ")[1].split(" ", 1)
    assert int(imported) >= sum(layer(m) == "infer" for m in MODULES) - 1
    assert loaded.strip() == "[]"


def _package(folder: Path) -> str:
    return dotted(folder / "__init__.py")


def test_every_folder_of_modules_is_packaged() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert sorted(SETUPTOOLS["packages"]) == sorted(_package(folder) for folder in folders)
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_package_dir_maps_each_folder_of_the_top_level() -> None:
    expected = {("hueglass" if folder == "app" else f"hueglass.{folder}"): folder for folder in FOLDERS}
    assert SETUPTOOLS["package-dir"] == expected


def test_every_data_file_is_packaged() -> None:
    data = [p for folder in FOLDERS for p in files(folder) if p.suffix not in {".py", ".so", ".pyd", ".pyc"}]
    patterns = SETUPTOOLS["package-data"]
    packages = {_package(path.parent): path.parent for path in MODULES.values()}
    packaged = {p for name, kinds in patterns.items() for kind in kinds for p in packages[name].glob(kind)}
    assert [p for p in data if p not in packaged] == []
    suffixes = {p.suffix or p.name for p in data}
    assert {".yaml", ".look", ".onnx", ".json", ".cpp", ".typed"} <= suffixes


def test_package_data_names_packages() -> None:
    assert set(SETUPTOOLS["package-data"]) <= set(SETUPTOOLS["packages"])
    assert {"*.onnx", "*.json", "*.md"} <= set(SETUPTOOLS["package-data"]["hueglass.infer.models"])
    assert SETUPTOOLS["package-data"]["hueglass"] == ["py.typed"]


def test_nothing_points_outside_the_project() -> None:
    written = [p for folder in FOLDERS for p in files(folder) if p.suffix in {".py", ".cpp", ".yaml", ".md", ".json"}]
    texts = {p.relative_to(ROOT): p.read_text() for p in [*written, ROOT / "pyproject.toml", ROOT / "setup.py"]}
    outside = ("../" + "shared", "/" + "work/", "/" + "root/", "/" + "home/")
    assert {(str(p), s) for p, text in texts.items() for s in outside if s in text} == set()
