"""Brings the state in line with a shared log that has gone on without this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.protocol.events import (
    Described,
    Entered,
    Exited,
    Gone,
    Moved,
    NickChanged,
    Notice,
    PersonChanged,
)
from trio_chat.protocol.names import ANONYMOUS, NOBODY, SERVER, Name
from trio_chat.protocol.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.hub.catching_up import CatchingUp
    from trio_chat.hub.deliver import Deliver
    from trio_chat.hub.enforce import Enforce
    from trio_chat.hub.fold import Fold
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.state import State
    from trio_chat.protocol.events import Claim
    from trio_chat.roomlog.world import World, WorldUser

LOST_HISTORY = "the server has lost all earlier messages; from now on, messages are kept again"


class Resync:
    """Folds what differs between the state and all users of a log, and shows it to members."""

    def __init__(
        self,
        state: State,
        deliver: Deliver,
        outboxes: Outboxes,
        catching_up: CatchingUp,
        enforce: Enforce,
        fold: Fold,
    ) -> None:
        self._state = state
        self._deliver = deliver
        self._outboxes = outboxes
        self._catching_up = catching_up
        self._enforce = enforce
        self._fold = fold

    def __call__(self, world: World) -> None:
        """Fold the differences. Members read the messages that they have missed from the log."""
        users = {user.id: user for user in world.users}
        self._deliver.entries(list(self._who_left(users)))
        self._deliver.entries(
            [entry for user in world.users for entry in self._changes(user, world)]
        )
        for user_id in world.lost_nicks:
            self._lose_nick(user_id)
        if world.lost_history:
            told = [session for session in self._state.sessions if session.began]
            self._outboxes.put_shown(told, Notice(LOST_HISTORY))
        for name, known in world.rooms.items():
            room = self._state.server if name == SERVER else self._state.rooms.get(name)
            if room is None:
                continue
            if known.position > room.position:
                room.topic = known.topic
                self._catching_up.skip_gap(room, known.position)
            if known.rules.fields or room.rules is not None:
                self._fold.follow_rules(room)
                self._enforce.caught_up(room)

    def _who_left(self, users: dict[str, WorldUser]) -> Iterator[Claim]:
        """Entries for users of other processes who are gone, or were here and have moved."""
        for user in self._state.users.values():
            if user.is_here:
                # The log names this process as the place of all users that are here.
                continue
            if user.id not in users and (user.rooms or user.keys):
                yield Gone(user.id, user.nick, "left meanwhile")

    def _changes(self, known: WorldUser, world: World) -> Iterator[Claim]:
        """Entries that make a user of another process what the log says."""
        user = self._state.users.get(known.id)
        if user is not None and user.is_here:
            if known.node == world.node:
                return
            # The user may have done more than move on that node.
            yield Moved(user.id, user.nick)
        keys, nick = ((), ANONYMOUS) if user is None else (user.keys, user.nick)
        person = known.account or known.id
        if person != (known.id if user is None else user.person):
            name = Name(known.nick, known.keys[0], known.keys) if known.keys else NOBODY
            yield PersonChanged(known.id, nick, person, name, known.since, expires=known.expires)
        elif known.keys and (keys != known.keys or nick != known.nick):
            yield NickChanged(known.id, nick, Name(known.nick, known.keys[0], known.keys))
        elif keys and not known.keys:
            yield NickChanged(known.id, nick, NOBODY)
        if known.about != (UNKNOWN if user is None else user.about):
            yield Described(known.id, known.about)
        rooms = set() if user is None else set(user.rooms)
        for room in rooms.difference(known.rooms):
            yield Exited(known.id, known.nick, room)
        for room in known.rooms:
            if room not in rooms:
                yield Entered(known.id, known.nick, room, world.shown.get(room, room))

    def _lose_nick(self, user_id: str) -> None:
        user = self._state.users.get(user_id)
        if user is None or not user.keys:
            return
        session, nick = user.session, user.nick
        lost: Claim = NickChanged(user.id, nick, NOBODY)
        had_account = user.account is not None
        if had_account:
            lost = PersonChanged(user.id, nick, user.id, NOBODY)
        self._deliver.entries([lost])
        if session is not None and session.began:
            sentence = (
                f"while this server was cut off from the others, somebody took the nick {nick}: "
                "you are anonymous now; choose another nick"
            )
            self._outboxes.unname(session, nick, sentence)
        if had_account:
            self._enforce.standings.user(user)
