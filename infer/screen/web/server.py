"""The web server: uvicorn on a socket of ours, quiet, and gone soon after it is told to go."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from hueglass.infer.errors import UsageError

from .tls import Identity

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from .session import Service

SEND_BUFFER = 128 << 10
"""Of the system's, per client, in bytes: three grids. What lies there is old when it arrives."""
REQUEST_SECONDS = 10.0
"""Who has connected and not asked for anything by then is cut off."""
GRACE = 1
"""Seconds that requests under way have at the end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`, a name or an address; port 0 takes any that is free.

    UsageError if the host is not known or not ours, or the port is taken or not ours to take.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host} port {port}: {reason}, expected another host or port") from None


class WebServer:
    """`app`, whose sessions share `service`, on a socket that listens; over TLS if there is an `identity`."""

    def __init__(
        self, app: "ASGIApp", service: "Service", listening: socket.socket, identity: Identity | None = None
    ) -> None:
        import uvicorn

        self._service, self._socket = service, listening
        tls: dict[str, Any] = {} if identity is None else {"ssl_context_factory": lambda *_: identity.context}
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=_http_protocol(),
            ws=_websocket_protocol(),
            ws_max_size=service.message_bytes,
            ws_per_message_deflate=False,  # thumbnails do not shrink, and a bomb would grow
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=2 * service.max_clients + 32,
            timeout_graceful_shutdown=GRACE,
            **tls,
        )
        self._server = _server_class()(config, service)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def run(self) -> None:
        """Serves until `stop`, or in the main thread until Ctrl-C or SIGTERM."""
        try:
            with self._one_line_a_problem():
                self._server.run(sockets=[self._socket])
        finally:
            self._service.queue.close()
            self._socket.close()

    def stop(self) -> None:
        """Ends `run`, from any thread."""
        self._server.should_exit = True

    @contextmanager
    def _one_line_a_problem(self) -> Iterator[None]:
        """What goes wrong is a line on stderr, as everywhere; what ends because the server does is no problem."""
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine())
        handler.addFilter(lambda _: not self._server.should_exit)
        loggers = (logging.getLogger("hueglass.web"), logging.getLogger("uvicorn.error"), logging.getLogger("asyncio"))
        before = [(logger.level, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.addHandler(handler)
            logger.setLevel(logging.WARNING)
            logger.propagate = False
        try:
            yield
        finally:
            for logger, (level, propagate) in zip(loggers, before, strict=True):
                logger.removeHandler(handler)
                logger.setLevel(level)
                logger.propagate = propagate


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        reason = "" if error is None else f": {type(error).__name__}: {error}"
        text = f"hueglass: {record.getMessage().strip()}{reason}"
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _server_class() -> type[Any]:
    """uvicorn's server, whose end by a signal is no error, and waits for nobody who does not read."""
    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn's types are not read
        def __init__(self, config: uvicorn.Config, service: "Service") -> None:
            super().__init__(config)
            self._service = service

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            numbers = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self._end) for number in numbers}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

        def _end(self, number: int, frame: FrameType | None) -> None:
            self.handle_exit(number, frame)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            def drop_all() -> None:
                for session in list(self._service.sessions):
                    session.drop()

            asyncio.get_running_loop().call_later(GRACE / 2, drop_all)
            await super().shutdown(sockets)

    return Server


def _http_protocol() -> type[Any]:
    """uvicorn's HTTP, which does not wait for ever for a first request."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Protocol(H11Protocol):  # type: ignore[misc]  # uvicorn's types are not read
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._patience = self.loop.call_later(REQUEST_SECONDS, self._cut_off)

        def connection_lost(self, exc: Exception | None) -> None:
            self._patience.cancel()
            super().connection_lost(exc)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._patience.cancel()  # the transport is another protocol's from here on
            super().handle_websocket_upgrade(event)

        def _cut_off(self) -> None:
            if self.cycle is None:
                self.transport.abort()

    return Protocol


def _websocket_protocol() -> type[Any]:
    """uvicorn's WebSocket, which can be dropped, and whose `send` returns when the message has left."""
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
    from websockets.exceptions import InvalidState

    class Protocol(WebSocketsSansIOProtocol):  # type: ignore[misc]  # uvicorn's types are not read
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.app_state: dict[str, Any] = {**self.app_state, "drop": transport.abort}
            transport.set_write_buffer_limits(high=1, low=0)  # nothing is to lie here
            with suppress(OSError, AttributeError):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

        def connection_lost(self, exc: Exception | None) -> None:
            self.read_paused = False  # else uvicorn reads on over a TLS that is no more
            super().connection_lost(exc)

        async def send(self, message: Any) -> None:
            await super().send(message)
            await self.writable.wait()

        def shutdown(self) -> None:
            try:
                super().shutdown()
            except InvalidState:  # the client is saying goodbye at this very moment
                self.transport.close()

        def handle_ping(self) -> None:
            if self.writable.is_set():
                super().handle_ping()
            else:
                self.conn.data_to_send()  # who asks and does not read gets no answers that would pile up

    return Protocol
