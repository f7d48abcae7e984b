"""Who is let in, by what name, from which page, with which token; and what every answer carries."""

import contextlib
import hashlib
import http.client
import json
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.web_server import Served, connect, exceptions, pictures, predicted, trusting, trusting_of_two_threads

from hueglass.infer.screen.web import tls


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
