"""Tells from a connection's first bytes who came: a browser, or a person with telnet.

Nobody is greeted, so the first bytes are the client's. A line server that takes a browser's POST
for commands could be spoken to by any web page its user opens; so whoever starts with an HTTP verb
gets an HTTP answer and never a room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.commands import Answer, Disconnected

if TYPE_CHECKING:
    from trio_chat.commands import Record
    from trio_chat.dialects import Dialect

# RFC 9110, 5789 and 9113 (whose connections begin with PRI).
VERBS = (
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

_SENTENCE = (
    b"This is a chat server for plain lines: reach it with telnet or nc, not with a browser.\n"
)
HTTP_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n"
    b"Connection: close\r\n"
    b"\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class FirstBytes:
    """A dialect for the first bytes of a connection, which hands over to the one they tell of."""

    __slots__ = ("_first", "_lines")

    def __init__(self, lines: Dialect) -> None:
        self._lines = lines
        # What has come and does not tell yet; `None` once it does.
        self._first: bytes | None = b""

    @property
    def rooms(self) -> int:
        """How many rooms the client may be in at once."""
        return self._lines.rooms

    @property
    def pending(self) -> bool:
        """Whether complete commands wait, as bytes."""
        return self._lines.pending

    def feed(self, data: bytes, limit: int | None = None) -> list[Record]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._first is None:
            return self._lines.feed(data, limit)
        self._first = first = self._first + data
        http = is_http(first)
        if http is None:
            return []
        if http:
            # Its next bytes are no first bytes of lines either.
            self._first = b"GET "
            return [Answer(HTTP_REFUSAL), Disconnected("spoke HTTP, not lines")]
        self._first = None
        return self._lines.feed(first, limit)


def is_http(first: bytes) -> bool | None:
    """Whether these are the first bytes of an HTTP client; `None` as long as they do not tell."""
    if first.startswith(VERBS):
        return True
    if any(verb.startswith(first) for verb in VERBS):
        return None
    return False
