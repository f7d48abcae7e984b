"""What the server answers to requests: the page, the looks, and photographs that become looks."""

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.web_server import Served, encoded, pictures, predicted, same, set_look

from hueglass.infer.frame import Frame
from hueglass.infer.media.images import read_image
from hueglass.infer.model import look as looks
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.scene.stylizer import Stylizer
from hueglass.infer.screen.web import app, shelf


@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "image/jpeg"), (".png", "image/png"), (".webp", "image/webp")])
def test_a_photograph_becomes_a_look(
    served: Served, bundle: ModelBundle, tmp_path: Path, suffix: str, kind: str
) -> None:
    data = encoded(suffix)
    status, entry = served.post(data, kind)
    assert status == 201
    assert entry in json.loads(served.ask("GET", "/api/looks")[1])["looks"]
    status, preview, headers = served.ask("GET", entry["preview"])
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert cv2.imdecode(np.frombuffer(preview, np.uint8), cv2.IMREAD_COLOR).shape == (270, 480, 3)
    (tmp_path / f"photo{suffix}").write_bytes(data)
    look = looks.make_look(bundle, "photo", read_image(tmp_path / f"photo{suffix}"))
    pixels = pictures(0, 1)[0]
    with served.client() as client:
        assert set_look(client, entry["name"], 0)["type"] == "look"
        assert same(predicted(client, 1, 0.0, pixels), Stylizer(bundle, look).predict(Frame(pixels, 0, 0)))


def bomb(width: int, height: int) -> bytes:
    """A small PNG, whole by its checksums, that claims to be large."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "kind", "status", "says"),
    [
        (b"GIF89a and so on", "image/jpeg", 415, "no photograph"),
        (b"", "image/png", 415, "no photograph"),
        (encoded(".jpg"), "text/html", 415, "no photograph"),
        (encoded(".bmp"), "image/png", 415, "no photograph"),
        (encoded(".jpg")[:-40], "image/jpeg", 422, "cut short"),
        (encoded(".png")[:-40], "image/png", 422, "cut short"),
        (bomb(90, 4000), "image/png", 422, "damaged"),
        (bomb(60_000, 60_000), "image/png", 413, "60000x60000"),
        (b"\xff" * (shelf.MAX_BYTES + 1), "image/jpeg", 413, "16 MiB"),
    ],
    ids=["gif", "empty", "type", "bmp", "short jpeg", "short png", "damaged", "bomb", "large"],
)
def test_uploads_that_are_refused(served: Served, data: bytes, kind: str, status: int, says: str) -> None:
    before = served.ask("GET", "/api/looks")
    if len(data) > shelf.MAX_BYTES:  # the answer comes before the content is sent
        headers = {"Content-Type": kind, "Origin": served.origin, "Content-Length": str(len(data))}
        found, body, _ = served.ask("POST", "/api/looks", None, headers)
        answer = json.loads(body)
    else:
        found, answer = served.post(data, kind)
    assert found == status
    assert says in answer["error"]
    assert served.ask("GET", "/api/looks")[1] == before[1]
    assert served.post(encoded(".jpg"))[0] == 201


def test_an_upload_that_hides_its_length_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAX_BYTES", 1 << 16)
    headers = {"Content-Type": "image/jpeg", "Origin": served.origin, "Transfer-Encoding": "chunked"}
    status, _, _ = served.ask("POST", "/api/looks", iter([b"\xff" * 50_000] * 2), headers, chunked=True)
    assert status == 413


def test_an_upload_that_does_not_come_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "UPLOAD_SECONDS", 0.3)
    headers = {"Content-Type": "image/jpeg", "Origin": served.origin, "Content-Length": "1000"}
    assert served.ask("POST", "/api/looks", None, headers)[0] == 408


@pytest.mark.parametrize(
    "path",
    [
        "/page/../secret.py",
        "/page/..%2foutside.js",
        "/page/%2e%2e/outside.js",
        "/page/....//outside.js",
        "/page//etc/passwd",
        "/page/..%5coutside.js",
        "/page/secret.py",
        "/page/app.js%00",
        "/page/",
        "/looks/../app.js",
        "/looks/sunset",
        "/looks/..%2f..%2fpage%2fapp.js",
        "/looks/nothing.jpg",
        "/../etc/passwd",
        "/api",
    ],
)
def test_only_the_page_is_served(served: Served, path: str) -> None:
    status, body, _ = served.ask("GET", path)
    assert status == 404
    assert b"no part of the page" not in body
