"""How addresses are told to people: where the daemon listens, and why it cannot."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

import click

from trio_chat.config.endpoints import REACHED_AT, Endpoint, is_loopback, place
from trio_chat.config.settings import Settings


def announce(endpoints: Sequence[Endpoint], settings: Settings) -> None:
    """Say in one line where it listens, and how to talk to it."""
    places = ", ".join(endpoint.text for endpoint in endpoints)
    tls = ", with TLS too" if settings.tls_cert else ""
    ways = _ways(endpoints, settings.http_hosts)
    talk = f" - to talk to it: {ways}" if ways else ""
    click.echo(f"trio_chat is listening on {places}{tls}{talk}")


def _ways(endpoints: Sequence[Endpoint], http_hosts: tuple[str, ...]) -> str:
    """How to reach those that take lines, and HTTP, unencrypted; TCP comes first."""
    by_tcp = sorted(endpoints, key=lambda endpoint: bool(endpoint.unix))
    lines = [_line_way(endpoint) for endpoint in by_tcp if "line" in endpoint.accept][:1]
    for endpoint in by_tcp:
        if "http" in endpoint.accept and not endpoint.unix:
            return _with_browser(lines, endpoint, http_hosts)
    return "".join(lines)


def _line_way(endpoint: Endpoint) -> str:
    if endpoint.unix:
        return f"nc -U {endpoint.unix}"
    return f"telnet {REACHED_AT.get(endpoint.host, endpoint.host)} {endpoint.port}"


def _with_browser(lines: list[str], endpoint: Endpoint, http_hosts: tuple[str, ...]) -> str:
    host, port = endpoint.host, endpoint.port
    reached = REACHED_AT.get(host, host)
    if not (is_loopback(reached) or reached in http_hosts):
        return f"{''.join(lines)} (browsers need --http-hosts {reached})".strip()
    browser = ", or ".join([*lines, f"a browser at http://{place(reached, port)}/"])
    if reached == host:
        return browser
    elsewhere = "from other machines by this one's address"
    named = "" if http_hosts else " (browsers need --http-hosts ADDRESS)"
    return f"{browser}, {elsewhere}{named}"


def told(error: OSError | UnicodeError, endpoint: Endpoint, *, alone: bool) -> str:
    """Why it cannot listen there, and what to do.

    `alone`: it is what the settings `host` and `port` say.
    """
    host, where = endpoint.host, endpoint.place
    with_host = " with --host" if alone else " in listen"
    with_port = " with --port" if alone else " in listen"
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"{host} is no host that is known here: choose another{with_host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: choose another{with_port}, or stop the other server"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: choose another{with_host}"
    if error.errno in (errno.EACCES, errno.EPERM) and not endpoint.unix:
        return f"{where} is not allowed to this user: choose a port above 1023{with_port}"
    return f"cannot listen on {where}: {os.strerror(error.errno or 0)}"
