"""One run of the daemon: from its settings to its exit code, signals and start line included.

Exit codes: 0 stopped as asked, 2 cannot listen, use its file or have its control socket, 128 and
the signal's number when a second signal ended it at once (as shells count: 130 for SIGINT, 143 for
SIGTERM).
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import platformdirs
import trio
from attrs import define, evolve, field

from trio_chat import logs, systemd
from trio_chat.control import serve_control
from trio_chat.control_path import claim, default_path
from trio_chat.errors import ChatClosed, ControlError, SettingsError, StoreError
from trio_chat.operations import Operations
from trio_chat.server import Chat, open_chat
from trio_chat.settings import SQLITE, Settings

CANNOT_START: Final = 2
KILLED_BY: Final = 128

# Descriptors besides those of clients: standard streams, listeners, Trio's own, a file at times.
SPARE_FILES: Final = 32

# Where to point telnet at when all addresses are listened on.
# S104 warns of servers that listen on all addresses; here nothing listens.
REACHED_AT: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

STDIN: Final = 0
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

logger = logging.getLogger("trio_chat")


def run(settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve until stopped; the exit code.

    `read` gives the settings anew for a reload, or raises `SettingsError`.
    """
    configure(settings)
    try:
        sockets = systemd.sockets(os.environ)
    except SettingsError as error:
        click.echo(f"trio-chat: {error}", err=True)
        return CANNOT_START
    lighten_collections()
    port = sockets[0].getsockname()[1] if sockets else settings.port
    daemon = Daemon(
        with_store(settings, port),
        lambda: with_store(read(), port),
        sockets,
        in_terminal=in_foreground(),
    )
    trio.run(daemon.serve)
    return daemon.exit_code


def configure(settings: Settings) -> None:
    """Take those settings that are the process's, not the chat's; a reload does so again."""
    logs.configure(settings.log_level, settings.log_format)
    allow_open_files(settings.max_clients)


def with_store(settings: Settings, port: int) -> Settings:
    """These settings, saying where rooms are kept if they leave that to the daemon.

    That is a file in the user's state directory, which is made if it is missing. It is named after
    the port, so that each daemon has its own. One on any free port has none that it could come back
    to, and keeps rooms in memory.
    """
    if settings.store != "auto":
        return settings
    if not port:
        return evolve(settings, store="memory")
    directory = platformdirs.user_state_path("trio-chat")
    with suppress(OSError):  # whoever opens the file will say it
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return evolve(settings, store=f"{SQLITE}{directory / f'{port}.db'}")


def in_foreground() -> bool:
    """Whether someone sits at a terminal and watches this process run."""
    try:
        return os.tcgetpgrp(STDIN) == os.getpgrp()
    except OSError:
        return False


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
    """A chat that listens until a signal or the control socket stops it.

    `sockets` are those it was handed to listen on, if any. `in_terminal`: it was started in the
    foreground of a terminal, whose end sends SIGHUP too.
    """

    settings: Settings
    read: Callable[[], Settings]
    sockets: list[socket.socket] = field(factory=list)
    in_terminal: bool = False
    exit_code: int = 0
    stopping: trio.Event = field(factory=trio.Event)
    # The chat has ended, and what it held is free.
    ended: trio.Event = field(factory=trio.Event)
    # There is once it listens.
    operations: Operations | None = None
    listening: trio.Event = field(factory=trio.Event)

    async def serve(self) -> None:
        """Serve until stopped."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.watch, signals, nursery)
                await self.chat()
                nursery.cancel_scope.cancel()

    async def chat(self) -> None:
        """Run the chat until it is to stop; leaving its block stops it gracefully."""
        # The control socket outlives the chat: who asked it to stop waits there.
        async with trio.open_nursery() as control:
            try:
                async with open_chat(self.settings) as chat:
                    await self.serve_clients(chat, control)
            except (StoreError, SettingsError) as error:
                self.fail(str(error))
            finally:
                self.ended.set()

    async def serve_clients(self, chat: Chat, control: trio.Nursery) -> None:
        """Listen, and return when the chat is to stop."""
        try:
            addresses = await self.listen(chat)
        except (OSError, UnicodeError) as error:
            self.fail(told(error, self.settings))
            return
        places = [place(host, port) for host, port in addresses]
        self.operations = Operations(chat, places, self.read, configure, self.stopping)
        try:
            await self.open_control(addresses[0][1], self.operations, control)
        except ControlError as error:
            self.fail(str(error))
            return
        logger.info("rooms are kept", extra={"store": self.settings.store})
        announce(addresses)
        await self.attend(chat, places)

    async def listen(self, chat: Chat) -> list[tuple[str, int]]:
        """Listen on what was handed over, or else where the settings say; the addresses."""
        if not self.sockets:
            return await chat.listen()
        addresses = chat.listen_on(self.sockets)
        # Neither host nor port says so now.
        places = ", ".join(place(host, port) for host, port in addresses)
        logger.info("listening on what was handed over", extra={"addresses": places})
        return addresses

    async def attend(self, chat: Chat, places: list[str]) -> None:
        """Wait until a stop is wanted, and let systemd know what it wants to know."""
        await systemd.ready(f"listening on {', '.join(places)}")
        self.listening.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(systemd.keep_alive, chat.beat)
            nursery.start_soon(chat.measure_lateness)
            await self.stopping.wait()
            nursery.cancel_scope.cancel()
        await systemd.stopping()

    def fail(self, problem: str) -> None:
        """End with one line that says why it cannot serve."""
        self.exit_code = CANNOT_START
        click.echo(f"trio-chat: {problem}", err=True)

    # --- what its owner asks of it ----------------------------------------------------------------

    async def open_control(self, port: int, operations: Operations, nursery: trio.Nursery) -> None:
        """Serve the control socket, where there can be one.

        Raises `ControlError` where one was asked for, or where it is not safe to have one.
        """
        control = self.settings.control
        try:
            listener = await claim(Path(control) if control else default_path(port))
        except OSError as error:
            reason = error.strerror or str(error)
            if control:
                raise ControlError(f"no control socket can be at {control}: {reason}") from None
            logger.warning(
                "there is no control socket: choose a path with --control", extra={"reason": reason}
            )
        else:
            nursery.start_soon(serve_control, listener, operations.commands, self.ended)

    async def watch(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Reload at SIGHUP; stop gracefully at the first other signal and at once at the second."""
        stopping = False
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not self.terminal_has_gone():
                nursery.start_soon(self.reload)
            elif not stopping:
                logger.info("stopping", extra={"signal": name})
                self.stopping.set()
                stopping = True
            elif number != signal.SIGHUP:  # which a terminal may send twice
                logger.warning("stopping at once", extra={"signal": name})
                self.exit_code = KILLED_BY + number
                nursery.cancel_scope.cancel()

    def terminal_has_gone(self) -> bool:
        """Whether the terminal it was started from is closed: nobody is left who could stop it."""
        return self.in_terminal and not os.isatty(STDIN)

    async def reload(self) -> None:
        """Reload as soon as there is a chat; the log tells what came of it."""
        await self.listening.wait()
        if self.operations is not None:
            with suppress(ChatClosed):  # it is stopping
                await self.operations.reload()


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
