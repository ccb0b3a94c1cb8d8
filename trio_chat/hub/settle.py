"""Settles a turn: its entries are delivered, and the commands that led to them are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trio_chat.errors import Code, Refused
from trio_chat.hub.room import most_listed
from trio_chat.hub.session import Reason
from trio_chat.hub.turn import Pending
from trio_chat.protocol.events import (
    PERSISTENT,
    PRIVATE,
    Entered,
    Gone,
    Held,
    Notice,
    PersonChanged,
    Refusal,
    Told,
    Welcomed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.deliver import Deliver
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.standing import Standings
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin, Run, Turn
    from trio_chat.protocol.events import Acted, Entry, Event, Said
    from trio_chat.roomlog import Result


class Settle:
    """Settles turns that the log has answered."""

    def __init__(
        self,
        state: State,
        deliver: Deliver,
        outboxes: Outboxes,
        standings: Standings,
        collect: Collect,
    ) -> None:
        self._state = state
        self._collect = collect
        self._deliver = deliver
        self._outboxes = outboxes
        self._standings = standings

    def turn(self, turn: Turn, results: Sequence[Result]) -> None:
        """Fold and deliver the log's results for a turn's drafts, in their order."""
        # Mostly the log takes all drafts. Then no results have to be matched.
        upcoming = None if results is turn.drafts else iter(results)
        for item in turn.items:
            if isinstance(item, list):
                if upcoming is None:
                    self._deliver.speak(item, None)
                else:
                    self._run(item, upcoming)
            elif isinstance(item, Pending):
                result = item.draft if upcoming is None else next(upcoming)
                self._answered(item, result)
            else:
                self._outboxes.answer(item.origin, item.event)
        for session in (*turn.held, *turn.waiting):
            self._state.resume(session, Reason.CLAIM)

    def _run(self, run: Run, upcoming: Iterator[Result]) -> None:
        """Deliver the entries of a run that the log has taken, and refuse the others."""
        taken: Run = []
        for draft in run:
            result = next(upcoming)
            if not isinstance(result, Refused):
                taken.append(cast("Said | Acted", result))
                continue
            if taken:
                self._deliver.speak(taken, None)
                taken = []
            author = self._state.users.get(draft.device or draft.author)
            if author is not None and author.session is not None:
                self._refuse(author.session, result, None, draft.room)
        if taken:
            self._deliver.speak(taken, None)

    def _answered(self, pending: Pending, result: Result) -> None:
        """Fold a result, and answer the command that led to its draft."""
        origin = pending.origin
        if isinstance(result, Refused):
            self._refused(pending, result)
            return
        if pending.then is not None:
            self._deliver.entry(result, None)
            pending.then(origin)
            return
        if pending.reply is not None:
            self._deliver.entry(result, None)
            self._outboxes.answer(origin, self._completed(pending.reply, result, origin))
            if isinstance(result, Entered):
                self._note_twin(result, origin)
        else:
            was_delivered = self._was_delivered(result)
            self._deliver.entry(result, origin)
            if was_delivered:
                self._answer_late(result, origin)
            else:
                self._promise(result, origin)
        self._tell_standing(result)
        if origin.call is not None:
            if isinstance(result, (*PERSISTENT, *PRIVATE, Held)):
                origin.call.events.append(result)
            origin.call.answer(origin.call.events)

    def _refused(self, pending: Pending, refusal: Refused) -> None:
        """Refuse the command that led to a draft."""
        origin, session = pending.origin, pending.origin.session
        is_here = session is not None and session.closing is None
        if session and is_here and pending.again and _is_news(pending.draft, refusal):
            asked = origin if origin.call is not None or origin.label is not None else None
            self._collect.answer_to(asked, session, pending.again)
            return
        if isinstance(pending.draft, Gone):
            # The user belongs to another process by now, and may come back to this one.
            user = self._state.users.get(pending.draft.author)
            if user is not None:
                user.leaving = False
        if origin.call is not None:
            self._state.count_refusal(refusal)
            origin.call.fail(refusal)
        elif origin.session is None:
            pass
        elif isinstance(pending.draft, Gone):  # its user has resumed in another process
            self._state.release(origin.session)
        else:
            self._refuse(origin.session, refusal, origin.label)

    def _completed(self, reply: Event, entry: Entry, origin: Origin) -> Event:
        """Return the reply, completed with the state after the entry is folded."""
        if isinstance(reply, Welcomed) and isinstance(entry, Entered):
            room = self._state.rooms[entry.room]
            reply.room_name, reply.topic, reply.position = room.shown, room.topic, room.position
            encoding = None if origin.session is None else origin.session.encoding
            if encoding is not None and (encoding.lists_members or origin.call is not None):
                listed = room.listed(most_listed(encoding, self._state.settings))
                reply.members, reply.more = listed.members, listed.more
        return reply

    def _note_twin(self, entry: Entered, origin: Origin) -> None:
        """Tell a person of the room whose name differs only by a `#`, if there is one.

        The person may have meant that one, and may just have left it.
        """
        if origin.session is None or not origin.session.encoding.for_people:
            return
        twin = entry.room[1:] if entry.room.startswith("#") else f"#{entry.room}"
        room = self._state.rooms.get(twin)
        if (room is not None and room.is_listed) or entry.leaving == twin:
            name = twin if room is None else room.shown
            self._outboxes.answer(origin, Notice(f"(there is {name} too)"))

    def _tell_standing(self, entry: Entry) -> None:
        """Tell a user what it is now, behind the answer to its join, its login or its logout."""
        if not isinstance(entry, (Entered, PersonChanged)):
            return
        user = self._state.users.get(entry.author)
        if user is None:
            return
        if isinstance(entry, PersonChanged):
            self._standings.user(user)
        elif (room := user.rooms.get(entry.room)) is not None:
            self._standings.entered(user, room)

    def _was_delivered(self, entry: Entry) -> bool:
        """Whether members have an entry already: they read it from a shared log meanwhile."""
        if not isinstance(entry, PERSISTENT):
            return False
        room = self._state.rooms.get(entry.room)
        return room is not None and entry.position <= room.position

    def _answer_late(self, entry: Entry, origin: Origin) -> None:
        """Answer the author of an entry that was delivered before, unless it still catches up."""
        session = origin.session
        if session is None or origin.label is None or not isinstance(entry, PERSISTENT):
            return
        if session.slow_consumer and session.positions.get(entry.room, 0) < entry.position:
            self._promise(entry, origin)
        else:
            self._outboxes.put_event(session, entry, origin.label)

    def _promise(self, entry: Entry, origin: Origin) -> None:
        """Let an asker that lags by now find its label when it catches up."""
        session = origin.session
        if (
            session is not None
            and session.slow_consumer
            and origin.label
            and isinstance(entry, PERSISTENT)
        ):
            session.labels[entry.room, entry.position] = origin.label

    def _refuse(
        self, session: Session, refusal: Refused, label: str | None, room: str = ""
    ) -> None:
        self._state.count_refusal(refusal)
        self._outboxes.reply(session, Refusal(str(refusal), refusal.code, room), label)


def _is_news(draft: Entry, refusal: Refused) -> bool:
    """Whether a draft is refused for what the hub did not know, so that it may decide again."""
    if isinstance(draft, Told):  # on another node a person has lost its last connection
        return refusal.code in {Code.UNREACHABLE, Code.CLIENT_LEFT}
    return refusal.code == Code.RULES_CHANGED
