"""One run of the parent: it starts the workers, obeys signals, and ends with the workers."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping

import trio
from attrs import define, field

from trio_chat.config.settings import Settings
from trio_chat.daemon import systemd
from trio_chat.daemon.addresses import announce
from trio_chat.daemon.control import serve_control
from trio_chat.daemon.process import CANNOT_START, configure, in_foreground, tell_problem
from trio_chat.daemon.signals import SIGNALS, obey_signals
from trio_chat.daemon.upgrade.predecessor import DaemonState, check_fixed
from trio_chat.daemon.upgrade.protocol import Fixed
from trio_chat.daemon.workers import holdings, replacement
from trio_chat.daemon.workers.children import Children, become_subreaper
from trio_chat.daemon.workers.holdings import Holdings
from trio_chat.daemon.workers.keeper import Keeper
from trio_chat.daemon.workers.kept_signals import KeptSignals
from trio_chat.daemon.workers.operations import Operations
from trio_chat.daemon.workers.replacement import Estate
from trio_chat.errors import ControlError, ListenError, SettingsError

logger = logging.getLogger("trio_chat")


def is_wanted(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether this process is to be the parent of workers, or was it before an upgrade."""
    return settings.workers > 1 or replacement.VARIABLE in environ


def run(settings: Settings, read: Callable[[], Settings]) -> int:
    """Serve with several workers until stopped; return the exit code.

    `read` is that of `trio_chat.daemon.run`. Raises `SettingsError`, and `HandoverError` if it
    cannot continue what an earlier parent has left.
    """
    if sys.platform != "linux":
        raise SettingsError("only on Linux can workers share a port: leave workers at 1")
    estate, is_trial = replacement.found(os.environ)
    if is_trial and estate is not None:
        own = DaemonState(estate.fixed, "", estate.given)
        check_fixed(own, Fixed.of(settings))
        return 0
    inherited = systemd.sockets(os.environ)
    kept = KeptSignals()
    while True:
        kept.begin()
        parent = Parent(settings, read, kept, inherited, estate, in_terminal=in_foreground())
        trio.run(parent.serve)
        if parent.left is None:
            return parent.exit_code
        estate, settings = parent.left, parent.settings
        try:
            replacement.become(estate, kept)
        except OSError as error:
            reason = error.strerror
        logger.error("this process goes on with its old program", extra={"reason": reason})


@define
class Parent:
    """The parent of the workers; `inherited` are sockets to listen on, if any.

    `kept` are signals that have come before it obeys them.
    `estate` is what this process has left to itself in an upgrade, and `left` what it leaves now.
    `in_terminal` is that of a daemon without workers.
    """

    settings: Settings
    read: Callable[[], Settings]
    kept: KeptSignals
    inherited: list[socket.socket] = field(factory=list)
    estate: Estate | None = None
    in_terminal: bool = False
    exit_code: int = 0
    children: Children = field(factory=Children)
    stopping: trio.Event = field(factory=trio.Event)
    # All workers have ended.
    ended: trio.Event = field(factory=trio.Event)
    # All workers have served once.
    serving: trio.Event = field(factory=trio.Event)
    operations: Operations | None = None
    # It is to become the program that is on disk now.
    replacing: bool = False
    left: Estate | None = None

    async def serve(self) -> None:
        """Serve until stopped."""
        with trio.open_signal_receiver(signal.SIGCHLD) as deaths:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.notice_ends, deaths)
                await self.run_until_stopped()
                nursery.cancel_scope.cancel()

    async def notice_ends(self, deaths: AsyncIterator[int]) -> None:
        """Notice which processes have ended."""
        self.children.reap()
        async for _ in deaths:
            self.children.reap()

    async def run_until_stopped(self) -> None:
        """Run the workers until they are to stop, and obey signals."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(obey_signals, self, signals, nursery)
                self.kept.send_again()
                try:
                    held = await self.take()
                except (ListenError, ControlError, SettingsError) as error:
                    self.fail(str(error))
                else:
                    await self.run_workers(held)
                nursery.cancel_scope.cancel()

    def fail(self, problem: str = "") -> None:
        """Print the problem, if there is one, and have the process end with exit code 2."""
        self.exit_code = CANNOT_START
        tell_problem(problem)

    # --- the workers ------------------------------------------------------------------------------

    async def take(self) -> Holdings:
        """Take what it needs. Raises `ListenError` or `ControlError` if it cannot have that."""
        try:
            become_subreaper()
        except OSError as error:
            raise ControlError(f"cannot be the parent of workers: {error.strerror}") from None
        if self.estate is None:
            return await holdings.opened(self.settings, self.inherited, self.children)
        await trio.lowlevel.checkpoint()
        return holdings.taken(self.estate, self.children)

    async def run_workers(self, held: Holdings) -> None:
        """Start the workers, and have them all stop at the end."""
        keeper = Keeper(held.workers, self.stopping, self.fail, self.estate is not None)
        operations = self.operations = self.make_operations(held)
        # The control socket outlives the workers: `trio-chat stop` waits there for the end.
        async with trio.open_nursery() as control:
            control.start_soon(serve_control, held.control, operations.commands, self.ended)
            try:
                async with trio.open_nursery() as nursery:
                    try:
                        await keeper.start_all(nursery)
                        if not self.stopping.is_set():
                            await self.attend(held, nursery)
                    finally:
                        if not self.replacing:
                            # Not shielded: if it is cancelled, it stops all workers at once.
                            await self.stop_all(keeper, held, operations)  # noqa: ASYNC102
                    nursery.cancel_scope.cancel()
            finally:
                if self.replacing:
                    self.left = held.leave()
                else:
                    held.clear_up()
                self.ended.set()

    def make_operations(self, held: Holdings) -> Operations:
        """Make the commands of the control socket."""

        async def try_out() -> None:
            estate = held.estate(held.control.socket.fileno())
            await replacement.try_out(estate, self.children)

        return Operations(
            held.workers,
            [endpoint.text for endpoint in held.endpoints],
            self.settings,
            self.read,
            configure,
            self.serving,
            self.stopping,
            try_out,
            self.replace,
            held.began,
        )

    async def attend(self, held: Holdings, nursery: trio.Nursery) -> None:
        """Tell that all workers serve, and wait for the end."""
        self.serving.set()
        if self.estate is None:
            announce(held.endpoints, self.settings)
        else:
            logger.info("the parent is upgraded", extra={"workers": len(held.workers)})
        listening = ", ".join(endpoint.text for endpoint in held.endpoints)
        await systemd.ready(f"listening on {listening}, {len(held.workers)} workers")
        nursery.start_soon(systemd.keep_alive, trio.lowlevel.checkpoint)
        await self.stopping.wait()

    def replace(self) -> None:
        """Have this process become the program that is on disk now, unless it stops."""
        if not self.stopping.is_set():
            self.replacing = True
            self.stopping.set()

    async def stop_all(self, keeper: Keeper, held: Holdings, operations: Operations) -> None:
        """Stop all workers; if this is cancelled, at once."""
        self.stopping.set()
        # While it listens here too, new clients would wait for nothing.
        held.stop_listening()
        try:
            await systemd.stopping()
        finally:
            # Not shielded, as said above.
            await keeper.stop_all(operations.settings.stop_grace)  # noqa: ASYNC102

    def stop(self, **reason: str) -> None:
        """Have all workers stop; the log has the reason."""
        logger.info("stopping", extra=reason)
        self.replacing = False
        if self.operations is None:
            self.stopping.set()
        else:
            self.operations.begin_stop()
