"""The product as it is written: its modules, and what each of them imports, read from the files."""

import ast
from collections.abc import Iterator
from pathlib import Path

from .places import ROOT

ORDER = ("infer", "datasets", "train", "export", "app")
"""Each may import itself and what stands to its left. `app` is installed as `hueglass` itself."""
FOLDERS = (*ORDER, "configs")
"""`configs` holds data: whoever trains may look for it, and it imports nothing."""
SKIPPED = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def files(folder: str) -> list[Path]:
    return [p for p in sorted((ROOT / folder).rglob("*")) if p.is_file() and not SKIPPED & set(p.parts)]


def dotted(path: Path) -> str:
    """The name under which a file of the tree is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("hueglass", *(parts[1:] if parts[0] == "app" else parts))
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for folder in FOLDERS for path in files(folder) if path.suffix == ".py"}
TREES = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}


def layer(module: str) -> str:
    """Which of FOLDERS a module lies in: hueglass.infer.model.look is of infer, hueglass.cli of app."""
    second = module.split(".")[1:2]
    return second[0] if second and second[0] in FOLDERS else "app"


def imports(module: str, when_loaded: bool = False) -> set[str]:
    """Modules that `module` imports: our own as the deepest module named, others as they are written.

    With `when_loaded` without those inside functions, and those that only a type checker sees.
    """
    found = set()
    for node in _nodes(TREES[module], when_loaded):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else base for name in names}
    return found


def own_imports(module: str, when_loaded: bool = False) -> set[str]:
    return {name for name in imports(module, when_loaded) if name.split(".")[0] == "hueglass"}


def _base(module: str, node: ast.ImportFrom) -> str:
    """What stands after `from`, without leading dots."""
    if node.level == 0:
        return node.module or ""
    package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    parts = package[: len(package) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


def _nodes(tree: ast.AST, when_loaded: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(tree):
        if not (when_loaded and _runs_later(child)):
            yield child
            yield from _nodes(child, when_loaded)


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
