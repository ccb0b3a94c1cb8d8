"""Slows down who guesses passwords or makes accounts in bulk, so that nobody can lock others out.

Each try counts as a failure before its password is hashed, and success takes that back. So a flood
of tries at once is no way around the limits, and a refused try costs nothing.

Device tokens and codes cannot be guessed, and are not throttled. All of this is in memory, except
the failures of each account, which its row in the store counts.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

import trio
from attrs import define, field

from trio_chat.errors import Code, Refused
from trio_chat.protocol.names import Name

K = TypeVar("K")
V = TypeVar("V")

# Wrong passwords for one account from one network: so many are free, then each makes the next wait.
FREE_TRIES: Final = 5
FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 15 * 60.0
# A pair of account and network is forgotten after a day without a try.
PAIR_SECONDS: Final = 24 * 3_600.0

# Wrong passwords of one network for all accounts that it has not logged in to before.
NETWORK_FAILURES: Final = 20
# New accounts of one network.
REGISTRATIONS: Final = 3
HOUR: Final = 3_600.0

# After so many wrong passwords in a row, the password of an account counts only from networks that
# have logged in to it before. NIST SP 800-63B (5.2.2) allows no more.
ACCOUNT_FAILURES: Final = 100

# Pairs, networks and unknown names that are remembered, of each about 2 MB. Beyond that the one
# longest without a try is forgotten. Someone with that many networks meets `ACCOUNT_FAILURES`.
REMEMBERED: Final = 10_000


class Remembered(OrderedDict[K, V], Generic[K, V]):
    """A mapping that forgets what was longest untouched, beyond `REMEMBERED` items."""

    def touch(self, key: K, value: V) -> None:
        """Set an item, as the one touched last."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > REMEMBERED:
            self.popitem(last=False)


class Window(Generic[K]):
    """Allows each key a number of events in any hour."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: Remembered[K, deque[float]] = Remembered()

    def wait(self, key: K) -> float:
        """Return the seconds until another event is allowed."""
        times = self._times.get(key)
        if times is None or len(times) < self._most:
            return 0.0
        return times[0] + HOUR - trio.current_time()

    def count(self, key: K) -> None:
        """Count an event."""
        times = self._times.get(key)
        if times is None:
            times = deque(maxlen=self._most)
        times.append(trio.current_time())
        self._times.touch(key, times)

    def take_back(self, key: K) -> None:
        """Count one event less."""
        if times := self._times.get(key):
            times.pop()
            if not times:
                del self._times[key]


@define
class _Pair:
    """The failures for an account from a network, and until when the next try has to wait."""

    failures: int = 0
    touched: float = field(factory=trio.current_time)
    until: float = -math.inf


class Throttle:
    """Counts the tries of networks. Each method either counts or raises `Refused`.

    Times are those of Trio's clock.
    """

    def __init__(self) -> None:
        self._pairs: Remembered[tuple[str, str], _Pair] = Remembered()
        self._networks = Window[str](NETWORK_FAILURES)
        self._registrations = Window[str](REGISTRATIONS)
        # Failures for names without an account, so that they are answered like those with one.
        self._unknown: Remembered[str, int] = Remembered()

    def try_password(self, name: Name, network: str, *, known: bool) -> None:
        """Count a try, until `right` or `take_back`.

        `known` says that the network has logged in to the account before. Then the other failures
        of the network do not matter: people behind one address could lock each other out.
        """
        self.check_wait(name, network)
        now = trio.current_time()
        pair = self._pairs.get((name.casefolded, network))
        if pair is None or now > pair.touched + PAIR_SECONDS:
            pair = _Pair()
        if not known and (wait := self._networks.wait(network)) > 0:
            raise _too_many("wrong passwords from your network", wait)
        pair.failures += 1
        pair.touched = now
        pair.until = now + _wait(pair.failures)
        self._pairs.touch((name.casefolded, network), pair)
        if not known:
            self._networks.count(network)

    def check_wait(self, name: Name, network: str) -> None:
        """Raise `Refused` if the next try for an account from a network has to wait."""
        pair = self._pairs.get((name.casefolded, network))
        if pair is not None and (wait := pair.until - trio.current_time()) > 0:
            raise _too_many("wrong passwords", wait)

    def right(self, name: Name, network: str, *, known: bool) -> None:
        """Take back a try: the password was right."""
        self.forgive(name, network)
        if not known:
            self._networks.take_back(network)

    def forgive(self, name: Name, network: str) -> None:
        """Forget the failures for an account from a network: its person is there."""
        self._pairs.pop((name.casefolded, network), None)

    def fail_unknown(self, name: Name) -> int:
        """Count a failure for a name without an account. Return their number."""
        failures = self._unknown.get(name.casefolded, 0) + 1
        self._unknown.touch(name.casefolded, failures)
        return failures

    def check_account(self, name: Name, failures: int, *, known: bool) -> None:
        """Raise `Refused` after too many failures for an account, unless its person is known."""
        if failures > ACCOUNT_FAILURES and not known:
            raise Refused(
                f"too many wrong passwords for {name.display}: log in where you did before, "
                f"or give your code: /recover {name.display}",
                code=Code.NOT_FROM_HERE,
            )

    def register(self, network: str) -> None:
        """Count a new account, until `take_back_registration`."""
        if (wait := self._registrations.wait(network)) > 0:
            raise _too_many("new accounts from your network", wait)
        self._registrations.count(network)

    def take_back_registration(self, network: str) -> None:
        """Count a registration less: it has failed."""
        self._registrations.take_back(network)


def _wait(failures: int) -> float:
    """Return the seconds to wait after so many failures."""
    if failures < FREE_TRIES:
        return 0.0
    doublings = min(failures - FREE_TRIES, 32)  # no power of two too large for a float
    return min(FIRST_WAIT * 2.0**doublings, LONGEST_WAIT)


def _too_many(what: str, seconds: float) -> Refused:
    return Refused(f"too many {what}: try again in {_spelled(seconds)}", code=Code.TOO_MANY_TRIES)


def _spelled(seconds: float) -> str:
    """Return a time in seconds or minutes, rounded up."""
    whole, unit = math.ceil(seconds), "second"
    if whole > 90:  # noqa: PLR2004 - from here on nobody counts seconds
        whole, unit = math.ceil(seconds / 60), "minute"
    return f"{whole} {unit}{'' if whole == 1 else 's'}"
