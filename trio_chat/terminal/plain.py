"""The client in a pipe: what is read is said, what others say is written, as lines.

A line that begins with a slash is a command; others are said in the room. What is written are the
lines of the line protocol (docs/protocol.md).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final

import trio

from trio_chat.dialects.line import LF
from trio_chat.errors import ChatClosed, NoConnection, Refused
from trio_chat.protocol.events import PERSISTENT, Departed, Done, MembersListed, Told, Welcomed
from trio_chat.protocol.text import harmless
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal.lines import wrapped
from trio_chat.terminal.typed import LeaveChat, Send, ShowHelp, read_typed

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.protocol.events import Event
    from trio_chat.remote import RemoteClient
    from trio_chat.remote.inbox import RemoteEvent

STDIN: Final = 0
STDOUT: Final = 1


class Plain:
    """One client's lines; `fail` is told of each that was not done, and why."""

    def __init__(self, client: RemoteClient, room: str | None, fail: Callable[[str], None]) -> None:
        self._client = client
        self._room = room
        self._fail = fail
        self._writing = trio.Lock()
        self._why_it_ended = "the connection was closed"

    async def run(self, nursery: trio.Nursery) -> None:
        """Say what is read, until its end or that of the connection.

        The nursery has the task that writes what comes in. It ends once the client has left.
        """
        with trio.CancelScope() as speaking:
            nursery.start_soon(self._follow, speaking)
            await self._speak()
        if speaking.cancelled_caught:
            self._fail(self._why_it_ended)

    # --- what comes in ----------------------------------------------------------------------------

    async def _follow(self, speaking: trio.CancelScope) -> None:
        """Write events until there are no more; then nobody can speak."""
        try:
            async for event in self._client:
                await self._take(event)
        except BrokenPipeError:  # nobody reads any more, which is no news to anyone
            self._why_it_ended = ""
        speaking.cancel()

    async def _take(self, event: RemoteEvent) -> None:
        match event:
            case Disconnected(reason=reason):
                self._why_it_ended = reason
            case Resumed() | MembersListed():
                pass  # what matters of it follows
            case _:
                await self._write(event)

    async def _write(self, event: Event) -> None:
        text = str(LF.render([event])[0]).removesuffix("\n")
        shown = "".join(f"{_fitted(harmless(line))}\n" for line in text.split("\n"))
        # Whoever reads may take their time, and others must not wait for them.
        async with self._writing:
            await trio.to_thread.run_sync(_write_all, shown.encode(), abandon_on_cancel=True)

    # --- what is said -----------------------------------------------------------------------------

    async def _speak(self) -> None:
        """Say what is read until its end, each line once the one before is acknowledged."""
        most = self._client.hello.limits.document_bytes
        lines = _standard_input()
        while True:
            line = await trio.to_thread.run_sync(_read, lines, most, abandon_on_cancel=True)
            if not line or not await self._say(line, most):
                return

    async def _say(self, line: bytes, most: int) -> bool:
        """Say a line; whether to go on."""
        if len(line) > most:
            self._fail(f"a line may have at most {most} bytes; this one was ignored")
            return True
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self._fail("a line was ignored: it is not valid UTF-8")
            return True
        match read_typed(text, {}):
            case LeaveChat():
                return False
            case ShowHelp(command=command):
                await self._send(f"/help {command or ''}")
            case Send(line=said):
                await self._send(said)
        return True

    async def _send(self, line: str) -> None:
        try:
            answer = await self._client.command(line, self._room)
        except (Refused, NoConnection) as error:
            self._fail(f"{error}: {line}")
        except ChatClosed as closed:
            self._fail(f"not said, for {closed}: {line}")
        else:
            await self._answered(answer)

    async def _answered(self, answer: Event) -> None:
        match answer:
            case Welcomed(room=room):
                left, self._room = self._room, room
                if left is not None:
                    await self._client.leave(left)
            case Departed():
                self._room = None
        # What one says oneself is no news.
        if not isinstance(answer, (*PERSISTENT, Told, Done)):
            await self._write(answer)


def _standard_input() -> BinaryIO:
    # Not `sys.stdin`, which the interpreter waits for at its end while a thread reads from it. Nor
    # is it ever closed, which would wait for the thread too.
    return os.fdopen(STDIN, "rb", closefd=False)


def _read(lines: BinaryIO, most: int) -> bytes:
    """The next line, its end included; of one that is too long only the beginning."""
    line = rest = lines.readline(most + 1)
    while len(line) > most and rest and not rest.endswith(b"\n"):
        rest = lines.readline(most + 1)
    return line


def _fitted(line: str) -> str:
    """The line in rows, if it goes to a terminal: it would begin new ones at its edge."""
    try:
        columns = os.get_terminal_size(STDOUT).columns
    except OSError:
        return line
    [(_, rows)] = wrapped([("", line)], columns) if columns else [("", line)]
    return rows


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(STDOUT, data) :]
