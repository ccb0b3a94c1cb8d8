"""The directory: facts about people and the server that an event does not have.

Encodings that show more than an event get it beside the event. The hub's state is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from trio_chat.moderation.fields import Role
from trio_chat.protocol.presence import UNKNOWN, About

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.moderation.rules import RoomRules


class Recipient(Protocol):
    """The one client that gets an event."""

    nick: str
    person: str
    about: About

    awaited: bool
    """Whether it has yet to introduce itself."""

    @property
    def rooms(self) -> Mapping[str, object]:
        """The rooms that it is in, by their casefolded names."""
        ...


class Directory(Protocol):
    """Facts about people and the server, for encodings that say more than an event has."""

    @property
    def server_name(self) -> str:
        """The name of the server."""
        ...

    @property
    def log(self) -> str:
        """The identity of the room log."""
        ...

    def about(self, person: str) -> About:
        """Return what a person says about itself."""
        ...

    def nick(self, person: str) -> str:
        """Return the nick of a person; empty if nobody has this id."""
        ...

    def account(self, person: str) -> str:
        """Return the name of a person's account; empty if there is none."""
        ...

    def rules(self, room: str) -> RoomRules | None:
        """Return the rules of a room, if it has some."""
        ...

    def lists(self, room: str) -> bool:
        """Whether anyone may learn that there is a room with this casefolded name."""
        ...

    def role(self, room: str, person: str) -> Role:
        """Return the role of a person in a room."""
        ...

    def called(self, nick: str) -> About:
        """Return what the person with this casefolded nick says about itself."""
        ...

    def read_until(self, person: str, room: str) -> float:
        """Return up to when a person has read a room, in seconds since 1970; 0 if unknown."""
        ...

    def topic_set(self, room: str, topic: str) -> tuple[str, float]:
        """Return the nick of the person who set this topic of a room, and when.

        The time is in seconds since 1970. The nick is empty if nobody knows.
        """
        ...


class _Nobody:
    """A directory without anybody."""

    server_name = log = ""

    def about(self, person: str) -> About:
        del person
        return UNKNOWN

    def nick(self, person: str) -> str:
        del person
        return ""

    account = nick

    def rules(self, room: str) -> RoomRules | None:
        del room
        return None

    def lists(self, room: str) -> bool:
        del room
        return False

    def role(self, room: str, person: str) -> Role:
        del room, person
        return Role.NONE

    def called(self, nick: str) -> About:
        del nick
        return UNKNOWN

    def read_until(self, person: str, room: str) -> float:
        del person, room
        return 0.0

    def topic_set(self, room: str, topic: str) -> tuple[str, float]:
        del room, topic
        return "", 0.0


NOBODY_KNOWN: Final[Directory] = _Nobody()
