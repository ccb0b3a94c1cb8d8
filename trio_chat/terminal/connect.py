"""One run of the terminal client, from its connection to its exit code.

The exit code is 0 after success. It is 1 if something was refused, or the connection is lost for
good, and 2 if prompt_toolkit is missing. After a signal it is 128 plus the signal's number.
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
from trio_chat.errors import ChatClosed, Code, NoConnection, Refused
from trio_chat.protocol.events import Welcomed
from trio_chat.remote import open_client
from trio_chat.terminal.accounts import Confidential
from trio_chat.terminal.conversation import Conversation
from trio_chat.terminal.logins import Logins, default_directory
from trio_chat.terminal.plain import Plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.remote import RemoteClient

DONE: Final = 0
NOT_DONE: Final = 1
CANNOT_START: Final = 2
ENDED_BY: Final = 128

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Events that may wait while a pipe is slow; some megabytes.
MOST_UNREAD: Final = 10_000
# The version of the WebSocket protocol.
PROTOCOL: Final = 1


@frozen
class Target:
    """The server to connect to, and the nick and rooms to have there; `ssl_context` is for TLS."""

    host: str
    port: int
    nick: str | None = None
    rooms: tuple[str, ...] = ()
    ssl_context: ssl.SSLContext | None = None
    # Whether a kept login is used; otherwise it is forgotten.
    account: bool = True

    @property
    def url(self) -> str:
        """The URL of the server's WebSocket."""
        return f"{'ws' if self.ssl_context is None else 'wss'}://{self.place}/ws"

    @property
    def place(self) -> str:
        """The address, for messages."""
        return place(self.host, self.port)


def run(target: Target, tell: Callable[[str], None], *, bell: bool = True) -> int:
    """Chat until the person leaves, or the input ends; gives the exit code.

    `tell` is called with each problem, as one line. `bell`: on a screen, ring when somebody calls
    the person.
    """
    on_screen = _is_terminal()
    if len(target.rooms) > 1 and not on_screen:
        tell("in a pipe it can be in one room only: give --join once")
        return CANNOT_START
    if on_screen and find_spec("prompt_toolkit") is None:
        install = f"{sys.executable} -m pip install prompt_toolkit"
        tell(f"on a terminal this needs prompt_toolkit: {install}")
        return CANNOT_START
    return trio.run(_Run(target, tell, on_screen=on_screen, bell=bell).to_its_end)


def _is_terminal() -> bool:
    """Whether a person reads and types on a terminal that can show more than lines."""
    both = sys.stdin.isatty() and sys.stdout.isatty()
    return both and os.environ.get("TERM", "dumb") != "dumb"


class _Run:
    def __init__(
        self, target: Target, tell: Callable[[str], None], *, on_screen: bool, bell: bool
    ) -> None:
        self._target = target
        self._tell = tell
        self._on_screen = on_screen
        self._bell = bell
        self._logins = Logins(target.url, default_directory())
        self._code = DONE

    async def to_its_end(self) -> int:
        """Chat until the end, or until a signal comes; gives the exit code."""
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
        """End the run at a signal, so that the client leaves the chat and restores the terminal."""
        # A signal that is ignored stays so, as nohup and background jobs of shells need it.
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with trio.open_signal_receiver(*heeded) as signals:
            task_status.started()
            async for number in signals:
                self._code = ENDED_BY + number
                running.cancel()

    async def _chat(self) -> None:
        """Be in the chat; events that came before its end are still written afterwards."""
        target = self._target
        async with trio.open_nursery() as nursery:
            try:
                if not target.account:
                    self._logins.forget(target.nick)
                try:
                    await self._be_there(nursery, target.nick)
                except Refused as refused:
                    if refused.code != Code.NICK_REGISTERED or not self._on_screen:
                        raise
                    await self._be_there(nursery, None, Confidential(f"/login {target.nick}"))
            except (NoConnection, OSError, Refused, ValueError) as error:
                self._fail(str(error).replace(target.url, target.place))

    async def _be_there(
        self, nursery: trio.Nursery, nick: str | None, first: Confidential | None = None
    ) -> None:
        """Be in the chat, with this nick unless an account is known; see `Screen` for `first`."""
        target = self._target
        # Programs that write into a pipe say which account they mean.
        known = target.account and (self._on_screen or target.nick is not None)
        async with open_client(
            target.url,
            nick=nick,
            token=self._logins.token(target.nick) if known else "",
            ssl_context=target.ssl_context,
            buffer=MOST_UNREAD,
        ) as client:
            await self._enter(client)
            if self._code == DONE and self._on_screen:
                await self._converse(client, first)
            elif self._code == DONE:
                await Plain(client, self._room, self._logins, self._fail).run(nursery)

    async def _converse(self, client: RemoteClient, first: Confidential | None) -> None:
        from trio_chat.terminal.screen import Screen  # noqa: PLC0415 - it needs an extra

        in_room = self._room is not None
        screen = Screen(first)
        conversation = Conversation(client, screen, self._logins, in_room=in_room, bell=self._bell)
        why = await conversation.run()
        if why:
            self._fail(why)

    def _fail(self, why: str) -> None:
        self._code = NOT_DONE
        if why:
            self._tell(why)

    async def _enter(self, client: RemoteClient) -> None:
        """Join the rooms; the last one is where lines are said, as after `/join`."""
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
