"""Gives lagging and resumed sessions what they missed, in slices.

A slice fills at most half an outbox, and all slices of a turn together are bounded. So however much
a session has missed, the others do not wait for it.
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

# Entries read from the log at once for a session that catches up.
PAGE_ENTRIES = 200

# Bytes of all slices in a turn, which take one or two milliseconds, and the least that a slice
# counts.
TURN_BYTES = 65_536
SLICE_BYTES = 512

# A WebSocket client that resumes says what it has got. It may ask for entries again. This many
# resent bytes count as one line against its rate limit.
RESENT_LINE_BYTES = 4_096


class CatchingUp:
    """Lets sessions catch up, one after the other."""

    def __init__(
        self, state: State, outboxes: Outboxes, log: RoomLog, nursery: trio.Nursery
    ) -> None:
        self._state = state
        self._outboxes = outboxes
        self._log = log
        self._nursery = nursery
        # Sessions that can take a slice, in the order of their turns.
        self._waiting: dict[Session, None] = {}

    @property
    def waits(self) -> bool:
        """Whether a session waits for a slice."""
        return bool(self._waiting)

    def begin(self, session: Session, positions: dict[str, int], reached: dict[str, int]) -> None:
        """Give a session that was just attached to its user everything after `positions`.

        `reached` holds the positions up to which the user was sent everything before.
        """
        session.slow_consumer, session.positions, session.labels = True, positions, {}
        session.sent_before = reached
        self._state.suspend(session, Reason.SLOW_CONSUMER)
        self.go_on(session)

    def skip_gap(self, room: Room, position: int) -> None:
        """Move a room on to a position, whose entries this process has not got from the log.

        The room's listeners read them from the log.
        """
        for session in [s for listeners in room.audience.values() for s in listeners]:
            self._outboxes.fall_behind(session)
            self.go_on(session)
        self._state.recent.forget(room)
        room.position = position

    def go_on(self, session: Session) -> None:
        """Give a lagging session another slice when its turn comes, if its outbox has room."""
        if self._may_have_more(session):
            self._waiting[session] = None

    def may_go_on(self, event: MayGoOn) -> None:
        """Continue with a session that had to wait because it asked for entries again."""
        event.session.paging = False
        self.go_on(event.session)

    def give_slices(self) -> None:
        """Give slices to the waiting sessions, within the bound of a turn."""
        space = TURN_BYTES
        for session in list(self._waiting):
            if space <= 0:
                return
            # If it waits again, it comes after the others.
            del self._waiting[session]
            if self._may_have_more(session):
                space -= max(self._slice(session, space), SLICE_BYTES)
                self.go_on(session)

    def page_read(self, page: PageRead) -> None:
        """Use a page of the log for the session that it was read for."""
        session = page.session
        session.paging = False
        if not session.slow_consumer or session.closing is not None:
            return
        # It may have left meanwhile, or left and joined: its leave was on its way to the log.
        room = session.user.rooms.get(page.room)
        if (
            room is not None
            and page.after == session.positions[room.name]
            and page.changed == room.changed  # else it may have texts that are removed
        ):
            # A shared log has entries that are not folded yet. Everyone gets them once they are.
            folded = [entry for entry in page.entries if entry.position <= room.position]
            entries = folded or self._state.recent.since(room, page.after)
            upto = entries[0].position - 1 if entries else room.position
            if upto > page.after:
                self._tell_missed(session, room, upto)
            self._fill(session, room, entries, self._space(session))
            self._outboxes.send((session,))
        self.go_on(session)

    def missed(self, session: Session) -> list[Missed]:
        """Return an event for each room with entries that a lagging session will never get."""
        if not session.slow_consumer:
            return []
        missed = []
        for room in session.user.rooms.values():
            behind = room.position - session.positions[room.name]
            known = min(behind, self._state.settings.recent_entries)
            recent = self._state.recent.since(room, room.position - known)
            # A client does not miss its own messages. Entries that are not at hand count in any
            # case.
            count = behind - sum(not hears(session, entry) for entry in recent)
            if count:
                missed.append(Missed(room.name, room.shown, count))
        return missed

    # --- a slice ----------------------------------------------------------------------------------

    def _space(self, session: Session) -> int:
        """Return the bytes that fit into a session's outbox until it is half full."""
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
        """Send the next slice, about this many bytes at most. Return its size in bytes.

        If the log has to be read first, start that.
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
            entries = self._state.recent.since(room, after)
            if entries and entries[0].position == after + 1:
                sent += self._fill(session, room, entries, rest)
            else:
                session.paging = True
                self._nursery.start_soon(self._read_page, session, room, after)
        self._outboxes.send((session,))
        return sent

    def _fill(
        self, session: Session, room: Room, entries: list[PersistentEntry], space: int
    ) -> int:
        """Put entries into a session's outbox until the space is full. Return their size in bytes.

        At least one entry is put, so that the session always gets on.
        """
        before = session.sent_before.get(room.name, 0)
        size = again = 0
        for entry in entries:
            session.positions[room.name] = entry.position
            if hears(session, entry) and _is_shown(session, entry):
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
        """Let a session that has caught up hear its rooms again, and read its input.

        Returns the bytes that this adds to its outbox.
        """
        session.slow_consumer, session.positions, session.labels = False, NOT_BEHIND, NO_LABELS
        session.sent_before = NOT_BEHIND
        rooms = session.user.rooms
        for room in rooms.values():
            room.listen(session)
        self._state.resume(session, Reason.SLOW_CONSUMER)
        if session.encoding.lists_members and rooms:
            # Joins and leaves since then are not repeated, so send the members.
            most = listable(self._state.settings, len(rooms))
            lists = [r.listed(most) for r in rooms.values()]
            # A part of a list would be worse than none where lists are whole.
            partial = not session.encoding.lists_all
            sent = [listed for listed in lists if partial or not listed.more]
            return sum(size_of(self._outboxes.put_event(session, listed)) for listed in sent)
        return 0

    # --- what is sent a second time ---------------------------------------------------------------

    def _weigh(self, session: Session, size: int) -> None:
        """Count resent bytes against the user's rate limit."""
        rate = self._state.settings.rate_limit
        if size and rate is not None:
            user = session.user
            seconds = size / RESENT_LINE_BYTES / rate
            user.resent_until = max(user.resent_until, trio.current_time()) + seconds

    def _overdrawn(self, session: Session) -> float:
        """Return the seconds until the user may be sent more entries again."""
        settings = self._state.settings
        if settings.rate_limit is None or session.sent_before is NOT_BEHIND:
            return 0.0
        ahead = session.user.resent_until - trio.current_time()
        return ahead - settings.rate_burst / settings.rate_limit

    @trio.lowlevel.enable_ki_protection
    async def _wait(self, session: Session, seconds: float) -> None:
        await trio.sleep(seconds)  # as long as the rate limit says
        await self._tell(session, MayGoOn(session))

    @trio.lowlevel.enable_ki_protection
    async def _read_page(self, session: Session, room: Room, after: int) -> None:
        name, changed = room.name, room.changed
        try:
            entries = await self._log.read(name, after, PAGE_ENTRIES)
        except Exception:
            logger.exception("the room log cannot be read", extra={"room": name})
            entries = []
        await self._tell(session, PageRead(session, name, after, entries, changed))

    async def _tell(self, session: Session, event: MayGoOn | PageRead) -> None:
        # The session's task or the chat may have ended meanwhile.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await session.channel.send(event)


def _is_shown(session: Session, entry: PersistentEntry) -> bool:
    """Whether a session is sent an entry. People need no lines of messages that are removed."""
    return bool(entry.text) or not session.encoding.for_people
