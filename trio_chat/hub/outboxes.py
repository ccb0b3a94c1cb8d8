"""Sends what a turn has put into outboxes, and looks after sessions that are slow to take it.

Sending is the last step of a turn. Between turns, tasks wait for links that take no more, and
slow consumers catch up.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import trio

from trio_chat.hub.inbox import Drained, HubEvent, Lost, PageRead
from trio_chat.hub.room import listable
from trio_chat.hub.session import NO_LABELS, NOT_BEHIND, Reason
from trio_chat.protocol.events import (
    Done,
    Goodbye,
    LabelledEvent,
    Missed,
    Stopping,
    TopicSet,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_chat.dialects import Chunk
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import Entry, Event, PersistentEntry
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")

# Persistent entries read from the log at once for a session that catches up.
PAGE_ENTRIES = 200

# A slow consumer is told these whatever it has not read yet.
LAST_EVENTS = frozenset({Missed, Stopping, Goodbye})


def hears(session: Session, entry: Entry) -> bool:
    """Whether an entry is for this session too, if it is its user's own.

    Topics are. Its own words are not, unless its encoding echoes them.
    """
    if entry.author != session.user.id:
        return True
    return session.encoding.echoes or entry.__class__ is TopicSet


class Outboxes:
    """All sessions' outboxes. `broken` are those whose links have failed meanwhile, and why."""

    def __init__(self, state: State, log: RoomLog, nursery: trio.Nursery) -> None:
        self._state = state
        self._log = log
        self._nursery = nursery
        # Sessions with output, with replies, and with too many replies in this turn.
        self._touched: list[Session] = []
        self._replied: list[Session] = []
        self._overfull: list[Session] = []
        self.broken: list[tuple[Session, str]] = []

    def put(self, session: Session, chunk: Chunk) -> None:
        """Add a chunk to what the session gets in this turn, unless its link is released."""
        if session not in self._state.sessions:  # a shared log has answered too late
            return
        if isinstance(chunk, bytes):
            self._state.counts.bytes_out += len(chunk)
        if session.chunk is None:
            session.chunk = chunk
            self._touched.append(session)
        elif session.more is None:
            session.more = [chunk]
        else:
            session.more.append(chunk)

    def put_all(self, sessions: Collection[Session], chunk: Chunk) -> None:
        """Add one chunk to what each of these sessions gets; most of the hub's time goes here."""
        touched = self._touched
        for session in sessions:
            if session.chunk is None:
                session.chunk = chunk
                touched.append(session)
            elif session.more is None:
                session.more = [chunk]
            else:
                session.more.append(chunk)
        if isinstance(chunk, bytes):
            self._state.counts.bytes_out += len(chunk) * len(sessions)

    def take_back(self, session: Session) -> None:
        """Take the chunk back that was added last."""
        if session.more:
            chunk = session.more.pop()
        else:
            chunk, session.chunk = session.chunk, None
        if isinstance(chunk, bytes):
            self._state.counts.bytes_out -= len(chunk)

    def put_event(self, session: Session, event: Event, label: str | None = None) -> Chunk:
        """Add an event, as the answer to the command with this label if there is one."""
        if label is not None:
            event = LabelledEvent(event, label)
        chunk = session.encoding.join(session.encoding.render((event,)))
        self.put(session, chunk)
        return chunk

    def reply(self, session: Session, event: Event, label: str | None = None) -> None:
        """Add an answer, and count it: an outbox full of replies suspends its session.

        A slow consumer is told nothing more, once the end of the chat lets its commands through.
        Until then they wait, and an answer is to one that a shared log had in its hands.
        """
        let_through = session.slow_consumer and Reason.SLOW_CONSUMER not in session.suspended
        if let_through and not session.local and event.__class__ not in LAST_EVENTS:
            return
        if not session.replies:
            self._replied.append(session)
        session.replies += size_of(self.put_event(session, event, label))
        if session.replies > self._state.settings.outbox_bytes and not session.local:
            if Reason.OUTBOX_FULL not in session.suspended:
                self._overfull.append(session)
            self._state.suspend(session, Reason.OUTBOX_FULL)

    def flush(self) -> None:
        """Send what this turn has put into outboxes, once a session."""
        touched, self._touched = self._touched, []
        for session in touched:
            # Its last chunk may have been taken back, or it has been sent already.
            if session.chunk is not None:
                self._send(session)
        for session in self._replied:
            session.replies = 0
        self._replied.clear()
        for session in self._overfull:
            self._state.resume(session, Reason.OUTBOX_FULL)
        self._overfull.clear()

    def _send(self, session: Session) -> None:
        chunk, more = session.chunk, session.more
        session.chunk = session.more = None
        try:
            unsent = session.link.write(chunk, more)
        except OSError as error:
            self.broken.append((session, f"connection lost: {error.strerror}"))
            return
        if unsent:
            self._wait_for_room(session, unsent)

    def _wait_for_room(self, session: Session, unsent: int) -> None:
        if not session.draining and not session.local:
            session.draining = True
            self._nursery.start_soon(self._drain, session)
        if (
            unsent > self._state.settings.outbox_bytes
            and not session.slow_consumer
            and session.closing is None
        ):
            self._fall_behind(session)

    async def _drain(self, session: Session) -> None:
        """Wait until the link takes more, and tell the hub."""
        event: HubEvent = Drained(session)
        try:
            more = True
            while more:
                undelivered = session.link.undelivered()
                patience = self._state.settings.stall_timeout
                with trio.move_on_after(patience) as stalled:
                    more = await session.link.drain()
                # A socket takes more only once a good part of its buffer is free. That may be
                # megabytes, and a slow reader gets on long before.
                if stalled.cancelled_caught and session.link.undelivered() >= undelivered:
                    reason = f"nothing sent could be delivered for {patience:g} seconds"
                    event = Lost(session, reason)
                    break
                if session.slow_consumer and session.link.unsent_bytes < self._half():
                    break  # it can catch up
        except OSError as error:
            event = Lost(session, f"connection lost: {error.strerror}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            event = Lost(session, "connection lost")
        # The session's task may have ended meanwhile, or the chat.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await session.channel.send(event)

    # --- slow consumers ---------------------------------------------------------------------------

    def deafen(self, session: Session) -> None:
        """Let the session hear nothing of its rooms any more."""
        for room in session.user.rooms.values():
            room.unlisten(session)

    def _fall_behind(self, session: Session) -> None:
        """Give a session no more entries until it has caught up, and read nothing from it."""
        positions = session.user.positions
        self.deafen(session)
        session.slow_consumer, session.positions, session.labels = True, positions, {}
        if not session.local and not self._state.stopping:
            self._state.suspend(session, Reason.SLOW_CONSUMER)
            session.link.pause_reading()
        self._state.counts.lagged += 1

    def begin_catching_up(self, session: Session, positions: dict[str, int]) -> None:
        """Have a session that has just been attached to its user get what it missed."""
        session.slow_consumer, session.positions, session.labels = True, positions, {}
        self._state.suspend(session, Reason.SLOW_CONSUMER)
        self.catch_up(session)

    def end_suspension(self, session: Session) -> None:
        """Decide a slow consumer's records all the same: the chat is stopping."""
        self._state.resume(session, Reason.SLOW_CONSUMER)

    def _revive(self, session: Session) -> None:
        """Let a session that has caught up hear its rooms again, and read on."""
        session.slow_consumer, session.positions, session.labels = False, NOT_BEHIND, NO_LABELS
        rooms = session.user.rooms
        for room in rooms.values():
            room.listen(session)
        self._state.resume(session, Reason.SLOW_CONSUMER)
        if session.encoding.echoes and rooms:
            # The joins and leaves meanwhile are not repeated.
            most = listable(self._state.settings, len(rooms))
            for room in rooms.values():
                self.put_event(session, room.listed(most))
            self._send(session)

    def drained(self, event: Drained) -> None:
        """Go on sending to a session whose link takes more."""
        session = event.session
        session.draining = False
        self._send(session)
        self.catch_up(session)

    def page_read(self, page: PageRead) -> None:
        """Use a page of the log to catch up the session it was read for."""
        session = page.session
        session.paging = False
        room = session.user.rooms.get(page.room)
        if not session.slow_consumer or session.closing is not None or room is None:
            return
        if page.after != session.positions[room.name]:  # it has left and joined meanwhile
            self.catch_up(session)
            return
        # A shared log has entries that are not folded yet: they come to everyone once they are.
        folded = [entry for entry in page.entries if entry.position <= room.position]
        entries = folded or room.since(page.after)
        upto = entries[0].position - 1 if entries else room.position
        if upto > page.after:
            session.positions[room.name] = upto
            self.put_event(session, Missed(room.name, room.shown, upto - page.after))
            for position in range(page.after + 1, upto + 1) if session.labels else ():
                if label := session.labels.pop((room.name, position), None):
                    self.put_event(session, Done(), label)
        self._fill(session, room, entries, self._half() - session.link.unsent_bytes)
        self._send(session)
        self.catch_up(session)

    def catch_up(self, session: Session) -> None:
        """Add what a slow consumer has not got yet, while its outbox is under half its limit."""
        half, positions = self._half(), session.positions
        while (
            session.slow_consumer
            and session.closing is None
            and not session.paging
            and session.link.unsent_bytes < half
        ):
            rooms = session.user.rooms.values()
            room = next((room for room in rooms if positions[room.name] < room.position), None)
            if room is None:
                self._revive(session)
                return
            entries = room.since(positions[room.name])
            if entries and entries[0].position == positions[room.name] + 1:
                self._fill(session, room, entries, half - session.link.unsent_bytes)
                self._send(session)
            else:
                session.paging = True
                self._nursery.start_soon(self._read_page, session, room.name, positions[room.name])

    def _half(self) -> int:
        return self._state.settings.outbox_bytes // 2

    def _fill(
        self, session: Session, room: Room, entries: list[PersistentEntry], space: int
    ) -> None:
        """Put entries into a session's outbox until the space is full.

        One at the least, so that it gets on.
        """
        for entry in entries:
            session.positions[room.name] = entry.position
            if hears(session, entry):
                label = session.labels.pop((room.name, entry.position), None)
                space -= size_of(self.put_event(session, entry, label))
                if space <= 0:
                    return

    async def _read_page(self, session: Session, room: str, after: int) -> None:
        try:
            entries = await self._log.read(room, after, PAGE_ENTRIES)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": room})
            entries = []
        # The session's task may have ended meanwhile, or the chat.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await session.channel.send(PageRead(session, room, after, entries))

    # --- ends -------------------------------------------------------------------------------------

    def missed(self, session: Session) -> list[Missed]:
        """The entries that a slow consumer will never get: an event for each such room."""
        if not session.slow_consumer:
            return []
        missed = []
        for room in session.user.rooms.values():
            behind = room.position - session.positions[room.name]
            recent = room.since(room.position - behind)
            # Its own words are no loss; what is not at hand may have been its own, or not.
            count = behind - sum(not hears(session, entry) for entry in recent)
            if count:
                missed.append(Missed(room.name, room.shown, count))
        return missed

    def final_flush(self, sessions: list[Session]) -> None:
        """Release each session, with a last send of what it has waiting and a farewell."""
        for session in sessions:
            if session.closing is None:
                self.put_event(session, Stopping())
            with contextlib.suppress(OSError):
                session.link.write(session.chunk, session.more)
            session.link.release()
