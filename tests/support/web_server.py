"""A real web server on a free port, and clients that speak its WebSocket."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np

from hueglass.commands.serve import ServeOptions
from hueglass.infer.model import look as looks
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.manifest import EMBEDDED, read_manifest
from hueglass.infer.scene.stylizer import Stylizer, StylizerSettings
from hueglass.infer.screen.web import tls
from hueglass.infer.screen.web.messages import STEP, Packing
from hueglass.infer.screen.web.server import WebServer
from hueglass.jobs.serve import build_server

from .needs import needs_package

for _package in ("starlette", "uvicorn", "cryptography", "segno"):
    needs_package(_package)
connect = needs_package("websockets.sync.client").connect
connect_async = needs_package("websockets.asyncio.client").connect
exceptions = needs_package("websockets.exceptions")
MANIFEST = read_manifest(EMBEDDED)
SIZE, SHAPE = MANIFEST.thumbnail, (MANIFEST.depth, MANIFEST.cells, MANIFEST.cells, 12)
LOOKS = ["sunset", "moonlight", "winter"]
PROCESS = """
import sys
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.scene.stylizer import StylizerSettings
from hueglass.commands.serve import ServeOptions
from hueglass.jobs.serve import build_server, serve
bundle = ModelBundle()
settings = StylizerSettings(bundle.segmenter if "regions" in sys.argv else None)
serve(*build_server(ServeOptions(port=0, look=["sunset"]), bundle, settings), open_browser=False)
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


def starting(bundle: ModelBundle, page: Path) -> Iterator[Callable[..., Served]]:
    running: list[Served] = []

    def begin(host: str = "127.0.0.1", settings: StylizerSettings | None = None, **options: Any) -> Served:
        wanted = ServeOptions(host=host, port=0, look=LOOKS, **options)
        built, link, identity = build_server(wanted, bundle, settings, page)
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


_PACKINGS: WeakKeyDictionary[Any, Packing] = WeakKeyDictionary()


def grid_of(client: Any, answer: Any) -> tuple[int, np.ndarray]:
    """Of a connection's next answer."""
    assert isinstance(answer, bytes)
    packing = _PACKINGS.setdefault(client, Packing())
    sequence, microseconds = struct.unpack_from("<II", answer)
    assert 0 < microseconds < 60e6
    return sequence, packing.unpacked(answer[8:], SHAPE)


def predicted(client: Any, sequence: int, seconds: float, pixels: np.ndarray) -> np.ndarray:
    client.send(message(sequence, seconds, pixels))
    found, grid = grid_of(client, client.recv(20))
    assert found == sequence
    return grid


def set_look(client: Any, name: str, fade: float) -> dict[str, str]:
    client.send(json.dumps({"type": "look", "name": name, "fade": fade}))
    return json.loads(client.recv(10))


def stylizer(bundle: ModelBundle, name: str) -> Stylizer:
    """As the server has one for each client, unless told otherwise."""
    return StylizerSettings().stylizer(bundle, looks.find_look(name, bundle.manifest))


def same(grid: np.ndarray, reference: np.ndarray) -> bool:
    """To what grids are rounded to on their way."""
    return np.abs(grid - reference).max() <= STEP / 2 + 1e-5


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
                        sequence, _ = grid_of(client, await client.recv())
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
