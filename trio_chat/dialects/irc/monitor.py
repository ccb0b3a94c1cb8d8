"""MONITOR: its commands, and its answers (IRCv3, monitor)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.asked import wrapped
from trio_chat.dialects.irc.names import source_of
from trio_chat.dialects.irc.parameters import CommandRow, needs_more, valid_nicks
from trio_chat.protocol.presence import MOST_WATCHED, ShowWatched, Unwatch, Watch

if TYPE_CHECKING:
    from trio_chat.dialects.irc.asked import Asked
    from trio_chat.dialects.irc.parameters import Context, Params, Parts
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.presence import Watched, WatchedListed

# Nicks of one command: more than a list takes, but not as many as fit a line.
_MOST_NICKS: Final = 2 * MOST_WATCHED


def _make(params: Params, context: Context) -> Parts:
    yield _record(params, context), params


def _record(params: Params, context: Context) -> Command:
    match params:
        case ("+", nicks, *_):
            return Watch(valid_nicks(nicks.split(",")[:_MOST_NICKS], context))
        case ("-", nicks, *_):
            return Unwatch(valid_nicks(nicks.split(",")[:_MOST_NICKS], context))
        case ("C" | "c", *_):
            return Unwatch()
        case ("L" | "l", *_):
            return ShowWatched()
        case ("S" | "s", *_):
            return ShowWatched(here=True)
    return needs_more()


def write_watched(event: Watched, asked: Asked) -> list[str]:
    """Return the lines that list people who are here, and nicks that nobody has."""
    directory = asked.directory
    here = (
        source_of(m.client, m.nick, directory.about(m.client).user, directory.server_name)
        for m in event.here
    )
    limit = str(MOST_WATCHED)
    return [
        *(asked.numeric("730", nicks) for nicks in wrapped(here, ",")),
        *(asked.numeric("731", nicks) for nicks in wrapped(event.gone, ",")),
        *(
            asked.numeric("734", limit, nicks, "Monitor list is full")
            for nicks in wrapped(event.refused, ",")
        ),
    ]


def write_watched_list(event: WatchedListed, asked: Asked) -> list[str]:
    """Return the lines with the nicks that the client watches."""
    return [
        *(asked.numeric("732", nicks) for nicks in wrapped(event.nicks, ",")),
        asked.numeric("733", "End of MONITOR list"),
    ]


ROWS: Final = {"MONITOR": CommandRow(1, _make)}
