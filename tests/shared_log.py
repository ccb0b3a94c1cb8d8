"""A room log that several chats of one process share: it answers after a while, and may stall.

The engine has the one order, the history and the table of claims. Each chat has the log of a node.
A node gets the entries of the others and its own answers in the engine's order, as late as the test
says. All of it runs by the clock of the test.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Literal
from unittest import mock

import trio
from attrs import define, evolve, field

from trio_chat import Chat, Settings, open_chat
from trio_chat.errors import Code, Refused
from trio_chat.hub.user import ANONYMOUS
from trio_chat.protocol.events import (
    PERSISTENT,
    Entered,
    Entry,
    Exited,
    Gone,
    NickChanged,
    PersistentEntry,
    TopicSet,
)
from trio_chat.protocol.names import Name
from trio_chat.roomlog import FromLog, Stretch
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.holding import Waiting
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.room_history import HistoriesSnapshot
from trio_chat.roomlog.rules import Action
from trio_chat.roomlog.world import Attendance

DELAY = 0.01  # seconds, each way
REFUSAL = "the server cannot do that now; please try again later"


@define
class Person:
    """A user as the engine knows it; `node` is where it is."""

    node: NodeLog | None
    name: Name | None = None
    rooms: dict[str, None] = field(factory=dict)


class Engine:
    """The part that all nodes share. `order` has every entry there has been.

    `refuses` says which drafts are refused, whatever else speaks for them. Leaves never are.
    """

    def __init__(self, retention: Retention | None = None) -> None:
        self.log = MemoryLog(retention or Retention(100_000, 1_000))
        self.order: list[Entry] = []
        self.people: dict[str, Person] = {}
        self.nodes: list[NodeLog] = []
        self.refuses: Callable[[Entry], bool] = lambda _: False
        # Rooms with members, and the name that each is shown by.
        self._shown: dict[str, str] = {}

    @asynccontextmanager
    async def open_log(self, *_: object) -> AsyncIterator[NodeLog]:
        """A log for one more node; in place of `trio_chat.server.opening._open_log`."""
        node = NodeLog(self)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.carry_drafts)
            nursery.start_soon(node.carry_news)
            self.nodes.append(node)
            node.tell(FromLog(self._world()))
            try:
                yield node
            finally:
                nursery.cancel_scope.cancel("the node is gone")
                self.nodes.remove(node)
                with trio.CancelScope(shield=True):
                    await self._reap(node)

    def _world(self) -> list[Entry]:
        """Entries that tell a new node of all users and their rooms."""
        world: list[Entry] = []
        for user, person in self.people.items():
            nick = ANONYMOUS if person.name is None else person.name.display
            if person.name is not None:
                world.append(NickChanged(user, ANONYMOUS, person.name))
            world += [Entered(user, nick, room, self._shown[room]) for room in person.rooms]
        return world

    async def _reap(self, node: NodeLog) -> None:
        """Have all users of a dead node leave."""
        users = [user for user, person in self.people.items() if person.node is node]
        await self.turn(None, [Gone(user, ANONYMOUS, "its node is gone") for user in users])

    async def turn(self, node: NodeLog | None, drafts: Sequence[Entry]) -> None:
        """Order a node's drafts, and tell each node."""
        drafts = [evolve(draft) for draft in drafts]
        refused = [self.refuses(draft) and not isinstance(draft, Exited | Gone) for draft in drafts]
        passed = [draft for draft, no in zip(drafts, refused, strict=True) if not no]
        taken = iter(await self.log.append(passed))
        results = [
            Refused(REFUSAL, code=Code.CANNOT_WRITE) if no else next(taken) for no in refused
        ]
        entries = [result for result in results if not isinstance(result, Refused)]
        for entry in entries:
            self._note(node, entry)
        self.order += entries
        for other in self.nodes:
            if other is node:
                other.tell(FromLog(answer=results))
            elif entries:
                other.tell(FromLog(entries))

    def _note(self, node: NodeLog | None, entry: Entry) -> None:
        person = self.people.get(entry.author) or Person(node)
        match entry:
            case NickChanged(name=name):
                person.name = name
            case Entered(room=room, room_name=shown, leaving=leaving):
                self._leave(person, leaving)
                person.rooms[room] = None
                self._shown.setdefault(room, shown)
            case Exited(room=room):
                self._leave(person, room)
            case Gone():
                person.name = None
                for room in list(person.rooms):
                    self._leave(person, room)
            case _:
                return
        if person.name is None and not person.rooms:
            self.people.pop(entry.author, None)
        else:
            self.people[entry.author] = person

    def _leave(self, person: Person, room: str | None) -> None:
        if room in person.rooms:
            del person.rooms[room]
            if not any(room in other.rooms for other in self.people.values()):
                del self._shown[room]


class NodeLog:
    """A node's log (`trio_chat.roomlog.SharedLog`).

    Drafts take `delay` seconds to the engine, and its news take as long on their way back. After a
    stall all that is due comes at once. `submitted` are the drafts of each turn, `under_way` is the
    number of news that the hub has not taken.
    """

    shared: Literal[True] = True
    lock = at_hand = None

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.delay = DELAY
        self.commits = Commits()
        self.submitted: list[list[Entry]] = []
        self.in_flight = False
        self.under_way = 0
        self.still = False
        self._drafts, self._next_drafts = trio.open_memory_channel[tuple[float, list[Entry]]](1)
        self._news, self._next_news = trio.open_memory_channel[tuple[float, FromLog]](math.inf)
        self._flows = trio.Event()
        self._flows.set()
        # News to be taken, and each room as of the last news that was.
        self._arrived: deque[FromLog] = deque()
        self._tell_hub: Callable[[], None] = lambda: None
        rooms = [kept.room for kept in engine.log.histories().rooms]
        self._rooms = {room: engine.log.snapshot(room) for room in rooms}

    # --- for the test -----------------------------------------------------------------------------

    def stall(self) -> None:
        """Let nothing through, in neither direction."""
        self._flows = trio.Event()

    @property
    def flows(self) -> bool:
        """Whether it does not stall."""
        return self._flows.is_set()

    def come_back(self) -> None:
        """Let through what has waited, and what comes."""
        self._flows.set()

    # --- on the way -------------------------------------------------------------------------------

    def tell(self, news: FromLog) -> None:
        """Send the engine's news on its way. Each node gets entries of its own."""
        self.under_way += 1
        answer = news.answer and [
            result if isinstance(result, Refused) else evolve(result) for result in news.answer
        ]
        news = FromLog([evolve(entry) for entry in news.entries], answer)
        self._news.send_nowait((trio.current_time() + self.delay, news))

    async def carry_drafts(self) -> None:
        async for due, drafts in self._next_drafts:
            await self._way(due)
            await self.engine.turn(self, drafts)

    async def carry_news(self) -> None:
        on_their_way = deque([await self._next_news.receive()])
        while True:
            await self._way(on_their_way[0][0])
            with suppress(trio.WouldBlock):
                while True:
                    on_their_way.append(self._next_news.receive_nowait())
            while on_their_way and on_their_way[0][0] <= trio.current_time():
                self._arrived.append(on_their_way.popleft()[1])
            if self._arrived:
                self._tell_hub()
            if not on_their_way:
                on_their_way.append(await self._next_news.receive())

    async def _way(self, due: float) -> None:
        await trio.sleep_until(due)  # the time that the way takes
        await self._flows.wait()

    # --- for the hub ------------------------------------------------------------------------------

    unavailable = None
    place = None
    peers = None

    def statistics(self) -> None:
        """Nothing: it measures nothing."""

    def attend(self, attendance: Attendance, arrived: Callable[[], None]) -> None:
        """The engine itself knows who is where."""
        self._tell_hub = arrived
        if self._arrived:
            arrived()

    def allow(self, max_rooms: int, kept: Collection[str]) -> None:
        self.engine.log.allow(max_rooms, kept)

    def submit(self, drafts: Sequence[Entry]) -> None:
        assert not self.in_flight
        assert not self.still
        self.in_flight = True
        self.submitted.append(list(drafts))
        self._drafts.send_nowait((trio.current_time() + self.delay, self.submitted[-1]))

    def take(self) -> FromLog | None:
        if not self._arrived:
            return None
        news = self._arrived.popleft()
        self.under_way -= 1
        if news.answer is not None:
            self.in_flight = False
        for entry in news.entries if news.answer is None else news.answer:
            if isinstance(entry, PERSISTENT):
                before = self._rooms.get(entry.room, LoggedRoom())
                if isinstance(entry, TopicSet):
                    before = LoggedRoom(entry.text, entry.author, entry.nick, entry.time)
                self._rooms[entry.room] = evolve(before, position=entry.position)
        return news

    @property
    def identity(self) -> str:
        return self.engine.log.identity

    @property
    def secret(self) -> str:
        return self.engine.log.secret

    def snapshot(self, room: str) -> LoggedRoom:
        return self._rooms.get(room, LoggedRoom())

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        return await self.engine.log.read(room, after, limit)

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        return await self.engine.log.before(room, position, limit)

    async def held(self, room: str) -> list[Waiting]:
        return await self._engine.log.held(room)

    async def actions(self, room: str, before: int | None, limit: int) -> list[Action]:
        return await self.engine.log.actions(room, before, limit)

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        return await self.engine.log.search(room, words, limit, before)

    def histories(self) -> HistoriesSnapshot:
        return HistoriesSnapshot()

    async def check(self) -> None:
        await trio.lowlevel.checkpoint()

    async def pause(self) -> None:
        await trio.lowlevel.checkpoint()
        assert not self.in_flight
        self.still = True

    def resume(self) -> None:
        self.still = False

    def retain(self, retention: Retention) -> None:
        """Nothing: the engine keeps what the test has told it to."""


@asynccontextmanager
async def chat_on(engine: Engine, **settings) -> AsyncIterator[Chat]:
    """A chat whose room log is a node's of this engine; that is `Chat._log`."""
    async with AsyncExitStack() as stack:
        with mock.patch("trio_chat.server.opening._open_log", engine.open_log):
            chat = open_chat(Settings(**{"rate_limit": None, **settings}))
            entered = await stack.enter_async_context(chat)
        yield entered


@asynccontextmanager
async def sharing(count: int = 2, **settings) -> AsyncIterator[tuple[Engine, list[Chat]]]:
    """So many chats that share an engine."""
    engine = Engine()
    # A wait for something that never comes ends then, by a clock that jumps.
    with trio.fail_after(100_000):
        async with AsyncExitStack() as stack:
            chats = [
                await stack.enter_async_context(chat_on(engine, **settings)) for _ in range(count)
            ]
            yield engine, chats
