"""`/history` and `/search` as clients see them: in their order, while others go on, to any end."""

from __future__ import annotations

import contextlib
import logging
import time
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from trio_chat import ChatClosed, Refused, Said, Settings, open_chat
from trio_chat.protocol.commands import MAX_FOUND
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.server import opening
from trio_chat.testing import LineClient, line_client

AT = 1_769_860_800.0
WHEN = "2026-01-31 12:00:00 UTC"
CANNOT_READ = "the messages of this room cannot be read now; please try again later"
FAREWELL = "> the server is shutting down"
# An answer that no one reads fills the outbox soon.
SMALL = {"line_bytes": 400, "message_chars": 100, "outbox_bytes": 1000}


class SlowLog(MemoryLog):
    """Keeps whoever looks something up waiting while `opened` is not set; `error` is raised."""

    def __init__(self) -> None:
        super().__init__(Retention(10_000, 100))
        self.opened = trio.Event()
        self.opened.set()
        self.waiting = 0
        self.error: Exception | None = None

    def shut(self) -> None:
        self.opened = trio.Event()

    async def _pass(self) -> None:
        self.waiting += 1
        try:
            await self.opened.wait()
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error

    async def before(self, room, position, limit):
        await self._pass()
        return await super().before(room, position, limit)

    async def search(self, room, words, limit, before):
        await self._pass()
        return await super().search(room, words, limit, before)


@pytest.fixture
def log(monkeypatch):
    log = SlowLog()

    @asynccontextmanager
    async def open_log(settings, handover):
        yield log

    monkeypatch.setattr(opening, "_open_log", open_log)
    monkeypatch.setattr(time, "time", lambda: AT)
    return log


@asynccontextmanager
async def running(**settings):
    # With a clock that jumps, a wait for something that never comes ends here.
    with trio.fail_after(100_000):
        async with open_chat(Settings(**{"rate_limit": None} | settings)) as chat:
            yield chat


@pytest.fixture
async def chat(log):
    async with running() as chat:
        yield chat


@pytest.fixture
async def jack(chat):
    async with line_client(chat, nick="jack", room="#a") as client:
        yield client


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


def shown(position: int, line: str) -> str:
    return f"> [{position} {WHEN}] {line}"


# --- what is shown --------------------------------------------------------------------------------


async def test_an_answer_needs_nothing_else_to_happen(jack, autojump_clock):
    await jack.send("/msg Hi")
    await jack.sync()
    await jack.send("/history")
    await jack.expect(shown(1, "jack: Hi"))
    await jack.send("/search hi")
    await jack.expect(shown(1, "jack: Hi"))


async def test_messages_are_shown_with_id_and_time(jack, autojump_clock):
    await jack.send("/msg Hi", "/me waves", "/topic tea & cake", "/nick john", "/msg Grüße")
    await jack.send("/history")
    assert (await jack.sync())[3:] == [
        shown(1, "jack: Hi"),
        shown(2, "* jack waves"),
        shown(3, "topic of #a: tea & cake"),
        shown(4, "john: Grüße"),
    ]


async def test_a_message_before_it_in_the_same_write_is_in_it(chat, jack, autojump_clock):
    async with line_client(chat, nick="john", room="#a") as john:
        await john.send("/msg one", "/history", "/msg two", "/search o", "/quit")
        assert await john.rest() == [
            shown(1, "john: one"),
            shown(1, "john: one"),
            shown(2, "john: two"),
            "> sad to see you go =(",
        ]


async def test_how_many_and_which(jack, autojump_clock):
    await jack.send(*[f"/msg {number:03}" for number in range(1, 601)])

    async def ids(command: str) -> list[int]:
        await jack.send(command)
        return [int(line.split()[1][1:]) for line in await jack.sync()]

    assert await ids("/history") == list(range(581, 601))
    assert await ids("/history 1") == [600]
    assert await ids("/history 500") == list(range(101, 601))
    assert await ids("/history before 101") == list(range(81, 101))
    assert await ids("/history before 101 500") == list(range(1, 101))
    assert await ids(f"/history before {2**63 - 1} 2") == [599, 600]
    assert await ids("/search 00") == [*range(1, 10), 100, 200, 300, 400, 500, 600]
    assert await ids("/search 0") == [n for n in range(1, 601) if "0" in f"{n:03}"][-MAX_FOUND:]
    assert await ids("/search 5 3 4") == [345, 354, 435, 453, 534, 543]


async def test_nothing_found(jack, autojump_clock):
    await jack.send("/history", "/search x", "/msg Hi", "/history before 1", "/search y")
    assert await jack.sync() == ["> no messages found in #a"] * 4


async def test_these_are_refused(jack, autojump_clock):
    number = "must be a whole number from 1 to"
    usage = "usage: /history [before ID] [N]"
    await jack.send("/history 501", "/history 0", "/history before 0", "/history before", "/search")
    assert await jack.sync() == [
        f"err: N {number} 500, {usage}",
        f"err: N {number} 500, {usage}",
        f"err: ID must be a number that /history shows, {usage}",
        f"err: ID is required, {usage}",
        "err: word is required, usage: /search WORDS",
    ]


async def test_only_rooms_one_is_in(chat, jack, autojump_clock):
    async with line_client(chat, nick="john") as john, line_client(chat, nick="mary") as mary:
        await jack.send("/msg secret")
        await jack.sync()
        await john.send("/history", "/search secret", "/join #b", "/history", "/search secret")
        await john.send("/leave", "/history")
        assert await john.sync() == [
            "err: you are in no room; use /join ROOM first",
            "err: you are in no room; use /join ROOM first",
            "> welcome to #b",
            "> no messages found in #b",
            "> no messages found in #b",
            "> you have left #b",
            "err: you are in no room; use /join ROOM first",
        ]
        # A later client sees earlier messages, also under the room's casefolded name.
        await mary.send("/join #A", "/search SECRET")
        assert (await mary.sync())[-1] == shown(1, "jack: secret")


async def test_words_and_nothing_but_words(jack, autojump_clock):
    await jack.send("/msg 100% of it_is O'Brien's \"tea\" *?[a] Straße", "/msg 1000 of itXis")
    await jack.sync()
    for words in ("100%", "it_is", "o'brien", '"TEA"', "*?[A]", "STRASSE", "% _ ' \" *"):
        await jack.send(f"/search {words}")
        assert [line.split()[1] for line in await jack.sync()] == ["[1"], words


async def test_telnet_gets_its_line_ends(chat, jack, autojump_clock):
    async with line_client(chat, room="#a") as john:
        await john.stream.send_all(b"\xff\xfd\x03/msg x\r\n/msg y\r\n/history\r\n")
        data = b""
        while b"anonymous: y" not in data:
            data += await john.stream.receive_some()
        lines = data.split(b"\n")
        assert all(line.endswith(b"\r") for line in lines[:-1])


# --- in order, and in nobody's way ----------------------------------------------------------------


async def test_answers_keep_the_order_of_what_was_asked(log, chat, jack, autojump_clock):
    log.shut()
    asked = ["/msg one", "/who", "/history", "/rooms", "/msg two", "/search one", "/topic", "/x"]
    await jack.send(*asked)
    await settled()
    await jack.expect("> in #a: jack")
    assert log.waiting == 1
    await jack.send("/nick john", "/who")
    await settled()
    log.opened.set()
    assert await jack.sync() == [
        shown(1, "jack: one"),
        "> available rooms: #a",
        shown(1, "jack: one"),
        "> #a has no topic",
        "err: unknown command: /x",
        "> all right, I will call you john",
        "> in #a: john",
    ]


async def test_a_slow_read_delays_nobody_else(log, chat, jack, autojump_clock):
    async with (
        line_client(chat, nick="john", room="#a") as john,
        line_client(chat, nick="mary", room="#a") as mary,
    ):
        await john.expect("> mary joined the room")
        await jack.sync()
        log.shut()
        await jack.send("/history", "/msg later")
        await settled()
        await john.send("/msg meanwhile", "/tell jack psst", "/who")
        await mary.expect("> john: meanwhile")
        await john.expect("> you (to jack): psst", "> in #a: jack, john, mary")
        # Not even who asked is kept from hearing.
        await jack.expect("> john: meanwhile", "> john (to you): psst")
        await mary.send("/search mean")
        await settled()
        assert log.waiting == 2
        log.opened.set()
        await jack.expect(shown(1, "john: meanwhile"))
        # In whichever order the two were woken.
        assert set(await mary.lines(2)) == {shown(1, "john: meanwhile"), "> jack: later"}


async def test_many_ask_at_once(log, chat, autojump_clock):
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(line_client(chat, room="#a")) for _ in range(50)]
        log.shut()
        for number, client in enumerate(clients):
            await client.send(f"/msg <{number}>", f"/search <{number}>", f"/msg <{number}> again")
        await settled()
        assert log.waiting == 1  # the searches wait for their turn
        log.opened.set()
        for number, client in enumerate(clients):
            found = [line for line in await client.sync() if line.startswith("> [")]
            assert [line[-len(f": <{number}>") :] for line in found] == [f": <{number}>"]


async def test_a_log_that_cannot_be_read(log, jack, caplog, autojump_clock):
    log.error = OSError("disk I/O error")
    await jack.send("/msg hush-1", "/history", "/search hush-2", "/msg hush-3")
    assert await jack.sync() == [f"err: {CANNOT_READ}"] * 2
    problems = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in problems] == ["the room log cannot be read"] * 2
    assert "hush" not in caplog.text
    log.error = None
    await jack.send("/search hush")
    assert await jack.sync() == [shown(1, "jack: hush-1"), shown(2, "jack: hush-3")]


# --- big answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["x", "Ж", "\N{EARTH GLOBE EUROPE-AFRICA}"])
async def test_an_answer_takes_half_an_outbox_at_most_and_the_newest_go_in(
    log, chat, letter, autojump_clock
):
    nick = ("Жо" * 16) if letter == "Ж" else "jack"
    async with line_client(chat, nick=nick, room="#a") as jack:
        await jack.send(*[f"/msg {number} {letter * 1000}" for number in range(500)])
        await jack.send("/history 500")
        lines = await jack.sync()
        size = sum(len(line.encode()) + 1 for line in lines)
        half = Settings().outbox_bytes // 2
        assert half * 0.8 < size <= half
        assert [int(line.split()[1][1:]) for line in lines] == list(range(501 - len(lines), 501))


async def test_topics_and_long_names_count_too(log, autojump_clock):
    async with (
        running(**SMALL, nick_chars=200, room_chars=200) as chat,
        line_client(chat, nick="n" * 200, room="#" + "r" * 199) as jack,
    ):
        for command in ("/msg", "/me", "/topic"):
            await jack.send(*[f"{command} {number}" for number in range(9)])
            await jack.sync()
            await jack.send("/history")
            lines = await jack.sync()
            assert len(lines) == 1
            assert lines[0].endswith(" 8")


async def test_one_is_given_even_if_it_takes_more_than_half(log, autojump_clock):
    async with (
        running(line_bytes=400, message_chars=100, outbox_bytes=800) as chat,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await jack.send(*["/msg " + "\N{EARTH GLOBE EUROPE-AFRICA}" * 98] * 3, "/history")
        assert (await jack.sync()) == [shown(3, "jack: " + "\N{EARTH GLOBE EUROPE-AFRICA}" * 98)]


# --- clients that are gone by then ----------------------------------------------------------------


@asynccontextmanager
async def asker(chat, ours, theirs):
    """One who has asked, over these streams; who ends it gets a scope to cancel."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, theirs)
        client = LineClient(ours)
        await client.send("/nick jack", "/join #a")
        await client.lines(2)
        await client.send("/msg one", "/history", "/msg two")
        await settled()
        client.scope = nursery.cancel_scope
        yield client


def clients(chat) -> int:
    return chat.statistics().clients


async def test_a_client_that_disconnects_meanwhile_is_let_go(log, chat, autojump_clock):
    log.shut()
    async with asker(chat, *trio.testing.memory_stream_pair()) as jack:
        await jack.stream.aclose()
        await settled()
        log.opened.set()
    await settled()
    assert clients(chat) == 0
    # Its messages that arrived in time are delivered.
    assert [entry.text for entry in await log.read("#a", 0, 9)] == ["one", "two"]


async def test_a_client_that_only_stops_writing_gets_its_answer(log, chat, autojump_clock):
    log.shut()
    async with asker(chat, *trio.testing.memory_stream_pair()) as jack:
        await jack.stream.send_eof()
        await settled()
        assert clients(chat) == 1
        log.opened.set()
        assert await jack.rest() == [shown(1, "jack: one")]
        await jack.stream.aclose()
    assert clients(chat) == 0


async def test_a_client_that_quits_meanwhile_gets_its_answer_first(log, chat, autojump_clock):
    log.shut()
    async with asker(chat, *trio.testing.memory_stream_pair()) as jack:
        await jack.send("/quit", "/msg never")
        await settled()
        log.opened.set()
        assert await jack.rest() == [shown(1, "jack: one"), "> sad to see you go =("]
        await jack.stream.aclose()
    assert len(await log.read("#a", 0, 9)) == 2


async def test_a_client_cut_off_meanwhile_is_forgotten_at_once(log, chat, autojump_clock):
    log.shut()
    async with asker(chat, *trio.testing.memory_stream_pair()) as jack:
        jack.scope.cancel()
    assert clients(chat) == 0
    async with line_client(chat, nick="jack", room="#a") as jack:
        log.opened.set()
        await settled()
        assert await jack.sync() == []


async def test_a_client_that_lags_meanwhile_gets_its_answer_and_then_the_missed_entries(
    log, autojump_clock
):
    to_chat, at_chat = trio.testing.memory_stream_one_way_pair()
    from_chat, to_us = trio.testing.lockstep_stream_one_way_pair()
    async with (
        running(**SMALL, stall_timeout=10_000.0, recent_entries=3) as chat,
        asker(
            chat,
            trio.StapledStream(to_chat, to_us),
            trio.StapledStream(from_chat, at_chat),
        ) as jack,
        chat.connect(nick="john") as john,
    ):
        await john.join("#a")
        log.shut()
        await jack.send("/history before 2")
        await jack.line()
        await settled()
        for number in range(40):
            await john.say(f"{number} {'x' * 50}")
        assert chat.statistics().lagging == 1
        log.opened.set()
        await settled()
        await jack.send("/history 1")
        lines = await jack.lines(1 + 40 + 2)
        ids = [line for line in lines if line.startswith("> [")]
        said = [line for line in lines if line.startswith("> john: ")]
        assert ids[0] == shown(1, "jack: one")
        assert said == [f"> john: {number} {'x' * 50}" for number in range(40)]
        assert ids[-1] == shown(42, f"john: 39 {'x' * 50}")
        assert lines[-1] == ids[-1]
        await jack.stream.aclose()


# --- the end of the chat --------------------------------------------------------------------------


async def test_a_stop_waits_for_the_answer_and_for_what_comes_after_it(log, autojump_clock):
    async with running() as chat, asker(chat, *trio.testing.memory_stream_pair()) as jack:
        await jack.sync()
        log.shut()
        await jack.send("/history 1", "/who", "/msg three", "/search three")
        await settled()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await settled()
            log.opened.set()
            assert await jack.rest() == [
                shown(2, "jack: two"),
                "> in #a: jack",
                shown(3, "jack: three"),
                FAREWELL,
            ]
            await jack.stream.aclose()


async def test_cancelled_while_one_is_looking(log, autojump_clock):
    log.shut()
    with trio.CancelScope() as scope:
        async with running() as chat, line_client(chat, nick="jack", room="#a") as jack:
            await jack.send("/msg one", "/history", "/msg two")
            await settled()
            assert log.waiting == 1
            scope.cancel()
    assert log.waiting == 0


async def test_a_read_that_never_ends_does_not_keep_the_chat_from_its_end(log, autojump_clock):
    log.shut()
    async with running(stop_grace=5) as chat, line_client(chat, nick="jack", room="#a") as jack:
        await jack.send("/msg one", "/history")
        await settled()
        began = trio.current_time()
        await chat.stop()
    assert trio.current_time() - began <= 6


# --- in-process -----------------------------------------------------------------------------------


async def test_in_process_it_is_entries(chat, autojump_clock):
    async with chat.connect(nick="bot") as bot:
        await bot.join("#a")
        said = [await bot.say(f"{number:03}") for number in range(600)]
        assert await bot.history() == said[-20:]
        assert await bot.history(limit=500) == said[-500:]
        assert await bot.history(limit=3, before=2) == said[:1]
        assert await bot.history(limit=2, before=2**70) == said[-2:]
        assert await bot.history(before=0) == await bot.history(before=-5) == []
        assert await bot.search("00 5") == [said[5], said[500]]
        assert await bot.search("no such") == []
        assert isinstance(said[0], Said)


async def test_in_process_a_room_may_be_named(chat, autojump_clock):
    async with chat.connect(nick="bot") as bot, chat.connect(nick="tob") as tob:
        await bot.join("#a")
        await bot.join("#b")
        one = await bot.say("one", "#a")
        assert await bot.history(room="#A") == await bot.search("one", room="#a") == [one]
        assert await bot.history(room="#b") == []
        with pytest.raises(Refused, match="say which room"):
            await bot.history()
        with pytest.raises(Refused, match="you are not in that room"):
            await tob.history(room="#a")
        with pytest.raises(Refused, match="you are in no room"):
            await tob.search("one")


@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_in_process_too_many_are_refused(limit, chat, autojump_clock):
    async with chat.connect() as bot:
        await bot.join("#a")
        with pytest.raises(Refused, match="the limit must be from 1 to 500"):
            await bot.history(limit=limit)


async def test_in_process_a_log_that_cannot_be_read_is_refused_too(log, chat, autojump_clock):
    async with chat.connect() as bot:
        await bot.join("#a")
        one = await bot.say("one")
        log.error = ValueError("x")
        for ask in (bot.history(), bot.search("x")):
            with pytest.raises(Refused, match=CANNOT_READ):
                await ask
        log.error = None
        assert await bot.history() == [one]


async def test_in_process_other_calls_need_not_wait(log, chat, autojump_clock):
    async with chat.connect(nick="bot") as bot, trio.open_nursery() as nursery:
        await bot.join("#a")
        log.shut()
        found = []

        async def look() -> None:
            found.append(await bot.history())

        nursery.start_soon(look)
        await settled()
        # It was asked before this was said.
        said = await bot.say("meanwhile")
        await bot.leave()
        assert found == []
        log.opened.set()
        await settled()
        assert found in ([[]], [[said]])


async def test_in_process_cancelled_while_it_waits(log, chat, autojump_clock):
    async with chat.connect() as bot:
        await bot.join("#a")
        log.shut()
        with trio.move_on_after(1) as waited:
            await bot.history()
        assert waited.cancelled_caught
        log.opened.set()
        await bot.say("on it goes")
        assert [entry.text for entry in await bot.history()] == ["on it goes"]


async def test_in_process_gone_while_it_waits(log, chat, autojump_clock):
    log.shut()
    async with trio.open_nursery() as nursery:
        async with chat.connect() as bot:
            await bot.join("#a")

            async def look() -> None:
                with pytest.raises(ChatClosed):
                    await bot.history()

            nursery.start_soon(look)
            await settled()
        log.opened.set()


async def test_in_process_the_chat_stops_while_it_waits(log, autojump_clock):
    async with running() as chat, trio.open_nursery() as nursery, chat.connect() as bot:
        await bot.join("#a")
        log.shut()

        async def look() -> None:
            with pytest.raises(ChatClosed):
                await bot.history()

        nursery.start_soon(look)
        await settled()
        nursery.start_soon(chat.stop)
        await settled()
        log.opened.set()


# --- what is read for an answer -------------------------------------------------------------------


async def test_little_more_is_read_than_is_shown(log, chat, jack, monkeypatch, autojump_clock):
    limits = []
    before = log.before

    async def noted(room, position, limit):
        limits.append(limit)
        return await before(room, position, limit)

    monkeypatch.setattr(log, "before", noted)
    await jack.send(*["/msg " + "\N{EARTH GLOBE EUROPE-AFRICA}" * 1500] * 500, "/history 500")
    assert len(await jack.sync()) == 21
    assert limits == [32]
    limits.clear()
    await jack.send(*[f"/msg {number}" for number in range(1, 301)], "/history 300")
    lines = await jack.sync()
    assert [line.split()[-1] for line in lines] == [f"{number}" for number in range(1, 301)]
    assert limits == [32, 64, 128, 76]


async def test_a_page_that_is_less_than_was_asked_for(log, chat, jack, autojump_clock):
    await jack.send(*[f"/msg {number}" for number in range(1, 97)], "/history 500")
    lines = await jack.sync()
    assert [line.split()[-1] for line in lines] == [f"{number}" for number in range(1, 97)]
