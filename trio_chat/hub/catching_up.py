"""Gives slow consumers, and sessions that have resumed, what they missed: a slice at a time.

A slice is at most what half an outbox holds, and all slices of a turn together are bounded. So
however much somebody has missed, the others do not wait for it.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

import trio

from trio_chat.hub.inbox import MayGoOn, PageRead
from trio_chat.hub.outboxes import hears
from trio_chat.hub.room import listable
from trio_chat.hub.session import NO_LABELS, NOT_BEHIND, Reason
from trio_chat.protocol.events import Done, Missed, size_of

if TYPE_CHECKING:
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import RoomLog

logger = logging.getLogger("trio_chat")

# Persistent entries read from the log at once for a session that catches up.
PAGE_ENTRIES = 200

# Bytes of all slices in a turn, one or two milliseconds; and what a slice counts at the least.
TURN_BYTES = 65_536
SLICE_BYTES = 512

# A program that comes back says what it has got. It may ask for something a second time, which
# weighs as much against the rate limit as so many bytes of its own.
RESENT_LINE_BYTES = 4_096


class CatchingUp:
    """Has sessions catch up, each in its turn."""

    def __init__(
        self, state: State, outboxes: Outboxes, log: RoomLog, nursery: trio.Nursery
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._log = log
        self._nursery = nursery
        # Sessions that can be given a slice, in the order of their turns.
        self._waiting: dict[Session, None] = {}

    @property
    def waits(self) -> bool:
        """Whether there is a slice to give."""
        return bool(self._waiting)

    def begin(self, session: Session, positions: dict[str, int], reached: dict[str, int]) -> None:
        """Give a session that has just been attached to its user what comes after `positions`.

        `reached` are those up to which the user has been sent everything before.
        """
        session.slow_consumer, session.positions, session.labels = True, positions, {}
        session.sent_before = reached
        self._state.suspend(session, Reason.SLOW_CONSUMER)
        self.go_on(session)

    def go_on(self, session: Session) -> None:
        """Give a slow consumer the next slice when it is its turn, if its outbox has room."""
        if self._may_have_more(session):
            self._waiting[session] = None

    def may_go_on(self, event: MayGoOn) -> None:
        """Go on with a session that was sent too much a second time, and has waited for it."""
        event.session.paging = False
        self.go_on(event.session)

    def give_slices(self) -> None:
        """Give slices to those that wait, within the bound of a turn."""
        space = TURN_BYTES
        for session in list(self._waiting):
            if space <= 0:
                return
            # Behind the others that wait, if it waits again.
            del self._waiting[session]
            if self._may_have_more(session):
                space -= max(self._slice(session, space), SLICE_BYTES)
                self.go_on(session)

    def page_read(self, page: PageRead) -> None:
        """Use a page of the log to catch up the session it was read for."""
        session = page.session
        session.paging = False
        room = session.user.rooms.get(page.room)
        if not session.slow_consumer or session.closing is not None or room is None:
            return
        if page.after == session.positions[room.name]:  # else it has left and joined meanwhile
            # A shared log has entries that are not folded yet: they come to everyone once they are.
            folded = [entry for entry in page.entries if entry.position <= room.position]
            entries = folded or room.since(page.after)
            upto = entries[0].position - 1 if entries else room.position
            if upto > page.after:
                self._tell_missed(session, room, upto)
            self._fill(session, room, entries, self._space(session))
            self._outboxes.send(session)
        self.go_on(session)

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

    # --- a slice ----------------------------------------------------------------------------------

    def _space(self, session: Session) -> int:
        """The bytes that fit into a session's outbox until it is half full."""
        return self._state.settings.outbox_bytes // 2 - session.link.unsent_bytes

    def _may_have_more(self, session: Session) -> bool:
        return (
            session.slow_consumer
            and session.closing is None
            and not session.paging
            and session in self._state.sessions
            and self._space(session) > 0
        )

    def _slice(self, session: Session, space: int) -> int:
        """Send what comes next, at most about so many bytes; gives how many.

        If the log has to be read for it, that begins.
        """
        sent = 0
        while session.slow_consumer and not session.paging and sent < space:
            rooms, positions = session.user.rooms.values(), session.positions
            room = next((room for room in rooms if positions[room.name] < room.position), None)
            if room is None:
                sent += self._revive(session)
                break
            if (seconds := self._overdrawn(session)) > 0:
                session.paging = True
                self._nursery.start_soon(self._wait, session, seconds)
                break
            if (rest := min(space - sent, self._space(session) - sent)) <= 0:
                break
            after = positions[room.name]
            entries = room.since(after)
            if entries and entries[0].position == after + 1:
                sent += self._fill(session, room, entries, rest)
            else:
                session.paging = True
                self._nursery.start_soon(self._read_page, session, room.name, after)
        self._outboxes.send(session)
        return sent

    def _fill(
        self, session: Session, room: Room, entries: list[PersistentEntry], space: int
    ) -> int:
        """Put entries into a session's outbox until the space is full; gives how many bytes.

        One at the least, so that it gets on.
        """
        before = session.sent_before.get(room.name, 0)
        size = again = 0
        for entry in entries:
            session.positions[room.name] = entry.position
            if hears(session, entry):
                label = session.labels.pop((room.name, entry.position), None)
                size += size_of(self._outboxes.put_event(session, entry, label))
                if entry.position <= before:
                    again = size
                if size >= space:
                    break
        self._weigh(session, again)
        return size

    def _tell_missed(self, session: Session, room: Room, upto: int) -> None:
        after, session.positions[room.name] = session.positions[room.name], upto
        self._outboxes.put_event(session, Missed(room.name, room.shown, upto - after))
        for position in range(after + 1, upto + 1) if session.labels else ():
            if label := session.labels.pop((room.name, position), None):
                self._outboxes.put_event(session, Done(), label)

    def _revive(self, session: Session) -> int:
        """Let a session that has caught up hear its rooms again, and read on.

        Gives the bytes that this adds to its outbox.
        """
        session.slow_consumer, session.positions, session.labels = False, NOT_BEHIND, NO_LABELS
        session.sent_before = NOT_BEHIND
        rooms = session.user.rooms
        for room in rooms.values():
            room.listen(session)
        self._state.resume(session, Reason.SLOW_CONSUMER)
        if session.encoding.echoes and rooms:
            # The joins and leaves meanwhile are not repeated.
            most = listable(self._state.settings, len(rooms))
            lists = [self._outboxes.put_event(session, r.listed(most)) for r in rooms.values()]
            return sum(map(size_of, lists))
        return 0

    # --- what is sent a second time ---------------------------------------------------------------

    def _weigh(self, session: Session, size: int) -> None:
        """Weigh what was sent a second time against the rate of the user."""
        rate = self._state.settings.rate_limit
        if size and rate is not None:
            user = session.user
            seconds = size / RESENT_LINE_BYTES / rate
            user.resent_until = max(user.resent_until, trio.current_time()) + seconds

    def _overdrawn(self, session: Session) -> float:
        """Seconds until the user may be sent more a second time."""
        settings = self._state.settings
        if settings.rate_limit is None or session.sent_before is NOT_BEHIND:
            return 0.0
        ahead = session.user.resent_until - trio.current_time()
        return ahead - settings.rate_burst / settings.rate_limit

    async def _wait(self, session: Session, seconds: float) -> None:
        await trio.sleep(seconds)  # as long as the rate says
        await self._tell(session, MayGoOn(session))

    async def _read_page(self, session: Session, room: str, after: int) -> None:
        try:
            entries = await self._log.read(room, after, PAGE_ENTRIES)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": room})
            entries = []
        await self._tell(session, PageRead(session, room, after, entries))

    async def _tell(self, session: Session, event: MayGoOn | PageRead) -> None:
        # The session's task may have ended meanwhile, or the chat.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await session.channel.send(event)
