"""The commands `trio-chat mute`, `ban`, `undo`, `remove`, `raid` and `log`: they ask the daemon.

They raise `ControlError` if it is not done, `SettingsError` for a mistake of the caller.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from trio_chat.daemon.commands import (
    Command,
    asked,
    granted,
    json_option,
    number,
    number_from,
    of_a_daemon,
)
from trio_chat.daemon.control import UNKNOWN
from trio_chat.daemon.logs import escaped
from trio_chat.daemon.moderation import BAN, MUTE, RAID, REMOVE, UNDO
from trio_chat.daemon.output import show, table, time_of
from trio_chat.errors import ControlError
from trio_chat.protocol.commands import MAX_HISTORY, SOME_HISTORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trio_chat.daemon.control import Response
    from trio_chat.daemon.target import Target

# Columns of the list.
COLUMNS: Final = ("action", "when", "by", "what")

room_option = click.option(
    "--room", metavar="ROOM", default="", help="Only in this room, and not on the whole server."
)


def _target_arguments(command: Command) -> Command:
    """Add the arguments of a mute or a ban."""
    command = click.argument("words", metavar="[TIME] [REASON]...", nargs=-1)(command)
    return click.argument("whom", metavar="TARGET")(command)


@click.command()
@of_a_daemon
@room_option
@_target_arguments
def mute(target: Target, room: str, whom: str, words: tuple[str, ...]) -> None:
    """Let someone say nothing for some time, on the whole server or in a room.

    TARGET is a nick, an address, a network such as 203.0.113.0/24, or its tag (net:7f3a09c2). After
    a network, `all` hits older accounts too. TIME is 10m, 2h, 3d or forever; 10m without it. For
    example: trio-chat mute jack 2h flooding
    """
    _act(target, MUTE, " ".join((whom, *words)), room)


@click.command()
@of_a_daemon
@room_option
@_target_arguments
def ban(target: Target, room: str, whom: str, words: tuple[str, ...]) -> None:
    """Disconnect someone and keep them out for some time, or send them out of a room.

    TARGET and TIME are as for `mute`. Without a TIME, a ban lasts a day, and that of a network two
    hours. For example: trio-chat ban 203.0.113.0/24 2h spam
    """
    _act(target, BAN, " ".join((whom, *words)), room)


@click.command()
@of_a_daemon
@room_option
@click.argument("action")
def undo(target: Target, room: str, action: str) -> None:
    """Take a mute or a ban back, by its number: trio-chat undo A17.

    Actions in a room have numbers of their own: name it with --room.
    """
    _act(target, UNDO, action, room)


@click.command()
@of_a_daemon
@click.option("--room", metavar="ROOM", required=True, help="The room that has the messages.")
@click.argument("which", metavar="ID[-ID]|TARGET")
@click.argument("words", metavar="[TIME] [REASON]...", nargs=-1)
def remove(target: Target, room: str, which: str, words: tuple[str, ...]) -> None:
    """Take messages out of a room for good: by their numbers, or those of someone.

    Nothing is kept, so nobody can put them back; a moderator's /remove in the chat can be undone.
    With a TARGET, TIME says how far back, an hour without it. For example: trio-chat remove --room
    go 17-19 asked for by jack
    """
    _act(target, REMOVE, " ".join((which, *words)), room)


@click.command()
@of_a_daemon
@room_option
@click.argument("words", metavar="[TIME|off] [since TIME]", nargs=-1)
def raid(target: Target, room: str, words: tuple[str, ...]) -> None:
    """Let newcomers only read for some time, as strangers flood the server.

    Newcomers are guests who came within the last five minutes or come now, and accounts that were
    made since. TIME is 30m without it; `since 1h` looks back further, and `off` ends the raid. In a
    room, their messages wait for a moderator. For example: trio-chat raid 1h since 10m
    """
    _act(target, RAID, " ".join(words), room)


@click.command()
@of_a_daemon
@json_option
@room_option
@click.option(
    "-n",
    "limit",
    callback=number_from(1, MAX_HISTORY, "a whole number"),
    default=str(SOME_HISTORY),
    show_default=True,
    metavar="N",
    help=f"Show at most so many, up to {MAX_HISTORY}.",
)
def log(target: Target, room: str, limit: int, *, as_json: bool) -> None:
    """List the newest actions of moderators, on the whole server or in a room.

    Each line shows the number of an action, its time, its author, and what it was. The newest comes
    last. With --json each line is one JSON object.
    """
    with asked(target) as asking:
        answer = _granted(asking.ask("actions", None, limit=limit, **_in(room)), target)
        rows = list(asking.rows(int(number(answer.get("shown")))))
    for line in map(json.dumps, rows) if as_json else action_lines(rows):
        show(line)


MODERATION_COMMANDS: Final = (mute, ban, undo, remove, raid, log)


def _act(target: Target, do: str, arguments: str, room: str) -> None:
    with asked(target) as asking:
        found = asking.ask("moderate", None, do=do, arguments=arguments, **_in(room))
        answer = _granted(found, target)
    number = f" [A{answer['action']}]" if "action" in answer else ""
    show(escaped(f"{answer.get('text')}{number}"))


def _granted(answer: dict[str, object], target: Target) -> Response:
    if str(answer.get("error")).startswith(UNKNOWN):
        raise ControlError(
            f"the daemon {target.name} cannot do that: its version is older. Upgrade it first"
        )
    return granted(answer)


def _in(room: str) -> dict[str, object]:
    return {"room": room} if room else {}


def action_lines(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Make a table of actions with its head, or say that there are none."""
    cells = [COLUMNS, *map(_cells, rows)]
    if len(cells) == 1:
        yield "there are no actions"
        return
    yield from table(cells)


def _cells(row: Mapping[str, object]) -> tuple[str, ...]:
    nick, text = escaped(str(row.get("nick"))), escaped(str(row.get("text")))
    return f"A{row.get('position')}", time_of(row.get("time")), nick, text
