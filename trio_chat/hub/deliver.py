"""Brings what a turn has come to into the outboxes, in its order: the fourth step of a turn.

Entries come here from the room log, and from nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.errors import Refused
from trio_chat.hub.outcomes import (
    NO_DRAFTS,
    Lookup,
    Reply,
    Requested,
    RoomMade,
    WithTopic,
    labelled,
)
from trio_chat.protocol.commands import Request
from trio_chat.protocol.events import (
    CLAIMS,
    SPOKEN,
    Joined,
    Left,
    Refusal,
    Renamed,
    Told,
    TopicSet,
    Welcomed,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from trio_chat.dialects import Encoding, Piece
    from trio_chat.hub.client import Client
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.outcomes import Outcome, Run
    from trio_chat.hub.queries import Lookups
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import Entry, RoomEntry
    from trio_chat.roomlog import Result


class Deliver:
    """Walks through the outcomes of a turn."""

    def __init__(self, state: State, outboxes: Outboxes, lookups: Lookups) -> None:
        self._state = state
        self._outboxes = outboxes
        self._lookups = lookups
        # Rooms as far as they have been delivered: one that is made anew within a turn stands here
        # as the old one until then.
        self._rooms: dict[str, Room] = dict(state.rooms)
        # The ids that commands were given, by the identity of the drafts that they led to, and of
        # the entries that answer them.
        self._labels: dict[int, str] = {}

    def walk(
        self,
        outcomes: list[Outcome],
        drafts: Sequence[Entry],
        results: Sequence[Result],
        labels: Mapping[int, str],
    ) -> None:
        """Bring replies and entries, in their order, to where they belong.

        `results` are what the log made of `drafts`, those among the outcomes; `labels` are the ids
        of the commands that led to some of the drafts, by the draft's identity.
        """
        if labels:
            self._labels = {**labels}
            for draft, result in zip(drafts, results, strict=True):
                if id(draft) in labels:
                    self._labels[id(result)] = labels[id(draft)]
        # Mostly it has taken them all, and then nothing needs to be matched.
        upcoming = None if results is drafts else iter(results)
        for outcome in outcomes:
            if isinstance(outcome, list):
                self._run(outcome, upcoming)
            elif isinstance(outcome, NO_DRAFTS):
                self._no_draft(outcome)
            else:
                self._draft(outcome, upcoming)
        self._labels = {}

    def _run(self, run: Run, upcoming: Iterator[Result] | None) -> None:
        if upcoming is None:
            self._speak(run)
            return
        for draft in run:
            self._draft(draft, upcoming)

    def _draft(self, outcome: Requested | Entry, upcoming: Iterator[Result] | None) -> None:
        request = outcome.request if isinstance(outcome, Requested) else None
        draft = outcome.draft if isinstance(outcome, Requested) else outcome
        result = draft if upcoming is None else next(upcoming)
        if isinstance(result, Refused):
            self._refuse(draft, request, result)
            return
        if isinstance(result, CLAIMS):
            return  # nothing asks for one yet
        self._entry(result)
        if request is not None:
            request.events.append(result)

    def _entry(self, entry: RoomEntry | Told) -> None:
        if isinstance(entry, SPOKEN):
            self._speak([entry])
        elif isinstance(entry, Told):
            self._told(entry)
        else:
            self._change(entry, self._rooms[entry.room])

    def _change(self, entry: Joined | Left | Renamed | TopicSet, room: Room) -> None:
        """Take an entry that changes the room, or who hears it."""
        if isinstance(entry, TopicSet):
            room.topic = entry.text
            room.keep([entry])
            self._put(room, [entry], ())  # topics are for their authors too
        elif isinstance(entry, Left):
            author = self._state.clients.get(entry.author)
            if author is not None:  # else it was a client of the process before this one
                room.unlisten(author)
            self._put(room, [entry], ())
        else:
            self._put(room, [entry], (entry.author,))
            if isinstance(entry, Joined):
                self._let_in(self._state.clients[entry.author], room)

    def _let_in(self, client: Client, room: Room) -> None:
        if client.lagging:
            client.positions[room.name] = room.position
        else:
            room.listen(client)

    def _speak(self, run: Run) -> None:
        room = self._rooms[run[0].room]
        room.keep(run)
        self._state.counts.messages += len(run)
        self._put(room, run, {entry.author for entry in run})

    def _put(self, room: Room, run: Sequence[RoomEntry], authors: Collection[str]) -> None:
        """Put entries, rendered once an encoding, into the outboxes of who hears them.

        Nobody hears their own words.
        """
        touched, counts = self._outboxes.touched, self._state.counts
        for encoding, listeners in room.audience.items():
            pieces = encoding.render(run)
            chunk = encoding.join(pieces)
            for client in listeners:
                # As `Outboxes.put` does: here it is worth writing out.
                if client.chunk is None:
                    client.chunk = chunk
                    touched.append(client)
                elif client.more is None:
                    client.more = [chunk]
                else:
                    client.more.append(chunk)
            counts.deliveries += len(run) * len(listeners)
            if isinstance(chunk, bytes):
                counts.bytes_out += len(chunk) * len(listeners)
            if encoding.echoes:
                if self._labels:
                    self._acknowledge(encoding, listeners, pieces, run)
                continue
            for author_id in authors:
                author = self._state.clients.get(author_id)
                if author is not None and author in listeners:
                    self._outboxes.take_back(author)
                    others = self._put_others(author, pieces, run) if len(authors) > 1 else 0
                    counts.deliveries -= len(run) - others

    def _acknowledge(
        self,
        encoding: Encoding,
        listeners: Mapping[Client, None],
        pieces: list[Piece],
        run: Sequence[RoomEntry],
    ) -> None:
        """Give the authors of this run their own entries with the ids of the commands."""
        labels = self._labels
        for author_id in {entry.author for entry in run if id(entry) in labels}:
            author = self._state.clients.get(author_id)
            if author is not None and author in listeners:
                self._outboxes.take_back(author)
                mine = [
                    encoding.render((labelled(entry, labels.get(id(entry))),))[0]
                    if entry.author == author_id
                    else piece
                    for piece, entry in zip(pieces, run, strict=True)
                ]
                self._outboxes.put(author, encoding.join(mine))

    def _put_others(self, author: Client, pieces: list[Piece], run: Sequence[RoomEntry]) -> int:
        """Give an author of this run what the others said in it; how much that is."""
        pairs = zip(pieces, run, strict=True)
        rest = [piece for piece, entry in pairs if entry.author != author.id]
        if rest:
            self._outboxes.put(author, author.encoding.join(rest))
        return len(rest)

    def _no_draft(self, outcome: Reply | WithTopic | RoomMade | Lookup) -> None:
        if isinstance(outcome, RoomMade):
            self._made(outcome.room)
        elif isinstance(outcome, Lookup):
            self._lookups.start(outcome)
        elif isinstance(outcome, Reply):
            self._reply(outcome)
        else:
            outcome.event.topic = outcome.room.topic
            if isinstance(outcome.event, Welcomed):
                outcome.event.position = outcome.room.position
            self._reply(Reply.to(outcome.asker, labelled(outcome.event, outcome.label)))

    def _made(self, room: Room) -> None:
        before = self._rooms.get(room.name)
        if before is not None:  # left by all in this turn, which may have set its topic too
            room.topic = before.topic
        self._rooms[room.name] = room

    def _reply(self, reply: Reply) -> None:
        asker = reply.asker
        if isinstance(asker, Request):
            asker.events.append(reply.event)
        else:
            asker.queued = 0
            self._outboxes.put(asker, reply.chunk)

    def _refuse(self, draft: Entry, request: Request | None, refusal: Refused) -> None:
        if request is not None:
            request.refusal = refusal
            return
        client = self._state.clients.get(draft.author)
        if client is not None:
            label = self._labels.get(id(draft))
            self._outboxes.put_event(client, labelled(Refusal(str(refusal)), label))

    def _told(self, told: Told) -> None:
        target = self._state.clients.get(told.to)
        if target is not None:
            self._outboxes.put_event(target, told)
        label = self._labels.get(id(told))
        author = self._state.clients.get(told.author)
        if label is not None and author is not None:
            self._outboxes.put_event(author, labelled(told, label))

    def forget(self, rooms: list[Room]) -> None:
        """Let go of rooms that are gone, now that all in them has been delivered."""
        for room in rooms:
            if self._rooms.get(room.name) is room:
                del self._rooms[room.name]
