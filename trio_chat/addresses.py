"""How addresses are told to people: where the daemon listens, and why it cannot."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

import click

from trio_chat.settings import Settings

# Where to point telnet at when all addresses are listened on.
# S104 warns of servers that listen on all addresses; here nothing listens.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def announce(addresses: list[tuple[str, int]], settings: Settings) -> None:
    """Say in one line where it listens, and how to talk to it."""
    places = ", ".join(place(host, port) for host, port in addresses)
    tls = ", with TLS too" if settings.tls_cert else ""
    ways = _ways(*addresses[0], settings.http_hosts)
    with suppress(OSError):  # whoever started us need not read on
        click.echo(f"trio_chat is listening on {places}{tls} - to talk to it: {ways}")


def _ways(host: str, port: int, http_hosts: tuple[str, ...]) -> str:
    reached = REACHED_AT.get(host, host)
    telnet = f"telnet {reached} {port}"
    if not (ip_address(reached).is_loopback or reached in http_hosts):
        return f"{telnet} (browsers need --http-hosts {reached})"
    browser = f"{telnet}, or a browser at http://{place(reached, port)}/"
    if reached == host:
        return browser
    elsewhere = "from other machines by this one's address"
    named = "" if http_hosts else " (browsers need --http-hosts ADDRESS)"
    return f"{browser}, {elsewhere}{named}"


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def told(error: OSError | UnicodeError, settings: Settings) -> str:
    """Why it cannot listen, and what to do."""
    host, port = settings.host, settings.port
    where = place(host, port)
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return f"{host} is no host that is known here: choose another with --host"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: choose another with --port, or stop the other server"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: choose another with --host"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where} is not allowed to this user: choose a port above 1023 with --port"
    return f"cannot listen on {where}: {os.strerror(error.errno or 0)}"
