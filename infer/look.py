"""Look: the light of a reference photograph, as a few hundred numbers per region.

A `.look` file is a safetensors file (no code runs when it is read) with one tensor `codes` (n, code) float32; its
metadata names the model whose encoder made it and the region of each code. The first code is the whole picture's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .bundle import EMBEDDED, Manifest, ModelBundle
from .errors import HueglassError, UsageError
from .files import existing_file, whole_file, writable_place
from .regions import WHOLE, Mask, Regions, regions_of, whole

SUFFIX = ".look"
EMBEDDED_LOOKS = EMBEDDED / "looks"
MAX_REGIONS = 64
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Look:
    """`codes` (n, code) float32 belong to the regions `names` (n), the first of which is the whole picture."""

    name: str
    model: str
    codes: np.ndarray
    names: tuple[str, ...]


def make_look(bundle: ModelBundle, name: str, reference: np.ndarray, mask: Mask | None = None) -> Look:
    """The look of a reference photograph (H, W, 3) uint8 sRGB, with or without a mask of its regions."""
    thumbnail = bundle.thumbnail(reference)
    size = bundle.manifest.thumbnail // 2
    parts = [whole(size)] + ([regions_of(mask, size)] if mask is not None else [])
    maps = np.concatenate([p.maps for p in parts])[:MAX_REGIONS]
    names = [n for p in parts for n in p.names][:MAX_REGIONS]
    slots = bundle.manifest.slots
    codes = [_encode(bundle, thumbnail, maps[i : i + slots]) for i in range(0, len(maps), slots)]
    return Look(name, bundle.manifest.model, np.concatenate(codes), tuple(names))


def _encode(bundle: ModelBundle, thumbnail: np.ndarray, maps: np.ndarray) -> np.ndarray:
    return bundle.encode(thumbnail, _fill_slots(maps, bundle.manifest.slots))[: len(maps)]


def _fill_slots(parts: np.ndarray, slots: int) -> np.ndarray:
    """(n, ...) padded with zeros to (slots, ...)."""
    return np.concatenate([parts, np.zeros((slots - len(parts), *parts.shape[1:]), np.float32)])


def assign(look: Look, regions: Regions, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """What the student is given: the frame's maps (slots, T/2, T/2), and the look's code for each (slots, code).

    Regions are matched by name. Those that the look does not know, or for which no slot is left, share one slot
    and take the light of the whole reference: see `unmatched`.
    """
    known = [i for i, name in enumerate(regions.names) if name in look.names]
    rest = [i for i in range(len(regions.names)) if i not in known]
    if len(known) + bool(rest) > slots:
        known, rest = known[: slots - 1], rest + known[slots - 1 :]
    maps = [regions.maps[i] for i in known]
    codes = [look.codes[look.names.index(regions.names[i])] for i in known]
    if rest:
        maps.append(regions.maps[rest].sum(0))
        codes.append(look.codes[0])
    return _fill_slots(np.stack(maps), slots), _fill_slots(np.stack(codes), slots)


def unmatched(look: Look, regions: Regions) -> list[str]:
    """Names of the frame's regions that the reference does not have."""
    return [name for name in regions.names if name not in look.names]


def write_look(path: Path, look: Look) -> None:
    """UsageError for a missing folder or another extension, HueglassError for a full disk."""
    writable_place(path, (SUFFIX,))
    metadata = {"format": "1", "name": look.name, "model": look.model, "regions": json.dumps(look.names)}
    data = save({"codes": np.ascontiguousarray(look.codes, dtype=np.float32)}, metadata)
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def read_look(path: Path, manifest: Manifest) -> Look:
    """The look in a file, for the model of `manifest`.

    UsageError for a missing file; HueglassError for one that is broken, of another shape or made by another model.
    """
    if existing_file(path).stat().st_size > MAX_BYTES:
        raise HueglassError(f"{path}: is larger than {MAX_BYTES} bytes, expected a {SUFFIX} file")
    try:
        with safe_open(path, "numpy") as file:
            metadata, codes = file.metadata() or {}, file.get_tensor("codes")
        names = tuple(json.loads(metadata.get("regions", "[]")))
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError, OSError):
        raise HueglassError(f"{path}: cannot be read, expected a {SUFFIX} file made by `hueglass look make`") from None
    _check(path, metadata, codes, names, manifest)
    return Look(metadata.get("name") or path.stem, manifest.model, codes, names)


def _check(path: Path, metadata: dict[str, str], codes: np.ndarray, names: tuple, manifest: Manifest) -> None:
    if metadata.get("model") != manifest.model:
        made = metadata.get("model", "an unknown model")
        raise HueglassError(f"{path}: made by {made[:64]}, this model is {manifest.model}: make the look again")
    expected = (len(names), manifest.code)
    if codes.dtype != np.float32 or codes.shape != expected or not 1 <= len(names) <= MAX_REGIONS:
        raise HueglassError(f"{path}: codes are {codes.dtype} {codes.shape}, expected float32 {expected}")
    if not np.isfinite(codes).all() or names[0] != WHOLE or not all(isinstance(n, str) for n in names):
        raise HueglassError(f"{path}: broken look, expected finite codes, the first for the whole picture")


def embedded_looks() -> list[str]:
    """Names of the looks that come with the package."""
    return sorted(p.stem for p in EMBEDDED_LOOKS.glob(f"*{SUFFIX}"))


def find_look(name: str, manifest: Manifest) -> Look:
    """An embedded look by its name, or any other by its path. UsageError if it is neither."""
    if name in embedded_looks():
        return read_look(EMBEDDED_LOOKS / f"{name}{SUFFIX}", manifest)
    if not name.endswith(SUFFIX):
        known = ", ".join(embedded_looks())
        raise UsageError(f"no look named {name!r}, expected a {SUFFIX} file or one of: {known}")
    return read_look(Path(name), manifest)
