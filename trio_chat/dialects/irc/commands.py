"""The commands of registered clients: how their parameters become records.

A row gives each record with the parameters that it is about, since one message may be about several
rooms or people. `trio_chat.dialects.irc.reading` has the commands of the registration.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.formatting import read_ctcp
from trio_chat.dialects.irc.nickserv import NAMES as NICKSERV
from trio_chat.dialects.irc.nickserv import record_of
from trio_chat.dialects.irc.parameters import (
    MOST_TARGETS,
    TO_SOMEBODY,
    CommandRow,
    Context,
    Params,
    Parts,
    answer,
    each,
    needs_more,
    part,
    real_name,
    refuse,
)
from trio_chat.dialects.irc.questions import QUESTION_ROWS
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import (
    Act,
    Answer,
    Command,
    Custom,
    Join,
    Leave,
    ListMembers,
    Notify,
    Refuse,
    Say,
    SetTopic,
    ShowTopic,
    Tell,
)
from trio_chat.protocol.names import parse_room
from trio_chat.protocol.presence import (
    DescribeRooms,
    LeaveRooms,
    SetAway,
    SetRealName,
    ShowPeople,
    ShowServer,
)
from trio_chat.protocol.table import instead_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.dialects.irc.message import Message
    from trio_chat.protocol.rows import Row

# The parameters of OPER.
NAME_AND_PASSWORD: Final = 2
# Characters of a word to NickServ that the id of a command keeps.
WORD_CHARS: Final = 10


def custom_command(message: Message, table: Mapping[str, Row], settings: Settings) -> Command:
    """Return the record of an embedding program's own command, or the refusal of an unknown one."""
    row = table.get(message.command.lower())
    try:
        record = None if row is None else row.record(" ".join(message.params), settings)
    except Refused as refusal:
        return refuse(refusal)
    if isinstance(record, Custom):
        return record
    return Refuse(f"Unknown command{instead_of(message.command, table)}", Code.UNKNOWN_COMMAND)


# --- rooms ----------------------------------------------------------------------------------------


def _join(params: Params, context: Context) -> Parts:
    if params[0] == "0":
        yield LeaveRooms(), params
        return
    keys = dict(zip(params[0].split(","), "".join(params[1:2]).split(","), strict=False))
    for channel in each(params[0]):
        yield part(partial(_join_one, context, keys.get(channel, "")), channel)


def _join_one(context: Context, key: str, channel: str) -> Command:
    return Join(parse_room(names.room(channel), context.settings.room_chars), key)


def _leave(params: Params, context: Context) -> Parts:
    words = context.words(params[1:])
    for channel in each(params[0]):
        yield part(lambda name: Leave(context.room(name), words), channel, *params[1:])


def _topic(params: Params, context: Context) -> Parts:
    def make(channel: str) -> Command:
        room = context.room(channel)
        if len(params) == 1:
            return ShowTopic(room)
        text, limit = params[1], context.settings.topic_chars
        return SetTopic(context.text(text, "topic", limit) if text.strip() else "", room)

    yield part(make, *params)


def _names(params: Params, context: Context) -> Parts:
    if not params:
        # Those of the client's own rooms: nobody is told of people elsewhere.
        yield ShowPeople(mask="*"), params
    for channel in each(params[0]) if params else ():
        yield part(lambda name: ListMembers(context.room(name)), channel)


def _list(params: Params, _: Context) -> Parts:
    yield DescribeRooms(), params


# --- messages -------------------------------------------------------------------------------------


def _privmsg(params: Params, context: Context) -> Parts:
    return _message(params, context, notice=False)


def _notice(params: Params, context: Context) -> Parts:
    for record, about in _message(params, context, notice=True):
        # A notice is never answered, so a wrong one is lost.
        yield (Answer(b"") if isinstance(record, Answer) else record), about


def _message(params: Params, context: Context, *, notice: bool) -> Parts:
    if not params or not params[0]:
        yield answer("411", "No recipient was given"), params
        return
    if len(params) < TO_SOMEBODY or not params[1]:
        yield answer("412", "No text to send"), params
        return
    targets = each(params[0])
    if len(targets) > MOST_TARGETS:
        yield answer("407", params[0], f"at most {MOST_TARGETS} targets at once"), params
        return
    for target in targets:
        yield part(lambda name: _to(name, params[1], context, notice=notice), target, params[1])


def _to(target: str, text: str, context: Context, *, notice: bool) -> Command:
    ctcp = read_ctcp(text)
    is_room = names.is_channel(target)
    if ctcp is not None and ctcp.command != "ACTION":
        if is_room:
            raise Refused("only actions may be sent to a room", code=Code.NOT_ALLOWED)
        return Answer(b"")  # nobody answers requests of clients to clients here
    if is_room:
        room = context.room(target)
        if ctcp is not None:
            return Act(context.message(ctcp.text), room)
        return (Notify if notice else Say)(context.message(text), room)
    shown = context.message(text) if ctcp is None else f"*{context.message(ctcp.text)}*"
    return Tell(context.nick(target), shown, notice=notice)


# --- oneself and the server -----------------------------------------------------------------------


def _away(params: Params, context: Context) -> Parts:
    def make(text: str) -> Command:
        limit = context.settings.topic_chars
        return SetAway(context.text(text[:limit], "text", limit) if text.strip() else "")

    yield part(make, *(params or ("",)))


def _set_name(params: Params, context: Context) -> Parts:
    del context
    yield part(lambda name: SetRealName(real_name(name)), *params)


def _server(params: Params, _: Context) -> Parts:
    yield ShowServer(), params


def _oper(params: Params, context: Context) -> Parts:
    # No id has the parameters, as they are secrets.
    if len(params) < NAME_AND_PASSWORD:
        yield needs_more(), ()
        return
    try:
        yield context.log_in(*params[:NAME_AND_PASSWORD], operator=True), ()
    except Refused as refusal:
        yield refuse(refusal), ()


def _nickserv(params: Params, context: Context) -> Parts:
    word, _, rest = " ".join(params).strip().partition(" ")
    # The id has this word alone, as the others are secrets.
    yield part(lambda word: record_of(word, rest.strip(), context), word[:WORD_CHARS].upper())


def _nothing(params: Params, _: Context) -> Parts:
    # Tags of a client reach nobody, as the token CLIENTTAGDENY says.
    yield Answer(b""), params


ROWS: Final[Mapping[str, CommandRow]] = {
    **QUESTION_ROWS,
    "JOIN": CommandRow(1, _join),
    "PART": CommandRow(1, _leave),
    "TOPIC": CommandRow(1, _topic),
    "NAMES": CommandRow(0, _names),
    "LIST": CommandRow(0, _list),
    "PRIVMSG": CommandRow(0, _privmsg),
    "NOTICE": CommandRow(0, _notice),
    "TAGMSG": CommandRow(1, _nothing),
    "AWAY": CommandRow(0, _away),
    "SETNAME": CommandRow(1, _set_name),
    "MOTD": CommandRow(0, _server),
    "LUSERS": CommandRow(0, _server),
    "VERSION": CommandRow(0, _server),
    "TIME": CommandRow(0, _server),
    "INFO": CommandRow(0, _server),
    "OPER": CommandRow(0, _oper),
    **dict.fromkeys(NICKSERV, CommandRow(0, _nickserv)),
}
