"""Entries of rooms, and private messages, as lines of IRC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_chat.dialects.irc import read_markers
from trio_chat.dialects.irc.formatting import write_action
from trio_chat.dialects.irc.message import END, harmless, write
from trio_chat.dialects.irc.modes import letter_of, write_changes, write_role
from trio_chat.dialects.irc.names import channel, nick_of, source_of
from trio_chat.dialects.irc.read_markers import write_marker
from trio_chat.dialects.irc.redaction import CAPABILITY, write_redactions
from trio_chat.dialects.line_encoding import LF
from trio_chat.protocol.events import (
    Acted,
    Identified,
    Invited,
    Joined,
    Left,
    Notice,
    Noticed,
    Removed,
    Renamed,
    Ruled,
    Said,
    Told,
    TopicSet,
    is_kick,
)
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.presence import AboutChanged
from trio_chat.protocol.read_markers import ReadUntil

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trio_chat.protocol.directory import Directory, Recipient
    from trio_chat.protocol.events import Event

    Lines: TypeAlias = list[str]
    # Makes the lines of an entry, for clients with these capabilities; the last argument is the
    # client, if only one gets them.
    Entry: TypeAlias = Callable[[Any, Directory, Collection[str], Recipient | None], Lines]


def source(directory: Directory, person: str, nick: str, user: str = "") -> str:
    """Return whom a line is from."""
    user = user or directory.about(person).user
    return source_of(person, nick, user, directory.server_name)


def author_of(event: Event) -> str:
    """Return the id of the person that an entry is from; empty if it is from nobody."""
    if isinstance(event, Left) and event.ousted:
        return event.ousted[0]
    return getattr(event, "author", "")


def messages_of(event: Said | Acted, directory: Directory) -> str:
    """Return the line of a message or an action; empty if its text was removed."""
    if not event.text:
        return ""
    text = event.text if isinstance(event, Said) else write_action(event.text)
    command = "NOTICE" if isinstance(event, Noticed) else "PRIVMSG"
    author = source(directory, event.author, event.nick)
    return f":{author} {command} {channel(event.room)} :{harmless(text)}{END}"


def joined(
    directory: Directory, person: str, nick: str, room: str, capabilities: Collection[str]
) -> str:
    """Return the line of somebody who has joined a room."""
    extra: tuple[str, ...] = ()
    if "extended-join" in capabilities:
        extra = (directory.account(person) or "*", directory.about(person).real)
    return write("JOIN", channel(room), *extra, source=source(directory, person, nick))


def _message(event: Said | Acted, directory: Directory, _: Collection[str], __: object) -> Lines:
    return [messages_of(event, directory)]


def _topic_set(event: TopicSet, directory: Directory, _: Collection[str], __: object) -> Lines:
    author = source(directory, event.author, event.nick)
    return [f":{author} TOPIC {channel(event.room)} :{harmless(event.text)}{END}"]


def _ruled(
    event: Ruled, directory: Directory, capabilities: Collection[str], to: Recipient | None
) -> Lines:
    if event.room == SERVER:  # only operators of it get this, each by itself
        return _notice(Notice(_as_text(event)), directory, capabilities, to)
    if event.ousted:
        return []  # a KICK follows
    author = source(directory, event.author, event.nick)
    if "invite-notify" in capabilities and (invited := _invitations(event, directory)):
        return [write("INVITE", nick, channel(event.room), source=author) for nick in invited]
    modes = write_changes(event, directory, author)
    if modes and not any(name.startswith("ban ") for name in event.changes):
        return [modes]
    # A ban has a time and a reason, too.
    notice = write("NOTICE", channel(event.room), _as_text(event), source=directory.server_name)
    return [modes, notice]


def _as_text(event: Ruled) -> str:
    return str(LF.render((event,))[0]).removeprefix("> ").rstrip()


def _invitations(event: Ruled, directory: Directory) -> list[str]:
    """Return the nicks of the people here whom an action invites."""
    names = (name.partition(" ") for name, value in event.changes.items() if value is not None)
    nicks = (directory.nick(person) for kind, _, person in names if kind == "invite")
    return [nick for nick in nicks if nick]


def _removed(
    event: Removed, directory: Directory, capabilities: Collection[str], to: Recipient | None
) -> Lines:
    if CAPABILITY not in capabilities or event.undoes:
        return _ruled(event, directory, capabilities, to)
    author = source(directory, event.author, event.nick)
    return write_redactions(event, directory.log, author)


def _joined(event: Joined, directory: Directory, capabilities: Collection[str], _: object) -> Lines:
    person, nick, room = event.author, event.nick, event.room
    mode = write_role(directory, room, person, nick)
    lines = [joined(directory, person, nick, room, capabilities), mode]
    # In rooms that check messages, the words would be a way around that.
    rules = directory.rules(room)
    is_checked = rules is not None and rules.checks(directory.role(room, person))
    if not is_checked and "away-notify" in capabilities and (away := directory.about(person).away):
        lines.append(write("AWAY", away, source=source(directory, person, nick)))
    return lines


def _about_changed(
    event: AboutChanged, directory: Directory, capabilities: Collection[str], _: object
) -> Lines:
    needed = {"away-notify" if event.what == "away" else "setname"}
    if event.watched:
        needed.add("extended-monitor")
    if not needed.issubset(capabilities):
        return []
    command = "AWAY" if event.what == "away" else "SETNAME"
    text = (event.text,) if event.text else ()
    return [write(command, *text, source=source(directory, event.author, event.nick))]


def kicked(directory: Directory, room: str, who: str, ousted: tuple[str, str, str]) -> str:
    """Return the line of somebody who had to leave a room."""
    person, nick, why = ousted
    if is_kick(ousted):
        # The action names the person. Nicks have no colon, so the reason is behind one.
        why = why.partition(": ")[2] or nick
    author = source(directory, person, nick) if person else directory.server_name
    return write("KICK", channel(room), who, why, source=author)


def _left(event: Left, directory: Directory, _: Collection[str], __: object) -> Lines:
    author = source(directory, event.author, event.nick, event.user)
    if event.gone:
        # With nothing before it, a reason could look like one of the server's.
        return [write("QUIT", f"Quit: {event.reason}".rstrip(), source=author)]
    if event.ousted:
        who = nick_of(event.author, event.nick)
        return [kicked(directory, event.room, who, event.ousted)]
    reason = (event.reason,) if event.reason else ()
    return [write("PART", channel(event.room), *reason, source=author)]


def renamed(directory: Directory, person: str, old: str, nick: str) -> str:
    """Return the line of somebody whose nick changes."""
    return write("NICK", nick_of(person, nick), source=source(directory, person, old))


def _renamed(event: Renamed, directory: Directory, _: Collection[str], __: object) -> Lines:
    return [renamed(directory, event.author, event.old, event.nick)]


def _identified(
    event: Identified, directory: Directory, capabilities: Collection[str], _: object
) -> Lines:
    old, new = nick_of(event.old, event.old_nick), nick_of(event.author, event.nick)
    # Nobody's address changes for clients that do not ask (chghost), only the nick.
    lines = [] if old == new else [write("NICK", new, source=source(directory, event.old, old))]
    if "account-notify" in capabilities:
        account = directory.account(event.author) or "*"
        author = source(directory, event.author, event.nick)
        lines.append(write("ACCOUNT", account, source=author))
    return [*lines, new_mode(event, directory)]


def new_mode(event: Identified, directory: Directory) -> str:
    """Return the line of the mode that somebody gets or loses by logging in or out."""
    old = letter_of(directory, event.room, event.old)
    return write_role(directory, event.room, event.author, event.nick, old)


def _told(event: Told, directory: Directory, _: Collection[str], to: Recipient | None) -> Lines:
    author = source(directory, event.author, event.nick)
    # The author itself gets it on other devices, or as an echo.
    target = nick_of(event.to, directory.nick(event.to) or "*")
    if to is not None and to.person == event.to:
        target = nick_of(to.person, to.nick)
    command = "NOTICE" if event.notice else "PRIVMSG"
    return [f":{author} {command} {target} :{harmless(event.text)}{END}"]


def _invited(
    event: Invited, directory: Directory, _: Collection[str], to: Recipient | None
) -> Lines:
    if to is None:
        return []
    author = source(directory, event.author, event.nick)
    return [write("INVITE", nick_of(to.person, to.nick), channel(event.room), source=author)]


def _notice(event: Notice, directory: Directory, _: Collection[str], to: Recipient | None) -> Lines:
    target = "*" if to is None or to.awaited else nick_of(to.person, to.nick)
    return [
        write("NOTICE", target, line, source=directory.server_name)
        for line in event.text.split("\n")
    ]


def _read_until(
    event: ReadUntil, directory: Directory, capabilities: Collection[str], _: object
) -> Lines:
    if read_markers.CAPABILITY not in capabilities:
        return []
    target = channel(event.room) if event.room else event.nick
    return [write_marker(target, event.until, directory.server_name)]


ENTRIES: Final[dict[type, Entry]] = {
    Said: _message,
    Noticed: _message,
    Acted: _message,
    TopicSet: _topic_set,
    Ruled: _ruled,
    Removed: _removed,
    Joined: _joined,
    Left: _left,
    Renamed: _renamed,
    Identified: _identified,
    Told: _told,
    Invited: _invited,
    AboutChanged: _about_changed,
    Notice: _notice,
    ReadUntil: _read_until,
}
