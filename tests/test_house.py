"""Signs of a house in order, counted: each with its bound, and a message that names who is beyond it."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support.modules import MODULES, TREES, layer, own_imports
from support.places import ROOT

TESTS = {path: ast.parse(path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))}
AT_THE_ROOT = ("architecture", "docs", "house", "kept_outputs", "needs", "telemetry")
"""Tests of the whole, which have no room."""
OF_OTHERS = {"--std", "--force-reinstall", "--no-cache-dir"}
"""Flags of NVRTC and of pip."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
NOT_YET = pytest.mark.xfail(strict=False, reason="not yet reached")


def _place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _infer() -> list[str]:
    return [module for module in MODULES if layer(module) == "infer"]


# ---- what a reader meets


def test_a_folder_has_at_most_15_modules() -> None:
    counts = Counter(_place(path.parent) for path in MODULES.values() if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > 15} == {}


def test_a_file_has_at_most_370_lines() -> None:
    lengths = {_place(path): len(path.read_text().splitlines()) for path in (*MODULES.values(), ROOT / "setup.py")}
    assert {path: length for path, length in lengths.items() if length > 370} == {}


def test_at_most_three_functions_have_eight_parameters() -> None:
    """Commands aside, whose parameters are their options."""
    many = {
        f"{module}.{function.name}": count
        for module, tree in TREES.items()
        if "commands" not in module.split(".")
        for function in _functions(tree)
        if (count := _parameters(function)) >= 8
    }
    assert len(many) <= 3, many


def _parameters(function: Function) -> int:
    """How many a caller can give: without `self` and `cls`."""
    found = function.args
    named = [a.arg for a in (*found.posonlyargs, *found.args, *found.kwonlyargs)]
    starred = [a for a in (found.vararg, found.kwarg) if a]
    return len([*(name for name in named if name not in ("self", "cls")), *starred])


def test_no_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert [_place(path) for path in (*MODULES.values(), *TESTS) if path.stem.removeprefix("test_") in drawers] == []


# ---- what holds it together


def test_imports_inside_infer_are_at_most_8_deep() -> None:
    longest = max((_chain(module) for module in _infer()), key=len)
    assert len(longest) <= 8, " -> ".join(longest)


@cache
def _chain(module: str) -> tuple[str, ...]:
    """The longest chain of modules of `infer` that are loaded one for the other, from this one down."""
    below = (_chain(name) for name in own_imports(module, when_loaded=True) if layer(name) == "infer")
    return (module, *max(below, key=len, default=()))


def test_infer_knows_no_flag_of_the_command_line() -> None:
    """Neither in what it says nor in its docstrings: other programs use it too."""
    named = {
        (module, node.lineno, flag)
        for module in _infer()
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", node.value)
        if flag not in OF_OTHERS
    }
    assert named == set()


def test_the_order_of_a_frame_is_stated_once() -> None:
    """Whoever looks for cuts says what comes before and after; what shows nothing may look for them too: a meter, and
    the bench, which times the stages apart."""
    apart = {"hueglass.infer.scene.scene_cut", "hueglass.infer.scene.stability"}
    apart |= {module for module in MODULES if module.startswith("hueglass.bench.")}
    detectors = {name for tree in TREES.values() for name in _named(tree, "CutDetector")}
    assert detectors
    stated = [
        f"{module}.{function.name}"
        for module in sorted(MODULES.keys() - apart)
        for function in _functions(TREES[module])
        if _updates(function, detectors)
    ]
    assert stated == ["hueglass.infer.scene.stylizer.step"]


def _named(tree: ast.AST, kind: str) -> Iterator[str]:
    """The variables, fields and parameters of `tree` that are declared or made as that class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation and kind in ast.unparse(node.annotation):
            yield node.arg
        elif isinstance(node, ast.AnnAssign) and kind in ast.unparse(node.annotation):
            yield _last(node.target)
        elif isinstance(node, ast.Assign) and f"{kind}(" in ast.unparse(node.value):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
            yield from (_last(t) for t, v in zip(targets, values, strict=True) if f"{kind}(" in ast.unparse(v))


def _last(node: ast.AST) -> str:
    """`cuts` of `cuts` and of `self.stylizer.cuts`."""
    return ast.unparse(node).split(".")[-1]


def _updates(function: Function, names: set[str]) -> bool:
    inner = {node for each in _functions(function) if each is not function for node in ast.walk(each)}
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call) and node not in inner]
    return any(isinstance(f, ast.Attribute) and f.attr == "update" and _last(f.value) in names for f in calls)


# ---- tests


def test_no_test_imports_a_test() -> None:
    named = {
        (_place(path), name)
        for path, tree in TESTS.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if any(part.startswith("test_") or part == "tests" for part in name.split("."))
    }
    assert named == set()


def test_tests_lie_as_what_they_test() -> None:
    """tests/ROOM/test_x.py with ROOM a folder of ours, or one of AT_THE_ROOT; what several tests share in support/."""
    rooms = {path.parent for path in MODULES.values()}
    lost = []
    for path in TESTS:
        room = path.relative_to(ROOT / "tests").parent
        if room == Path("."):
            known = path.stem in {"conftest", *(f"test_{name}" for name in AT_THE_ROOT)}
        elif room == Path("support"):
            known = not path.stem.startswith("test_")
        else:
            known = ROOT / room in rooms and (path.stem == "conftest" or path.stem.startswith("test_"))
        lost += [] if known else [_place(path)]
    assert lost == []


def test_one_stand_in_for_cupy() -> None:
    nodes = [(path, node) for path, tree in TESTS.items() for node in ast.walk(tree)]
    classes = [f"{_place(p)}: {n.name}" for p, n in nodes if isinstance(n, ast.ClassDef) and "cupy" in n.name.lower()]
    made = [f"{_place(p)}:{n.lineno}" for p, n in nodes if isinstance(n, ast.Call) and _makes_cupy(n)]
    assert len(classes + made) == 1, classes + made


def _makes_cupy(call: ast.Call) -> bool:
    return _last(call.func) in ("ModuleType", "SimpleNamespace") and "'cupy'" in map(ast.unparse, call.args)


def test_stand_ins_for_a_gpu_have_at_most_655_lines() -> None:
    """500 are too few for what tests depend on: three libraries, of which each refuses wrong types, shapes, addresses
    and threads in its own words, TensorRT in two versions, and what a kernel needs of CUDA. Most of it is a method for
    each that the code calls."""
    support = ROOT / "tests/support"
    kinds = ("fake_*", "*cupy*", "*tensorrt*", "*onnxruntime*", "*cuda_on_cpu*")
    found = {path for kind in kinds for path in support.glob(kind) if path.is_file()}
    lengths = {path.name: len(path.read_text().splitlines()) for path in sorted(found)}
    assert lengths
    assert sum(lengths.values()) <= 655, lengths
