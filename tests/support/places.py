"""Where things lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / os.environ.get("HUEGLASS_DATA", "../shared/data")
"""Photographs and clips, if they are there."""
CONFIGS = ROOT / "configs"
