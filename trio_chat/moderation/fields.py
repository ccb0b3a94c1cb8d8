"""The fields of a room's rules, as the log keeps them: their names, and what their values say.

A field is found by its name, so ten thousand bans cost a join no more than none:

| field | value |
| --- | --- |
| `role PERSON` | a name of `Role` |
| `mute TARGET`, `ban TARGET` | a `Penalty` as JSON |
| `set NAME` | the value of a setting; of the key only a hash, see `trio_chat.moderation.room_key` |
| `invite PERSON` | the second since 1970 when it ends |
| `pin` | the position of an entry |
| `raid` | a `Raid` as JSON |
| `creator` | when the room was made, in milliseconds since 1970, a space, and by whom |

A room with `creator` has no owner. Its creator is an operator, unless `role PERSON` says otherwise.
Its fields end once nobody is in it, and the log sees to that.

PERSON is the id of an account, or of a guest in a room with `creator`. TARGET is the id of an
account, or `net:` and the tag of a network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from attrs import frozen

from trio_chat.moderation import room_key
from trio_chat.moderation.spans import describe_end

# The ids of accounts begin with this.
ACCOUNT: Final = "a."

# The name of the field with the position of the pinned entry.
PIN: Final = "pin"
# The name of the field that a room with a creator has.
CREATOR: Final = "creator"


class Role(IntEnum):
    """The rank of a person in a room. Nobody acts on an equal or a higher one."""

    NONE = 0
    MEMBER = 1
    VOICE = 2
    OPERATOR = 3
    OWNER = 4
    SERVER = 5
    """An operator of the server, by its settings. No room gives or takes this."""

    @property
    def word(self) -> str:
        """The role as people write it."""
        return self.name.lower()


# The roles that a room may give.
GIVEN: Final = {role.word: role for role in Role if role is not Role.SERVER}


@frozen
class Setting:
    """A setting of a room: its values, the first of which counts by default, and what it is for.

    With `most` it may be a whole number instead, from `least` to that. An `is_secret` one may be a
    word that nobody is shown. People read `SET` in its place.
    """

    values: tuple[str, ...]
    help: str
    most: int = 0
    least: int = 0
    is_secret: bool = False

    @property
    def choices(self) -> str:
        """The values, as a refusal names them."""
        if self.is_secret or self.least:
            return f"{self.values[0]}, or {self.others}"
        return self.others if self.most else f"one of {', '.join(self.values)}"

    @property
    def others(self) -> str:
        """The values that `values` does not have."""
        number = f"a whole number from {self.least} to {self.most}"
        return room_key.FORM if self.is_secret else number

    def read(self, word: str) -> str | None:
        """Return the value that a word means, or `None`. Each value has one form."""
        if word in self.values:
            return word
        if self.is_secret:
            return word if room_key.is_key(word) else None
        is_number = word.isascii() and word.isdigit() and len(word) <= len(str(self.most))
        fits = bool(self.most) and is_number and self.least <= int(word) <= self.most
        return str(int(word)) if fits else None


# The value that people are shown of a secret.
SET: Final = "set"
KEY: Final = "key"
LIMIT: Final = "limit"
# The highest limit of a room's members. No server has as many people.
MOST_LIMIT: Final = 1_000_000

SETTINGS: Final[Mapping[str, Setting]] = {
    "join": Setting(("all", "accounts", "members"), "who may enter"),
    "speak": Setting(("all", "accounts", "voice"), "who may say something"),
    "topic": Setting(("all", "operators"), "who may set the topic"),
    "history": Setting(("all", "members"), "who may read what was said before"),
    "slow": Setting(("0",), "seconds between two messages of one person", most=3600),
    "new-people": Setting(("free", "hold"), "whether messages of new people wait for a moderator"),
    "words": Setting(("on", "off"), "whether the server's list of words counts"),
    "listed": Setting(("yes", "no"), "whether /rooms shows the room to people outside it"),
    LIMIT: Setting(("off",), "how many people may be in the room", most=MOST_LIMIT, least=1),
    KEY: Setting(("off",), "a word that people who enter have to know", is_secret=True),
}


@frozen
class Penalty:
    """A mute or a ban: its target, its end in seconds since 1970 (`None`: never), and its reason.

    `nick` is what its target was called. A ban of a network spares accounts made before `spares`,
    in seconds since 1970; 0 spares none.
    """

    nick: str
    until: float | None
    reason: str
    spares: float = 0.0

    def write(self) -> str:
        """Return the value of a field."""
        return json.dumps([self.nick, self.until, self.reason, self.spares], ensure_ascii=False)

    def counts(self, now: float) -> bool:
        """Whether its time is not over."""
        return self.until is None or self.until > now

    def describe(self, now: float) -> str:
        """Say until when it lasts, and why: `until 14:10 UTC: flooding`."""
        reason = f": {self.reason}" if self.reason else ""
        return f"{describe_end(self.until, now)}{reason}"

    @classmethod
    def read(cls, value: str) -> Penalty:
        """Read the value of a field. Later versions may add items."""
        nick, until, reason, spares, *_ = json.loads(value)
        return cls(nick, until, reason, spares)


@frozen
class Raid:
    """A raid on a room, in seconds since 1970: its end, and since when people are newcomers."""

    until: float
    since: float

    def write(self) -> str:
        """Return the value of a field."""
        return json.dumps([self.until, self.since])

    @classmethod
    def read(cls, value: str) -> Raid:
        """Read the value of a field. Later versions may add items."""
        until, since, *_ = json.loads(value)
        return cls(until, since)


def is_over(name: str, value: str, now: float) -> bool:
    """Whether the time of a field with this name and value is over."""
    kind = name.partition(" ")[0]
    if kind == "invite":
        return float(value) <= now
    if kind == "raid":
        return Raid.read(value).until <= now
    if kind in {"mute", "ban"}:
        return not Penalty.read(value).counts(now)
    return False


def creator(person: str, now: float) -> str:
    """Return the value of the field of a room that somebody makes now."""
    return f"{int(now * 1000)} {person}"
