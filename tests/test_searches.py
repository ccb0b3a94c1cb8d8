"""Searches within their bounds, in nobody's way, and at their end once nobody waits for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from searching import searched

from trio_chat import Chat, Said, Settings, open_chat
from trio_chat.hub import searches
from trio_chat.hub.queries import LAST_SECONDS, STOP_SECONDS
from trio_chat.hub.searches import PATIENCE_SECONDS, SEARCH_SECONDS
from trio_chat.roomlog import Stretch, memory
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.server import opening
from trio_chat.testing import LineClient

FAREWELL = "> the server is shutting down"
WORST = "a" * 2000


class SlowLog(MemoryLog):
    """Looks at one entry at a time, which takes `seconds`; `order` has the words in their turns."""

    def __init__(self) -> None:
        super().__init__(Retention(10_000, 100))
        self.seconds = 0.0
        self.order: list[str] = []
        self.looking = 0

    async def search(self, room, words, limit, before):
        self.looking += 1
        try:
            self.order += words
            await trio.sleep(self.seconds)  # what the disk takes
        finally:
            self.looking -= 1
        entries = [entry for entry in self._kept(room) if entry.position == before - 1]
        found = [entry for entry in entries if words[0] in entry.text]
        return Stretch(found, entries[0].position if entries else 0)

    async def before(self, room, position, limit):
        if self.seconds:
            await trio.sleep(self.seconds)  # what the disk takes
        return await super().before(room, position, limit)


@pytest.fixture
def log(monkeypatch) -> SlowLog:
    log = SlowLog()

    @asynccontextmanager
    async def open_log(settings, handover):
        yield log

    monkeypatch.setattr(opening, "_open_log", open_log)
    return log


@asynccontextmanager
async def running(**settings) -> AsyncIterator[Chat]:
    # A wait for something that never comes ends then, by a clock that jumps.
    with trio.fail_after(100_000):
        async with open_chat(Settings(**{"rate_limit": None} | settings)) as chat:
            yield chat


@pytest.fixture
async def chat(log) -> AsyncIterator[Chat]:
    async with running() as chat:
        yield chat


@asynccontextmanager
async def client(chat: Chat, address: str = "here") -> AsyncIterator[LineClient]:
    """A client in #a from an address; it may be gone before the block ends."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: chat.serve_stream(theirs, peer=address))
        client = LineClient(ours)
        await client.send("/join #a")
        await client.expect("> welcome to #a")
        yield client
        with contextlib.suppress(trio.ClosedResourceError):
            await ours.aclose()


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def stopped(position: int) -> str:
    return (
        f"> the search stopped, as it took too long: messages before {position} were not searched "
        f"(/history before {position} shows them)"
    )


# --- bounds ---------------------------------------------------------------------------------------


async def test_a_search_stops_after_its_time_and_says_where(log, chat, autojump_clock) -> None:
    async with client(chat) as jack:
        await jack.send(*[f"/msg tea {number}" for number in range(10)])
        await jack.sync()
        log.seconds = 0.4 * SEARCH_SECONDS
        began = trio.current_time()
        await jack.send("/search tea")
        lines = [await jack.line() for _ in range(4)]
        assert trio.current_time() - began == pytest.approx(1.2 * SEARCH_SECONDS)
        assert [line.split()[-1] for line in lines[:3]] == ["7", "8", "9"]
        assert lines[3] == stopped(8)
        await jack.send("/search rum")
        await jack.expect(stopped(8))


async def test_a_search_stops_after_so_many_entries(log, chat, monkeypatch, autojump_clock) -> None:
    monkeypatch.setattr(searches, "SEARCH_ENTRIES", 5)
    async with client(chat) as jack:
        await jack.send(*[f"/msg {number}" for number in range(5)], "/search tea")
        await jack.expect("> no messages found in #a")
        await jack.send("/msg 5", "/search tea")
        await jack.expect(stopped(2))


async def test_a_search_that_has_found_enough_has_not_stopped(log, chat, autojump_clock) -> None:
    async with client(chat) as jack:
        await jack.send(*["/msg tea"] * 70, "/search tea")
        lines = await jack.sync()
        assert [line.split()[1] for line in lines] == [f"[{number}" for number in range(21, 71)]


async def test_a_search_waits_for_its_turn_no_longer_than_that(log, chat, autojump_clock) -> None:
    async with client(chat) as jack, client(chat) as john:
        await jack.send("/msg tea", "/msg rum")
        await jack.sync()
        log.seconds = 10 * PATIENCE_SECONDS
        began = trio.current_time()
        await jack.send("/search tea")
        await settled()
        await john.send("/search tea")
        await jack.expect(stopped(3))
        await john.expect("> anonymous: tea", "> anonymous: rum", stopped(3))
        assert trio.current_time() - began == pytest.approx(PATIENCE_SECONDS)


async def test_programs_are_told_where_it_stopped(log, chat, monkeypatch, autojump_clock) -> None:
    monkeypatch.setattr(searches, "SEARCH_ENTRIES", 1)
    async with client(chat) as jack:
        await jack.send("/msg tea", "/msg tea")
        await jack.sync()
        async with chat.connect() as bot:
            await bot.join("#a")
            found = await bot.search("tea")
            assert [entry.position for entry in found] == [2]
            assert found.stopped_at == 2
            monkeypatch.setattr(searches, "SEARCH_ENTRIES", 2)
            found = await bot.search("tea")
            assert ([entry.position for entry in found], found.stopped_at) == ([1, 2], 0)


# --- turns ----------------------------------------------------------------------------------------


async def test_addresses_take_turns(log, chat, autojump_clock) -> None:
    async with contextlib.AsyncExitStack() as stack:
        many = [await stack.enter_async_context(client(chat, "many")) for _ in range(5)]
        one = await stack.enter_async_context(client(chat, "one"))
        await one.send(*[f"/msg {number}" for number in range(4)])
        await one.sync()
        for each in many:
            await each.send("/search many")
        log.seconds = 0.01
        await one.send("/search one")
        await one.expect("> no messages found in #a")
        # The address that came first had its share while the other searched, and no more.
        turns = log.order[log.order.index("one") :]
        assert turns[:7] == ["one", "many", "one", "many", "one", "many", "one"]


async def test_a_network_is_one_address(log, chat, autojump_clock) -> None:
    """As for the limit on clients: whoever has IPv6 has a /64."""
    async with (
        client(chat, "2001:db8::1") as jack,
        client(chat, "2001:db8::2") as john,
        client(chat, "2001:db8:0:1::1") as other,
    ):
        await jack.send("/msg tea", "/msg tea")
        await jack.sync()
        log.seconds = 0.1
        await jack.send("/search jack")
        await settled()
        await john.send("/search john")
        await other.send("/search other")
        for each in (jack, john, other):
            await each.sync()
        assert log.order == ["jack", "other", "jack", "other", "john", "john"]


async def test_one_search_at_a_time_works(log, chat, autojump_clock) -> None:
    async with contextlib.AsyncExitStack() as stack:
        many = [await stack.enter_async_context(client(chat, f"{n}")) for n in range(5)]
        await many[0].send("/msg tea")
        log.seconds = 0.1
        for each in many:
            await each.send("/search tea")
        await settled()
        assert log.looking == 1


async def test_history_does_not_wait_for_a_search(log, chat, autojump_clock) -> None:
    async with client(chat) as jack, client(chat) as john:
        await jack.send("/msg tea")
        await john.expect("> anonymous: tea")
        log.seconds = 0.5
        await jack.send("/search tea")
        await settled()
        log.seconds = 0.0
        began = trio.current_time()
        await john.send("/history")
        assert (await john.line()).endswith("] anonymous: tea")
        assert trio.current_time() == began


async def test_in_memory_the_hub_gets_to_run_between_two_stretches(monkeypatch) -> None:
    monkeypatch.setattr(memory, "STRETCH_SECONDS", 0.0)
    log = MemoryLog(Retention(10_000, 100))
    await log.append([Said("#a", "id", "nick", WORST) for _ in range(500)])
    turns = 0

    async def hub() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub)
        assert await searched(log, "#a", ["a" * 1000 + "b"], 9) == []
        nursery.cancel_scope.cancel()
    assert turns > 400


async def test_in_memory_a_stretch_is_short(monkeypatch) -> None:
    log = MemoryLog(Retention(10_000, 100))
    await log.append([Said("#a", "id", "nick", WORST) for _ in range(10_000)])
    stretches = []
    began = time.thread_time()
    before = 10_001
    while before:
        before = (await log.search("#a", ["a" * 1000 + "b"], 9, before)).begin
        stretches.append(before)
    assert len(stretches) >= (time.thread_time() - began) / memory.STRETCH_SECONDS / 10


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["a" * 500 + "b"], ["a" * 1990 + "b"], ["b" + "a" * 999]])
async def test_the_worst_texts_take_little_longer_than_others(tmp_path: Path, words) -> None:
    """LIKE takes 2 to 5 ms for each of them."""
    async with open_sqlite_log(tmp_path / "chat.db", "process", Retention(10_000, 100)) as log:
        await log.append([Said("#a", "id", "nick", WORST) for _ in range(1000)])
        began = time.process_time()
        assert await searched(log, "#a", words, 9) == []
        assert time.process_time() - began < 0.5


# --- askers that are gone -------------------------------------------------------------------------


async def test_a_client_that_has_closed_its_side_waits_a_second_and_no_longer(
    log, chat, autojump_clock
) -> None:
    async with client(chat) as jack:
        await jack.send("/msg tea")
        await jack.sync()
        log.seconds = 1000.0
        began = trio.current_time()
        await jack.send("/search tea")
        await jack.stream.send_eof()
        assert await jack.rest() == [stopped(2)]
        assert trio.current_time() - began == pytest.approx(LAST_SECONDS)
    assert log.looking == 0


async def test_nothing_is_searched_for_a_client_that_is_cut_off(log, chat, autojump_clock) -> None:
    with trio.CancelScope() as scope:
        async with client(chat) as jack:
            await jack.send("/msg tea")
            await jack.sync()
            log.seconds = 1000.0
            await jack.send("/search tea")
            await settled()
            assert log.looking == 1
            scope.cancel()
    await settled()
    assert log.looking == 0


# --- the end of the chat --------------------------------------------------------------------------


async def test_a_stop_interrupts_searches_and_everyone_gets_the_farewell(
    log, autojump_clock
) -> None:
    async with (
        running(stop_grace=60) as chat,
        client(chat, "one") as jack,
        client(chat, "two") as john,
        client(chat, "three") as mary,
    ):
        await jack.send("/msg tea")
        for each in (jack, john, mary):
            await each.sync()
        log.seconds = 1000.0
        # One looks, one waits for its turn, and one asks for more after that.
        await jack.send("/search tea")
        await john.send("/search tea", "/history", "/search tea")
        await settled()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            cannot = "err: the messages of this room cannot be read now; please try again later"
            assert await jack.rest() == [stopped(2), FAREWELL]
            assert await john.rest() == [stopped(2), cannot, stopped(2), FAREWELL]
            assert await mary.rest() == [FAREWELL]
            assert trio.current_time() - began == pytest.approx(STOP_SECONDS)
            for each in (jack, john, mary):
                await each.stream.aclose()
