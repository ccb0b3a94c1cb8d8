"""Held messages: operators of a room list them, and pass or drop each."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.errors import Code, Refused
from trio_chat.hub.gate import KINDS
from trio_chat.hub.handlers.asking import LOG, Asking
from trio_chat.moderation.fields import Raid, Role
from trio_chat.moderation.permission import check_rank
from trio_chat.moderation.rules import RoomRules
from trio_chat.moderation.spans import describe_end, describe_span
from trio_chat.protocol import commands, events
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.holding import no_such_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.holding import Waiting

MESSAGES: Final[dict[str, type[events.Said | events.Acted]]] = {
    kind: message for message, kind in KINDS.items()
}


class Holding:
    """Handles what operators of rooms do with held messages."""

    def __init__(self, state: State, collect: Collect, ruling: Ruling, log: RoomLog) -> None:
        self._state = state
        self._collect = collect
        self._ruling = ruling
        self._log = log
        self.handlers: Handlers = {
            commands.ShowHeld: self._show,
            commands.JudgeHeld: self._judge,
            commands.SetRaid: self._set_raid,
        }

    def _room(self, session: Session, name: str | None) -> tuple[Room, Role]:
        room, role = self._ruling.moderated(session, name)
        check_rank(role, Role.NONE, "see what waits")
        return room, role

    def _reached(
        self, session: Session, name: str, waiting: Sequence[Waiting]
    ) -> tuple[Room, list[Waiting]]:
        """Return a room, and the messages that wait there for a moderator with this session."""
        room, role = self._room(session, name)
        rules = room.rules or RoomRules({})
        return room, [one for one in waiting if rules.reaches(role, one.time)]

    def _show(self, session: Session, record: commands.ShowHeld) -> None:
        name = self._room(session, record.room)[0].name
        then = partial(self._shown, name)
        ask = Asking(LOG, partial(self._log.held, name), then)
        self._collect.query(session, record, ask)

    def _shown(self, name: str, session: Session, waiting: Sequence[Waiting]) -> None:
        room, reached = self._reached(session, name, waiting)
        messages = [_held(room, one) for one in reached]
        self._collect.reply(session, events.HeldShown(room.name, room.shown, messages))

    def _judge(self, session: Session, record: commands.JudgeHeld) -> None:
        name = self._room(session, record.room)[0].name
        then = partial(self._judged, record, name)
        ask = Asking(LOG, partial(self._log.held, name), then)
        self._collect.query(session, record, ask)

    def _judged(
        self, record: commands.JudgeHeld, name: str, session: Session, waiting: Sequence[Waiting]
    ) -> None:
        room, reached = self._reached(session, name, waiting)
        found = [one for one in reached if one.number == record.number]
        if not found:
            raise no_such_message(record.number)
        one, by = found[0], session.user.nick
        if record.verb == "pass":
            draft = evolve(_held(room, one), state="passed", by=by, message=self._message(one))
        else:
            draft = evolve(_held(room, one), state="dropped", by=by)
        self._collect.draft(session, draft, draft.done if session.encoding.for_people else None)

    def _set_raid(self, session: Session, record: commands.SetRaid) -> None:
        room, role = self._ruling.ruled(session, record.room)
        check_rank(role, Role.NONE, "say that there is a raid")
        place = "on the server" if room.name == SERVER else f"in {room.shown}"
        now = time.time()
        before = (room.rules or RoomRules({})).raid(now)
        if not record.seconds:
            if before is None:
                raise Refused(f"there is no raid {place}", code=Code.NO_SUCH_ACTION)
            self._ruling.rule(session, room, "ended the raid", {"raid": None})
            return
        until, since = round(now + record.seconds), now - record.since
        if before is not None:
            since = min(since, before.since)  # else people of the same raid would be let in
        what = "holds messages of newcomers"
        if room.name == SERVER:
            what = "lets newcomers on the server only read"
        span, end = describe_span(record.seconds), describe_end(until, now)
        text = f"{what}, because of a raid, {span} ({end})"
        changes = {"raid": Raid(until, round(since)).write()}
        self._ruling.rule(session, room, text, changes)

    def _message(self, one: Waiting) -> events.Said | events.Acted:
        """Return a message as its author says it now. Raises `Refused`."""
        nick, people = one.nick, self._state.people
        holder = None if people is None else people.holder((nick.casefold(),))
        if users := self._state.users_of(one.author):
            nick = users[0].nick
        elif nick.casefold() in self._state.nicks or holder not in (None, one.author):
            sentence = f"its author has left, and someone else is called {nick} now: /held drop"
            raise Refused(sentence, code=Code.NICK_PASSED_ON)
        return MESSAGES[one.kind](one.room, one.author, nick, one.text)


def _held(room: Room, one: Waiting) -> events.Held:
    return events.Held(
        *(room.name, room.shown, one.author, one.nick, one.kind, one.text, one.number, one.time)
    )
