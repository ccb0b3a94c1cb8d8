"""One run of the daemon: from its settings to its exit code, signals and start line included.

Exit codes: 0 stopped as asked, 2 cannot listen, 128 and the signal's number when a second signal
ended it at once (as shells count: 130 for SIGINT, 143 for SIGTERM).
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import click
import trio
from attrs import define, field

from trio_chat import logs
from trio_chat.server import open_chat
from trio_chat.settings import Settings

CANNOT_LISTEN: Final = 2
KILLED_BY: Final = 128

# Descriptors besides those of clients: standard streams, listeners, Trio's own, a file at times.
SPARE_FILES: Final = 32

# Where to point telnet at when all addresses are listened on.
# S104 warns of servers that listen on all addresses; here nothing listens.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

logger = logging.getLogger("trio_chat")


def run(settings: Settings) -> int:
    """Serve until stopped; the exit code."""
    logs.configure(settings.log_level, settings.log_format)
    allow_open_files(settings.max_clients)
    lighten_collections()
    daemon = Daemon(settings)
    trio.run(daemon.serve)
    return daemon.exit_code


def lighten_collections() -> None:
    """Have the garbage collector come by more rarely: what a chat makes, it frees by itself.

    At the default threshold it looks at every 700 new objects, which are a few dozen messages, and
    takes about a tenth of the time of a busy server.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def allow_open_files(clients: int) -> None:
    """Take all the descriptors that may be had, and warn if they are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and soft < clients + SPARE_FILES:
        advice = f"raise the limit (ulimit -n) or set max_clients to {max(1, soft - SPARE_FILES)}"
        logger.warning("%d open files are too few for max_clients %d: %s", soft, clients, advice)


@define
class Daemon:
    """A chat that listens until a signal comes."""

    settings: Settings
    exit_code: int = 0
    stopping: trio.Event = field(factory=trio.Event)

    async def serve(self) -> None:
        """Serve until stopped."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, signals, nursery.cancel_scope)
                async with open_chat(self.settings) as chat:
                    try:
                        addresses = await chat.listen()
                    except (OSError, UnicodeError) as error:
                        self.exit_code = CANNOT_LISTEN
                        click.echo(f"trio-chat: {told(error, self.settings)}", err=True)
                    else:
                        announce(addresses)
                        await self.stopping.wait()  # then leaving the block stops gracefully
                nursery.cancel_scope.cancel()

    async def watch(self, signals: AsyncIterator[int], at_once: trio.CancelScope) -> None:
        """Stop gracefully at the first signal and at once at the second."""
        number = await anext(signals)
        logger.info("stopping", extra={"signal": signal.Signals(number).name})
        self.stopping.set()
        number = await anext(signals)
        logger.warning("stopping at once", extra={"signal": signal.Signals(number).name})
        self.exit_code = KILLED_BY + number
        at_once.cancel()


def announce(addresses: list[tuple[str, int]]) -> None:
    places = ", ".join(place(host, port) for host, port in addresses)
    host, port = addresses[0]
    telnet = f"telnet {REACHED_AT.get(host, host)} {port}"
    with suppress(OSError):  # whoever started us need not read on
        click.echo(f"trio_chat is listening on {places} - to talk to it: {telnet}")


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
