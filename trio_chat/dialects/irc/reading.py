"""The reading half: lines of IRC become records.

The id of each command is the message itself, so replies can be written by it
(`trio_chat.dialects.irc.replies`). Only a plain message to a room has none: most need no reply, and
messages without ids are the quickest.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from trio_chat.dialects import PART_OF_LINE
from trio_chat.dialects.irc import (
    absent,
    capabilities,
    monitor,
    past,
    read_markers,
    redaction,
    usage,
)
from trio_chat.dialects.irc.batches import IN_BATCH
from trio_chat.dialects.irc.commands import ROWS, custom_command
from trio_chat.dialects.irc.formatting import plain
from trio_chat.dialects.irc.message import Message, read, write
from trio_chat.dialects.irc.moderation import MODERATION_COMMANDS, moderate
from trio_chat.dialects.irc.nickserv import NAMES as NICKSERV
from trio_chat.dialects.irc.nickserv import to_nickserv
from trio_chat.dialects.irc.parameters import Context, answer, needs_more
from trio_chat.dialects.irc.registration import Registration
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import (
    Answer,
    Command,
    LabelledCommand,
    Ping,
    Quit,
    Refuse,
    Say,
    SwitchEncoding,
)
from trio_chat.protocol.presence import Introduce, LeaveRooms
from trio_chat.protocol.table import has_accounts
from trio_chat.protocol.text import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.protocol.rows import Row

# Bytes of a client's tags, with their `@` and the space behind them (message-tags, "Size limit").
TAGS_BYTES: Final = 4_096
LABEL_CHARS: Final = 64
_NOT_REGISTERED: Final = "say who you are first: your client sends NICK and USER"
ALL_ROWS: Final = {
    **ROWS,
    **MODERATION_COMMANDS,
    **monitor.ROWS,
    **past.ROWS,
    **read_markers.ROWS,
    **redaction.ROWS,
    **usage.ROWS,
}
# The record of one of these is the only one for its message, and needs no answer of its own.
_QUIET: Final = (Ping, Quit)
# A setting of a room may be a key. Its name is the first parameter.
_MAYBE_SECRET: Final = frozenset({"ROOM"})
# The parameters of these are secrets, so no id has them.
_SECRET: Final = frozenset({"AUTHENTICATE", "PASS", "OPER", *NICKSERV})


@define
class IrcSnapshot:
    """A dialect as plain data.

    `buffer` has the beginning of a line, or lines that wait for a limit. With `skipping` it is part
    of a line that is too long. `batches` counts the answers to several records of one message.
    """

    buffer: bytes = field(default=b"", repr=False)
    skipping: bool = False
    pending: bool = False
    private: bool = False
    registration: Registration = field(factory=Registration)
    batches: int = 0


class IrcDialect:
    """The reading half: it keeps half a line, and what the client has said of itself."""

    __slots__ = ("_context", "_kept", "_table", "spent")

    unsettled = False

    def __init__(
        self,
        table: Mapping[str, Row],
        settings: Settings,
        *,
        private: bool = False,
        framing: str = "",
        sts: str = "",
    ) -> None:
        """Begin. `private` means that nobody can read a password on its way.

        `sts` is the value of that capability. A snapshot has none: clients read it at once.
        """
        self._table = table
        self._context = Context(settings, has_accounts(table), private, sts)
        registration = Registration(framing=framing)
        self._kept = IrcSnapshot(private=private, registration=registration)
        self.spent: float = 0

    @classmethod
    def restored(
        cls, table: Mapping[str, Row], settings: Settings, snapshot: IrcSnapshot
    ) -> IrcDialect:
        """Make a dialect that goes on from a snapshot."""
        dialect = cls(table, settings, private=snapshot.private)
        dialect._kept = _copy(snapshot)
        return dialect

    def snapshot(self) -> IrcSnapshot:
        """Return the state as plain data."""
        return _copy(self._kept)

    @property
    def pending(self) -> bool:
        """Whether lines wait because of the limit; see `trio_chat.dialects.Dialect`."""
        return self._kept.pending

    def at_rest(self) -> list[Command]:
        """Return nothing: lines never depend on when they come."""
        return []

    # --- lines ------------------------------------------------------------------------------------

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Take bytes, split anywhere; see `trio_chat.dialects.Dialect`.

        A line ends with CR, LF or both.
        """
        kept, self.spent = self._kept, 0
        if kept.buffer:
            data = kept.buffer + data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        kept.pending = False
        if kept.skipping:
            _, end, data = data.partition(b"\n")
            kept.skipping = not end
        lines = data.split(b"\n", -1 if limit is None else max(0, ceil(limit)))
        kept.buffer = lines.pop()
        kept.pending = limit is not None and b"\n" in kept.buffer
        self.spent = len(lines)
        records: list[Command] = []
        for line in lines:
            if line:
                some = self.line(line)
                self.spent += PART_OF_LINE * max(0, len(some) - 1)
                records += some
        if not kept.pending and self._is_too_long(kept.buffer):
            records += self._too_long()
            kept.buffer, kept.skipping = b"", True
            self.spent += 1
        return records

    def _is_too_long(self, line: bytes) -> bool:
        most = self._context.settings.line_bytes
        if line[:1] != b"@":
            return len(line) > most
        tags, _, rest = line.partition(b" ")
        return len(tags) >= TAGS_BYTES or len(rest) > most

    def _too_long(self) -> list[Command]:
        most = self._context.settings.line_bytes
        sentence = f"a line may have at most {most} bytes; this one was ignored"
        return [Refuse(sentence, Code.TOO_LONG, limit="line_bytes")]

    def line(self, line: bytes) -> list[Command]:
        """Return the records of a line without its end."""
        if self._is_too_long(line):
            return self._too_long()
        try:
            message = read(line.decode())
        except UnicodeDecodeError:
            return self._not_utf8(line)
        return [] if message is None else self._message(message)

    def _not_utf8(self, line: bytes) -> list[Command]:
        """Refuse a line, by the command and the label that can be read all the same."""
        message = read(line.decode(errors="replace"))
        if message is None:
            return []
        command = message.command
        command = command if command.isascii() and command.isalnum() else "*"
        label = self._label(message)
        refusal = answer("FAIL", command, "INVALID_UTF8", "this line is not UTF-8: it was ignored")
        return [self._asked(refusal, (), command, {"label": label} if label else {})]

    # --- messages ---------------------------------------------------------------------------------

    def _message(self, message: Message) -> list[Command]:
        if (say := self._plain(message)) is not None:
            return [say]
        message = to_nickserv(message, self._kept.registration.nick)
        parts = list(self._parts(message))
        label = self._label(message)
        if label and parts and isinstance(parts[0][0], Ping):
            done = self._asked(Answer(b""), (), message.command, {"label": label})
            return [parts[0][0], done]
        # Leaving all rooms is one record with many answers.
        is_one = len(parts) == 1 and not isinstance(parts[0][0], LeaveRooms)
        if not label or is_one:
            return [self._asked(record, params, message.command, {"label": label} if label else {})
                    for record, params in parts]  # fmt: skip
        return self._batch(message.command, label, parts)

    def _plain(self, message: Message) -> Command | None:
        """Return the record of a message to a room that needs no answer."""
        if message.command != "PRIVMSG" or not self._kept.registration.introduced or message.tags:
            return None
        found = self._context.say(message.params)
        return found if isinstance(found, Say) else None

    def _parts(self, message: Message) -> Iterator[tuple[Command, tuple[str, ...]]]:
        """Make the records of a message, each with the parameters that it is about."""
        registration, params = self._kept.registration, message.params
        about = () if message.command in _SECRET else params
        try:
            own = registration.take(message.command, params, self._context)
        except Refused as refusal:
            own = [Refuse(str(refusal), refusal.code, refusal.limit)]
        if own is not None:
            yield from ((record, about) for record in own)
            return
        if not registration.introduced:
            yield Refuse(_NOT_REGISTERED, Code.NOT_INTRODUCED), about
            return
        row = ALL_ROWS.get(message.command)
        if row is None and message.command.lower() not in self._table:
            row = absent.ROWS.get(message.command)
        if row is None or (row.needs and row.needs not in registration.capabilities):
            yield self._other(message), params[:1] if message.command in _MAYBE_SECRET else params
        elif len(params) < row.least:
            yield needs_more(), params
        else:
            yield from row.make(params, self._context)

    def _other(self, message: Message) -> Command:
        """Return the record of a command that is not IRC's own."""
        try:
            record = moderate(message, self._table.get(message.command.lower()), self._context)
        except Refused as refusal:
            return Refuse(str(refusal), refusal.code, refusal.limit)
        return record or custom_command(message, self._table, self._context.settings)

    def _asked(
        self,
        record: Command,
        params: tuple[str, ...],
        command: str,
        tags: Mapping[str, str],
    ) -> Command:
        """Give a record the message that it was made of, as its id."""
        if isinstance(record, (*_QUIET, SwitchEncoding)):
            return record
        if isinstance(record, Introduce):  # whatever came last, a refusal is about the nick
            command, params = "NICK", (record.name.display,)
        flags = dict.fromkeys(
            sorted(self._kept.registration.capabilities & capabilities.REPLIES), ""
        )
        shown = (harmless(plain(param)) for param in params)
        return LabelledCommand(
            record, write(harmless(command), *shown, tags={**tags, **flags}).rstrip()
        )

    def _label(self, message: Message) -> str:
        """Return the label for the answer, if the client may give one."""
        label = message.tags.get("label", "")
        enabled = {"labeled-response", "batch"} <= self._kept.registration.capabilities
        return label if enabled and len(label) <= LABEL_CHARS and label.isprintable() else ""

    def _batch(
        self, command: str, label: str, parts: list[tuple[Command, tuple[str, ...]]]
    ) -> list[Command]:
        """Let the answers of several records be one batch."""
        self._kept.batches += 1
        # A letter, as answers of one record are batches with numbers.
        name = f"b{self._kept.batches}"
        tags = {IN_BATCH: name}
        if not parts:
            return [self._asked(Answer(b""), (), command, {"label": label})]
        start = write("BATCH", f"+{name}", "labeled-response", tags={"label": label})
        return [
            Answer(start.encode()),
            *(self._asked(record, params, command, tags) for record, params in parts),
            answer("BATCH", f"-{name}"),
        ]


def _copy(snapshot: IrcSnapshot) -> IrcSnapshot:
    """Return a copy that keeps this state."""
    return evolve(snapshot, registration=evolve(snapshot.registration))
