"""Certificates, host names, and what is printed of them."""

import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.web_server import Served

from hueglass.commands.serve import ServeOptions
from hueglass.infer.errors import HueglassError, UsageError
from hueglass.infer.model.bundle import ModelBundle
from hueglass.infer.screen.web import tls
from hueglass.jobs import serve as serve_job


def test_ones_own_certificate(start: Callable[..., Served], tmp_path: Path) -> None:
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    for path, data in zip((certificate, key), tls._self_signed(["127.0.0.1"]), strict=True):
        path.write_bytes(data)
    served = start(certificate=certificate, key=key)
    assert served.link == f"https://127.0.0.1:{served.port}/"  # this machine alone: no token
    assert served.identity is not None
    assert ssl.get_server_certificate(("127.0.0.1", served.port)).strip() == certificate.read_text().strip()
    other = tmp_path / "other.key"
    other.write_bytes(tls._self_signed(["127.0.0.1"])[1])
    for wrong in (other, certificate):
        with pytest.raises(HueglassError, match=r"own\.pem: cannot be used with the key"):
            tls.read_identity(certificate, wrong)
    with pytest.raises(HueglassError, match="cannot be used, expected PEM"):
        tls.read_identity(key, None)
    with pytest.raises(UsageError, match="no such file"):
        tls.read_identity(tmp_path / "nothing.pem", key)
    with pytest.raises(UsageError, match="--key without --certificate"):
        serve_job.build_server(ServeOptions(port=0, key=key), ModelBundle())


def test_a_key_with_a_password_is_not_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    certificate, key = tls._self_signed(["localhost"])
    lock = serialization.BestAvailableEncryption(b"secret")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    locked = serialization.load_pem_private_key(key, None).private_bytes(*form)
    path = tmp_path / "locked.pem"
    path.write_bytes(locked + certificate)
    with pytest.raises(HueglassError, match="without a password"):
        tls.read_identity(path, None)


def test_which_hosts_are_this_machine_alone() -> None:
    assert all(tls.is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST"))
    assert not any(tls.is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.2", "localhost.example", ""))
    assert tls.names_of("house.example") == ["house.example"]
    assert {"localhost", "127.0.0.1"} <= set(tls.names_of("0.0.0.0"))


def test_what_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    link = serve_job.link_to("fd00::7", 8787, "T0ken", True)
    assert link == "https://[fd00::7]:8787/?token=T0ken"
    identity = tls.make_identity(["127.0.0.1"])
    serve_job.announce(link, identity)
    out = capsys.readouterr().out
    assert out.splitlines() == [link, f"certificate SHA-256 {identity.fingerprint}", "Ctrl-C ends it."]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    serve_job.announce(link, identity)
    assert tls.qr_code(link) in capsys.readouterr().out
    assert tls.qr_code(link) != tls.qr_code(link + "x")
    assert len(tls.qr_code(link).splitlines()) > 12
