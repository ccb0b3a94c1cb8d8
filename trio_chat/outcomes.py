"""What applying records comes to: the items of the one ordered list that a turn delivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define

from trio_chat.client import Client
from trio_chat.commands import Request, Search, ShowHistory
from trio_chat.events import Entry

if TYPE_CHECKING:
    from trio_chat.dialects import Chunk
    from trio_chat.events import Event
    from trio_chat.room import Room

Asker: TypeAlias = Client | Request


@define
class Reply:
    """What the asker is told: the event if it is a request, a chunk of its own kind if a client."""

    asker: Asker
    event: Event
    chunk: Chunk

    @classmethod
    def to(cls, asker: Asker, event: Event) -> Reply:
        """Render an event for whoever asked."""
        if isinstance(asker, Request):
            return cls(asker, event, b"")
        return cls(asker, event, asker.variant.join(asker.variant.render((event,))))


@define
class TopicOf:
    """A reply made when it is delivered: a topic counts once the room log has it."""

    asker: Asker
    room: Room
    even_if_none: bool


@define
class Lookup:
    """A reply that has to be read from the room log, once all before it is in there.

    Until then its client's records wait; `request` is the one to answer, if it was one.
    """

    client: Client
    request: Request | None
    room: Room
    record: ShowHistory | Search


@define
class Requested:
    """A draft that a request has led to; the request is given the entry that comes of it."""

    request: Request
    draft: Entry


@define
class RoomMade:
    """From here on, entries of a room of this name are for this one."""

    room: Room


NO_DRAFTS = (Reply, TopicOf, RoomMade, Lookup)

# A draft alone is its author's own; one in the list of outcomes for each in the list of drafts.
Outcome: TypeAlias = Reply | TopicOf | RoomMade | Lookup | Requested | Entry
