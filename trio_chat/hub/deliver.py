"""Folds what the log has answered, and delivers it: entries to listeners, answers to askers.

Entries come here from the room log, and from nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.errors import Refused
from trio_chat.hub.room import listable
from trio_chat.hub.session import Reason
from trio_chat.hub.turn import Pending, Reply
from trio_chat.protocol.events import (
    PERSISTENT,
    SPOKEN,
    Entered,
    Gone,
    Left,
    Refusal,
    Told,
    TopicSet,
    Welcomed,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from trio_chat.dialects import Chunk, Encoding, Piece
    from trio_chat.hub.fold import Change, Fold, Shown
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin, Run, Turn
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Entry, Event, RoomEvent
    from trio_chat.roomlog import Result


class Deliver:
    """Goes through a turn that the log has answered, or through entries of other processes."""

    def __init__(self, state: State, fold: Fold, outboxes: Outboxes) -> None:
        self._state = state
        self._fold = fold
        self._outboxes = outboxes

    def turn(self, turn: Turn, results: Sequence[Result]) -> None:
        """Fold and deliver what the log made of a turn's drafts, in their order."""
        # Mostly it has taken them all, and then nothing needs to be matched.
        upcoming = None if results is turn.drafts else iter(results)
        for item in turn.items:
            if isinstance(item, list):
                if upcoming is None:
                    self._speak(item, None)
                else:
                    self._run(item, upcoming)
            elif isinstance(item, Pending):
                result = item.draft if upcoming is None else next(upcoming)
                self._answered(item, result)
            else:
                self._reply(item)
        for session in turn.waiting:
            self._state.resume(session, Reason.CLAIM)

    def entries(self, entries: Sequence[Entry]) -> None:
        """Fold and deliver entries that no record of this process asked for."""
        for entry in entries:
            self._entry(entry, None)

    # --- a turn's items ---------------------------------------------------------------------------

    def _run(self, run: Run, upcoming: Iterator[Result]) -> None:
        """Deliver what the log has taken of a run, and refuse the rest."""
        for draft in run:
            result = next(upcoming)
            if isinstance(result, Refused):
                author = self._state.users.get(draft.author)
                if author is not None and author.session is not None:
                    self._refuse(author.session, result, None)
            else:
                self._entry(result, None)

    def _answered(self, pending: Pending, result: Result) -> None:
        """Fold a result, and answer the command that led to its draft."""
        origin = pending.origin
        if isinstance(result, Refused):
            if origin.call is not None:
                self._state.count_refusal(result.limit)
                origin.call.fail(result)
            elif origin.session is not None:
                self._refuse(origin.session, result, origin.label)
            return
        if pending.reply is not None:
            self._entry(result, None)
            self._reply(Reply(origin, self._completed(pending.reply, result, origin)))
        else:
            self._entry(result, origin)
            self._promise(result, origin)
        if origin.call is not None:
            if isinstance(result, (*PERSISTENT, Told)):
                origin.call.events.append(result)
            origin.call.answer(origin.call.events)

    def _completed(self, reply: Event, entry: Entry, origin: Origin) -> Event:
        """A reply as it is now that the entry is folded."""
        if isinstance(reply, Welcomed) and isinstance(entry, Entered):
            room = self._state.rooms[entry.room]
            reply.room_name, reply.topic, reply.position = room.shown, room.topic, room.position
            if origin.session is not None and origin.session.encoding.echoes:
                listed = room.listed(listable(self._state.settings))
                reply.members, reply.more = listed.members, listed.more
        return reply

    def _reply(self, reply: Reply) -> None:
        if reply.origin.call is not None:
            reply.origin.call.events.append(reply.event)
        elif reply.origin.session is not None:
            self._outboxes.reply(reply.origin.session, reply.event, reply.origin.label)

    def _promise(self, entry: Entry, origin: Origin) -> None:
        """Have an asker that is a slow consumer by now find its label when it catches up."""
        session = origin.session
        if (
            session is not None
            and session.slow_consumer
            and origin.label
            and isinstance(entry, PERSISTENT)
        ):
            session.labels[entry.room, entry.position] = origin.label

    def _refuse(self, session: Session, refusal: Refused, label: str | None) -> None:
        self._state.count_refusal(refusal.limit)
        self._outboxes.reply(session, Refusal(str(refusal), refusal.code), label)

    # --- entries ----------------------------------------------------------------------------------

    def _entry(self, entry: Entry, origin: Origin | None) -> None:
        """Fold an entry and deliver it; an answer to `origin`, if it has a label, carries that."""
        if isinstance(entry, SPOKEN):
            self._speak([entry], origin)
        elif isinstance(entry, Told):
            self._told(entry, origin)
        else:
            self._change(entry, origin)

    def _speak(self, run: Run, origin: Origin | None) -> None:
        room = self._state.rooms.get(run[0].room)
        if room is None:  # everyone here has left it meanwhile
            return
        room.position = run[-1].position
        self._state.recent.keep(room, run)
        self._state.counts.messages += len(run)
        self._put(room, run, {entry.author for entry in run}, origin)

    def _told(self, told: Told, origin: Origin | None) -> None:
        target = self._state.users.get(told.to)
        if target is not None and target.session is not None:
            self._outboxes.put_event(target.session, told)
        if origin is not None and origin.session is not None and origin.label is not None:
            self._outboxes.put_event(origin.session, told, origin.label)

    def _change(self, entry: Change, origin: Origin | None) -> None:
        """Fold an entry that changes the state, and show it to those it concerns."""
        user = self._state.users.get(entry.author)
        session = None if user is None else user.session
        shown = self._fold(entry)
        if session is not None:
            for room, event in shown:
                if isinstance(event, Left):
                    room.unlisten(session)
        if len(shown) == 1 or isinstance(entry, Entered):
            for room, event in shown:
                # Topics are for their authors too.
                authors = () if isinstance(event, TopicSet) else (entry.author,)
                self._put(room, [event], authors, origin)
        elif shown:
            self._put_of_person(shown, session)
        if user is not None and isinstance(entry, Entered):
            self._let_in(user, self._state.rooms[entry.room])
        elif session is not None and isinstance(entry, Gone):
            self._state.release(session)

    def _let_in(self, user: User, room: Room) -> None:
        session = user.session
        if session is None:
            if user.detached is not None:
                user.detached.positions[room.name] = room.position
        elif session.slow_consumer:
            session.positions[room.name] = room.position
        elif session.closing is None:
            room.listen(session)

    # --- outboxes ---------------------------------------------------------------------------------

    def _put(
        self,
        room: Room,
        run: Sequence[RoomEvent],
        authors: Collection[str],
        origin: Origin | None,
    ) -> None:
        """Put entries, rendered once an encoding, into the outboxes of their listeners.

        Nobody hears their own words, unless their encoding echoes them.
        """
        counts, users = self._state.counts, self._state.users
        for encoding, listeners in room.audience.items():
            pieces = encoding.render(run)
            chunk = encoding.join(pieces)
            self._outboxes.put_all(listeners, chunk)
            counts.deliveries += len(run) * len(listeners)
            if encoding.echoes:
                if origin is not None and origin.label is not None:
                    self._acknowledge(origin.session, listeners, run[0], origin.label)
                continue
            for author_id in authors:
                author = users.get(author_id)
                if author is not None and author.session in listeners:
                    counts.deliveries -= len(run)
                    self._outboxes.take_back(author.session)
                    if len(authors) > 1:
                        counts.deliveries += self._put_others(author.session, pieces, run)

    def _put_others(self, author: Session, pieces: list[Piece], run: Sequence[RoomEvent]) -> int:
        """Give an author of this run what the others said in it; how much that is."""
        pairs = zip(pieces, run, strict=True)
        rest = [piece for piece, entry in pairs if entry.author != author.user.id]
        if rest:
            self._outboxes.put(author, author.encoding.join(rest))
        return len(rest)

    def _acknowledge(
        self,
        session: Session | None,
        listeners: Mapping[Session, None],
        entry: RoomEvent,
        label: str,
    ) -> None:
        """Give the author of an entry its own, with the label of the command."""
        if session is not None and session in listeners:
            self._outboxes.take_back(session)
            self._outboxes.put_event(session, entry, label)

    def _put_of_person(self, shown: Shown, author: Session | None) -> None:
        """Put what happened to a person into each outbox once, whatever rooms are shared.

        Listeners that share the same rooms with the person share the bytes.
        """
        heard: dict[Session, list[int]] = {}
        for at, (room, _) in enumerate(shown):
            for listeners in room.audience.values():
                for session in listeners:
                    heard.setdefault(session, []).append(at)
        if author is not None and not author.encoding.echoes:
            heard.pop(author, None)
        chunks: dict[tuple[Encoding, tuple[int, ...]], Chunk] = {}
        for session, which in heard.items():
            key = session.encoding, tuple(which)
            chunk = chunks.get(key)
            if chunk is None:
                events = [shown[at][1] for at in which]
                chunk = chunks[key] = key[0].join(key[0].render(events))
            self._outboxes.put(session, chunk)
            self._state.counts.deliveries += len(which)
