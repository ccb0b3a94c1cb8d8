"""The commands of the WebSocket protocol that are about owners and moderators of rooms.

They are there if the command table has the rows about moderation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from trio_chat.dialects.forms import (
    MESSAGE,
    NICK,
    ROOM,
    STRING,
    TARGET,
    Field,
    Form,
    number,
    string,
    yes_or_no,
)
from trio_chat.errors import Code, Refused
from trio_chat.moderation.fields import GIVEN, SETTINGS
from trio_chat.moderation.spans import LONGEST
from trio_chat.protocol import commands
from trio_chat.protocol.moderation_rows import parse_removed
from trio_chat.protocol.rows import Misused
from trio_chat.protocol.text import clean_text, is_blank

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.dialects.forms import Context

ACTIONS: Final = ("kick", "mute", "ban")


def _one_of(what: str, words: Iterable[str]) -> Field:
    """Make a field for one of these words."""
    known = tuple(words)

    def read(value: object, _: Context) -> str:
        if value not in known:
            raise Refused(f"{what} must be one of {', '.join(known)}", code=Code.BAD_DOCUMENT)
        return str(value)

    return Field(read, {"enum": list(known)})


def _removed(value: object, context: Context) -> commands.Remove:
    try:
        return parse_removed(string(value, "target"), context.settings)
    except Misused as error:
        raise Refused(str(error), code=Code.BAD_DOCUMENT) from None


_SECONDS: Final = number("seconds", 1, LONGEST)


def _seconds(value: object, context: Context) -> object:
    """Return the seconds; `None` is for ever."""
    return None if value is None else _SECONDS.read(value, context)


def _report(value: object, context: Context) -> str:
    text = string(value, "text").rstrip()
    if is_blank(text):
        raise Refused("text is required", code=Code.BAD_TEXT)
    return clean_text(text, what="text", limit=context.settings.topic_chars)


def _reason(value: object, context: Context) -> str:
    reason = string(value, "reason").strip()
    return clean_text(reason, what="reason", limit=context.settings.topic_chars)


def _set_room(setting: str, value: str, room: str) -> commands.SetRoom:
    read = SETTINGS[setting].read(value)
    if read is None:
        sentence = f"{setting} must be {SETTINGS[setting].choices}"
        raise Refused(sentence, code=Code.BAD_DOCUMENT)
    return commands.SetRoom(setting, read, room)


def _remove(
    record: commands.Remove, seconds: int | None, reason: str, room: str
) -> commands.Remove:
    if record.target is None and seconds != commands.REMOVED_TIME:
        raise Refused("only a removal of a person's messages has seconds", code=Code.BAD_DOCUMENT)
    return evolve(record, seconds=seconds, reason=reason, room=room)


def _moderate(
    action: str,
    target: commands.Target,
    seconds: int | None,
    reason: str,
    hits_all: object,
    dry_run: object,
    room: str,
) -> commands.Penalize | commands.Check:
    if action == "kick" and seconds != commands.USUAL_TIME:
        raise Refused("a kick has no seconds: mute or ban", code=Code.BAD_DOCUMENT)
    if dry_run:
        return commands.Check(target, room, action)
    return commands.Penalize(action, target, seconds, reason, room, bool(hits_all))


MODERATION_FORMS: Final[dict[str, Form]] = {
    "claim_room": Form(
        commands.ClaimRoom, {"room": ROOM}, "become the owner of a room in which nobody else is"
    ),
    "show_rules": Form(
        commands.ShowRules, {"room": ROOM}, "ask for the settings of a room, and for one's role"
    ),
    "set_room": Form(
        _set_room,
        {
            "setting": _one_of("setting", SETTINGS),
            "value": Field(lambda v, _: string(v, "value"), STRING),
            "room": ROOM,
        },
        "change a setting of a room",
    ),
    "set_role": Form(
        commands.SetRole,
        {"nick": NICK, "role": _one_of("role", GIVEN), "room": ROOM},
        "give an account a role in a room; `none` takes it away",
    ),
    "show_roles": Form(
        commands.ShowRoles,
        {"room": ROOM},
        "ask who has a role in a room; only its operators learn of all roles",
    ),
    "moderate": Form(
        _moderate,
        {
            "action": _one_of("action", ACTIONS),
            "target": TARGET,
            "seconds": Field(
                _seconds, {**_SECONDS.schema, "type": ["integer", "null"]}, commands.USUAL_TIME
            ),
            "reason": Field(_reason, STRING, ""),
            "all": yes_or_no("all", default=False),
            "dry_run": yes_or_no("dry_run", default=False),
            "room": ROOM,
        },
        (
            "`kick`, `mute` or `ban` someone: a nick, `@ID` for the author of an entry, or `net:` "
            "and a tag; `seconds` is how long, and `null` for ever; `all` hits older accounts in a "
            "network, too; as `room`, `the server` means everywhere; with `dry_run`, only ask whom "
            "that would hit"
        ),
    ),
    "check": Form(
        commands.Check,
        {"target": TARGET, "room": ROOM},
        "ask whom a mute or a ban of someone would hit, and what is known of the target",
    ),
    "pin": Form(
        commands.Pin,
        {"entry": number("entry", 0, commands.MAX_POSITION), "room": ROOM},
        "pin the entry with this position; 0 pins none",
    ),
    "show_pin": Form(commands.ShowPin, {"room": ROOM}, "ask for the pinned entry of a room"),
    "remove": Form(
        _remove,
        {
            "target": Field(_removed, STRING),
            "seconds": Field(
                _seconds, {**_SECONDS.schema, "type": ["integer", "null"]}, commands.REMOVED_TIME
            ),
            "reason": Field(_reason, STRING, ""),
            "room": ROOM,
        },
        (
            "remove messages: that with an ID such as `17`, those of `17-19`, or those of a target "
            "as in `moderate` within the last `seconds`; `null` is any time"
        ),
    ),
    "show_held": Form(
        commands.ShowHeld,
        {"room": ROOM},
        "ask for the messages of a room that wait for a moderator",
    ),
    "judge_held": Form(
        commands.JudgeHeld,
        {
            "verb": _one_of("verb", commands.JUDGING),
            "number": number("number", 1, commands.MAX_POSITION),
            "room": ROOM,
        },
        "`pass` or `drop` a message that waits",
    ),
    "report": Form(
        commands.MakeReport,
        {"target": TARGET, "text": Field(_report, STRING), "room": ROOM},
        "tell the moderators of a room about a nick, or about `@ID` for the author of an entry",
    ),
    "show_reports": Form(
        commands.ShowReports,
        {"room": ROOM},
        "ask for the open reports of a room; `the server` means those of all rooms",
    ),
    "finish_report": Form(
        commands.FinishReport,
        {"number": number("number", 1, commands.MAX_POSITION), "room": ROOM},
        "end a report; `room` is as for `show_reports`",
    ),
    "announce": Form(commands.Announce, {"text": MESSAGE}, "show a line to everyone on the server"),
    "set_raid": Form(
        commands.SetRaid,
        {
            "seconds": number("seconds", 0, commands.LONGEST_RAID, commands.USUAL_RAID),
            "since": number("since", 1, LONGEST, commands.RAID_SINCE),
            "room": ROOM,
        },
        (
            "have messages of people wait who came within the last `since` seconds, or come in the "
            "next `seconds`; 0 ends that"
        ),
    ),
    "undo": Form(
        commands.Undo,
        {"action": number("action", 1, commands.MAX_POSITION), "room": ROOM},
        "undo the action with this number; `room` is as for `moderate`",
    ),
    "show_actions": Form(
        commands.ShowActions,
        {
            "limit": number("limit", 1, commands.MAX_HISTORY, commands.SOME_HISTORY),
            "before": number("before", 1, commands.MAX_POSITION, None),
            "room": ROOM,
        },
        (
            "ask for the newest actions of a room's moderators, or for those before a number; "
            "`room` is as for `moderate`"
        ),
    ),
}
