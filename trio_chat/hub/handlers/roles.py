"""Roles: who owns and moderates a room, by name.

The rules of a room know people by their ids. The accounts know the nicks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from trio_chat.hub.handlers.asking import ACCOUNTS, Asking
from trio_chat.moderation.fields import GIVEN, Role
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.ruling import Ruling
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State

# People that an answer names, those with the highest roles. Few rooms have more.
MOST: Final = 200


class Roles:
    """Handles the question who has a role in a room."""

    def __init__(self, state: State, collect: Collect, ruling: Ruling) -> None:
        self._state = state
        self._collect = collect
        self._ruling = ruling
        self.handlers: Handlers = {commands.ShowRoles: self._show}

    def _show(self, session: Session, record: commands.ShowRoles) -> None:
        room, _ = self._ruling.moderated(session, record.room)
        people = self._state.people
        if people is None:  # a site knows its people
            self._shown(room.name, session, {})
            return
        persons = [person for person, _ in self._holders(session, room.name)[:MOST]]
        then = partial(self._shown, room.name)
        ask = partial(people.nicks, persons)
        self._collect.query(session, record, Asking(ACCOUNTS, ask, then))

    def _holders(self, session: Session, name: str) -> list[tuple[str, Role]]:
        """Return the persons with a role that the asker may see, the highest role first.

        Others than operators see whom to ask, and not who else may enter.
        """
        room, own = self._ruling.moderated(session, name)
        least = Role.MEMBER if own >= Role.OPERATOR else Role.OPERATOR
        holders = [
            (person, role)
            for person, role in (room.rules or RoomRules({})).roles().items()
            if role >= least and self._is_known(person)
        ]
        return sorted(holders, key=lambda holder: -holder[1])

    def _is_known(self, person: str) -> bool:
        """Whether there is an account with this id, or a guest who is here."""
        return self._state.has_person(person) or bool(self._state.users_of(person))

    def _shown(self, name: str, session: Session, nicks: Mapping[str, str]) -> None:
        room, _ = self._ruling.moderated(session, name)
        holders = self._holders(session, name)
        people = [
            events.RoleHolder(person, nicks.get(person) or self._state.nick(person), role.word)
            for person, role in holders[:MOST]
        ]
        people.sort(key=lambda one: (-GIVEN[one.role], not one.nick, one.nick.casefold()))
        more = len(holders) - len(people)
        self._collect.reply(session, events.RolesShown(room.name, room.shown, people, more))
