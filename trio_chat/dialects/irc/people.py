"""People in replies: WHO, WHOIS, WHOWAS, ISON and USERHOST, and the members of a room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.asked import wrapped
from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.modes import BOT, INVISIBLE, OPERATOR, USER_MODES, prefix_of
from trio_chat.dialects.irc.names import NO_USER, channel, host_of, nick_of, source_of
from trio_chat.dialects.irc.questions import END_OF_WHOWAS, WAS_NOBODY
from trio_chat.dialects.irc.tags import shown_time
from trio_chat.protocol.events import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.dialects.irc.asked import Asked
    from trio_chat.protocol.presence import PastNick, PastNickShown, PeopleShown, PersonShown

# A user name begins with this if the server cannot check it.
UNCHECKED: Final = "~"


def write_names(room: str, members: Iterable[Member], asked: Asked) -> list[str]:
    """Return the lines with the members of a room."""
    return [
        *_list_names(room, members, asked),
        asked.numeric("366", channel(room), "End of /NAMES list"),
    ]


def _list_names(room: str, members: Iterable[Member], asked: Asked) -> list[str]:
    directory, name = asked.directory, channel(room)

    def name_of(member: Member) -> str:
        person, nick = member.client, member.nick
        if asked.wants("userhost-in-names"):
            return source_of(person, nick, directory.about(person).user, directory.server_name)
        return nick_of(person, nick)

    nicks = (prefix_of(directory, room, member.client) + name_of(member) for member in members)
    return [asked.numeric("353", "=", name, line) for line in wrapped(nicks)]


def _names_of_all(event: PeopleShown, asked: Asked) -> list[str]:
    """Return the lines with the members of all rooms that people share with the client."""
    rooms: dict[str, list[Member]] = {}
    for person in event.people:
        for room in person.rooms:
            rooms.setdefault(room, []).append(Member(person.person, person.nick))
    return [
        *(line for room, members in rooms.items() for line in _list_names(room, members, asked)),
        asked.numeric("366", "*", "End of /NAMES list"),
    ]


def write_people(event: PeopleShown, asked: Asked) -> list[str]:
    """Return the lines about people, as the command wants them."""
    match asked.command:
        case "WHOIS":
            return _whois(event, asked)
        case "NAMES":
            return _names_of_all(event, asked)
        case "MODE":
            return [_user_mode(event, asked)]
        case "ISON":
            nicks = (nick_of(person.person, person.nick) for person in event.people)
            return [asked.numeric("303", " ".join(nicks))]
        case "USERHOST":
            return [asked.numeric("302", " ".join(_userhost(p, asked) for p in event.people))]
    return _who(event, asked)


def _user_mode(event: PeopleShown, asked: Asked) -> str:
    nick, changes = asked.param(0), asked.param(1, "")
    if not event.people:
        return asked.numeric("401", nick, f"nobody here is called {nick}")
    if event.people[0].person != asked.to.person:
        return asked.numeric("502", "You cannot see or change the modes of others")
    if unknown := set(changes) - set("+-") - set(USER_MODES):
        return asked.numeric("501", f"Unknown mode: {min(unknown)}")
    person = event.people[0]
    is_bot = person.about.bot
    if not changes:
        bot, operator = BOT if is_bot else "", OPERATOR if person.operator else ""
        return asked.numeric("221", f"+{bot}{INVISIBLE}{operator}")
    # Clients apply an answer as a change, so one that takes a mode away names it.
    changed = f"{'+' if is_bot else '-'}{BOT}" if BOT in changes else f"+{INVISIBLE}"
    return write("MODE", asked.nick, changed, source=asked.source)


def _userhost(person: PersonShown, asked: Asked) -> str:
    here = "-" if person.about.away else "+"
    host = host_of(person.person, asked.directory.server_name)
    operator = "*" if person.operator else ""
    return f"{nick_of(person.person, person.nick)}{operator}={here}{_user(person)}@{host}"


def _user(person: PersonShown) -> str:
    return f"{UNCHECKED}{person.about.user or NO_USER}"


def _flags(person: PersonShown, room: str | None, asked: Asked) -> str:
    """Return whether a person is away, its prefix in the room of a line, and what it is else."""
    name = _room_of(person, room)
    away, operator = "G" if person.about.away else "H", "*" if person.operator else ""
    prefix = prefix_of(asked.directory, name, person.person) if name else ""
    return f"{away}{operator}{prefix}{BOT if person.about.bot else ''}"


# --- WHO ------------------------------------------------------------------------------------------


def _who(event: PeopleShown, asked: Asked) -> list[str]:
    mask, options = asked.param(0), asked.param(1, "")
    fields, _, token = options.partition(",")
    line_of = _whox(fields[1:], token) if fields.startswith("%") else _line_of_who
    return [
        *(line_of(person, event.room, asked) for person in event.people),
        asked.numeric("315", mask, "End of /WHO list"),
    ]


def _room_of(person: PersonShown, room: str | None) -> str:
    """Return the room that a line names: the one asked about, or any other. There may be none."""
    return next(iter(person.rooms), "") if room is None else room


def _channel_of(person: PersonShown, room: str | None) -> str:
    name = _room_of(person, room)
    return channel(name) if name else "*"


def _line_of_who(person: PersonShown, room: str | None, asked: Asked) -> str:
    server = asked.directory.server_name
    return asked.numeric(
        "352",
        _channel_of(person, room),
        _user(person),
        host_of(person.person, server),
        server,
        nick_of(person.person, person.nick),
        _flags(person, room, asked),
        f"0 {person.about.real}",
    )


# The fields of WHOX, in their order; `t` is the token of the client itself.
_FIELDS: Final[dict[str, Callable[[PersonShown, str | None, Asked], str]]] = {
    "c": lambda person, room, _: _channel_of(person, room),
    "u": lambda person, _, __: _user(person),
    "i": lambda _, __, ___: "255.255.255.255",  # what stands for an address that is not shown
    "h": lambda person, _, asked: host_of(person.person, asked.directory.server_name),
    "s": lambda _, __, asked: asked.directory.server_name,
    "n": lambda person, _, __: nick_of(person.person, person.nick),
    "f": _flags,
    "d": lambda _, __, ___: "0",
    "l": lambda person, _, __: str(max(0, int(person.idle))),
    "a": lambda person, _, __: person.account or "0",
    "o": lambda _, __, ___: "n/a",
    "r": lambda person, _, __: person.about.real,
}
_TOKEN_CHARS: Final = 3


def _whox(fields: str, token: str) -> Callable[[PersonShown, str | None, Asked], str]:
    """Return what writes the fields that were asked for."""
    shown = [make for letter, make in _FIELDS.items() if letter in fields]
    tokens = [token[:_TOKEN_CHARS] or "0"] if "t" in fields else []

    def line_of(person: PersonShown, room: str | None, asked: Asked) -> str:
        return asked.numeric("354", *tokens, *(make(person, room, asked) for make in shown))

    return line_of


# --- WHOIS ----------------------------------------------------------------------------------------


def _whois(event: PeopleShown, asked: Asked) -> list[str]:
    lines = [line for person in event.people for line in _about(person, asked)]
    nick = asked.param(0)
    if not lines:
        lines = [asked.numeric("401", nick, f"nobody here is called {nick}")]
    return [*lines, asked.numeric("318", nick, "End of /WHOIS list")]


def write_past_nick(event: PastNickShown, asked: Asked) -> list[str]:
    """Return the lines about the people who had a nick."""
    nick, server = asked.param(0), asked.directory.server_name
    lines = [line for past in event.people for line in _past(past, server, asked)]
    return [
        *(lines or [asked.numeric("406", nick, WAS_NOBODY)]),
        asked.numeric("369", nick, END_OF_WHOWAS),
    ]


def _past(past: PastNick, server: str, asked: Asked) -> Iterable[str]:
    user, host = f"{UNCHECKED}{past.user or NO_USER}", host_of(past.person, server)
    yield asked.numeric("314", past.nick, user, host, "*", past.real)
    yield asked.numeric("312", past.nick, server, shown_time(past.until))


def _about(person: PersonShown, asked: Asked) -> Iterable[str]:
    server, nick = asked.directory.server_name, nick_of(person.person, person.nick)
    host = host_of(person.person, server)
    yield asked.numeric("311", nick, _user(person), host, "*", person.about.real)
    directory = asked.directory
    shown = (f"{prefix_of(directory, r, person.person)}{channel(r)}" for r in person.rooms)
    for rooms in wrapped(shown):
        yield asked.numeric("319", nick, rooms)
    yield asked.numeric("312", nick, server, "trio_chat")
    if person.operator:
        yield asked.numeric("313", nick, "is an IRC operator")
    if person.about.bot:
        yield asked.numeric("335", nick, "is a bot")
    if person.about.away:
        yield asked.numeric("301", nick, person.about.away)
    if person.account:
        yield asked.numeric("330", nick, person.account, "is logged in as")
    if person.tls:
        yield asked.numeric("671", nick, "is using a secure connection")
    if person.address:  # only the asker itself has one
        user = f"{_user(person)}@{person.address}"
        yield asked.numeric("338", nick, user, person.address, "Actual user@host, Actual IP")
    if person.idle >= 0:
        times = str(int(person.idle)), str(int(person.since))
        yield asked.numeric("317", nick, *times, "seconds idle, signon time")
