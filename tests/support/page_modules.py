"""The page's modules, run by node."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from hueglass.export import site

from .site import DECODE

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is missing")


def by_node(script: str, given: object) -> Any:
    """What a script with the page's modules in `page` and `given` prints as JSON."""
    head = f"const page = {json.dumps(site.PAGE.as_uri())};\n{DECODE}"
    read = "const given = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));\n"
    command = ["node", "--input-type=module", "-e", head + read + script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
