"""Certificates for tests, and what trusts them."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """Issues certificates for the server on loopback into the same two files."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.cert, self.key, self.trusted = folder / "cert", folder / "key", folder / "ca"
        self._authority.cert_pem.write_to_path(self.trusted)
        self.issued: bytes = b""
        self.issue()

    def issue(self) -> None:
        """Put a new certificate and its key in place of the ones before."""
        made = self._authority.issue_cert("127.0.0.1", "localhost")
        self.key.unlink(missing_ok=True)
        self.key.touch(mode=0o600)
        made.private_key_pem.write_to_path(self.key)
        self.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        self.issued = ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())

    @property
    def settings(self) -> dict[str, str]:
        return {"tls_cert": str(self.cert), "tls_key": str(self.key)}

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--tls-cert", str(self.cert), "--tls-key", str(self.key))

    @property
    def trusting(self) -> ssl.SSLContext:
        """The settings of a client that trusts this authority."""
        context = ssl.create_default_context()
        self._authority.configure_trust(context)
        return context
