r"""The line protocol, which people speak through telnet and nc (docs/protocol.md).

Lines end in `\n`, `\r\n`, or telnet's CR NUL. A client that sends a telnet command gets `\r\n` from
then on (`trio_chat.dialects.telnet`). `trio_chat.dialects.line_encoding` writes the replies, and
`trio_chat.dialects.secrets` asks for passwords.
"""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, cast

from attrs import define, field

from trio_chat.dialects import PART_OF_LINE
from trio_chat.dialects.bare_lines import BareLines
from trio_chat.dialects.line_encoding import CRLF
from trio_chat.dialects.secrets import (
    EXPOSED,
    INTERRUPT,
    NOT_ENCRYPTED,
    Secrets,
    secrets_after,
    secrets_of,
)
from trio_chat.dialects.telnet import IAC, TelnetFilter
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import Answer, Refuse, Say, ShowGreeting, SwitchEncoding
from trio_chat.protocol.table import read_command
from trio_chat.protocol.text import clean_text, is_blank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command, SecretCommand
    from trio_chat.protocol.rows import Row


_PRINTABLE_ASCII = bytes(range(0x20, 0x7F))

# Terminals send these for the keys that edit a line: two for backspace, and one for the whole line.
_ERASE_CHARACTER = "\b\x7f"
_ERASE_LINE = b"\x15"
_EDITING = re.compile(rb"[\b\x7f\x15]")


def _plain_messages(data: bytes, most: int) -> list[Command] | None:
    """Return the messages of whole lines that all are `/msg TEXT`, in printable ASCII, or `None`.

    Each has at most `most` characters. Nearly all input is like this. It needs none of the care
    that the rows and `clean_text` take, and a fifth of their time. All other input goes the long
    way, to the same end.
    """
    if data[-1:] != b"\n" or b" \n" in data or not data.isascii():
        return None
    text = data[5:-1].decode("ascii")
    if text.isprintable():  # a line feed is not, so this is one line
        return [Say(text)] if 0 < len(text) <= most else None
    ends = data.translate(None, _PRINTABLE_ASCII)
    texts = text.split("\n/msg ")
    if ends.strip(b"\n") or len(texts) != len(ends) or max(map(len, texts)) > most:
        return None
    return [Say(text) for text in texts]


def _edited(line: bytes) -> bytes:
    """Carry out the keys that edit a line. A character is deleted with all its bytes."""
    kept: list[str] = []
    for char in line.rpartition(_ERASE_LINE)[2].decode("utf-8", "surrogateescape"):
        if char not in _ERASE_CHARACTER:
            kept.append(char)
        elif kept:
            kept.pop()
    return "".join(kept).encode("utf-8", "surrogateescape")


def _half_end(skipped: bytes) -> bytes:
    """Return the last byte of a skipped line if that may be the first half of the line's end."""
    return b"\r" if skipped.endswith(b"\r") else b""


@define
class LinesSnapshot:
    """A line dialect as plain data.

    `buffer` has the beginning of a line, or lines that wait for a limit. With `skipping` it is part
    of a line that is too long. `telnet` is the beginning of a telnet command, and `None` if no
    telnet command has come. `waiting` has the input after the buffer, with its telnet commands.
    With `hinted` the client has been told what to type. `bare_lines` is the number of lines
    without a command that no summary has counted yet. With `greets` the greeting follows the next
    line, which is the client's first. With `private` nobody can read a password on its way.
    """

    buffer: bytes = field(default=b"", repr=False)
    skipping: bool = False
    pending: bool = False
    telnet: bytes | None = None
    waiting: bytes = field(default=b"", repr=False)
    hinted: bool = False
    bare_lines: int = 0
    greets: bool = False
    secrets: Secrets = field(factory=Secrets, repr=False)
    private: bool = False


class LineDialect:
    """The reading half: it keeps the input of one connection that is not a whole line yet."""

    __slots__ = (
        "_bare_lines",
        "_buffer",
        "_greets",
        "_greets_in_silence",
        "_plain_chars",
        "_private",
        "_secrets",
        "_settings",
        "_skipping",
        "_table",
        "_telnet",
        "_waiting",
        "pending",
        "spent",
        "unsettled",
    )

    rooms = 1

    def __init__(
        self,
        table: Mapping[str, Row],
        settings: Settings,
        *,
        greeted: bool = False,
        greets_in_silence: bool = False,
        private: bool = False,
    ) -> None:
        """Begin for a client that was `greeted` or not.

        With `greets_in_silence` the greeting need not wait for the client's first line. `private`
        means that nobody can read a password on its way.
        """
        self._table = table
        self._settings = settings
        self._plain_chars = min(settings.line_bytes - len("/msg "), settings.message_chars)
        self._buffer = b""
        self._skipping = False
        self._telnet: TelnetFilter | None = None
        # Empty for a client that does not speak telnet.
        self._waiting = b""
        self._bare_lines = BareLines()
        self._greets = bool(settings.greeting) and not greeted
        self._greets_in_silence = self.unsettled = self._greets and greets_in_silence
        self._private = private
        self._secrets = Secrets()
        self.pending = False
        self.spent: float = 0

    @classmethod
    def restored(
        cls, table: Mapping[str, Row], settings: Settings, snapshot: LinesSnapshot
    ) -> LineDialect:
        """Make a dialect that goes on from a snapshot."""
        dialect = cls(table, settings, private=snapshot.private)
        dialect._buffer, dialect._skipping = snapshot.buffer, snapshot.skipping
        dialect._secrets = secrets = snapshot.secrets.copy()
        if snapshot.telnet is not None:
            dialect._telnet = TelnetFilter(snapshot.telnet, secrets.echo)
        dialect._waiting, dialect.pending = snapshot.waiting, snapshot.pending
        dialect._bare_lines = BareLines(snapshot.hinted, snapshot.bare_lines)
        dialect.unsettled = snapshot.bare_lines > 0
        dialect._greets = snapshot.greets
        return dialect

    def snapshot(self) -> LinesSnapshot:
        """Return the state as plain data."""
        telnet = None if self._telnet is None else self._telnet.command
        return LinesSnapshot(
            self._buffer,
            self._skipping,
            self.pending,
            telnet,
            self._waiting,
            self._bare_lines.hinted,
            self._bare_lines.count,
            self._greets,
            self._secrets.copy(),
            self._private,
        )

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Take bytes, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._telnet is not None or b"\xff" in data:
            return self._feed_telnet(data, limit)
        if data[:5] == b"/msg " and not (
            self._buffer
            or self._skipping
            or self._greets
            or self._secrets.asked is not None  # as `wanted`, without a call
            or self._secrets.unread
        ):
            messages = _plain_messages(data, self._plain_chars)
            if messages and (limit is None or len(messages) <= limit):
                self.pending = False
                self.spent = len(messages)
                return messages
        self.spent = 0
        return self._feed_lines(data, limit)

    def at_rest(self) -> list[Command]:
        """Greet, or sum up the lines without a command; see `trio_chat.dialects.Dialect`."""
        self.unsettled = False
        if self._greets_in_silence and self._greets and not self._buffer:
            self._greets = False
            return [ShowGreeting()]
        summary = self._bare_lines.summary(are_messages=self._settings.bare_lines)
        return [self._told(summary)] if summary else []

    def _told(self, text: str) -> Answer:
        """Make a line that comes from the dialect itself."""
        end = "\n" if self._telnet is None else "\r\n"
        return Answer(f"> {text}{end}".encode("ascii"))

    def _feed_telnet(self, data: bytes, limit: float | None) -> list[Command]:
        """Take the telnet commands out. Equal answers within one input are given once."""
        self.spent = 0
        plain, data, self._waiting = b"", self._waiting + data, b""
        if (telnet := self._telnet) is None:
            plain, command, data = data.partition(b"\xff")
            data = command + data
        records = self._feed_lines(plain, limit)  # without new bytes: the lines that waited
        if telnet is None:
            telnet = self._telnet = TelnetFilter(echo=self._secrets.echo)
            records.append(SwitchEncoding(CRLF))
        answers: set[bytes] = set()
        held: list[Command] = []
        at = 0
        while at < len(data):
            if self.pending or (limit is not None and self.spent >= limit):
                self._waiting, self.pending = data[at:], True
                break
            is_command = telnet.inside or data[at] == IAC
            text, answer, at = telnet.take(data, at)
            if is_command and not telnet.inside:
                self.spent += PART_OF_LINE
            if is_command and text == INTERRUPT and self._secrets.asked is None:
                text = b""
            read = self._feed_lines(text, limit) if text else []
            if read:
                answers.clear()  # the same answer may mean another question now
            if answer and answer not in answers:
                answers.add(answer)
                records.append(Answer(answer))
            records += held
            held = []
            if is_command and text == INTERRUPT:
                # Clients ask for a timing mark next, and show nothing until they have its answer.
                held = read
            else:
                records += read
        return records + held

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
            records += self._line(line)
            if self._greets and self._secrets.asked is None:
                self._greets = False
                records.append(ShowGreeting())
        if not self.pending and (at := self._interrupt(self._buffer)) >= 0:
            self._buffer = self._buffer[at + 1 :]
            records += self._secrets.cancel()
        if len(self._buffer) > self._settings.line_bytes + 1 and not self.pending:
            records += self._secrets.refuse(self._buffer, self._too_long())
            self._buffer = _half_end(self._buffer)
            self._skipping = True
            self.spent += 1
        return records

    def _too_long(self) -> Refuse:
        return Refuse(
            f"a line may have at most {self._settings.line_bytes} bytes; this one was ignored",
            Code.TOO_LONG,
            limit="line_bytes",
        )

    def _line(self, line: bytes) -> list[Command]:
        """Return the records of one line; an empty line has none."""
        if (at := self._interrupt(line)) >= 0:
            return [*self._secrets.cancel(), *self._line(line[at + 1 :])]
        if len(line.removesuffix(b"\r")) > self._settings.line_bytes:
            return self._secrets.refuse(line, self._too_long())
        line = line.rstrip(b"\r")
        try:
            text = (_edited(line) if _EDITING.search(line) else line).decode()
        except UnicodeDecodeError:
            sentence = "this line is not valid UTF-8, so it was ignored: set your terminal to UTF-8"
            return self._secrets.refuse(line, Refuse(sentence, Code.BAD_TEXT))
        return self._text(text)

    def _text(self, text: str) -> list[Command]:
        if self._secrets.wanted and (records := self._secrets.take(text)) is not None:
            return records
        # Windows begins text in a pipe with a byte order mark, and shows none.
        text = text.removeprefix("\ufeff")
        if is_blank(text):
            return []
        try:
            record = self._command(text)
        except Refused as refusal:
            refuse = Refuse(str(refusal), refusal.code, refusal.limit)
            mistyped = refusal.code == Code.UNKNOWN_COMMAND and text[0] == "/"
            self._secrets.unread = secrets_after(text, mistyped=mistyped)
            return [refuse, *self._hint(text)]
        if record is None:
            return []
        return self._ask(cast("SecretCommand", record)) if secrets_of(record) else [record]

    def _interrupt(self, data: bytes) -> int:
        """Return the place of the key that cancels what is asked for; -1 if there is none.

        Behind as many bytes as make a line too long there is none, however they are split.
        """
        asks = self._secrets.asked is not None
        return data.find(INTERRUPT, 0, self._settings.line_bytes + 2) if asks else -1

    def _ask(self, record: SecretCommand) -> list[Command]:
        """Ask for the secrets of a command, unless somebody else could read them."""
        if self._private:
            return self._secrets.ask(record)
        if self._settings.plaintext_passwords == "warn":
            return [self._told(EXPOSED), *self._secrets.ask(record)]
        self._secrets.unread = secrets_of(record)
        return [Refuse(NOT_ENCRYPTED, Code.NOT_ENCRYPTED)]

    def _command(self, text: str) -> Command | None:
        if self._settings.bare_lines and not text.startswith("/"):
            if text[0].isspace() and secrets_after(text):
                # As a message, it would have the password behind it be one, too.
                raise Refused("not said: a command has no space before it", code=Code.BAD_USAGE)
            limit = self._settings.message_chars
            say = Say(clean_text(text.rstrip(), what="message", limit=limit))
            self._bare_lines.count += 1
            self.unsettled = True
            return say
        return read_command(text, self._table, self._settings)

    def _hint(self, refused: str) -> list[Command]:
        """Explain what to type, if the line was refused because it has no command."""
        if self._settings.bare_lines or refused.lstrip().startswith("/"):
            return []
        self._bare_lines.count += 1
        self.unsettled = True
        hint = self._bare_lines.hint()
        return [self._told(hint)] if hint else []
