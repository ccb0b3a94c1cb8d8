"""A room log that many machines share, on Redis: `open_redis_log`.

The hub submits turns, and takes answers and the entries of other nodes. `exchange` has the tasks
that speak with the engine meanwhile.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import trio
from attrs import evolve

from trio_chat.metrics.node import NodeStatistics
from trio_chat.roomlog import FromLog
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.redis.arrivals import Answer, Arrivals, Parcel
from trio_chat.roomlog.redis.availability import Availability
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.codec import batch_from_inbox, from_wire
from trio_chat.roomlog.redis.exchange import Exchange
from trio_chat.roomlog.redis.history import History, patiently
from trio_chat.roomlog.redis.joining import Joining
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.redis.known_rooms import KnownRooms
from trio_chat.roomlog.redis.membership import Membership
from trio_chat.roomlog.redis.node import Node, milliseconds
from trio_chat.roomlog.redis.post import Post
from trio_chat.roomlog.redis.rules import Rules
from trio_chat.roomlog.redis.tail import TAIL_BYTES, Tail
from trio_chat.roomlog.room_history import HistoriesSnapshot

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence

    from trio_chat.errors import Refused
    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.roomlog import Stretch
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.logged_room import LoggedRoom
    from trio_chat.roomlog.redis.codec import Batch
    from trio_chat.roomlog.redis.connection import Connection
    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.rules import Action
    from trio_chat.roomlog.world import Attendance, Place

LEAVE_SECONDS: Final = 5.0
# An engine that is away will hardly come back now, and then the lease ends by itself.
AWAY_LEAVE_SECONDS: Final = 0.5


class RedisLog:
    """The log of one node; see `trio_chat.roomlog.SharedLog`."""

    shared: Literal[True] = True
    lock: None = None
    at_hand: None = None

    def __init__(self, node: Node, retention: Retention, reads: Client, peers: Post) -> None:
        self.commits = Commits()
        self.peers = peers
        self.node = node
        self._rooms = KnownRooms()
        self.rules = Rules(retention, milliseconds(node.grace), node.now, self._rooms.state)
        self._history = History(reads, self.rules.oldest)
        self._tail = Tail()
        self.arrivals = Arrivals()
        self.availability = Availability(self.commits, node.measures)
        self._joining = Joining(
            node,
            Membership(node),
            self.arrivals,
            self._tail,
            self._history,
            self.rules,
            self._rooms.state,
            self._learn,
        )
        self.exchange = Exchange(
            node,
            self._joining,
            self.arrivals,
            self._tail,
            self.rules,
            self.availability,
            self.commits,
        )

    # --- for the hub ------------------------------------------------------------------------------

    @property
    def identity(self) -> str:
        """The log's name; see `RoomLog.identity`."""
        return self.node.identity

    @property
    def secret(self) -> str:
        """The log's secret, which all nodes share; see `RoomLog.secret`."""
        return self.node.secret

    @property
    def is_handed_over(self) -> bool:
        """Whether another process goes on in this node's place, once the chat has ended."""
        return self.exchange.paused

    @property
    def place(self) -> Place:
        """This node's place, for the next process."""
        return self.node.place

    def attend(self, attendance: Attendance, arrived: Callable[[], None]) -> None:
        """Take the view of the hub's users, and the function that wakes the hub."""
        self.rules.attendance = attendance
        self.exchange.attend()
        self.arrivals.attend(arrived)

    def allow(self, max_rooms: int, kept: Collection[str]) -> None:
        """Apply these rules from now on. The rooms in `kept` exist even without members."""
        self.rules.max_rooms, self.rules.kept = max_rooms, frozenset(kept)

    @property
    def unavailable(self) -> Refused | None:
        """Why no new drafts can be taken now, or `None`."""
        return self.availability.refusal

    def submit(self, drafts: Sequence[Entry]) -> None:
        """Give the engine the drafts of a turn. Never blocks."""
        self.exchange.submit(drafts)

    def take(self) -> FromLog | None:
        """Take the next item, or `None` if there is none yet. Never blocks."""
        arrival = self.arrivals.take()
        if arrival is None:
            return None
        if isinstance(arrival, Parcel):
            self.node.read = arrival.number
            self.node.seen = max(self.node.seen, arrival.number)
            return FromLog(self._unpack(arrival))
        if isinstance(arrival, Answer):
            operations = arrival.operations
            results = operations.entries(arrival.results, arrival.turn, self._keep, self._learn)
            return FromLog(answer=results)
        for room, state in arrival.rooms.items():
            self._learn(room, state)
        return FromLog(world=arrival)

    def snapshot(self, room: str) -> LoggedRoom:
        """Return the state of a room after everything taken so far."""
        return evolve(self._rooms.state(room), log=self.identity)

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return entries after a position; waits for an engine that is away."""
        return await patiently(partial(self._history.read, room, after, limit))

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """Return the newest entries before a position."""
        return await self._history.before(room, position, limit)

    async def actions(self, room: str, before: int | None, limit: int) -> list[Action]:
        """Return the newest actions of a room before a position."""
        return await self._history.actions(room, before, limit)

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait for a moderator."""
        return await self._history.held(room)

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Search a stretch of a room."""
        return await self._history.search(room, words, limit, before)

    def histories(self) -> HistoriesSnapshot:
        """Return nothing: histories do not end with this process."""
        return HistoriesSnapshot()

    async def check(self) -> None:
        """Do nothing: the next process finds the engine as this one has."""
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        """Leave the inbox alone. The lease is still renewed."""
        await trio.lowlevel.checkpoint()
        self.peers.pause()
        self.exchange.pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self.peers.resume()
        self.exchange.resume()

    def retain(self, retention: Retention) -> None:
        """Apply another retention from the next turn on."""
        self.rules.retention = retention

    def statistics(self) -> NodeStatistics:
        """Return the numbers of this node."""
        node, measures = self.node, self.node.measures
        return NodeStatistics(
            name=node.name,
            engine=measures.engine,
            up=measures.up,
            joined=not self.availability.is_apart,
            since=measures.since,
            problem=self.availability.problem,
            nodes=measures.nodes,
            users=measures.users,
            lease=node.lease,
            lease_left=measures.lease_left,
            fenced=measures.fenced,
            round_trips=measures.round_trips.copy(),
            in_doubt=measures.in_doubt,
            retries=measures.retries,
            unread=measures.unread,
            tail_bytes=self._tail.bytes,
            tail_most=TAIL_BYTES,
            restored=measures.restored,
        )

    # --- what has arrived -------------------------------------------------------------------------

    def _unpack(self, parcel: Parcel) -> list[Entry]:
        entries: list[Entry] = []
        batches: list[Batch] = []
        turn = parcel.turn.decode()
        for about, value in zip(parcel.items[::2], parcel.items[1::2], strict=True):
            if about.startswith(b"S"):
                batch = batch_from_inbox(about, turn, value)
                batches.append(batch)
                ruled = None if batch.is_spoken else batch.ruled()
                entries += batch.entries() if ruled is None else [ruled]
            elif about == b"P" or (about == b"E" and parcel.number > self._joining.world_turn):
                entry = from_wire(value)
                if entry is not None:
                    entries.append(entry)
        self._keep(batches)
        return entries

    def _keep(self, batches: Sequence[Batch]) -> None:
        """Keep the batches of a turn that this node sees, as long as the engine may lose them."""
        self._tail.keep(batches)
        for batch in batches:
            self._rooms.saw(batch)

    def _learn(self, room: str, state: LoggedRoom) -> None:
        self._rooms.learn(room, state, self._occupied)

    def _occupied(self) -> Collection[str]:
        attendance = self.rules.attendance
        return () if attendance is None else attendance.positions()


@asynccontextmanager
async def open_redis_log(
    connect: Callable[[], Awaitable[Connection]],
    retention: Retention,
    *,
    name: str,
    lease: float,
    grace: float,
    kept_rooms: Collection[str] = (),
    place: Place | None = None,
) -> AsyncGenerator[RedisLog, None]:
    """Open the log of a node, for the length of a block.

    `lease` and `grace` are in seconds: how long the node may be silent, and how long a user whose
    node is gone may resume. `place` is that of a process before this one, which has let go of it.

    Raises `StoreError` if the engine cannot be used.
    """
    log: RedisLog

    def away(reason: str) -> None:
        log.availability.away(reason)

    def back() -> None:
        log.availability.back()

    node = Node(name, lease, grace, connect, away, back)
    reads, post = Client(connect, KEY), Post(name, connect, KEY)
    log = RedisLog(node, retention, reads, post)
    log.allow(retention.rooms, kept_rooms)
    try:
        await log.exchange.begin(place)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.exchange.run)
            try:
                yield log
            finally:
                nursery.cancel_scope.cancel("the chat has stopped")
        if not log.is_handed_over:
            patience = LEAVE_SECONDS if log.unavailable is None else AWAY_LEAVE_SECONDS
            with trio.move_on_after(patience, shield=True):
                await Membership(node).leave()
    finally:
        node.close()
        reads.close()
        post.close()
