"""Sends the outboxes of a turn, and notices sessions that lag.

Sending is the last step of a turn. Between turns, tasks wait for links that take no more.
"""

from __future__ import annotations

import contextlib
import logging
from time import perf_counter
from typing import TYPE_CHECKING

import trio

from trio_chat.hub.inbox import Drained, HubEvent, Lost
from trio_chat.hub.session import Reason
from trio_chat.hub.state import BEATS
from trio_chat.protocol.events import (
    RULINGS,
    Goodbye,
    LabelledEvent,
    Missed,
    NickTaken,
    Notice,
    Stopping,
    TopicSet,
    size_of,
)
from trio_chat.protocol.names import ANONYMOUS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trio_chat.dialects import Chunk, Encoding
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Entry, Event

logger = logging.getLogger("trio_chat")

# A client that answers pings is asked after so many seconds of silence, and lost after so many.
ASKED_AFTER = 90
LOST_AFTER = 180

# Lagging sessions get these whatever they have not read yet.
LAST_EVENTS = frozenset({Missed, Stopping, Goodbye})


# Authors hear these entries of their own in any encoding.
SHOWN_TO_AUTHORS = frozenset({TopicSet, *RULINGS})


def hears(session: Session, entry: Entry) -> bool:
    """Whether a session hears an entry of its own user.

    It hears its topics and rules, unless a call returns them. It hears its messages only if its
    encoding echoes them.
    """
    if entry.author != session.user.person or session.user.others:
        return True
    return session.encoding.echoes or (entry.__class__ in SHOWN_TO_AUTHORS and not session.local)


def can_be_told(session: Session) -> bool:
    """Whether a line of the operator may be shown to a session now."""
    # Until its protocol is known, a line could spoil a TLS handshake or an answer by HTTP.
    return session.began and session.closing is None and not session.slow_consumer


class Outboxes:
    """The outboxes of all sessions. `broken` lists sessions with failed links, and the reasons."""

    def __init__(self, state: State, nursery: trio.Nursery) -> None:
        self._state = state
        self._nursery = nursery
        # The sessions with output, with replies, and with too many replies in this turn.
        self._touched: list[Session] = []
        self._replied: list[Session] = []
        self._overfull: list[Session] = []
        self.broken: list[tuple[Session, str]] = []
        self._beat = 0

    def put(self, session: Session, chunk: Chunk) -> None:
        """Add a chunk to a session's output of this turn, unless its link is released."""
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
        """Add one chunk to the output of each session. The hub spends most of its time here."""
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

    def announce(self, text: str) -> int:
        """Show a line to all sessions. Return how many are told."""
        told = list(filter(can_be_told, self._state.sessions))
        self.put_shown(told, Notice(text))
        return len(told)

    def put_shown(self, sessions: Collection[Session], event: Event) -> None:
        """Add an event to the output of each session, rendered once for each encoding."""
        audience: dict[Encoding, list[Session]] = {}
        for session in sessions:
            audience.setdefault(session.ears or session.encoding, []).append(session)
        for encoding, listeners in audience.items():
            if chunk := encoding.join(encoding.render((event,), self._state)):
                self.put_all(listeners, chunk)

    def take_back(self, session: Session) -> None:
        """Remove the chunk that was added last."""
        if session.more:
            chunk = session.more.pop()
        else:
            chunk, session.chunk = session.chunk, None
        if isinstance(chunk, bytes):
            self._state.counts.bytes_out -= len(chunk)

    def put_event(self, session: Session, event: Event, label: str | None = None) -> Chunk:
        """Add an event. With a label, it answers the command of that label."""
        if label is not None:
            event = LabelledEvent(event, label)
        encoding = session.ears or session.encoding
        chunk = encoding.join(encoding.render((event,), self._state, session.user))
        if chunk:
            self.put(session, chunk)
        return chunk

    def put_told(self, user: User, told: Event, for_people: Event | None = None) -> None:
        """Add a private message, if there is room. People may get another event for it."""
        session = user.session
        if session is None or not self.has_room(session):
            return
        event = for_people if for_people and session.encoding.for_people else told
        self.put_event(session, event)

    def has_room(self, session: Session) -> bool:
        """Whether a private message fits into a session's outbox.

        Another process could not know that the session lags.
        """
        most = 2 * self._state.settings.outbox_bytes
        return not session.slow_consumer or session.link.unsent_bytes < most

    def reply(self, session: Session, event: Event, label: str | None = None) -> None:
        """Add an answer. Suspend the session if its answers fill its outbox.

        A lagging session gets no answers once the end of the chat decides its commands. Until then
        its commands wait, and an answer is to a command that a shared log had already.
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

    def unname(self, session: Session, old: str, why: str) -> None:
        """Tell a client that it has lost its nick, which was `old`, and why."""
        # An IRC client that is in a room has seen the change there.
        has_seen = session.encoding.dialect == "irc" and bool(session.user.rooms)
        if not session.encoding.for_people and not has_seen:
            self.reply(session, NickTaken(ANONYMOUS, old))
        self.reply(session, Notice(why))

    def answer(self, origin: Origin, event: Event) -> None:
        """Give an answer to the origin of its command."""
        if origin.call is not None:
            origin.call.events.append(event)
        elif origin.session is not None:
            self.reply(origin.session, event, origin.label)

    def ping_some(self) -> None:
        """Ping the sessions of the next beat, except those that get output anyway."""
        self._beat = (self._beat + 1) % BEATS
        for session, beat in self._state.sessions.items():
            if beat != self._beat or not session.encoding.ping:
                continue
            if session.draining or session.closing is not None:
                continue
            if session.encoding.answers_pings and not self._wants_answer(session):
                continue
            self.put(session, session.encoding.ping)

    def _wants_answer(self, session: Session) -> bool:
        """Whether a client that answers pings is to be asked now.

        A client that is silent for too long is lost.
        """
        silence = perf_counter() - session.user.heard
        if silence > LOST_AFTER and not session.suspended:
            self.broken.append((session, f"no answer to a ping for {LOST_AFTER} seconds"))
            return False
        return silence > ASKED_AFTER

    def flush(self) -> None:
        """Send the output of this turn, once for each session."""
        touched, self._touched = self._touched, []
        # The last chunk of a session may have been removed, or it was sent already.
        self.send([session for session in touched if session.chunk is not None])
        for session in self._replied:
            session.replies = 0
        self._replied.clear()
        for session in self._overfull:
            self._state.resume(session, Reason.OUTBOX_FULL)
        self._overfull.clear()

    def send(self, sessions: Iterable[Session]) -> None:
        """Send each session its output since the last time."""
        for session in sessions:
            chunk, more = session.chunk, session.more
            session.chunk = session.more = None
            try:
                unsent = session.link.write(chunk, more)
            except OSError as error:
                self.broken.append((session, f"connection lost: {error.strerror}"))
            else:
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
            self.fall_behind(session)

    @trio.lowlevel.enable_ki_protection
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
                # A socket becomes writable only once a good part of its buffer is free. That may be
                # megabytes, and a slow reader makes progress long before.
                if stalled.cancelled_caught and session.link.undelivered() >= undelivered:
                    reason = f"nothing sent could be delivered for {patience:g} seconds"
                    event = Lost(session, reason)
                    break
                half = self._state.settings.outbox_bytes // 2
                if session.slow_consumer and session.link.unsent_bytes < half:
                    break  # it can catch up
        except OSError as error:
            event = Lost(session, f"connection lost: {error.strerror}")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            event = Lost(session, "connection lost")
        # The session's task or the chat may have ended meanwhile.
        with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            await session.channel.send(event)

    # --- slow consumers ---------------------------------------------------------------------------

    def deafen(self, session: Session) -> None:
        """Let the session hear nothing of its rooms any more."""
        for room in session.user.rooms.values():
            room.unlisten(session)

    def fall_behind(self, session: Session) -> None:
        """Give a session no more entries until it has caught up, and stop reading from it."""
        positions = session.user.positions
        self.deafen(session)
        session.slow_consumer, session.positions, session.labels = True, positions, {}
        if not session.local and not self._state.stopping:
            self._state.suspend(session, Reason.SLOW_CONSUMER)
            session.link.pause_reading()
        self._state.counts.lagged += 1

    def end_suspension(self, session: Session) -> None:
        """Decide the records of a lagging session: the chat is stopping."""
        self._state.resume(session, Reason.SLOW_CONSUMER)

    def drained(self, event: Drained) -> None:
        """Continue sending to a session whose link takes more."""
        session = event.session
        session.draining = False
        self.send((session,))

    # --- ends -------------------------------------------------------------------------------------

    def final_flush(self, sessions: list[Session]) -> None:
        """Release each session, with a last send of its output and a farewell."""
        for session in sessions:
            if session.closing is None:
                self.put_event(session, Stopping())
            with contextlib.suppress(OSError):
                session.link.write(session.chunk, session.more)
            session.link.release()
