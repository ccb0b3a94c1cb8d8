"""Slow clients caught up from the file, further back than a room has at hand, while it goes on."""

from __future__ import annotations

import random
import re
from contextlib import asynccontextmanager

import pytest
import trio
from loopback import PATIENCE, chat_on_tcp, dial, until, watch_links
from stored import stored
from test_slow_consumer import LIMIT, lines, slow_client, talk, talker
from test_slow_consumer import running as running_small

from trio_chat.roomlog.sqlite.log import SqliteLog
from trio_chat.testing import line_client

ROOM = "#a"
MISSED = re.compile(r"> you missed (\d+) messages? in #a")
SHOWN = {"s": "> {nick}: {text}", "a": "> * {nick} {text}", "t": "> topic of #a: {text}"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chat.db"


@pytest.fixture
def pages(monkeypatch):
    """The number of entries of each page read from the file."""
    counts = []
    original = SqliteLog.read

    async def read(self, room, after, limit):
        entries = await original(self, room, after, limit)
        counts.append(len(entries))
        return entries

    monkeypatch.setattr(SqliteLog, "read", read)
    return counts


@asynccontextmanager
async def running(path, **settings):
    with trio.fail_after(PATIENCE):
        async with running_small(store=f"sqlite:{path}", recent_entries=3, **settings) as chat:
            yield chat


def in_file(path) -> list[str]:
    """The kept entries, as they are shown live."""
    return [SHOWN[entry.kind].format(nick=entry.nick, text=entry.text) for entry in stored(path)]


class Crowd:
    """Some who talk, in all ways that are kept, several lines at a time; `said` so many in all."""

    def __init__(self, clients, choose) -> None:
        self.clients = clients
        self.choose = choose
        self.said = 0

    async def say(self, count: int) -> None:
        end = self.said + count
        while self.said < end:
            client = self.choose.choice(self.clients)
            numbers = range(self.said, min(end, self.said + self.choose.choice([1, 5, 50])))
            await client.send(*map(self._line, numbers))
            await client.sync()
            self.said = numbers.stop

    def _line(self, number: int) -> str:
        way = self.choose.choices(["/msg", "/me", "/topic"], weights=[8, 2, 1])[0]
        return f"{way} {self.choose.random():.3f}{'x' * 40} {number}"


async def fall_behind_and_catch_up(slow, crowd: Crowd, before: int, meanwhile: int) -> list[str]:
    """The input of a client that reads nothing for a while, and then reads while others talk."""
    await crowd.say(before)
    got: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crowd.say, meanwhile)
        while len(got) < before + meanwhile:
            got += await slow.lines(
                min(before + meanwhile - len(got), crowd.choose.choice([1, 30]))
            )
    assert await slow.sync() == []
    return got


@pytest.mark.parametrize("seed", range(3))
async def test_each_kept_line_comes_once_and_in_order(seed, path, pages) -> None:
    choose = random.Random(seed)
    async with (
        running(path) as chat,
        line_client(chat, nick="jack", room=ROOM) as jack,
        line_client(chat, nick="john", room=ROOM) as john,
        slow_client(chat) as slow,
    ):
        crowd = Crowd([jack, john], choose)
        got: list[str] = []
        for lagged in range(1, 11):
            before, meanwhile = choose.choice([100, 300, 1000]), choose.choice([0, 100, 300])
            got += await fall_behind_and_catch_up(slow, crowd, before, meanwhile)
            assert chat.statistics().lagged >= lagged
            assert chat.statistics().lagging == 0
        assert got == in_file(path)
        assert sum(pages) > len(got) / 2


async def test_over_a_socket_too(path, pages, monkeypatch) -> None:
    watch_links(monkeypatch, send_buffer=4096)
    small = {"message_chars": 100, "line_bytes": 400, "outbox_bytes": LIMIT, "recent_entries": 3}
    async with chat_on_tcp(store=f"sqlite:{path}", **small) as (chat, port):
        talkers = [await dial(port, nick=nick, room=ROOM) for nick in ("jack", "john")]
        slow = await dial(port, room=ROOM, receive_buffer=16_384)
        for client in talkers:
            await client.sync()
        crowd = Crowd(talkers, random.Random(0))
        got: list[str] = []
        for lagged in (1, 2):
            got += await fall_behind_and_catch_up(slow, crowd, 1500, 500)
            assert chat.statistics().lagged >= lagged
            assert chat.statistics().lagging == 0
        assert got == in_file(path)
    assert sum(pages) > 200


async def test_entries_deleted_meanwhile_are_missed_and_counted(path) -> None:
    total = 4000
    async with (
        running(path, history_entries=150) as chat,
        line_client(chat, nick="jack", room=ROOM) as jack,
        slow_client(chat) as slow,
        trio.open_nursery() as nursery,
    ):
        crowd = Crowd([jack], random.Random(0))
        nursery.start_soon(crowd.say, total)
        number = missed = 0
        while number < total:
            # Further behind than the file goes back, but for the end.
            await until(lambda number=number: crowd.said >= min(total, number + 500))
            line = await slow.line()
            if gap := MISSED.fullmatch(line):
                missed += int(gap[1])
                number += int(gap[1])
            else:
                assert line.endswith(f" {number}")
                number += 1
        assert number == total
        assert missed > total / 3
        assert await slow.sync() == []


async def test_after_a_restart_it_gets_nothing_from_before_it_came(path, pages) -> None:
    async with running(path) as chat, talker(chat) as bot:
        await talk(bot, 0, 400)
    async with running(path) as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 400, 700)
        await slow.expect(*lines(400, 700))
        assert await slow.sync() == []
    assert sum(pages) > 200


async def test_nor_where_it_came_while_it_lagged(path) -> None:
    async with running(path) as chat, talker(chat) as bot:
        await talk(bot, 0, 400)
    async with (
        running(path) as chat,
        talker(chat, "#a", "#b") as bot,
        chat.connect(nick="slow") as slow,
    ):
        await slow.join("#b")
        await talk(bot, 0, 50, "#b")
        assert chat.statistics().lagging == 1
        await slow.join("#a")
        await talk(bot, 400, 500, "#a")
        heard: dict[str, list[str]] = {"#a": [], "#b": []}
        for _ in range(150):
            event = await slow.__anext__()
            heard[event.room].append(f"> jack: {event.text}")
        assert heard == {"#a": lines(400, 500), "#b": lines(0, 50)}
