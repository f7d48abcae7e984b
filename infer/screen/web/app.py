"""The web application: the addresses of the page, its looks, and the WebSocket of each client.

Whatever does not fit is refused with a status that says why. Starlette is imported inside functions:
it is an extra, and the rest of the runtime does without.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hueglass.infer.errors import HueglassError

from .guard import Access, Guard
from .page_files import TYPES
from .session import Service, Session
from .shelf import MAX_BYTES, RefusedUpload

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp
    from starlette.websockets import WebSocket

PHOTOGRAPHS = ("image/jpeg", "image/png", "image/webp")
UPLOAD_SECONDS = 30.0
UPLOADS_AT_ONCE = 4

log = logging.getLogger("hueglass.web")


def web_app(service: Service, page: Mapping[str, bytes], access: Access) -> "ASGIApp":
    """The ASGI application, behind its guard. `page` holds the files of the page by name, as `read_page` gives them."""
    from starlette.applications import Starlette
    from starlette.routing import Route, WebSocketRoute

    answers = _Answers(service, page)
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
    return Guard(app, access)


class _Answers:
    """One method for each address."""

    def __init__(self, service: Service, page: Mapping[str, bytes]) -> None:
        self._service, self._page = service, page
        self._uploads = 0

    async def index(self, request: "Request") -> "Response":
        return self._page_file("index.html")

    async def file(self, request: "Request") -> "Response":
        return self._page_file(request.path_params["name"])

    def _page_file(self, name: str) -> "Response":
        from starlette.responses import PlainTextResponse, Response

        data = self._page.get(name)
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

        rate, delay = self._service.queue.load()
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
