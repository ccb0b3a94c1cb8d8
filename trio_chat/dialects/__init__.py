"""Dialects: bytes to command records, events to bytes, and no I/O.

A dialect has two halves. The reading half (a `Dialect`) keeps the state of one connection. The
writing half has none: an event and a hashable `Encoding` are all it needs. So an event is rendered
once an encoding, and not once a client.

`line` is for people with telnet; `websocket` and `documents` are for programs. `answers` is for
clients that only ask by HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from trio_chat.protocol.events import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.dialects.line import LinesSnapshot
    from trio_chat.dialects.websocket import FramesSnapshot
    from trio_chat.protocol.commands import Command

# One event rendered, and several of them joined: text or bytes, then bytes on a wire; or the events
# themselves in-process.
Piece: TypeAlias = str | bytes | Event
Chunk: TypeAlias = bytes | list[Event]

# A telnet command, a pong or another item that is no line counts so much against the rate. A
# kilobyte counts the same.
PART_OF_LINE: Final = 0.25


class Dialect(Protocol):
    """The reading half: one for each connection."""

    @property
    def pending(self) -> bool:
        """Whether input waits, as bytes, because of the last call's `limit`."""
        ...

    @property
    def spent(self) -> float:
        """The lines that the last call has taken in; a lesser item counts as `PART_OF_LINE`."""
        ...

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Take bytes as they came, split anywhere, and give the records that are complete.

        Once lines and lesser items are worth `limit` lines, the rest waits as bytes.
        """
        ...

    def snapshot(self) -> LinesSnapshot | FramesSnapshot:
        """Its state as plain data, from which another of its kind goes on."""
        ...


class Encoding(Protocol):
    """The writing half; equal and hashable by identity."""

    dialect: str
    """What operators are told its clients speak."""

    ping: bytes
    """What keeps a silent connection alive, and is not shown; empty if there is nothing such."""

    echoes: bool
    """Whether its clients keep a picture of their rooms.

    They get their own entries too, and the members anew after changes they have not got.
    """

    def render(self, events: Sequence[Event]) -> list[Piece]:
        """Render each of these events as a client of this encoding gets it."""
        ...

    def join(self, pieces: Sequence[Piece]) -> Chunk:
        """Several rendered events, in order, as one piece of output."""
        ...
