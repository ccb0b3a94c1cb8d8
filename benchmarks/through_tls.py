"""TLS for `fanout`, which has none: haproxy adds it between `fanout` and the server.

haproxy's CPU time does not count. But haproxy needs a core, so the latencies through it are longer
than the server's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers import BUILD, found, free_port, serving

CONFIG = """
global
    maxconn 4000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen tls
    bind 127.0.0.1:{front}
    server chat 127.0.0.1:{port} ssl verify none
"""


def certificate() -> tuple[Path, Path]:
    """Make a certificate and its key (P-256, the usual kind); gives both files."""
    cert, key = BUILD / "tls.crt", BUILD / "tls.key"
    openssl = found("openssl", "needs openssl")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)
    return cert, key


@contextmanager
def through_tls(port: int) -> Iterator[int]:
    """Give a port that leads through TLS to this one, for the length of the block."""
    front = free_port()
    config = BUILD / "through_tls.cfg"
    config.write_text(CONFIG.format(front=front, port=port), encoding="utf-8")
    program = found("haproxy", "needs haproxy: apt-get install haproxy")
    with serving([program, "-f", config], front, BUILD / "through_tls.log"):
        yield front
