"""Segmentation networks of others, from whom ours learns: each says where in a picture our regions lie.

Their files stay with the user: nothing of them is part of this package. A folder holds them under the names below, and
each is known by its checksum, so that labels can be made again. `ai-edge-litert` (extra `label`) runs them.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hueglass.infer.errors import HueglassError, UsageError, one_line
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.manifest import SEGMENTER
from hueglass.infer.regions.regions import REGION_NAMES

from .teacher_classes import DEEPLAB_REGIONS, MOSAIC_REGIONS, SELFIE_REGIONS

MAP = 128
"""Pixels of a side of the maps. They lie over the picture as a thumbnail does: stretched to a square."""
GREY = 127
"""What is around a picture that does not fill what a network looks at."""
Network = Callable[[np.ndarray], np.ndarray]
"""From a picture (H, W, 3) uint8 of one size to scores (h, w, C) float32."""


@dataclass(frozen=True)
class TeacherFile:
    """A file of a network, and what has to be known about it. `regions` are those of its classes, None for none.

    Scores are the tensor `scores`, or what the network gives at its end, every `step`-th pixel of it; logits with
    `softmax`, else probabilities. `scale` and `offset` make of a byte what it takes, unless it takes bytes. It looks
    at pictures that fill its input to each of the shares `sizes` of the side.
    """

    name: str
    file: str
    sha256: str
    regions: tuple[str | None, ...]
    scores: str | None = None
    step: int = 1
    softmax: bool = True
    scale: float = 1 / 255
    offset: float = 0.0
    sizes: tuple[float, ...] = (1.0, 0.7, 0.5)


FILES = (
    TeacherFile(
        "mosaic_r3",
        "mosaic_r3.tflite",
        "53a2151e0868d32c91139756efac2569e4e073d831aeb3e6232eceb52e134ef3",
        MOSAIC_REGIONS,
        scores="decoder/add",
    ),
    TeacherFile(
        "mosaic_r4",
        "mosaic_r4.tflite",
        "da8b3822a22fde45ecaf0ff32022287eff58b500096971b04f3c1b292da66a3c",
        MOSAIC_REGIONS,
        scores="decoder/add",
    ),
    TeacherFile(
        "deeplab",
        "deeplabv3_mnv2_ade20k.tflite",
        "9476784566f88bf0bdc3169f0012fb7d08857b325811d8c1aaf5ada1c0d4e4f9",
        DEEPLAB_REGIONS,
        step=4,
        sizes=(0.7,),
        scale=2 / 255,
        offset=-1.0,
    ),
    TeacherFile(
        "selfie",
        "selfie_segmentation.tflite",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        SELFIE_REGIONS,
        softmax=False,
        sizes=(1.0, 0.7),
    ),
)
EMBEDDED = "embedded"
"""The name among the teachers of the segmenter of a model bundle."""


@dataclass(frozen=True)
class Teacher:
    """A network that says where our regions lie. `digest` is the SHA-256 of its file, `side` (H, W) what it takes."""

    file: TeacherFile
    network: Network
    side: tuple[int, int]

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def digest(self) -> str:
        return self.file.sha256

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Probabilities (8, MAP, MAP) float32 of REGION_NAMES over a picture (H, W, 3) uint8 sRGB: the mean of what it
        says of the whole picture at its sizes, each as it is and mirrored. The regions of a pixel sum to 1 at most."""
        mirrored = cv2.flip(image, 1)
        views = [self._seen(image, size) for size in self.file.sizes]
        views += [self._seen(mirrored, size)[..., ::-1] for size in self.file.sizes]
        mean: np.ndarray = np.stack(views).mean(0)
        return mean

    def _seen(self, image: np.ndarray, size: float) -> np.ndarray:
        box, place = letterboxed(image, self.side, size)
        regions = region_probabilities(self.network(box), self.file)
        return unboxed(regions, place)


@dataclass(frozen=True)
class BundleTeacher:
    """The segmenter of a model bundle among the teachers. It looks at thumbnails, as it is and mirrored."""

    bundle: ModelBundle
    digest: str
    name: str = EMBEDDED

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """As `Teacher`."""
        assert self.bundle.segmenter is not None
        thumbnail = self.bundle.thumbnail(image)
        one, other = (self.bundle.segmenter(t).maps for t in (thumbnail, cv2.flip(thumbnail, 1)))
        mean = (one + other[..., ::-1]) / 2
        return np.stack([cv2.resize(soft, (MAP, MAP), interpolation=cv2.INTER_LINEAR) for soft in mean])


Place = tuple[float, float, float, float]
"""Top, left, bottom and right of a picture, in shares of the sides of what it lies on."""


def letterboxed(image: np.ndarray, side: tuple[int, int], size: float) -> tuple[np.ndarray, Place]:
    """The whole picture on a grey ground (*side, 3), filling `size` of it along the side that is tight; and where."""
    height, width = image.shape[:2]
    scale = size * min(side[0] / height, side[1] / width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    box = np.full((*side, 3), GREY, np.uint8)
    top, left = (side[0] - h) // 2, (side[1] - w) // 2
    box[top : top + h, left : left + w] = cv2.resize(image, (w, h), interpolation=way)
    return box, (top / side[0], left / side[1], (top + h) / side[0], (left + w) / side[1])


def unboxed(maps: np.ndarray, place: Place) -> np.ndarray:
    """The part of maps (h, w, n) that the picture at `place` covers, as (n, MAP, MAP)."""
    h, w, count = maps.shape
    top, left, bottom, right = place
    across, down = (right - left) * w / MAP, (bottom - top) * h / MAP
    # From the centre of a pixel of the map to that of one of the maps given.
    where = np.array([[across, 0, left * w + across / 2 - 0.5], [0, down, top * h + down / 2 - 0.5]], np.float32)
    way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    channels = (np.ascontiguousarray(maps[..., i]) for i in range(count))
    return np.stack(
        [cv2.warpAffine(c, where, (MAP, MAP), flags=way, borderMode=cv2.BORDER_REPLICATE) for c in channels]
    )


def region_probabilities(scores: np.ndarray, file: TeacherFile) -> np.ndarray:
    """Scores (h, w, C) as probabilities (h, w, 8) of regions: those of its classes added; classes without are out."""
    named = [i for i, region in enumerate(file.regions) if region is not None]
    scores = scores[..., named]
    if file.softmax:
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
    found = np.zeros((*scores.shape[:2], len(REGION_NAMES)), np.float32)
    for i, row in enumerate(named):
        found[..., REGION_NAMES.index(file.regions[row] or "")] += scores[..., i]
    return found


def open_teachers(folder: Path, bundle: ModelBundle, threads: int = 1) -> list[Teacher | BundleTeacher]:
    """All teachers: those whose files lie in `folder`, and the bundle's segmenter.

    UsageError for a file that is missing, a bundle without a segmenter, or where ai-edge-litert is not installed;
    HueglassError for another file than the one that is known by its name, or one that cannot be run.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder, expected one with {', '.join(f.file for f in FILES)}")
    if bundle.segmenter is None:
        raise UsageError(f"{bundle.folder}: this model has no segmenter, expected one that has")
    paths = [checked_file(folder, file) for file in FILES]
    teachers = [_open(path, file, threads) for path, file in zip(paths, FILES, strict=True)]
    return [*teachers, BundleTeacher(bundle, bundle.manifest.graphs[SEGMENTER].sha256)]


def checked_file(folder: Path, file: TeacherFile) -> Path:
    """The teacher's file in `folder`. UsageError if it is missing, HueglassError if it is another one."""
    path = folder / file.file
    if not path.is_file():
        raise UsageError(f"{path}: no such file, expected the teacher {file.name} (SHA-256 {file.sha256[:12]}...)")
    found = _digest(path)
    if found != file.sha256:
        raise HueglassError(f"{path}: is another file (SHA-256 {found[:12]}...), expected {file.sha256[:12]}...")
    return path


def _digest(path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise HueglassError(f"{path}: cannot be read: {error.strerror}") from None


def _open(path: Path, file: TeacherFile, threads: int) -> Teacher:
    try:
        network = LiteRtNetwork(path, file, threads)
    except ImportError:
        raise UsageError('teachers need ai-edge-litert: pip install "hueglass[label]"') from None
    except (ValueError, RuntimeError) as error:
        raise HueglassError(f"{path}: cannot be run: {one_line(error)}") from None
    return Teacher(file, network, network.side)


class LiteRtNetwork:
    """A TensorFlow Lite graph with one picture as its input, run by LiteRT on the CPU."""

    def __init__(self, path: Path, file: TeacherFile, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with _quiet():
            # Without `experimental_preserve_all_tensors` the memory of what is inside the graph is used again.
            self._interpreter = Interpreter(
                str(path), num_threads=threads, experimental_preserve_all_tensors=file.scores is not None
            )
            self._interpreter.allocate_tensors()
        self._file = file
        (self._input,) = self._interpreter.get_input_details()
        self._output = self._find(file.scores)
        self.side: tuple[int, int] = tuple(int(n) for n in self._input["shape"][1:3])  # type: ignore[assignment]

    def _find(self, tensor: str | None) -> dict[str, Any]:
        """ValueError if there is no tensor of that name."""
        if tensor is None:
            return dict(self._interpreter.get_output_details()[0])
        for details in self._interpreter.get_tensor_details():
            if details["name"] == tensor:
                return dict(details)
        raise ValueError(f"has no tensor {tensor}")

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See `Network`; scores that are whole numbers are brought to their scale."""
        taken = picture
        if self._input["dtype"] != np.uint8:
            taken = picture.astype(np.float32) * np.float32(self._file.scale) + np.float32(self._file.offset)
        self._interpreter.set_tensor(self._input["index"], taken[None])
        self._interpreter.invoke()
        step = self._file.step  # of what was enlarged by as much, at the middle of each block: nothing is lost
        found = self._interpreter.get_tensor(self._output["index"])[0, step // 2 :: step, step // 2 :: step]
        scale, zero = self._output["quantization"]
        scores: np.ndarray = found.astype(np.float32)
        return (scores - zero) * np.float32(scale) if scale else scores


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps LiteRT from saying which delegate it takes, and that what we ask for is meant for debugging."""
    terminal = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
