"""Nicks and rooms: names, members, and questions about a room."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.gate import unwanted
from trio_chat.hub.room import most_listed
from trio_chat.moderation.fields import PIN, Role, creator
from trio_chat.moderation.rules import RoomRules
from trio_chat.people.names import NOBODY
from trio_chat.protocol import commands, events
from trio_chat.protocol.names import only_room
from trio_chat.protocol.presence import LeaveRooms
from trio_chat.roomlog.rules import NO_RULES

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.hooks import Hooks
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog import RoomLog
    from trio_chat.roomlog.rules import Rules

# Names in one list, at most: about as many as a person reads, in a few kilobytes.
LIST_LENGTH = 200


class Rooms:
    """Handles the records about nicks and rooms."""

    def __init__(
        self, state: State, collect: Collect, hooks: Hooks, authorize: Authorize, log: RoomLog
    ) -> None:
        self._state = state
        self._authorize = authorize
        self._log = log
        self._hooks = hooks
        self._collect = collect
        self.handlers: Handlers = {
            commands.Join: self._join,
            commands.Leave: self._leave,
            LeaveRooms: self._leave_rooms,
            commands.ListRooms: self._list_rooms,
            commands.ListMembers: self._list_members,
            commands.ShowTopic: self._show_topic,
        }

    def check_nick(self, user: User, name: Name) -> None:
        """Raise `Refused` if accounts do not allow a client this nick, or nobody may have it."""
        if user.ruled:
            self._authorize.check_nick(user)
        if user.account is not None:
            raise Refused(
                f"your account is called {user.nick}: /logout before you take another nick",
                code=Code.LOGGED_IN,
            )
        if name.casefolded == self._state.server_name.lower():
            sentence = f"the nick {name.display} is the name of the server: choose another"
            raise Refused(sentence, code=Code.NICK_RESERVED)
        people, words = self._state.people, self._state.words
        if words is not None and words.is_in(name.display):
            raise unwanted("nick")
        holder, nick = None if people is None else people.holder(name.keys), name.display
        if holder == NOBODY:
            sentence = f"the nick {nick} belonged to an account that was deleted: choose another"
            raise Refused(sentence, code=Code.NICK_RESERVED)
        if holder is not None:
            sentence = f"the nick {nick} belongs to an account: /login {nick}, or choose another"
            raise Refused(sentence, code=Code.NICK_REGISTERED)

    def _join(self, session: Session, record: commands.Join) -> None:
        self._join_by(self._rules_of(record.name.casefolded), session, record)

    def _join_again(self, session: Session, record: commands.Join) -> None:
        """Decide a join by the rules that the log has just brought."""
        self._join_by(self._log.snapshot(record.name.casefolded).rules, session, record)

    def _rules_of(self, name: str) -> Rules:
        """Return the rules of a room as this process knows them.

        A shared log keeps a process informed only of rooms with members there. It answers a join of
        another room with the rules, if there are some.
        """
        if self._collect.shares_log:
            room = self._state.rooms.get(name)
            if room is None or not room.is_followed:
                return NO_RULES
        return self._log.snapshot(name).rules

    def _join_by(self, rules: Rules, session: Session, record: commands.Join) -> None:
        user, name, limit = session.user, record.name, session.room_limit
        if name.casefolded in user.rooms:
            raise Refused(
                f"you are in {user.rooms[name.casefolded].shown} already", code=Code.ALREADY_IN_ROOM
            )
        if limit is not None and len(user.rooms) >= limit > 1:
            raise Refused(
                f"you are in {limit} rooms, which is the most; leave one",
                code=Code.IN_TOO_MANY_ROOMS,
                limit="rooms_per_client",
            )
        known = RoomRules.of(rules.fields)
        if known is not None:
            self._authorize.check_join(user, name, known, record.key)
        words = self._state.words
        if words is not None and known is None and words.is_in(name.display):
            raise unwanted("name")
        self._hooks.join(session, name.casefolded)
        leaving = next(iter(user.rooms)) if len(user.rooms) == limit == 1 else None
        draft = events.Entered(
            user.id, user.nick, name.casefolded, name.display, leaving, rules.version
        )
        if known is None and self._state.settings.room_creator == "operator":
            draft.creator = creator(user.person, time.time())
        if known is not None and known.limit:
            draft.most = self._most_members(user, name.casefolded, known)
        # The log's answer completes this with the state of the room at that time.
        welcomed = events.Welcomed(name.casefolded, name.display)
        again = partial(self._join_again, session, record)
        self._collect.claim(session, draft, welcomed, again=again)
        if known is not None and known.value(PIN) is not None:
            self._collect.next(session, commands.ShowPin(name.casefolded, joined=True))

    def _most_members(self, user: User, name: str, rules: RoomRules) -> int:
        """Return how many users may be in a room with a limit for a user to come in; 0: any number.

        The limit is of people, and the log counts users: somebody may be there with two devices.
        """
        if self._authorize.is_expected(user, name, rules):
            return 0
        room = self._state.rooms.get(name)
        return rules.limit + (0 if room is None else len(room.members) - room.people)

    def _leave(self, session: Session, record: commands.Leave) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        words = self._hooks.words(user, self._state, self._authorize, record.reason)
        draft = events.Exited(user.id, user.nick, room.name, words)
        self._collect.claim(session, draft, events.Departed(room.name, room.shown))

    def _leave_rooms(self, session: Session, _: LeaveRooms) -> None:
        user = session.user
        for room in user.rooms.values():
            draft = events.Exited(user.id, user.nick, room.name)
            self._collect.claim(session, draft, events.Departed(room.name, room.shown))

    def _list_rooms(self, session: Session, _: commands.ListRooms) -> None:
        state, hidden = self._state, self.hidden(session.user)
        rooms = state.rooms_by_name.first(LIST_LENGTH + len(hidden))
        names = [room.shown for room in rooms if room not in hidden][:LIST_LENGTH]
        more = len(state.rooms) - len(hidden) - len(names)
        self._collect.reply(session, events.RoomsListed(names, more))

    def hidden(self, user: User) -> set[Room]:
        """Return the rooms that a user is not to learn of."""
        hidden = self._state.unlisted.difference(user.rooms.values())
        return set() if self._authorize.role(user, None) is Role.SERVER else hidden

    def _list_members(self, session: Session, record: commands.ListMembers) -> None:
        room = room_meant(session.user, record.room)
        # A person reads so many names. A document takes what fits its outbox.
        is_program = session.encoding.lists_members or session.local
        most = most_listed(session.encoding, self._state.settings) if is_program else LIST_LENGTH
        self._collect.reply(session, room.listed(most))

    def _show_topic(self, session: Session, record: commands.ShowTopic) -> None:
        room = room_meant(session.user, record.room)
        self._collect.reply(session, events.TopicShown(room.name, room.shown, room.topic))


def room_meant(user: User, name: str | None) -> Room:
    """Return the room that a record means; `None` is the user's room. Raises `Refused`."""
    if name is not None:
        room = user.rooms.get(name)
        if room is None:
            raise Refused("you are not in that room", code=Code.NOT_IN_ROOM)
        return room
    if user.only_room is not None:
        return user.only_room
    return user.rooms[only_room(user.rooms)]
