"""Histories in a real engine, read through a log: pages, searches, what is no longer kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from engine import Engine
from lua import address_of, keys_of
from test_room_logs import Memory, Sqlite

from trio_chat.errors import Refused
from trio_chat.protocol.events import Entered, Entry, PersistentEntry, Said, TopicSet
from trio_chat.roomlog import FromLog
from trio_chat.roomlog.redis import exchange
from trio_chat.roomlog.redis.connection import Connection
from trio_chat.roomlog.redis.history import STRETCH_ENTRIES
from trio_chat.roomlog.redis.log import RedisLog, open_redis_log
from trio_chat.roomlog.retention import DAY, Retention
from trio_chat.roomlog.world import OwnUser

# No lease runs out while a busy machine holds this process up.
LEASE = 10.0


@pytest.fixture
def beats_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat every 20 ms, which a test can wait for."""
    monkeypatch.setattr(exchange, "BEATS_IN_A_LEASE", LEASE / 0.02)


class Hub:
    """As much of a hub as a log needs, without users."""

    def __init__(self, log: RedisLog) -> None:
        self.log = log
        self._arrived = trio.Event()
        log.attend(self, self._wake)

    def _wake(self) -> None:
        self._arrived.set()

    def users(self) -> Sequence[OwnUser]:
        return []

    def token(self, user: str) -> str:
        return ""

    def clients(self) -> int:
        return 0

    def positions(self) -> dict[str, int]:
        return {}

    async def append(self, *drafts: Entry) -> FromLog:
        """Give the log a turn; its answer."""
        self.log.submit(drafts)
        while True:
            await self._arrived.wait()
            self._arrived = trio.Event()
            while (item := self.log.take()) is not None:
                if item.answer is not None:
                    return item

    async def say(self, *texts: str) -> None:
        await self.append(*(Said("#a", "u1", "jack", text) for text in texts))

    async def fill(self, *sizes: int) -> None:
        """Say numbers, in batches of these sizes."""
        begin = 1
        for size in sizes:
            await self.say(*(str(number) for number in range(begin, begin + size)))
            begin += size


@asynccontextmanager
async def opened(engine: Engine, retention: Retention | None = None) -> AsyncIterator[Hub]:
    async def connect() -> Connection:
        return await Connection.open(address_of(engine), "", 5.0)

    retention = retention or Retention(10_000, 100)
    async with open_redis_log(connect, retention, name="a", lease=LEASE, grace=0.0) as log:
        yield Hub(log)


class OneLog:
    """A log on Redis, to be used as one of this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def __getattr__(self, name: str):
        return getattr(self._hub.log, name)

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Entry | Refused]:
        answer = (await self._hub.append(*drafts)).answer
        assert answer is not None
        return answer


@asynccontextmanager
async def one_log(engine: Engine, retention: Retention) -> AsyncIterator[OneLog]:
    """Such a log. At its end, the engine's counts are what there is."""
    async with keys_of(engine) as keys, opened(engine, retention) as hub:
        yield OneLog(hub)
        await keys.check()


class Redis:
    """A kind of log, as `Memory` and `Sqlite` are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, retention: Retention):
        return one_log(self._engine, retention)


def kind_of(request, tmp_path: Path, monkeypatch) -> Memory | Sqlite | Redis:
    """The kind of log that the parameter of a fixture names."""
    if request.param == "redis":
        return Redis(request.getfixturevalue("redis"))
    return Memory() if request.param == "memory" else Sqlite(tmp_path / "chat.db", monkeypatch)


@pytest.fixture
async def hub(engine: Engine) -> AsyncIterator[Hub]:
    async with keys_of(engine), opened(engine) as found:
        yield found


def numbers(entries: Sequence[PersistentEntry]) -> list[int]:
    for entry in entries:
        assert entry.text.split()[0] == str(entry.position)
    return [entry.position for entry in entries]


async def test_pages_of_batches_of_all_sizes(hub):
    sizes = [1, 3, 1, 7, 2, *[1] * 20, 5]
    await hub.fill(*sizes)
    count = sum(sizes)
    everything = list(range(1, count + 1))
    assert numbers(await hub.log.read("#a", 0, count + 9)) == everything
    assert numbers(await hub.log.before("#a", None, count + 9)) == everything
    for after in range(count + 2):
        for limit in (1, 4, 30):
            page, before = everything[after:][:limit], everything[: max(0, after - 1)][-limit:]
            assert numbers(await hub.log.read("#a", after, limit)) == page
            assert numbers(await hub.log.before("#a", after, limit)) == before
    assert await hub.log.read("#b", 0, 9) == await hub.log.before("#b", None, 9) == []


async def test_messages_come_back_as_they_were(hub):
    drafts = [Said("#a", "u1", "jack", "one"), TopicSet("#a", "#A", "u2", "jill", "tea")]
    answer = await hub.append(*drafts, Entered("u1", "jack", "#a", "#A"))
    assert answer.answer is not None
    assert await hub.log.read("#a", 0, 9) == drafts
    assert hub.log.snapshot("#a").topic == "tea"
    assert hub.log.snapshot("#a").position == 2
    assert hub.log.snapshot("#a").log == hub.log.identity


async def test_a_search_goes_on_from_stretch_to_stretch(hub):
    words = [f"{number} Straße" if number % 7 == 0 else str(number) for number in range(1, 1401)]
    for begin in range(0, 1400, 100):
        await hub.say(*words[begin : begin + 100])
    found: list[int] = []
    begin, stretches = 1401, 0
    while begin:
        stretch = await hub.log.search("#a", ["strasse"], 1000, begin)
        assert numbers(stretch.entries) == sorted(numbers(stretch.entries))
        assert not stretch.begin or begin - stretch.begin <= STRETCH_ENTRIES + 100 * 17
        found[:0] = numbers(stretch.entries)
        begin, stretches = stretch.begin, stretches + 1
    assert found == list(range(7, 1401, 7))
    # A stretch ends with what was asked for, even within a batch.
    stretch = await hub.log.search("#a", ["strasse"], 2, 1000)
    assert (numbers(stretch.entries), stretch.begin) == ([987, 994], 987)
    assert numbers((await hub.log.search("#a", ["strasse", "994"], 9, 1000)).entries) == [994]
    assert (await hub.log.search("#a", ["strasse"], 9, 7)).entries == []
    assert await hub.log.search("#b", ["x"], 9, 1000) == await hub.log.search("#a", ["x"], 9, 1)


async def test_entries_beyond_the_days_are_not_shown(engine):
    async with keys_of(engine) as keys, opened(engine, Retention(10_000, 100, days=1)) as hub:
        await hub.fill(3, 1)
        await keys.age("#a", days=2, most=1)
        # Until a beat drops them. The others are younger, by the clock of the engine.
        assert numbers(await hub.log.read("#a", 0, 9)) == [4]
        assert numbers(await hub.log.before("#a", None, 9)) == [4]
        assert (await hub.log.search("#a", ["1"], 9, 5)).entries == []
        hub.log.node.clock += DAY + 60
        assert await hub.log.read("#a", 0, 9) == []


async def test_a_beat_drops_entries_beyond_the_days(engine, beats_often):
    retention = Retention(10_000, 100, days=1)
    async with keys_of(engine) as keys, opened(engine, retention) as hub:
        await hub.fill(3, 1)
        await keys.age("#a", days=2, most=1)
        with trio.fail_after(10):
            while len(await keys.batches("#a")) > 1:  # noqa: ASYNC110 - the engine tells nobody
                await trio.sleep(0.01)  # before it looks again
        hub.log.retain(Retention(10_000, 100))
        assert numbers(await hub.log.read("#a", 0, 9)) == [4]


async def test_a_reload_of_kept_rooms_counts_at_the_next_beat(engine, beats_often):
    async with keys_of(engine) as keys, opened(engine) as hub:
        for kept in (["#b"], ["#c", "#d"], []):
            hub.log.allow(100, kept)
            with trio.fail_after(10):
                while set(await keys.ask("SMEMBERS", "kept")) != set(kept):  # noqa: ASYNC110 - as above
                    await trio.sleep(0.01)  # before it looks again


async def test_a_room_keeps_so_many_entries(engine):
    async with keys_of(engine), opened(engine, Retention(20, 100)) as hub:
        await hub.fill(*[4] * 30)
        kept = numbers(await hub.log.read("#a", 0, 999))
        assert kept[-1] == 120
        assert 20 <= len(kept) <= 20 * 1.0625 + 16 + 4
        assert numbers(await hub.log.before("#a", kept[0], 9)) == []
        assert numbers(await hub.log.before("#a", kept[0] + 2, 9)) == kept[:2]


async def test_the_batches_of_a_turn_are_found_by_its_id(hub):
    await hub.fill(3, 1)
    turn = hub.log.node.next_turn
    await hub.append(
        *(Said("#a", "u1", "jack", "x"), TopicSet("#a", "#A", "u1", "jack", "y")),
        *(Said("#a", "u1", "jack", "z"), Said("#b", "u1", "jack", "z")),
    )
    for _ in range(20):
        await hub.say("later")
    look_up = hub.log._history.of_turn
    for after in (0, 4):
        assert [batch.top for batch in await look_up("#a", turn, after)] == [5, 6, 7]
    assert await look_up("#a", "other", 0) == []
    assert [batch.top for batch in await look_up("#b", turn, 0)] == [1]


async def test_several_may_read_at_once(hub):
    await hub.fill(5, 5)
    found: list[list[int]] = []

    async def read(after: int) -> None:
        found.append(numbers(await hub.log.read("#a", after, 3)))

    async with trio.open_nursery() as nursery:
        for after in range(8):
            nursery.start_soon(read, after)
    assert sorted(found) == [list(range(after + 1, min(after + 4, 11))) for after in range(8)]
