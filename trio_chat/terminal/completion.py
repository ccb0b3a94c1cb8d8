"""How a line that is being typed may go on: commands, nicks, rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from trio_chat.protocol.text import casefolded

if TYPE_CHECKING:
    from collections.abc import Iterable

# Commands whose first word is a room, a nick, a command.
OF_ROOMS = ("/join",)
OF_NICKS = ("/tell",)
OF_COMMANDS = ("/help",)


@frozen
class Words:
    """What can be completed.

    Usages by command (with its slash), rooms, and nicks, those first who have spoken last.
    """

    commands: dict[str, str] = field(factory=dict)
    rooms: tuple[str, ...] = ()
    nicks: tuple[str, ...] = ()


def completions(text: str, words: Words) -> list[tuple[str, str]]:
    """What may stand in place of the last word of `text`: the word, and what comes after it."""
    before, _, last = text.rpartition(" ")
    command = text.split(" ", 1)[0]
    if not before and text.startswith("/"):
        return [
            (name, " " if " " in usage else "")
            for name, usage in words.commands.items()
            if name.startswith(text)
        ]
    if before in OF_ROOMS:
        return _begun(words.rooms, last, "")
    if before in OF_NICKS:
        return _begun(words.nicks, last, " ")
    if before in OF_COMMANDS:
        names = [name.removeprefix("/") for name in words.commands]
        return _begun(names, last, "")
    if not last or command in OF_ROOMS:
        return []
    # At the beginning of a message a nick says to whom it is.
    return _begun(words.nicks, last, " " if before else ": ") + _begun(words.rooms, last, " ")


def _begun(names: Iterable[str], start: str, end: str) -> list[tuple[str, str]]:
    return [(name, end) for name in names if casefolded(name).startswith(casefolded(start))]
