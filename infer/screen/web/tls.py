"""Who the server is and who may use it: certificate, fingerprint, token, and the link as a QR code.

Browsers give cameras to pages over HTTPS alone. A certificate made on the spot is in no browser's list: its fingerprint
is printed, to be compared with what the browser shows.
"""

import datetime
import hashlib
import hmac
import io
import ipaddress
import os
import secrets
import socket
import ssl
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hueglass.infer.errors import HueglassError
from hueglass.infer.files import existing_file

DAYS = 90
"""So long a certificate made on the spot is valid: it is made anew at each start."""
_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True)
class Identity:
    """What a TLS server shows, and the SHA-256 of its certificate, as browsers write it: AB:CD:..."""

    context: ssl.SSLContext
    fingerprint: str


def read_identity(certificate: Path, key: Path | None) -> Identity:
    """From PEM files; without `key`, the certificate's file holds the key as well.

    UsageError for a missing file, HueglassError for files that are no certificate and its key.
    """
    for path in (certificate, key):
        if path is not None:
            existing_file(path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # The password is given so that OpenSSL does not ask for one: a key that needs it is not taken.
        context.load_cert_chain(certificate, key, password="-")
        return Identity(context, fingerprint(certificate.read_text(encoding="ascii")))
    except (ssl.SSLError, OSError, ValueError):
        holds = "" if key is None else f" with the key {key}"
        raise HueglassError(f"{certificate}: cannot be used{holds}, expected PEM files without a password") from None


def make_identity(names: Sequence[str]) -> Identity:
    """A new key and a certificate signed with it, for host names and addresses. The key is kept in memory alone: the
    file that OpenSSL reads it from is readable for us only, and gone when this returns."""
    certificate, key = _self_signed(names)
    with tempfile.TemporaryDirectory(prefix="hueglass-") as folder:
        path = Path(folder) / "identity.pem"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key + certificate)
        return read_identity(path, None)


def _self_signed(names: Sequence[str]) -> tuple[bytes, bytes]:
    """Certificate and key, PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def general(name: str) -> x509.GeneralName:
        with suppress(ValueError):
            return x509.IPAddress(ipaddress.ip_address(name))
        return x509.DNSName(name.encode("idna").decode("ascii"))

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hueglass")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # of two clocks, one is behind
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectAlternativeName([general(name) for name in dict.fromkeys(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    kind, form, lock = (
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate.public_bytes(kind), key.private_bytes(kind, form, lock)


def fingerprint(pem: str) -> str:
    """SHA-256 of the first certificate in a PEM text. ValueError if there is none."""
    start = pem.find("-----BEGIN CERTIFICATE-----")
    der = ssl.PEM_cert_to_DER_cert(pem[max(start, 0) : pem.find(_END) + len(_END)])
    return hashlib.sha256(der).digest().hex(":").upper()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    if host.lower() == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def names_of(host: str) -> list[str]:
    """Under which names and addresses a server on `host` is reached, the best for a link first."""
    if not is_wildcard(host):
        return [host]
    found = [_outward_address(), *_own_addresses(), socket.gethostname(), "localhost", "127.0.0.1"]
    return list(dict.fromkeys(name for name in found if name))


def is_wildcard(host: str) -> bool:
    """Whether it stands for all addresses of this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def _outward_address() -> str:
    """The address that other machines see; "" without a network. Nothing is sent: only a route is looked up."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # of the block for documentation
        return str(probe.getsockname()[0])
    return ""


def _own_addresses() -> list[str]:
    with suppress(OSError):
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        return [str(address[0]).split("%")[0] for *_, address in found]
    return []


def new_token() -> str:
    """192 random bits, fit for a link."""
    return secrets.token_urlsafe(24)


def same_token(given: str, expected: str) -> bool:
    """Compared in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def qr_code(link: str) -> str:
    """The link as a QR code of half blocks, for a terminal."""
    import segno

    text = io.StringIO()
    segno.make(link, micro=False).terminal(text, compact=True)
    return text.getvalue()
