"""The names of rooms and people in IRC, and of the server.

A room whose name begins with `#` has that name in IRC. Any other room has `&` in front there. So
each room has one name in IRC, and each name in IRC is one room.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

from trio_chat.errors import Code, Refused
from trio_chat.protocol.names import ANONYMOUS, unnamed

# The name of a room begins with one of these in IRC (the token CHANTYPES).
ROOM_SIGNS: Final = "#&"
# Characters of a mask that count.
MASK_CHARS: Final = 100
# The user name of people who have not said any. Clients show it beside the nick.
NO_USER: Final = "u"


def is_channel(target: str) -> bool:
    """Whether a target of a message is a room, and not a person."""
    return target[:1] in ROOM_SIGNS and target != ""


def channel(room: str) -> str:
    """Return the name of a room in IRC."""
    return room if room.startswith("#") else f"&{room}"


def room(channel: str) -> str:
    """Return the room that has this name in IRC.

    Raises `Refused` if no room has such a name. The rest of its rules is for `parse_room`.
    """
    if channel.startswith("#"):
        return channel
    name = channel[1:]
    if not channel.startswith("&") or not name or name.startswith("#"):
        raise Refused("the name of a room begins with # or &", code=Code.BAD_ROOM_NAME)
    return name


def nick_of(person: str, nick: str) -> str:
    """Return the nick of a person in IRC."""
    return unnamed(person) if nick == ANONYMOUS else nick


def host_of(person: str, server: str) -> str:
    """Return what stands for the address of a person, which nobody is shown."""
    return f"{person}.{server}"


def source_of(person: str, nick: str, user: str, server: str) -> str:
    """Return whom a message is from: nick, user name, and what stands for the address."""
    return f"{nick_of(person, nick)}!~{user or NO_USER}@{person}.{server}"


def matches(name: str, mask: str) -> bool:
    """Whether a name in lower case is one of those that a mask with `*` and `?` stands for."""
    return fnmatchcase(name, mask[:MASK_CHARS].lower().replace("[", "[[]"))
