"""Look: the light of a reference photograph, as a few hundred numbers per region.

A `.look` file is a safetensors file (no code runs when it is read) with float32 tensors, `tones` (tones, code),
`codes` (n, code) and, in mixtures, `shares` (n); its metadata names the model whose encoder made it and the region of
each of the `codes`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.files import existing_file, whole_file, writable_place
from hueglass.infer.grid.bilateral import blend
from hueglass.infer.regions.regions import Regions, no_regions

from .manifest import EMBEDDED, Manifest

if TYPE_CHECKING:
    from .bundle import ModelBundle

SUFFIX = ".look"
EMBEDDED_LOOKS = EMBEDDED / "looks"
MAX_REGIONS = 64
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Look:
    """`codes` (n, code) float32 belong to the regions `names` (n), possibly none; `tones` (tones, code) to soft parts
    of the whole reference, for what is in no region. `shares` (n) float32 in [0, 1] say how much of each region takes
    its code, the rest of it being left to the tones; None: all."""

    name: str
    model: str
    tones: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]
    shares: np.ndarray | None = None


def make_look(bundle: "ModelBundle", name: str, reference: np.ndarray, regions: Regions | None = None) -> Look:
    """The look of a reference photograph (H, W, 3) uint8 sRGB, with or without its regions (over half a thumbnail)."""
    manifest = bundle.manifest
    thumbnail, slots = bundle.thumbnail(reference), manifest.slots
    regions = regions or no_regions(manifest.thumbnail // 2)
    maps, names = regions.maps[:MAX_REGIONS], regions.names[:MAX_REGIONS]
    parts = [maps[i : i + slots] for i in range(0, max(1, len(maps)), slots)]
    codes = [bundle.encode(thumbnail, _fill_slots(part, slots)) for part in parts]
    own = [c[: len(part)] for c, part in zip(codes, parts, strict=True)]
    return Look(name, manifest.model, codes[0][slots:], np.concatenate(own), names)


def _fill_slots(parts: np.ndarray, slots: int) -> np.ndarray:
    """(n, ...) padded with zeros to (slots, ...)."""
    return np.concatenate([parts, np.zeros((slots - len(parts), *parts.shape[1:]), np.float32)])


@dataclass(frozen=True)
class Task:
    """What the student is given beside a thumbnail: the frame's `maps` (slots, T/2, T/2), the look's `codes` (slots +
    tones, code), and the `names` of the regions in the first slots."""

    maps: np.ndarray
    codes: np.ndarray
    names: tuple[str, ...]


def assign(look: Look, regions: Regions, slots: int) -> Task:
    """The frame's regions matched with the look's by name.

    Those that the look does not know, or for which no slot is left, go to no slot: the student finds tones of the whole
    reference for them. See `unmatched`.
    """
    known = [i for i, name in enumerate(regions.names) if name in look.names][:slots]
    own = [look.names.index(regions.names[i]) for i in known]
    maps, codes, names = regions.maps[known], look.codes[own], tuple(regions.names[i] for i in known)
    if look.shares is not None:
        maps *= look.shares[own, None, None]
    return Task(_fill_slots(maps, slots), np.concatenate([_fill_slots(codes, slots), look.tones]), names)


def mix_looks(a: Look, b: Look, weight: float, name: str) -> Look:
    """A look on the way from `a` (weight 0) to `b` (weight 1).

    Tones and the regions that both know are mixed one by one. A region that only one knows keeps its code, and is left
    to the tones the more, the nearer the other is: so weights 0 and 1 are the looks themselves, and the way between is
    without a jump. UsageError for a weight that is none, HueglassError for looks of different models.
    """
    if not 0 <= weight <= 1:
        raise UsageError(f"weight {weight}, expected 0 to 1")
    if a.model != b.model:
        raise HueglassError(f"looks of different models, {a.model} and {b.model}, cannot be mixed")
    names = (*a.names, *(n for n in b.names if n not in a.names))[:MAX_REGIONS]
    (mine, my_shares), (theirs, their_shares) = (_spread(look, names) for look in (a, b))
    own, other = (1 - weight) * my_shares, weight * their_shares
    shares, there = own + other, own + other > 0
    codes = (own[:, None] * mine + other[:, None] * theirs)[there] / shares[there, None]
    kept = tuple(name for name, share in zip(names, shares, strict=True) if share)
    tones, part = blend(a.tones, b.tones, weight), shares[there].astype(np.float32)
    return Look(name, a.model, tones, codes.astype(np.float32), kept, None if (part == 1).all() else part)


def _spread(look: Look, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n, code) and shares (n) of these regions, 0 for those that the look does not know."""
    codes, shares = np.zeros((len(names), look.tones.shape[1]), np.float32), np.zeros(len(names))
    for i, name in enumerate(names):
        if name in look.names:
            own = look.names.index(name)
            codes[i], shares[i] = look.codes[own], 1.0 if look.shares is None else look.shares[own]
    return codes, shares


def unmatched(look: Look, regions: Regions) -> list[str]:
    """Names of the frame's regions that the reference does not have."""
    return [name for name in regions.names if name not in look.names]


def write_look(path: Path, look: Look) -> None:
    """UsageError for a missing folder or another extension, HueglassError for a full disk."""
    writable_place(path, (SUFFIX,))
    metadata = {"format": "2", "name": look.name, "model": look.model, "regions": json.dumps(look.names)}
    tensors = {"tones": look.tones, "codes": look.codes}
    if look.shares is not None:
        tensors["shares"] = look.shares
    data = save({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in tensors.items()}, metadata)
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
            metadata = file.metadata() or {}
            if metadata.get("model") == manifest.model:  # others have other tensors
                tones, codes = file.get_tensor("tones"), file.get_tensor("codes")
                shares = file.get_tensor("shares") if "shares" in file.keys() else None  # noqa: SIM118  # no mapping
        names = tuple(json.loads(metadata.get("regions", "[]")))
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError, OSError):
        raise HueglassError(f"{path}: cannot be read, expected a {SUFFIX} file made by `hueglass look make`") from None
    if metadata.get("model") != manifest.model:
        made = metadata.get("model", "an unknown model")
        raise HueglassError(f"{path}: made by {made[:64]}, this model is {manifest.model}: make the look again")
    if not all(isinstance(n, str) for n in names) or len({*names}) != len(names) or len(names) > MAX_REGIONS:
        raise HueglassError(f"{path}: broken look, expected at most {MAX_REGIONS} regions, each with a name of its own")
    for name, array, count in (("tones", tones, manifest.tones), ("codes", codes, len(names))):
        _check(f"{path}: {name}", array, (count, manifest.code))
    if shares is not None:
        _check(f"{path}: shares", shares, (len(names),))
        if not ((shares >= 0) & (shares <= 1)).all():
            raise HueglassError(f"{path}: shares are broken, expected numbers from 0 to 1")
    return Look(metadata.get("name") or path.stem, manifest.model, tones, codes, names, shares)


def _check(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.dtype != np.float32 or array.shape != shape:
        raise HueglassError(f"{what} are {array.dtype} {array.shape}, expected float32 {shape}")
    if not np.isfinite(array).all():
        raise HueglassError(f"{what} are broken, expected finite numbers")


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
