"""Answers for rejected clients, in the protocol of their first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.message import write_closing
from trio_chat.dialects.line_encoding import LF
from trio_chat.errors import Code
from trio_chat.http.head import Unserved
from trio_chat.http.request import answer_unserved
from trio_chat.protocol.commands import Answer, Refuse
from trio_chat.protocol.events import Refusal

if TYPE_CHECKING:
    from trio_chat.config.endpoints import Speech
    from trio_chat.protocol.commands import Command as Record
    from trio_chat.transports.detection import Opening

# The answer to a TLS hello without TLS here: a fatal `handshake_failure` (RFC 8446, 6.2).
NO_TLS: Final = b"\x15\x03\x03\x00\x02\x02\x28"

# The answer to a TLS hello when the server is full: a fatal `internal_error`, the one alert that
# blames the server. A longer answer would need a handshake.
NO_ROOM: Final = b"\x15\x03\x03\x00\x02\x02\x50"

# The names of protocols for people.
SHOWN: Final[dict[Speech, str]] = {"line": "lines", "http": "HTTP", "tls": "TLS", "irc": "IRC"}


def not_taken(opening: Opening, first: bytes, accept: tuple[Speech, ...]) -> tuple[str, Record]:
    """Return why an endpoint does not accept an opening, for the log, and the answer to it.

    `first` has its first bytes, and `accept` lists what the endpoint accepts.
    """
    if opening == "proxy":
        refusal = Refuse("only a trusted proxy may send a PROXY header here", Code.NOT_SERVED)
        return "sent a PROXY header and is no trusted proxy", refusal
    only = f"takes only {' and '.join(SHOWN[speech] for speech in accept)}"
    reason = f"spoke {SHOWN[opening]} to an address that {only}"
    if opening == "tls":
        return reason, Answer(NO_TLS)
    if opening == "http":
        return reason, Answer(answer_unserved(first, Unserved(400, f"This address {only}.")))
    if opening == "irc":
        return reason, Answer(write_closing(f"this address {only}").encode())
    return reason, Refuse(f"this address {only}", Code.NOT_SERVED)


def rejection(opening: Opening, first: bytes, reason: str) -> bytes:
    """Return the bytes that tell a client why it is rejected.

    Nobody knows when there will be room again, so there is no `Retry-After`.
    """
    if opening == "tls":
        return NO_ROOM
    if opening == "http":
        return answer_unserved(first, Unserved(503, f"{reason[0].upper()}{reason[1:]}."))
    if opening == "irc":
        return write_closing(reason).encode()
    return LF.join(LF.render((Refusal(reason, Code.NOT_SERVED),)))
