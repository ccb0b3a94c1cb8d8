"""The first bytes of a connection before a dialect has begun, and their deadline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.config.endpoints import ALL, Speech, is_local
from trio_chat.dialects.frames import FramesSnapshot
from trio_chat.dialects.irc.reading import IrcSnapshot
from trio_chat.dialects.line import LinesSnapshot

if TYPE_CHECKING:
    from trio_chat.transports.proxy_protocol import Header

# First bytes have this many seconds, from the first one, to tell the protocol. Programs send at
# once, so a client that has sent only the beginning of a verb by then is typing. A request or a
# PROXY header has the same time.
FIRST_BYTES_SECONDS = 10.0

# A whole next request may take this many seconds after the last answer. Apache waits as long.
# Browsers keep up to six connections, which all count for their address.
KEPT_SECONDS = 5.0

# A client that knows the protocol has sent its first line by then. Others do not wait long.
GREETING_SECONDS = 1.0


@define
class FirstBytesSnapshot:
    """First bytes as plain data: the bytes so far, and what they have led to.

    `left` is the number of seconds that remain for them, or for the head of a request.
    """

    first: bytes | None = None
    over: bool = False
    trusted: bool = False
    lines: LinesSnapshot = field(factory=LinesSnapshot)
    # Set once the first bytes asked for a WebSocket. There are no lines then.
    frames: FramesSnapshot | None = None
    left: float | None = None
    # The client's address for operators' requests, or empty if it is unknown.
    address: str = ""
    # The protocols that the endpoint accepts.
    accept: tuple[Speech, ...] = ALL
    # The number of requests that were answered. The next bytes belong to another one.
    requests: int = 0
    forwards: bool = False
    greets: bool = False
    greeted: bool = False
    local: bool = False
    private: bool = False
    # Set once the first bytes were of IRC. There are no lines then.
    irc: IrcSnapshot | None = None


@define
class FirstBytes:
    """All that a client has sent (`data`), as long as no dialect has begun.

    `address` is where it comes from, for what operators are told. `accept` is what is taken where
    it came in, `trusted` whether a PROXY header is. At the time `due` it is too late for more.
    `over`: the client is not served, and what else it sends means nothing. `requests` is how many
    have been answered; then `data` is of the next one, but for `past` bytes of the last.
    `forwards`: the peer is a trusted proxy, which may name its client by HTTP.

    `greets`: the greeting is due after a silent second (`greet_at`), because only lines are taken
    here. `greeted`: the client has got it.

    `local`: the peer is on this machine, and may be a proxy. `private`: the operator says that
    nobody can read what comes from the peer.
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
    greets: bool = False
    greeted: bool = False
    greet_at: float = math.inf
    local: bool = False
    private: bool = False

    @classmethod
    def restored(cls, known: FirstBytesSnapshot) -> FirstBytes:
        """First bytes that go on from a snapshot of others."""
        due = math.inf if known.left is None else trio.current_time() + known.left
        data = known.first or b""
        first = cls(
            known.address,
            known.accept,
            known.trusted,
            data,
            due,
            known.over,
            known.requests,
            forwards=known.forwards,
            greets=known.greets,
            greeted=known.greeted,
            local=known.local,
            private=known.private,
        )
        first.wait_to_greet()
        return first

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
            greets=self.greets,
            greeted=self.greeted,
            local=self.local,
            private=self.private,
        )

    def is_private(self, address: str) -> bool:
        """Whether nobody can read, on its way, what a client at this address sends without TLS."""
        return self.private or (self.local and is_local(address))

    def wait_to_greet(self) -> None:
        """Have the greeting come after a second of silence from now on, if one is to come so."""
        self.greet_at = trio.current_time() + GREETING_SECONDS if self.greets else math.inf

    def greet(self) -> bool:
        """Whether it is time for the greeting; true once."""
        if self.data or trio.current_time() < self.greet_at:
            return False
        self.greets, self.greeted, self.greet_at = False, True, math.inf
        return True

    def set_due(self) -> None:
        """Give the client no more than its time from now on, if it is to hurry."""
        if self.data:
            self.greet_at = math.inf
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
        self.wait_to_greet()

    def go_inside(self) -> None:
        """Begin anew with those inside of TLS, where everything is taken."""
        self.data, self.trusted = b"", False
        self.accept, self.due = ("line", "http", "irc"), math.inf
