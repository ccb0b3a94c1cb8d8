"""Answers that have to be read from the room log: `/history` and `/search`.

They are read off the hub, in a task each, so that a long one delays nobody but who asked. That
client's further records wait for it, so that answers keep the order of what was asked.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import trio
from attrs import define

from trio_chat.errors import Code, Refused
from trio_chat.hub.client import Note
from trio_chat.hub.outcomes import discard, labelled
from trio_chat.protocol.commands import MAX_FOUND, ShowHistory
from trio_chat.protocol.events import EntriesShown, Refusal, TopicSet

if TYPE_CHECKING:
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.outcomes import Lookup
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import Event, PersistentEntry
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")

# What a shown entry takes at most beside its text and names: position, time, signs between them.
ENTRY_BYTES = 64


@define
class Found(Note):
    """What a lookup has come to."""

    lookup: Lookup
    event: Event


class Lookups:
    """Starts lookups, and brings what they found to who asked."""

    def __init__(
        self,
        state: State,
        outboxes: Outboxes,
        log: RoomLog,
        nursery: trio.Nursery,
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._log = log
        self._nursery = nursery

    def start(self, lookup: Lookup) -> None:
        """Read what was asked for, and have the hub told."""
        self._nursery.start_soon(self._look, lookup)

    async def _look(self, lookup: Lookup) -> None:
        told = False
        try:
            event = await self._read(lookup)
            # The client's task may have ended meanwhile, or the chat.
            with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                await lookup.client.channel.send(Found(lookup, event))
                told = True
        finally:
            if not told:
                abandon(lookup)

    async def _read(self, lookup: Lookup) -> Event:
        record, room = lookup.record, lookup.room
        try:
            if isinstance(record, ShowHistory):
                entries = await self._log.before(room.name, record.before, record.limit)
            else:
                entries = await self._log.search(room.name, record.words, MAX_FOUND)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": room.name})
            return Refusal(
                "the messages of this room cannot be read now; please try again later",
                Code.CANNOT_READ,
            )
        if lookup.request is None:
            entries = self._newest(entries)
        return EntriesShown(room.name, room.shown, entries)

    def _newest(self, entries: list[PersistentEntry]) -> list[PersistentEntry]:
        """As many of the newest as half an outbox holds, and one at the least."""
        space = self._state.settings.outbox_bytes // 2
        for index in range(len(entries) - 1, -1, -1):
            space -= _size(entries[index])
            if space < 0:
                return entries[min(index + 1, len(entries) - 1) :]
        return entries

    def found(self, note: Found) -> None:
        """Answer who asked, and let the client's records go on."""
        lookup, client = note.lookup, note.lookup.client
        if client.closing is not None or client.id not in self._state.clients:
            abandon(lookup)
        elif lookup.request is not None:
            if isinstance(note.event, Refusal):
                lookup.request.refusal = Refused(note.event.reason, code=note.event.code)
            lookup.request.events.append(note.event)
            lookup.request.done.set()
        else:
            client.looking = None
            # Even if it has begun to lag meanwhile: there is no more than one of these.
            self._outboxes.put_event(client, labelled(note.event, lookup.label))
            self._outboxes.flush()
            if not client.lagging:
                self._state.go_on(client)


def _size(entry: PersistentEntry) -> int:
    names = entry.nick + (entry.room_name if isinstance(entry, TopicSet) else "")
    return ENTRY_BYTES + len((names + entry.text).encode())


def abandon(lookup: Lookup) -> None:
    """Tell who waits for a lookup that nothing will come of it."""
    if lookup.request is not None:
        discard((lookup.request,))
