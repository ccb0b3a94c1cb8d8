"""Roles and settings of rooms, as the modes of IRC: prefixes of nicks, and changes of modes."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.names import channel, host_of, nick_of
from trio_chat.moderation.fields import GIVEN, KEY, LIMIT, SETTINGS, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.protocol.directory import Directory
    from trio_chat.protocol.events import Ruled

# The settings that are modes, by their letters. With `n` nobody speaks in a room from outside.
SETTING_MODES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "M": ("speak", "accounts"),
        "R": ("join", "accounts"),
        "i": ("join", "members"),
        "m": ("speak", "voice"),
        "s": ("listed", "no"),
        "t": ("topic", "operators"),
    }
)
# The settings that are modes with a parameter. That of a key is never shown, as a room keeps only a
# hash of it.
KEY_MODE: Final = "k"
LIMIT_MODE: Final = "l"
VALUE_MODES: Final[Mapping[str, str]] = MappingProxyType({KEY_MODE: KEY, LIMIT_MODE: LIMIT})
_LETTERS: Final = {setting: letter for letter, setting in VALUE_MODES.items()}
HIDDEN: Final = "*"
ALWAYS: Final = "n"
BAN: Final = "b"
ROLE_MODES: Final[Mapping[str, str]] = MappingProxyType({"o": "operator", "v": "voice"})
_PREFIXES: Final = {"o": "@", "v": "+", "": ""}
# The modes of people. People who share no room with them do not see them, so all are invisible.
INVISIBLE: Final = "i"
BOT: Final = "B"
# Only the server gives this one, to operators of it.
OPERATOR: Final = "o"
USER_MODES: Final = BOT + INVISIBLE + OPERATOR
# A ban of a network has this host, with the tag behind it: nobody's host begins so.
NETWORK: Final = "net:"


def _letter(role: Role) -> str:
    if role >= Role.OPERATOR:
        return "o"
    return "v" if role is Role.VOICE else ""


def letter_of(directory: Directory, room: str, person: str) -> str:
    """Return the mode of a person in a room; empty if there is none."""
    return _letter(directory.role(room, person))


def prefix_of(directory: Directory, room: str, person: str) -> str:
    """Return the prefix of a person's nick in a room; empty if there is none."""
    return _PREFIXES[letter_of(directory, room, person)]


def modes_of(directory: Directory, room: str) -> list[str]:
    """Return the modes of a room: their letters, and then the parameters of some."""
    on = {ALWAYS: ""}
    if (rules := directory.rules(room)) is not None:
        for letter, (setting, value) in SETTING_MODES.items():
            if rules.setting(setting) == value:
                on[letter] = ""
        for letter, setting in VALUE_MODES.items():
            if (value := rules.setting(setting)) != SETTINGS[setting].values[0]:
                on[letter] = _shown(setting, value)
    letters = sorted(on)
    return ["+" + "".join(letters), *(on[letter] for letter in letters if on[letter])]


def _shown(setting: str, value: str) -> str:
    return HIDDEN if SETTINGS[setting].is_secret else value


def mask_of(key: str, server: str) -> str:
    """Return the mask of a ban, by the key of its field."""
    return f"*!*@{key}" if key.startswith(NETWORK) else f"*!*@{host_of(key, server)}"


def write_role(directory: Directory, room: str, person: str, nick: str, old: str = "") -> str:
    """Return the line of a person's mode in a room, if the mode was `old` before."""
    new = letter_of(directory, room, person)
    if new == old:
        return ""
    signed = [*([f"-{old}"] if old else []), *([f"+{new}"] if new else [])]
    nicks = [nick_of(person, nick)] * len(signed)
    return write("MODE", channel(room), "".join(signed), *nicks, source=directory.server_name)


def write_changes(event: Ruled, directory: Directory, author: str) -> str:
    """Return the line of the modes that an action changes; empty if it changes none."""
    signed: list[str] = []
    params: list[str] = []
    for name, value in event.changes.items():
        kind, _, target = name.partition(" ")
        old = event.was.get(name)
        if old == value:
            continue
        if kind == "role" and (nick := directory.nick(target)):
            for sign, role in (("-", old), ("+", value)):
                if letter := _letter(GIVEN.get(role or "", Role.NONE)):
                    signed.append(sign + letter)
                    params.append(nick)
        elif kind == "set":
            letters, words = _setting_changes(target, old, value)
            signed += letters
            params += words
        elif kind == "ban" and not target.startswith(NETWORK) and None in {value, old}:
            # Only operators learn the tag of a network: by it, others could tell who shares one.
            signed.append(("-" if value is None else "+") + BAN)
            params.append(mask_of(target, directory.server_name))
    if not signed:
        return ""
    return write("MODE", channel(event.room), "".join(signed), *params, source=author)


def _setting_changes(name: str, old: str | None, value: str | None) -> tuple[list[str], list[str]]:
    """Return the signed letters that a change of a setting has, and their parameters."""
    if (letter := _LETTERS.get(name)) is not None:
        # The parameter of a key is there when it is taken, too.
        words = [value] if value is not None else []
        return [("-" if value is None else "+") + letter], [HIDDEN] if name == KEY else words
    usual = SETTINGS[name].values[0]
    pairs = (("-", (name, old or usual)), ("+", (name, value or usual)))
    return [
        sign + letter
        for sign, pair in pairs
        for letter, setting in SETTING_MODES.items()
        if setting == pair
    ], []
