"""One run of the daemon: from its settings to its exit code, signals and start line included.

Exit codes: 0 stopped as asked, 2 cannot listen or use its file, 128 and the signal's number when a
second signal ended it at once (as shells count: 130 for SIGINT, 143 for SIGTERM).
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
import platformdirs
import trio
from attrs import define, evolve, field

from trio_chat import logs, systemd
from trio_chat.errors import SettingsError, StoreError
from trio_chat.server import Chat, open_chat
from trio_chat.settings import SQLITE, Settings

CANNOT_START: Final = 2
KILLED_BY: Final = 128

# Descriptors besides those of clients: standard streams, listeners, Trio's own, a file at times.
SPARE_FILES: Final = 32

# Where to point telnet at when all addresses are listened on.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

logger = logging.getLogger("trio_chat")


def run(settings: Settings) -> int:
    """Serve until stopped; the exit code."""
    logs.configure(settings.log_level, settings.log_format)
    try:
        sockets = systemd.sockets(os.environ)
    except SettingsError as error:
        click.echo(f"trio-chat: {error}", err=True)
        return CANNOT_START
    allow_open_files(settings.max_clients)
    lighten_collections()
    if settings.store == "auto":
        port = sockets[0].getsockname()[1] if sockets else settings.port
        settings = evolve(settings, store=own_store(port))
    daemon = Daemon(settings, sockets)
    trio.run(daemon.serve)
    return daemon.exit_code


def own_store(port: int) -> str:
    """Where rooms are kept if nobody says: a file in the user's state directory, made if missing.

    It is named after the port, so that each daemon has its own. One on any free port has none that
    it could come back to, and keeps them in memory.
    """
    if not port:
        return "memory"
    directory = platformdirs.user_state_path("trio-chat")
    with suppress(OSError):  # whoever opens the file will say it
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"{SQLITE}{directory / f'{port}.db'}"


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
    """A chat that listens until a signal comes: on the sockets it was handed, if any."""

    settings: Settings
    sockets: list[socket.socket]
    exit_code: int = 0
    stopping: trio.Event = field(factory=trio.Event)

    async def serve(self) -> None:
        """Serve until stopped."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, signals, nursery.cancel_scope)
                try:
                    await self.chat()
                except StoreError as error:
                    self.fail(str(error))
                nursery.cancel_scope.cancel()

    async def chat(self) -> None:
        """Run the chat until it is to stop; leaving its block stops it gracefully."""
        async with open_chat(self.settings) as chat:
            try:
                addresses = await self.listen(chat)
            except (OSError, UnicodeError) as error:
                self.fail(told(error, self.settings))
            else:
                logger.info("rooms are kept", extra={"store": self.settings.store})
                announce(addresses)
                await self.attend(chat, addresses)

    async def listen(self, chat: Chat) -> list[tuple[str, int]]:
        """Listen on what was handed over, or else where the settings say; the addresses."""
        if not self.sockets:
            return await chat.listen()
        addresses = chat.listen_on(self.sockets)
        # Neither host nor port says so now.
        logger.info("listening on what was handed over", extra={"addresses": places(addresses)})
        return addresses

    async def attend(self, chat: Chat, addresses: list[tuple[str, int]]) -> None:
        """Wait until a stop is wanted, and let systemd know what it wants to know."""
        await systemd.ready(f"listening on {places(addresses)}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(systemd.keep_alive, chat.beat)
            await self.stopping.wait()
            nursery.cancel_scope.cancel()
        await systemd.stopping()

    def fail(self, problem: str) -> None:
        """End with one line that says why it cannot start."""
        self.exit_code = CANNOT_START
        click.echo(f"trio-chat: {problem}", err=True)

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
    host, port = addresses[0]
    telnet = f"telnet {REACHED_AT.get(host, host)} {port}"
    with suppress(OSError):  # whoever started us need not read on
        click.echo(f"trio_chat is listening on {places(addresses)} - to talk to it: {telnet}")


def places(addresses: list[tuple[str, int]]) -> str:
    return ", ".join(place(host, port) for host, port in addresses)


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
