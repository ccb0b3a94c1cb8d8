"""One run of the terminal client: from where it connects to its exit code.

Exit codes: 0 done, 1 refused or connection lost for good, 2 what it needs is not there, 128 and the
signal's number when a signal ended it.
"""

from __future__ import annotations

import os
import signal
import ssl
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from trio_chat.config.endpoints import place
from trio_chat.errors import ChatClosed, NoConnection, Refused
from trio_chat.protocol.events import Welcomed
from trio_chat.remote import open_client
from trio_chat.terminal.conversation import Conversation
from trio_chat.terminal.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.remote import RemoteClient

DONE: Final = 0
NOT_DONE: Final = 1
CANNOT_START: Final = 2
ENDED_BY: Final = 128

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Events that may wait while a terminal or a pipe is slow; some megabytes.
MOST_UNREAD: Final = 10_000
# What this client speaks.
PROTOCOL: Final = 1


@frozen
class Target:
    """Where to, as whom, into which rooms; `ssl_context` is for TLS."""

    host: str
    port: int
    nick: str | None = None
    rooms: tuple[str, ...] = ()
    ssl_context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """Where the server's WebSocket is."""
        return f"{'ws' if self.ssl_context is None else 'wss'}://{self.place}/ws"

    @property
    def place(self) -> str:
        """The same, as people say it."""
        return place(self.host, self.port)


def run(target: Target, tell: Callable[[str], None]) -> int:
    """Chat until the person leaves, or the input ends; the exit code.

    `tell` is given what goes wrong, a line each.
    """
    on_screen = _is_terminal()
    if len(target.rooms) > 1 and not on_screen:
        tell("in a pipe it can be in one room only: give --join once")
        return CANNOT_START
    if on_screen and find_spec("prompt_toolkit") is None:
        install = f"{sys.executable} -m pip install prompt_toolkit"
        tell(f"on a terminal this needs prompt_toolkit: {install}")
        return CANNOT_START
    return trio.run(_Run(target, tell, on_screen=on_screen).to_its_end)


def _is_terminal() -> bool:
    """Whether a person sits at both ends, and can be shown more than lines."""
    both = sys.stdin.isatty() and sys.stdout.isatty()
    return both and os.environ.get("TERM", "dumb") != "dumb"


class _Run:
    def __init__(self, target: Target, tell: Callable[[str], None], *, on_screen: bool) -> None:
        self._target = target
        self._tell = tell
        self._on_screen = on_screen
        self._code = DONE

    async def to_its_end(self) -> int:
        """Chat, unless a signal ends it before; the exit code."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._heed_signals, nursery.cancel_scope)
            await self._chat()
            nursery.cancel_scope.cancel()
        return self._code

    async def _heed_signals(
        self,
        running: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Have a signal end it, so that the others see it leave, and the terminal is put right."""
        # One that is ignored stays so: that is how nohup and shells' background jobs work.
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*heeded) as signals:
            task_status.started()
            async for number in signals:
                self._code = ENDED_BY + number
                running.cancel()

    async def _chat(self) -> None:
        """Be in the chat; what came before the end of it is still written after that."""
        target = self._target
        async with trio.open_nursery() as nursery:
            try:
                async with open_client(
                    target.url,
                    nick=target.nick,
                    ssl_context=target.ssl_context,
                    buffer=MOST_UNREAD,
                ) as client:
                    await self._enter(client)
                    if self._code == DONE and self._on_screen:
                        await self._converse(client)
                    elif self._code == DONE:
                        await Plain(client, self._room, self._fail).run(nursery)
            except (NoConnection, Refused, ValueError) as error:
                self._fail(str(error).replace(target.url, target.place))

    async def _converse(self, client: RemoteClient) -> None:
        # PLC0415: it needs what may not be installed.
        from trio_chat.terminal.screen import Screen  # noqa: PLC0415 - an extra

        why = await Conversation(client, Screen(), in_room=self._room is not None).run()
        if why:
            self._fail(why)

    def _fail(self, why: str) -> None:
        self._code = NOT_DONE
        if why:
            self._tell(why)

    async def _enter(self, client: RemoteClient) -> None:
        """Go into the rooms; the last one is where things are said, as after `/join`."""
        self._room: str | None = None
        if client.hello.protocol != PROTOCOL:
            self._fail(
                f"the server speaks version {client.hello.protocol} of the protocol, this client "
                f"version {PROTOCOL}: one of them is too old"
            )
            return
        for room in self._target.rooms:
            try:
                welcomed = await client.command(f"/join {room}", echo=self._on_screen)
            except (Refused, NoConnection, ChatClosed) as error:
                self._fail(f"cannot join {room}: {error}")
                return
            self._room = welcomed.room if isinstance(welcomed, Welcomed) else None
