"""This process's place at the engine: its name, its lease, its turns and its inbox.

A turn that the engine has not answered is *in doubt*: it may count or not. So it is tried again
under the same number, for ever, and the engine carries each number out once.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

import trio
from attrs import field, frozen, mutable

from trio_chat.errors import StoreError
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.arrivals import Parcel
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.codec import number_in
from trio_chat.roomlog.redis.connection import EngineAway, EngineError
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.redis.measures import Measures
from trio_chat.roomlog.retention import DAY
from trio_chat.roomlog.world import Place
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from trio_chat.roomlog.redis.codec import Argument
    from trio_chat.roomlog.redis.connection import Connection
    from trio_chat.roomlog.redis.scripts import Script

logger = logging.getLogger("trio_chat")

# After a restart of the engine, turns wait for so long at most until nodes have put back entries.
RECOVERY_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 0.05

INBOX_ENTRIES: Final = 200
INBOX_SECONDS: Final = 1.0
REAPED_AT_ONCE: Final = 200


class RejoinNeeded(Exception):
    """The engine or the others have gone on without this node: it must begin anew."""


@frozen
class TurnReply:
    """The engine's answer to a turn: its number, the inbox entry before it, and the results."""

    number: int
    barrier: int
    results: list[object]
    turn: str


@mutable(eq=False)
class Node:
    """Speaks with the engine for one process. Each client belongs to one task.

    `seen` is the highest number of a turn that this node knows of, `read` that of the last inbox
    entry that the hub has taken.
    """

    name: str
    lease: float
    grace: float
    connect: Callable[[], Awaitable[Connection]]
    # Called when an engine does not answer, and when one does.
    away: Callable[[str], None]
    back: Callable[[], None]
    epoch: str = ""
    seq: int = 0
    seen: int = 0
    read: int = 0
    identity: str = ""
    secret: str = field(default="", repr=False)
    # The engine's process, and whether it is a new one since this node last registered.
    run_id: str = ""
    # The engine's clock minus Trio's, in seconds.
    clock: float = 0.0
    engine_changed: bool = False
    measures: Measures = field(factory=Measures)
    turns: Client = field(init=False)
    inbox: Client = field(init=False)
    beats: Client = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turns, self.inbox, self.beats = (
            Client(self.connect, KEY, self._greet) for _ in range(3)
        )

    @property
    def next_turn(self) -> str:
        """The identifier of the next turn, or of the one in doubt."""
        return f"{self.name} {self.epoch} {self.seq + 1}"

    @property
    def place(self) -> Place:
        """The place as plain data."""
        return Place(self.name, self.epoch, self.seen, self.read)

    def now(self) -> float:
        """Return the time by the engine's clock, in seconds since 1970."""
        return self.clock + trio.current_time()

    def begin(self, epoch: str, seen: int, read: int) -> None:
        """Begin an epoch, after what is seen and read."""
        self.epoch, self.seq, self.seen, self.read = epoch, 0, seen, read

    def close(self) -> None:
        """Close all connections. Never blocks."""
        for client in (self.turns, self.inbox, self.beats):
            client.close()

    async def _greet(self, client: Client, connection: Connection) -> None:
        window, lease = milliseconds(RECOVERY_SECONDS), milliseconds(self.lease)
        await client.run_on(connection, scripts.HELLO, connection.run_id, window, lease)
        self.measures.engine = connection.place
        self.clock = connection.time - trio.current_time()
        if connection.run_id != self.run_id:
            self.engine_changed = bool(self.run_id)
            self.run_id = connection.run_id

    async def patiently(self, script: Script, *arguments: Argument) -> list[object]:
        """Run a script that may be repeated, until the engine answers.

        It uses the connection for turns. Raises `StoreError` if the engine refuses the first one.
        """
        while True:
            try:
                reply = await self.turns.script(script, *arguments)
            except (EngineAway, EngineError) as error:
                if isinstance(error, EngineError) and not self.epoch:
                    raise StoreError(f"cannot use Redis: {error}") from None
                self.away(str(error))
                await trio.sleep(RETRY_SECONDS)  # before it is tried again
            else:
                self.back()
                return reply

    # --- turns ------------------------------------------------------------------------------------

    async def turn(
        self, limits: tuple[int, int, int], arguments: Sequence[Argument], *, leaving: bool
    ) -> TurnReply:
        """Carry out a turn, once, however often it has to be tried.

        `limits` are those of rooms, of entries a room, and of the bytes of all histories. Raises
        `RejoinNeeded`, or `EngineFull` if it was not carried out because the engine's memory is
        full. `leaving` turns only free memory.
        """
        self.measures.turn_began = trio.current_time()
        try:
            return await self._turn(limits, arguments, leaving=leaving)
        finally:
            self.measures.turn_began = None

    async def _turn(
        self, limits: tuple[int, int, int], arguments: Sequence[Argument], *, leaving: bool
    ) -> TurnReply:
        script = scripts.LEAVING_TURN if leaving else scripts.TURN
        seq = self.seq + 1
        while not self.engine_changed:
            began = perf_counter()
            try:
                reply = await self.turns.script(
                    script, self.name, self.epoch, seq, self.seen, *limits, *arguments
                )
            except EngineAway as error:
                self.measures.retries += 1
                self.away(str(error))
                await trio.sleep(RETRY_SECONDS)  # before it is tried again
                continue
            self.measures.round_trips.add(perf_counter() - began)
            match reply:
                case [int(number), *_]:
                    self.seq, self.seen = seq, max(self.seen, number)
                    self.back()
                    return turn_reply(reply, f"{self.name} {self.epoch} {seq}")
                case [b"WAIT"]:
                    await trio.sleep(RETRY_SECONDS)  # until the engine's recovery is over
                case _:
                    self._note_refusal(reply)
                    break
        raise RejoinNeeded

    def _note_refusal(self, reply: list[object]) -> None:
        if reply == [b"FENCED"]:
            self.measures.lose_lease(self.epoch)

    # --- inbox and lease --------------------------------------------------------------------------

    async def parcels(self, after: int) -> list[Parcel]:
        """Return the next parcels of the inbox; none if nothing comes for a second.

        Raises `EngineAway`, and `RejoinNeeded` if entries are missing.
        """
        key = f"{KEY}:in:{self.name}"
        reply = await self.inbox.call(
            *("XREAD", "COUNT", INBOX_ENTRIES, "BLOCK", milliseconds(INBOX_SECONDS)),
            *("STREAMS", key, f"{after}-{_LAST_PART}"),
            seconds=INBOX_SECONDS + 2.0,
        )
        if not reply:
            return []
        found: list[Parcel] = []
        items: list[bytes] = []
        [[_, entries]] = cast("list[list[list[list[bytes]]]]", reply)
        for entry_id, fields in cast("list[tuple[bytes, list[bytes]]]", entries):
            number = number_in(entry_id)
            # p and the number before this one, m and whether more parts follow, i and the turn
            before, more, turn = int(fields[1]), fields[3], fields[5]
            if not items and before > after:
                raise RejoinNeeded
            items += fields[6:]
            if more == b"0":
                found.append(Parcel(number, turn, items))
                after, items = number, []
        return found

    async def beat(self, clients: int, days: float, kept: Collection[str] | None) -> bool:
        """Renew the lease, drop some entries that are too old, and end users of dead nodes.

        Operators learn the number of `clients`. Entries are kept for so many `days`, or always with
        0. `kept` are the rooms that exist without members, if they have changed. Returns false if
        nothing could be done now. Raises `RejoinNeeded` and `EngineAway`.
        """
        before, lease, measures = trio.current_time(), milliseconds(self.lease), self.measures
        rules: list[Argument] = [milliseconds(days * DAY), int(kept is not None), *(kept or ())]
        reply = await self.beats.script(
            *(scripts.BEAT, self.name, self.epoch, lease, self.seen, self.read, _about(clients)),
            *rules,
        )
        match reply:
            case [b"OK", int(), bytes(dead), int(orphans), int(), *counts]:
                measures.lease_ends = before + self.lease
                measures.unread, measures.nodes, measures.users = cast("list[int]", counts)
                if dead:
                    await self._reap(dead.decode())
                if orphans:
                    await self._reap("")
                return True
            case [b"WAIT"]:
                return False
            case _:
                self._note_refusal(reply)
                raise RejoinNeeded

    async def _reap(self, node: str) -> None:
        left: object = 1
        while left:
            [left] = await self.beats.script(scripts.REAP, node, 0, "", REAPED_AT_ONCE)


# An inbox entry may have several parts. This is more than any of their numbers.
_LAST_PART: Final = 1_000_000


def turn_reply(reply: object, turn: str) -> TurnReply:
    """Read the engine's answer to a turn with this identifier."""
    number, barrier, results = cast("tuple[int, int, list[object]]", reply)
    return TurnReply(number, barrier, results, turn)


def _about(clients: int) -> str:
    """Return what a node says of itself."""
    about = {"version": version(), "machine": socket.gethostname(), "process": os.getpid()}
    return json.dumps({**about, "clients": clients})


def milliseconds(seconds: float) -> int:
    """Round seconds to whole milliseconds."""
    return round(seconds * 1000)
