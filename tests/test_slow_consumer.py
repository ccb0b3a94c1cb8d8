"""Clients slower than their rooms: what they get, and when, and what nobody else notices of it."""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from bots import nicks
from loopback import until

from trio_chat import Missed, Refused, Said, Settings, open_chat
from trio_chat.dialects.line_encoding import LF
from trio_chat.errors import Code
from trio_chat.hub.inbox import Lost
from trio_chat.hub.outboxes import Outboxes
from trio_chat.hub.session import Session
from trio_chat.hub.state import State
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.testing import LineClient, line_client

LIMIT = 1000
FAREWELL = "> the server is shutting down"
# The limit in lines: the line that exceeds it is the last.
TAKEN = 19


def text(number: int) -> str:
    return f"{number:04} {'x' * 40}"


def line(number: int) -> str:
    return f"> jack: {text(number)}"


def lines(first: int, after: int) -> list[str]:
    return [line(number) for number in range(first, after)]


@asynccontextmanager
async def running(**settings):
    small = {"line_bytes": 400, "message_chars": 100, "outbox_bytes": LIMIT, "rate_limit": None}
    settings = small | {"stall_timeout": 10_000.0} | settings
    # With a clock that jumps, a wait for something that never comes ends here.
    with trio.fail_after(100_000):
        async with open_chat(Settings(**settings)) as chat:
            yield chat


class Counted(trio.abc.ReceiveStream):
    """Counts the bytes that the chat has read."""

    def __init__(self, stream) -> None:
        self.stream = stream
        self.count = 0

    async def receive_some(self, max_bytes=None):
        data = await self.stream.receive_some(max_bytes)
        self.count += len(data)
        return data

    async def aclose(self):
        await self.stream.aclose()


class SlowClient(LineClient):
    """One that takes nothing but what it reads; and what the hub knows of it."""

    def __init__(self, chat, stream, read: Counted) -> None:
        super().__init__(stream)
        self.chat = chat
        self.read = read

    @property
    def known(self):
        return next(c for c in self.chat._hub.state.sessions if c.user.nick == "slow")

    async def send(self, *lines: str) -> None:
        await super().send(*lines)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def slow_client(chat, room="#a"):
    to_chat, at_chat = trio.testing.memory_stream_one_way_pair()
    from_chat, to_us = trio.testing.lockstep_stream_one_way_pair()
    read = Counted(at_chat)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.serve_stream, trio.StapledStream(from_chat, read))
        client = SlowClient(chat, trio.StapledStream(to_chat, to_us), read)
        await client.send("/nick slow")
        await client.expect("> all right, I will call you slow")
        await client.send(f"/join {room}")
        await client.expect(f"> welcome to {room}")
        yield client
        await client.stream.aclose()


@asynccontextmanager
async def talker(chat, *rooms: str):
    async with chat.connect(nick="jack") as bot:
        for room in rooms or ("#a",):
            await bot.join(room)
        yield bot


async def talk(bot, first: int, after: int, room: str | None = None) -> None:
    for number in range(first, after):
        await bot.say(text(number), room)


# --- past the limit -------------------------------------------------------------------------------


async def test_more_than_a_turn_never_waits_beyond_the_limit(autojump_clock, monkeypatch):
    limit, crowd, each = 262_144, 40, 30
    said, gate, original = f"/msg {'x' * 1_900}", trio.Event(), MemoryLog.append

    async def append(self, drafts):
        if any(isinstance(draft, Said) for draft in drafts):
            await gate.wait()  # meanwhile, all the rest gathers for the next turn
        return await original(self, drafts)

    monkeypatch.setattr(MemoryLog, "append", append)
    settings = {"line_bytes": 8_192, "message_chars": 2_000, "outbox_bytes": limit}
    async with running(**settings) as chat, slow_client(chat) as slow, AsyncExitStack() as stack:
        talkers = [await stack.enter_async_context(line_client(chat)) for _ in range(crowd)]
        for talker in talkers:
            await talker.send("/join #a")
            await talker.sync()
        for talker in talkers:
            await talker.send(*[said] * each)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
        await until(lambda: chat.statistics().messages == crowd * each)
        assert slow.known.slow_consumer
        # docs/settings.md says so; a turn takes what a read brought whole.
        assert limit < slow.known.link.unsent_bytes < limit + 330_000


async def test_past_its_limit_a_client_gets_no_more_entries(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, TAKEN - 1)
        assert chat.statistics().lagging == 0
        await talk(bot, TAKEN - 1, TAKEN)
        assert chat.statistics().lagging == chat.statistics().lagged == 1
        left = slow.known.link.unsent_bytes
        assert LIMIT < left <= LIMIT + len(line(0)) + 1
        await talk(bot, TAKEN, 60)
        await bot.set_topic("Trains")
        await bot.take_nick("jim")
        assert slow.known.link.unsent_bytes == left
        await slow.expect(*lines(0, 60), "> topic of #a: Trains")
        # Transient entries are not caught up.
        assert await slow.sync() == []


async def test_it_is_not_read_and_its_commands_wait(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 30)
        await slow.send("/nick sly")
        read = slow.read.count
        await slow.send("/topic Trains")
        await slow.send("/who")
        # One read may have begun before; it is held.
        assert slow.read.count == read
        assert slow.known.user.nick == "slow"
        assert await bot.topic() == ""
        await slow.expect(
            *lines(0, 30),
            "> all right, I will call you sly",
            "> topic of #a: Trains",
            "> in #a: jack, sly",
        )


async def test_it_cannot_pile_up_replies(autojump_clock):
    async with running() as chat, slow_client(chat) as slow:
        await slow.send(*["/help"] * 1000)
        # One read may have begun before.
        await slow.send("/help")
        read = slow.read.count
        await slow.send(*["/help"] * 999)
        assert slow.read.count == read
        assert slow.known.link.unsent_bytes <= LIMIT + 1000
        answer = await slow.lines(15)
        for _ in range(1999):
            await slow.expect(*answer)


async def test_a_tell_to_it_is_refused(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await bot.tell("slow", "in time")
        await talk(bot, 0, 30)
        with pytest.raises(Refused, match="slow's connection is too slow just now") as caught:
            await bot.tell("slow", "too late")
        assert caught.value.code == Code.UNREACHABLE
        assert not await chat.tell(slow.known.user.id, "too late")
        assert await chat.announce("too late") == 1  # the talker alone
        await slow.expect("> jack (to you): in time", *lines(0, 30))
        await bot.tell("slow", "in time again")
        assert await chat.tell(slow.known.user.id, "as before")
        await slow.expect("> jack (to you): in time again", "> as before")


async def test_nobody_else_is_slowed(autojump_clock):
    async with running(max_clients_per_address=1000) as chat, AsyncExitStack() as stack:
        bot = await stack.enter_async_context(talker(chat))
        await stack.enter_async_context(slow_client(chat))
        others = [await stack.enter_async_context(line_client(chat, room="#a")) for _ in range(20)]
        start = trio.current_time()
        for other in others:
            await other.sync()
        for number in range(100):
            await bot.say(text(number))
            for other in others:
                await other.expect(line(number))
        assert trio.current_time() == start
        lagging = {s.user.nick for s in chat._hub.state.sessions if s.slow_consumer}
        assert lagging == {"slow", "jack"}  # the bot has not read who came


async def test_many_messages_of_one_read_make_no_healthy_reader_slow(autojump_clock):
    async with (
        running(outbox_bytes=262_144) as chat,
        line_client(chat, nick="jack", room="#a") as jack,
        line_client(chat, room="#a") as other,
    ):
        await jack.send(*(f"/msg {text(number)}" for number in range(9000)))
        await jack.sync()
        await other.expect(*lines(0, 9000))


# --- catching up ----------------------------------------------------------------------------------


async def test_under_half_its_limit_it_gets_more_up_to_that_half(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 100)
        known = slow.known
        assert known.positions == {"#a": TAKEN}
        await slow.expect(line(0))
        await trio.testing.wait_all_tasks_blocked()
        assert known.link.unsent_bytes > LIMIT // 2
        assert known.positions == {"#a": TAKEN}
        await slow.expect(*lines(1, TAKEN))
        await trio.testing.wait_all_tasks_blocked()
        assert LIMIT // 2 <= known.link.unsent_bytes <= LIMIT // 2 + len(line(0)) + 1
        assert TAKEN < known.positions["#a"] < 2 * TAKEN
        assert known.slow_consumer
        await slow.expect(*lines(TAKEN, 100))


@pytest.mark.usefixtures("not_at_hand")
@pytest.mark.parametrize("recent", [1, 5, 256])
async def test_it_gets_each_kept_entry_once_from_the_ring_or_the_log(recent, autojump_clock):
    async with (
        running(recent_entries=recent) as chat,
        talker(chat) as bot,
        slow_client(chat) as slow,
    ):
        await talk(bot, 0, 700)
        await slow.expect(*lines(0, 700))
        assert await slow.sync() == []
        assert chat.statistics().lagging == 0


@pytest.mark.usefixtures("not_at_hand")
async def test_entries_that_are_no_longer_kept_are_missed_and_counted(autojump_clock):
    async with (
        running(recent_entries=4, history_entries=10) as chat,
        talker(chat) as bot,
        slow_client(chat) as slow,
    ):
        await talk(bot, 0, 100)
        missed = 100 - TAKEN - 10
        await slow.expect(
            *lines(0, TAKEN), f"> you missed {missed} messages in #a", *lines(90, 100)
        )
        assert await slow.sync() == []


@pytest.mark.usefixtures("not_at_hand")
async def test_one_that_is_missed_is_one_message(autojump_clock):
    async with (
        running(recent_entries=1, history_entries=2) as chat,
        talker(chat) as bot,
        slow_client(chat) as slow,
    ):
        await talk(bot, 0, TAKEN + 3)
        await slow.expect(*lines(0, TAKEN), "> you missed 1 message in #a")
        await slow.expect(*lines(TAKEN + 1, TAKEN + 3))


@pytest.mark.usefixtures("not_at_hand")
async def test_a_log_that_cannot_be_read_makes_it_miss_what_the_ring_has_not(
    autojump_clock, monkeypatch, caplog
):
    async def read(self, room, after, limit):
        raise OSError("no disk")

    monkeypatch.setattr(MemoryLog, "read", read)
    async with running(recent_entries=4) as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 100)
        missed = 100 - TAKEN - 4
        await slow.expect(*lines(0, TAKEN), f"> you missed {missed} messages in #a")
        await slow.expect(*lines(96, 100))
        await talk(bot, 100, 101)
        await slow.expect(line(100))
    assert "OSError: no disk" in caplog.text


@pytest.mark.usefixtures("not_at_hand")
async def test_the_hub_goes_on_while_a_page_is_read(autojump_clock, monkeypatch):
    gate = trio.Event()
    original = MemoryLog.read

    async def read(self, room, after, limit):
        await gate.wait()
        return await original(self, room, after, limit)

    monkeypatch.setattr(MemoryLog, "read", read)
    async with running(recent_entries=1) as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 50)
        await slow.expect(*lines(0, TAKEN))
        await talk(bot, 50, 60)
        assert chat.statistics().lagging == 1
        gate.set()
        await slow.expect(*lines(TAKEN, 60))


async def test_it_is_live_again_in_the_turn_in_which_it_reaches_the_head(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, TAKEN + 5)
        await slow.expect(*lines(0, TAKEN))
        await trio.testing.wait_all_tasks_blocked()
        # The rest has been added, and was not over half of the limit.
        assert slow.known.link.unsent_bytes > 0
        assert chat.statistics().lagging == 0
        await bot.take_nick("jim")
        await bot.say("Hi")
        await slow.expect(*lines(TAKEN, TAKEN + 5), "> jack is now known as jim", "> jim: Hi")


@pytest.mark.usefixtures("not_at_hand")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("recent", [3, 256])
async def test_order_is_kept_and_nothing_comes_twice(seed, recent, autojump_clock):
    choose = random.Random(seed)
    async with (
        running(recent_entries=recent) as chat,
        talker(chat) as bot,
        slow_client(chat) as slow,
    ):
        said = read = 0
        while read < 600:
            if said < 600 and choose.random() < 0.5:
                count = min(600 - said, choose.choice([1, 2, 40]))
                await talk(bot, said, said + count)
                said += count
            count = min(said - read, choose.choice([0, 1, 10, 50]))
            await slow.expect(*lines(read, read + count))
            read += count
            if choose.random() < 0.3:
                await trio.testing.wait_all_tasks_blocked()
        assert chat.statistics().lagged >= 1
        assert await slow.sync() == []


async def test_its_end_of_input_waits_until_it_has_caught_up(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 60)
        await slow.send("/rooms")
        await slow.stream.send_stream.aclose()
        assert await slow.rest() == [*lines(0, 60), "> available rooms: #a"]
        assert chat.statistics().left == {"closed by the client": 1}


async def test_quit_while_it_lags_is_answered_last(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 60)
        await slow.send("/quit")
        assert await slow.rest() == [*lines(0, 60), "> sad to see you go =("]


# --- several rooms --------------------------------------------------------------------------------


@pytest.mark.usefixtures("not_at_hand")
async def test_in_several_rooms_it_catches_up_in_each(autojump_clock):
    async with (
        running(recent_entries=3) as chat,
        talker(chat, "#a", "#b", "#c") as bot,
        chat.connect(nick="slow") as slow,
    ):
        for room in ("#a", "#b", "#c"):
            await slow.join(room)
        for number in range(0, 300, 3):
            await bot.say(text(number), "#a")
            await bot.say(text(number + 1), "#b")
            await slow.say("own words", "#b")
        await bot.say(text(0), "#c")
        heard = {"#a": [], "#b": [], "#c": []}
        while sum(map(len, heard.values())) < 201:
            event = await slow.__anext__()
            assert isinstance(event, Said)
            heard[event.room].append(event.text)
        assert heard == {
            "#a": [text(number) for number in range(0, 300, 3)],
            "#b": [text(number) for number in range(1, 300, 3)],
            "#c": [text(0)],
        }
        assert not slow._client.slow_consumer


@pytest.mark.usefixtures("not_at_hand")
async def test_each_room_says_what_is_missed_in_it(autojump_clock):
    async with (
        running(recent_entries=1, history_entries=1) as chat,
        talker(chat, "#a", "#b") as bot,
        chat.connect(nick="slow") as slow,
    ):
        await slow.join("#a")
        await slow.join("#b")
        for number in range(50):
            await bot.say(text(number), "#a")
            await bot.say(text(number), "#b")
        got = {"#a": 0, "#b": 0}
        missed = []
        while got != {"#a": 50, "#b": 50}:
            event = await slow.__anext__()
            if isinstance(event, Missed):
                missed.append(event.room)
                got[event.room] += event.count
            else:
                assert event.text == text(got[event.room])
                got[event.room] += 1
        assert missed == ["#a", "#b"]


@pytest.mark.usefixtures("not_at_hand")
async def test_a_page_read_for_an_earlier_stay_is_not_shown(autojump_clock, monkeypatch):
    gate = trio.Event()
    original = MemoryLog.read

    async def read(self, room, after, limit):
        await gate.wait()
        return await original(self, room, after, limit)

    monkeypatch.setattr(MemoryLog, "read", read)
    async with (
        running(recent_entries=1) as chat,
        talker(chat, "#a", "#b") as bot,
        chat.connect(nick="slow") as slow,
    ):
        await slow.join("#a")
        await slow.join("#b")
        await talk(bot, 0, 50, "#a")
        while slow._link.unsent_bytes:
            await slow.__anext__()
        await trio.testing.wait_all_tasks_blocked()
        await slow.leave("#a")
        await bot.say("unheard", "#a")
        await slow.join("#a")
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
        await bot.say("new", "#a")
        event = await slow.__anext__()
        assert (type(event), event.text) == (Said, "new")


# --- no progress, and other ends ------------------------------------------------------------------


async def test_without_progress_for_the_set_time_it_is_dropped(autojump_clock, caplog):
    caplog.set_level(logging.INFO, "trio_chat")
    async with (
        running(stall_timeout=30.0) as chat,
        line_client(chat, room="#a") as other,
        slow_client(chat) as slow,
    ):
        await other.expect("> slow joined the room")
        start = trio.current_time()
        await other.send("/msg Hi")
        await other.expect("> slow has left the room")
        assert trio.current_time() - start == pytest.approx(30)
        reason = "nothing sent could be delivered for 30 seconds"
        assert chat.statistics().left == {reason: 1}
        assert chat.statistics().clients == 1
        assert [r.reason for r in caplog.records if hasattr(r, "reason")] == [reason]
        assert await slow.line() in ("", "> anonymous: Hi")


async def test_one_that_lags_for_ever_is_dropped(autojump_clock):
    async with running(stall_timeout=30.0) as chat, line_client(chat, nick="jack") as jack:
        await jack.send("/join #a")
        await jack.line()
        async with slow_client(chat):
            await jack.send(*(f"/msg {text(number)}" for number in range(100)))
            await jack.expect("> slow joined the room", "> slow has left the room")
            assert chat.statistics().lagged == 1


async def test_slow_progress_is_progress(autojump_clock):
    async with running(stall_timeout=30.0) as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 100)
        got = []
        while len(got) < 100:
            await trio.sleep(25)  # on the virtual clock
            got += (await slow.stream.receive_some()).decode().splitlines()
        assert got == lines(0, 100)
        assert chat.statistics().left == {}


async def test_when_its_connection_breaks_it_is_gone(autojump_clock):
    async with running() as chat, talker(chat) as bot:
        async with slow_client(chat) as slow:
            await talk(bot, 0, 50)
            await slow.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert nicks(await bot.members()) == ["jack"]
        assert chat.statistics().clients == 1


async def test_a_lagging_client_whose_task_is_cancelled_is_gone(autojump_clock):
    async with running() as chat, talker(chat) as bot:
        to_chat, at_chat = trio.testing.memory_stream_one_way_pair()
        from_chat, _to_us = trio.testing.lockstep_stream_one_way_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.serve_stream, trio.StapledStream(from_chat, at_chat))
            await to_chat.send_all(b"/join #a\n")
            await trio.testing.wait_all_tasks_blocked()
            await talk(bot, 0, 50)
            assert chat.statistics().lagging == 1
            start = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == start
        await trio.testing.wait_all_tasks_blocked()
        assert nicks(await bot.members()) == ["jack"]
        assert chat.statistics().clients == 1


async def test_at_a_stop_it_is_told_what_it_misses_and_the_farewell(autojump_clock, nursery):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 50)
        nursery.start_soon(chat.stop)
        await trio.sleep(1)  # on the virtual clock
        missed = 50 - TAKEN
        assert await slow.rest() == [
            *lines(0, TAKEN),
            f"> you missed {missed} messages in #a",
            FAREWELL,
        ]


async def test_a_stop_waits_for_one_that_never_reads_no_longer_than_its_grace(autojump_clock):
    async with (
        running(stop_grace=7.0, linger_timeout=1.0) as chat,
        line_client(chat, room="#a") as other,
        slow_client(chat),
    ):
        await other.send(*(f"/msg {text(number)}" for number in range(50)))
        await other.expect("> slow joined the room")
        start = trio.current_time()
        await chat.stop()
        assert trio.current_time() - start == pytest.approx(7)
        assert await other.rest() == [FAREWELL]


# --- the edges of it ------------------------------------------------------------------------------


async def test_lines_that_had_arrived_from_a_lagging_client_are_said_at_the_stop(autojump_clock):
    async with running() as chat, talker(chat) as bot, slow_client(chat) as slow:
        await talk(bot, 0, 100)
        assert chat.statistics().lagging == 1
        await slow.send("/msg last words")
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            said = [event.text async for event in bot if isinstance(event, Said)]
            assert said == ["last words"]
            nursery.cancel_scope.cancel()


class Trickle:
    """A link that takes nothing more, but whose peer gets what was sent before, byte by byte."""

    left = 1000

    def __init__(self, undelivered: list[int]) -> None:
        self.amounts = undelivered

    def undelivered(self) -> int:
        return self.amounts.pop(0)

    async def drain(self) -> bool:
        await trio.sleep_forever()  # until cancelled
        return False


async def test_a_slow_but_steady_reader_is_not_dropped(autojump_clock):
    """Before each wait and after it: it gets on three times, and then no more."""
    send, receive = trio.open_memory_channel[Lost](1)
    link = Trickle([900, 800, 800, 700, 700, 699, 699, 699])
    client = Session(link, LF, send, room_limit=1)
    async with trio.open_nursery() as nursery:
        state = State(Settings(stall_timeout=60))
        outboxes = Outboxes(state, nursery)
        await outboxes._drain(client)
    assert trio.current_time() == 4 * 60
    note = await receive.receive()
    assert (note.session, note.reason) == (
        client,
        "nothing sent could be delivered for 60 seconds",
    )
