"""The shelf of looks."""

import numpy as np
import pytest
from support.web_server import encoded

from hueglass.infer.model import look as looks
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.screen.web import shelf


def test_the_oldest_upload_makes_room(bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_UPLOADS", 2)
    kept = shelf.Shelf(bundle, [looks.find_look("sunset", bundle.manifest)], np.zeros((27, 48, 3), np.uint8))
    names = [kept.add(encoded(".jpg"))["name"] for _ in range(4)]
    assert len(set(names)) == 4
    assert [entry["name"] for entry in kept.entries()] == ["sunset", *names[2:]]
    assert kept.look(names[0]) is None
    assert kept.preview(names[0]) is None
    assert kept.look(names[3]) is not None
