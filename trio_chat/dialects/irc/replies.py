"""Replies as lines of IRC: mostly numerics, which repeat who has asked.

The same reply answers several commands in IRC, each in its own words. So a reply is written by the
message that has asked for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_chat.dialects.irc import entries
from trio_chat.dialects.irc.message import read, write, write_closing
from trio_chat.dialects.irc.modes import OPERATOR, letter_of, mask_of, modes_of, write_role
from trio_chat.dialects.irc.monitor import write_watched, write_watched_list
from trio_chat.dialects.irc.names import channel, matches, nick_of, source_of
from trio_chat.dialects.irc.nickserv import explained
from trio_chat.dialects.irc.people import write_names, write_past_nick, write_people
from trio_chat.dialects.irc.read_markers import CAPABILITY, write_marker
from trio_chat.dialects.irc.refusals import write_refusal
from trio_chat.dialects.irc.server import write_server
from trio_chat.dialects.line_encoding import LF
from trio_chat.protocol.events import (
    AccountExported,
    ActionsShown,
    Answered,
    CommandsListed,
    Departed,
    DevicesListed,
    Done,
    Ended,
    EntriesShown,
    Event,
    Expiring,
    Goodbye,
    Held,
    HeldShown,
    HelpShown,
    Ignores,
    LoggedIn,
    LoggedOut,
    Matches,
    MembersListed,
    Missed,
    NickTaken,
    PinShown,
    RecoveryRenewed,
    Refusal,
    Reported,
    ReportsShown,
    RolesShown,
    RoomsListed,
    RulesShown,
    Standing,
    Stopping,
    TellSent,
    TopicShown,
    Welcomed,
)
from trio_chat.protocol.modes import BansShown
from trio_chat.protocol.presence import (
    PastNickShown,
    PeopleShown,
    RoomsDescribed,
    RoomShown,
    ServerShown,
    Watched,
    WatchedListed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.dialects.irc.asked import Asked

    Reply: TypeAlias = Callable[[Any, Asked], list[str]]


# The numerics of logins by these commands, beside the one that all logins have.
_DONE: Final = {
    "AUTHENTICATE": ("903", "The login has succeeded"),
    "OPER": ("381", "You are now an IRC operator"),
}
# Masks and numbers in one LIST: each is held against each room.
MOST_CONDITIONS: Final = 10

# --- rooms ----------------------------------------------------------------------------------------


def _welcomed(event: Welcomed, asked: Asked) -> list[str]:
    to, directory, room = asked.to, asked.directory, event.room
    marker = []
    if CAPABILITY in asked.capabilities:
        until = directory.read_until(to.person, room)
        marker = [write_marker(channel(room), until, directory.server_name)]
    return [
        entries.joined(directory, to.person, to.nick, room, asked.capabilities),
        *marker,
        *(_topic(event.room, event.topic, asked) if event.topic else []),
        *write_names(event.room, event.members, asked),
    ]


def _departed(event: Departed, asked: Asked) -> list[str]:
    if event.ousted:
        return [entries.kicked(asked.directory, event.room, asked.nick, event.ousted)]
    reason = asked.message.params[1:2] if asked.command == "PART" else ()
    return [write("PART", channel(event.room), *reason, source=asked.source)]


def _topic_shown(event: TopicShown, asked: Asked) -> list[str]:
    if event.topic:
        return _topic(event.room, event.topic, asked)
    return [asked.numeric("331", channel(event.room), "No topic is set")]


def _topic(room: str, topic: str, asked: Asked) -> list[str]:
    nick, when = asked.directory.topic_set(room, topic)
    setter = [asked.numeric("333", channel(room), nick, str(int(when)))] if nick else []
    return [asked.numeric("332", channel(room), topic), *setter]


def _members_listed(event: MembersListed, asked: Asked) -> list[str]:
    return write_names(event.room, event.members, asked)


def _rooms_described(event: RoomsDescribed, asked: Asked) -> list[str]:
    if asked.command == "MODE":
        return [
            line
            for room in event.rooms
            for line in (
                asked.numeric("324", channel(room.room), *modes_of(asked.directory, room.room)),
                asked.numeric("329", channel(room.room), str(int(room.made))),
            )
        ]
    conditions = asked.param(0, "").split(",")[:MOST_CONDITIONS]
    return [
        asked.numeric("321", "Channel", "Users  Name"),
        *(
            asked.numeric("322", channel(room.room), str(room.members), room.topic)
            for room in event.rooms
            if _is_listed(room, conditions)
        ),
        asked.numeric("323", "End of /LIST"),
    ]


def _is_listed(room: RoomShown, conditions: list[str]) -> bool:
    """Whether a room is one of those that LIST was asked for (the token ELIST)."""
    name = channel(room.room)
    wanted = [c for c in conditions if c and c[0] not in "<>!"]
    if wanted and not any(matches(name, mask) for mask in wanted):
        return False
    for condition in conditions:
        sign, rest = condition[:1], condition[1:]
        if sign == "!" and matches(name, rest):
            return False
        if sign and sign in "<>" and rest.isascii() and rest.isdigit():
            number = int(rest[:9])
            if not (room.members > number if sign == ">" else room.members < number):
                return False
    return True


def _bans_shown(event: BansShown, asked: Asked) -> list[str]:
    name, server = channel(event.room), asked.directory.server_name
    return [
        *(asked.numeric("367", name, mask_of(key, server)) for key in event.keys),
        asked.numeric("368", name, "End of channel ban list"),
    ]


# --- the client -----------------------------------------------------------------------------------


def _nick_taken(event: NickTaken, asked: Asked) -> list[str]:
    if event.old == event.nick:
        return []
    return [entries.renamed(asked.directory, asked.to.person, event.old, event.nick)]


def _logged_in(event: LoggedIn, asked: Asked) -> list[str]:
    nick, source = _known_as(event, asked)
    done = _DONE.get(asked.command)
    return [
        asked.line("900", nick, source, event.nick, f"You are now logged in as {event.nick}"),
        *([asked.line(done[0], nick, done[1])] if done else []),
        *_other_nick(event, asked),
        *_new_modes(event, asked),
        *_explained_lines(event, asked)[1:],  # a recovery code, perhaps
    ]


def _logged_out(event: LoggedOut, asked: Asked) -> list[str]:
    nick, source = _known_as(event, asked)
    return [
        asked.line("901", nick, source, "You are now logged out"),
        *_other_nick(event, asked),
        *_new_modes(event, asked),
    ]


def _known_as(event: LoggedIn | LoggedOut, asked: Asked) -> tuple[str, str]:
    """Return the nick and the source of the client up to the line of its other nick."""
    if asked.to.awaited or not event.old:
        return asked.nick, asked.source
    user, server = asked.to.about.user, asked.directory.server_name
    return nick_of(event.was, event.old), source_of(event.was, event.old, user, server)


def _new_modes(event: LoggedIn | LoggedOut, asked: Asked) -> list[str]:
    """Return the lines of the client's own modes that a login or a logout changes."""
    directory, person = asked.directory, event.person
    olds = ((room, letter_of(directory, room, event.was)) for room in asked.to.rooms)
    lines = (write_role(directory, room, person, event.nick, old) for room, old in olds)
    return [line for line in lines if line]


def _operator_changed(event: CommandsListed, asked: Asked) -> list[str]:
    if event.operator is None:
        return []
    sign = "+" if event.operator else "-"
    return [write("MODE", asked.nick, sign + OPERATOR, source=asked.source)]


def _other_nick(event: LoggedIn | LoggedOut, asked: Asked) -> list[str]:
    """Return the line of the nick that an account gives or takes, if the client had another."""
    if asked.to.awaited or event.old in {"", event.nick}:
        return []
    return [entries.renamed(asked.directory, event.person, event.old, event.nick)]


def _done(_: Done, asked: Asked) -> list[str]:
    match asked.command:
        case "AWAY" if asked.param(0, "").strip():
            return [asked.numeric("306", "You are marked as away")]
        case "AWAY":
            return [asked.numeric("305", "You are marked as away no more")]
        case "SETNAME" if "setname" in asked.capabilities:
            return [write("SETNAME", asked.to.about.real, source=asked.source)]
        case "PRIVMSG":
            nick = asked.param(0)
            away = asked.directory.called(nick.lower()).away
            return [asked.numeric("301", nick, away)] if away else []
    return []


def _answered(event: Answered, asked: Asked) -> list[str]:
    """Complete lines of the dialect itself: add the server, and the client's nick."""
    lines = []
    for text in event.data.decode().splitlines():
        if (message := read(text)) is None:
            continue
        command = message.command
        if command.isdigit() or command == "CAP":
            params = (asked.nick, *message.params)
        elif command == "PONG":
            params = (asked.directory.server_name, *message.params)
        else:
            params = message.params
        server = asked.directory.server_name
        lines.append(write(command, *params, source=server, tags=message.tags))
    return lines


# --- texts ----------------------------------------------------------------------------------------


def _help_shown(event: HelpShown, asked: Asked) -> list[str]:
    subject = asked.param(0)
    first, *others = event.lines or [""]
    return [
        asked.numeric("704", subject, first),
        *(asked.numeric("705", subject, line) for line in others),
        asked.numeric("706", subject, "End of help"),
    ]


def _missed(event: Missed, asked: Asked) -> list[str]:
    text = f"you missed {event.count} messages"
    return [asked.line("NOTICE", channel(event.room), text)]


def _as_lines(event: Event, asked: Asked) -> list[str]:
    """Return what people read of an event that IRC has no words for."""
    text = str(LF.render((event,))[0])
    return asked.notices(line.removeprefix("> ") for line in text.splitlines())


def _explained_lines(event: Event, asked: Asked) -> list[str]:
    return [explained(line) for line in _as_lines(event, asked)]


def _standing(event: Standing, asked: Asked) -> list[str]:
    # A role is a mode, and a mute is none.
    return _as_lines(event, asked) if event.muted else []


def _held(event: Held, asked: Asked) -> list[str]:
    if asked.to.person == event.author:
        return _as_lines(event, asked)
    text = event.news if event.state == "waits" else event.done.text
    return asked.notices([text] if text else [])


def _goodbye(_: Goodbye, __: Asked) -> list[str]:
    return [write_closing("you have quit")]


def _ended(event: Ended, _: Asked) -> list[str]:
    return [write_closing(event.reason)]


def _stopping(event: Stopping, _: Asked) -> list[str]:
    how = "being upgraded: please connect again" if event.restarting else "shutting down"
    return [write_closing(f"the server is {how}")]


REPLIES: Final[dict[type, Reply]] = {
    Welcomed: _welcomed,
    Departed: _departed,
    TopicShown: _topic_shown,
    MembersListed: _members_listed,
    RoomsDescribed: _rooms_described,
    BansShown: _bans_shown,
    PeopleShown: write_people,
    PastNickShown: write_past_nick,
    ServerShown: write_server,
    Watched: write_watched,
    WatchedListed: write_watched_list,
    NickTaken: _nick_taken,
    LoggedIn: _logged_in,
    LoggedOut: _logged_out,
    CommandsListed: _operator_changed,
    Done: _done,
    Answered: _answered,
    Refusal: write_refusal,
    HelpShown: _help_shown,
    Missed: _missed,
    RecoveryRenewed: _explained_lines,
    Standing: _standing,
    Held: _held,
    Goodbye: _goodbye,
    Ended: _ended,
    Stopping: _stopping,
    **dict.fromkeys(
        (
            *(RoomsListed, RulesShown, ActionsShown, DevicesListed, AccountExported, EntriesShown),
            *(TellSent, Expiring, Ignores, Matches, PinShown, HeldShown),
            *(Reported, ReportsShown, RolesShown),
        ),
        _as_lines,
    ),
}
