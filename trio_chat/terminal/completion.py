"""Completions of the line that is being typed: commands and their arguments, nicks and rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from trio_chat.moderation.fields import GIVEN, SETTINGS
from trio_chat.protocol.text import casefolded, harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

# Commands whose first argument is a room or a nick.
OF_ROOMS = ("/join",)
OF_NICKS = (
    *("/tell", "/query", "/ignore", "/invite"),
    *("/check", "/kick", "/mute", "/ban", "/remove", "/role", "/report"),
)
# Spans of time that moderators use often.
TIMES = ("10m", "1h", "2h", "1d", "7d", "forever")
# The first arguments of further commands.
FIRST = {
    "/room": tuple(SETTINGS),
    "/held": ("pass", "drop"),
    "/raid": ("10m", "1h", "2h", "1d", "off", "since"),
}


@frozen
class Words:
    """The words that can be completed.

    `commands` are usages by command, which has its slash. `here` are the nicks of other people in
    the room, and `spoke` those that have spoken, the latest last.
    """

    commands: dict[str, str] = field(factory=dict)
    rooms: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    spoke: tuple[str, ...] = ()

    @property
    def nicks(self) -> Iterable[str]:
        """The nicks in the room, the latest speakers first. Sorting thousands takes a while."""
        here = set(self.here)
        spoke = [nick for nick in reversed(self.spoke) if nick in here]
        return map(harmless, dict.fromkeys([*spoke, *sorted(here, key=casefolded)]))


def completions(text: str, words: Words) -> list[tuple[str, str]]:
    """The words that may replace the last word of `text`, each with the text to add after it."""
    before, _, last = text.rpartition(" ")
    command = text.split(" ", 1)[0]
    if not before and text.startswith("/"):
        return [
            (name, " " if " " in usage else "")
            for name, usage in words.commands.items()
            if name.startswith(text)
        ]
    if (arguments := _arguments(before.split(), words)) is not None:
        names, end = arguments
        return _begun(names, last, end)
    if not last or command in OF_ROOMS:
        return []
    # A nick at the beginning of a message addresses somebody.
    return _begun(words.nicks, last, " " if before else ": ") + _begun(words.rooms, last, " ")


def _arguments(typed: list[str], words: Words) -> tuple[Iterable[str], str] | None:
    """Return what the next argument of a command may be, and the text after it.

    Moderators' commands have none for a person who may not use them.
    """
    found: tuple[Iterable[str], str] | None = None
    match typed:
        case [command] if command in OF_ROOMS:
            found = words.rooms, ""
        case [command] if command in OF_NICKS:
            found = words.nicks, " "
        case ["/help"]:
            found = [name.removeprefix("/") for name in words.commands], ""
        case [command, *_] if command not in words.commands:
            pass
        case [command] if command in FIRST:
            found = FIRST[command], " "
        case ["/room", setting] if setting in SETTINGS:
            found = SETTINGS[setting].values, ""
        case ["/role", _]:
            found = GIVEN, ""
        case ["/mute" | "/ban" | "/remove", _]:
            found = TIMES, " "
    return found


def _begun(names: Iterable[str], start: str, end: str) -> list[tuple[str, str]]:
    return [(name, end) for name in names if casefolded(name).startswith(casefolded(start))]
