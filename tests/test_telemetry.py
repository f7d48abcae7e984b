"""Nothing is reported to anyone: what ONNX Runtime reads before it would report is set, unless the user has set it."""

import os
import subprocess
import sys

import pytest

SHOW = "import hueglass.infer.model.bundle, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
SHOW_IN_WORKER = """
import os
from multiprocessing import get_context
import hueglass

if __name__ == "__main__":
    with get_context("spawn").Pool(1) as pool:
        print(pool.apply(os.getenv, ("ORT_DISABLE_TELEMETRY",)))
"""


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("1", "1"), ("0", "0")])
def test_onnxruntime_is_told_before_anybody_can_import_it(before: str | None, after: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {} if before is None else {"ORT_DISABLE_TELEMETRY": before}
    done = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (after, "")


def test_a_process_started_later_is_told_too(tmp_path: object) -> None:
    script = f"{tmp_path}/script.py"
    with open(script, "w") as file:
        file.write(SHOW_IN_WORKER)
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("1", "")
