"""Reads one client: takes bytes, lets the dialect make records of them, and passes those on."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import trio
from attrs import define, field

from trio_chat.dialects.irc.frames import IrcFramesDialect, IrcFramesSnapshot
from trio_chat.dialects.irc.reading import IrcDialect, IrcSnapshot
from trio_chat.dialects.line import LineDialect, LinesSnapshot
from trio_chat.dialects.websocket import WebSocketDialect
from trio_chat.hub.hub import TURN_RECORDS
from trio_chat.hub.inbox import AllStill, Connected, InputEnded
from trio_chat.hub.session import Session
from trio_chat.protocol.commands import Disconnected, ShowGreeting
from trio_chat.transports.first_bytes import FirstBytes, FirstBytesSnapshot
from trio_chat.transports.rate_limit import BucketSnapshot, TokenBucket
from trio_chat.transports.tcp import SocketLink
from trio_chat.transports.tls import TlsLink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Dialect
    from trio_chat.hub.inbox import Item, Record
    from trio_chat.hub.pause import Pause
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.rows import Row
    from trio_chat.transports.stream import StreamLink

    Link: TypeAlias = SocketLink | TlsLink | StreamLink
    Channel: TypeAlias = trio.MemorySendChannel[Item]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

# The rate limit also counts input that makes no line: this many bytes as a line, and each read as a
# part of a line. Some telnets send a read for each key.
LINE_BYTES = 4_096
READ_LINES = 0.02
# Records of one read, at most, whatever the rate allows. More than a turn of the hub takes are
# better left as bytes.
MOST_LINES = TURN_RECORDS

# Seconds for an answer that does not wait for the hub.
ANSWER_SECONDS = 10.0
# A paste comes line by line, and its lines follow each other faster than this.
REST_SECONDS = 0.5

CONNECTION_LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


def bucket_of(settings: Settings) -> TokenBucket | None:
    """Return a full bucket, or `None` without a rate limit."""
    if settings.rate_limit is None:
        return None
    return TokenBucket(settings.rate_limit, settings.rate_burst)


@define
class ReaderSnapshot:
    """The state of a client's input, as plain data.

    It need not tell that the input has ended: the next reader finds the end again.
    """

    dialect: FirstBytesSnapshot = field(factory=FirstBytesSnapshot)
    bucket: BucketSnapshot | None = None


class Detect(Protocol[T_co]):
    """A function that decides what first bytes tell."""

    def __call__(self, first: bytes, /, *, late: bool) -> T_co | None:
        """Return what they tell; `None` if more are needed. If `late`, no more will come."""
        ...


class NoDialect:
    """The dialect before one has begun. Nothing is fed to it."""

    pending = False
    spent = 0.0
    unsettled = False

    def feed(self, data: bytes, limit: float | None = None) -> list[Command]:
        """Return no records."""
        del data, limit
        return []

    def at_rest(self) -> list[Command]:
        """Return no records."""
        return []

    def snapshot(self) -> LinesSnapshot:
        """Return no state."""
        return LinesSnapshot()


NO_DIALECT = NoDialect()


class Reader:
    """Reads one client. Input that was read but not sent stays here, so no cancel loses it."""

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
        "rest_at",
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
        # The first record, while the hub does not know this client yet.
        self.connected: Connected | None = None
        # Set until a dialect has begun.
        self.first: FirstBytes | None = None
        self.dialect: Dialect = NO_DIALECT
        # When the dialect is to be told that no more input has come, by Trio's clock.
        self.rest_at = math.inf
        self._records: Sequence[Record] = ()
        self._size = 0
        # The last record, once no more input is to be taken.
        self._end: Record | None = None

    # --- over a pause -----------------------------------------------------------------------------

    def snapshot(self) -> ReaderSnapshot:
        """Return the state as plain data, while the reader stands still."""
        bucket = None if self._bucket is None else self._bucket.snapshot(trio.current_time())
        return ReaderSnapshot(self._input(), bucket)

    def _input(self) -> FirstBytesSnapshot:
        if self.first is not None:
            return self.first.snapshot()
        known = self.dialect.snapshot()
        if isinstance(known, LinesSnapshot):
            return FirstBytesSnapshot(lines=known)
        if isinstance(known, IrcFramesSnapshot):
            return FirstBytesSnapshot(frames=known.frames, irc=known.irc)
        if isinstance(known, IrcSnapshot):
            return FirstBytesSnapshot(irc=known)
        return FirstBytesSnapshot(frames=known)

    def restore(
        self, snapshot: ReaderSnapshot, table: Mapping[str, Row], settings: Settings
    ) -> None:
        """Continue from the state of another reader."""
        dialect, bucket = snapshot.dialect, self._bucket
        if dialect.over or dialect.first is not None:
            self.first = FirstBytes.restored(dialect)
        elif dialect.frames is not None and dialect.irc is not None:
            both = IrcFramesSnapshot(dialect.frames, dialect.irc)
            self.dialect = IrcFramesDialect.restored(table, settings, both)
        elif dialect.frames is not None:
            self.dialect = WebSocketDialect.restored(table, settings, dialect.frames)
        elif dialect.irc is not None:
            self.dialect = IrcDialect.restored(table, settings, dialect.irc)
        else:
            self.dialect = LineDialect.restored(table, settings, dialect.lines)
        if self.dialect.unsettled:
            self._rest_soon()
        if bucket is not None and snapshot.bucket is not None:
            now = trio.current_time()
            self._bucket = TokenBucket.restored(bucket.rate, bucket.burst, snapshot.bucket, now)

    def rest(self, begin: Callable[[], None]) -> bool:
        """Call `begin`, to start the client's task, once there is something for it to do.

        Returns `False` if there is something already.
        """
        link = self.link
        has_to_do = self.first is not None or self._waits or self.dialect.unsettled
        if has_to_do or not isinstance(link, SocketLink):
            return False
        return link.rest(self, begin)

    # --- first bytes ------------------------------------------------------------------------------

    async def read_first(self, first: FirstBytes, decide: Detect[T]) -> T | None:
        """Read until `decide` says what the first bytes tell, and return that.

        They have `FIRST_BYTES_SECONDS` from the first of them. Returns `None` if no more come.
        Requests that come together are handled one by one, as their answers are sent and as the
        rate allows.
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
            if first.late:  # bytes that another read took just now are late too
                return decide(before, late=True)
            if first.greet():
                await self.send((ShowGreeting(),), 0)
        if found is None and link.ending and not link.released:
            first.data += await self._take_last()
            found = decide(first.unread(), late=first.late)
        return found

    @property
    def _is_held(self) -> bool:
        """Whether reading has to wait: the client is too fast, or the hub has paused it."""
        return self.link.paused is not None or (self._bucket is not None and self._bucket.in_debt)

    async def _wait_held(self) -> None:
        await self.link.wait_allowed()
        if self._bucket is not None and self._bucket.in_debt:
            await trio.sleep(self._bucket.wait())  # the client sends faster than its rate
            self._spend(0)

    def _take_first(self) -> bool:
        """Take first bytes that have come. Return whether there is something to look at."""
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
        """Answer a rejected client, and close its connection. `reason` is for the log."""
        self._records = (*answers, Disconnected(reason))
        self._size = len(first.data)
        first.over, first.due = True, math.inf

    async def serve(self, first: FirstBytes, size: int, *answer: Record) -> None:
        """Pass on the answer to a request of this size. The next request waits for the hub."""
        first.answered(size)
        self._spend(1)
        self.link.pause_reading()
        await self.send(answer, size)

    def go_inside(self, link: TlsLink, first: FirstBytes) -> None:
        """Continue with the first bytes inside TLS."""
        self.link, self._end = link, None
        first.go_inside()

    def begin(self, dialect: Dialect, data: bytes, *before: Record) -> None:
        """Begin a dialect with the bytes that are there already, after these records."""
        self.first, self.dialect = None, dialect
        self._size = len(data)
        self._feed(data)
        if before:
            self._records = [*before, *self._records]

    # --- what a dialect reads ---------------------------------------------------------------------

    async def read_on(self) -> None:
        """Read until the input ends or the hub wants no more, and tell the hub about the end.

        The loop is here and not in a function of its own, as each waiting frame costs memory in
        every idle connection.
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
            # Lines that waited for the rate are passed on too.
            await self.send(self.dialect.feed(await self._take_last(), MOST_LINES), 0)
        last = (*self.dialect.at_rest(), self._end or InputEnded())
        await self._channel.send((self.client, last, 0))

    def _read(self) -> bool:
        """Read what has come and pass it on. Return whether something has to wait."""
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
        dialect, bucket = self.dialect, self._bucket
        self._size = size = len(data)
        if bucket is None:  # as in `_feed`, without a call
            self._records = dialect.feed(data, MOST_LINES)
            if dialect.unsettled:
                self._rest_soon()
        else:
            self._feed(data, link.overhead)
        if records := self._records:
            try:
                self._channel.send_nowait((self.client, records, size))
            except trio.WouldBlock:
                return True
            self._records = ()
        return dialect.pending or (bucket is not None and bucket.in_debt)

    @property
    def _waits(self) -> bool:
        """Whether input has to wait: as bytes of the dialect, or for the rate."""
        bucket = self._bucket
        return self.dialect.pending or (bucket is not None and bucket.in_debt)

    def _feed(self, data: bytes, overhead: int = 0) -> None:
        """Make records of new bytes, as many as the rate allows. The rest waits."""
        dialect, bucket = self.dialect, self._bucket
        if bucket is None:
            records = dialect.feed(data, MOST_LINES)
        else:
            allowed = bucket.available(trio.current_time())
            records = dialect.feed(data, min(MOST_LINES, allowed))
            bucket.spend(max(dialect.spent, (len(data) + overhead) / LINE_BYTES, READ_LINES))
        self._records = records
        if dialect.unsettled:
            self._rest_soon()

    def _rest_soon(self) -> None:
        """Have `_rest` called after a moment, unless more input comes before."""
        self.rest_at = trio.current_time() + REST_SECONDS
        if self.link.reading is not None:
            self.link.reading.deadline = self.rest_at

    def _rest(self) -> None:
        """Take the records for a moment of silence, unless lines still wait for the rate."""
        if self._waits:
            self._rest_soon()
            return
        self.rest_at = math.inf
        self._records = [*self._records, *self.dialect.at_rest()]

    def _spend(self, lines: float) -> None:
        if self._bucket is not None:
            self._bucket.available(trio.current_time())
            self._bucket.spend(lines)

    async def _go_on(self) -> None:
        """Pass on records that found no room on the channel, and others as the rate allows."""
        if self._records:
            await self._send()
        while self._waits:
            # The client sends faster than its rate, or more at once than a turn takes.
            await trio.sleep(0 if self._bucket is None else self._bucket.wait())
            await self.link.wait_allowed()
            self._size = 0
            self._feed(b"")
            if self._records:
                await self._send()

    # --- the hub's wishes -------------------------------------------------------------------------

    async def _next_scope(self) -> trio.CancelScope | None:
        """Return the scope in which to read on, after a pause if the hub wants one.

        Records that are ready are passed on first. Returns `None` if no more is to be read.
        """
        link = self.link
        if self.first is None and trio.current_time() >= self.rest_at:
            self._rest()
        if self._records and not link.released:
            await self._send()
        while link.pause is not None and not link.handed_over and not link.released:
            await self._stand_still(link.pause)
        if self._end is not None or link.ending or link.released or link.handed_over:
            return None
        link.reading = scope = trio.CancelScope()
        scope.deadline = self.rest_at
        if self.first is not None:
            scope.deadline = min(self.first.due, self.first.greet_at)
        return scope

    async def _stand_still(self, pause: Pause) -> None:
        """Wait until a pause is over, or until the hub wants something else."""
        since, link = trio.current_time(), self.link
        link.reading = scope = trio.CancelScope()
        if pause.stands(self.client, self):
            await self._channel.send(AllStill())
        with scope:
            await pause.over.wait()
        if self.first is not None:
            self.first.due += trio.current_time() - since
            self.first.greet_at += trio.current_time() - since
        if link.pause is pause and not link.handed_over:
            link.pause = None

    async def _take_last(self) -> bytes:
        """Take the bytes that are there when reading ends; nothing the second time."""
        if self._end is not None:
            return b""
        self._end = InputEnded()
        return await self.link.take_last()

    async def stop(self) -> None:
        """Read no more, and let no pause wait for this reader."""
        link = self.link
        link.reading = None
        if link.pause is not None and link.pause.stands(self.client, self):
            await self._channel.send(AllStill())

    # --- what is sent -----------------------------------------------------------------------------

    async def send(self, records: Sequence[Record], size: int) -> None:
        """Send the hub these records, which this many bytes have led to."""
        self._records, self._size = records, size
        if records:
            await self._send()

    async def _send(self) -> None:
        """Send the hub the ready records. They stay ready if this is cancelled."""
        item = (self.client, self._records, self._size)
        try:
            self._channel.send_nowait(item)
        except trio.WouldBlock:
            await self._channel.send(item)
        self._records = ()

    async def answer(self, data: bytes) -> None:
        """Send an answer that cannot wait for the hub, which sends nothing meanwhile."""
        with trio.move_on_after(ANSWER_SECONDS), contextlib.suppress(*CONNECTION_LOST):
            left = self.link.write(data, None)
            while left:
                await self.link.drain()
                left = self.link.write(None, None)

    def close(self) -> None:
        """Close the connection."""
        self.link.reader = None
        self.link.close()
