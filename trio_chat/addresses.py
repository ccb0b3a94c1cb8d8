"""How addresses are told to people: where the daemon listens, and why it cannot."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import click

from trio_chat.endpoints import Endpoint, Speech, place

# Where to point telnet at when all addresses are listened on.
# S104 warns of servers that listen on all addresses; here nothing listens.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def announce(endpoints: Sequence[Endpoint]) -> None:
    places = ", ".join(endpoint.text for endpoint in endpoints)
    ways = [way for speech in ("line", "http") for way in _ways(endpoints, speech)[:1]]
    talk = f" - to talk to it: {', or '.join(ways)}" if ways else ""
    with suppress(OSError):  # whoever started us need not read on
        click.echo(f"trio_chat is listening on {places}{talk}")


def _ways(endpoints: Sequence[Endpoint], speech: Speech) -> list[str]:
    """How to reach those that take this unencrypted; TCP comes first."""
    found = [endpoint for endpoint in endpoints if speech in endpoint.accept]
    found.sort(key=lambda endpoint: bool(endpoint.unix))
    return [_way(endpoint, speech) for endpoint in found if speech == "line" or not endpoint.unix]


def _way(endpoint: Endpoint, speech: Speech) -> str:
    reached = REACHED_AT.get(endpoint.host, endpoint.host)
    if speech == "http":
        return f"a browser at http://{place(reached, endpoint.port)}/"
    return f"nc -U {endpoint.unix}" if endpoint.unix else f"telnet {reached} {endpoint.port}"


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
