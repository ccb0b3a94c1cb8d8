"""The registration of a connection: capabilities, nick, user name and real name.

A client says its nick (NICK) and its names (USER), and may negotiate capabilities before (CAP). One
record tells the hub once all is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

from trio_chat.dialects.irc import capabilities
from trio_chat.dialects.irc.commands import (
    USER_CHARS,
    Context,
    Params,
    answer,
    needs_more,
    real_name,
)
from trio_chat.dialects.irc.encoding import encoding_of
from trio_chat.protocol.commands import Command, Ping, Quit, SwitchEncoding, TakeNick
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.presence import Introduce
from trio_chat.protocol.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.config.settings import Settings

# The parameters of USER: the user name, two without a meaning by now, and the real name.
USER_PARAMS: Final = 4

_USER_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


@define
class Registration:
    """The client's own words about itself, as plain data.

    `negotiating`: CAP END has to come first. `introduced` says whether the hub was told who the
    client is. It may have refused the nick; then the next nick completes the registration.
    """

    capabilities: frozenset[str] = frozenset()
    negotiating: bool = False
    nick: str = ""
    user: str = ""
    real: str = ""
    introduced: bool = False

    def take(self, command: str, params: Params, settings: Settings) -> list[Command] | None:
        """Return the records of a command of the registration; `None` if it is another one.

        Raises `Refused` for a nick that breaks the rules.
        """
        method = _COMMANDS.get(command)
        return None if method is None else method(self, params, settings)

    def cap(self, params: Params, settings: Settings) -> list[Command]:
        """Negotiate capabilities."""
        if not params:
            return [needs_more()]
        subcommand, asked = params[0].upper(), " ".join(params[1:])
        if subcommand == "END":
            self.negotiating = False
            return self._introduce(settings)
        if subcommand == "LIST":
            return [answer("CAP", "LIST", " ".join(sorted(self.capabilities)))]
        if subcommand not in {"LS", "REQ"}:
            return [answer("410", params[0], "There is no such subcommand of CAP")]
        self.negotiating = not self.introduced
        if subcommand == "REQ":
            return self._request(asked)
        if asked.isdigit() and int(asked[:9]) >= capabilities.VERSION:
            self.capabilities |= {"cap-notify"}
        return [answer("CAP", "LS", " ".join(capabilities.ALL))]

    def _request(self, asked: str) -> list[Command]:
        wanted = capabilities.wanted(asked, self.capabilities)
        if wanted is None:
            return [answer("CAP", "NAK", asked)]
        self.capabilities = wanted
        encoding = encoding_of(wanted & capabilities.ENTRIES)
        return [answer("CAP", "ACK", asked), SwitchEncoding(encoding)]

    def take_nick(self, params: Params, settings: Settings) -> list[Command]:
        """Take a nick, the first one or another."""
        if not params or not params[0]:
            return [answer("431", "No nick was given")]
        name = parse_nick(params[0], settings.nick_chars)
        if self.introduced:
            return [TakeNick(name)]
        self.nick = params[0]
        return self._introduce(settings)

    def take_user(self, params: Params, settings: Settings) -> list[Command]:
        """Take a user name and a real name."""
        if self.introduced:
            return [answer("462", "You are registered already")]
        if len(params) < USER_PARAMS or is_blank(params[3]):
            return [needs_more()]
        self.user = "".join(char for char in params[0] if char in _USER_NAME)[:USER_CHARS] or "u"
        self.real = real_name(params[3])
        return self._introduce(settings)

    def take_password(self, params: Params, _: Settings) -> list[Command]:
        """Take no password: accounts have SASL."""
        if self.introduced:
            return [answer("462", "You are registered already")]
        return [] if params else [needs_more()]

    def _introduce(self, settings: Settings) -> list[Command]:
        """Tell the hub who the client is, once it has said all."""
        if self.introduced or self.negotiating or not (self.nick and self.user):
            return []
        self.introduced = True
        return [Introduce(parse_nick(self.nick, settings.nick_chars), self.user, self.real)]

    def ping(self, params: Params, _: Settings) -> list[Command]:
        """Answer a ping."""
        if not params or not params[0]:
            return [answer("409", "No origin was given")]
        return [answer("PONG", params[0])]

    def pong(self, _: Params, __: Settings) -> list[Command]:
        """Let the hub know that the client is there."""
        return [Ping()]

    def quit(self, params: Params, settings: Settings) -> list[Command]:
        """Leave the chat."""
        return [Quit(Context(settings).words(params))]


_COMMANDS: Final[dict[str, Callable[[Registration, Params, Settings], list[Command]]]] = {
    "CAP": Registration.cap,
    "NICK": Registration.take_nick,
    "USER": Registration.take_user,
    "PASS": Registration.take_password,
    "PING": Registration.ping,
    "PONG": Registration.pong,
    "QUIT": Registration.quit,
}
