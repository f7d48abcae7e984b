"""What the command `serve` does: the web page, and the network behind it, until Ctrl-C."""

import importlib.util
import sys
import threading
import webbrowser
from pathlib import Path

import numpy as np

from hueglass.datasets.street.film import render_street, street_scene
from hueglass.infer.errors import UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import Look, embedded_looks, find_look
from hueglass.infer.scene.stylizer import Sight
from hueglass.infer.screen.web.app import web_app
from hueglass.infer.screen.web.clients import PredictionQueue
from hueglass.infer.screen.web.guard import Access
from hueglass.infer.screen.web.page_files import PAGE, read_page
from hueglass.infer.screen.web.server import WebServer, listen
from hueglass.infer.screen.web.session import Service
from hueglass.infer.screen.web.shelf import Shelf
from hueglass.infer.screen.web.tls import (
    Identity,
    is_loopback,
    make_identity,
    names_of,
    new_token,
    qr_code,
    read_identity,
)

HOST, PORT = "127.0.0.1", 8787
MAX_CLIENTS = 32
PREVIEW = (480, 270)
"""Width and height of the previews."""
_NEEDED = ("starlette", "uvicorn", "websockets", "cryptography", "segno")


def serve(server: WebServer, link: str, identity: Identity | None, open_browser: bool) -> None:
    """Serve the page until Ctrl-C or SIGTERM; print its link first, and open it in a browser if wanted. The first three
    are those of `build_server`."""
    announce(link, identity)
    if open_browser:
        # Slow to return where a browser is started, which is not to hold up who has the link already.
        threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
    server.run()


def build_server(
    host: str,
    port: int,
    looks: list[str],
    bundle: ModelBundle,
    certificate: Path | None = None,
    key: Path | None = None,
    max_clients: int = MAX_CLIENTS,
    sight: Sight | None = None,
    page: Path = PAGE,
) -> tuple[WebServer, str, Identity | None]:
    """The server, listening already, the link to its page, and what it shows over TLS.

    `looks` are names or .look files, all the embedded ones where none is given; `sight` is how all clients are seen. On
    a `host` that others can reach the way is TLS, with `certificate` and `key` or a certificate made on the spot, and
    the link holds a token. UsageError for missing packages, an unknown look, or a host and port that cannot be had;
    HueglassError for broken files.
    """
    require_packages()
    if key is not None and certificate is None:
        raise UsageError("--key without --certificate, expected both or neither")
    files = read_page(page)
    chosen: list[Look] = [find_look(name, bundle.manifest) for name in looks or embedded_looks()]
    names, sight = names_of(host), sight or Sight()
    identity = None
    if certificate is not None:
        identity = read_identity(certificate, key)
    elif not is_loopback(host):
        identity = make_identity(names)
    token = None if is_loopback(host) else new_token()
    hosts = frozenset({"localhost", "127.0.0.1", "::1", host.lower()})
    listening = listen(host, port)
    shelf = Shelf(bundle, chosen, street_picture(), sight.segmenter)
    service = Service(PredictionQueue(bundle, sight), shelf, max_clients)
    app = web_app(service, files, Access(token, hosts, identity is not None))
    server = WebServer(app, service, listening, identity)
    return server, link_to(names[0], server.port, token, identity is not None), identity


def require_packages() -> None:
    """UsageError, with what installs them, if packages of the extra `web` are missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f'the web page needs {", ".join(missing)}: pip install "hueglass[web]"')


def street_picture() -> np.ndarray:
    """The generated street, of which previews are made: (H, W, 3) uint8 sRGB."""
    return render_street(street_scene(0), 0.0, *PREVIEW)[0]


def link_to(name: str, port: int, token: str | None, secure: bool) -> str:
    """The address of the page, with the token that lets its reader in."""
    host = f"[{name}]" if ":" in name else name
    return f"{'https' if secure else 'http'}://{host}:{port}/{'' if token is None else f'?token={token}'}"


def announce(link: str, identity: Identity | None) -> None:
    """Say where the page is; to a terminal, if others can reach it, as a QR code as well."""
    print(link)
    if identity is not None:
        print(f"certificate SHA-256 {identity.fingerprint}")
    if "token=" in link and sys.stdout.isatty():
        print(qr_code(link))
    print("Ctrl-C ends it.", flush=True)
