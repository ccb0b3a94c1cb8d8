"""The commands of registered clients: how their parameters become records.

A row gives each record with the parameters that it is about, since one message may be about several
rooms or people. `trio_chat.dialects.irc.reading` has the commands of the registration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.formatting import plain, read_ctcp
from trio_chat.dialects.irc.message import write
from trio_chat.dialects.irc.nickserv import NAMES as NICKSERV
from trio_chat.dialects.irc.nickserv import record_of
from trio_chat.dialects.secrets import NOT_ENCRYPTED_HERE
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import (
    Act,
    Answer,
    Command,
    Custom,
    Join,
    Leave,
    ListMembers,
    LogIn,
    Notify,
    Refuse,
    Say,
    SetTopic,
    ShowTopic,
    Tell,
)
from trio_chat.protocol.names import casefold_room, parse_nick, parse_room
from trio_chat.protocol.presence import (
    MOST_PAST,
    DescribeRooms,
    LeaveRooms,
    SetAway,
    SetRealName,
    ShowPastNick,
    ShowPeople,
    ShowServer,
)
from trio_chat.protocol.table import instead_of
from trio_chat.protocol.text import clean_text, harmless, is_blank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.config.settings import Settings
    from trio_chat.dialects.irc.message import Message
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.rows import Row

Params: TypeAlias = tuple[str, ...]
Parts: TypeAlias = Iterator[tuple[Command, Params]]

# Targets of one message; clients learn this by the token TARGMAX.
MOST_TARGETS: Final = 4
# Rooms of one JOIN or PART, and nicks of one ISON: as many as fit the line, but not without end.
MOST_NAMES: Final = 50
WORD_CHARS: Final = 10
WAS_NOBODY: Final = "There was no such nick lately"
END_OF_WHOWAS: Final = "End of WHOWAS"
# Characters of a user name and of a real name that are kept (the tokens USERLEN and NAMELEN).
USER_CHARS: Final = 18
REAL_CHARS: Final = 128


@frozen
class Context:
    """The settings, and the readers of single parameters."""

    settings: Settings
    # Whether there are accounts, and whether nobody can read a password on its way.
    accounts: bool = False
    private: bool = False
    # The value of the capability `sts`, if the client is to read it.
    sts: str = ""

    @property
    def takes_passwords(self) -> bool:
        """Whether clients may log in over this connection."""
        return self.accounts and (self.private or self.settings.plaintext_passwords == "warn")

    def check_private(self) -> None:
        """Raise `Refused` if others could read a password on its way."""
        if self.accounts and not self.takes_passwords:
            raise Refused(NOT_ENCRYPTED_HERE, code=Code.NOT_ENCRYPTED)

    def log_in(self, name: str, password: str) -> LogIn:
        """Return the record of a login. Raises `Refused`."""
        self.check_private()
        return LogIn(self.name(name), password)

    def name(self, text: str) -> Name:
        """Return the name of an account. Raises `Refused`."""
        return parse_nick(text, self.settings.nick_chars)

    def room(self, channel: str) -> str:
        """Return the casefolded name of a room. Raises `Refused`."""
        name = names.room(channel)
        if len(name) > self.settings.room_chars:
            return parse_room(name, self.settings.room_chars).casefolded
        return casefold_room(name)

    def nick(self, text: str) -> Name:
        """Return the nick of somebody who may be here. Raises `Refused`."""
        try:
            return parse_nick(text, self.settings.nick_chars, reserved=True)
        except Refused:
            sentence = f"nobody here is called {harmless(text)}"
            raise Refused(sentence, code=Code.NO_SUCH_NICK) from None

    def text(self, text: str, what: str, limit: int) -> str:
        """Return a text without the formatting of IRC. Raises `Refused`."""
        text = plain(text).rstrip()
        if is_blank(text):
            raise Refused(f"{what} is required", code=Code.BAD_TEXT)
        return clean_text(text, what=what, limit=limit)

    def message(self, text: str) -> str:
        """Return the text of a message. Raises `Refused`."""
        return self.text(text, "message", self.settings.message_chars)

    def words(self, params: Params) -> str:
        """Return a reason for leaving, or nothing if there is none that could be shown."""
        try:
            return self.text(params[0], "reason", self.settings.topic_chars) if params else ""
        except Refused:
            return ""

    def say(self, params: Params) -> Command | None:
        """Return the record of a message to one room; `None` if it is for anything else."""
        if len(params) != _TO_SOMEBODY or not names.is_channel(params[0]):
            return None
        target, text = params
        if "," in target or text.startswith("\x01"):
            return None
        try:
            return Say(self.message(text), self.room(target))
        except Refused:
            return None


@frozen
class CommandRow:
    """A command: the least number of parameters, and what makes its records.

    Only clients that have asked for the capability that it `needs` have the command.
    """

    least: int
    make: Callable[[Params, Context], Parts]
    needs: str = ""


def answer(command: str, *params: str) -> Answer:
    """Make the record of a line to the client; the encoding adds whom it is from and for."""
    return Answer(write(command, *params).encode())


def real_name(text: str) -> str:
    """Return a real name, which shows something. Raises `Refused`."""
    text = plain(text).strip()
    if is_blank(text):
        raise Refused("a real name is required", code=Code.BAD_TEXT)
    return harmless(text[:REAL_CHARS])


def needs_more() -> Refuse:
    """Make the refusal of a command with too few parameters."""
    return Refuse("Not enough parameters", Code.BAD_USAGE)


def custom_command(message: Message, table: Mapping[str, Row], settings: Settings) -> Command:
    """Return the record of an embedding program's own command, or the refusal of an unknown one."""
    row = table.get(message.command.lower())
    try:
        record = None if row is None else row.record(" ".join(message.params), settings)
    except Refused as refusal:
        return _refuse(refusal)
    if isinstance(record, Custom):
        return record
    return Refuse(f"Unknown command{instead_of(message.command, table)}", Code.UNKNOWN_COMMAND)


def _refuse(refusal: Refused) -> Refuse:
    return Refuse(str(refusal), refusal.code, refusal.limit)


def each(param: str) -> list[str]:
    """Return the parts of a list, each once."""
    return [part for part in dict.fromkeys(param.split(",")) if part][:MOST_NAMES]


def part(make: Callable[[str], Command], *params: str) -> tuple[Command, Params]:
    """Make a record of the first parameter, or the refusal in its place."""
    try:
        return make(params[0]), params
    except Refused as refusal:
        return _refuse(refusal), params


# --- rooms ----------------------------------------------------------------------------------------


def _join(params: Params, context: Context) -> Parts:
    if params[0] == "0":
        yield LeaveRooms(), params
        return
    limit = context.settings.room_chars
    for channel in each(params[0]):
        yield part(lambda name: Join(parse_room(names.room(name), limit)), channel)


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
    if len(params) < _TO_SOMEBODY or not params[1]:
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


# --- people and the server ------------------------------------------------------------------------


def _who(params: Params, context: Context) -> Parts:
    mask = params[0] if params else "*"
    if names.is_channel(mask):
        yield part(lambda name: ShowPeople(room=context.room(name)), mask, *params[1:])
    elif "*" in mask or "?" in mask:
        yield ShowPeople(mask=mask[: names.MASK_CHARS]), (mask, *params[1:])
    else:
        found = valid_nicks([mask], context)
        yield ShowPeople(found, mask=mask[: names.MASK_CHARS]), (mask, *params[1:])


def _whois(params: Params, context: Context) -> Parts:
    nicks = params[-1] if params else ""
    if not nicks:
        yield answer("431", "No nick was given"), params
    for nick in each(nicks)[:MOST_TARGETS]:
        yield ShowPeople(valid_nicks([nick], context)), (nick,)


def _whowas(params: Params, context: Context) -> Parts:
    nick, *limits = params or ("",)
    if not nick:
        yield answer("431", "No nick was given"), params
        return
    # RFC 1459, 4.5.3: without a positive number, all of them.
    limit = int(limits[0][:3]) if limits and limits[0].isascii() and limits[0].isdigit() else 0
    limit = min(limit or MOST_PAST, MOST_PAST)
    if names := valid_nicks([nick], context):
        yield ShowPastNick(names[0], limit), (nick,)
        return
    yield answer("406", nick, WAS_NOBODY), params
    yield answer("369", nick, END_OF_WHOWAS), params


def _ask(params: Params, context: Context) -> Parts:
    nicks = [nick for param in params for nick in param.split(" ") if nick][:MOST_NAMES]
    yield ShowPeople(valid_nicks(nicks, context)), params


def valid_nicks(texts: list[str], context: Context) -> list[Name]:
    """Return those that can be nicks."""
    found = []
    for text in texts:
        try:
            found.append(context.nick(text))
        except Refused:
            continue
    return found


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


def _oper(params: Params, _: Context) -> Parts:
    yield answer("491", "operators of this server are accounts, and need no OPER"), params


def _nickserv(params: Params, context: Context) -> Parts:
    word, _, rest = " ".join(params).strip().partition(" ")
    # The id has this word alone, as the others are secrets.
    yield part(lambda word: record_of(word, rest.strip(), context), word[:WORD_CHARS].upper())


def _nothing(params: Params, _: Context) -> Parts:
    # Tags of a client reach nobody, as the token CLIENTTAGDENY says.
    yield Answer(b""), params


_TO_SOMEBODY: Final = 2

ROWS: Final[Mapping[str, CommandRow]] = {
    "JOIN": CommandRow(1, _join),
    "PART": CommandRow(1, _leave),
    "TOPIC": CommandRow(1, _topic),
    "NAMES": CommandRow(0, _names),
    "LIST": CommandRow(0, _list),
    "PRIVMSG": CommandRow(0, _privmsg),
    "NOTICE": CommandRow(0, _notice),
    "TAGMSG": CommandRow(1, _nothing),
    "WHO": CommandRow(0, _who),
    "WHOIS": CommandRow(0, _whois),
    "WHOWAS": CommandRow(0, _whowas),
    "ISON": CommandRow(1, _ask),
    "USERHOST": CommandRow(1, _ask),
    "AWAY": CommandRow(0, _away),
    "SETNAME": CommandRow(1, _set_name),
    "MOTD": CommandRow(0, _server),
    "LUSERS": CommandRow(0, _server),
    "VERSION": CommandRow(0, _server),
    "TIME": CommandRow(0, _server),
    "INFO": CommandRow(0, _server),
    "OPER": CommandRow(2, _oper),
    **dict.fromkeys(NICKSERV, CommandRow(0, _nickserv)),
}
