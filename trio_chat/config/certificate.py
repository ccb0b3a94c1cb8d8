"""The certificate and key that the server speaks TLS with, read from their files."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from attrs import define, frozen

from trio_chat.config.files import read_file
from trio_chat.errors import SettingsError

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

# A chain of certificates, or a key, has far fewer.
MOST_BYTES: Final = 1 << 20

CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

# IRC has a name in ALPN, lines have none. A client that asks for another version of HTTP alone gets
# no answer to that, and may go on.
PROTOCOLS: Final = ["http/1.1", "irc"]


@frozen(eq=False)
class Certificate:
    """A certificate with its key; `fingerprint` is the SHA-256 that `openssl x509` shows."""

    context: ssl.SSLContext
    fingerprint: str


@define
class Tls:
    """The certificate for new connections, if there is one; a reload replaces it."""

    certificate: Certificate | None = None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the certificate; empty if there is none."""
        return self.certificate.fingerprint if self.certificate is not None else ""


class _EncryptedError(Exception):
    """A key needs a password."""


def read_certificate(settings: Settings) -> Certificate | None:
    """Read the certificate and key that the settings name; `None` if they name none.

    Raises `SettingsError`, with one line, if the files cannot be used.
    """
    if not settings.tls_cert:
        return None
    cert, key = Path(settings.tls_cert), Path(settings.tls_key)
    pem = CERTIFICATE.search(read_file("tls_cert", cert, MOST_BYTES, secret=False))
    if pem is None:
        raise SettingsError(f"tls_cert: {cert} holds no certificate in PEM")
    if not KEY.search(read_file("tls_key", key, MOST_BYTES, secret=True)):
        raise SettingsError(f"tls_key: {key} holds no private key in PEM")
    return Certificate(_context(cert, key), _fingerprint(pem[0]))


def _context(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # OpenSSL before version 3 let clients change the parameters of a connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except _EncryptedError:
        raise SettingsError(
            f"tls_key: {key} is encrypted, and the daemon cannot ask for a password: "
            f"decrypt it (openssl pkey -in {key} -out FILE)"
        ) from None
    except OSError as error:  # `ssl.SSLError` is one
        raise SettingsError(_why(error, cert, key)) from None
    return context


def _no_password() -> NoReturn:
    raise _EncryptedError


def _why(error: OSError, cert: Path, key: Path) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"tls_cert: cannot read {cert} and {key}: {error.strerror}"
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"tls_key: {key} is not the key of the certificate in {cert}"
    reason = (error.reason or "they are damaged").lower().replace("_", " ")
    return f"tls_cert: {cert} and {key} cannot be used: {reason}"


def _fingerprint(pem: bytes) -> str:
    try:
        certificate = ssl.PEM_cert_to_DER_cert(pem.decode())
    except ValueError:  # OpenSSL is less strict, and has taken it
        return "unknown"
    return hashlib.sha256(certificate).digest().hex(":").upper()
