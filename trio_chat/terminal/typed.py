"""The meaning of a typed line: most lines are for the server, a few are for the client itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from trio_chat.protocol.events import Usage
from trio_chat.terminal.accounts import NAMES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# Names from IRC for commands of the server. A server's own command of this name comes first.
ALIASES: Final = {"list": "rooms", "part": "leave", "nicks": "who"}
# The commands that work in a private talk. Others may act on a room.
ANYWHERE: Final = (
    *("nick", "join", "rooms", "tell", "ignore", "announce", "help", "quit"),
    *sorted(NAMES),
)

# Help for commands that do something else here than in a line client.
OTHERWISE: Final = {
    "join": "go into a room, or bring one of your rooms on screen",
    "leave": "leave the room on screen, or close the private talk",
    "quit": "leave the chat; Ctrl-D does too",
}
OWN: Final = (
    Usage("query", "/query NICK [TEXT]", "open a private talk"),
    Usage("clear", "/clear", "clear this window; PgUp brings old messages back"),
    *(Usage(alias, f"/{alias}", f"the same as /{name}") for alias, name in ALIASES.items()),
)


@frozen
class Send:
    """A line for the server."""

    line: str


@frozen
class SayPrivately:
    """A text for the person of the talk on screen."""

    text: str


@frozen
class Switch:
    """Bring this room on screen; `room` is its casefolded name."""

    room: str


@frozen
class OpenTalk:
    """Open a private talk, and say `text` in it unless that is empty."""

    nick: str
    text: str


@frozen
class CloseTalk:
    """Close the private talk on screen."""


@frozen
class Clear:
    """Clear the window on screen."""


@frozen
class ShowHelp:
    """Show how one command is used, or all of them."""

    command: str | None


@frozen
class LeaveChat:
    """Leave the chat."""


@frozen
class Impossible:
    """A line that cannot be carried out, for this reason."""

    reason: str


Meaning: TypeAlias = Send | ShowHelp | LeaveChat
MeaningOnScreen: TypeAlias = (
    Meaning | SayPrivately | Switch | OpenTalk | CloseTalk | Clear | Impossible
)


def read_typed(text: str, commands: Collection[str]) -> Meaning | None:
    """The meaning of a line in a pipe; `None` for an empty one.

    `commands` are the names of the server's commands.
    """
    command, *words = text.split() or [""]
    match [command.lower(), *words]:
        case [""]:
            return None
        case ["/quit"]:
            return LeaveChat()
        case ["/help", *words] if len(words) <= 1:
            return ShowHelp("".join(words).removeprefix("/") or None)
    if not command.startswith("/"):
        return Send(f"/msg {text.rstrip()}")  # an indented text stays indented
    name = command[1:].lower()
    alias = None if name in commands else ALIASES.get(name)
    line = text.strip()
    return Send(line if alias is None else f"/{alias}{line[len(command) :]}")


def read_on_screen(
    text: str, commands: Collection[str], rooms: Collection[str], *, in_talk: bool
) -> MeaningOnScreen | None:
    """The meaning of a line on a screen; `None` for an empty one.

    `rooms` are the casefolded names of this client's rooms. `in_talk`: the line was typed in the
    window of a private talk.
    """
    meaning = read_typed(text, commands)
    if not isinstance(meaning, Send):
        return meaning
    if in_talk and not text.lstrip().startswith("/"):
        return SayPrivately(text.rstrip())
    command, arguments = _parts(meaning.line)
    if command not in commands:
        if command == "query":
            return _query(arguments)
        if command == "clear":
            return Clear()
    if command == "join":
        name, *more = arguments.casefold().split() or [""]
        if name in rooms and len(more) <= 1:  # a key
            return Switch(name)
    return _in_talk(meaning, text) if in_talk else meaning


def _parts(line: str) -> tuple[str, str]:
    """The first word, as the name of a command, and the text after it. The server splits so too."""
    word, *rest = line.split(maxsplit=1) or [""]
    return word.removeprefix("/").lower(), "".join(rest).rstrip()


def _query(arguments: str) -> MeaningOnScreen:
    match arguments.split(maxsplit=1):
        case [nick, *said]:
            return OpenTalk(nick, "".join(said))
    return Impossible("usage: /query NICK [TEXT]")


def _in_talk(meaning: Send, typed: str) -> MeaningOnScreen:
    """The meaning of a command in a private talk, where none may act on a room by mistake."""
    command, arguments = _parts(meaning.line)
    if command == "msg":
        return SayPrivately(arguments) if arguments else Impossible("usage: /msg TEXT")
    if command == "leave":
        return CloseTalk()
    if command in ANYWHERE:
        return meaning
    return Impossible(f"{typed.split(maxsplit=1)[0]} works in a room, not in a private talk")


def usages(table: Iterable[Usage]) -> list[Usage]:
    """The commands of a server's table and of this client, as they are used here."""
    rows = {
        row.name: Usage(row.name, row.usage, OTHERWISE.get(row.name, row.help)) for row in table
    }
    return [*rows.values(), *(row for row in OWN if row.name not in rows)]
