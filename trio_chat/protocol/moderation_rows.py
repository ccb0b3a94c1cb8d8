"""The commands for owners and moderators of rooms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trio_chat.moderation.fields import GIVEN, SETTINGS
from trio_chat.moderation.spans import LONGEST, is_span, parse_span
from trio_chat.protocol import commands
from trio_chat.protocol.names import SERVER, parse_nick
from trio_chat.protocol.rows import (
    May,
    Misused,
    Row,
    first_word,
    nothing,
    number,
    one_word,
    the_text,
)
from trio_chat.protocol.text import clean_text

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.rows import Parse

# The tag of a network, as moderators see it.
_TAG: Final = re.compile("[0-9a-f]{8}")
# An address or a CIDR, as far as its letters go. No nick has a slash.
_CIDR: Final = re.compile("[0-9a-f]*[.:][0-9a-f.:]+(/[0-9]{1,3})?")
# In place of a room: the whole server. Nobody can have this nick.
_SERVER: Final = "server"
_ALL: Final = "all"


def _room(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    if not words:
        return commands.ShowRules()
    name, *rest = words
    if (setting := SETTINGS.get(name := name.lower())) is None:
        raise Misused(f"SETTING must be one of {', '.join(SETTINGS)}")
    value = None
    if len(rest) == 1:
        value = setting.read(rest[0] if setting.is_secret else rest[0].lower())
    if value is None:
        raise Misused(f"{name} must be {setting.choices}")
    return commands.SetRoom(name, value)


def _role(arguments: str, settings: Settings) -> Command:
    words = arguments.split()
    roles = (*(word for word in GIVEN if word != "none"), "none")
    if len(words) != 2 or words[1].lower() not in GIVEN:  # noqa: PLR2004 - a nick and a role
        raise Misused(f"ROLE must be one of {', '.join(roles)}")
    return commands.SetRole(parse_nick(words[0], settings.nick_chars), words[1].lower())


def parse_target(word: str, settings: Settings) -> commands.Target:
    """Return whom a moderator means. Raises `Misused`, or `Refused` for a wrong nick."""
    if word.startswith("@"):
        wrong = "ID must be a number that /history shows"
        return commands.Target(entry=number(word[1:], commands.MAX_POSITION, wrong))
    begin, colon, network = word.lower().partition("net:")
    if colon and not begin:
        if not _TAG.fullmatch(network) and not _CIDR.fullmatch(network):
            raise Misused("net: is followed by the tag of a network, such as net:7f3a09c2")
        return commands.Target(network=network)
    if "/" in word and _CIDR.fullmatch(word.lower()):
        return commands.Target(network=word.lower())
    return commands.Target(parse_nick(word, settings.nick_chars, reserved=True))


def _penalize(verb: str) -> Parse:
    def parse(arguments: str, settings: Settings) -> Command:
        word, rest = first_word(arguments)
        room, hits_all = None, False
        if word.lower() == _SERVER:
            room, (word, rest) = SERVER, first_word(rest)
        if not word:
            raise Misused("TARGET is required")
        target = parse_target(word, settings)
        first, after = first_word(rest)
        if verb != "kick" and target.network and first.lower() == _ALL:
            hits_all, rest = True, after
        seconds: int | None = commands.USUAL_TIME
        first, after = first_word(rest)
        if verb != "kick" and is_span(first):
            seconds, rest = parse_span(first), after
        reason = _reason(rest, settings)
        return commands.Penalize(verb, target, seconds, reason, room, hits_all)

    return parse


def _check(arguments: str, settings: Settings) -> Command:
    room, rest = _of_server(arguments)
    return commands.Check(parse_target(one_word(rest, "TARGET"), settings), room)


def _pin(arguments: str, _: Settings) -> Command:
    if not arguments.strip():
        return commands.ShowPin()
    word = one_word(arguments, "ID")
    if word.lower() == "off":
        return commands.Pin(0)
    wrong = "ID must be a number that /history shows, or off"
    return commands.Pin(number(word.removeprefix("@"), commands.MAX_POSITION, wrong))


def _announce(arguments: str, settings: Settings) -> Command:
    return commands.Announce(the_text(arguments, "text", settings.message_chars))


def _report(arguments: str, settings: Settings) -> Command:
    word, rest = first_word(arguments)
    if not word:
        raise Misused("TARGET is required")
    text = the_text(rest, "text", settings.topic_chars)
    return commands.MakeReport(parse_target(word, settings), text)


def _reports(arguments: str, _: Settings) -> Command:
    room, rest = _of_server(arguments)
    if not rest.strip():
        return commands.ShowReports(room)
    word, rest = first_word(rest)
    if word.lower() != "done":
        raise Misused
    wrong = "ID must be a number that /reports shows"
    return commands.FinishReport(number(one_word(rest, "ID"), commands.MAX_POSITION, wrong), room)


def _of_server(arguments: str) -> tuple[str | None, str]:
    """Return the room that is meant, which may be the whole server, and the other words."""
    word, rest = first_word(arguments)
    return (SERVER, rest) if word.lower() == _SERVER else (None, arguments)


def parse_removed(word: str, settings: Settings) -> commands.Remove:
    """Return what a moderator wants to remove: `17`, `17-19` or a TARGET.

    Raises `Misused`, or `Refused` for a wrong nick.
    """
    if not word[:1].isdigit():
        return commands.Remove(target=parse_target(word, settings))
    wrong = "ID must be a number that /history shows, or two such as 17-19"
    first, between, last = word.partition("-")
    begin = number(first, commands.MAX_POSITION, wrong)
    end = number(last, commands.MAX_POSITION, wrong) if between else begin
    if not begin <= end < begin + commands.MOST_REMOVED:
        raise Misused(f"ID-ID may have at most {commands.MOST_REMOVED:,} messages, the first first")
    return commands.Remove(begin, end)


def _remove(arguments: str, settings: Settings) -> Command:
    word, rest = first_word(arguments)
    if not word:
        raise Misused("ID or TARGET is required")
    record = parse_removed(word, settings)
    first, after = first_word(rest)
    if record.target is not None and is_span(first):
        record.seconds, rest = parse_span(first), after
    record.reason = _reason(rest, settings)
    return record


def _reason(text: str, settings: Settings) -> str:
    reason = text.strip()
    return clean_text(reason, what="reason", limit=settings.topic_chars) if reason else ""


def _undo(arguments: str, _: Settings) -> Command:
    room, rest = _of_server(arguments)
    word = one_word(rest, "action")
    digits = word[1:] if word[:1] in {"A", "a"} else word
    wrong = "the action must be a number that /log shows, such as A17"
    return commands.Undo(number(digits, commands.MAX_POSITION, wrong), room)


def _log(arguments: str, _: Settings) -> Command:
    room, rest = _of_server(arguments)
    if not rest.strip():
        return commands.ShowActions(commands.SOME_HISTORY, room=room)
    most = commands.MAX_HISTORY
    wrong = f"N must be a whole number from 1 to {most}"
    return commands.ShowActions(number(one_word(rest, "N"), most, wrong), room=room)


def _held(arguments: str, _: Settings) -> Command:
    words = arguments.split()
    if not words:
        return commands.ShowHeld()
    verb = words[0].lower()
    if verb not in commands.JUDGING:
        raise Misused("the word after /held must be pass or drop")
    digits = "".join(words[1:2])
    digits = digits[1:] if digits[:1] in {"H", "h"} else digits
    wrong = "ID must be a number that /held shows, such as H7"
    if len(words) > 2:  # noqa: PLR2004 - the word and the number
        raise Misused
    return commands.JudgeHeld(verb, number(digits, commands.MAX_POSITION, wrong))


def _raid(arguments: str, _: Settings) -> Command:
    room, rest = _of_server(arguments)
    words = rest.lower().split()
    since = commands.RAID_SINCE
    if "since" in words:
        words, after = words[: words.index("since")], words[words.index("since") + 1 :]
        if len(after) != 1:
            raise Misused("a TIME follows since")
        since = parse_span(after[0]) or LONGEST
    if words == ["off"]:
        return commands.SetRaid(0, room=room)
    if len(words) > 1:
        raise Misused
    seconds = parse_span(words[0]) if words else commands.USUAL_RAID
    if seconds is None or seconds > commands.LONGEST_RAID:
        raise Misused("TIME must be at most 1d")
    return commands.SetRaid(seconds, since, room)


# These are part of a table with accounts: an account owns a room.
MODERATION_ROWS = (
    Row(
        "claim",
        "/claim",
        "become the owner of your room, if you are alone there",
        nothing(commands.ClaimRoom),
        May.ACCOUNTS,
    ),
    Row(
        "room",
        "/room [SETTING VALUE]",
        "show your role and your room's settings, or set one",
        _room,
    ),
    Row(
        "roles",
        "/roles",
        "show who owns and moderates your room",
        nothing(commands.ShowRoles),
    ),
    Row(
        "role",
        "/role NICK ROLE",
        "make an account owner, operator, voice, member or none",
        _role,
        May.OPERATORS,
    ),
    Row(
        "kick",
        "/kick [server] TARGET [REASON]",
        "send someone out of your room",
        _penalize("kick"),
        May.OPERATORS,
    ),
    Row(
        "mute",
        "/mute [server] TARGET [TIME] [REASON]",
        "let someone say nothing; as for /ban",
        _penalize("mute"),
        May.OPERATORS,
    ),
    Row(
        "ban",
        "/ban [server] TARGET [TIME] [REASON]",
        "keep someone out; TIME is 10m, 2h or 3d",
        _penalize("ban"),
        May.OPERATORS,
    ),
    Row(
        "check",
        "/check [server] TARGET",
        "show whom a mute or a ban of someone would hit",
        _check,
        May.OPERATORS,
    ),
    Row("pin", "/pin [ID|off]", "show the pinned message, pin another, or none", _pin),
    Row(
        "remove",
        "/remove ID|TARGET [TIME] [REASON]",
        "remove a message, or all of TARGET",
        _remove,
    ),
    Row(
        "held",
        "/held [pass|drop ID]",
        "list the messages that wait, or pass or drop one",
        _held,
        May.OPERATORS,
    ),
    Row("report", "/report TARGET TEXT", "tell the moderators of your room about someone", _report),
    Row(
        "reports",
        "/reports [server] [done ID]",
        "list the open reports, or end one",
        _reports,
        May.OPERATORS,
    ),
    Row(
        "raid",
        "/raid [server] [TIME|off] [since TIME]",
        "have messages of newcomers wait",
        _raid,
        May.OPERATORS,
    ),
    Row(
        "announce", "/announce TEXT", "show a line to everyone on the server", _announce, May.SERVER
    ),
    Row("undo", "/undo [server] ACTION", "undo an action, such as A17", _undo, May.OPERATORS),
    Row(
        "log",
        "/log [server] [N]",
        "show the last 20 actions in your room, or N",
        _log,
        May.OPERATORS,
    ),
)
