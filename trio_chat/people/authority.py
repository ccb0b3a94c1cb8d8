"""People whom others vouch for: the program that embeds the chat, or a site.

Such a chat keeps no accounts of its own. It asks the *authority* who somebody is.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio
from attrs import field, frozen

from trio_chat.errors import Code, Refused
from trio_chat.people import Identity as Account
from trio_chat.people import LoggedIn
from trio_chat.people.networks import network_of
from trio_chat.people.throttle import Throttle
from trio_chat.protocol.names import Name, parse_nick

if TYPE_CHECKING:
    from trio_chat.people.site_tokens import SiteTokens

logger = logging.getLogger("trio_chat")

# The ids of these people begin so. Those of the chat's own accounts begin with `a.`.
OUTSIDE: Final = "x."
# Seconds for an answer, with the wait for a place, and questions at once.
ANSWER_SECONDS: Final = 10.0
QUESTIONS: Final = 16
_ID: Final = re.compile(r"[!-~]{1,64}")


@frozen
class Credentials:
    """A proof that a client gives of its identity.

    `kind` is `"password"`, with the `name` that the person has typed, or `"token"`, without a name.
    `address` is where the client comes from. With `private`, nobody could read the secret on its
    way.
    """

    kind: Literal["password", "token"]
    name: str
    secret: str = field(repr=False)
    address: str
    private: bool


@frozen
class Identity:
    """The identity of a client, as `authenticate` returns it.

    `id` stays the same for one person: 1 to 64 printable ASCII characters without a space. Others
    see it, with `x.` before it, as the author of messages. `nick` has to keep the rules for nicks.
    `expires` is when the login ends, in seconds since 1970, or `None`.
    """

    id: str
    nick: str
    expires: float | None = None


Authenticate: TypeAlias = Callable[[Credentials], Awaitable[Identity]]


class Authority:
    """Asks `authenticate` who somebody is. All methods that wait raise `Refused`."""

    def __init__(
        self, authenticate: Authenticate, nick_chars: int, tokens: SiteTokens | None = None
    ) -> None:
        """`tokens` is the same function, if it checks the tokens of a site."""
        self.tokens = tokens
        self._authenticate = authenticate
        self._nick_chars = nick_chars
        self._limiter = trio.CapacityLimiter(QUESTIONS)
        self._throttle = Throttle()

    def has(self, person: str) -> bool:
        """Whether this may be the id of a person whom the authority knows. This does not wait."""
        return person.startswith(OUTSIDE)

    async def log_in(self, name: Name, password: str, address: str, *, private: bool) -> LoggedIn:
        """Check a password. Guessing is slowed down as for accounts."""
        network = network_of(address)
        self._throttle.try_password(name, network, known=False)
        is_wrong = False
        try:
            asked = Credentials("password", name.display, password, address, private)
            return await self._check(asked)
        except Refused as refusal:
            is_wrong = refusal.code not in {Code.BUSY, Code.COMMAND_FAILED}
            raise
        finally:
            if not is_wrong:
                self._throttle.right(name, network, known=False)

    async def authenticate(self, token: str, address: str, *, private: bool) -> LoggedIn:
        """Check a token."""
        return await self._check(Credentials("token", "", token, address, private))

    async def _check(self, credentials: Credentials) -> LoggedIn:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                async with self._limiter:
                    identity = await self._authenticate(credentials)
            return self._entered(identity)
        except Refused:
            raise
        except trio.TooSlowError:
            sentence = "nobody has said in time who you are; please try again later"
            raise Refused(sentence, code=Code.BUSY) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
            _log_failure(error, credentials.secret)
        sentence = "that failed on the server; its log says why"
        raise Refused(sentence, code=Code.COMMAND_FAILED)

    def _entered(self, identity: Identity) -> LoggedIn:
        if not isinstance(identity, Identity):
            raise TypeError(f"authenticate returns an Identity, and no {type(identity).__name__}")
        if not _ID.fullmatch(identity.id):
            raise ValueError("an id has 1 to 64 printable ASCII characters without a space")
        expires = 0.0 if identity.expires is None else float(identity.expires)
        if not math.isfinite(expires):
            raise ValueError("expires is a number of seconds since 1970, or None")
        if identity.expires is not None and expires <= time.time():
            raise Refused("this login has ended: log in again", code=Code.BAD_TOKEN)
        name = parse_nick(identity.nick, self._nick_chars)
        return LoggedIn(Account(f"{OUTSIDE}{identity.id}", name), expires=expires)


def _log_failure(error: Exception, secret: str) -> None:
    """Log an exception with its traceback, but not what it may say of the secret."""
    sentence = str(error).replace(secret, "…") if secret else str(error)
    clean = RuntimeError(f"{type(error).__name__}: {sentence}")
    trace = (RuntimeError, clean, error.__traceback__)
    logger.error("authenticate failed", exc_info=trace)
