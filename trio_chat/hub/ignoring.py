"""People whom others ignore: nothing that they say reaches those.

A session whose user ignores somebody hears its rooms through an encoding of its own. So all others
share their bytes as before, and pay nothing. The same encoding gives that session its history, its
private messages, and what it catches up with. Actions of moderators are never left out.

The lists are in `State.remembered`, by the ids of persons: a new nick is no way around them. If an
ignored person logs in or out, the new id is ignored, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.people.ignored import MOST
from trio_chat.protocol.directory import NOBODY_KNOWN
from trio_chat.protocol.events import (
    PRIVATE,
    Acted,
    Answered,
    EntriesShown,
    LabelledEvent,
    Left,
    Said,
)
from trio_chat.protocol.presence import AboutChanged

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trio_chat.dialects import Chunk, Encoding, Piece
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.directory import Directory, Recipient
    from trio_chat.protocol.events import Event, PersistentEntry

# An ignored person can add to a list by logging in to further accounts, up to twice as many.
MOST_FOLLOWED: Final = 2 * MOST

NOTHING: Final = Answered(b"")


class Selective:
    """Renders events as another encoding does, without what ignored people say.

    Clients that know positions get an empty entry instead, so that none seems to be missing.
    """

    __slots__ = (
        *("_ignored", "_plain", "answers_pings", "dialect", "echoes", "for_people", "lists_all"),
        *("lists_members", "mirrors", "ping"),
    )

    def __init__(self, plain: Encoding, ignored: Collection[str]) -> None:
        self._plain = plain
        self._ignored = ignored
        self.dialect, self.ping = plain.dialect, plain.ping
        self.echoes, self.mirrors = plain.echoes, plain.mirrors
        self.for_people, self.answers_pings = plain.for_people, plain.answers_pings
        self.lists_members, self.lists_all = plain.lists_members, plain.lists_all

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> Sequence[Piece]:
        """Return each of these events, or an empty piece for one that is left out."""
        return self._plain.render([self._heard(event) for event in events], directory, to)

    def join(self, pieces: Sequence[Piece]) -> Chunk:
        """Return several rendered events, in order, as one piece of output."""
        return self._plain.join(pieces)

    def _heard(self, event: Event) -> Event:
        if isinstance(event, (Said, Acted)):
            return self._entry(event) or NOTHING
        if isinstance(event, (*PRIVATE, AboutChanged)):
            return NOTHING if event.author in self._ignored else event
        if isinstance(event, Left) and event.author in self._ignored:
            return evolve(event, reason="")
        if isinstance(event, EntriesShown):
            entries = [self._entry(entry) for entry in event.entries]
            return evolve(event, entries=[entry for entry in entries if entry is not None])
        if isinstance(event, LabelledEvent):
            return LabelledEvent(self._heard(event.event), event.id)
        return event

    def _entry(self, entry: PersistentEntry) -> PersistentEntry | None:
        if not isinstance(entry, (Said, Acted)) or entry.author not in self._ignored:
            return entry
        if self.mirrors:
            return Said(entry.room, "", "", "", entry.position, entry.time)
        return None


def without(entries: Sequence[PersistentEntry], ignored: Collection[str]) -> list[PersistentEntry]:
    """Return the entries that no ignored person has said."""
    return [e for e in entries if not isinstance(e, (Said, Acted)) or e.author not in ignored]


def ignored_by(state: State, user: User) -> dict[str, str]:
    """Return whom a user ignores: the nicks of persons by their ids."""
    return state.remembered.ignored.get(user.person, {})


def tune(state: State, user: User) -> None:
    """Let the session of a user hear its rooms through an encoding of its own, or share one.

    This is due whenever a user begins or ends to ignore people, becomes another person, or has
    another session or encoding.
    """
    session = user.session
    ignored = ignored_by(state, user)
    if session is None or (session.ears is None and not ignored):
        return
    listening = [room for room in user.rooms.values() if room.hears(session)]
    for room in listening:
        room.unlisten(session)
    session.ears = Selective(session.encoding, ignored) if ignored else None
    for room in listening:
        room.listen(session)


def follow(state: State, old: str, new: str) -> None:
    """Let all who ignore a person ignore it under its new id, too."""
    for person, ignored in state.remembered.ignored.items():
        if old in ignored and person != new and len(ignored) < MOST_FOLLOWED:
            ignored.setdefault(new, ignored[old])


def take_list(state: State, account: str) -> None:
    """Have the list of an account as it is kept, and let its devices here go by that."""
    if state.people is None:  # others vouch for people, and keep no lists
        return
    kept, before = state.people.ignored.of(account), state.remembered.ignored.get(account, {})
    nicks = set(kept.values())
    # Those whom `follow` has added are not kept.
    followed = {person: nick for person, nick in before.items() if nick in nicks}
    if (ignored := followed | kept) == before:
        return
    if ignored:
        state.remembered.ignored[account] = ignored
    else:
        del state.remembered.ignored[account]
    for user in state.users_of(account):
        tune(state, user)
