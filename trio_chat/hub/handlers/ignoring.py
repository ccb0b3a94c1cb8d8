"""People who ignore others: their lists, and what changes these."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from trio_chat.errors import Code, Refused
from trio_chat.hub import inbox
from trio_chat.hub.handlers.asking import ACCOUNTS, LOG, Asking
from trio_chat.hub.handlers.rooms import room_meant
from trio_chat.hub.ignoring import ignored_by, take_list, tune
from trio_chat.moderation.fields import ACCOUNT
from trio_chat.people.ignored import MOST, too_many
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog import RoomLog


@frozen
class Change:
    """A change of a list: the nicks of further persons by their ids, and the ids of others."""

    add: Mapping[str, str]
    remove: frozenset[str]


class Ignoring:
    """Handles the records of people who ignore others.

    The list of an account is kept with it, and counts on all its devices. The list of anyone else
    ends with the user.
    """

    def __init__(self, state: State, collect: Collect, authorize: Authorize, log: RoomLog) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self._log = log
        self.handlers: Handlers = {commands.Ignore: self._ignore}
        self.requests: dict[type[inbox.HubEvent], Callable[[Any], None]] = {
            inbox.IgnoredElsewhere: self._ignored_elsewhere
        }

    def _ignore(self, session: Session, record: commands.Ignore) -> None:
        if session.local:
            sentence = "a client within the server's program ignores nobody: it may drop events"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        if record.target is None:
            self._show(session)
        elif (name := record.target.name) is not None:
            person, nick = self._meant(name)
            self._toggle(session, record, person, nick)
        elif number := record.target.entry:
            room = self._readable(session, record.room)
            ask = partial(self._log.before, room.name, number + 1, 1)
            then = partial(self._author, record, room.name)
            self._collect.query(session, record, Asking(LOG, ask, then))
        else:
            sentence = "a network cannot be ignored: /ignore NICK, or /ignore @ID"
            raise Refused(sentence, code=Code.BAD_USAGE)

    def _readable(self, session: Session, name: str | None) -> Room:
        """Return the room that is meant. Raises `Refused`: the answer says whose an entry is."""
        room = room_meant(session.user, name)
        self._authorize.check_history(session.user, room)
        return room

    def _author(
        self,
        record: commands.Ignore,
        name: str,
        session: Session,
        entries: Sequence[events.PersistentEntry],
    ) -> None:
        self._readable(session, name)
        number = 0 if record.target is None else record.target.entry
        if not entries or entries[-1].position != number:
            raise Refused(f"there is no entry {number} any more", code=Code.BAD_USAGE)
        entry = entries[-1]
        if not self._may_come(entry.author):
            raise Refused(f"{entry.nick} has left, and has no account", code=Code.CLIENT_LEFT)
        self._toggle(session, record, entry.author, entry.nick)

    def _toggle(self, session: Session, record: commands.Ignore, person: str, nick: str) -> None:
        change = self._change(session.user, person, nick, wanted=record.ignored)
        people, account = self._state.people, session.user.account
        if people is None or account is None:
            self._put(session.user, change)
            self._show(session)
            return
        ask = partial(people.ignored.change, account.id, change.add, change.remove)
        then = partial(self._kept, account.id)
        self._collect.query(session, record, Asking(ACCOUNTS, ask, then))

    def _kept(self, account: str, session: Session, _: None) -> None:
        if session.user.person != account:  # it has left the account meanwhile
            raise Refused("you are not logged in any more", code=Code.NOT_LOGGED_IN)
        take_list(self._state, account)
        self._show(session)

    def _change(self, user: User, person: str, nick: str, *, wanted: bool | None) -> Change:
        """Return what a user wants to change. `person` is empty if nobody has this nick.

        Raises `Refused`.
        """
        ignored = ignored_by(self._state, user)
        gone = frozenset(person for person in ignored if not self._may_come(person))
        # The person with this nick now is meant, or else the one who had it when this began.
        label = ignored.get(person, nick).casefold()
        alike = {other for other, known in ignored.items() if known.casefold() == label}
        if wanted is None:
            wanted = person not in ignored if person else alike <= gone
        if not wanted:
            # A person who has logged in or out is there under two ids.
            return Change({}, gone | alike)
        if not person:
            raise Refused(f"no one here is called {nick}", code=Code.NO_SUCH_NICK)
        if person == user.person:
            raise Refused("you cannot ignore yourself", code=Code.NOT_ALLOWED)
        if len(ignored.keys() - gone) >= MOST and person not in ignored:
            raise too_many()
        return Change({person: nick}, gone)

    def _meant(self, name: Name) -> tuple[str, str]:
        """Return the id and the nick of a person, who may be away with an account; or nothing."""
        user = self._state.named(name.casefolded)
        if user is not None:
            return user.person, user.nick
        people = self._state.people
        return (people and people.holder(name.keys[:1])) or "", name.display

    def _may_come(self, person: str) -> bool:
        """Whether a person can still say something: others who come get another id."""
        return person.startswith(ACCOUNT) or bool(self._state.users_of(person))

    def _put(self, user: User, change: Change) -> None:
        ignored = self._state.remembered.ignored.setdefault(user.person, {})
        for other in change.remove:
            ignored.pop(other, None)
        ignored.update(change.add)
        if not ignored:
            del self._state.remembered.ignored[user.person]
        for device in self._state.users_of(user.person):
            tune(self._state, device)

    def _ignored_elsewhere(self, event: inbox.IgnoredElsewhere) -> None:
        if event.account in self._state.accounts:
            take_list(self._state, event.account)

    def _show(self, session: Session) -> None:
        people = [
            events.Member(person, self._called(person) or nick)
            for person, nick in ignored_by(self._state, session.user).items()
            if person.startswith(ACCOUNT) or self._called(person)
        ]
        self._collect.reply(session, events.Ignores(sorted(people, key=lambda one: one.nick)))

    def _called(self, person: str) -> str:
        """Return the nick of a person who is here; nothing for others."""
        users = (user for user in self._state.users_of(person) if user.person == person)
        return next((user.nick for user in users), "")
