"""One run of the daemon: from its settings to its exit code, signals included.

Exit codes, as shells have them:

- 0: the daemon stopped as requested, or a successor has taken over;
- 2: it cannot listen, use its file, have its control socket, or take over;
- 130 or 143: a second SIGINT or SIGTERM ended it at once.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import define, evolve, field

from trio_chat.config.endpoints import Endpoint, instance_of
from trio_chat.config.settings import Settings
from trio_chat.config.store_path import with_store
from trio_chat.config.store_url import is_store_url
from trio_chat.daemon import streams, systemd
from trio_chat.daemon.addresses import announce, told
from trio_chat.daemon.control import serve_control
from trio_chat.daemon.control_path import ControlListener, claim, default_path
from trio_chat.daemon.operations import Operations
from trio_chat.daemon.process import (
    CANNOT_START,
    configure,
    end_without_collections,
    in_foreground,
    lighten_collections,
    tell_problem,
    without_collections,
)
from trio_chat.daemon.signals import SIGNALS, obey_signals
from trio_chat.daemon.upgrade import successor as succession
from trio_chat.daemon.upgrade.predecessor import DaemonState
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.daemon.upgrade.wire import Wire
from trio_chat.daemon.workers import parent, role
from trio_chat.daemon.workers.role import Role
from trio_chat.errors import (
    ControlError,
    HandoverError,
    ListenError,
    SettingsError,
    StateError,
    StoreError,
)
from trio_chat.server.chat import Chat
from trio_chat.server.opening import open_chat
from trio_chat.transports.listener import located

if TYPE_CHECKING:
    from typing import Self

logger = logging.getLogger("trio_chat")


def run(settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve until stopped, or until a successor has taken over; return the exit code.

    `read` reads the settings again for a reload, or raises `SettingsError`.
    """
    streams.never_wait()
    configure(settings)
    try:
        wire = succession.predecessor(os.environ)
        worker = role.of_worker(os.environ)
        if worker is not None:
            sockets = [] if wire is not None else worker.sockets()
        elif wire is None and parent.is_wanted(settings, os.environ):
            return parent.run(settings, read)
        else:
            sockets = systemd.sockets(os.environ)
    except (SettingsError, HandoverError) as error:
        tell_problem(str(error))
        return CANNOT_START
    lighten_collections()
    if worker is None:
        daemon = Daemon(settings, read, sockets, wire, in_terminal=in_foreground())
    else:
        daemon = Daemon.of_worker(worker, settings, read, sockets, wire)
    trio.run(daemon.serve)
    end_without_collections()
    return daemon.exit_code


@define
class Daemon:
    """A chat that listens until a signal or the control socket stops it, or it is handed over.

    `sockets` are inherited ones to listen on, if any. `wire` leads to the daemon to take over from,
    if there is one. `in_terminal`: see `Obedient`. `worker`: it is one of several, below a parent.
    """

    settings: Settings
    read: Callable[[], Settings]
    sockets: list[socket.socket] = field(factory=list)
    wire: Wire | None = None
    in_terminal: bool = False
    worker: Role | None = None
    configure: Callable[[Settings], None] = configure
    exit_code: int = 0
    stopping: trio.Event = field(factory=trio.Event)
    # The chat has ended, and its resources are free or handed over.
    ended: trio.Event = field(factory=trio.Event)
    # To give up an engine, or a lease of another process, that it waits for before it serves.
    opening: trio.CancelScope | None = None
    # Made once it serves.
    operations: Operations | None = None
    serving: trio.Event = field(factory=trio.Event)

    @classmethod
    def of_worker(
        cls,
        worker: Role,
        settings: Settings,
        read: Callable[[], Settings],
        sockets: list[socket.socket],
        wire: Wire | None,
    ) -> Self:
        """Make the daemon that a worker is."""
        logged = partial(configure, fields={"worker": worker.number})
        own = worker.settings(settings)
        logged(own)
        return cls(
            own,
            lambda: worker.settings(read()),
            sockets,
            wire,
            worker=worker,
            configure=logged,
        )

    async def serve(self) -> None:
        """Serve until stopped."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(obey_signals, self, signals, nursery)
                if self.worker is not None:
                    nursery.start_soon(self.end_with_parent, self.worker.parent)
                await self.chat()
                nursery.cancel_scope.cancel()

    async def chat(self) -> None:
        """Run the chat until it is to stop; leaving its block stops the chat gracefully."""
        # The control socket outlives the chat: `trio-chat stop` waits there for the end.
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
        fixed = Fixed.of(self.settings)
        given = [located(sock, Endpoint()) for sock in self.sockets]
        instance = instance_of(given) if given else self.settings.instance
        self.settings = with_store(self.settings, instance)
        if self.worker is not None and self.worker.replaces:
            await self.vacate()
        with trio.CancelScope() as opening:
            self.opening = opening
            async with open_chat(self.settings) as chat:
                self.opening = None
                try:
                    addresses = await self.listen(chat)
                    # With port 0, the real port is known only now.
                    name = str(addresses[0][1]) if addresses else instance
                    listener = await self.control_listener(name)
                except (ControlError, ListenError) as error:
                    self.fail(str(error))
                else:
                    own = DaemonState(fixed, instance, bool(self.sockets), control=listener)
                    logger.info("store opened", extra={"store": self.settings.shown_store})
                    if self.worker is None:
                        announce(chat.listening, self.settings)
                    await self.attend(chat, own, control)

    async def vacate(self) -> None:
        """Have the people of this worker's last process leave, without waiting for its lease."""
        if is_store_url(self.settings.store):
            from trio_chat.roomlog.redis.vacated import end_lease  # noqa: PLC0415 - it needs an extra

            await end_lease(self.settings)

    async def take_over(self, wire: Wire, control: trio.Nursery) -> None:
        """Take over the chat of another daemon, if that one hands it over."""
        fixed = Fixed.of(self.settings)
        restoring = ExitStack()
        restoring.enter_context(without_collections())
        received = await succession.receive(wire, fixed, self.settings)
        handover = received.daemon
        self.settings = with_store(self.settings, handover.instance)
        await succession.take_over(wire, self.settings, received)
        async with open_chat(self.settings, predecessor=received.chat) as chat:
            own_places = received.chat.state.listening
            if handover.listens_on_given:
                # The daemon must not remove the paths of inherited sockets.
                own_places = [evolve(endpoint, unix="") for endpoint in own_places]
            chat.listen_on(received.chat.listeners, own_places)
            # After one turn, clients have the entries that were left to deliver.
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

    async def listen(self, chat: Chat) -> list[tuple[str, int]]:
        """Listen on inherited sockets, or else where the settings say; return the TCP addresses.

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
        if self.worker is not None:
            return chat.listen_on(self.sockets, self.worker.endpoints)
        addresses = chat.listen_on(self.sockets)
        # No setting names these addresses, so the log does.
        places = ", ".join(endpoint.place for endpoint in chat.listening)
        logger.info("listening on inherited sockets", extra={"addresses": places})
        return addresses

    async def attend(
        self,
        chat: Chat,
        own: DaemonState,
        control: trio.Nursery,
    ) -> None:
        """Serve the control socket and notify systemd, until a stop is wanted."""
        places = [endpoint.text for endpoint in chat.listening]
        operations = Operations(
            chat,
            places,
            lambda: with_store(self.read(), own.instance),
            self.configure,
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
        """Print the problem, and have the process end with exit code 2."""
        self.exit_code = CANNOT_START
        tell_problem(problem)

    # --- the control socket and the end -----------------------------------------------------------

    async def control_listener(self, instance: str) -> ControlListener | None:
        """Open the control socket; `None`, with a warning, if the usual directory cannot be used.

        Raises `ControlError` if the path in the settings cannot be used, or is not safe.
        """
        control = self.settings.control
        try:
            return await claim(Path(control) if control else default_path(instance))
        except OSError as error:
            reason = error.strerror or str(error)
            if control:
                raise ControlError(
                    f"cannot make a control socket at {control}: {reason}; choose another path"
                ) from None
            logger.warning(
                "running without a control socket: choose a path with --control",
                extra={"reason": reason},
            )
            return None

    async def end_with_parent(self, parent: int) -> None:
        """Stop once the parent of the workers has ended, as nobody else would stop this one."""
        await role.parent_ends(parent)
        self.stop(by="the end of the parent process")

    def stop(self, **reason: str) -> None:
        """Stop, or do so as soon as the daemon serves; the log has the reason."""
        if self.operations is not None and self.operations.successor is not None:
            # This process is about to end anyway.
            successor = self.operations.successor
            logger.warning("another process has taken over", extra={"successor": successor})
            return
        logger.info("stopping", extra=reason)
        if self.operations is None:
            self.stopping.set()
            if self.opening is not None and is_store_url(self.settings.store):
                self.opening.cancel("the daemon is stopping")
        else:
            self.operations.begin_stop()
