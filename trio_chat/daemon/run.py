"""One run of the daemon: from its settings to its exit code, signals included.

Exit codes: 0 stopped as asked, or a successor has taken over; 2 cannot listen, use its file, have
its control socket or take over; 128 and the signal's number when a second signal ended it at once
(as shells count: 130 for SIGINT, 143 for SIGTERM).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import trio
from attrs import define, field

from trio_chat.config.endpoints import Endpoint, instance_of
from trio_chat.config.settings import Settings
from trio_chat.config.store_path import with_store
from trio_chat.daemon import streams, systemd
from trio_chat.daemon.addresses import announce, told
from trio_chat.daemon.control import Response, serve_control
from trio_chat.daemon.control_path import ControlListener, claim, default_path
from trio_chat.daemon.operations import Operations
from trio_chat.daemon.process import (
    STDIN,
    configure,
    in_foreground,
    lighten_collections,
    without_collections,
)
from trio_chat.daemon.upgrade import successor as succession
from trio_chat.daemon.upgrade.predecessor import DaemonState
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.daemon.upgrade.wire import Wire
from trio_chat.errors import (
    ChatError,
    ControlError,
    HandoverError,
    ListenError,
    SettingsError,
    StateError,
    StoreError,
)
from trio_chat.server import Chat, open_chat
from trio_chat.transports.listener import located

CANNOT_START: Final = 2
KILLED_BY: Final = 128

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)

logger = logging.getLogger("trio_chat")


def run(settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve until stopped, or until a successor has taken over; the exit code.

    `read` gives the settings anew for a reload, or raises `SettingsError`.
    """
    streams.never_wait()
    configure(settings)
    try:
        wire = succession.predecessor(os.environ)
        sockets = systemd.sockets(os.environ)
    except SettingsError as error:
        click.echo(f"trio-chat: {error}", err=True)
        return CANNOT_START
    lighten_collections()
    daemon = Daemon(settings, read, sockets, wire, in_terminal=in_foreground())
    trio.run(daemon.serve)
    return daemon.exit_code


@define
class Daemon:
    """A chat that listens until a signal or the control socket stops it, or it is handed over.

    `sockets` are those it was given to listen on, if any; `wire` leads to the daemon that it is to
    take over from, if there is one. `in_terminal`: it was started in the foreground of a terminal,
    whose end sends SIGHUP too.
    """

    settings: Settings
    read: Callable[[], Settings]
    sockets: list[socket.socket] = field(factory=list)
    wire: Wire | None = None
    in_terminal: bool = False
    exit_code: int = 0
    stopping: trio.Event = field(factory=trio.Event)
    # The chat has ended, and what it held is free or another's.
    ended: trio.Event = field(factory=trio.Event)
    # There is once it serves.
    operations: Operations | None = None
    serving: trio.Event = field(factory=trio.Event)

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
                if self.wire is None:
                    await self.begin(control)
                else:
                    await self.take_over(self.wire, control)
            except (StoreError, StateError, SettingsError, HandoverError) as error:
                self.fail(str(error))
            finally:
                self.ended.set()

    async def begin(self, control: trio.Nursery) -> None:
        """Open a chat, and listen."""
        fixed = self.fixed()
        given = [located(sock, Endpoint()) for sock in self.sockets]
        instance = instance_of(given) if given else self.settings.instance
        self.settings = with_store(self.settings, instance)
        async with open_chat(self.settings) as chat:
            try:
                addresses = await self.listen(chat)
                # A port that was any free one is known by now.
                name = str(addresses[0][1]) if addresses else instance
                listener = await self.control_listener(name)
            except (ControlError, ListenError) as error:
                self.fail(str(error))
            else:
                own = DaemonState(fixed, instance, bool(self.sockets), control=listener)
                logger.info("rooms are kept", extra={"store": self.settings.store})
                announce(chat.listening, self.settings)
                await self.attend(chat, own, control)

    async def take_over(self, wire: Wire, control: trio.Nursery) -> None:
        """Go on with another daemon's chat, if that one lets it go."""
        fixed = self.fixed()
        restoring = ExitStack()
        restoring.enter_context(without_collections())
        received = await succession.receive(wire, fixed, self.settings)
        handover = received.daemon
        self.settings = with_store(self.settings, handover.instance)
        await succession.take_over(wire, self.settings, received)
        async with open_chat(self.settings, predecessor=received.chat) as chat:
            # The paths of given sockets are not the daemon's to remove.
            own_places = () if handover.listens_on_given else received.chat.state.listening
            chat.listen_on(received.chat.listeners, own_places)
            # By the end of a turn each client's task has begun too.
            await chat.beat()
            logger.info("took over", extra=received.account())
            succession.serving(wire)
            restoring.close()
            own = DaemonState(
                fixed,
                handover.instance,
                handover.listens_on_given,
                control=succession.inherited_control(received),
            )
            await self.attend(chat, own, control)

    def fixed(self) -> Fixed:
        """The settings that an upgrade cannot change, as they were read."""
        settings = self.settings
        listen = ",".join(endpoint.full_text for endpoint in settings.listen)
        return Fixed(settings.host, settings.port, listen, settings.store, settings.control)

    async def listen(self, chat: Chat) -> list[tuple[str, int]]:
        """Listen on what was given, or else where the settings say; the TCP addresses.

        Raises `ListenError`.
        """
        if not self.sockets:
            found: list[tuple[str, int]] = []
            for endpoint in self.settings.endpoints:
                try:
                    found += await chat.listen_at(endpoint)
                except (OSError, UnicodeError) as error:
                    problem = told(error, endpoint, alone=not self.settings.listen)
                    raise ListenError(problem) from None
            return found
        addresses = chat.listen_on(self.sockets)
        # No setting says so now.
        places = ", ".join(endpoint.place for endpoint in chat.listening)
        logger.info("listening on what was handed over", extra={"addresses": places})
        return addresses

    async def attend(
        self,
        chat: Chat,
        own: DaemonState,
        control: trio.Nursery,
    ) -> None:
        """Wait until a stop is wanted, and let systemd know what it wants to know."""
        places = [endpoint.text for endpoint in chat.listening]
        operations = Operations(
            chat,
            places,
            lambda: with_store(self.read(), own.instance),
            configure,
            self.stopping,
            own,
        )
        self.operations = operations
        if own.control is not None:
            control.start_soon(serve_control, own.control, operations.commands, self.ended)
        await systemd.ready(f"listening on {', '.join(places)}")
        self.serving.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(systemd.keep_alive, chat.beat)
            nursery.start_soon(chat.measure_lateness)
            await self.stopping.wait()
            nursery.cancel_scope.cancel()
        if operations.successor is None:
            await systemd.stopping()

    def fail(self, problem: str) -> None:
        """End with a line or more that say why it cannot serve."""
        self.exit_code = CANNOT_START
        for line in problem.split("\n"):
            click.echo(f"trio-chat: {line}", err=True)

    # --- what its owner asks of it ----------------------------------------------------------------

    async def control_listener(self, instance: str) -> ControlListener | None:
        """The control socket, where there can be one.

        Raises `ControlError` where one was asked for, or where it is not safe to have one.
        """
        control = self.settings.control
        try:
            return await claim(Path(control) if control else default_path(instance))
        except OSError as error:
            reason = error.strerror or str(error)
            if control:
                raise ControlError(
                    f"no control socket can be at {control}: {reason}; choose another"
                ) from None
            logger.warning(
                "there is no control socket: choose a path with --control", extra={"reason": reason}
            )
            return None

    async def watch(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Do as signals say: the second one that stops, stops at once."""
        stopping = False
        async for number in signals:
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not self.terminal_has_gone():
                nursery.start_soon(self.obey, name, Operations.reload)
            elif number == signal.SIGUSR2:
                nursery.start_soon(self.obey, name, Operations.upgrade)
            elif not stopping:
                self.stop(name)
                stopping = True
            elif number != signal.SIGHUP:  # which a terminal may send twice
                logger.warning("stopping at once", extra={"signal": name})
                self.exit_code = KILLED_BY + number
                nursery.cancel_scope.cancel()

    def terminal_has_gone(self) -> bool:
        """Whether the terminal it was started from is closed: nobody is left who could stop it."""
        return self.in_terminal and not os.isatty(STDIN)

    def stop(self, name: str) -> None:
        """Stop; where it does not serve yet, as soon as it does."""
        if self.operations is not None and self.operations.successor is not None:
            # This one is about to end as it is.
            successor = self.operations.successor
            logger.warning("another process has taken over", extra={"successor": successor})
            return
        logger.info("stopping", extra={"signal": name})
        if self.operations is None:
            self.stopping.set()
        else:
            self.operations.begin_stop()

    async def obey(self, name: str, do: Callable[[Operations], Awaitable[Response]]) -> None:
        """Reload or upgrade, as soon as it serves; the log tells what came of it."""
        await self.serving.wait()
        if self.operations is None:
            return
        try:
            await do(self.operations)
        except ChatError as error:
            logger.warning("a signal was in vain", extra={"signal": name, "reason": str(error)})
        except Exception:
            logger.exception("a signal was in vain", extra={"signal": name})
        self.operations.end_if_handed_over()
