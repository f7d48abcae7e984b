"""The server's beginning and end: what cannot be served, signals, and requests that do not come."""

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.web_server import Served, deaf_client, exceptions, message, pictures, predicted, process

from hueglass.commands.serve import ServeOptions
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.screen.web import server
from hueglass.infer.screen.web.server import listen
from hueglass.jobs import serve as serve_job


def test_what_cannot_be_served_is_one_line(
    bundle: ModelBundle, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen on"):
        listen("127.0.0.1", taken.getsockname()[1])
    for host in ("no-such-host.invalid", "x" * 300):
        with pytest.raises(UsageError, match="cannot listen"):
            listen(host, 0)
    with pytest.raises(UsageError, match="no look named 'nothing'"):
        serve_job.build_server(ServeOptions(port=0, look=["nothing"]), bundle, page=page)
    with pytest.raises(HueglassError, match=r"no index\.html"):
        serve_job.build_server(ServeOptions(port=0), bundle, page=tmp_path)
    monkeypatch.setattr(serve_job, "_NEEDED", ("no_such_package",))
    with pytest.raises(UsageError, match=r'no_such_package: pip install "hueglass\[web\]"'):
        serve_job.build_server(ServeOptions(port=0), bundle)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_soon_and_quietly_with_clients_connected(number: signal.Signals) -> None:
    with process() as (running, served), served.client() as client, deaf_client(served) as send:
        for i in range(60):  # more than there is room for the answers
            send(message(i, i / 60, pictures(0, 1)[0]))
        predicted(client, 1, 0.0, pictures(0, 1)[0])
        with socket.create_connection(("127.0.0.1", served.port)) as half:
            half.sendall(b"POST /api/looks HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n")
            half.sendall(b"Content-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n")
            time.sleep(0.2)
            began = time.monotonic()
            running.send_signal(number)
            _, err = running.communicate(timeout=10)
            took = time.monotonic() - began
        assert running.returncode == 0
        assert err == ""
        assert took < 3
        with pytest.raises(exceptions.ConnectionClosed) as closed:
            client.recv(5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: 127"])
def test_a_request_that_does_not_come_is_given_up(
    start: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.5)
    served = start()
    with socket.create_connection(("127.0.0.1", served.port), timeout=4) as sock, served.client() as client:
        sock.sendall(begun)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""
        time.sleep(0.6)
        predicted(client, 1, 0.0, pictures(0, 1)[0])  # who is connected stays
