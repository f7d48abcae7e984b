"""What the command `serve` does: the web page, and the network behind it, until Ctrl-C."""

import importlib.util
import sys
import threading
import webbrowser
from pathlib import Path

from hueglass.commands.serve import ServeOptions
from hueglass.infer.errors import UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.model.look import embedded_looks, find_look
from hueglass.infer.scene.stylizer import StylizerSettings
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
from hueglass.previews import street_picture

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
    options: ServeOptions, bundle: ModelBundle, settings: StylizerSettings | None = None, page: Path = PAGE
) -> tuple[WebServer, str, Identity | None]:
    """The server, listening already, the link to its page, and what it shows over TLS.

    `settings` are how all clients are restyled. On a host that others can reach the way is TLS, with the options'
    certificate or one made on the spot, and the link holds a token. UsageError for missing packages, an unknown look,
    or a host and port that cannot be had; HueglassError for broken files.
    """
    require_packages()
    if options.key is not None and options.certificate is None:
        raise UsageError("--key without --certificate, expected both or neither")
    files, settings = read_page(page), settings or StylizerSettings()
    looks = [find_look(name, bundle.manifest) for name in options.look or embedded_looks()]
    names, identity = names_of(options.host), _identity(options)
    token = None if is_loopback(options.host) else new_token()
    hosts = frozenset({"localhost", "127.0.0.1", "::1", options.host.lower()})
    listening = listen(options.host, options.port)
    shelf = Shelf(bundle, looks, street_picture(), settings.segmenter)
    service = Service(PredictionQueue(bundle, settings), shelf, options.max_clients)
    app = web_app(service, files, Access(token, hosts, identity is not None))
    server = WebServer(app, service, listening, identity)
    return server, link_to(names[0], server.port, token, identity is not None), identity


def _identity(options: ServeOptions) -> Identity | None:
    """What the server shows over TLS; None for no TLS, to this machine alone."""
    if options.certificate is not None:
        return read_identity(options.certificate, options.key)
    return None if is_loopback(options.host) else make_identity(names_of(options.host))


def require_packages() -> None:
    """UsageError, with what installs them, if packages of the extra `web` are missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f'the web page needs {", ".join(missing)}: pip install "hueglass[web]"')


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
