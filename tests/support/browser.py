"""A real Chromium for tests of the page, and a server that speaks the page's side of the contract with given grids."""

import base64
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from hueglass.infer.screen.web.headers import SERVER_HEADERS
from hueglass.infer.screen.web.messages import Packing
from hueglass.infer.screen.web.page_files import PAGE

from .needs import needs_browser, needs_package

TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".webm": "video/webm",
}
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL = ("--disable-3d-apis",)
ALLOWED = ("--use-fake-ui-for-media-stream",)
NO_CAMERA = (*ALLOWED, "--use-fake-device-for-media-stream=device-count=0")
REFUSED = ("--use-fake-device-for-media-stream", "--deny-permission-prompts")


def camera(clip: Path) -> tuple[str, ...]:
    """Flags for a camera that is allowed and plays an .mjpeg file."""
    return (*ALLOWED, "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={clip}")


@contextmanager
def playwright() -> Iterator[Any]:
    """What starts browsers; only one at a time."""
    with needs_package("playwright.sync_api").sync_playwright() as running:
        yield running


@contextmanager
def chromium(running: Any, *flags: str) -> Iterator[Any]:
    """A headless browser of playwright."""
    path = needs_browser()
    # The sandbox needs rights that containers lack; what is opened here are our own pages.
    browser = running.chromium.launch(executable_path=path, args=["--no-sandbox", *flags])
    try:
        yield browser
    finally:
        browser.close()


def until(page: Any, expression: str, seconds: float = 20) -> None:
    """Waits until an expression holds in the page. playwright's own way would need `eval`, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not after {seconds} s: {expression}; the page says {page.inner_text('body')!r}"
        page.wait_for_timeout(20)


def text_of(array: np.ndarray) -> str:
    """An array's bytes as base64, the way into the browser."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def bytes_of(text: str) -> np.ndarray:
    """The way back: base64 as uint8."""
    return np.frombuffer(base64.b64decode(text), np.uint8)


def picture_of(answer: dict[str, Any]) -> np.ndarray:
    """What the canvas held (H, W, 3) uint8, as `{width, height, pixels}` came out of the browser."""
    return bytes_of(answer["pixels"]).reshape(answer["height"], answer["width"], 4)[..., :3].copy()


def write_mjpeg(path: Path, frames: list[np.ndarray]) -> Path:
    """Frames (H, W, 3) uint8 RGB as one JPEG after the other, for `camera`.

    JPEG uses all 256 levels, but Chromium's stand-in for a camera takes them for video levels (16 to 235): so they are
    written as such.
    """
    frames = [np.rint(frame * (219 / 255) + 16).astype(np.uint8) for frame in frames]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    jpegs = [cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)[1] for frame in frames]
    path.write_bytes(b"".join(jpeg.tobytes() for jpeg in jpegs))
    return path


class PageServer(ThreadingHTTPServer):
    """The page and its WebSocket on one port. `looks` are grids (gd, gh, gw, 12) by name; `photo` is the grid that any
    uploaded photograph becomes. `said` are the look messages of clients, `thumbnails` what they sent.
    While `mute` it answers no thumbnail; with a `failure` it says that instead."""

    daemon_threads = True

    def __init__(self, looks: dict[str, np.ndarray], photo: np.ndarray) -> None:
        self.looks = dict(looks)
        self.photo = photo
        self.files: dict[str, bytes] = {"/looks/any.jpg": _jpeg()}
        self.said: list[dict[str, Any]] = []
        self.uploads: list[bytes] = []
        self.thumbnails: list[np.ndarray] = []
        self.clients: list[Any] = []
        self.mute = False
        self.failure = ""
        self.sockets = ("", 0)
        super().__init__(("127.0.0.1", 0), _Pages)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def names(self) -> list[dict[str, str]]:
        return [{"name": name, "preview": self.preview(name)} for name in self.looks]

    def preview(self, name: str) -> str:
        own = f"/looks/{name}.jpg"
        return own if own in self.files else "/looks/any.jpg"

    def finish_request(self, request: Any, client_address: Any) -> None:
        if request.recv(16, socket.MSG_PEEK).startswith(b"GET /ws"):
            self.pipe(request)
        else:
            super().finish_request(request, client_address)

    def pipe(self, request: socket.socket) -> None:
        """Hands a WebSocket to the server that speaks it, so that the page finds all on one port."""
        with socket.create_connection(self.sockets) as inner:
            back = threading.Thread(target=_copy, args=(inner, request), daemon=True)
            back.start()
            _copy(request, inner)
            back.join()

    def talk(self, connection: Any) -> None:
        """One client, from hello to the end."""
        from websockets.exceptions import ConnectionClosed

        self.clients.append(connection)
        shape = next(iter(self.looks.values())).shape
        hello = {"type": "hello", "size": 256, "grid": shape, "looks": self.names(), "model": "student-test"}
        connection.send(json.dumps(hello))
        look = next(iter(self.looks))
        try:
            for message in connection:
                if isinstance(message, str):
                    look = self._choose(connection, json.loads(message), look)
                elif not self.mute:
                    self._answer(connection, message, self.looks[look])
        except ConnectionClosed:
            pass

    def _choose(self, connection: Any, wanted: dict[str, Any], look: str) -> str:
        self.said.append(wanted)
        if wanted["name"] in self.looks:
            connection.send(json.dumps({"type": "look", "name": wanted["name"]}))
            return str(wanted["name"])
        connection.send(json.dumps({"type": "error", "message": f"there is no look {wanted['name']}"}))
        return look

    def _answer(self, connection: Any, message: bytes, grid: np.ndarray) -> None:
        if self.failure:
            return connection.send(json.dumps({"type": "error", "message": self.failure}))
        sequence, _ = struct.unpack("<II", message[:8])
        self.thumbnails.append(np.frombuffer(message, np.uint8, offset=8).reshape(256, 256, 3))
        return connection.send(struct.pack("<II", sequence, 1000) + Packing().packed(grid))


class _Pages(BaseHTTPRequestHandler):
    server: PageServer
    blank: ClassVar[bytes] = b"<!doctype html><title>blank</title>"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        file = PAGE / ("index.html" if path == "/" else path.removeprefix("/page/"))
        if path == "/blank":
            self._send(200, "text/html", self.blank)
        elif path in self.server.files:
            self._send(200, TYPES[Path(path).suffix], self.server.files[path])
        elif (path == "/" or path.startswith("/page/")) and file.is_file():
            self._send(200, TYPES[file.suffix], file.read_bytes())
        else:
            self._send(404, "text/plain", b"nothing here")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR) is None:
            return self._send(415, "application/json", b'{"message": "this is no photograph"}')
        self.server.uploads.append(body)
        name = f"photo-{len(self.server.uploads)}"
        self.server.looks[name] = self.server.photo
        look = {"name": name, "preview": self.server.preview(name)}
        return self._send(201, "application/json", json.dumps(look).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in SERVER_HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests say what went wrong."""


@contextmanager
def serving(looks: dict[str, np.ndarray], photo: np.ndarray) -> Iterator[PageServer]:
    """A PageServer that answers until the end of the block."""
    sockets = needs_package("websockets.sync.server")
    with PageServer(looks, photo) as server, sockets.serve(server.talk, "127.0.0.1", 0) as inner:
        server.sockets = inner.socket.getsockname()
        threads = [threading.Thread(target=one.serve_forever, daemon=True) for one in (server, inner)]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            inner.shutdown()
            for client in server.clients:
                client.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """All bytes from one socket to the other, and its end."""
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _jpeg() -> bytes:
    return cv2.imencode(".jpg", np.full((90, 160, 3), 128, np.uint8))[1].tobytes()
