"""The first bytes of a connection, as long as no dialect has begun, and their deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.config.endpoints import ALL, Speech
from trio_chat.dialects.line import LinesSnapshot
from trio_chat.dialects.websocket import FramesSnapshot

if TYPE_CHECKING:
    from trio_chat.transports.proxy_protocol import Header

# So long first bytes may take to tell, from the first of them. Programs send at once: a client that
# has sent no more than the beginning of a verb by then types. A request or a PROXY header has the
# same time.
FIRST_BYTES_SECONDS = 10.0

# So long the whole of the next request may take, from when the answer to the last one was sent.
# Apache waits as long. Browsers keep up to six connections, which all count for their address.
KEPT_SECONDS = 5.0


@define
class FirstBytesSnapshot:
    """First bytes as plain data: those that do not tell yet, and what they have led to.

    `left`: the seconds in which they have to tell, or in which the head of a request has to come.
    """

    first: bytes | None = None
    over: bool = False
    trusted: bool = False
    lines: LinesSnapshot = field(factory=LinesSnapshot)
    # There once they have told of a WebSocket; then there are no lines.
    frames: FramesSnapshot | None = None
    left: float | None = None
    # Where it comes from, for what operators are told; nowhere, if that is not known.
    address: str = ""
    # What is taken where it came in.
    accept: tuple[Speech, ...] = ALL
    # The number of requests that have been answered; then the next bytes are another one.
    requests: int = 0
    forwards: bool = False


@define
class FirstBytes:
    """All that a client has sent (`data`), as long as no dialect has begun.

    `address` is where it comes from, for what operators are told. `accept` is what is taken where
    it came in, `trusted` whether a PROXY header is. At the time `due` it is too late for more.
    `over`: the client is not served, and what else it sends means nothing. `requests` is how many
    have been answered; then `data` is of the next one, but for `past` bytes of the last.
    `forwards`: the peer is a trusted proxy, which may say by HTTP whom it speaks for.
    """

    address: str
    accept: tuple[Speech, ...] = ALL
    trusted: bool = False
    data: bytes = b""
    due: float = math.inf
    over: bool = False
    requests: int = 0
    past: int = 0
    forwards: bool = False

    @classmethod
    def restored(cls, known: FirstBytesSnapshot) -> FirstBytes:
        """First bytes that go on from a snapshot of others."""
        due = math.inf if known.left is None else trio.current_time() + known.left
        data = known.first or b""
        return cls(
            known.address,
            known.accept,
            known.trusted,
            data,
            due,
            known.over,
            known.requests,
            forwards=known.forwards,
        )

    def snapshot(self) -> FirstBytesSnapshot:
        """These as plain data."""
        left = None if self.due == math.inf else self.due - trio.current_time()
        return FirstBytesSnapshot(
            b"" if self.over else self.data[self.past :],
            self.over,
            self.trusted,
            left=left,
            address=self.address,
            accept=self.accept,
            requests=self.requests,
            forwards=self.forwards,
        )

    def set_due(self) -> None:
        """Give the client no more than its time from now on, if it is to hurry."""
        if self.data or self.requests:
            seconds = FIRST_BYTES_SECONDS if self.data else KEPT_SECONDS
            self.due = min(self.due, trio.current_time() + seconds)

    def answered(self, size: int) -> None:
        """Note that a request of so many bytes is answered, unless the hub rejects it."""
        self.past, self.requests, self.due = size, self.requests + 1, math.inf

    def unread(self) -> bytes:
        """Forget the request that is answered, and give what is behind it."""
        self.data, self.past = self.data[self.past :], 0
        return self.data

    @property
    def late(self) -> bool:
        """Whether it is too late for more."""
        return trio.current_time() >= self.due

    def go_behind(self, header: Header) -> None:
        """Go on with those of a proxy's client; another header would be the client's own."""
        self.data, self.trusted = self.data[header.size :], False
        self.forwards = header.own
        if not header.own:
            self.address = "" if header.client is None else header.client.address
        if "line" in self.accept:
            self.due = math.inf

    def go_inside(self) -> None:
        """Begin anew with those inside of TLS, where everything is taken."""
        self.data, self.trusted = b"", False
        self.accept, self.due = ("line", "http"), math.inf
