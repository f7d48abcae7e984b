"""The web application: the page, its looks, and a WebSocket over which thumbnails come and grids go.

Whatever does not fit is refused with a status or a close code that says why. Starlette is imported inside functions:
it is an extra, and the rest of the runtime does without.
"""

import asyncio
import json
import logging
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hueglass.infer.errors import HueglassError, first_problem
from hueglass.infer.scene.live import FADE_SECONDS

from .clients import RATE, Client, Result, Thumbnail, Turns, half_floats
from .shelf import MAX_BYTES, RefusedUpload, Shelf
from .tls import same_token

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from starlette.websockets import WebSocket

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
"""What the page may consist of; nothing else is served."""
PHOTOGRAPHS = ("image/jpeg", "image/png", "image/webp")
COOKIE = "hueglass"
HEADER = struct.Struct("<II")
"""Before a thumbnail: its number and the client's clock in milliseconds. Before a grid: the thumbnail's number and
how long the prediction took, in microseconds."""
MAX_TEXT = 1024
SEND_SECONDS = 5.0
"""Who does not read for so long is dropped."""
UPLOAD_SECONDS = 30.0
UPLOADS_AT_ONCE = 4
READ_RATE = 2 * RATE
"""Messages of one client that are read in a second; what is more waits at the client."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer. A page with threads has to be cut off from other origins (COOP, COEP)."""

log = logging.getLogger("hueglass.web")


@dataclass(frozen=True)
class Access:
    """Who is let in: whoever has the `token`; without one, whoever asks for one of the host names `hosts` (a page
    of another origin may point a name of its own at this machine). `secure` says that the way is TLS."""

    token: str | None
    hosts: frozenset[str]
    secure: bool


@dataclass
class Service:
    """What requests share. `page` holds the files of the page by name; `sessions` is who is connected now."""

    turns: Turns
    shelf: Shelf
    access: Access
    page: Mapping[str, bytes]
    max_clients: int
    sessions: set["Session"] = field(default_factory=set)

    @property
    def hello(self) -> dict[str, Any]:
        """What a client has to know first."""
        m = self.turns.bundle.manifest
        grid = [m.depth, m.cells, m.cells, 12]
        return {"type": "hello", "size": m.thumbnail, "grid": grid, "looks": self.shelf.entries(), "model": m.model}

    @property
    def message_bytes(self) -> int:
        """How long a message with a thumbnail is, exactly."""
        return HEADER.size + self.turns.bundle.manifest.thumbnail**2 * 3


def read_page(folder: Path = PAGE) -> dict[str, bytes]:
    """The files of the page by name: read once, so that no request ever names a path. HueglassError without any."""
    files = {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file() and path.suffix in TYPES}
    if "index.html" not in files:
        raise HueglassError(f"{folder}: no index.html here, expected the page")
    return files


def web_app(service: Service) -> "ASGIApp":
    """The ASGI application, behind its guard."""
    from starlette.applications import Starlette
    from starlette.routing import Route, WebSocketRoute

    answers = _Answers(service)
    routes = [
        Route("/", answers.index, methods=["GET"]),
        Route("/page/{name}", answers.file, methods=["GET"]),
        Route("/looks/{name:path}", answers.preview, methods=["GET"]),
        Route("/api/looks", answers.looks, methods=["GET"]),
        Route("/api/looks", answers.add_look, methods=["POST"]),
        Route("/api/status", answers.status, methods=["GET"]),
        WebSocketRoute("/ws", answers.socket),
    ]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    return _Guard(app, service.access)


class _Guard:
    """Lets in whom `access` allows, and gives every answer HEADERS."""

    def __init__(self, app: "ASGIApp", access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        from starlette.requests import HTTPConnection
        from starlette.websockets import WebSocket

        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if refusal is None:
            await self._app(scope, receive, self._with_headers(connection, send))
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            refusal.headers["Connection"] = "close"
            await refusal(scope, receive, self._with_headers(connection, send))

    def _refusal(self, connection: "HTTPConnection") -> "Response | None":
        from starlette.responses import PlainTextResponse

        host, origin = connection.headers.get("host", ""), connection.headers.get("origin")
        if self._access.token is not None:
            if not any(same_token(given, self._access.token) for given in _tokens(connection)):
                return PlainTextResponse("wrong or missing token: open the link that the server printed", 403)
        elif _host_name(host) not in self._access.hosts:
            return PlainTextResponse("this server goes by another name", 421)
        # Browsers say which page asks, always for a WebSocket. It has to be ours.
        asked = connection.scope["type"] == "websocket" or connection.scope["method"] not in ("GET", "HEAD")
        if asked and origin not in (f"http://{host}", f"https://{host}"):
            return PlainTextResponse("asked by a page of another origin", 403)
        return None

    def _with_headers(self, connection: "HTTPConnection", send: "Send") -> "Send":
        from starlette.datastructures import MutableHeaders

        async def sending(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if self._fresh(connection) and message["status"] == 200:
                    secure = "; Secure" if self._access.secure else ""
                    cookie = f"{COOKIE}={self._access.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
                    headers.append("Set-Cookie", cookie)
            await send(message)

        return sending

    def _fresh(self, connection: "HTTPConnection") -> bool:
        """Whether the page is asked for by the printed link: from then on the browser has the token as a cookie."""
        return self._access.token is not None and connection.scope["path"] == "/" and "token" in connection.query_params


def _tokens(connection: "HTTPConnection") -> list[str]:
    given = [connection.query_params.get("token"), connection.cookies.get(COOKIE)]
    return [token for token in given if token is not None]


def _host_name(host: str) -> str:
    """Of a Host header, without the port; "" for one that is none."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


class _Answers:
    """One method for each address."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._uploads = 0

    async def index(self, request: "Request") -> "Response":
        return self._page_file("index.html")

    async def file(self, request: "Request") -> "Response":
        return self._page_file(request.path_params["name"])

    def _page_file(self, name: str) -> "Response":
        from starlette.responses import PlainTextResponse, Response

        data = self._service.page.get(name)
        if data is None:
            return PlainTextResponse("no such file", 404)
        return Response(data, headers={"Content-Type": TYPES[Path(name).suffix]})

    async def preview(self, request: "Request") -> "Response":
        from starlette.responses import PlainTextResponse, Response

        name = request.path_params["name"]
        data = self._service.shelf.preview(name.removesuffix(".jpg")) if name.endswith(".jpg") else None
        return PlainTextResponse("no such look", 404) if data is None else Response(data, media_type="image/jpeg")

    async def looks(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        return JSONResponse({"looks": self._service.shelf.entries()})

    async def add_look(self, request: "Request") -> "Response":
        """What is sent is a photograph's file, and becomes a look."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response

        if self._uploads == UPLOADS_AT_ONCE:
            return JSONResponse({"error": "too many photographs at once: try again"}, 503, {"Retry-After": "2"})
        self._uploads += 1
        try:
            data = await _body(request)
            return JSONResponse(await _in_thread(lambda: self._service.shelf.add(data)), 201)
        except RefusedUpload as error:
            return JSONResponse({"error": str(error)}, error.status)
        except HueglassError as error:
            log.error("%s", error)
            return JSONResponse({"error": "the photograph could not be made a look"}, 500)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it
        finally:
            self._uploads -= 1

    async def status(self, request: "Request") -> "Response":
        from starlette.responses import JSONResponse

        rate, delay = self._service.turns.figures()
        clients = len(self._service.sessions)
        figures = {"clients": clients, "predictions_per_second": round(rate, 1), "p95_delay_ms": round(delay, 1)}
        return JSONResponse(figures)

    async def socket(self, websocket: "WebSocket") -> None:
        await Session(self._service, websocket).run()


async def _body(request: "Request") -> bytes:
    """RefusedUpload for another type than a photograph's, for too many bytes, and for who takes too long."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in PHOTOGRAPHS:
        raise RefusedUpload(415, "this is no photograph, expected JPEG, PNG or WebP")
    too_large = RefusedUpload(413, f"the photograph is over {MAX_BYTES >> 20} MiB")
    if (claimed := request.headers.get("content-length", "0")).isdecimal() and int(claimed) > MAX_BYTES:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > MAX_BYTES:
                    raise too_large
    except TimeoutError:
        raise RefusedUpload(408, f"the photograph did not come within {UPLOAD_SECONDS:g} s") from None
    return bytes(data)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """What `function` returns or raises, from a thread that the end of the server does not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def work() -> None:
        result, failure = None, None
        try:
            result = function()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="upload", daemon=True).start()
    return await future


class _LookMessage(BaseModel):
    """The one text that clients send."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["look"]
    name: str = Field(max_length=256)
    fade: float = Field(FADE_SECONDS, ge=0, le=10, allow_inf_nan=False)


class _Unfit(Exception):
    """A message that ends the connection, with a WebSocket close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Session:
    """One client's WebSocket, from its acceptance to its end.

    Everything here runs in the server's loop but `_hand_over`, which the network's thread calls.
    """

    def __init__(self, service: Service, websocket: "WebSocket") -> None:
        self._service, self._websocket = service, websocket
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._delivery: asyncio.Task[None] | None = None
        self._failure = ""

    async def run(self) -> None:
        """Serves the client until it goes, is refused or is dropped."""
        await self._websocket.accept()
        sessions = self._service.sessions
        if len(sessions) >= self._service.max_clients:
            await self._close(1013, f"{self._service.max_clients} clients are connected, no more are taken")
            return
        sessions.add(self)
        client = self._service.turns.join(self._service.shelf.first(), self._hand_over)
        self._client = client
        try:
            await self._send_json(self._service.hello)
            await self._listen(client)
        except _Unfit as unfit:
            await self._close(unfit.code, str(unfit))
        finally:
            sessions.discard(self)
            self._service.turns.leave(client)

    def drop(self) -> None:
        """Ends the connection at once, whatever has not been read."""
        self._websocket.scope["state"]["drop"]()

    async def _listen(self, client: Client) -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            began = self._loop.time()
            if (data := message.get("bytes")) is not None:
                self._service.turns.offer(client, self._thumbnail(data))
            else:
                await self._obey(client, message["text"])
            await asyncio.sleep(max(0.0, began + 1 / READ_RATE - self._loop.time()))

    def _thumbnail(self, data: bytes) -> Thumbnail:
        expected, size = self._service.message_bytes, self._service.turns.bundle.manifest.thumbnail
        if len(data) != expected:
            raise _Unfit(1007, f"a thumbnail's message of {len(data)} bytes, expected {expected}")
        sequence, milliseconds = HEADER.unpack_from(data)
        pixels = np.frombuffer(data, np.uint8, offset=HEADER.size).reshape(size, size, 3)
        return Thumbnail(sequence, milliseconds / 1000, pixels)

    async def _obey(self, client: Client, text: str) -> None:
        """Begins the look that a text asks for, and answers."""
        if len(text) > MAX_TEXT or len(text.encode()) > MAX_TEXT:
            raise _Unfit(1009, f"a text of over {MAX_TEXT} bytes")
        try:
            wanted = _LookMessage.model_validate_json(text)
        except ValidationError as error:
            raise _Unfit(1007, f"a text that is no message: {first_problem(error, 'it')}") from None
        look = self._service.shelf.look(wanted.name)
        if look is None:
            await self._send_json({"type": "error", "message": f"no look named {wanted.name!r}"})
            return
        self._service.turns.fade_to(client, look, wanted.fade)
        await self._send_json({"type": "look", "name": wanted.name})

    def _hand_over(self, result: Result | HueglassError) -> None:
        message: bytes | HueglassError
        if isinstance(result, Result):
            took = min(round(1e6 * result.seconds), 0xFFFFFFFF)
            message = HEADER.pack(result.sequence, took) + half_floats(result.grid)
        else:
            message = result
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._deliver, message)

    def _deliver(self, message: bytes | HueglassError) -> None:
        self._delivery = self._loop.create_task(self._send_result(message))

    async def _send_result(self, message: bytes | HueglassError) -> None:
        if isinstance(message, bytes):
            await self._send({"type": "websocket.send", "bytes": message})
        elif str(message) != self._failure:  # said once, not with every thumbnail
            self._failure = str(message)
            log.error("%s", message)
            await self._send_json({"type": "error", "message": "the server cannot predict: its terminal says why"})
        self._service.turns.delivered(self._client)

    async def _send_json(self, value: dict[str, Any]) -> None:
        await self._send({"type": "websocket.send", "text": json.dumps(value)})

    async def _close(self, code: int, reason: str) -> None:
        # A close frame holds 123 bytes of reason.
        short = reason.encode()[:120].decode(errors="ignore")
        await self._send({"type": "websocket.close", "code": code, "reason": short})

    async def _send(self, message: "Message") -> None:
        """Returns when the message has left; drops a client that does not read. One at a time."""
        from starlette.websockets import WebSocketDisconnect

        try:
            async with asyncio.timeout(SEND_SECONDS), self._sending:
                await self._websocket.send(message)
        except TimeoutError:
            log.warning("a client did not read for %g s: dropped", SEND_SECONDS)
            self.drop()
        except (WebSocketDisconnect, RuntimeError, OSError):
            pass  # it has gone; the loop that reads from it finds out as well
