"""The web server, as its clients meet it: a real one on a free port, real WebSockets, and what it refuses.

Run by hand, `python tests/test_web_server.py SECONDS [regions]` serves 20 clients for so long, with or without a
segmenter, and says how long they waited and what memory the server took.
"""

import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hueglass.commands import serve as serve_command
from hueglass.datasets.street.film import render_street, street_scene
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.frame import Frame
from hueglass.infer.media.images import read_image
from hueglass.infer.model import look as looks
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.regions.segmenter import find_regions
from hueglass.infer.regions.strength import Strength
from hueglass.infer.scene.smoother import Smoother
from hueglass.infer.scene.stylizer import Sight, Stylizer
from hueglass.infer.screen.web import app, server, shelf, tls
from hueglass.infer.screen.web.clients import Client, Thumbnail, Turns
from hueglass.infer.screen.web.server import WebServer, listen

for _package in ("starlette", "uvicorn", "cryptography", "segno"):
    pytest.importorskip(_package, reason=f'{_package} is not installed: pip install "hueglass[web]"')
connect = pytest.importorskip("websockets.sync.client").connect
connect_async = pytest.importorskip("websockets.asyncio.client").connect
exceptions = pytest.importorskip("websockets.exceptions")

SIZE, SHAPE = 256, (8, 16, 16, 12)
LOOKS = ["sunset", "moonlight", "winter"]
PROCESS = """
import sys
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.scene.stylizer import Sight
from hueglass.commands.serve import build_server, serve
bundle = ModelBundle()
sight = Sight(bundle.segmenter if "regions" in sys.argv else None)
serve(*build_server("127.0.0.1", 0, ["sunset"], bundle, sight=sight), open_browser=False)
"""


def trusting(pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem)


def trusting_of_two_threads(pem: str) -> ssl.SSLContext:
    """For `connect`, which reads in one thread and writes in another. Over TLS 1.3 Python's ssl now and then loses what
    is written while the server's session tickets are read: seen as a request that never left."""
    context = trusting(pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass
class Served:
    """A server in a thread, where it is, and what its link holds."""

    server: WebServer
    link: str
    identity: tls.Identity | None
    thread: threading.Thread

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.link)[1])  # type: ignore[index]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def client(self, certificate: str = "") -> Iterator[Any]:
        """A WebSocket of a page of ours, greeted already; over TLS given a certificate to trust."""
        options = {"ssl": trusting_of_two_threads(certificate)} if certificate else {}
        address = f"{'wss' if certificate else 'ws'}://127.0.0.1:{self.port}/ws"
        with connect(address, origin=self.origin, compression=None, **options) as client:
            assert json.loads(client.recv(10))["type"] == "hello"
            yield client

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, chunked: bool = False
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers of an answer."""
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        asking.request(method, path, body, headers or {}, encode_chunked=chunked)
        answer = asking.getresponse()
        with contextlib.closing(asking):
            return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}

    def post(self, data: bytes, kind: str = "image/jpeg", **headers: str) -> tuple[int, dict[str, str]]:
        status, body, _ = self.ask("POST", "/api/looks", data, {"Content-Type": kind, "Origin": self.origin, **headers})
        return status, json.loads(body)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "app.js").write_text("export {};")
    (folder / "secret.py").write_text("no part of the page")
    (folder.parent / "outside.js").write_text("no part of the page either")
    return folder


@pytest.fixture(scope="module")
def served(bundle: ModelBundle, page: Path) -> Iterator[Served]:
    """One server for all that leaves it as it was."""
    with contextlib.contextmanager(starting)(bundle, page) as begin:
        yield begin()


@pytest.fixture
def start(bundle: ModelBundle, page: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers of a test's own, and ends them after it."""
    yield from starting(bundle, page)


def starting(bundle: ModelBundle, page: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def begin(host: str = "127.0.0.1", **options: Any) -> Served:
        built, link, identity = serve_command.build_server(host, 0, LOOKS, bundle, page=page, **options)
        thread = threading.Thread(target=built.run)
        thread.start()
        running.append(Served(built, link, identity, thread))
        return running[-1]

    yield begin
    for served in running:
        served.server.stop()
    for served in running:
        served.thread.join(5)
        assert not served.thread.is_alive()


def pictures(seed: int, count: int) -> list[np.ndarray]:
    """Thumbnails of one shot: soft colours that drift a little."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3)).astype(np.float32)
    soft = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return [np.clip(np.roll(soft, 2 * i, 1) + 3 * i, 0, 255).astype(np.uint8) for i in range(count)]


def message(sequence: int, seconds: float, pixels: np.ndarray) -> bytes:
    return struct.pack("<II", sequence, round(1000 * seconds)) + pixels.tobytes()


def grid_of(answer: Any) -> tuple[int, np.ndarray]:
    assert isinstance(answer, bytes)
    assert len(answer) == 8 + 2 * np.prod(SHAPE)
    sequence, microseconds = struct.unpack_from("<II", answer)
    assert 0 < microseconds < 60e6
    return sequence, np.frombuffer(answer, "<f2", offset=8).reshape(SHAPE).astype(np.float32)


def predicted(client: Any, sequence: int, seconds: float, pixels: np.ndarray) -> np.ndarray:
    client.send(message(sequence, seconds, pixels))
    found, grid = grid_of(client.recv(20))
    assert found == sequence
    return grid


def set_look(client: Any, name: str, fade: float) -> dict[str, str]:
    client.send(json.dumps({"type": "look", "name": name, "fade": fade}))
    return json.loads(client.recv(10))


def stylizer(bundle: ModelBundle, name: str) -> Stylizer:
    return Stylizer(bundle, looks.find_look(name, bundle.manifest), smoother=Smoother())


def same(grid: np.ndarray, reference: np.ndarray) -> bool:
    """To the precision of half floats."""
    return np.allclose(grid, reference, rtol=2**-10, atol=2**-14)


def test_hello_says_what_the_page_has_to_know(served: Served, bundle: ModelBundle) -> None:
    with connect(f"ws://127.0.0.1:{served.port}/ws", origin=served.origin) as client:
        hello = json.loads(client.recv(10))
    assert (hello["type"], hello["size"], hello["grid"]) == ("hello", SIZE, list(SHAPE))
    assert hello["model"] == bundle.manifest.model
    assert [look["name"] for look in hello["looks"]] == LOOKS
    assert json.loads(served.ask("GET", "/api/looks")[1]) == {"looks": hello["looks"]}


def test_grids_are_those_of_the_runtime(served: Served, bundle: ModelBundle) -> None:
    reference = stylizer(bundle, "sunset")
    shots = [*pictures(0, 4), *pictures(5, 3)]  # a cut lies between
    with served.client() as client:
        for i, pixels in enumerate(shots):
            grid = predicted(client, i + 7, i / 15, pixels)
            assert same(grid, reference.predict(Frame(pixels, round(1000 * i / 15) / 1000, i)))
    # The smoother was at work, and the cut was seen.
    bare = Stylizer(bundle, reference.look)
    assert not same(bare.predict(Frame(shots[-1], 0, 0)), grid)
    assert reference.smoother is not None
    assert reference.smoother.weight < 1


def test_regions_are_found_smoothed_and_spared(start: Callable[..., Served], bundle: ModelBundle) -> None:
    """With a segmenter, of each client's frames and of what is uploaded."""
    sight = Sight(bundle.segmenter, Strength(1.0, {"sky": 0.0}), 0.2)
    street, evening = (render_street(street_scene(seed), 0.0, 512, 512)[0] for seed in (0, 3))
    # Farther apart than the period in which regions are found once.
    shots = [bundle.thumbnail(np.roll(street, 4 * i, 1)) for i in range(4)]
    photograph = cv2.imencode(".png", evening)[1].tobytes()
    served = start(sight=sight)
    reference = sight.stylizer(bundle, looks.find_look("sunset", bundle.manifest))
    with served.client() as client:
        for i, pixels in enumerate(shots):
            grid = predicted(client, i, i / 4, pixels)
            assert same(grid, reference.predict(Frame(pixels, i / 4, i)))
        set_look(client, served.post(photograph, "image/png")[1]["name"], 0)
        own = predicted(client, 9, 9.0, shots[0])
    assert not same(grid, stylizer(bundle, "sunset").predict(Frame(shots[-1], 0, 0)))
    image = cv2.cvtColor(evening, cv2.COLOR_RGB2BGR)  # OpenCV wrote it as if it were BGR
    assert bundle.segmenter is not None
    look = looks.make_look(bundle, "photo", image, find_regions(bundle.segmenter, bundle.thumbnail(image)))
    assert len(look.names) > 2
    again = sight.stylizer(bundle, reference.look)
    for i, pixels in enumerate(shots):
        again.predict(Frame(pixels, i / 4, i))
    again.look = look
    assert again.smoother is not None
    again.smoother.reset()
    assert same(own, again.predict(Frame(shots[0], 9.0, 9)))


def test_a_look_at_once_and_one_by_a_fade(served: Served, bundle: ModelBundle) -> None:
    sunset, moonlight = (looks.find_look(name, bundle.manifest) for name in ("sunset", "moonlight"))
    frames, bare = pictures(1, 8), Stylizer(bundle, sunset)

    def plain(pixels: np.ndarray, look: looks.Look) -> np.ndarray:
        return bare.bundle.predict(pixels, *looks.assign(look, bare.no_regions(), bundle.manifest.slots))

    with served.client() as client:
        predicted(client, 0, 0.0, frames[0])
        assert set_look(client, "moonlight", 0) == {"type": "look", "name": "moonlight"}
        assert same(predicted(client, 1, 0.1, frames[1]), plain(frames[1], moonlight))
        set_look(client, "sunset", 1.0)  # begins at 0.1
        smoother = Smoother()
        smoother.update(plain(frames[1], moonlight), 0.1)
        for i, weight in ((2, 0.25), (3, 0.5), (4, 0.9), (5, 1.0), (6, 1.0)):
            seconds = 0.1 + weight + (1.0 if i == 6 else 0.0)
            look = looks.mix_looks(moonlight, sunset, weight, "between")
            expected = smoother.update(plain(frames[i], look), seconds)
            assert same(predicted(client, i, seconds, frames[i]), expected)


def test_clients_do_not_see_each_other(served: Served, bundle: ModelBundle) -> None:
    references = [stylizer(bundle, name) for name in LOOKS]
    shots = [pictures(10 + i, 5) for i in range(3)]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in LOOKS]
        for client, name in zip(clients, LOOKS, strict=True):
            set_look(client, name, 0)
        for k in range(5):
            for i, client in enumerate(clients):
                seconds = 0.05 * k * (i + 1)
                grid = predicted(client, k, seconds, shots[i][k])
                assert same(grid, references[i].predict(Frame(shots[i][k], round(1000 * seconds) / 1000, k)))


def test_of_a_fast_client_only_the_newest_counts(served: Served) -> None:
    pixels = pictures(2, 1)[0]
    with served.client() as client:
        for i in range(40):
            client.send(message(i, i / 1000, pixels))
        answered = []
        while not answered or answered[-1] != 39:
            answered.append(grid_of(client.recv(20))[0])
        assert answered == sorted(set(answered))
        assert len(answered) < 40
        with pytest.raises(TimeoutError):
            client.recv(0.3)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"", 1007),
        (b"\0" * 100, 1007),
        (b"\0" * (8 + SIZE * SIZE * 3 - 1), 1007),
        (b"\0" * (8 + SIZE * SIZE * 3 + 1), 1009),
        ("x" * 1025, 1009),
        ("\N{SNOWMAN}" * 400, 1009),
        ("no JSON", 1007),
        ("[" * 1000, 1007),
        ("{}", 1007),
        ('{"type": "quit"}', 1007),
        ('{"type": "look", "name": 3}', 1007),
        ('{"type": "look", "name": "sunset", "fade": NaN}', 1007),
        ('{"type": "look", "name": "sunset", "fade": -1}', 1007),
        ('{"type": "look", "name": "sunset", "fade": 1e9}', 1007),
        ('{"type": "look", "name": "sunset", "more": 1}', 1007),
    ],
)
def test_messages_that_do_not_fit_end_the_connection(served: Served, wrong: str | bytes, code: int) -> None:
    with served.client() as client, served.client() as other:
        with contextlib.suppress(exceptions.ConnectionClosed):
            client.send(wrong)
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            client.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
        assert closed.value.rcvd.reason
        predicted(other, 1, 0.0, pictures(0, 1)[0])


def test_a_huge_message_ends_the_connection(served: Served) -> None:
    """While it is still being sent: of the close code nothing may arrive."""
    with served.client() as client, served.client() as other:
        with pytest.raises(exceptions.ConnectionClosed):  # noqa: PT012
            client.send(b"\0" * (1 << 24))
            client.recv(10)
        predicted(other, 1, 0.0, pictures(0, 1)[0])


def test_an_unknown_look_is_said_to_be_one(served: Served) -> None:
    with served.client() as client:
        answer = set_look(client, "../secret", 0.1)
        assert answer["type"] == "error"
        assert "no look named" in answer["message"]
        predicted(client, 1, 0.0, pictures(0, 1)[0])


def test_a_prediction_that_fails_is_said_once_and_the_next_may_work(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, pixels = start(), pictures(0, 1)[0]
    with served.client() as client, monkeypatch.context() as broken:
        broken.setattr(ModelBundle, "predict", lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")))
        client.send(message(1, 0.0, pixels))
        assert json.loads(client.recv(10))["type"] == "error"
        client.send(message(2, 0.1, pixels))
        with pytest.raises(TimeoutError):
            client.recv(0.5)
        broken.undo()
        predicted(client, 3, 0.2, pixels)
    assert capfd.readouterr().err == "hueglass: no prediction: RuntimeError: out of memory\n"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:1", "http://[", "null", None])
def test_a_page_of_another_origin_is_refused(served: Served, origin: Any) -> None:
    with pytest.raises(exceptions.InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{served.port}/ws", origin=origin)
    assert refused.value.response.status_code == 403
    headers = {"Content-Type": "image/jpeg"} | ({"Origin": origin} if origin else {})
    assert served.ask("POST", "/api/looks", b"x", headers)[0] == 403


def test_a_strange_name_for_this_machine_is_refused(served: Served) -> None:
    """What a page does whose own name is made to point here: its origin and the host agree."""
    host = f"evil.example:{served.port}"
    for strange in (host, "[", "", "127.0.0.1.evil.example"):
        assert served.ask("GET", "/", headers={"Host": strange})[0] == 421
    with (
        socket.create_connection(("127.0.0.1", served.port)) as sock,
        pytest.raises(exceptions.InvalidStatus) as refused,
    ):
        connect(f"ws://{host}/ws", sock=sock, origin=f"http://{host}")
    assert refused.value.response.status_code == 421
    assert served.ask("GET", "/", headers={"Host": f"localhost:{served.port}"})[0] == 200


def test_no_more_clients_than_allowed(start: Callable[..., Served]) -> None:
    served = start(max_clients=2)
    with served.client() as first, served.client():
        with connect(f"ws://127.0.0.1:{served.port}/ws", origin=served.origin) as third:
            with pytest.raises(exceptions.ConnectionClosed) as closed:
                third.recv(10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        predicted(first, 1, 0.0, pictures(0, 1)[0])
    wait_for(lambda: clients_of(served) == 0)
    with served.client():
        assert clients_of(served) == 1


def clients_of(served: Served) -> int:
    return json.loads(served.ask("GET", "/api/status")[1])["clients"]


def wait_for(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def encoded(suffix: str, size: tuple[int, int] = (90, 120)) -> bytes:
    image = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.imencode(suffix, cv2.resize(image, size[::-1]))[1].tobytes()


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


def test_the_oldest_upload_makes_room(bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MAX_UPLOADS", 2)
    kept = shelf.Shelf(bundle, [looks.find_look("sunset", bundle.manifest)], np.zeros((27, 48, 3), np.uint8))
    names = [kept.add(encoded(".jpg"))["name"] for _ in range(4)]
    assert len(set(names)) == 4
    assert [entry["name"] for entry in kept.entries()] == ["sunset", *names[2:]]
    assert kept.look(names[0]) is None
    assert kept.preview(names[0]) is None
    assert kept.look(names[3]) is not None


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


def test_the_page_comes_with_what_keeps_it_apart(served: Served) -> None:
    for path, kind in (("/", "text/html"), ("/page/app.js", "text/javascript"), ("/looks/sunset.jpg", "image/jpeg")):
        status, body, headers = served.ask("GET", path)
        assert status == 200
        assert body
        assert headers["content-type"].startswith(kind)
        assert "'wasm-unsafe-eval'" in headers["content-security-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["x-content-type-options"] == "nosniff"
        assert "camera=(self)" in headers["permissions-policy"]
        assert headers["cache-control"] == "no-store"
        assert "set-cookie" not in headers
    assert served.ask("DELETE", "/api/looks", headers={"Origin": served.origin})[0] == 405


@contextlib.contextmanager
def deaf_client(served: Served, certificate: str = "") -> Iterator[Callable[[bytes], None]]:
    """Sends messages over a WebSocket of its own, and reads nothing; over TLS given a certificate to trust."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(5)
        sock.connect(("127.0.0.1", served.port))
        with trusting(certificate).wrap_socket(sock, server_hostname="127.0.0.1") if certificate else sock as way:
            names = f"Host: 127.0.0.1:{served.port}\r\nOrigin: https://127.0.0.1:{served.port}\r\n"
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            asks = f"GET /ws HTTP/1.1\r\n{names}Upgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
            way.sendall(asks.encode())
            time.sleep(0.3)  # until it is accepted
            yield lambda data: way.sendall(struct.pack(">BBQ4x", 0x82, 0xFF, len(data)) + data)


@pytest.mark.parametrize("secure", [False, True])
def test_who_does_not_read_is_dropped_and_others_are_served(
    capfd: pytest.CaptureFixture[str],
    start: Callable[..., Served],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    secure: bool,
) -> None:
    monkeypatch.setattr(app, "SEND_SECONDS", 1.0)
    pixels, pem = pictures(0, 1)[0], ""
    if secure:
        certificate, key = tls._self_signed(["127.0.0.1"])
        (tmp_path / "own.pem").write_bytes(certificate + key)
        pem = certificate.decode()
    served = start(certificate=tmp_path / "own.pem" if secure else None)
    with served.client(certificate=pem) as other, deaf_client(served, pem) as send:
        answered, end = 0, time.monotonic() + 60
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while time.monotonic() < end:
                send(message(1, 0.0, pixels))
                predicted(other, answered, answered / 30, pixels)
                answered += 1
        assert time.monotonic() < end
        assert answered > 5
        for i in range(5):
            predicted(other, i, 60.0 + i, pixels)
    assert capfd.readouterr().err == "hueglass: a client did not read for 1 s: dropped\n"


def test_who_is_dropped_with_messages_unread_goes_without_a_word(
    capfd: pytest.CaptureFixture[str], start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Over TLS, where the way is gone when the server finds that it may read on, or that its patience ends."""
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
    certificate, key = tls._self_signed(["127.0.0.1"])
    (tmp_path / "own.pem").write_bytes(certificate + key)
    served, pixels = start(certificate=tmp_path / "own.pem"), pictures(0, 1)[0]
    sessions = served.server._service.sessions
    for _ in range(10):
        with contextlib.suppress(exceptions.ConnectionClosed), served.client(certificate.decode()) as client:
            predicted(client, 0, 0.0, pixels)
            (session,) = sessions
            for i in range(8):
                client.send(message(i + 1, 0.0, pixels))
            session._loop.call_soon_threadsafe(session.drop)
            while True:
                client.recv(10)
        wait_for(lambda: not sessions)
    time.sleep(0.6)
    assert capfd.readouterr().err == ""


def test_over_the_network_there_are_tls_and_a_token(
    start: Callable[..., Served], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    original = tls.read_identity

    def looked_at(certificate: Path, key: Path | None) -> tls.Identity:
        modes.append(certificate.stat().st_mode & 0o777)
        return original(certificate, key)

    monkeypatch.setattr(tls, "read_identity", looked_at)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    served = start("0.0.0.0")
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []
    token = served.link.split("?token=")[1]
    assert served.link.startswith("https://")
    assert len(token) >= 32
    pem = ssl.get_server_certificate(("127.0.0.1", served.port))
    assert served.identity is not None
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    assert served.identity.fingerprint.replace(":", "").lower() == digest
    assert served.identity.fingerprint.count(":") == 31

    def ask(path: str, headers: dict[str, str] | None = None) -> tuple[int, str | None]:
        asking = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=10, context=trusting(pem))
        with contextlib.closing(asking):
            asking.request("GET", path, headers=headers or {})
            answer = asking.getresponse()
            answer.read()
            return answer.status, answer.getheader("Set-Cookie")

    for path in ("/", "/page/app.js", "/api/looks", "/api/status", "/looks/sunset.jpg", "/nothing"):
        assert ask(path) == (403, None)
        assert ask(f"{path}?token={token[:-1]}") == (403, None)
        assert ask(f"{path}?token=%F0%9F%98%80") == (403, None)
        assert ask(path, {"Cookie": f"hueglass={token}x"}) == (403, None)
    status, cookie = ask(f"/?token={token}")
    assert status == 200
    assert cookie == f"hueglass={token}; Path=/; HttpOnly; SameSite=Strict; Secure"
    assert ask("/api/status", {"Cookie": f"hueglass={token}"}) == (200, None)
    assert ask(f"/api/status?token={token}") == (200, None)

    address, origin = f"wss://127.0.0.1:{served.port}/ws", f"https://127.0.0.1:{served.port}"
    with pytest.raises(exceptions.InvalidStatus) as refused:
        connect(address, origin=origin, ssl=trusting_of_two_threads(pem))
    assert refused.value.response.status_code == 403
    known = {"Cookie": f"hueglass={token}"}
    with pytest.raises(exceptions.InvalidStatus):
        connect(address, origin="https://evil.example", ssl=trusting_of_two_threads(pem), additional_headers=known)
    with connect(address, origin=origin, ssl=trusting_of_two_threads(pem), additional_headers=known) as client:
        assert json.loads(client.recv(10))["type"] == "hello"
        for i in range(5):
            predicted(client, i, i / 10, pictures(0, 1)[0])


def test_ones_own_certificate(start: Callable[..., Served], tmp_path: Path) -> None:
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    for path, data in zip((certificate, key), tls._self_signed(["127.0.0.1"]), strict=True):
        path.write_bytes(data)
    served = start(certificate=certificate, key=key)
    assert served.link == f"https://127.0.0.1:{served.port}/"  # this machine alone: no token
    assert served.identity is not None
    assert ssl.get_server_certificate(("127.0.0.1", served.port)).strip() == certificate.read_text().strip()
    other = tmp_path / "other.key"
    other.write_bytes(tls._self_signed(["127.0.0.1"])[1])
    for wrong in (other, certificate):
        with pytest.raises(HueglassError, match=r"own\.pem: cannot be used with the key"):
            tls.read_identity(certificate, wrong)
    with pytest.raises(HueglassError, match="cannot be used, expected PEM"):
        tls.read_identity(key, None)
    with pytest.raises(UsageError, match="no such file"):
        tls.read_identity(tmp_path / "nothing.pem", key)
    with pytest.raises(UsageError, match="--key without --certificate"):
        serve_command.build_server("127.0.0.1", 0, [], ModelBundle(), None, key)


def test_a_key_with_a_password_is_not_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    certificate, key = tls._self_signed(["localhost"])
    lock = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    locked = serialization.load_pem_private_key(key, None).private_bytes(*form)
    path = tmp_path / "locked.pem"
    path.write_bytes(locked + certificate)
    with pytest.raises(HueglassError, match="without a password"):
        tls.read_identity(path, None)


def test_which_hosts_are_this_machine_alone() -> None:
    assert all(tls.is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"))
    assert not any(tls.is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "localhost.example", ""))
    assert tls.names_of("house.example") == ["house.example"]
    assert {"localhost", "127.0.0.1"} <= set(tls.names_of("0.0.0.0"))


def test_what_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    link = serve_command.link_to("fd00::7", 8787, "T0ken", True)
    assert link == "https://[fd00::7]:8787/?token=T0ken"
    identity = tls.make_identity(["127.0.0.1"])
    serve_command.announce(link, identity)
    out = capsys.readouterr().out
    assert out.splitlines() == [link, f"certificate SHA-256 {identity.fingerprint}", "Ctrl-C ends it."]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    serve_command.announce(link, identity)
    assert tls.qr_code(link) in capsys.readouterr().out
    assert tls.qr_code(link) != tls.qr_code(link + "x")
    assert len(tls.qr_code(link).splitlines()) > 12


def test_what_cannot_be_served_is_one_line(
    bundle: ModelBundle, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen on"):
        listen("127.0.0.1", taken.getsockname()[1])
    for host in ("no-such-host.invalid", "x" * 300):
        with pytest.raises(UsageError, match="cannot listen"):
            listen(host, 0)
    with pytest.raises(UsageError, match="no look named 'nothing'"):
        serve_command.build_server("127.0.0.1", 0, ["nothing"], bundle, page=page)
    with pytest.raises(HueglassError, match=r"no index\.html"):
        serve_command.build_server("127.0.0.1", 0, [], bundle, page=tmp_path)
    monkeypatch.setattr(serve_command, "_NEEDED", ("no_such_package",))
    with pytest.raises(UsageError, match=r'no_such_package: pip install "hueglass\[web\]"'):
        serve_command.build_server("127.0.0.1", 0, [], bundle)


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Served]]:
    """`serve` in a process of its own."""
    command = [sys.executable, "-c", PROCESS, *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        link = running.stdout.readline().strip()
        assert link.startswith("http://127.0.0.1:")
        yield running, Served(None, link, None, threading.Thread())  # type: ignore[arg-type]
    finally:
        running.kill()
        running.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_soon_and_quietly_with_clients_connected(number: signal.Signals) -> None:
    with process() as (running, served), served.client() as client, deaf_client(served) as send:
        for i in range(60):  # more than there is room for the answers
            send(message(i, i / 60, pictures(0, 1)[0]))
        predicted(client, 1, 0.0, pictures(0, 1)[0])
        with socket.create_connection(("127.0.0.1", served.port)) as half:
            half.sendall(b"POST /api/looks HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n")
            half.sendall(b"Content-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n")
            time.sleep(0.2)
            began = time.monotonic()
            running.send_signal(number)
            _, err = running.communicate(timeout=10)
            took = time.monotonic() - began
        assert running.returncode == 0
        assert err == ""
        assert took < 3
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            client.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127"])
def test_a_request_that_does_not_come_is_given_up(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
    served = start()
    with socket.create_connection(("127.0.0.1", served.port), timeout=4) as sock, served.client() as client:
        sock.sendall(begun)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        time.sleep(0.6)
        predicted(client, 1, 0.0, pictures(0, 1)[0])  # who is connected stays


class Slow:
    """Stands for a network that takes `seconds`, whatever it is shown."""

    def __init__(self, bundle: ModelBundle, seconds: float) -> None:
        self.manifest, self._seconds = bundle.manifest, seconds

    def thumbnail(self, image: np.ndarray) -> np.ndarray:
        return image

    def predict(self, *_: np.ndarray) -> np.ndarray:
        time.sleep(self._seconds)
        return np.zeros(SHAPE, np.float32)


def turns_taken(bundle: ModelBundle, network: float, clients: int, seconds: float) -> list[int]:
    """Whose turn it was, when all offer a thumbnail every millisecond and take what they are given at once."""
    turns, taken, pixels = Turns(Slow(bundle, network)), [], pictures(0, 1)[0]  # type: ignore[arg-type]
    joined: list[Client] = []

    def take(index: int) -> Callable[[object], None]:
        def deliver(_: object) -> None:
            taken.append(index)
            turns.delivered(joined[index])

        return deliver

    look = looks.find_look("sunset", bundle.manifest)
    joined += [turns.join(look, take(i)) for i in range(clients)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for i, client in enumerate(joined):
            turns.offer(client, Thumbnail(i, time.monotonic(), pixels))
        time.sleep(0.001)
    turns.close()
    return taken


def test_clients_take_turns(bundle: ModelBundle) -> None:
    taken = turns_taken(bundle, 0.02, 4, 2.0)
    assert len(taken) > 12
    assert all(len(set(taken[i : i + 4])) == 4 for i in range(len(taken) - 3))


def test_no_client_has_more_than_sixty_turns_a_second(bundle: ModelBundle) -> None:
    taken = turns_taken(bundle, 0.0, 1, 2.0)
    assert 20 < len(taken) <= 2 * 60 + 2


async def many(served: Served, clients: int, rate: float, seconds: float) -> list[list[float]]:
    """Each client's delays from a thumbnail to its grid, in seconds, when all send `rate` a second."""

    async def one(index: int) -> list[float]:
        pixels, sent, delays = pictures(index, 8), {}, []
        address = f"ws://127.0.0.1:{served.port}/ws"
        async with connect_async(address, origin=served.origin, compression=None) as client:
            await client.recv()

            async def read() -> None:
                with contextlib.suppress(exceptions.ConnectionClosed):
                    while True:
                        sequence, _ = grid_of(await client.recv())
                        delays.append(time.perf_counter() - sent.pop(sequence))

            reading = asyncio.create_task(read())
            began = time.perf_counter()
            for i in range(round(seconds * rate)):
                await asyncio.sleep(max(0.0, began + (i + index / clients) / rate - time.perf_counter()))
                sent[i] = time.perf_counter()
                await client.send(message(i, i / rate, pixels[i % 8]))
            await asyncio.sleep(0.5)
            assert not reading.done()
            reading.cancel()
        return delays

    return await asyncio.gather(*(one(i) for i in range(clients)))


def test_twenty_clients_are_all_served(served: Served) -> None:
    delays = asyncio.run(many(served, 20, 15, 4))
    counts = [len(times) for times in delays]
    assert min(counts) >= 4
    assert max(counts) <= 3 * min(counts)  # in turn: nobody is served at another's cost
    figures = json.loads(served.ask("GET", "/api/status")[1])
    assert figures["predictions_per_second"] > 0
    assert figures["p95_delay_ms"] > 0
    wait_for(lambda: clients_of(served) == 0)


def measure(seconds: float, *arguments: str) -> None:
    """Prints, for 20 clients at 15 thumbnails a second, their delays, and the server's memory over the time."""

    def memory(pid: int) -> float:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]

    with process(*arguments) as (running, served):
        taken, done = [], threading.Event()

        def watch() -> None:
            while not done.wait(5):
                taken.append(round(memory(running.pid)))
                print(f"{taken[-1]} MB", served.ask("GET", "/api/status")[1].decode(), flush=True)

        watching = threading.Thread(target=watch)
        watching.start()
        delays = asyncio.run(many(served, 20, 15, seconds))
        done.set()
        watching.join()
        counts, every = [len(times) for times in delays], 1000 * np.concatenate(delays)
        late = np.percentile(every, 95)
        print(f"grids a client {min(counts)} to {max(counts)}, {len(every) / seconds:.0f} a second in all")
        print(f"from thumbnail to grid {np.median(every):.0f} ms, 95 % below {late:.0f} ms; memory {taken} MB")


if __name__ == "__main__":
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as `hueglass serve` sets it for itself
    measure(float(sys.argv[1]), *sys.argv[2:])
