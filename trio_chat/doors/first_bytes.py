"""Tells from a connection's first bytes who came: a browser, a proxy, or a person with telnet.

Nobody is greeted, so the first bytes are the client's. A line server that takes a browser's POST
for commands could be spoken to by any web page its user opens; so whoever starts with an HTTP verb
gets an HTTP answer, and a room only by an upgrade that no page from elsewhere can have.

A trusted proxy may say first whom it speaks for, once; what follows are its client's first bytes.
Whoever else says so would choose its own address, and is closed.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import trio

from trio_chat.commands import Answer, Disconnected, Greet, Refuse
from trio_chat.dialects.http import read_opening
from trio_chat.dialects.line import LineDialect
from trio_chat.dialects.websocket import DOCUMENTS, WebSocketDialect
from trio_chat.doors.proxy import SIGNATURES, Malformed, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trio_chat.commands import Record
    from trio_chat.dialects import Dialect
    from trio_chat.settings import Settings
    from trio_chat.table import Row

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

# Who has sent no more than the beginning of a verb after so long types: programs send at once. And
# so long a request may take to come.
UNDECIDED_SECONDS = 10.0


class FirstBytes:
    """A dialect for the first bytes of a connection, which hands over to the one they tell of.

    `trusted`: whether a PROXY header is taken. `clock` gives seconds. `reading` is the scope in
    which the connection is read: it gets a deadline while the head of a request is to come.
    """

    __slots__ = (
        "_clock",
        "_dialect",
        "_first",
        "_over",
        "_reading",
        "_settings",
        "_since",
        "_table",
        "_trusted",
    )

    def __init__(
        self,
        table: Mapping[str, Row],
        settings: Settings,
        *,
        trusted: bool = False,
        clock: Callable[[], float] = time.monotonic,
        reading: trio.CancelScope | None = None,
    ) -> None:
        self._table = table
        self._settings = settings
        self._trusted = trusted
        self._clock = clock
        self._reading = reading or trio.CancelScope()
        self._dialect: Dialect = LineDialect(table, settings)
        # When the first of the bytes came that do not tell.
        self._since: float | None = None
        # What has come and does not tell yet; `None` once it does.
        self._first: bytes | None = b""
        # Whether it told of someone who is not served: what else comes means nothing.
        self._over = False

    @property
    def pending(self) -> bool:
        """Whether complete commands wait, as bytes."""
        return self._dialect.pending

    def feed(self, data: bytes, limit: int | None = None) -> list[Record]:
        """Take bytes as they came, split anywhere; see `trio_chat.dialects.Dialect`."""
        if self._first is None:
            return self._dialect.feed(data, limit)
        if self._over:
            return []
        self._first = first = self._first + data
        proxy, http = begins(first, SIGNATURES), is_http(first)
        if self._since is not None and self._clock() - self._since > UNDECIDED_SECONDS:
            proxy = http = False
        if proxy:
            return self._feed_header(first, limit)
        if http:
            return self._feed_request(first, limit)
        if proxy is None or http is None:
            if first and self._since is None:
                self._since = self._clock()
            return []
        self._first = None
        return self._dialect.feed(first, limit)

    def _feed_request(self, first: bytes, limit: int | None) -> list[Record]:
        if self._reading.deadline == math.inf:
            self._since = None
            self._reading.deadline = self._clock() + UNDECIDED_SECONDS
        late = self._clock() >= self._reading.deadline
        opening = read_opening(first, self._settings, late=late)
        if opening is None:
            return []
        self._reading.deadline = math.inf
        if opening.final is not None:
            return self._end(Answer(opening.answer), f"spoke HTTP: answered {opening.final}")
        self._first, self._dialect = None, WebSocketDialect(self._table, self._settings)
        rest = self._dialect.feed(first[opening.size :], limit)
        return [Answer(opening.answer), Greet(DOCUMENTS), *rest]

    def overdue(self) -> list[Record]:
        """What comes of a request's head for which it is too late now; nothing if it is not."""
        waiting = self._first is not None and self._reading.deadline != math.inf
        return self.feed(b"") if waiting and self._clock() >= self._reading.deadline else []

    def _feed_header(self, first: bytes, limit: int | None) -> list[Record]:
        if not self._trusted:
            refusal = Refuse("only a trusted proxy may send a PROXY header here")
            return self._end(refusal, "sent a PROXY header and is no trusted proxy")
        try:
            header = read_header(first)
        except Malformed as error:
            refusal = Refuse(f"the PROXY header is malformed: {error}")
            return self._end(refusal, f"sent a malformed PROXY header: {error}")
        if header is None:
            return []
        # Another header would be the client's own.
        self._trusted = False
        self._first, self._since = first[header.size :], None
        who: list[Record] = [] if header.client is None else [header.client]
        return who + self.feed(b"", limit)

    def _end(self, answer: Record, reason: str) -> list[Record]:
        self._first, self._over = b"", True
        return [answer, Disconnected(reason)]


def begins(first: bytes, starts: tuple[bytes, ...]) -> bool | None:
    """Whether these bytes begin with one of `starts`; `None` as long as they do not tell."""
    if first.startswith(starts):
        return True
    if any(start.startswith(first) for start in starts):
        return None
    return False


def is_http(first: bytes) -> bool | None:
    """Whether these are the first bytes of an HTTP client; `None` as long as they do not tell."""
    return begins(first, VERBS)
