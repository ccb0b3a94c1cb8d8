"""Tells from a connection's first bytes who came: a browser, a proxy, TLS, or a person with telnet.

Nobody is greeted, so the first bytes are the client's. A line server that takes a browser's POST
for commands could be spoken to by any web page its user opens. So a client that starts with an HTTP
verb gets an HTTP answer. It gets a room only by an upgrade that no page from elsewhere can have.

Nothing here reads or waits: see `trio_chat.transports.connection` for what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import frozen

from trio_chat.transports import proxy_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

Opening: TypeAlias = Literal["proxy", "tls", "http", "line"]
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
    """Bytes with one of which an opening starts, and nothing else does."""

    opening: Opening
    starts: tuple[bytes, ...]


PROXY: Final = Signature("proxy", proxy_protocol.SIGNATURES)
# TLS begins with a handshake, of version 3 (RFC 8446, 5.1).
TLS: Final = Signature("tls", (b"\x16\x03",))
# Some clients send an empty line before a request (RFC 9112, 2.2).
HTTP: Final = Signature("http", (*VERBS, *(b"\r\n" + verb for verb in VERBS)))

SIGNATURES: Final = (PROXY, TLS, HTTP)
# Inside of TLS no other TLS begins.
INSIDE_TLS: Final = (PROXY, HTTP)


def detect(
    first: bytes, signatures: Sequence[Signature] = SIGNATURES, *, late: bool = False
) -> Opening | None:
    """Decide what these first bytes tell; `None`: more are needed.

    All of them belong to what follows. First bytes with none of the signatures are lines. So are
    those that do not tell yet, if it is too `late` for more: programs send at once.
    """
    for signature in signatures:
        if first.startswith(signature.starts):
            return signature.opening
    starts = (start for signature in signatures for start in signature.starts)
    if not late and any(start.startswith(first) for start in starts):
        return None
    return "line"
