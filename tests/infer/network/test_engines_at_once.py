"""Engines that several build at once: one within the time of another, and in processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.engines import BUILDING, built, built_or_found, engine_file, found
from support.places import ROOT

from hueglass.infer.network import engine_cache
from hueglass.infer.network.engine_cache import load_engine

pytestmark = pytest.mark.usefixtures("tensorrt")


def test_two_that_build_at_once(graph: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins and ends while the first builds; then the engine of one lies beside the record of the other."""
    real = engine_cache.build_engine

    def slow(*arguments: object) -> bytes:
        monkeypatch.setattr(engine_cache, "build_engine", real)
        assert built(graph).model is not None
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine_cache, "build_engine", slow)
    assert built_or_found(graph).model == found(graph).model
    path = engine_file(cache)
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "engine_sha256": 64 * "0"}))
    with pytest.warns(UserWarning, match=BUILDING), pytest.warns(UserWarning, match="checksum"):
        load_engine(graph)
    found(graph)
    assert not [p for p in cache.iterdir() if ".part" in p.name]


AT_ONCE = """
import sys, warnings
from pathlib import Path
import pytest
from support.fake_cupy import Machine
from support.fake_tensorrt import install
from hueglass.infer.network.engine_cache import load_engine

install(pytest.MonkeyPatch(), Machine())
print("ready", flush=True)
sys.stdin.readline()
warnings.simplefilter("ignore")
for turn in range(40):
    assert load_engine(Path(sys.argv[1])).model is not None
    if turn % 4 == int(sys.argv[2]):  # so that there is always somebody building
        for path in Path(sys.argv[3]).glob("small-*"):
            path.unlink(missing_ok=True)
"""


@pytest.mark.parametrize("version", ["10.13.0.35"])
def test_processes_that_build_at_once(graph: Path, cache: Path) -> None:
    command = [sys.executable, "-c", AT_ONCE, str(graph)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    several = [
        subprocess.Popen([*command, str(i), str(cache)], cwd=ROOT / "tests", text=True, **pipes)  # type: ignore[call-overload]
        for i in range(3)
    ]
    for process in several:
        assert process.stdout.readline() == "ready\n"
    for process in several:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in several:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    built_or_found(graph)
    found(graph)
    assert not [path for path in cache.iterdir() if ".part" in path.name]
