"""Finds the people whom a moderator means: by nick, by the author of an entry, or by a network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from trio_chat.config.validators import is_address
from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.networks import check_tags, tags_meant
from trio_chat.moderation.fields import ACCOUNT, Role
from trio_chat.moderation.permission import check_rank
from trio_chat.moderation.rules import RoomRules
from trio_chat.people.networks import TAG
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.commands import Target
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.protocol.names import Name


@frozen
class Found:
    """The people that a moderator means: the fields are about `keys`, and `users` are here.

    There are several keys for a wide network, and none for somebody who can only be kicked.
    """

    keys: tuple[str, ...]
    nick: str
    role: Role
    users: tuple[User, ...] = ()
    is_network: bool = False
    # The networks of a guest who has left, the narrowest first; empty for everyone else.
    left: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        """The id of the account, or nothing."""
        return next((key for key in self.keys if key.startswith(ACCOUNT)), "")

    def users_in(self, room: Room) -> tuple[User, ...]:
        """Return those of the users who are in a room; all of them, if it stands for the server."""
        return tuple(user for user in self.users if room.name in {SERVER, *user.rooms})

    def check(self, verb: str, actor: Role, room: Room) -> None:
        """Raise `Refused` if somebody with this role may not kick, mute or ban these people."""
        check_rank(actor, self.role, verb, room.rules)
        if verb == "kick":
            if not self.users_in(room):
                raise Refused(f"{self.nick} is not in {room.shown}", code=Code.NO_SUCH_NICK)
        elif not self.keys:
            sentence = (
                f"{self.nick} has no account and is on the server's own machine, so others would "
                f"be hit: /kick {self.nick}"
            )
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        elif self.role >= Role.OPERATOR:
            # It would count for nothing: see `Authorize.penalty`.
            sentence = (
                f"a {verb} does not count for operators and owners: first, /role {self.nick} none"
            )
            raise Refused(sentence, code=Code.NOT_ALLOWED)


@frozen
class Hit:
    """The persons in a room that a mute or a ban would hit, and those whom it would spare."""

    persons: frozenset[str]
    spared: frozenset[str]


class Targets:
    """Finds people in the state and among the accounts."""

    def __init__(self, state: State, authorize: Authorize) -> None:
        self._state = state
        self._authorize = authorize

    def account(self, name: Name) -> tuple[str, str]:
        """Return the id and the nick of the account with this name. Raises `Refused`."""
        people = self._state.people
        user = self._state.named(name.casefolded)
        if user is not None and user.account is not None:
            return user.person, user.nick
        # Only this name: a moderator who types one that looks like it means somebody else.
        person = None if people is None else people.holder(name.keys[:1])
        if not person:
            raise _no_account(name.display, is_here=user is not None)
        return person, name.display

    def holder(self, room: Room, name: Name) -> tuple[tuple[str, ...], str]:
        """Return the ids and the nick of a person who may have a role or an invitation.

        The first one is the person's. A room with a creator knows guests, too. Raises `Refused`.
        """
        user, has_creator = self._state.named(name.casefolded), room.rules and room.rules.made
        if user is None or (user.account is None and not has_creator):
            person, nick = self.account(name)
            return (person,), nick
        return user.ids, user.nick

    def check_spares(self, session: Session, room: Room, found: Found) -> None:
        """Raise `Refused` if a rule for the whole server would shut out the asker or a proxy."""
        if room is self._state.server and found.is_network:
            check_tags(self._state, session, [key.removeprefix("net:") for key in found.keys])

    def find(self, session: Session, room: Room, target: Target) -> Found:
        """Return the people that a nick or a network means. Raises `Refused`.

        `session` asks: no network that is named must have it in it.
        """
        if target.network:
            return self._network(session, room, target.network)
        if (name := target.name) is None:
            raise AssertionError("a target without anything")
        user = self._state.named(name.casefolded)
        if user is not None:
            return self._present(room, (user, *user.others))
        try:
            person, nick = self.account(name)
        except Refused as refused:
            if is_address(name.display):
                sentence = f"{refused}: if you mean the address, write net:{name.display}"
                raise Refused(sentence, code=refused.code) from None
            raise
        return self._absent(room, person, nick, name.casefolded)

    def author(self, room: Room, target: Target, entries: Sequence[PersistentEntry]) -> Found:
        """Return the author of the entry that a target means. `entries` ends with it.

        Raises `Refused`.
        """
        number = target.entry
        if not entries or entries[-1].position != number:
            raise Refused(f"there is no entry {number} any more", code=Code.BAD_USAGE)
        entry = entries[-1]
        if (found := self._author(room, entry)) is None:
            raise Refused(f"{entry.nick} has left, and has no account", code=Code.CLIENT_LEFT)
        return found

    def role_of_author(self, room: Room, entry: PersistentEntry) -> Role:
        """Return the role that the author of an entry has in its room now."""
        found = self._author(room, entry)
        return Role.NONE if found is None else found.role

    def key(self, room: Room, key: str) -> Found:
        """Return the people that the key of a field is about. Raises `Refused`."""
        if TAG.fullmatch(tag := key.removeprefix("net:")) and tag != key:
            return Found((key,), key, Role.NONE, is_network=True)
        if users := tuple(self._state.users_of(key)):
            return self._present(room, users)
        if key.startswith(ACCOUNT) and self._state.has_person(key):
            return self._absent(room, key, key, key)
        raise Refused("there is nobody with this host", code=Code.NO_SUCH_ACCOUNT)

    def _author(self, room: Room, entry: PersistentEntry) -> Found | None:
        """Return the author of an entry, or `None` for a guest who has left."""
        if users := tuple(self._state.users_of(entry.author)):
            return self._present(room, users)
        if entry.author.startswith(ACCOUNT):
            return self._absent(room, entry.author, entry.nick, entry.nick.casefold())
        if left := tuple(f"net:{tag}" for tag in self._state.departed.tags_of(entry)):
            return Found(left[:1], entry.nick, Role.NONE, is_network=True, left=left)
        return None

    def persons(self, session: Session, room: Room, target: Target) -> set[str]:
        """Return the ids of the people whom a nick means, or who are in a room from a network.

        Raises `Refused`.
        """
        found = self.find(session, room, target)
        if not found.is_network or found.users:
            return {user.person for user in found.users} or set(found.keys)
        tags = {key.removeprefix("net:") for key in found.keys}
        return {
            member.person
            for member in room.members
            if not tags.isdisjoint(self._authorize.tags(member))
        }

    def _network(self, session: Session, room: Room, text: str) -> Found:
        if room is not self._state.server and not TAG.fullmatch(text):
            sentence = "an address is a target only for the whole server: in a room, use a tag"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        keys = tuple(f"net:{tag}" for tag in tags_meant(self._state, session, text))
        shown = keys[0] if len(keys) == 1 else f"{len(keys)} networks"
        return Found(keys, shown, Role.NONE, is_network=True)

    def _absent(self, room: Room, person: str, nick: str, key: str) -> Found:
        """Return what is known of an account that nobody is logged in to."""
        role = Role.SERVER if key in self._state.operators else Role.NONE
        return Found((person,), nick, max(role, (room.rules or RoomRules({})).role(person)))

    def _present(self, room: Room, users: tuple[User, ...]) -> Found:
        """Return what is known of people who are here. Guests are known by their network."""
        user = users[0]
        role = self._authorize.role(user, room.rules)
        if user.account is not None:
            return Found((user.person,), user.nick, role, users)
        keys = tuple(self._keys(user)[:1])
        return Found(keys, user.nick, role, users, is_network=bool(keys))

    def hit(self, room: Room, found: Found) -> Hit:
        """Return the people in a room, or on the server, whom a mute or a ban would hit now."""
        rules, of_server = room.rules or RoomRules({}), room is self._state.server
        if not found.is_network:
            here = {user.person for user in found.users if of_server or room.name in user.rooms}
            return Hit(frozenset(here), frozenset())
        tags, now = {key.removeprefix("net:") for key in found.keys}, time.time()
        hit: set[str] = set()
        spared: set[str] = set()
        for member in self._state.users.values() if of_server else room.members:
            if not tags.isdisjoint(self._authorize.tags(member)):
                who, role = self._authorize.who(member), self._authorize.role(member, rules)
                is_spared = role >= Role.OPERATOR or rules.is_spared(who, now)
                (spared if is_spared else hit).add(member.person)
        return Hit(frozenset(hit - spared), frozenset(spared))

    def networks(self, found: Found) -> list[str]:
        """Return the tags of the networks that these people are in now, the narrowest first.

        Those of proxies are left out, as all their clients would be hit.
        """
        if found.is_network and not found.users:
            return list(found.left or found.keys)
        tags = [tag for user in found.users for tag in self._keys(user)]
        return list(dict.fromkeys(tags))

    def _keys(self, user: User) -> list[str]:
        """Return the keys of a user's networks that moderators may name, the narrowest first."""
        return [f"net:{tag}" for tag in self._authorize.guest_tags(user)]


def _no_account(nick: str, *, is_here: bool) -> Refused:
    """Return the refusal of a nick that only an account could have."""
    sentence = f"there is no account {nick}, and nobody here has that nick"
    if is_here:
        sentence = f"{nick} has no account: /register makes one"
    return Refused(sentence, code=Code.NO_SUCH_ACCOUNT)
