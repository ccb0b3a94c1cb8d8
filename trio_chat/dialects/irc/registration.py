"""The registration of a connection: capabilities, nick, user name and real name.

A client says its nick (NICK) and its names (USER), and may negotiate capabilities before (CAP). One
record tells the hub once all is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from trio_chat.dialects.irc import capabilities, sasl
from trio_chat.dialects.irc.encoding import encoding_of
from trio_chat.dialects.irc.parameters import USER_CHARS, answer, needs_more, real_name
from trio_chat.protocol.commands import Command, Ping, Quit, SwitchEncoding, TakeNick
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.presence import Introduce
from trio_chat.protocol.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.dialects.irc.parameters import Context, Params

# The parameters of USER: the user name, two without a meaning by now, and the real name.
USER_PARAMS: Final = 4

_USER_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


@define
class Registration:
    """The client's own words about itself, as plain data.

    `negotiating`: CAP END has to come first. `introduced` says whether the hub was told who the
    client is. It may have refused the nick; then the next nick completes the registration.
    `response` has what has come of a login by SASL; it is `None` if there is none under way.
    `framing` is how the client gets its lines; see `encoding_of`.
    """

    capabilities: frozenset[str] = frozenset()
    negotiating: bool = False
    nick: str = ""
    user: str = ""
    real: str = ""
    introduced: bool = False
    response: str | None = field(default=None, repr=False)
    framing: str = ""

    def take(self, command: str, params: Params, context: Context) -> list[Command] | None:
        """Return the records of a command of the registration; `None` if it is another one.

        Raises `Refused` for a nick that breaks the rules.
        """
        method = COMMANDS.get(command)
        return None if method is None else method(self, params, context)

    def cap(self, params: Params, context: Context) -> list[Command]:
        """Negotiate capabilities."""
        if not params:
            return [needs_more()]
        subcommand, asked = params[0].upper(), " ".join(params[1:])
        if subcommand == "END":
            self.negotiating = False
            ended = [] if self.response is None else self._abort()
            return [*ended, *self._introduce(context)]
        if subcommand == "LIST":
            return [answer("CAP", "LIST", " ".join(sorted(self.capabilities)))]
        if subcommand not in {"LS", "REQ"}:
            return [answer("410", params[0], "There is no such subcommand of CAP")]
        self.negotiating = not self.introduced
        if subcommand == "REQ":
            return self._request(asked, context)
        with_values = asked.isdigit() and int(asked[:9]) >= capabilities.VERSION
        if with_values:
            self.capabilities |= {"cap-notify"}
        offered = capabilities.offered(takes_passwords=context.takes_passwords)
        names = capabilities.listed(offered, with_values=with_values, sts=context.sts)
        return [answer("CAP", "LS", names)]

    def _request(self, asked: str, context: Context) -> list[Command]:
        offered = capabilities.offered(takes_passwords=context.takes_passwords)
        wanted = capabilities.wanted(asked, self.capabilities, offered)
        if wanted is None:
            return [answer("CAP", "NAK", asked)]
        self.capabilities = wanted
        encoding = encoding_of(wanted & capabilities.ENTRIES, self.framing)
        return [answer("CAP", "ACK", asked), SwitchEncoding(encoding)]

    def take_nick(self, params: Params, context: Context) -> list[Command]:
        """Take a nick, the first one or another."""
        if not params or not params[0]:
            return [answer("431", "No nick was given")]
        name = parse_nick(params[0], context.settings.nick_chars)
        if self.introduced:
            return [TakeNick(name)]
        self.nick = params[0]
        return self._introduce(context)

    def take_user(self, params: Params, context: Context) -> list[Command]:
        """Take a user name and a real name."""
        if self.introduced:
            return [answer("462", "You are registered already")]
        if len(params) < USER_PARAMS or is_blank(params[3]):
            return [needs_more()]
        self.user = "".join(char for char in params[0] if char in _USER_NAME)[:USER_CHARS] or "u"
        self.real = real_name(params[3])
        return self._introduce(context)

    def take_password(self, params: Params, context: Context) -> list[Command]:
        """Take a password with the account that it is for; the server itself has none."""
        if self.introduced:
            return [answer("462", "You are registered already")]
        if not params:
            return [needs_more()]
        name, colon, password = params[0].partition(":")
        return [context.log_in(name, password)] if colon and context.accounts else []

    def authenticate(self, params: Params, context: Context) -> list[Command]:
        """Log in by SASL: take the name of a mechanism, and then a response in chunks."""
        if not params:
            return [needs_more()]
        chunk = params[0]
        if chunk == sasl.ABORT:
            return self._abort()
        if self.response is None:
            return self._begin_login(chunk, context)
        is_last = len(chunk) < sasl.CHUNK_CHARS
        response = self.response + ("" if chunk == sasl.EMPTY else chunk)
        self.response = None
        if len(chunk) > sasl.CHUNK_CHARS or len(response) > sasl.MOST_CHARS:
            return [answer("905", "That is too long for a login")]
        if is_last:
            return [context.log_in(*sasl.read_plain(response))]
        self.response = response
        return []

    def _begin_login(self, mechanism: str, context: Context) -> list[Command]:
        if mechanism.upper() != sasl.MECHANISM:
            known = answer("908", sasl.MECHANISM, "are the mechanisms of this server")
            return [known, answer("904", "There is no such mechanism here")]
        context.check_private()
        self.response = ""
        return [answer("AUTHENTICATE", sasl.EMPTY)]

    def _abort(self) -> list[Command]:
        self.response = None
        return [answer("906", "The login was ended before its time")]

    def _introduce(self, context: Context) -> list[Command]:
        """Tell the hub who the client is, once it has said all."""
        if self.introduced or self.negotiating or not (self.nick and self.user):
            return []
        self.introduced = True
        return [Introduce(parse_nick(self.nick, context.settings.nick_chars), self.user, self.real)]

    def ping(self, params: Params, _: Context) -> list[Command]:
        """Answer a ping."""
        if not params or not params[0]:
            return [answer("409", "No origin was given")]
        return [answer("PONG", params[0])]

    def pong(self, _: Params, __: Context) -> list[Command]:
        """Let the hub know that the client is there."""
        return [Ping()]

    def quit(self, params: Params, context: Context) -> list[Command]:
        """Leave the chat."""
        return [Quit(context.words(params))]


COMMANDS: Final[dict[str, Callable[[Registration, Params, Context], list[Command]]]] = {
    "CAP": Registration.cap,
    "NICK": Registration.take_nick,
    "USER": Registration.take_user,
    "PASS": Registration.take_password,
    "AUTHENTICATE": Registration.authenticate,
    "PING": Registration.ping,
    "PONG": Registration.pong,
    "QUIT": Registration.quit,
}
