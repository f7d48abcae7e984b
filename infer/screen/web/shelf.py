"""The shelf: the looks that clients may choose from, each with its preview, and those made of uploaded photographs."""

import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError
from hueglass.infer.frame import Frame
from hueglass.infer.media.image_header import read_header
from hueglass.infer.media.images import read_image
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, make_look
from hueglass.infer.regions.segmenter import Segmenter, find_regions
from hueglass.infer.scene.stylizer import Stylizer

MAX_BYTES = 16 << 20
MAX_PIXELS = 50_000_000
"""Of an uploaded photograph, by its header: a small file can claim any size."""
MAX_UPLOADS = 64
KINDS = ("jpeg", "png", "webp")
QUALITY = 85
"""JPEG's, of previews."""


class RefusedUpload(HueglassError):
    """What was uploaded is not taken; `status` is HTTP's for the reason."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Kept:
    """A look on the shelf; `preview` is a JPEG file."""

    look: Look
    preview: bytes

    def entry(self, name: str) -> dict[str, str]:
        """What clients are told."""
        return {"name": name, "preview": f"/looks/{quote(name, safe='')}.jpg"}


class Shelf:
    """`looks` stay; of what is uploaded, the last MAX_UPLOADS. Previews show `picture` (H, W, 3) uint8 sRGB in the
    light of the look; a `segmenter` finds its regions and those of photographs. May be used by several threads."""

    def __init__(
        self, bundle: ModelBundle, looks: Iterable[Look], picture: np.ndarray, segmenter: Segmenter | None = None
    ) -> None:
        self._bundle, self._picture, self._segmenter = bundle, picture, segmenter
        self._kept: dict[str, Kept] = {}
        self._uploads: list[str] = []
        self._count = 0
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        for look in looks:
            self._kept[self._free_name(look.name)] = self._shown(look)

    def look(self, name: str) -> Look | None:
        kept = self._kept.get(name)
        return None if kept is None else kept.look

    def preview(self, name: str) -> bytes | None:
        kept = self._kept.get(name)
        return None if kept is None else kept.preview

    def first(self) -> Look:
        """The look that clients begin in."""
        return next(iter(self._kept.values())).look

    def entries(self) -> list[dict[str, str]]:
        """Name and address of the preview of each look."""
        with self._lock:
            return [kept.entry(name) for name, kept in self._kept.items()]

    def add(self, data: bytes) -> dict[str, str]:
        """The entry of a look made of a photograph's file. Slow; one at a time, since large pictures take memory.

        RefusedUpload for what is no JPEG, PNG or WebP picture, too large, or damaged.
        """
        check_upload(data)
        with self._one_at_a_time:
            image = _decoded(data)
            self._count += 1
            found = None if self._segmenter is None else find_regions(self._segmenter, self._bundle.thumbnail(image))
            kept = self._shown(make_look(self._bundle, f"photo-{self._count}", image, found))
        with self._lock:
            name = self._free_name(kept.look.name)
            if len(self._uploads) == MAX_UPLOADS:
                del self._kept[self._uploads.pop(0)]
            self._uploads.append(name)
            self._kept[name] = kept
        return kept.entry(name)

    def _shown(self, look: Look) -> Kept:
        image = Stylizer(self._bundle, look, segmenter=self._segmenter)(Frame(self._picture, 0.0, 0)).image
        done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        return Kept(look, data.tobytes())

    def _free_name(self, name: str) -> str:
        names = (f"{name}{mark}" for mark in ("", *(f"-{i}" for i in range(2, len(self._kept) + 3))))
        return next(name for name in names if name not in self._kept)


def check_upload(data: bytes) -> None:
    """RefusedUpload, from the header alone, for a file that is no picture or claims too many pixels."""
    if len(data) > MAX_BYTES:
        raise RefusedUpload(413, f"the photograph is over {MAX_BYTES >> 20} MiB")
    try:
        header = read_header(data)
    except ValueError as error:
        raise RefusedUpload(422, f"the photograph {error}") from None
    if header is None or header.kind not in KINDS:
        raise RefusedUpload(415, "this is no photograph, expected JPEG, PNG or WebP")
    if header.width * header.height > MAX_PIXELS:
        size = f"{header.width}x{header.height}"
        raise RefusedUpload(413, f"the photograph claims {size} pixels, expected at most {MAX_PIXELS // 10**6} million")


def _decoded(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, by the one way that pictures are read: from a file."""
    with tempfile.TemporaryDirectory(prefix="hueglass-") as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        try:
            return read_image(path)
        except HueglassError as error:
            raise RefusedUpload(422, f"the photograph {str(error).removeprefix(f'{path}: ')}") from None
