"""Tokens by which a site vouches for its people: JSON Web Tokens (RFC 7519).

They need the extra `jwt`, so only a chat with a key for them imports this module.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import jwt
import trio

from trio_chat.errors import Code, Refused
from trio_chat.people.authority import Credentials, Identity

if TYPE_CHECKING:
    from trio_chat.config.site_key import SiteKey

logger = logging.getLogger("trio_chat")

# Longer ones are not read. A token with the claims that count takes some 400 bytes.
MOST_CHARS: Final = 8_192
REQUIRED: Final = ["exp", "sub", "aud"]


class SiteTokens:
    """An `authenticate` function that takes tokens only. A reload replaces `key`.

    Without a key, no token counts.
    """

    def __init__(self, key: SiteKey | None, audience: str, issuer: str) -> None:
        """Without an issuer, any is taken: the key says who it was."""
        self.key = key
        self._audience = audience
        self._issuer = issuer or None

    async def __call__(self, credentials: Credentials) -> Identity:
        """Return the identity that a token says. Raises `Refused`."""
        await trio.lowlevel.checkpoint()
        if credentials.kind != "token":
            sentence = "this server takes no passwords: log in at the site that it belongs to"
            raise Refused(sentence, code=Code.KEPT_ELSEWHERE)
        if self.key is None:
            sentence = "tokens cannot be checked now; please try again later"
            raise Refused(sentence, code=Code.BUSY)
        if len(credentials.secret) > MOST_CHARS:
            raise _bad()
        try:
            claims = jwt.decode(
                credentials.secret,
                self.key.key,
                algorithms=self.key.algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"require": [*REQUIRED, *(["iss"] if self._issuer else [])]},
            )
            identity = Identity(claims["sub"], claims["nick"], float(claims["exp"]))
        except jwt.ExpiredSignatureError:
            sentence = "this token has expired: the site has to give another"
            raise Refused(sentence, code=Code.BAD_TOKEN) from None
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError) as error:
            # The sentence of the error may repeat a part of the token.
            logger.info("token refused", extra={"reason": type(error).__name__})
            raise _bad() from None
        if not isinstance(identity.nick, str):
            raise _bad()
        return identity


def _bad() -> Refused:
    return Refused("this token does not count here; the log says why", code=Code.BAD_TOKEN)
