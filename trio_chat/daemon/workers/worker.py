"""A worker as its parent sees it: a number, sockets, and the process that has them now."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from attrs import define, field

from trio_chat.config.endpoints import Endpoint
from trio_chat.daemon import systemd
from trio_chat.daemon.workers import role
from trio_chat.daemon.workers.asking import ask
from trio_chat.daemon.workers.children import Child, Children
from trio_chat.daemon.workers.notices import Notices
from trio_chat.daemon.workers.role import Role
from trio_chat.daemon.workers.sockets import Place
from trio_chat.errors import ControlError

# A hanging process that is told to abort has so long for a traceback.
ABORT_SECONDS: Final = 5.0

logger = logging.getLogger("trio_chat")


@define(eq=False)
class Worker:
    """One of the workers. `restarts` counts the processes that took the place of a dead one."""

    number: int
    node: str
    directory: Path
    places: Sequence[Place]
    notices: Notices
    children: Children
    child: Child | None = None
    restarts: int = 0
    # It serves; each process has an event of its own.
    serving: trio.Event = field(factory=trio.Event)
    # The time of the last notice.
    _heard: float = field(factory=trio.current_time)

    @property
    def control(self) -> Path:
        """The path of its control socket."""
        return self._role().control

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self.child is not None and not self.child.ended.is_set()

    @property
    def serves(self) -> bool:
        """Whether its process serves clients."""
        return self.runs and self.serving.is_set()

    def start(self) -> None:
        """Start a process for it. Raises `OSError`."""
        watched = systemd.watchdog_seconds(os.environ) is not None
        left_out = ["WATCHDOG_PID", *([] if watched else ["WATCHDOG_USEC"])]
        environ = {name: value for name, value in os.environ.items() if name not in left_out}
        own = self._role()
        self.hear()  # what an earlier process has said last
        if self.serving.is_set():
            self.serving = trio.Event()
        self.child = self.children.start(
            environ | {role.VARIABLE: own.written(), "NOTIFY_SOCKET": self.notices.path},
            [descriptor for descriptor, _ in own.listeners],
        )

    def _role(self) -> Role:
        listeners = [
            (place.of(self.number).fileno(), Endpoint(accept=place.endpoint.accept))
            for place in self.places
        ]
        return Role(
            self.number, os.getpid(), self.node, self.directory, listeners, self.restarts > 0
        )

    async def until_ended(self) -> None:
        """Wait until its process has ended without a successor."""
        while (child := self.child) is not None:
            await child.ended.wait()
            self.hear()  # an upgraded process names its successor first, and then ends
            if self.child is child:
                return

    # --- notices ----------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take what it has said."""
        for name, value in self.notices.hear():
            self._heard = trio.current_time()
            if name == "READY":
                self.serving.set()
            elif name == "MAINPID" and value.isdecimal():
                self.child = self.children.adopt(int(value))

    async def listen(self) -> None:
        """Take what it says, for ever."""
        while True:
            await self.notices.wait()
            self.hear()

    async def watch(self) -> None:
        """Abort a process that hangs, if systemd's watchdog is in use: the others go on."""
        seconds = systemd.watchdog_seconds(os.environ)
        while seconds is not None:
            await self.serving.wait()
            due = self._heard + seconds
            await trio.sleep_until(due)
            self.hear()  # it may have spoken while this process was held up
            if trio.current_time() >= due + seconds / 2:
                # The whole machine may have stood still, and the worker with it.
                self._heard = trio.current_time()
            child = self.child
            silent = trio.current_time() - self._heard >= seconds
            if silent and child is not None and self.serves:
                logger.error("worker hangs", extra={"worker": self.number, "pid": child.pid})
                child.send(signal.SIGABRT)
                with trio.move_on_after(ABORT_SECONDS):
                    await child.ended.wait()
                child.kill()
            if silent:
                await self.until_ended()
                self._heard = trio.current_time()

    # --- stopping ---------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Have it stop gracefully, and wait for its end."""
        while (child := self.child) is not None:
            await self._ask_to_stop(child)
            await child.ended.wait()
            self.hear()
            if self.child is child:
                return

    async def _ask_to_stop(self, child: Child) -> None:
        """Ask for it by the control socket.

        A signal could be the second one, and stop it at once: systemd sends SIGTERM to all.
        """
        if self.serving.is_set():
            with suppress(ControlError):
                if "error" not in await ask(self.control, "stop"):
                    return
        child.send(signal.SIGTERM)

    def stop_at_once(self) -> None:
        """Have it stop without waiting for clients: for that it needs two signals."""
        if self.child is not None:
            self.child.send(signal.SIGINT)
            self.child.send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill its process."""
        if self.child is not None:
            self.child.kill()
