"""What applying records comes to: the one ordered list that a turn delivers, and its items."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define

from trio_chat.errors import ChatClosed
from trio_chat.hub.client import Client
from trio_chat.protocol.commands import Request, Search, ShowHistory
from trio_chat.protocol.events import (
    PERSISTENT,
    Acted,
    Entry,
    Goodbye,
    LabelledEvent,
    Missed,
    Said,
    Stopping,
    Told,
    TopicShown,
    Welcomed,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.dialects import Chunk
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.protocol.commands import Record
    from trio_chat.protocol.events import Event

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
        return cls(asker, event, asker.encoding.join(asker.encoding.render((event,))))


@define
class WithTopic:
    """A reply completed when it is delivered: a topic counts once the room log has it."""

    asker: Asker
    room: Room
    event: Welcomed | TopicShown
    label: str | None


@define
class Lookup:
    """A reply that has to be read from the room log, once all before it is in there.

    Until then its client's records wait; `request` is the one to answer, if it was one, and `label`
    the id of the command.
    """

    client: Client
    request: Request | None
    room: Room
    record: ShowHistory | Search
    label: str | None = None


@define
class Requested:
    """A draft that a request has led to; the request is given the entry that comes of it."""

    request: Request
    draft: Entry


@define
class RoomMade:
    """From here on, entries of a room of this name are for this one."""

    room: Room


NO_DRAFTS = (Reply, WithTopic, RoomMade, Lookup)

# What is said in one room, with nothing else in between: delivered at once.
Run: TypeAlias = list[Said | Acted]

# A draft in a run or alone is its author's own. The drafts among the outcomes are those in the list
# of drafts, in the same order.
Outcome: TypeAlias = Reply | WithTopic | RoomMade | Lookup | Requested | Run | Entry


# What a client is told whatever it has not read yet.
LAST_EVENTS = frozenset({Missed, Stopping, Goodbye})

# Drafts that are the answer to a command; to what leads to others there is a reply.
ANSWERS = (*PERSISTENT, Told)


class Outcomes:
    """What the records of a turn have come to so far, in the order of the records."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.listed: list[Outcome] = []
        # The drafts among them.
        self.drafts: list[Entry] = []
        # Requests that are to be told of their end, and the one being applied, if it is one.
        self.requests: list[Request] = []
        self.request: Request | None = None
        # The id that its client has given to the command being applied; and those of drafts that
        # answer such a command, by the draft's identity.
        self.label: str | None = None
        self.labels: dict[int, str] = {}
        # Clients whose replies have reached the outbox limit in this turn.
        self.overfull: list[Client] = []

    @property
    def size(self) -> int:
        """Grows with whatever is added; what is said may be added to a run that is listed."""
        return len(self.listed) + len(self.drafts)

    def reply(self, client: Client, event: Event) -> None:
        """Answer the request being applied, or else its client."""
        if self.request is not None:
            self.listed.append(Reply.to(self.request, event))
        else:
            self.tell(client, event, self.label)

    def tell(self, client: Client, event: Event, label: str | None = None) -> None:
        """Put an event into a client's output, in its place in the turn.

        One that lags is told nothing more: its commands wait, but for those that the end of the
        chat lets through.
        """
        if client.lagging and not client.local and event.__class__ not in LAST_EVENTS:
            return
        reply = Reply.to(client, labelled(event, label))
        client.queued += size_of(reply.chunk)
        if client.queued > self._state.settings.outbox_bytes and not client.local:
            self._state.halt(client)
            self.overfull.append(client)
        self.listed.append(reply)

    def draft(self, draft: Entry) -> None:
        """Add what is to be said, or to be known."""
        self.drafts.append(draft)
        self.listed.append(draft if self.request is None else Requested(self.request, draft))
        if self.label is not None and isinstance(draft, ANSWERS):
            self.labels[id(draft)] = self.label

    def say(self, draft: Said | Acted) -> None:
        """Add what is to be said in a room."""
        if self.request is not None:
            self.draft(draft)
            return
        if self.label is not None:
            self.labels[id(draft)] = self.label
        self.say_all([draft])

    def say_all(self, drafts: list[Said | Acted]) -> None:
        """Add what is to be said in one room, by no request."""
        self.drafts += drafts
        last = self.listed[-1] if self.listed else None
        if isinstance(last, list) and last[0].room == drafts[0].room:
            last += drafts
        else:
            self.listed.append(drafts)

    def with_topic(self, client: Client, room: Room, event: Welcomed | TopicShown) -> None:
        """Answer with this event and the room's topic, as it will be when this is delivered."""
        self.listed.append(WithTopic(self.request or client, room, event, self.label))

    def clear(self) -> None:
        """Forget what has been delivered."""
        self.listed.clear()
        self.drafts.clear()
        self.labels.clear()


def labelled(event: Event, label: str | None) -> Event:
    """An event as the answer to the command that was given this id, if it was given one."""
    return event if label is None else LabelledEvent(event, label)


def discard(records: Iterable[Record]) -> None:
    """Let go of records whose client is gone; who waits for one is told."""
    for record in records:
        if isinstance(record, Request):
            record.refusal = ChatClosed("this client has left the chat, or the chat has stopped")
            record.done.set()
