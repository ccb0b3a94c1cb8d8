"""Tells from a connection's first bytes which protocol the client speaks.

The server speaks only after the client has, so the first bytes are always the client's. A server
that took a browser's POST for commands could be used by any web page that the browser opens. So a
client that begins with an HTTP verb gets an HTTP answer. It reaches the chat only by an upgrade
that pages of other sites cannot make.

Nothing here reads or waits. `trio_chat.transports.connection` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import frozen

from trio_chat.transports import proxy_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

Opening: TypeAlias = Literal["proxy", "tls", "http", "irc", "line"]
"""All that first bytes may tell. But for "proxy" these are the words of an endpoint's `accept`."""

# RFC 9110, 5789 and 9113 (whose connections begin with PRI).
VERBS: Final = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
)


@frozen
class Signature:
    """The bytes with which an opening starts, and no other opening does."""

    opening: Opening
    starts: tuple[bytes, ...]


PROXY: Final = Signature("proxy", proxy_protocol.SIGNATURES)
# TLS begins with a handshake record of version 3 (RFC 8446, 5.1).
TLS: Final = Signature("tls", (b"\x16\x03",))
# Some clients send an empty line before a request (RFC 9112, 2.2).
HTTP: Final = Signature("http", (*VERBS, *(b"\r\n" + verb for verb in VERBS)))

# A client of IRC begins with one of these, in capitals. A person types "QUIT" as a word of a line.
IRC: Final = Signature(
    "irc",
    (
        *(b"CAP ", b"NICK ", b"USER ", b"PASS ", b"PING ", b"AUTHENTICATE ", b"WEBIRC "),
        *(b"QUIT ", b"QUIT\r", b"QUIT\n"),
    ),
)

SIGNATURES: Final = (PROXY, TLS, HTTP, IRC)
# TLS cannot begin again inside TLS.
INSIDE_TLS: Final = (PROXY, HTTP, IRC)


def detect(
    first: bytes, signatures: Sequence[Signature] = SIGNATURES, *, late: bool = False
) -> Opening | None:
    """Return what these first bytes tell, or `None` if more are needed.

    The bytes remain for the protocol that follows. First bytes that match no signature are lines.
    An incomplete signature becomes lines too once it is `late`, because programs send at once.
    """
    for signature in signatures:
        if first.startswith(signature.starts):
            return signature.opening
    starts = (start for signature in signatures for start in signature.starts)
    if not late and any(start.startswith(first) for start in starts):
        return None
    return "line"
