"""The lines that people read: how the line protocol shows each event (docs/protocol.md)."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final, cast

from trio_chat.dialects.telnet import NO_OPERATION
from trio_chat.moderation.spans import describe_end
from trio_chat.protocol.directory import NOBODY_KNOWN
from trio_chat.protocol.events import (
    AccountExported,
    Acted,
    ActionShown,
    ActionsShown,
    Answered,
    Departed,
    DevicesListed,
    Ended,
    EntriesShown,
    Event,
    Expiring,
    Goodbye,
    Held,
    HeldShown,
    HelpShown,
    Identified,
    Ignores,
    Invited,
    Joined,
    Left,
    LoggedIn,
    LoggedOut,
    Matches,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    PinShown,
    RecoveryRenewed,
    Refusal,
    Removed,
    Renamed,
    Reported,
    ReportsShown,
    RolesShown,
    RoomsListed,
    Ruled,
    RulesShown,
    Said,
    Standing,
    Stopping,
    TellSent,
    Told,
    TopicSet,
    TopicShown,
    Welcomed,
    is_kick,
)
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.text import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.dialects import Piece
    from trio_chat.protocol.directory import Directory, Recipient
    from trio_chat.protocol.events import PersistentEntry


# The words of a history in the place of a message that was removed.
REMOVED_TEXT: Final = "(removed)"


# In place of the nick of a person whom only a site knows by name.
AWAY: Final = "someone who is away"


def _list(names: list[str], more: int) -> str:
    text = ", ".join(names)
    return f"{text} and {more} more" if more else text


def _welcomed(event: Welcomed) -> str:
    topic = f"\n{_topic_shown(event)}" if event.topic else ""
    return f"> welcome to {event.room_name}{topic}"


def _topic_shown(event: Welcomed | TopicShown) -> str:
    if event.topic:
        return f"> topic of {event.room_name}: {event.topic}"
    return f"> {event.room_name} has no topic"


def _identified(event: Identified) -> str:
    if event.old_nick == event.nick:
        return f"> {event.nick} has logged in or out"
    return f"> {event.old_nick} is now known as {event.nick}"


def _tell_sent(event: TellSent) -> str:
    waits = ", who is away: it waits" if event.waits else ""
    return f"> you (to {event.nick}{waits}): {event.text}"


def _told(event: Told) -> str:
    sent = f", {_date(int(event.time) // 60)} UTC" if event.waited else ""
    return f"> {event.nick} (to you{sent}): {event.text}"


def _logged_in(event: LoggedIn) -> str:
    lines = [f"> you are logged in: I will call you {event.nick}"]
    if event.recovery:
        lines.append(_recovery(event.recovery, event.nick))
    return "\n".join(lines)


def _recovery(code: str, nick: str) -> str:
    return (
        f"> your recovery code is {code}: keep it, as it is shown only now. "
        f"With /recover {nick} it lets you in if you forget your password"
    )


def _rules_shown(event: RulesShown) -> str:
    settings = ", ".join(f"{setting.name} {setting.value}" for setting in event.settings)
    return f"> {event.room_name}: {settings}; your role: {event.role}"


def _roles_shown(event: RolesShown) -> str:
    lines = [
        f"> {role}: {', '.join(one.nick or AWAY for one in holders)}"
        for role, holders in groupby(event.people, key=attrgetter("role"))
    ]
    lines += [f"> and {event.more} more"] if event.more else []
    return "\n".join(lines) or f"> nobody has a role in {event.room_name}"


def _standing(event: Standing) -> str:
    role = f"> your role in {event.room_name}: {event.role}"
    if not event.muted:
        return role
    reason = f": {event.reason}" if event.reason else ""
    return f"{role}; you are muted {describe_end(event.until or None, time.time())}{reason}"


def _actions_shown(event: ActionsShown) -> str:
    return "\n".join(map(_action, event.actions)) or f"> no actions in {event.room_name}"


def _action(action: ActionShown) -> str:
    when = _date(int(action.time) // 60)
    return f"> [A{action.position} {when} UTC] {action.nick} {action.text}"


def _matches(event: Matches) -> str:
    made = f" since {_date(int(event.since) // 60)} UTC" if event.since else ""
    kind = f"an account{made}" if event.account else "no account"
    facts = [kind, f"role {event.role}", *event.networks]
    facts += [f"muted {event.mute}"] if event.mute else []
    facts += [f"banned {event.ban}"] if event.ban else []
    where = "on the server" if event.room == SERVER else f"in {event.room_name}"
    lines = [
        f"> {event.nick}: {', '.join(facts)}",
        (
            f"> a mute or ban would hit {event.people} {where}, {event.accounts} of "
            f"them with an account; it would spare {event.spared} in the same network"
        ),
        *map(_action, event.actions),
    ]
    return "\n".join(lines)


def _held(event: Held) -> str:
    """Return the line for the author of a held message. Others get other events."""
    if event.state == "waits":
        return f"> your message waits for a moderator of {event.room_name} [H{event.number}]"
    if event.state == "passed":
        return f"> {event.by} passed your message [H{event.number}]"
    return f"> {event.by} dropped your message [H{event.number}]: {event.text}"


def _held_shown(event: HeldShown) -> str:
    lines = [
        f"> [H{one.number} {_date(int(one.time) // 60)} UTC] "
        + (f"{one.nick}: {one.text}" if one.kind == "said" else f"* {one.nick} {one.text}")
        for one in event.messages
    ]
    return "\n".join(lines) or f"> no message waits in {event.room_name}"


def _devices_listed(event: DevicesListed) -> str:
    lines = [
        f"> {device.number}: {device.label}, since {_date(int(device.made) // 60)} UTC, last seen "
        f"{_date(int(device.seen) // 60)} UTC"
        for device in event.devices
    ]
    return "\n".join(lines) or "> no device stays logged in"


def _left(event: Left) -> str:
    if is_kick(event.ousted):
        return ""
    reason = f" ({event.reason})" if event.reason else ""
    return f"> {event.nick} has left the room{reason}"


def _departed(event: Departed) -> str:
    reason = f": {event.reason}" if event.reason and not is_kick(event.ousted) else ""
    return f"> you have left {event.room_name}{reason}"


def _reported(event: Reported) -> str:
    entry = f" (message {event.entry})" if event.entry else ""
    when = _date(int(event.time) // 60)
    return (
        f"> report {event.number} in {event.room}, {when} UTC: {event.reporter_nick} on "
        f"{event.nick}{entry}: {event.text}"
    )


def _reports_shown(event: ReportsShown) -> str:
    return "\n".join(map(_reported, event.reports)) or "> no open reports"


def _pin_shown(event: PinShown) -> str:
    lines = [f"> pinned in {event.room_name}: {_dated(entry)[2:]}" for entry in event.entries]
    return "\n".join(lines) or f"> nothing is pinned in {event.room_name}"


def _missed(event: Missed) -> str:
    messages = "message" if event.count == 1 else "messages"
    return f"> you missed {event.count} {messages} in {event.room_name}"


def _stopping(event: Stopping) -> str:
    if event.restarting:
        return "> the server is being upgraded: please connect again"
    return "> the server is shutting down"


def _entries_shown(event: EntriesShown) -> str:
    lines = list(map(_dated, event.entries))
    if at := event.stopped_at:
        lines.append(
            f"> the search stopped, as it took too long: messages before {at} were not searched "
            f"(/history before {at} shows them)"
        )
    return "\n".join(lines) or f"> no messages found in {event.room_name}"


def _dated(entry: PersistentEntry) -> str:
    """Return the line of a persistent entry, with its position and time (UTC) before it."""
    minute, second = divmod(int(entry.time), 60)
    if not entry.text:
        shown = REMOVED_TEXT
    elif isinstance(entry, Said):
        shown = f"{entry.nick}: {entry.text}"
    else:
        shown = _LINES[type(entry)](entry)[2:]
    return f"> [{entry.position} {_date(minute)}:{second:02} UTC] {shown}"


def _removed(event: Removed) -> str:
    return f"> {event.nick} {event.text}" + ("" if event.own else f" [A{event.position}]")


# A long page is rendered within the hub's turn, and without a cache half of that time is for dates.
@lru_cache(maxsize=1_024)
def _date(minute: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(60 * minute))


_LINES: dict[type[Event], Callable[..., str]] = {
    Acted: lambda e: f"> * {e.nick} {e.text}",
    TopicSet: lambda e: f"> topic of {e.room_name}: {e.text}",
    Ruled: lambda e: f"> {e.nick} {e.text} [A{e.position}]",
    Removed: _removed,
    Joined: lambda e: f"> {e.nick} joined the room",
    Left: _left,
    Renamed: lambda e: f"> {e.old} is now known as {e.nick}",
    Identified: _identified,
    TellSent: _tell_sent,
    Told: _told,
    Invited: lambda e: f"> {e.nick} invites you to {e.room_name}: /join {e.room_name}",
    LoggedIn: _logged_in,
    Expiring: lambda e: f"> your login ends in {e.seconds:.0f} seconds",
    LoggedOut: lambda e: f"> you are logged out: I will call you {e.nick}",
    RecoveryRenewed: lambda e: _recovery(e.recovery, "and your nick"),
    DevicesListed: _devices_listed,
    Ignores: lambda e: f"> you ignore {_list([who.nick for who in e.people], 0) or 'nobody'}",
    RulesShown: _rules_shown,
    RolesShown: _roles_shown,
    Standing: _standing,
    Held: _held,
    HeldShown: _held_shown,
    ActionsShown: _actions_shown,
    Matches: _matches,
    PinShown: _pin_shown,
    Reported: _reported,
    ReportsShown: _reports_shown,
    AccountExported: lambda e: f"> {e.data}",
    NickTaken: lambda e: f"> all right, I will call you {e.nick}",
    Welcomed: _welcomed,
    Departed: _departed,
    RoomsListed: lambda e: f"> available rooms: {_list(e.names, e.more)}".rstrip(),
    MembersListed: lambda e: (
        f"> in {e.room_name}: {_list([member.nick for member in e.members], e.more)}"
    ),
    TopicShown: _topic_shown,
    EntriesShown: _entries_shown,
    HelpShown: lambda e: "\n".join(f"> {line}" for line in e.lines),
    Goodbye: lambda _: "> sad to see you go =(",
    Refusal: lambda e: f"err: {e.reason}",
    Ended: lambda e: f"err: {e.reason}",
    Notice: lambda e: f"> {e.text}",
    Missed: _missed,
    Stopping: _stopping,
}


# A long run of blanks fills a terminal's line. The text after it would look like a line from the
# server. Invisible characters may stand between the blanks. Four blanks are an indentation.
_BLANKS: Final = 4
_BLANK: Final = r"\s\u115f\u1160\u2800\u3164\uffa0"
_LONG_RUN: Final = re.compile(rf"(?:(?!\n)[{_BLANK}][{UNSEEN}]*){{{_BLANKS + 1},}}")
_SPACES, _TOO_MANY_SPACES = " " * _BLANKS, " " * (_BLANKS + 1)
# The server or the embedding program writes the text of these.
_PROGRAMS: Final = (HelpShown, Notice)


def _close_up(text: str) -> str:
    """Return the text with each long run of blanks cut to `_BLANKS` spaces."""
    if text.isascii() and _TOO_MANY_SPACES not in text:
        return text
    return _LONG_RUN.sub(_SPACES, text)


class LineEncoding:
    r"""Renders events as lines that end in `\n` or `\r\n`."""

    __slots__ = ("_end", "ping")

    dialect = "line"
    answers_pings = False
    echoes = mirrors = lists_members = False
    lists_all = False
    for_people = True

    def __init__(self, end: str, ping: bytes = b"") -> None:
        self._end = end
        self.ping = ping

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> Sequence[Piece]:
        """Return the lines of events, with their ends."""
        del directory, to
        end, line = self._end, self._line
        # Nearly every event is a plain message.
        lines = [
            f"> {event.nick}: {event.text}{end}" if type(event) is Said else line(event)
            for event in events
        ]
        # To look at all lines at once costs less than to look at each.
        text = "".join(lines)
        if text.isascii() and _TOO_MANY_SPACES not in text:
            return lines
        return [line(event) for event in events]

    def _line(self, event: Event) -> str:
        if isinstance(event, Answered):
            return event.data.decode("ascii", "surrogateescape")
        if isinstance(event, Said):  # the blank before the text is no part of a run
            line = f"> {event.nick}: {_close_up(event.text)}"
        elif isinstance(event, _PROGRAMS):
            line = _LINES[type(event)](event)
        else:
            line = _close_up(_LINES[type(event)](event))
        return f"{line}\n".replace("\n", self._end) if line else ""

    def join(self, pieces: Sequence[Piece]) -> bytes:
        """Return the bytes of several lines; the bytes of telnet commands stay as they are."""
        return "".join(cast("Sequence[str]", pieces)).encode("utf-8", "surrogateescape")


LF = LineEncoding("\n")
# For clients that speak telnet.
CRLF = LineEncoding("\r\n", NO_OPERATION)
