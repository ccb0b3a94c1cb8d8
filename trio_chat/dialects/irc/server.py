"""The server in replies: the welcome, what it supports, its counts and its message of the day."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.moderation import MOST_CHANGES
from trio_chat.dialects.irc.modes import (
    ALWAYS,
    BAN,
    BOT,
    KEY_MODE,
    LIMIT_MODE,
    SETTING_MODES,
    USER_MODES,
)
from trio_chat.dialects.irc.names import ROOM_SIGNS, matches
from trio_chat.dialects.irc.parameters import MOST_NAMES, MOST_TARGETS, REAL_CHARS, USER_CHARS
from trio_chat.dialects.irc.past import MARKS
from trio_chat.dialects.irc.tags import shown_time
from trio_chat.moderation.room_key import MOST_CHARS
from trio_chat.protocol.past import MOST_MESSAGES
from trio_chat.protocol.presence import MOST_WATCHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.dialects.irc.asked import Asked
    from trio_chat.protocol.events import Limits
    from trio_chat.protocol.presence import ServerShown

NETWORK: Final = "trio_chat"
# Tokens of one line: with the nick and the text there are 15 parameters.
TOKENS_A_LINE: Final = 13
ROOM_MODES: Final = "".join(sorted([ALWAYS, *SETTING_MODES]))
_PARAMETER_MODES: Final = "".join(sorted(f"{BAN}ov{KEY_MODE}{LIMIT_MODE}"))
_CHANNEL_MODES: Final = "".join(sorted(_PARAMETER_MODES + ROOM_MODES))


def tokens(limits: Limits, line_bytes: int) -> list[str]:
    """Return the tokens of RPL_ISUPPORT; `line_bytes` is for a line without its end."""
    few = (f"{command}:{MOST_TARGETS}" for command in ("KICK", "NOTICE", "PRIVMSG", "WHOIS"))
    many = (f"{command}:{MOST_NAMES}" for command in ("JOIN", "NAMES", "PART"))
    return [
        f"AWAYLEN={limits.topic_chars}",
        f"BOT={BOT}",
        "CASEMAPPING=ascii",
        f"CHANLIMIT={ROOM_SIGNS}:{limits.rooms}",
        f"CHANMODES={BAN},{KEY_MODE},{LIMIT_MODE},{ROOM_MODES}",
        f"CHANNELLEN={limits.room_chars}",
        f"CHANTYPES={ROOM_SIGNS}",
        f"CHATHISTORY={MOST_MESSAGES}",
        "CLIENTTAGDENY=*",
        "ELIST=MNU",
        f"KEYLEN={MOST_CHARS}",
        f"LINELEN={line_bytes + 2}",
        f"MODES={MOST_CHANGES}",
        f"MONITOR={MOST_WATCHED}",
        f"MSGREFTYPES={','.join(MARKS)}",
        f"NAMELEN={REAL_CHARS}",
        f"NETWORK={NETWORK}",
        f"NICKLEN={limits.nick_chars}",
        "PREFIX=(ov)@+",
        "SAFELIST",
        f"TARGMAX={','.join((*few, *many))}",
        f"TOPICLEN={limits.topic_chars}",
        f"USERLEN={USER_CHARS}",
        "UTF8MAPPING=rfc8265",
        "UTF8ONLY",
        "WHOX",
    ]


def write_server(event: ServerShown, asked: Asked) -> list[str]:
    """Return the lines about the server, as the command wants them."""
    write = _OF_COMMANDS.get(asked.command, _welcome)
    target = asked.param(_TARGETS.get(asked.command, 0), "")
    if write is not _welcome and not _is_here(target, asked):
        return [asked.numeric("402", target, "There is no such server here")]
    return write(event, asked)


def _is_here(target: str, asked: Asked) -> bool:
    """Whether a command is for this server: it names none, this one, or the client's own."""
    name = asked.directory.server_name.lower()
    return not target or matches(name, target) or target.lower() == asked.nick.lower()


def _welcome(event: ServerShown, asked: Asked) -> list[str]:
    server = asked.directory.server_name
    began = shown_time(event.began)
    return [
        asked.numeric("001", f"Welcome to {NETWORK}, {asked.nick}"),
        asked.numeric("002", f"Your host is {server}, running trio_chat {event.version}"),
        asked.numeric("003", f"This server has been here since {began}"),
        asked.numeric(
            "004",
            server,
            f"trio_chat-{event.version}",
            USER_MODES,
            _CHANNEL_MODES,
            _PARAMETER_MODES,
        ),
        *_supported(event, asked),
        *_counts(event, asked),
        *_motd(event, asked),
    ]


def _supported(event: ServerShown, asked: Asked) -> list[str]:
    every = tokens(event.limits, event.line_bytes)
    starts = range(0, len(every), TOKENS_A_LINE)
    return [
        asked.numeric("005", *every[at : at + TOKENS_A_LINE], "are supported by this server")
        for at in starts
    ]


def _counts(event: ServerShown, asked: Asked) -> list[str]:
    people, most = str(event.people), str(event.most_people)
    return [
        asked.numeric("251", f"There are {people} users and 0 invisible on 1 server"),
        asked.numeric("252", str(event.operators), "operators online"),
        asked.numeric("253", str(event.awaited), "unknown connections"),
        asked.numeric("254", str(event.rooms), "rooms"),
        asked.numeric("255", f"I have {people} clients and 0 servers"),
        asked.numeric("265", people, most, f"Current local users {people}, max {most}"),
        asked.numeric("266", people, most, f"Current global users {people}, max {most}"),
    ]


def _motd(event: ServerShown, asked: Asked) -> list[str]:
    if not event.greeting:
        return [asked.numeric("422", "There is no message of the day")]
    return [
        asked.numeric("375", f"- {asked.directory.server_name} Message of the day -"),
        *(asked.numeric("372", f"- {line}") for line in event.greeting),
        asked.numeric("376", "End of /MOTD command"),
    ]


def _version(event: ServerShown, asked: Asked) -> list[str]:
    server = asked.directory.server_name
    return [
        asked.numeric("351", f"trio_chat-{event.version}", server, "https://ircv3.net"),
        *_supported(event, asked),
    ]


def _time(_: ServerShown, asked: Asked) -> list[str]:
    now = time.time()
    return [asked.numeric("391", asked.directory.server_name, str(int(now)), "0", shown_time(now))]


def _info(event: ServerShown, asked: Asked) -> list[str]:
    return [
        asked.numeric("371", f"trio_chat {event.version}, a chat server in Python"),
        asked.numeric("374", "End of /INFO list"),
    ]


def _admin(_: ServerShown, asked: Asked) -> list[str]:
    server = asked.directory.server_name
    return [asked.numeric("423", server, "No administrative info is available")]


def _links(event: ServerShown, asked: Asked) -> list[str]:
    server = asked.directory.server_name
    mask = asked.message.params[-1] if asked.message.params else "*"
    is_shown = matches(server.lower(), mask)
    link = asked.numeric("364", server, server, f"0 trio_chat {event.version}")
    return [*([link] if is_shown else []), asked.numeric("365", mask, "End of /LINKS list")]


def _stats(event: ServerShown, asked: Asked) -> list[str]:
    letter = asked.param(0)[:1] or "*"
    lines = [asked.numeric("242", _uptime(time.time() - event.began))] if letter == "u" else []
    return [*lines, asked.numeric("219", letter, "End of /STATS report")]


def _uptime(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"Server Up {days} days {hour}:{minute:02}:{second:02}"


# The place of the server that a command is for, if it is not the first. LINKS has a mask last.
_TARGETS: Final = {"STATS": 1, "LINKS": 2}
_OF_COMMANDS: Final[dict[str, Callable[[ServerShown, Asked], list[str]]]] = {
    "LUSERS": _counts,
    "MOTD": _motd,
    "VERSION": _version,
    "TIME": _time,
    "INFO": _info,
    "ADMIN": _admin,
    "LINKS": _links,
    "STATS": _stats,
}
