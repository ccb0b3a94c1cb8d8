"""Dialects turn bytes into commands and events into bytes. They do no I/O.

A dialect has two halves. The reading half (a `Dialect`) keeps the state of one connection. The
writing half has no state: it needs an event and a hashable `Encoding`. So an event is rendered once
for each encoding, and not once for each client.

`line`, `line_encoding`, `telnet` and `bare_lines` are for people with telnet or nc. `websocket`,
`documents` and `forms` are for WebSocket clients. `irc` is for clients of IRC. `answers` is for
clients that only send HTTP requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from trio_chat.protocol.directory import NOBODY_KNOWN, Directory, Recipient
from trio_chat.protocol.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.dialects.frames import FramesSnapshot
    from trio_chat.dialects.irc.frames import IrcFramesSnapshot
    from trio_chat.dialects.irc.reading import IrcSnapshot
    from trio_chat.dialects.line import LinesSnapshot
    from trio_chat.protocol.commands import Command

# A piece is one rendered event, and a chunk is several pieces joined. For an in-process client they
# are the events themselves.
Piece: TypeAlias = str | bytes | Event
Chunk: TypeAlias = bytes | list[Event]

# A telnet command, a pong or another lesser item counts as this part of a line against the rate. So
# does a kilobyte.
PART_OF_LINE: Final = 0.25


class Dialect(Protocol):
    """The reading half: one for each connection."""

    @property
    def pending(self) -> bool:
        """Whether input waits as bytes because of the `limit` of the last call."""
        ...

    @property
    def spent(self) -> float:
        """The number of lines that the last call read; a lesser item counts as `PART_OF_LINE`."""
        ...

    @property
    def unsettled(self) -> bool:
        """Whether `at_rest` is wanted once no more input comes for a moment."""
        ...

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Take bytes, split anywhere, and return the records that are complete.

        Once these are worth `limit` lines, the rest of the input waits as bytes.
        """
        ...

    def at_rest(self) -> list[Command]:
        """Return the records for a moment of silence after the input.

        Only these records depend on when the input came.
        """
        ...

    def snapshot(self) -> LinesSnapshot | FramesSnapshot | IrcSnapshot | IrcFramesSnapshot:
        """Return the state as plain data, from which another dialect of this kind can go on."""
        ...


class Encoding(Protocol):
    """The writing half. Encodings are equal and hashable by identity."""

    dialect: str
    """The name of the dialect, for operators."""

    ping: bytes
    """Bytes that keep a silent connection alive and that nobody sees; empty if there are none."""

    answers_pings: bool
    """Whether each client answers a ping, so that one that does not is lost."""

    echoes: bool
    """Whether clients get their own messages too."""

    mirrors: bool
    """Whether clients get their own changes, such as a new nick, as the others see them."""

    lists_members: bool
    """Whether clients get the members of their rooms.

    They get them with each join, and again after they have missed a join or a leave.
    """

    lists_all: bool
    """Whether a list of members is whole with each join, however long it is."""

    for_people: bool
    """Whether people read the output as it is, without a program in between.

    They see their own actions and private messages, and the messages of their custom commands. They
    do not see their own plain messages, which are on their screen already.
    """

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> Sequence[Piece]:
        """Return each of these events as clients of this encoding get it.

        `to` is the client if only one gets them, as with replies.
        """
        ...

    def join(self, pieces: Sequence[Piece]) -> Chunk:
        """Return several rendered events, in order, as one piece of output."""
        ...
