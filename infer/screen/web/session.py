"""A client's session: one WebSocket, over which thumbnails come and grids go.

Whatever does not fit is refused with a close code that says why. Starlette is imported inside functions: it is an
extra, and the rest of the runtime does without.
"""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hueglass.infer.errors import HueglassError, first_problem
from hueglass.infer.scene.fade import FADE_SECONDS

from .messages import RATE, Packing, Result, Thumbnail, read_thumbnail, thumbnail_bytes

if TYPE_CHECKING:
    from starlette.types import Message
    from starlette.websockets import WebSocket

    from .clients import Client, PredictionQueue
    from .shelf import Shelf

MAX_TEXT = 1024
SEND_SECONDS = 5.0
"""Who does not read for so long is dropped."""
READ_RATE = 2 * RATE
"""Messages of one client that are read in a second; what is more waits at the client."""

log = logging.getLogger("hueglass.web")


@dataclass
class Service:
    """What all sessions share: who predicts, the looks, and how many may be connected. `sessions` is who is now."""

    queue: "PredictionQueue"
    shelf: "Shelf"
    max_clients: int
    sessions: set["Session"] = field(default_factory=set)

    @property
    def hello(self) -> dict[str, Any]:
        """What a client has to know first."""
        m = self.queue.bundle.manifest
        grid = [m.depth, m.cells, m.cells, 12]
        return {"type": "hello", "size": m.thumbnail, "grid": grid, "looks": self.shelf.entries(), "model": m.model}

    @property
    def message_bytes(self) -> int:
        """How long a message with a thumbnail is, exactly."""
        return thumbnail_bytes(self.queue.bundle.manifest.thumbnail)


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
        self._packing = Packing()

    async def run(self) -> None:
        """Serves the client until it goes, is refused or is dropped."""
        await self._websocket.accept()
        sessions = self._service.sessions
        if len(sessions) >= self._service.max_clients:
            await self._close(1013, f"{self._service.max_clients} clients are connected, no more are taken")
            return
        sessions.add(self)
        client = self._service.queue.join(self._service.shelf.first(), self._hand_over)
        self._client = client
        try:
            await self._send_json(self._service.hello)
            await self._listen(client)
        except _Unfit as unfit:
            await self._close(unfit.code, str(unfit))
        finally:
            sessions.discard(self)
            self._service.queue.leave(client)

    def drop(self) -> None:
        """Ends the connection at once, whatever has not been read."""
        self._websocket.scope["state"]["drop"]()

    async def _listen(self, client: "Client") -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            began = self._loop.time()
            if (data := message.get("bytes")) is not None:
                self._service.queue.offer(client, self._thumbnail(data))
            else:
                await self._obey(client, message["text"])
            await asyncio.sleep(max(0.0, began + 1 / READ_RATE - self._loop.time()))

    def _thumbnail(self, data: bytes) -> Thumbnail:
        expected, size = self._service.message_bytes, self._service.queue.bundle.manifest.thumbnail
        if len(data) != expected:
            raise _Unfit(1007, f"a thumbnail's message of {len(data)} bytes, expected {expected}")
        return read_thumbnail(data, size)

    async def _obey(self, client: "Client", text: str) -> None:
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
        self._service.queue.fade_to(client, look, wanted.fade)
        await self._send_json({"type": "look", "name": wanted.name})

    def _hand_over(self, result: Result | HueglassError) -> None:
        message = self._packing.message(result) if isinstance(result, Result) else result
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
        self._service.queue.delivered(self._client)

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
