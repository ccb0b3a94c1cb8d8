"""Addresses for people: where the daemon listens, what it takes there, and why it cannot."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Final

import click

from trio_chat.config.endpoints import (
    REACHED_AT,
    UNIX_ADDRESS,
    Endpoint,
    Speech,
    is_loopback,
    place,
)
from trio_chat.config.settings import Settings

HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
# The words for the dialects that an address takes.
SHOWN: Final[dict[Speech, str]] = {
    "line": "lines",
    "irc": "IRC",
    "http": "WebSocket and the page",
}


def announce(endpoints: Sequence[Endpoint], settings: Settings) -> None:
    """Print a line for each endpoint: where it is, what it takes, and how to talk to it."""
    for endpoint in sorted(endpoints, key=lambda endpoint: bool(endpoint.unix)):
        ways = _ways(endpoint, settings)
        talk = f" - to talk to it: {ways}" if ways else ""
        taken = f"{_taken(endpoint, settings)}{_proxies(endpoint, settings)}"
        click.echo(f"trio_chat is listening on {endpoint.place} for {taken}{talk}")


def _taken(endpoint: Endpoint, settings: Settings) -> str:
    """Say what an endpoint takes, without TLS and with it."""
    has_tls = _has_tls(endpoint, settings)
    plain = [text for speech, text in SHOWN.items() if speech in endpoint.accept]
    others = [text for text in SHOWN.values() if text not in plain]
    if not plain:
        return f"{', '.join(others)}, with TLS only"
    with_tls = f", with TLS for {', '.join(others)} too" if others else ", with TLS or without"
    return f"{', '.join(plain)}{with_tls if has_tls else ''}"


def _proxies(endpoint: Endpoint, settings: Settings) -> str:
    trusted = [
        proxy
        for proxy in settings.trusted_proxies
        if (proxy == UNIX_ADDRESS) == bool(endpoint.unix)
    ]
    return f", with PROXY headers from {', '.join(trusted)}" if trusted else ""


def _has_tls(endpoint: Endpoint, settings: Settings) -> bool:
    return "tls" in endpoint.accept and bool(settings.tls_cert)


def _ways(endpoint: Endpoint, settings: Settings) -> str:
    """Say how to reach an endpoint: by telnet or nc, and with a browser."""
    has_tls = _has_tls(endpoint, settings)
    host, port, hosts = endpoint.host, endpoint.port, settings.http_hosts
    if endpoint.unix:
        return f"nc -U {endpoint.unix}" if "line" in endpoint.accept else ""
    reached = REACHED_AT.get(host, host)
    public = hosts[0] if has_tls and hosts and not is_loopback(host) else ""
    lines = []
    if "line" in endpoint.accept:
        lines = [f"telnet {reached} {port}"]
    elif has_tls:
        lines = [f"trio-chat connect --tls {place(public or reached, port)}"]
    if not has_tls and "http" not in endpoint.accept:
        return "".join(lines)
    if public:
        return ", or ".join([*lines, f"a browser at {_url(public, port, has_tls=True)}"])
    if not (is_loopback(reached) or reached in hosts):
        return f"{''.join(lines)} (browsers need --http-hosts {reached})".strip()
    ways = ", or ".join([*lines, f"a browser at {_url(reached, port, has_tls=has_tls)}"])
    if reached == host:
        return ways
    named = "" if hosts else " (browsers need --http-hosts ADDRESS)"
    return f"{ways}, from other machines by this one's address{named}"


def _url(host: str, port: int, *, has_tls: bool) -> str:
    scheme, usual = ("https", HTTPS_PORT) if has_tls else ("http", HTTP_PORT)
    where = place(host, port)
    return f"{scheme}://{where.removesuffix(f':{usual}')}/"


def told(
    error: OSError | UnicodeError, endpoint: Endpoint, *, alone: bool, port: str = "--port"
) -> str:
    """Say why the daemon cannot listen there, and what to do.

    `alone`: the endpoint comes from the setting `host` and from the one with the flag `port`, not
    from `listen`.
    """
    host, where = endpoint.host, endpoint.place
    with_host = " with --host" if alone else " in listen"
    with_port = f" with {port}" if alone else " in listen"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"{host} is not a known host: choose another{with_host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: choose another{with_port}, or stop the other server"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine: choose another{with_host}"
    if error.errno in (errno.EACCES, errno.EPERM) and not endpoint.unix:
        return f"{where} is not allowed to this user: choose a port above 1023{with_port}"
    return f"cannot listen on {where}: {os.strerror(error.errno or 0)}"
