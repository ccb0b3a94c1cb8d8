"""Reads one client: takes bytes, has its dialect make records of them, and passes those on."""

from __future__ import annotations

import contextlib
import logging
import math
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import trio
from attrs import define, field

from trio_chat.dialects.line import LineDialect, LinesSnapshot
from trio_chat.dialects.websocket import WebSocketDialect
from trio_chat.hub.hub import TURN_RECORDS
from trio_chat.hub.inbox import AllStill, Connected, InputEnded
from trio_chat.hub.session import Session
from trio_chat.protocol.commands import Disconnected
from trio_chat.transports.first_bytes import FirstBytes, FirstBytesSnapshot
from trio_chat.transports.rate_limit import BucketSnapshot, TokenBucket
from trio_chat.transports.tcp import SocketLink
from trio_chat.transports.tls import HandshakeFailed, TlsLink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Dialect
    from trio_chat.hub.inbox import Item, Record
    from trio_chat.hub.pause import Pause
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.table import Row
    from trio_chat.transports.stream import StreamLink

    Link: TypeAlias = SocketLink | TlsLink | StreamLink
    Channel: TypeAlias = trio.MemorySendChannel[Item]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

logger = logging.getLogger("trio_chat")

# What counts against the rate although it makes no line: so many bytes as one, and each read as a
# part of one. Some telnets send a read for each key.
LINE_BYTES = 4_096
READ_LINES = 0.02
# Whatever the rate allows, no more is taken in at once. More records than a turn of the hub takes
# are better left as bytes.
MOST_LINES = TURN_RECORDS

# For an answer that does not wait for the hub.
ANSWER_SECONDS = 10.0

CONNECTION_LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


def bucket_of(settings: Settings) -> TokenBucket | None:
    """A full bucket, if there is a limit."""
    if settings.rate_limit is None:
        return None
    return TokenBucket(settings.rate_limit, settings.rate_burst)


@define
class ReaderSnapshot:
    """What is known of a client's input, as plain data.

    That it is at its end need not be known: who reads on finds the end again.
    """

    dialect: FirstBytesSnapshot = field(factory=FirstBytesSnapshot)
    bucket: BucketSnapshot | None = None


class Detect(Protocol[T_co]):
    """A function that decides what first bytes tell."""

    def __call__(self, first: bytes, /, *, late: bool) -> T_co | None:
        """Give what they tell, or `None` if more are needed; if it is `late`, there are no more."""
        ...


class NoDialect:
    """Stands where no dialect has begun, and nothing is fed."""

    pending = False
    spent = 0.0

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Nothing comes of it."""
        del data, limit
        return []

    def snapshot(self) -> LinesSnapshot:
        """Nothing is known."""
        return LinesSnapshot()


NO_DIALECT = NoDialect()


# --- reading --------------------------------------------------------------------------------------


class Reader:
    """Reads one client, and keeps what has been read and not sent, so that no cancel loses it."""

    __slots__ = (
        "_bucket",
        "_channel",
        "_end",
        "_records",
        "_size",
        "client",
        "connected",
        "dialect",
        "first",
        "link",
    )

    def __init__(
        self,
        client: Session,
        link: Link,
        channel: Channel,
        bucket: TokenBucket | None,
    ) -> None:
        self.client = client
        self.link = link
        self._channel = channel
        self._bucket = bucket
        # The first record, as long as the hub does not know this client.
        self.connected: Connected | None = None
        # As long as no dialect has begun.
        self.first: FirstBytes | None = None
        self.dialect: Dialect = NO_DIALECT
        self._records: Sequence[Record] = ()
        self._size = 0
        # The last record, once nothing more is to be taken.
        self._end: Record | None = None

    # --- over a pause -----------------------------------------------------------------------------

    def snapshot(self) -> ReaderSnapshot:
        """What it knows as plain data, while it stands still."""
        bucket = None if self._bucket is None else self._bucket.snapshot(trio.current_time())
        return ReaderSnapshot(self._input(), bucket)

    def _input(self) -> FirstBytesSnapshot:
        if self.first is not None:
            return self.first.snapshot()
        known = self.dialect.snapshot()
        if isinstance(known, LinesSnapshot):
            return FirstBytesSnapshot(lines=known)
        return FirstBytesSnapshot(frames=known)

    def restore(
        self, snapshot: ReaderSnapshot, table: Mapping[str, Row], settings: Settings
    ) -> None:
        """Go on from what another one knew."""
        dialect, bucket = snapshot.dialect, self._bucket
        if dialect.over or dialect.first is not None:
            self.first = FirstBytes.restored(dialect)
        elif dialect.frames is not None:
            self.dialect = WebSocketDialect.restored(table, settings, dialect.frames)
        else:
            self.dialect = LineDialect.restored(table, settings, dialect.lines)
        if bucket is not None and snapshot.bucket is not None:
            now = trio.current_time()
            self._bucket = TokenBucket.restored(bucket.rate, bucket.burst, snapshot.bucket, now)

    # --- first bytes ------------------------------------------------------------------------------

    async def read_first(self, first: FirstBytes, decide: Detect[T]) -> T | None:
        """Read until `decide` says what the first bytes tell, and give that.

        They have `FIRST_BYTES_SECONDS` from the first of them. `None`: there are no more of them.
        Requests that come together are looked at one by one, as their answers are sent and the rate
        allows.
        """
        link, found = self.link, None
        while (held := self._is_held) or (found := decide(first.unread(), late=first.late)) is None:
            if not held:
                first.set_due()
                if first.data:
                    self._spend(READ_LINES)
            scope, before = await self._next_scope(), first.data
            if scope is None:
                break
            with scope:
                if held:
                    await self._wait_held()
                else:
                    await link.until(self._take_first)
            if first.late:  # and so is what has come just now, whoever has seen it first
                return decide(before, late=True)
        if found is None and link.ending and not link.released:
            first.data += await self._take_last()
            found = decide(first.unread(), late=first.late)
        return found

    @property
    def _is_held(self) -> bool:
        """Whether nothing is to be looked at yet: the client is too fast, or the hub wants so."""
        return self.link.paused is not None or (self._bucket is not None and self._bucket.in_debt)

    async def _wait_held(self) -> None:
        await self.link.wait_allowed()
        if self._bucket is not None and self._bucket.in_debt:
            await trio.sleep(self._bucket.wait())  # too fast
            self._spend(0)

    def _take_first(self) -> bool:
        """Take what has come of the first bytes; whether there is something to look at."""
        first = self.first
        if self.link.paused is not None or first is None:
            return True
        link = self.link
        data = link.take()
        if link.overhead > 0:
            self._spend(link.overhead / LINE_BYTES)
        if data:
            first.data += data
        elif data is not None:
            self._end = Disconnected("closed by the client")
        return data is not None or self._waits

    def reject(self, first: FirstBytes, reason: str, *answers: Record) -> None:
        """Answer a client that is not served, and close it; `reason` is for the log."""
        self._records = (*answers, Disconnected(reason))
        self._size = len(first.data)
        first.over, first.due = True, math.inf

    async def serve(self, first: FirstBytes, size: int, *answer: Record) -> None:
        """Pass on what answers a request of so many bytes; the next one waits for the hub."""
        first.answered(size)
        self._spend(1)
        self.link.pause_reading()
        await self.send(answer, size)

    def go_inside(self, link: TlsLink, first: FirstBytes) -> None:
        """Go on with the first bytes inside of TLS."""
        self.link, self._end = link, None
        first.go_inside()

    def begin(self, dialect: Dialect, data: bytes, *before: Record) -> None:
        """Go on with a dialect, which is fed what there is already; these records come before."""
        self.first, self.dialect = None, dialect
        self._size = len(data)
        self._feed(data)
        if before:
            self._records = [*before, *self._records]

    # --- what a dialect reads ---------------------------------------------------------------------

    async def read_on(self) -> None:
        """Read until the end of the input, or until the hub wants no more, and tell the hub.

        The loop stands here, and not in a function of its own, because each one that waits costs
        every idle connection a frame.
        """
        link = self.link
        link.reader = self
        while (scope := await self._next_scope()) is not None:
            with scope:
                while self._end is None:
                    await self._go_on()
                    await link.until(self._read)
                    await link.wait_allowed()
        if link.released or link.handed_over:
            return
        if link.ending:
            # Lines that waited for the rate go too.
            await self.send(self.dialect.feed(await self._take_last(), MOST_LINES), 0)
        await self._channel.send((self.client, (self._end or InputEnded(),), 0))

    def _read(self) -> bool:
        """Read what has come and pass it on; whether there is something that has to wait."""
        link = self.link
        if link.paused is not None:
            return True
        data = link.take()
        if not data:
            if data is None:
                if link.overhead <= 0:
                    return False
                self._spend(link.overhead / LINE_BYTES)
                return self._waits
            self._end = Disconnected("closed by the client")
            return True
        self._size = len(data)
        self._feed(data, link.overhead)
        if self._records:
            try:
                self._channel.send_nowait((self.client, self._records, len(data)))
            except trio.WouldBlock:
                return True
            self._records = ()
        return self._waits

    @property
    def _waits(self) -> bool:
        """Whether commands wait as bytes, or for the rate."""
        bucket = self._bucket
        return self.dialect.pending or (bucket is not None and bucket.in_debt)

    def _feed(self, data: bytes, overhead: int = 0) -> None:
        """Have records made of what has come, as many as the rate allows; the rest waits."""
        dialect, bucket = self.dialect, self._bucket
        if bucket is None:
            self._records = dialect.feed(data, MOST_LINES)
            return
        allowed = bucket.available(trio.current_time())
        self._records = dialect.feed(data, min(MOST_LINES, allowed))
        bucket.spend(max(dialect.spent, (len(data) + overhead) / LINE_BYTES, READ_LINES))

    def _spend(self, lines: float) -> None:
        if self._bucket is not None:
            self._bucket.available(trio.current_time())
            self._bucket.spend(lines)

    async def _go_on(self) -> None:
        """Pass on what found no room on the channel, and what waits, as fast as the rate allows."""
        if self._records:
            await self._send()
        while self._waits:
            await trio.sleep(0 if self._bucket is None else self._bucket.wait())  # too fast
            await self.link.wait_allowed()
            self._size = 0
            self._feed(b"")
            if self._records:
                await self._send()

    # --- the hub's wishes -------------------------------------------------------------------------

    async def _next_scope(self) -> trio.CancelScope | None:
        """Give the scope in which to read on, after a pause if one is wanted.

        The records at hand are passed on before. `None`: nothing more is to be read.
        """
        link = self.link
        if self._records and not link.released:
            await self._send()
        while link.pause is not None and not link.handed_over and not link.released:
            await self._stand_still(link.pause)
        if self._end is not None or link.ending or link.released or link.handed_over:
            return None
        link.reading = scope = trio.CancelScope()
        if self.first is not None:
            scope.deadline = self.first.due
        return scope

    async def _stand_still(self, pause: Pause) -> None:
        """Wait until a pause is over, or the hub wants something else."""
        since, link = trio.current_time(), self.link
        link.reading = scope = trio.CancelScope()
        if pause.stands(self.client, self):
            await self._channel.send(AllStill())
        with scope:
            await pause.over.wait()
        if self.first is not None:
            self.first.due += trio.current_time() - since
        if link.pause is pause and not link.handed_over:
            link.pause = None

    async def _take_last(self) -> bytes:
        """Take what is there when reading ends; nothing the second time."""
        if self._end is not None:
            return b""
        self._end = InputEnded()
        return await self.link.take_last()

    async def stop(self) -> None:
        """Read no more, and let a pause wait for nothing."""
        link = self.link
        link.reading = None
        if link.pause is not None and link.pause.stands(self.client, self):
            await self._channel.send(AllStill())

    # --- what is sent -----------------------------------------------------------------------------

    async def send(self, records: Sequence[Record], size: int) -> None:
        """Send the hub these records, which come of so many bytes."""
        self._records, self._size = records, size
        if records:
            await self._send()

    async def _send(self) -> None:
        """Send the hub the records at hand; they stay at hand if this is cancelled."""
        item = (self.client, self._records, self._size)
        try:
            self._channel.send_nowait(item)
        except trio.WouldBlock:
            await self._channel.send(item)
        self._records = ()

    async def answer(self, data: bytes) -> None:
        """Send the client what cannot wait for the hub, which has nothing to send there."""
        with trio.move_on_after(ANSWER_SECONDS), contextlib.suppress(*CONNECTION_LOST):
            left = self.link.write(data, None)
            while left:
                await self.link.drain()
                left = self.link.write(None, None)

    def why(self, error: Exception) -> str:
        """Why the connection has failed, for the log."""
        if isinstance(error, HandshakeFailed):
            return str(error)
        if isinstance(error, OSError):
            return f"connection lost: {error.strerror}"
        if isinstance(error, trio.BrokenResourceError):
            return "connection lost"
        extra = {"address": self.link.peer, "client": self.client.user.id}
        logger.error("a connection's task failed", extra=extra, exc_info=error)
        return "an error in its task"

    def close(self) -> None:
        """Close the connection."""
        self.link.reader = None
        self.link.close()
