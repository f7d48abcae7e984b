"""A blind survey of methods: one page to hand out, and the key that says which method made which picture.

After the user study of Luan et al. 2017, section 5: is a picture photorealistic, on a scale of 1 to 4. Departure:
faithfulness to the reference is asked for on the same scale, where the paper asked for the best of a group.
"""

import base64
import json
import random
import secrets
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hueglass.datasets.benchmark import MAX_NAME, OFFICIAL, OutputFolder, output_folders, pair_names
from hueglass.infer.errors import UsageError
from hueglass.infer.files import whole_file, writable_place
from hueglass.infer.media.images import read_image

from .page import filled, jpeg

PARTS = ("photorealism", "faithfulness")
USUAL_PAIRS = 8
"""As many as the paper showed."""
MAX_PAGE_BYTES = 32 << 20
"""What can be mailed, and opened on a telephone."""
MAX_ITEMS = 4096
STUDY_ID = "^[0-9a-f]{16}$"
"""Of studies and of participants."""


class Item(BaseModel):
    """What hides behind an item of the page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str = Field(min_length=1, max_length=MAX_NAME)
    pair: str = Field(min_length=1, max_length=255)


class Key(BaseModel):
    """PAGE.key.json. Whoever answers must not see it."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    study: str = Field(pattern=STUDY_ID)
    items: dict[str, Item] = Field(min_length=2, max_length=MAX_ITEMS)

    @model_validator(mode="after")
    def _each_once(self) -> "Key":
        """Scores are means over all pairs for every method."""
        methods, pairs = ({getattr(item, kind) for item in self.items.values()} for kind in ("method", "pair"))
        if len(set(self.items.values())) != len(self.items) or len(self.items) != len(methods) * len(pairs):
            raise ValueError("expected each method once on each pair")
        return self


def make_study(outputs: list[str], data: Path, page: Path, pairs: int | None, seed: int) -> None:
    """Write the page and its key. `pairs` drawn by `seed` from those of which every method has a picture.

    UsageError if there are fewer, if the page would be larger than MAX_PAGE_BYTES, or if there is a key already.
    """
    place = writable_place(page, (".html",))
    key_file = place.with_suffix(".key.json")
    if key_file.exists():
        raise UsageError(f"{key_file}: is there already, and the answers to its page need it: expected another name")
    names = pair_names(data)
    official = OutputFolder(OFFICIAL, {name: data / "official" / f"{name}.jpg" for name in names})
    methods = [*output_folders(outputs, names, (OFFICIAL,)), official]
    chosen = _draw(methods, names, pairs, seed)
    if len(methods) * len(chosen) > MAX_ITEMS:
        raise UsageError(f"{len(methods)} methods on {len(chosen)} pairs: expected at most {MAX_ITEMS} pictures")
    key = Key(format=1, study=secrets.token_hex(8), items=_items([m.name for m in methods], chosen))
    text = _page(key, methods, chosen, data)
    if len(text) > MAX_PAGE_BYTES:
        size = f"{len(text) / (1 << 20):.0f} MB, expected at most {MAX_PAGE_BYTES >> 20}"
        raise UsageError(f"{page}: would be {size}: fewer --pairs or methods")
    with whole_file(place) as temporary:
        temporary.write_text(text, encoding="utf-8")
        with whole_file(key_file) as temporary_key:  # neither is of use without the other
            temporary_key.write_text(key.model_dump_json(indent=1), encoding="utf-8")
    print(f"{page}: {len(methods)} methods on {len(chosen)} pairs, {len(PARTS) * len(key.items)} questions")
    print(f"{key_file}: for `hueglass study score`, not to be handed out")


def _draw(methods: Sequence[OutputFolder], names: list[str], pairs: int | None, seed: int) -> list[str]:
    common = [name for name in names if all(name in method.files for method in methods)]
    wanted = pairs if pairs is not None else min(USUAL_PAIRS, len(common))
    if len(common) < max(1, wanted):
        raise UsageError(f"every method has a picture of {len(common)} pairs, expected at least {max(1, wanted)}")
    return sorted(random.Random(seed).sample(common, wanted))


def _items(methods: list[str], pairs: list[str]) -> dict[str, Item]:
    """An item for each method and pair, under names that say nothing: drawn by chance, and in their own order."""
    items = [Item(method=method, pair=pair) for method, pair in product(methods, pairs)]
    ids: set[str] = set()
    while len(ids) < len(items):
        ids.add(secrets.token_hex(6))
    return dict(sorted(zip(ids, items, strict=True)))


def _page(key: Key, methods: Sequence[OutputFolder], pairs: list[str], data: Path) -> str:
    """Pictures of one pair are of one size, and nothing but pixels comes from the methods' files."""
    folders = {method.name: method for method in methods}
    sizes = {pair: read_image(data / "content" / f"{pair}.jpg").shape for pair in pairs}
    items = []
    for name, item in key.items.items():
        height, width = sizes[item.pair][:2]
        picture = _embedded(folders[item.method].read(item.pair, (height, width)))
        items.append({"id": name, "picture": picture, "style": pairs.index(item.pair)})
    styles = [_embedded(read_image(data / "style" / f"{pair}.jpg")) for pair in pairs]
    facts = json.dumps({"study": key.study, "items": items, "styles": styles})
    return filled("study.html", {"study": facts.replace("<", "\\u003c")})


def _embedded(image: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode()
