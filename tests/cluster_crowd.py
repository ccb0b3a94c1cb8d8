"""A crowd on several nodes that talks all the time, in a thread of its own.

It notes contradictions at once. `cluster_judge` compares everything at the end.
"""

from __future__ import annotations

import os
import queue
import random
import resource
import select
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import TypeVar

from cluster_members import Client, Late, Line, Loud, Wanderer, Web
from crowd_members import Loop

T = TypeVar("T")
BUSY = "#busy"
PATIENCE = 30  # seconds until those who have not come in or ended are told


class ClusterCrowd:
    """Members that stay, half of them by WebSocket, and wanderers who come and go.

    A room is so busy that those who do not read there lag.

    `ports` has the port of each node. A node in `suspects` may end connections: nobody dials one in
    `down`.
    """

    def __init__(
        self,
        ports: dict[str, int],
        *,
        clients: int = 24,
        rooms: int = 4,
        wanderers: int = 6,
        rate: float = 5.0,
        seed: int = 0,
    ) -> None:
        self.ports, self.rate, self.choose = ports, rate, random.Random(seed)
        self.down: set[str] = set()
        self.suspects: set[str] = set()
        # Whether the engine may have lost its last entries, and who has which nick.
        self.rolled_back = False
        self.lossy = False  # whether history may be lost, as with an engine that is emptied
        self.rooms = [BUSY, *(f"#r{number}" for number in range(rooms))]
        self.names = count()
        self.known: dict[str, str] = {}
        self.order: dict[str, dict[int, str]] = {room: {} for room in self.rooms}
        self.times: dict[str, dict[int, float]] = {room: {} for room in self.rooms}
        self.topics: set[str] = set()
        self.tells: dict[str, Client] = {}
        self.tells_heard: Counter[str] = Counter()
        self.holders: dict[str, Wanderer] = {}
        self.refusals_to_resume = 0
        # Members that were told of missed entries since then: rooms, counts, and words about them.
        self.missed: list[tuple[str, int, str]] = []
        self.wrongs: dict[str, list[str]] = {}
        self.talking = False
        self.webs: list[Web] = []
        self.lines: list[Line] = []
        self.wanderers: set[Wanderer] = set()
        self.gone: list[Wanderer] = []
        self._size = (clients, wanderers)
        self._raise_descriptor_limit()
        self.loop = Loop()
        self._closed = False
        self._calls: queue.SimpleQueue[tuple[Callable[[], object], Future]] = queue.SimpleQueue()
        self._wakes, self._wake = os.pipe()
        self.loop.epoll.register(self._wakes, select.EPOLLIN)
        self.loop.ready[self._wakes] = self._obey
        self._thread = threading.Thread(target=self._run, name="crowd", daemon=True)
        self._thread.start()

    # --- what a test does with it; all of it waits ------------------------------------------------

    def come_in(self) -> None:
        self.do(self._come_in)
        self.until(lambda: all(member.inside for member in self.members), "come in")

    def talk(self) -> None:
        self.do(self._talk)

    def hush(self) -> None:
        """Have all end what they are saying, and the wanderers leave."""
        self.do(self._hush)
        self.until(lambda: not self.wanderers, "left")
        self.until(lambda: not self._waiting(), "been let go after /quit", self._waiting)
        self.until(lambda: not self._unanswered(), "had an answer", self._unanswered)

    def until(
        self,
        holds: Callable[[], object],
        what: str,
        why: Callable[[], object] = lambda: "",
        patience: float = PATIENCE,
    ) -> bool:
        """Wait for this; if it does not come about, note who was meant."""
        end = time.monotonic() + patience
        while not self.do(holds):
            if time.monotonic() > end:
                self.wrong("stuck", f"not all have {what} in {patience:g} seconds {self.do(why)}")
                return False
            time.sleep(0.02)  # none of what is waited for tells anyone
        return True

    def do(self, call: Callable[[], T]) -> T:
        """Call this in the thread of the crowd."""
        future: Future[T] = Future()
        self._calls.put((call, future))
        os.write(self._wake, b"x")
        return future.result(PATIENCE)

    def close(self) -> None:
        self.do(self._close)
        self._thread.join()
        self.loop.epoll.close()
        os.close(self._wakes)
        os.close(self._wake)

    # --- what the members tell it -----------------------------------------------------------------

    @property
    def members(self) -> list[Client]:
        """The clients who have come to stay."""
        return [*self.webs, *self.lines]

    def wrong(self, kind: str, what: str) -> None:
        self.wrongs.setdefault(kind, []).append(what)

    def heard(self, room: str, position: int, mark: str, when: float, *, topic: bool) -> None:
        known = self.order[room].setdefault(position, mark)
        if known != mark or self.times[room].setdefault(position, when) != when:
            self.wrong("doubled or reordered", f"{room} {position}: {known} and {mark}")
        if topic:
            self.topics.add(mark)

    def heard_tell(self, mark: str, by: Web) -> None:
        self.tells_heard[mark] += 1
        if self.tells_heard[mark] > 1 or self.tells.get(mark) is not by:
            self.wrong("doubled or reordered", f"{by.nick} is told {mark}")

    def miss(self, member: Client, room: str, count: int) -> None:
        what = f"{member.nick} on {member.node} misses {count} in {room}"
        if self.rolled_back:
            self.missed.append((room, count, what))
        else:
            self.wrong("lost", what)

    def not_resumed(self, member: Web, event: dict) -> None:
        self.refusals_to_resume += 1
        # An engine that was emptied has forgotten the users of a node that was not there.
        if not self.lossy:
            self.wrong("not resumed", f"{member.nick} on {member.node}: {event}")

    def hold(self, nick: str, holder: Wanderer) -> None:
        """Note that a nick is its holder's, until `release`."""
        other = self.holders.get(nick)
        if other not in (None, holder) and not (
            self.rolled_back or {other.node, holder.node} & self.suspects
        ):
            self.wrong("ghost", f"{nick} is held by {other.name} and {holder.name}")
        self.holders[nick] = holder

    def release(self, holder: Wanderer) -> None:
        if self.holders.get(holder.nick) is holder:
            del self.holders[holder.nick]

    def suspect(self, node: str) -> None:
        """Allow a node to end connections, and to know who has which nick too late."""
        self.suspects.add(node)
        held = {nick: one for nick, one in self.holders.items() if one.node != node}
        self.holders = held

    def may_end(self, node: str) -> bool:
        return node in self.suspects or self._closed

    def some_node(self) -> str:
        return self.choose.choice(sorted(self.ports.keys() - self.down) or sorted(self.ports))

    def someone(self, but: Web) -> Web:
        return self.choose.choice([web for web in self.webs if web is not but])

    def pause(self) -> float:
        """The seconds until a member says something again."""
        return self.choose.uniform(0.5, 1.5) / self.rate

    def wander(self) -> None:
        if self.talking:
            Wanderer(self, self.some_node())

    # --- in its thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        self.loop.run(lambda: self._closed)

    def _obey(self, _: int) -> None:
        os.read(self._wakes, 1 << 10)
        while not self._calls.empty():
            call, future = self._calls.get()
            try:
                future.set_result(call())
            except BaseException as exc:  # noqa: BLE001 - whoever asked gets it
                future.set_exception(exc)

    def _come_in(self) -> None:
        clients, _ = self._size
        nodes = sorted(self.ports)
        rooms = self.rooms[1:]
        self.webs += [Loud(self, f"b-{node}", node, BUSY) for node in nodes]
        self.webs += [Late(self, f"late-{node}", node, BUSY) for node in nodes]
        for number in range(clients):
            room = rooms[number % len(rooms)]
            row = number // len(rooms)
            # Those of one room are on all nodes, and both kinds are on each.
            node = nodes[(number + row) % len(nodes)]
            if row // len(nodes) % 2:
                self.lines.append(Line(self, f"l{number}", node, room))
            else:
                self.webs.append(Web(self, f"m{number}", node, room))

    def _talk(self) -> None:
        self.talking = True
        for member in self.members:
            self.loop.later(self.pause(), member.talk)
        for _ in range(self._size[1]):
            self.wander()

    def _hush(self) -> None:
        self.talking = False

    def _waiting(self) -> list[str]:
        return [f"{one.nick} on {one.node}" for one in self.gone if one.connected]

    def _unanswered(self) -> list[str]:
        return [
            f"{member.nick} on {member.node}"
            for member in self.members
            if member.open or (isinstance(member, Web) and not (member.connected and member.inside))
        ]

    def _close(self) -> None:
        self._closed = True
        for member in [*self.members, *self.wanderers, *self.gone]:
            member.finished = True
            if member.link is not None:
                member.link.close()

    def _raise_descriptor_limit(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
