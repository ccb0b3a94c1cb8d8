"""Nicks without a holder, and the people who had them lately. IRC clients ask for them (WHOWAS).

Only the newest ones are known, for an hour, in memory alone. So nobody can look up who was here
yesterday.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.protocol.presence import PastNick

# The nicks that are known at most, and for how many seconds.
MOST_NICKS: Final = 1_000
KEPT_SECONDS: Final = 3_600.0


class PastNicks:
    """The last holders of nicks. `known` are those of a process before this one."""

    def __init__(self, known: Iterable[PastNick] = ()) -> None:
        # The oldest first.
        self._nicks = deque(known, maxlen=MOST_NICKS)

    def all(self) -> list[PastNick]:
        """Return all that are known, the oldest first."""
        self._forget_old()
        return list(self._nicks)

    def note(self, nick: PastNick) -> None:
        """Note that nobody has a nick any more."""
        self._forget_old()
        self._nicks.append(nick)

    def of(self, key: str) -> list[PastNick]:
        """Return who has had a nick, the newest first. It is given by its casefolded form."""
        self._forget_old()
        return [nick for nick in reversed(self._nicks) if nick.key == key]

    def _forget_old(self) -> None:
        oldest = time.time() - KEPT_SECONDS
        while self._nicks and self._nicks[0].until < oldest:
            self._nicks.popleft()
