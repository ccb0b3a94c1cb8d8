"""The client in a pipe: it says the lines of its input, and writes messages of others as lines.

An input line that begins with a slash is a command. The output has the lines of the line protocol
(docs/protocol.md).
"""

from __future__ import annotations

import os
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

import trio

from trio_chat.dialects.line_encoding import LF
from trio_chat.dialects.secrets import CANCELLED
from trio_chat.errors import ChatClosed, Code, NoConnection, Refused
from trio_chat.protocol.events import (
    PERSISTENT,
    Departed,
    Done,
    Held,
    Invited,
    LoggedOut,
    MembersListed,
    Notice,
    Refusal,
    Standing,
    Told,
    Welcomed,
)
from trio_chat.protocol.text import harmless
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal.accounts import Confidential, asks_of, before, carry_out
from trio_chat.terminal.lines import wrapped
from trio_chat.terminal.typed import LeaveChat, Send, ShowHelp, read_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from trio_chat.dialects.secrets import Ask
    from trio_chat.protocol.events import Event
    from trio_chat.remote import RemoteClient
    from trio_chat.remote.inbox import RemoteEvent
    from trio_chat.terminal.logins import Logins

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
# The index in what `tcgetattr` gives.
LOCAL_MODES: Final = 3


class Plain:
    """One client's lines; `fail` is called with the reason for each line that was not done."""

    def __init__(
        self,
        client: RemoteClient,
        room: str | None,
        logins: Logins,
        fail: Callable[[str], None],
    ) -> None:
        self._client = client
        self._logins = logins
        self._room = room
        self._fail = fail
        self._input = _standard_input()
        self._writing = trio.Lock()
        self._why_it_ended = "the connection was closed"

    async def run(self, nursery: trio.Nursery) -> None:
        """Say the lines of the input, until its end or that of the connection.

        A task in `nursery` writes events. It ends once the client has left.
        """
        with trio.CancelScope() as speaking:
            nursery.start_soon(self._follow, speaking)
            await self._speak()
        if speaking.cancelled_caught:
            self._fail(self._why_it_ended)

    # --- what comes in ----------------------------------------------------------------------------

    async def _follow(self, speaking: trio.CancelScope) -> None:
        """Write events until there are no more; then nothing more can be said."""
        try:
            async for event in self._client:
                await self._take(event)
        except BrokenPipeError:  # nobody reads the output any more, and needs no reason
            self._why_it_ended = ""
        speaking.cancel()

    async def _take(self, event: RemoteEvent) -> None:
        if problem := self._logins.take(event):
            self._fail(problem)
        match event:
            case Refusal(reason=reason):  # of a login that was kept
                self._fail(reason)
            case Disconnected(reason=reason):
                self._why_it_ended = reason
            case Resumed() | MembersListed():
                pass  # the entries that were missed follow as events
            case Held(author=author) if author != self._client.id:
                if event.news:
                    await self._write(Notice(event.news))
            case Standing(role="none", muted=False):
                pass  # as in most rooms
            case Departed():  # unasked
                self._room = None
                await self._write(event)
            case _:
                await self._write(event)

    async def _write(self, event: Event) -> None:
        text = str(LF.render([event])[0]).removesuffix("\n")
        shown = "".join(f"{_fitted(harmless(line))}\n" for line in text.split("\n"))
        # A slow reader of the output must not hold up the connection.
        async with self._writing:
            await trio.to_thread.run_sync(_write_all, shown.encode(), abandon_on_cancel=True)

    # --- what is said -----------------------------------------------------------------------------

    async def _speak(self) -> None:
        """Say the input, each line after the previous one was acknowledged."""
        while (line := await self._read()) and await self._say(line):
            pass

    async def _read(self) -> bytes:
        """The next line with its end; empty at the end of the input."""
        most = self._client.hello.limits.document_bytes
        return await trio.to_thread.run_sync(_read, self._input, most, abandon_on_cancel=True)

    @property
    def _names(self) -> set[str]:
        """The names of the commands that this client may type."""
        return {row.name for row in self._client.commands}

    def _text(self, line: bytes) -> str | None:
        """The text of a line; `None` for one that cannot be sent, which is told."""
        most = self._client.hello.limits.document_bytes
        if len(line) > most:
            self._fail(f"a line may have at most {most} bytes; this one was ignored")
            return None
        try:
            return line.decode()
        except UnicodeDecodeError:
            self._fail("a line was ignored: it is not valid UTF-8")
            return None

    async def _say(self, line: bytes) -> bool:
        """Say a line; gives whether to go on."""
        text = self._text(line)
        if text is None:
            return True
        if asks := asks_of(text, self._names):
            await self._send_confidential(text.strip(), asks)
            return True
        match read_typed(text, self._names):
            case LeaveChat():
                return False
            case ShowHelp(command=command):
                await self._send(f"/help {command or ''}")
            case Send(line=said):
                await self._send(said)
        return True

    async def _send_confidential(self, line: str, asks: Iterable[Ask]) -> None:
        """Send a command with the secrets in the lines after it, of which none is ever said."""
        read = [await self._read_secret(ask) for ask in asks]
        secrets = tuple(secret for secret in read if secret)
        with self._telling(line):
            if len(secrets) < len(read):
                raise Refused(CANCELLED, code=Code.BAD_USAGE)
            shown = await carry_out(self._client, Confidential(line, secrets), None)
            if shown is not None:
                await self._write(shown)

    async def _read_secret(self, ask: Ask) -> str | None:
        """Read a line that a terminal does not show; `None` if it cannot be sent."""
        with _hidden(ask.prompt):
            line = await self._read()
        text = self._text(line)
        return None if text is None else text.rstrip("\r\n")

    async def _send(self, line: str) -> None:
        with self._telling(line):
            await before(self._client, line)
            await self._answered(await self._client.command(line, self._room))

    @contextmanager
    def _telling(self, line: str) -> Iterator[None]:
        """Tell why a line was not done."""
        try:
            yield
        except (Refused, NoConnection) as error:
            self._fail(f"{error}: {line}")
        except ChatClosed as closed:
            self._fail(f"not said, for {closed}: {line}")

    async def _answered(self, answer: Event) -> None:
        match answer:
            case Welcomed(room=room):
                left, self._room = self._room, room
                if left is not None:
                    await self._client.leave(left)
            case Departed():
                self._room = None
            case Held(author=author) if author != self._client.id:
                answer = answer.done
            case Invited():
                answer = answer.done
        # The client's own messages are not written, and a logout comes as an event.
        if not isinstance(answer, (*PERSISTENT, Told, Done, LoggedOut)):
            await self._write(answer)


def _standard_input() -> BinaryIO:
    # The interpreter waits for `sys.stdin` at its end while a thread reads from it, and closing a
    # file waits for the thread too. So this is another file, which is never closed.
    return os.fdopen(STDIN, "rb", closefd=False)


@contextmanager
def _hidden(prompt: str) -> Iterator[None]:
    """Ask, and have a terminal not show what is typed meanwhile. A pipe is not asked."""
    if not os.isatty(STDIN):
        yield
        return
    before = termios.tcgetattr(STDIN)
    local_modes = before[LOCAL_MODES] & ~termios.ECHO
    # The prompt comes after it: a fast typist answers at once.
    termios.tcsetattr(STDIN, termios.TCSADRAIN, [*before[:3], local_modes, *before[4:]])
    os.write(STDERR, f"{prompt}: ".encode())
    try:
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)
        os.write(STDERR, b"\n")


def _read(lines: BinaryIO, most: int) -> bytes:
    """The next line with its end; only the beginning of a line that is too long."""
    line = rest = lines.readline(most + 1)
    while len(line) > most and rest and not rest.endswith(b"\n"):
        rest = lines.readline(most + 1)
    return line


def _fitted(line: str) -> str:
    """The line in rows if the output is a terminal, so that no row looks like another line."""
    try:
        columns = os.get_terminal_size(STDOUT).columns
    except OSError:
        return line
    rows = wrapped([("", line)], columns) if columns else [[("", line)]]
    return "\n".join("".join(text for _, text in row) for row in rows)


def _write_all(data: bytes) -> None:
    while data:
        data = data[os.write(STDOUT, data) :]
