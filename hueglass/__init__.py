"""hueglass: live video in the light of any photograph."""

__version__ = "0.1.0"
