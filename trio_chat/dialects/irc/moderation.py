"""The commands of moderators: KICK, INVITE and MODE, and those that all clients have.

In the id of such a command the room comes first, and then whom it is about.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.modes import (
    ALWAYS,
    BAN,
    BOT,
    HIDDEN,
    KEY_MODE,
    NETWORK,
    ROLE_MODES,
    SETTING_MODES,
    USER_MODES,
    VALUE_MODES,
)
from trio_chat.dialects.irc.parameters import (
    MOST_TARGETS,
    CommandRow,
    Context,
    Params,
    Parts,
    answer,
    needs_more,
    part,
    valid_nicks,
)
from trio_chat.moderation.fields import SETTINGS
from trio_chat.people.networks import TAG
from trio_chat.protocol.commands import Command, Invite, Penalize, Target
from trio_chat.protocol.moderation_rows import MODERATION_ROWS
from trio_chat.protocol.modes import Ban, ChangeRole, ChangeSetting, ListBans
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.presence import DescribeRooms, SetBot, ShowPeople

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.dialects.irc.message import Message
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.rows import Row

# Changes of one MODE; clients learn this by the token MODES.
MOST_CHANGES: Final = 4


def moderate(message: Message, row: Row | None, context: Context) -> Command | None:
    """Return the record of a moderators' command of other clients; `None` if it is none.

    Its room may come first. Raises `Refused`.
    """
    if row not in MODERATION_ROWS:
        return None
    room, params = "", message.params
    if params and names.is_channel(params[0]):
        room, params = context.room(params[0]), params[1:]
    record: Any = row.record(" ".join(params), context.settings)
    made: Command = evolve(record, room=room) if room and hasattr(record, "room") else record
    return made


def _kick(params: Params, context: Context) -> Parts:
    reason = context.words(params[2:])
    channels, nicks = params[0].split(","), params[1].split(",")
    if len(channels) == 1:
        channels *= len(nicks)
    # There is one room, or as many rooms as nicks (RFC 2812, 3.2.8).
    pairs = dict.fromkeys(pair for pair in zip(channels, nicks, strict=False) if all(pair))
    for channel, nick in list(pairs)[:MOST_TARGETS]:
        yield part(partial(_kick_one, context, nick, reason), channel, nick)


def _kick_one(context: Context, nick: str, reason: str, channel: str) -> Command:
    return _kick_from(context.room(channel), context.nick(nick), reason)


def _kick_from(room: str, nick: Name, reason: str) -> Command:
    return Penalize("kick", Target(nick), reason=reason, room=room)


def _kill(params: Params, context: Context) -> Parts:
    reason = context.words(params[1:])
    yield part(lambda nick: _kick_from(SERVER, context.nick(nick), reason), params[0])


def _invite(params: Params, context: Context) -> Parts:
    if not params:
        # Nobody keeps the invitations of a person: each room has its own.
        yield answer("337", "End of /INVITE list"), params
        return
    if len(params) == 1:
        yield needs_more(), params
        return
    nick, channel = params[:2]
    yield part(lambda name: Invite(context.nick(nick), context.room(name)), channel, nick)


def _mode(params: Params, context: Context) -> Parts:
    target, *changes = params
    if not names.is_channel(target):
        found = valid_nicks([target], context)
        is_bot = _is_bot("".join(changes[:1]))
        asks = not found or is_bot is None
        yield ShowPeople(found) if asks else SetBot(found[0], bool(is_bot)), params
    elif not changes or not changes[0].strip("+-"):
        yield part(lambda name: DescribeRooms(context.room(name)), target)
    else:
        yield from _changes(target, changes[0], changes[1:], context)


def _is_bot(changes: str) -> bool | None:
    """Return whether these modes make a client a bot; `None` if they do not say, or are wrong."""
    if not set(changes) <= {*USER_MODES, *"+-"}:
        return None
    before, _, _ = changes.rpartition(BOT)
    if BOT not in changes:
        return None
    return before.rfind("-") <= before.rfind("+")


def _changes(channel: str, letters: str, rest: list[str], context: Context) -> Parts:
    given, left, params = True, MOST_CHANGES, iter(rest)
    for letter in letters:
        if letter in "+-":
            given = letter == "+"
            continue
        left -= 1
        if left < 0:
            return
        if letter == BAN:
            yield _ban(channel, next(params, ""), context, given=given)
        elif letter in SETTING_MODES:
            mode = (*SETTING_MODES[letter], given)
            yield part(partial(_setting, context, mode), channel)
        elif letter in VALUE_MODES:
            # A key has a parameter when it is taken, too.
            word = next(params, None) if given or letter == KEY_MODE else None
            yield _value(channel, letter, word, context, given=given)
        elif letter not in ROLE_MODES:
            if letter != ALWAYS:
                yield answer("472", letter, "is no mode here"), (channel,)
        elif nick := next(params, ""):
            role = (ROLE_MODES[letter], given)
            yield part(partial(_role, context, nick, role), channel, nick)


def _setting(context: Context, mode: tuple[str, str, bool], channel: str) -> Command:
    return ChangeSetting(*mode, context.room(channel))


def _value(
    channel: str, letter: str, word: str | None, context: Context, *, given: bool
) -> tuple[Command, Params]:
    """Return the change of a mode that has a parameter."""
    name = VALUE_MODES[letter]
    setting = SETTINGS[name]
    usual = setting.values[0]
    if not given:
        return part(partial(_setting, context, (name, usual, True)), channel)
    if word is None:
        return needs_more(), (channel,)
    if (value := setting.read(word)) is None or value == usual:
        shown = HIDDEN if setting.is_secret else word
        why = f"the {name} must be {setting.others}"
        return answer("696", channel, letter, shown, why), (channel,)
    return part(partial(_setting, context, (name, value, True)), channel)


def _role(context: Context, nick: str, role: tuple[str, bool], channel: str) -> Command:
    return ChangeRole(context.nick(nick), *role, context.room(channel))


def _ban(channel: str, mask: str, context: Context, *, given: bool) -> tuple[Command, Params]:
    if not mask:
        return part(lambda name: ListBans(context.room(name)), channel)
    nick = mask.removesuffix("!*@*")
    if not set(nick) & set("*?!@"):
        make = _ban_nick if given else _end_ban
        return part(partial(make, context, nick), channel, nick)
    key = _key(mask.rpartition("@")[2], context.settings.server_name)
    if key:
        return part(lambda name: Ban(key, given, context.room(name)), channel, mask)
    why = "ban a nick, or take the mask *!*@ and the host that WHOIS shows"
    return answer("696", channel, BAN, mask, why), (channel,)


def _ban_nick(context: Context, nick: str, channel: str) -> Command:
    return Penalize("ban", Target(context.nick(nick)), room=context.room(channel))


def _end_ban(context: Context, nick: str, channel: str) -> Command:
    key = context.nick(nick).casefolded
    return Ban("", given=False, room=context.room(channel), nick=key)


def _key(host: str, server: str) -> str:
    """Return the person or the network that a host stands for; empty if it is none of ours."""
    if host.startswith(NETWORK):
        return host if TAG.fullmatch(host.removeprefix(NETWORK)) else ""
    person = host.removesuffix(f".{server}")
    return "" if person == host or set(person) & set("*?") else person


MODERATION_COMMANDS: Final[Mapping[str, CommandRow]] = {
    "KICK": CommandRow(2, _kick),
    "KILL": CommandRow(1, _kill),
    "INVITE": CommandRow(0, _invite),
    "MODE": CommandRow(1, _mode),
}
