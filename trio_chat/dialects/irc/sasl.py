"""SASL with the mechanism PLAIN (RFC 4616): a name and a password, in BASE64 and in chunks.

The exchange is that of IRCv3 ("SASL Authentication"). `trio_chat.dialects.irc.registration` keeps
what has come of it.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Final

from trio_chat.errors import Code, Refused

MECHANISM: Final = "PLAIN"
# A chunk of this length is not the last one.
CHUNK_CHARS: Final = 400
# Characters of a whole response: the longest name and password have less.
MOST_CHARS: Final = 8 * CHUNK_CHARS
# A client says this instead of an empty chunk, and to give up.
EMPTY: Final = "+"
ABORT: Final = "*"


def read_plain(response: str) -> tuple[str, str]:
    """Return the name and the password of a whole response. Raises `Refused`."""
    wrong = Refused("that is no response of the mechanism PLAIN", code=Code.BAD_TEXT)
    try:
        authorized, name, password = b64decode(response, validate=True).decode().split("\0")
    except ValueError:  # also of BASE64, and of UTF-8
        raise wrong from None
    if not name or not password:
        raise wrong
    if authorized.lower() not in {"", name.lower()}:
        sentence = "nobody may log in as somebody else: leave the authorization identity empty"
        raise Refused(sentence, code=Code.NOT_ALLOWED)
    return name, password
