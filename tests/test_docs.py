"""What the documents name is there."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from support.modules import MODULES
from support.places import ROOT

DOCUMENTS = ("CONTRIBUTING.md", "docs/architecture.md")
PICTURES = ("frame", "look", "target")
SVG = "{http://www.w3.org/2000/svg}"


def _named(document: str) -> list[str]:
    """The files and folders of ours that a document names, as `folder/`, `folder/file.ext` or a link to it."""
    text = (ROOT / document).read_text()
    names = re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", text)
    links = re.findall(r"\]\(([\w./-]+)\)", text)
    return names + [(Path(document).parent / link).as_posix() for link in links]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_documents_name_is_there(document: str) -> None:
    named = _named(document)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("picture", PICTURES)
def test_what_pictures_name_is_there(picture: str) -> None:
    """In each box a folder, and below it a file."""
    tree = ET.parse(ROOT / f"docs/{picture}.svg")
    texts = ["".join(text.itertext()) for text in tree.iter(f"{SVG}text") if not text.get("class")]
    boxes = [folder + file for folder, file in pairwise(texts) if folder.endswith("/")]
    assert len(boxes) > 10
    assert [box for box in boxes if not (ROOT / box).is_file()] == []
    assert f"({picture}.svg)" in (ROOT / "docs/architecture.md").read_text()


def test_every_room_is_in_the_table() -> None:
    """But groups of commands, which are rooms of one."""
    table = (ROOT / "docs/architecture.md").read_text().split("## The rooms")[1]
    rooms = {path.parent.relative_to(ROOT).as_posix() + "/" for path in MODULES.values() if path.name != "__init__.py"}
    assert [r for r in sorted(rooms) if f"`{r}`" not in table and not re.match("app/commands/.", r)] == []
