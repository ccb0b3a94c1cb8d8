"""What a line that a person has typed means: mostly the server's affair, a few things are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import frozen

from trio_chat.protocol.events import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What is another thing here than where one is in one room at a time.
OTHERWISE = {
    "join": "go into a room, or back to one you are in; Ctrl-N and Ctrl-P go through them",
    "leave": "leave the room on screen",
    "quit": "leave; Ctrl-D does too",
}


@frozen
class Send:
    """A line for the server."""

    line: str


@frozen
class Switch:
    """Bring this room on screen, by its casefolded name."""

    room: str


@frozen
class ShowHelp:
    """Show how commands are used: one, or all of them."""

    command: str | None


@frozen
class LeaveChat:
    """Leave the chat."""


Meaning: TypeAlias = Send | Switch | ShowHelp | LeaveChat


def read_typed(text: str, rooms: Mapping[str, object]) -> Meaning | None:
    """What a line means for a client in these (casefolded) rooms; `None` for an empty one."""
    command, *words = text.split() or [""]
    match [command.lower(), *words]:
        case [""]:
            return None
        case ["/quit"]:
            return LeaveChat()
        case ["/join", room] if room.casefold() in rooms:
            return Switch(room.casefold())
        case ["/help", *words] if len(words) <= 1:
            return ShowHelp("".join(words).removeprefix("/") or None)
    # What is indented stays so, but a command by mistake is not said aloud.
    line = text.strip()
    return Send(line if line.startswith("/") else f"/msg {text.rstrip()}")


def usages(table: Iterable[Usage]) -> list[Usage]:
    """The commands of a server's table, as they are here."""
    return [Usage(row.name, row.usage, OTHERWISE.get(row.name, row.help)) for row in table]
