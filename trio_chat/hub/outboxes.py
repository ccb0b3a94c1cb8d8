"""Sends what a turn has put into outboxes, and looks after clients that are slow to take it.

The last step of a turn, and what goes on between turns: waiting for links that take no more, and
catching up the clients behind them.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import trio
from attrs import define

from trio_chat.hub.client import NOT_BEHIND, Lost, Note
from trio_chat.hub.room import listable
from trio_chat.protocol.events import Missed, Stopping, TopicSet, size_of

if TYPE_CHECKING:
    from trio_chat.dialects import Chunk
    from trio_chat.hub.client import Client
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import Entry, Event, PersistentEntry
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")


def hears(client: Client, entry: Entry) -> bool:
    """Whether an entry is for this client too, if it is its author.

    Topics are, its own words are not, unless it keeps a picture of its rooms.
    """
    return entry.author != client.id or client.encoding.echoes or entry.__class__ is TopicSet


# Persistent entries read from the log at once for a client that catches up.
PAGE_ENTRIES = 200


@define
class Drained(Note):
    """A client's link can take more."""

    client: Client


@define
class Page(Note):
    """Persistent entries of a room after a position, for a client that has fallen behind."""

    client: Client
    room: str
    after: int
    entries: list[PersistentEntry]


class Outboxes:
    """All clients' outboxes. `broken` are those whose links have failed meanwhile, and why."""

    def __init__(self, state: State, log: RoomLog, nursery: trio.Nursery) -> None:
        self._state = state
        self._log = log
        self._nursery = nursery
        # Clients with output in this turn.
        self.touched: list[Client] = []
        self.broken: list[tuple[Client, str]] = []

    def put(self, client: Client, chunk: Chunk) -> None:
        """Add a chunk to what the client gets in this turn."""
        if isinstance(chunk, bytes):
            self._state.counts.bytes_out += len(chunk)
        if client.chunk is None:
            client.chunk = chunk
            self.touched.append(client)
        elif client.more is None:
            client.more = [chunk]
        else:
            client.more.append(chunk)

    def take_back(self, client: Client) -> None:
        """Take the chunk back that was added last."""
        if client.more:
            chunk = client.more.pop()
        else:
            chunk, client.chunk = client.chunk, None
        if isinstance(chunk, bytes):
            self._state.counts.bytes_out -= len(chunk)

    def put_event(self, client: Client, event: Event) -> None:
        """Add an event."""
        self.put(client, client.encoding.join(client.encoding.render((event,))))

    def flush(self) -> None:
        """Send what this turn has put into outboxes, once a client."""
        touched, self.touched = self.touched, []
        for client in touched:
            # Its last chunk may have been taken back, or it has been sent already.
            if client.chunk is not None:
                self._send(client)

    def _send(self, client: Client) -> None:
        chunk, more = client.chunk, client.more
        client.chunk = client.more = None
        try:
            left = client.link.write(chunk, more)
        except OSError as error:
            self.broken.append((client, f"connection lost: {error.strerror}"))
            return
        if left:
            self._left_over(client, left)

    def _left_over(self, client: Client, left: int) -> None:
        if not client.draining and not client.local:
            client.draining = True
            self._nursery.start_soon(self._drain, client)
        if (
            left > self._state.settings.outbox_bytes
            and not client.lagging
            and client.closing is None
        ):
            self._lag(client)

    async def _drain(self, client: Client) -> None:
        """Wait until the link takes more, and tell the hub."""
        note: Note = Drained(client)
        try:
            more = True
            while more and not (client.lagging and client.link.unsent_bytes < self._half()):
                undelivered = client.link.undelivered()
                patience = self._state.settings.stall_timeout
                with trio.move_on_after(patience) as stalled:
                    more = await client.link.drain()
                # A socket takes more only once a good part of its buffer is free, which may be
                # megabytes: a slow reader gets on long before that.
                if stalled.cancelled_caught and client.link.undelivered() >= undelivered:
                    reason = f"nothing sent could be delivered for {patience:g} seconds"
                    note = Lost(client, reason)
                    break
        except OSError as error:
            note = Lost(client, f"connection lost: {error.strerror}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            note = Lost(client, "connection lost")
        # The client's task may have ended meanwhile, or the chat.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await client.channel.send(note)

    # --- clients that lag -------------------------------------------------------------------------

    def _lag(self, client: Client) -> None:
        """Give a client no more entries until it has caught up, and read nothing from it."""
        self.suspend(client)
        if not client.local and not self._state.stopping:
            self._state.halt(client)
            client.link.pause_reading()
        self._state.counts.lagged += 1

    def suspend(self, client: Client) -> None:
        """Give a client no more entries until it has caught up."""
        if not client.lagging:
            client.lagging = True
            client.positions = client.reached
            for room in client.rooms.values():
                room.unlisten(client)

    def _revive(self, client: Client) -> None:
        """Let a client that has caught up hear its rooms again, and read on."""
        client.lagging = False
        client.positions = NOT_BEHIND
        for room in client.rooms.values():
            room.listen(client)
        self._state.go_on(client)
        if client.encoding.echoes and client.rooms:
            # Who came and went meanwhile is not repeated.
            most = listable(self._state.settings, len(client.rooms))
            for room in client.rooms.values():
                self.put_event(client, room.listed(most))
            self._send(client)

    def drained(self, note: Drained) -> None:
        """Go on sending to a client whose link takes more."""
        client = note.client
        client.draining = False
        self._send(client)
        self.catch_up(client)

    def page(self, note: Page) -> None:
        """Use a page of the log to catch up the client it was read for."""
        client = note.client
        client.paging = False
        room = client.rooms.get(note.room)
        if not client.lagging or client.closing is not None or room is None:
            return
        if note.after != self._position(client, room):  # it has left and joined meanwhile
            self.catch_up(client)
            return
        entries = note.entries or room.since(note.after)
        upto = entries[0].position - 1 if entries else room.position
        if upto > note.after:
            client.positions[room.name] = upto
            self.put_event(client, Missed(room.name, room.shown, upto - note.after))
        self._fill(client, room, entries, self._half() - client.link.unsent_bytes)
        self._send(client)
        self.catch_up(client)

    def catch_up(self, client: Client) -> None:
        """Add what a lagging client has not got yet, while its outbox is under half its limit."""
        half = self._half()
        while (
            client.lagging
            and client.closing is None
            and client.away is None
            and not client.paging
            and client.link.unsent_bytes < half
        ):
            room = next(
                (room for room in client.rooms.values() if self._is_behind(client, room)), None
            )
            if room is None:
                self._revive(client)
                return
            entries = room.since(self._position(client, room))
            if entries and entries[0].position == self._position(client, room) + 1:
                self._fill(client, room, entries, half - client.link.unsent_bytes)
                self._send(client)
            else:
                client.paging = True
                self._nursery.start_soon(
                    self._read_page, client, room.name, self._position(client, room)
                )

    def _half(self) -> int:
        return self._state.settings.outbox_bytes // 2

    def _position(self, client: Client, room: Room) -> int:
        # Nothing had been delivered in a room whose position was 0: all it has since is new to the
        # client.
        return client.positions[room.name] or room.base

    def _is_behind(self, client: Client, room: Room) -> bool:
        return self._position(client, room) < room.position

    def _fill(self, client: Client, room: Room, entries: list[PersistentEntry], space: int) -> None:
        """Put entries into a client's outbox until the space is full.

        One at the least, so that it gets on.
        """
        for entry in entries:
            client.positions[room.name] = entry.position
            if not hears(client, entry):
                continue
            chunk = client.encoding.join(client.encoding.render((entry,)))
            self.put(client, chunk)
            space -= size_of(chunk)
            if space <= 0:
                return

    async def _read_page(self, client: Client, room: str, after: int) -> None:
        try:
            entries = await self._log.read(room, after, PAGE_ENTRIES)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": room})
            entries = []
        # The client's task may have ended meanwhile, or the chat.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await client.channel.send(Page(client, room, after, entries))

    # --- ends -------------------------------------------------------------------------------------

    def missed(self, client: Client) -> list[Missed]:
        """What a lagging client will never get: one event for each room it is behind in."""
        if not client.lagging:
            return []
        missed = []
        for room in client.rooms.values():
            behind = room.position - self._position(client, room)
            recent = room.since(room.position - behind)
            # Its own words are no loss; what is not at hand may have been its own, or not.
            count = behind - sum(not hears(client, entry) for entry in recent)
            if count:
                missed.append(Missed(room.name, room.shown, count))
        return missed

    def last_words(self, clients: list[Client]) -> None:
        """Release each client, with a last send of what it has waiting and a farewell."""
        for client in clients:
            if client.closing is None:
                self.put_event(client, Stopping())
            with contextlib.suppress(OSError):
                client.link.write(client.chunk, client.more)
            client.link.release()
