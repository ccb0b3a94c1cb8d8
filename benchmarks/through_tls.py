"""TLS for `fanout`, which speaks none: haproxy takes its connections and has TLS with the server.

haproxy's CPU time is its own, and does not count. It does take a processor from the others, so that
waits through it are longer than the server's own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers import BUILD, STOP_SECONDS, found, free_port, wait_until_up

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
    """A certificate for nobody, and its key (P-256, as most have today); both files."""
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
    """Have a port that leads through TLS to this one, for the length of the block."""
    front = free_port()
    config = BUILD / "through_tls.cfg"
    config.write_text(CONFIG.format(front=front, port=port), encoding="utf-8")
    program = found("haproxy", "needs haproxy: apt-get install haproxy")
    with (BUILD / "through_tls.log").open("wb") as log:
        process = subprocess.Popen([program, "-f", config], stdout=log, stderr=log)
    try:
        wait_until_up(process, front)
        yield front
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
