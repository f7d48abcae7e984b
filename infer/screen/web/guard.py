"""The guard before the web application: who is let in, and what every answer carries.

Starlette is imported inside functions: it is an extra, and the rest of the runtime does without.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .headers import SERVER_HEADERS
from .tls import same_token

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "hueglass"


@dataclass(frozen=True)
class Access:
    """Who is let in: whoever has the `token`; without one, whoever asks for one of the host names `hosts` (a page
    of another origin may point a name of its own at this machine). `secure` says that the way is TLS."""

    token: str | None
    hosts: frozenset[str]
    secure: bool


class Guard:
    """Lets in whom `access` allows, and gives every answer SERVER_HEADERS. An ASGI application around `app`."""

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
                headers.update(SERVER_HEADERS)
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
