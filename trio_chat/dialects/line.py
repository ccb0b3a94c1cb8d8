r"""The line protocol, as spoken through telnet and nc: lines in, lines out.

Lines end in `\n`, `\r\n`, or telnet's CR NUL. Replies start with `> `, refusals with `err: `. A
client that sends a telnet command gets `\r\n` from then on, and what it proposes is refused
(`trio_chat.dialects.telnet`).
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Final, cast

from attrs import define

from trio_chat.dialects import PART_OF_LINE
from trio_chat.dialects.telnet import IAC, NO_OPERATION, TelnetFilter
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import Answer, Refuse, Say, SwitchEncoding
from trio_chat.protocol.events import (
    Acted,
    Answered,
    Departed,
    Ended,
    EntriesShown,
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
from trio_chat.protocol.table import read_command
from trio_chat.protocol.text import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Piece
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.protocol.table import Row


# --- writing --------------------------------------------------------------------------------------


def _list(names: list[str], more: int) -> str:
    text = ", ".join(names)
    return f"{text} and {more} more" if more else text


def _welcomed(event: Welcomed) -> str:
    topic = f"\n{_topic_shown(event)}" if event.topic else ""
    return f"> welcome to {event.room_name}{topic}"


def _topic_shown(event: Welcomed | TopicShown) -> str:
    if event.topic:
        return f"> topic of {event.room_name}: {event.topic}"
    return f"> {event.room_name} has no topic"


def _missed(event: Missed) -> str:
    messages = "message" if event.count == 1 else "messages"
    return f"> you missed {event.count} {messages} in {event.room_name}"


def _stopping(event: Stopping) -> str:
    if event.restarting:
        return "> the server is being upgraded: please connect again"
    return "> the server is shutting down"


def _entries_shown(event: EntriesShown) -> str:
    lines = list(map(_dated, event.entries))
    if at := event.stopped_at:
        lines.append(
            f"> the search stopped, as it took too long: messages before {at} were not searched "
            f"(/history before {at} shows them)"
        )
    return "\n".join(lines) or f"> no messages found in {event.room_name}"


def _dated(entry: PersistentEntry) -> str:
    """A persistent entry as it was shown, with its position and time (UTC) before it."""
    minute, second = divmod(int(entry.time), 60)
    shown = (
        f"{entry.nick}: {entry.text}" if isinstance(entry, Said) else _LINES[type(entry)](entry)[2:]
    )
    return f"> [{entry.position} {_date(minute)}:{second:02}] {shown}"


# A long page is rendered within the hub's turn, and dates would take half of that.
@lru_cache(maxsize=1_024)
def _date(minute: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(60 * minute))


_LINES: dict[type[Event], Callable[..., str]] = {
    Said: lambda e: f"> {e.nick}: {e.text}",
    Acted: lambda e: f"> * {e.nick} {e.text}",
    TopicSet: lambda e: f"> topic of {e.room_name}: {e.text}",
    Joined: lambda e: f"> {e.nick} joined the room",
    Left: lambda e: f"> {e.nick} has left the room",
    Renamed: lambda e: f"> {e.old} is now known as {e.nick}",
    Told: lambda e: f"> {e.nick} (to you): {e.text}",
    NickTaken: lambda e: f"> all right, I will call you {e.nick}",
    Welcomed: _welcomed,
    Departed: lambda e: f"> you have left {e.room_name}",
    RoomsListed: lambda e: f"> available rooms: {_list(e.names, e.more)}".rstrip(),
    MembersListed: lambda e: (
        f"> in {e.room_name}: {_list([member.nick for member in e.members], e.more)}"
    ),
    TopicShown: _topic_shown,
    EntriesShown: _entries_shown,
    HelpShown: lambda e: "\n".join(f"> {line}" for line in e.lines),
    Goodbye: lambda _: "> sad to see you go =(",
    Refusal: lambda e: f"err: {e.reason}",
    Ended: lambda e: f"err: {e.reason}",
    Notice: lambda e: f"> {e.text}",
    Missed: _missed,
    Stopping: _stopping,
}


# A long run of blanks would end a line of a terminal, and what follows it would look like a line of
# the server's. Invisible characters may stand between them. Four are an indentation.
_BLANKS: Final = 4
_BLANK: Final = r"\s\u115f\u1160\u2800\u3164\uffa0"
_UNSEEN: Final = (
    r"\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_LONG_RUN: Final = re.compile(rf"(?:(?!\n)[{_BLANK}][{_UNSEEN}]*){{{_BLANKS + 1},}}")
_SPACES, _TOO_MANY_SPACES = " " * _BLANKS, " " * (_BLANKS + 1)
# Their text is the program's own.
_PROGRAMS: Final = (HelpShown, Notice)


def _close_up(text: str) -> str:
    """Give the text with long runs of blanks cut to `_BLANKS` spaces."""
    if text.isascii() and _TOO_MANY_SPACES not in text:
        return text
    return _LONG_RUN.sub(_SPACES, text)


class LineEncoding:
    r"""How lines look: with `\n` at their end, or with `\r\n`."""

    __slots__ = ("_end", "ping")

    dialect = "line"
    echoes = False

    def __init__(self, end: str, ping: bytes = b"") -> None:
        self._end = end
        self.ping = ping

    def render(self, events: Sequence[Event]) -> list[Piece]:
        """Give the lines of events, their ends included."""
        end = self._end
        return [
            # Nearly every one is a message.
            f"> {event.nick}: {_close_up(event.text)}{end}"
            if isinstance(event, Said)
            else self._line(event)
            for event in events
        ]

    def _line(self, event: Event) -> str:
        if isinstance(event, Answered):
            return event.data.decode("ascii", "surrogateescape")
        line = _LINES[type(event)](event)
        if not isinstance(event, _PROGRAMS):
            line = _close_up(line)
        return f"{line}\n".replace("\n", self._end)

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Give the bytes of several lines; those of telnet commands are kept as they are."""
        return "".join(cast("Sequence[str]", pieces)).encode("utf-8", "surrogateescape")


LF = LineEncoding("\n")
# For clients that speak telnet.
CRLF = LineEncoding("\r\n", NO_OPERATION)


# --- reading --------------------------------------------------------------------------------------


_PRINTABLE_ASCII = bytes(range(0x20, 0x7F))

# Keys that edit a line, as terminals send them: the two for backspace, and one for the whole line.
_ERASE_CHARACTER = "\b\x7f"
_ERASE_LINE = b"\x15"
_EDITING = re.compile(rb"[\b\x7f\x15]")


def _plain_messages(data: bytes, most: int) -> list[str] | None:
    """The texts of whole lines that all are `/msg` and printable ASCII, at most `most` characters.

    Nearly all that is ever sent is that. It needs none of the care that the rows and `clean_text`
    take, and a fifth of their time; whatever is not exactly so goes the long way, to the same end.
    """
    if data[-1:] != b"\n" or b" \n" in data or not data.isascii():
        return None
    text = data[5:-1].decode("ascii")
    if text.isprintable():  # so it is one line
        return [text] if 0 < len(text) <= most else None
    ends = data.translate(None, _PRINTABLE_ASCII)
    texts = text.split("\n/msg ")
    if ends.strip(b"\n") or len(texts) != len(ends) or len(max(texts, key=len)) > most:
        return None
    return texts


def _edited(line: bytes) -> bytes:
    """Carry out the keys that edit a line; a character goes with all of its bytes."""
    kept: list[str] = []
    for char in line.rpartition(_ERASE_LINE)[2].decode("utf-8", "surrogateescape"):
        if char not in _ERASE_CHARACTER:
            kept.append(char)
        elif kept:
            kept.pop()
    return "".join(kept).encode("utf-8", "surrogateescape")


def _half_end(skipped: bytes) -> bytes:
    """What to keep of a line that is skipped: what may be the first half of its end."""
    return b"\r" if skipped.endswith(b"\r") else b""


@define
class LinesSnapshot:
    """A line dialect as plain data.

    `buffer` is no whole line yet, or waits for a limit. `skipping`: it is the rest of a line too
    long. `telnet` is the telnet command begun, if any telnet command has come. `waiting` comes
    behind the buffer, with its telnet commands still in it.
    """

    buffer: bytes = b""
    skipping: bool = False
    pending: bool = False
    telnet: bytes | None = None
    waiting: bytes = b""


class LineDialect:
    """The reading half: what one connection has sent and what of it is not a whole line yet."""

    __slots__ = (
        "_buffer",
        "_plain_chars",
        "_settings",
        "_skipping",
        "_table",
        "_telnet",
        "_waiting",
        "pending",
        "spent",
    )

    rooms = 1

    def __init__(self, table: Mapping[str, Row], settings: Settings) -> None:
        self._table = table
        self._settings = settings
        self._plain_chars = min(settings.line_bytes - len("/msg "), settings.message_chars)
        self._buffer = b""
        self._skipping = False
        self._telnet: TelnetFilter | None = None
        # Only a client that speaks telnet has something here.
        self._waiting = b""
        self.pending = False
        self.spent: float = 0

    @classmethod
    def restored(
        cls, table: Mapping[str, Row], settings: Settings, snapshot: LinesSnapshot
    ) -> LineDialect:
        """A dialect that goes on from another one's snapshot."""
        dialect = cls(table, settings)
        dialect._buffer, dialect._skipping = snapshot.buffer, snapshot.skipping
        dialect._telnet = None if snapshot.telnet is None else TelnetFilter(snapshot.telnet)
        dialect._waiting, dialect.pending = snapshot.waiting, snapshot.pending
        return dialect

    def snapshot(self) -> LinesSnapshot:
        """This dialect as plain data."""
        telnet = None if self._telnet is None else self._telnet.command
        return LinesSnapshot(self._buffer, self._skipping, self.pending, telnet, self._waiting)

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._telnet is not None or b"\xff" in data:
            return self._feed_telnet(data, limit)
        if data[:5] == b"/msg " and not self._buffer and not self._skipping:
            texts = _plain_messages(data, self._plain_chars)
            if texts and (limit is None or len(texts) <= limit):
                self.pending = False
                self.spent = len(texts)
                return [Say(text) for text in texts]
        self.spent = 0
        return self._feed_lines(data, limit)

    def _feed_telnet(self, data: bytes, limit: float | None) -> list[Command]:
        """Take telnet's commands out; each answer is given once, however often it is asked for."""
        self.spent = 0
        plain, data, self._waiting = b"", self._waiting + data, b""
        if (telnet := self._telnet) is None:
            plain, command, data = data.partition(b"\xff")
            data = command + data
        records = self._feed_lines(plain, limit)  # or those that waited for a limit
        if telnet is None:
            telnet = self._telnet = TelnetFilter()
            records.append(SwitchEncoding(CRLF))
        answers: set[bytes] = set()
        at = 0
        while at < len(data):
            if self.pending or (limit is not None and self.spent >= limit):
                self._waiting, self.pending = data[at:], True
                break
            is_command = telnet.inside or data[at] == IAC
            text, answer, at = telnet.take(data, at)
            if is_command and not telnet.inside:
                self.spent += PART_OF_LINE
            if text:
                records += self._feed_lines(text, limit)
            if answer and answer not in answers:
                answers.add(answer)
                records.append(Answer(answer))
        return records

    def _feed_lines(self, data: bytes, limit: float | None) -> list[Command]:
        if self._buffer:
            data = self._buffer + data
        if b"\0" in data:
            data = data.replace(b"\r\0", b"\n")
        self.pending = False
        if self._skipping:
            skipped, end, data = data.partition(b"\n")
            self._skipping = not end
            if not end:
                self._buffer = _half_end(skipped)
                return []
        lines = data.split(b"\n", -1 if limit is None else max(0, ceil(limit - self.spent)))
        self._buffer = lines.pop()
        self.pending = limit is not None and b"\n" in self._buffer
        self.spent += len(lines)
        records: list[Command] = []
        for line in lines:
            record = self._record(line)
            if record is not None:
                records.append(record)
        if len(self._buffer) > self._settings.line_bytes + 1 and not self.pending:
            self._buffer = _half_end(self._buffer)
            self._skipping = True
            self.spent += 1
            records.append(self._too_long())
        return records

    def _too_long(self) -> Refuse:
        return Refuse(
            f"a line may have at most {self._settings.line_bytes} bytes; this one was ignored",
            Code.TOO_LONG,
            limit="line_bytes",
        )

    def _record(self, line: bytes) -> Command | None:
        """Read one line; an empty one means nothing."""
        if len(line.removesuffix(b"\r")) > self._settings.line_bytes:
            return self._too_long()
        line = line.rstrip(b"\r")
        try:
            text = (_edited(line) if _EDITING.search(line) else line).decode()
        except UnicodeDecodeError:
            return Refuse(
                "this line is not valid UTF-8, so it was ignored: set your terminal to UTF-8",
                Code.BAD_TEXT,
            )
        try:
            return self._command(text)
        except Refused as refusal:
            return Refuse(str(refusal), refusal.code, refusal.limit)

    def _command(self, text: str) -> Command | None:
        if self._settings.bare_lines and not text.startswith("/") and text.strip():
            return Say(
                clean_text(text.rstrip(), what="message", limit=self._settings.message_chars)
            )
        return read_command(text, self._table, self._settings)
