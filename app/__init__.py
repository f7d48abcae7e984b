"""hueglass: live video in the light of any photograph. These are the public names, imported when they are asked for."""

import os

# ONNX Runtime's Linux wheel reports every run to its maker, and reads this while it is imported. Whoever imports any
# part of hueglass imports this file first; processes that are started later inherit it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hueglass.infer.errors import HueglassError, UsageError
    from hueglass.infer.frame import Frame
    from hueglass.infer.media.images import read_image, write_image
    from hueglass.infer.media.video_sink import VideoSink
    from hueglass.infer.media.video_source import VideoSource
    from hueglass.infer.model.bundle import ModelBundle
    from hueglass.infer.model.look import Look, find_look, make_look, read_look, write_look
    from hueglass.infer.regions.masks import Mask, read_mask, regions_of
    from hueglass.infer.regions.regions import Regions
    from hueglass.infer.scene.smoother import Smoother
    from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
    from hueglass.infer.smoothing import Steadying

__version__ = "0.1.0"
__all__ = [
    "Frame",
    "HueglassError",
    "Look",
    "Mask",
    "ModelBundle",
    "Regions",
    "Smoother",
    "Steadying",
    "Stylizer",
    "StylizerSettings",
    "UsageError",
    "VideoSink",
    "VideoSource",
    "find_look",
    "make_look",
    "read_image",
    "read_look",
    "read_mask",
    "regions_of",
    "write_image",
    "write_look",
]
_HOMES = {
    "errors": ("HueglassError", "UsageError"),
    "frame": ("Frame",),
    "media.images": ("read_image", "write_image"),
    "media.video_sink": ("VideoSink",),
    "media.video_source": ("VideoSource",),
    "model.bundle": ("ModelBundle",),
    "model.look": ("Look", "find_look", "make_look", "read_look", "write_look"),
    "regions.masks": ("Mask", "read_mask", "regions_of"),
    "regions.regions": ("Regions",),
    "scene.smoother": ("Smoother",),
    "scene.stylizer": ("Stylizer", "StylizerSettings"),
    "smoothing": ("Steadying",),
}
"""The modules of `hueglass.infer` that the names lie in."""


def __getattr__(name: str) -> Any:
    """PEP 562: asked once for each name, which is a plain one of this module from then on."""
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"hueglass.infer.{home}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
