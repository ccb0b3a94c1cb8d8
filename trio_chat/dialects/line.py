r"""The line protocol, as spoken through telnet and nc: lines in, lines out.

Lines end in `\n`, `\r\n`, or telnet's CR NUL. Replies start with `> `, refusals with `err: `. A
client that sends a telnet command gets `\r\n` from then on, and what it proposes is refused
(`trio_chat.dialects.telnet`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trio_chat.commands import Answer, Refuse, Say, SwitchVariant
from trio_chat.dialects.telnet import TelnetFilter
from trio_chat.errors import Refused
from trio_chat.events import (
    Acted,
    Answered,
    Departed,
    Event,
    Goodbye,
    HelpShown,
    Joined,
    Left,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    Refusal,
    Renamed,
    RoomsListed,
    Said,
    Stopping,
    Told,
    TopicSet,
    TopicShown,
    Welcomed,
)
from trio_chat.text import clean_text, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.commands import Record
    from trio_chat.dialects import Piece
    from trio_chat.settings import Settings
    from trio_chat.table import Row


# --- writing --------------------------------------------------------------------------------------


def _list(names: list[str], more: int) -> str:
    text = ", ".join(names)
    return f"{text} and {more} more" if more else text


def _topic_shown(event: TopicShown) -> str:
    if event.text:
        return f"> topic of {event.room_name}: {event.text}"
    return f"> {event.room_name} has no topic"


def _missed(event: Missed) -> str:
    messages = "message" if event.count == 1 else "messages"
    return f"> you missed {event.count} {messages} in {event.room_name}"


_LINES: dict[type[Event], Callable[..., str]] = {
    Said: lambda e: f"> {e.nick}: {e.text}",
    Acted: lambda e: f"> * {e.nick} {e.text}",
    TopicSet: lambda e: f"> topic of {e.room_name}: {e.text}",
    Joined: lambda e: f"> {e.nick} joined the room",
    Left: lambda e: f"> {e.nick} has left the room",
    Renamed: lambda e: f"> {e.old} is now known as {e.nick}",
    Told: lambda e: f"> {e.nick} (to you): {e.text}",
    NickTaken: lambda e: f"> all right, I will call you {e.nick}",
    Welcomed: lambda e: f"> welcome to {e.room_name}",
    Departed: lambda e: f"> you have left {e.room_name}",
    RoomsListed: lambda e: f"> available rooms: {_list(e.names, e.more)}".rstrip(),
    MembersListed: lambda e: f"> in {e.room_name}: {_list(e.nicks, e.more)}",
    TopicShown: _topic_shown,
    HelpShown: lambda e: "\n".join(f"> {line}" for line in e.lines),
    Goodbye: lambda _: "> sad to see you go =(",
    Refusal: lambda e: f"err: {e.reason}",
    Notice: lambda e: f"> {e.text}",
    Missed: _missed,
    Stopping: lambda _: "> the server is shutting down",
}


class LineVariant:
    r"""How lines look: with `\n` at their end, or with `\r\n`."""

    __slots__ = ("_end",)

    def __init__(self, end: str) -> None:
        self._end = end

    def render(self, event: Event) -> bytes:
        """Give the line of an event, its end included."""
        if type(event) is Said:  # nearly every event is one
            return f"> {event.nick}: {event.text}{self._end}".encode()
        if type(event) is Answered:
            return event.data
        line = _LINES[type(event)](event)
        return f"{line}\n".replace("\n", self._end).encode()

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Give the bytes of several lines."""
        return b"".join(cast("Sequence[bytes]", pieces))


LF = LineVariant("\n")
CRLF = LineVariant("\r\n")


# --- reading --------------------------------------------------------------------------------------


class LineDialect:
    """The reading half: what one connection has sent and what of it is not a whole line yet."""

    __slots__ = ("_buffer", "_settings", "_skipping", "_table", "_telnet", "pending")

    rooms = 1

    def __init__(self, table: Mapping[str, Row], settings: Settings) -> None:
        self._table = table
        self._settings = settings
        self._buffer = b""
        self._skipping = False
        self._telnet: TelnetFilter | None = None
        self.pending = False

    def feed(self, data: bytes, limit: int | None = None) -> list[Record]:
        """Take bytes as they came, split anywhere; give the records that are complete.

        Lines past `limit` wait as bytes, and `pending` is true. What telnet's own commands are
        answered does not count.
        """
        if b"\0" in data:
            data = self._end_lines_at_cr_nul(data)
        if self._telnet is not None or b"\xff" in data:
            return self._feed_telnet(data, limit)
        return self._feed_lines(data, limit)

    def _end_lines_at_cr_nul(self, data: bytes) -> bytes:
        if (
            data[0] == 0
            and self._buffer.endswith(b"\r")
            and not (self._telnet and self._telnet.inside)
        ):
            data = b"\n" + data[1:]
        return data.replace(b"\r\0", b"\n")

    def _feed_telnet(self, data: bytes, limit: int | None) -> list[Record]:
        records: list[Record] = []
        if self._telnet is None:
            self._telnet = TelnetFilter()
            records.append(SwitchVariant(CRLF))
        held: list[bytes] = []
        for text, answer in self._telnet.feed(data):
            held.append(text)
            # Lines before an answer are answered before it, but for those that wait.
            if answer and b"\n" in text and not self.pending:
                lines = self._feed_lines(b"".join(held), limit)
                limit = None if limit is None else max(0, limit - len(lines))
                records += lines
                held.clear()
            if answer:
                records.append(Answer(answer))
        return records + self._feed_lines(b"".join(held), limit)

    def _feed_lines(self, data: bytes, limit: int | None) -> list[Record]:
        if self._skipping:
            _, end, data = data.partition(b"\n")
            self._skipping = not end
        if self._buffer:
            data = self._buffer + data
        lines = data.split(b"\n", -1 if limit is None else limit)
        self._buffer = lines.pop()
        self.pending = limit is not None and b"\n" in self._buffer
        records = [record for line in lines if (record := self._record(line)) is not None]
        if len(self._buffer) > self._settings.line_bytes + 1 and not self.pending:
            self._buffer = b""
            self._skipping = True
            records.append(self._too_long())
        return records

    def _too_long(self) -> Refuse:
        return Refuse(
            f"a line may have at most {self._settings.line_bytes} bytes; this one is left out"
        )

    def _record(self, line: bytes) -> Record | None:
        """Read one line; an empty one means nothing."""
        line = line.rstrip(b"\r")
        if len(line) > self._settings.line_bytes:
            return self._too_long()
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return Refuse("this line is not valid UTF-8")
        try:
            return self._command(text)
        except Refused as refusal:
            return Refuse(str(refusal))

    def _command(self, text: str) -> Record | None:
        if self._settings.bare_lines and not text.startswith("/") and text.strip():
            return Say(
                clean_text(text.rstrip(), what="message", limit=self._settings.message_chars)
            )
        word, _, arguments = text.lstrip().partition(" ")
        if not word:
            return None
        row = self._table.get(word[1:]) if word.startswith("/") else None
        if row is None:
            raise Refused(f"unknown command: {printable(word)}")
        return row.record(arguments, self._settings)
