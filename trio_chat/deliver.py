"""Brings what a turn has come to into the outboxes, in its order: the fourth step of a turn.

Entries come here from the room log, and from nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.commands import Request
from trio_chat.errors import Refused
from trio_chat.events import SPOKEN, Joined, Left, Refusal, Renamed, Told, TopicSet, Welcomed
from trio_chat.outcomes import (
    NO_DRAFTS,
    Lookup,
    Reply,
    Requested,
    RoomMade,
    WithTopic,
    labelled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.client import Client
    from trio_chat.dialects import Piece, Variant
    from trio_chat.events import Entry, RoomEntry
    from trio_chat.lookups import Lookups
    from trio_chat.outboxes import Outboxes
    from trio_chat.outcomes import Outcome
    from trio_chat.room import Room
    from trio_chat.roomlog import Result
    from trio_chat.state import State


class Deliver:
    """Walks through the outcomes of a turn."""

    def __init__(self, state: State, outboxes: Outboxes, lookups: Lookups) -> None:
        self._state = state
        self._outboxes = outboxes
        self._lookups = lookups
        # Rooms as far as they have been delivered: one that is made anew within a turn stands here
        # as the old one until then.
        self._rooms: dict[str, Room] = dict(state.rooms)
        # Consecutive entries for one room, and its name: they are rendered and joined once.
        self._run: list[RoomEntry] = []
        self._run_name = ""
        # The ids that commands were given whose answers are entries, by the entry's identity.
        self._labels: dict[int, str] = {}

    def walk(
        self, outcomes: list[Outcome], results: Sequence[Result], labels: Mapping[int, str]
    ) -> None:
        """Bring replies and entries, in their order, to where they belong.

        `results` are what the log made of the drafts among the outcomes; `labels` are the ids of
        the commands that led to some of the drafts, by the draft's identity.
        """
        upcoming = iter(results)
        for outcome in outcomes:
            if isinstance(outcome, NO_DRAFTS):
                self._end_run()
                self._no_draft(outcome)
                continue
            result = next(upcoming)
            if labels and id(outcome) in labels:
                self._labels[id(result)] = labels[id(outcome)]
            if isinstance(result, SPOKEN):  # nearly every one is
                if result.room != self._run_name:
                    self._begin_run(result.room)
                self._run.append(result)
            elif isinstance(result, Refused):
                self._end_run()
                self._refuse(outcome, result, labels.get(id(outcome)))
            elif isinstance(result, Told):
                self._end_run()
                self._told(result)
            else:
                self._other(result)
            if isinstance(outcome, Requested) and not isinstance(result, Refused):
                outcome.request.events.append(result)
        self._end_run()
        self._labels.clear()

    def _other(self, entry: Joined | Left | Renamed | TopicSet) -> None:
        """Take an entry that may change the room; a change of who hears it ends a run."""
        if entry.room != self._run_name or isinstance(entry, Left | TopicSet):
            self._begin_run(entry.room)
        room = self._rooms[entry.room]
        if isinstance(entry, Left):
            room.unlisten(self._state.clients[entry.author])
        self._run.append(entry)
        if isinstance(entry, TopicSet):
            room.topic = entry.text
            self._end_run()
        elif isinstance(entry, Joined):
            self._end_run()
            self._let_in(self._state.clients[entry.author], room)

    def _let_in(self, client: Client, room: Room) -> None:
        if client.lagging:
            client.positions[room.name] = room.position
        else:
            room.listen(client)

    def _begin_run(self, name: str) -> None:
        self._end_run()
        self._run_name = name

    def _end_run(self) -> None:
        """Put a run of entries, rendered once a variant, into the outboxes of who hears them."""
        run = self._run
        if not run:
            return
        room = self._rooms[self._run_name]
        self._run_name = ""
        room.keep(run)
        touched = self._outboxes.touched
        # Nobody hears their own words. Topics are for their authors too, so they are their own run.
        authors = () if isinstance(run[0], TopicSet) else {entry.author for entry in run}
        for variant, listeners in room.audience.items():
            pieces = variant.render(run)
            chunk = variant.join(pieces)
            for client in listeners:
                chunks = client.chunks
                if not chunks:
                    touched.append(client)
                chunks.append(chunk)
            self._state.counts.deliveries += len(run) * len(listeners)
            if variant.mirrors:
                if self._labels:
                    self._acknowledge(variant, listeners, pieces)
                continue
            for author_id in authors:
                author = self._state.clients.get(author_id)
                if author is not None and author in listeners:
                    author.chunks.pop()
                    others = self._put_others(author, pieces) if len(authors) > 1 else 0
                    self._state.counts.deliveries -= len(run) - others
        run.clear()

    def _acknowledge(
        self, variant: Variant, listeners: Mapping[Client, None], pieces: list[Piece]
    ) -> None:
        """Give the authors of this run their own entries with the ids of the commands."""
        labels = self._labels
        for author_id in {entry.author for entry in self._run if id(entry) in labels}:
            author = self._state.clients.get(author_id)
            if author is not None and author in listeners:
                author.chunks.pop()
                mine = [
                    variant.render((labelled(entry, labels.get(id(entry))),))[0]
                    if entry.author == author_id
                    else piece
                    for piece, entry in zip(pieces, self._run, strict=True)
                ]
                self._outboxes.put(author, variant.join(mine))

    def _put_others(self, author: Client, pieces: list[Piece]) -> int:
        """Give an author of this run what the others said in it; how much that is."""
        pairs = zip(pieces, self._run, strict=True)
        rest = [piece for piece, entry in pairs if entry.author != author.id]
        if rest:
            self._outboxes.put(author, author.variant.join(rest))
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

    def _refuse(self, outcome: Requested | Entry, refusal: Refused, label: str | None) -> None:
        if isinstance(outcome, Requested):
            outcome.request.refusal = refusal
            return
        author = self._state.clients.get(outcome.author)
        if author is not None:
            self._outboxes.put_event(author, labelled(Refusal(str(refusal)), label))

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
