"""Checks: what a mute or a ban of somebody would hit, before it hurts."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from trio_chat.hub.handlers.asking import LOG, Asking
from trio_chat.hub.handlers.moderation import shown_action
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.handlers.targets import Found
from trio_chat.moderation.fields import ACCOUNT, Penalty, Role
from trio_chat.moderation.permission import check_rank
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol import commands, events
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.rules import MOST_ACTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.handlers.targets import Targets
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.rules import Action

    Read = tuple[Sequence[events.PersistentEntry], Sequence[Action], float]

# Earlier actions that an answer has, the newest ones.
MOST_SHOWN: Final = 10


class Checks:
    """Handles what moderators ask before they act."""

    def __init__(
        self,
        state: State,
        collect: Collect,
        ruling: Ruling,
        targets: Targets,
        log: RoomLog,
    ) -> None:
        self._state = state
        self._collect = collect
        self._ruling = ruling
        self._targets = targets
        self._log = log
        self.handlers: Handlers = {commands.Check: self._check}

    def _check(self, session: Session, record: commands.Check) -> None:
        place, target = self._place(session, record.room)[0], record.target
        account = "" if target.entry else self._targets.find(session, place, target).account
        # A message is in the asker's room, also if the server's rules are meant.
        of_server = place.name == SERVER
        room = room_meant(session.user, None) if of_server and target.entry else place
        ask = partial(self._read, place.name, room.name, target.entry, account)
        then = partial(self._found, record, place.name)
        self._collect.query(session, record, Asking(LOG, ask, then))

    def _place(self, session: Session, name: str | None) -> tuple[Room, Role]:
        """Return the room that is meant, or what has the server's rules, and the asker's role."""
        place, role = self._ruling.ruled(session, name)
        check_rank(role, Role.NONE, "check people")
        return place, role

    async def _read(self, place: str, room: str, entry: int, account: str) -> Read:
        """Return the entry in a room, the actions of a place, and when the account was made."""
        entries = await self._log.before(room, entry + 1, 1) if entry else ()
        if entries and entries[-1].author.startswith(ACCOUNT):
            account = entries[-1].author
        people = self._state.people
        made = await people.made(account) if people is not None and account else 0.0
        return entries, await self._log.actions(place, None, MOST_ACTIONS), made

    def _found(self, record: commands.Check, name: str, session: Session, read: Read) -> None:
        room, role = self._place(session, name)
        entries, actions, made = read
        if record.target.entry:
            found = self._targets.author(room, record.target, entries)
        else:
            found = self._targets.find(session, room, record.target)
        if record.action != "kick":
            self._targets.check_spares(session, room, found)
        if record.action:
            found.check(record.action, role, room)
        self._collect.reply(session, self._matches(room, role, found, actions, made))

    def _matches(
        self, room: Room, role: Role, found: Found, actions: Sequence[Action], made: float
    ) -> events.Matches:
        hit, rules = self._targets.hit(room, found), room.rules or RoomRules({})
        key = found.keys[0] if found.keys else ""
        fields = {f"{kind} {key}" for kind in ("mute", "ban", "role", "invite")}
        about = [action for action in actions if not fields.isdisjoint(action.now)]
        return events.Matches(
            room=room.name,
            room_name=room.shown,
            nick=found.nick,
            role=found.role.word,
            account=bool(found.account),
            since=made if found.account else 0.0,
            networks=self._targets.networks(found),
            people=len(hit.persons),
            accounts=sum(person.startswith(ACCOUNT) for person in hit.persons),
            spared=len(hit.spared),
            mute=_until(rules, f"mute {key}"),
            ban=_until(rules, f"ban {key}"),
            actions=[shown_action(action, rules, role) for action in about[-MOST_SHOWN:]],
        )


def _until(rules: RoomRules, field: str) -> str:
    """Say until when a mute or a ban counts, and why; nothing if there is none."""
    value, now = rules.value(field), time.time()
    if value is None or not (penalty := Penalty.read(value)).counts(now):
        return ""
    return penalty.describe(now)
