"""Nicks, introductions, and questions about people, rooms and the server.

Clients of IRC introduce themselves before anything else. Their questions tell more about rooms and
the server than those of other clients.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import partial
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.errors import Code, Refused
from trio_chat.hub.authorize import banned_from_server
from trio_chat.hub.gate import unwanted
from trio_chat.hub.handlers.sessions import limits_of
from trio_chat.moderation.fields import Role
from trio_chat.protocol import commands, events, presence
from trio_chat.protocol.names import unnamed
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.handlers.connections import Connections
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.hub.user import User
    from trio_chat.protocol.names import Name

# People and rooms in one answer, at most. A member of a larger room has got its list with the join.
MOST_SHOWN: Final = 1_000
# People whose names are held against a mask, at most, which takes a few milliseconds.
MOST_LOOKED_AT: Final = 2_000


class Presence:
    """Handles the records about who people are.

    `check_nick` raises `Refused` for a nick. `hidden` returns the rooms that a user does not see.
    `tell_commands` tells a user which commands it has.
    """

    def __init__(
        self,
        state: State,
        collect: Collect,
        connections: Connections,
        authorize: Authorize,
        check_nick: Callable[[User, Name], None],
        hidden: Callable[[User], Collection[Room]],
        tell_commands: Callable[[User], None],
    ) -> None:
        self._state = state
        self._collect = collect
        self._connections = connections
        self._authorize = authorize
        self._check_nick = check_nick
        self._hidden = hidden
        self._tell_commands = tell_commands
        self.handlers: Handlers = {
            commands.TakeNick: self._take_nick,
            presence.AwaitIntroduction: self._await,
            presence.Introduce: self._introduce,
            presence.SetAway: self._set_away,
            presence.SetRealName: self._set_real_name,
            presence.SetBot: self._set_bot,
            presence.ShowServer: self._show_server,
            presence.ShowPeople: self._show_people,
            presence.ShowPastNick: self._show_past_nick,
            presence.DescribeRooms: self._describe_rooms,
        }

    # --- nicks and introductions ------------------------------------------------------------------

    def _take_nick(self, session: Session, record: commands.TakeNick) -> None:
        user, name = session.user, record.name
        if user.awaited and user.account is not None:
            # It has the nick of its account, whatever it says.
            self._collect.draft_by_itself(events.Described(user.id, user.about))
            self._enter(user)
            self._collect.reply(session, self._server())
            self._tell_commands(user)
            self._collect.next(session, commands.TakeMail())
            return
        self._check_nick(user, name)
        draft = events.NickChanged(user.id, user.nick, name)
        if user.awaited:
            self._collect.claim(session, draft, then=partial(self._introduced, session))
        else:
            self._collect.claim(session, draft, events.NickTaken(name.display, user.nick))

    def _await(self, session: Session, record: presence.AwaitIntroduction) -> None:
        session.encoding = record.encoding
        session.room_limit = self._state.settings.rooms_per_client
        if self._connections.admit(session):
            session.user.awaited = session.user.ruled = True
            self._state.awaited.add(session)

    def _introduce(self, session: Session, record: presence.Introduce) -> None:
        # Its nick may be taken; then the client takes another one, and need not say this again.
        words, real = self._state.words, record.real
        if words is not None and words.is_in(real):
            real = ""  # the client has sent it by itself, and could not connect otherwise
        session.user.about = presence.About(record.user, real)
        if (ban := self._authorize.server_ban(session.user)) is not None:
            raise banned_from_server(ban)
        self._take_nick(session, commands.TakeNick(record.name))

    def _introduced(self, session: Session, origin: Origin) -> None:
        self._enter(session.user)
        self._collect.answer(origin, self._server())
        self._tell_commands(session.user)

    def _enter(self, user: User) -> None:
        """Let a user do what others may, now that it is known."""
        user.awaited = False
        if user.session is not None:
            self._state.awaited.discard(user.session)
        user.ruled = self._authorize.is_concerned(user)

    def _set_away(self, session: Session, record: presence.SetAway) -> None:
        self._check_about(session.user, record.text)
        self._describe(session, evolve(session.user.about, away=record.text))

    def _set_real_name(self, session: Session, record: presence.SetRealName) -> None:
        self._check_about(session.user, record.text)
        self._describe(session, evolve(session.user.about, real=record.text))

    def _set_bot(self, session: Session, record: presence.SetBot) -> None:
        user, asked = session.user, presence.ShowPeople([record.name])
        meant = self._state.named(record.name.casefolded)
        if meant is None or meant.person != user.person or user.about.bot == record.bot:
            self._show_people(session, asked)
            return
        draft = events.Described(user.id, evolve(user.about, bot=record.bot))
        self._collect.claim(session, draft, then=partial(self._bot_set, user, asked))

    def _bot_set(self, user: User, asked: presence.ShowPeople, origin: Origin) -> None:
        self._collect.answer(origin, self._people(user, asked))

    def _describe(self, session: Session, about: presence.About) -> None:
        """Change a user's words about itself."""
        if about != session.user.about:
            draft = events.Described(session.user.id, about)
            self._collect.claim(session, draft, events.Done())

    def _check_about(self, user: User, text: str) -> None:
        """Raise `Refused` for a text by which a user would be heard like by a message."""
        if text and user.ruled:
            self._authorize.check_silenced(user)
        if (words := self._state.words) is not None and words.is_in(text):
            raise unwanted("text")

    # --- questions --------------------------------------------------------------------------------

    def _show_server(self, session: Session, _: presence.ShowServer) -> None:
        self._collect.reply(session, self._server())

    def _server(self) -> presence.ServerShown:
        state = self._state
        people = len(state.nicks)
        state.most_people = max(state.most_people, people)
        return presence.ServerShown(
            version(),
            state.began,
            people,
            state.most_people,
            len(state.awaited),
            sum(1 for _ in state.operators_here()),
            len(state.rooms),
            limits_of(state.settings),
            state.settings.line_bytes,
            list(state.greeting),
        )

    def _show_people(self, session: Session, record: presence.ShowPeople) -> None:
        self._collect.reply(session, self._people(session.user, record))

    def _people(self, asker: User, record: presence.ShowPeople) -> presence.PeopleShown:
        found = {user.person: user for user in self._found(asker, record)}
        people = [self._person(asker, user) for user in list(found.values())[:MOST_SHOWN]]
        return presence.PeopleShown(people, record.room)

    def _show_past_nick(self, session: Session, record: presence.ShowPastNick) -> None:
        past = self._state.past_nicks.of(record.name.casefolded)
        self._collect.reply(session, presence.PastNickShown(past[: record.limit]))

    def _found(self, asker: User, record: presence.ShowPeople) -> Iterable[User]:
        if record.room is not None:
            room = asker.rooms.get(record.room)
            return () if room is None else room.first(MOST_SHOWN)
        if record.names:
            found = (self._state.named(name.casefolded) for name in record.names)
            return [user for user in found if user is not None]
        # In a mask of IRC a bracket has no meaning of its own.
        matches = re.compile(translate(record.mask.lower().replace("[", "[[]"))).fullmatch
        members = (user for room in asker.rooms.values() for user in room.members)
        return (
            user
            for user in dict.fromkeys((asker, *islice(members, MOST_LOOKED_AT)))
            if matches((user.nick if user.keys else unnamed(user.person)).lower())
            or matches(user.about.user.lower())
            or matches(user.about.real.lower())
        )

    def _person(self, asker: User, user: User) -> presence.PersonShown:
        devices = [user, *user.others]
        here = [one for one in devices if one.session is not None]
        links = [one.session.link for one in devices if one.session is not None]
        rooms = dict.fromkeys(name for one in devices for name in one.rooms if name in asker.rooms)
        is_self = user.person == asker.person
        own = asker.session if is_self else None
        knows = is_self or rooms or self._authorize.role(asker, None) is Role.SERVER
        return presence.PersonShown(
            user.person,
            user.nick,
            self._state.about(user.person),
            account="" if user.account is None else user.nick,
            rooms=list(rooms),
            since=min(one.since for one in devices),
            idle=perf_counter() - max(one.heard for one in here) if here else -1.0,
            tls=bool(links) and all(link.tls for link in links),
            address="" if own is None else own.link.address,
            operator=bool(knows) and self._authorize.role(user, None) is Role.SERVER,
        )

    def _describe_rooms(self, session: Session, record: presence.DescribeRooms) -> None:
        rooms, hidden = self._state.rooms, self._hidden(session.user)
        if record.room is not None:
            room = rooms.get(record.room)
            if room is None or room in hidden:
                raise Refused("there is no such room", code=Code.BAD_ROOM_NAME)
            self._collect.reply(session, presence.RoomsDescribed([_shown(room)]))
            return
        found = self._state.rooms_by_name.first(MOST_SHOWN + len(hidden))
        shown = [_shown(room) for room in found if room not in hidden][:MOST_SHOWN]
        more = len(rooms) - len(hidden) - len(shown)
        self._collect.reply(session, presence.RoomsDescribed(shown, more))


def _shown(room: Room) -> presence.RoomShown:
    return presence.RoomShown(room.name, room.people, room.topic, room.made)
