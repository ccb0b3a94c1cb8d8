"""Nicks that clients watch: they are told when somebody takes one, and when nobody has it any more.

Folding notes the watched nicks that change hands (`State.stir`). At the end of the turn each client
is told once of all of its own.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from trio_chat.protocol.events import Member
from trio_chat.protocol.presence import (
    MOST_WATCHED,
    ShowWatched,
    Unwatch,
    Watch,
    Watched,
    WatchedListed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State

_NOBODY: Final[Mapping[str, str]] = MappingProxyType({})


class Watching:
    """Handles the records about watched nicks."""

    def __init__(self, state: State, collect: Collect) -> None:
        self._state = state
        self._collect = collect
        self.handlers: Handlers = {
            Watch: self._watch,
            Unwatch: self._unwatch,
            ShowWatched: self._show,
        }

    def _watch(self, session: Session, record: Watch) -> None:
        new = {name.casefolded: name.display for name in record.names}
        added, refused = [], []
        for key, nick in new.items():
            if key in session.watched:
                added.append(key)
            elif len(session.watched) < MOST_WATCHED:
                self._state.watch(session, key, nick)
                added.append(key)
            else:
                refused.append(nick)
        watched = self._watched(session, added)
        watched.refused = refused
        self._collect.reply(session, watched)

    def _unwatch(self, session: Session, record: Unwatch) -> None:
        names = record.names
        for key in list(session.watched) if names is None else [n.casefolded for n in names]:
            self._state.unwatch(session, key)

    def _show(self, session: Session, record: ShowWatched) -> None:
        nicks = session.watched
        shown = self._watched(session, nicks) if record.here else WatchedListed([*nicks.values()])
        self._collect.reply(session, shown)

    def tell(self) -> None:
        """Tell the sessions that watch nicks which have changed hands."""
        state = self._state
        changed: dict[Session, list[str]] = {}
        before = dict(state.stirred)
        state.stirred.clear()
        for key, nick in before.items():
            is_here = state.named(key) is not None
            for session in state.watchers.get(key, ()) if bool(nick) != is_here else ():
                changed.setdefault(session, []).append(key)
        for session, keys in changed.items():
            if session.closing is None:
                self._collect.tell(session.user, self._watched(session, keys, before))

    def _watched(
        self, session: Session, keys: Iterable[str], before: Mapping[str, str] = _NOBODY
    ) -> Watched:
        """Return who has these nicks. Nicks that nobody has are as they were written before."""
        watched = Watched()
        for key in keys:
            user = self._state.named(key)
            if user is None:
                watched.gone.append(before.get(key) or session.watched[key])
            else:
                watched.here.append(Member(user.person, user.nick))
        return watched
