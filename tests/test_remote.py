"""A client of a chat elsewhere, over TCP: its calls, and that a cut line costs it nothing."""

from __future__ import annotations

import json
import random
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
import trustme
from attrs import evolve
from loopback import HOST, PATIENCE, chat_on_tcp, dial, until

from trio_chat import (
    ChatClosed,
    Ended,
    Joined,
    Left,
    Missed,
    NoConnection,
    Notice,
    Noticed,
    Refused,
    Said,
    Settings,
    Told,
    TopicSet,
    custom,
    open_chat,
)
from trio_chat.dialects import documents
from trio_chat.hub import searches
from trio_chat.protocol.events import Acted, MembersListed, Renamed, Welcomed
from trio_chat.remote import Disconnected, RemoteClient, Resumed, connections, open_client, socket
from trio_chat.remote.inbox import Inbox
from trio_chat.remote.parse import MalformedDocument, parse_event
from trio_chat.remote.resuming import Resuming
from trio_chat.remote.session import RemoteSession
from trio_chat.roomlog import memory
from trio_chat.roomlog.memory import MemoryLog


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(connections, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(connections, "LAST_WAIT", 0.05)


@asynccontextmanager
async def running(**settings):
    """A chat on loopback, and its port; a test that hangs fails."""
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**settings) as (chat, port):
            yield chat, port


def url(port: int) -> str:
    return f"ws://{HOST}:{port}/ws"


class Line:
    """Between a client and its server; it can be cut, as often as one likes."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.port = 0
        self.open = True
        self._streams: set[trio.SocketStream] = set()

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            task_status.started()
            await trio.serve_listeners(self._forward, [listener], handler_nursery=nursery)

    async def _forward(self, near: trio.SocketStream) -> None:
        self._streams.add(near)
        with suppress(OSError):
            if self.open:
                far = await trio.open_tcp_stream(HOST, self.to)
                self._streams.add(far)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, near, far)
                    nursery.start_soon(self._pump, far, near)
        near.socket.close()

    async def _pump(self, one: trio.SocketStream, other: trio.SocketStream) -> None:
        try:
            async for data in one:
                await other.send_all(data)
            await other.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            one.socket.close()
            other.socket.close()

    def cut(self) -> None:
        streams, self._streams = self._streams, set()
        for stream in streams:
            stream.socket.close()


@asynccontextmanager
async def a_line_to(port: int):
    line = Line(port)
    async with trio.open_nursery() as nursery:
        await nursery.start(line.run)
        try:
            yield line
        finally:
            line.cut()
            nursery.cancel_scope.cancel()


async def test_a_search_that_stopped_says_where(monkeypatch):
    monkeypatch.setattr(searches, "SEARCH_ENTRIES", 1)
    monkeypatch.setattr(memory, "STRETCH_SECONDS", 0.0)
    async with running() as (_, port), open_client(url(port), nick="bot") as bot:
        await bot.join("#a")
        said = [await bot.say("tea", "#a") for _ in range(2)]
        found = await bot.search("tea", "#a")
        assert (found, found.stopped_at) == (said[1:], 2)
        monkeypatch.setattr(searches, "SEARCH_ENTRIES", 2)
        found = await bot.search("tea", "#a")
        assert (found, found.stopped_at) == (said, 0)


async def test_each_call_has_its_own_result():
    async with running() as (_, port), open_client(url(port), nick="bot") as bot:
        assert bot.nick == "bot"
        assert bot.hello.client == bot.id
        assert bot.hello.limits.message_chars == 2000
        jack = await dial(port, nick="jack", room="#A")
        welcomed = await bot.join("#a")
        assert (welcomed.room, welcomed.room_name) == ("#a", "#A")
        assert [member.nick for member in welcomed.members] == ["bot", "jack"]
        said = await bot.say("Hi", "#a")
        assert said == Said("#a", bot.id, "bot", "Hi", 1, said.time)
        assert isinstance(await bot.act("waves", "#a"), Acted)
        topic = await bot.set_topic("tea", "#a")
        assert isinstance(topic, TopicSet)
        assert topic.position == 3
        assert await bot.topic("#a") == "tea"
        assert isinstance(await bot.tell("jack", "psst"), Told)
        assert [entry.position for entry in await bot.history("#a")] == [1, 2, 3]
        assert [entry.position for entry in await bot.history("#a", 1, before=2)] == [1]
        assert await bot.search("hi", "#a") == [said]
        assert await bot.rooms() == ["#A"]
        assert [member.nick for member in (await bot.members("#a")).members] == ["bot", "jack"]
        assert isinstance(await bot.command("/me nods", "#a"), Acted)
        await bot.ping()
        await bot.take_nick("robot")
        assert bot.nick == "robot"
        await bot.leave("#a")
        with pytest.raises(Refused, match="you are not in that room"):
            await bot.say("Hi", "#a")
        with pytest.raises(Refused, match="control characters"):
            await bot.say("a\nb", "#a")
        await jack.expect(
            *("> bot joined the room", "> bot: Hi", "> * bot waves", "> topic of #A: tea"),
            *("> bot (to you): psst", "> * bot nods", "> bot is now known as robot"),
            "> robot has left the room",
        )


async def test_events_are_what_others_do():
    async with running() as (_, port), open_client(url(port), nick="bot") as bot:
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")
        await jack.send(
            "/msg Hi", "/me waves", "/topic tea", "/nick jim", "/tell bot psst", "/leave"
        )
        await bot.say("own words are no events", "#a")
        kinds = [Joined, Said, Acted, TopicSet, Renamed, Told, Left]
        for kind in kinds:
            assert isinstance(await anext(bot), kind)


async def test_leaving_the_block_leaves_the_chat_at_once():
    async with running() as (chat, port):
        jack = await dial(port, nick="jack", room="#a")
        async with open_client(url(port), nick="bot") as bot:
            await bot.join("#a")
        await jack.expect("> bot joined the room", "> bot has left the room")
        assert chat.statistics().away == 0
        with pytest.raises(ChatClosed):
            await bot.say("too late", "#a")
        assert [event async for event in bot] == []
        with trio.CancelScope() as scope:
            async with open_client(url(port), nick="bot") as bot:
                await bot.join("#a")
                scope.cancel()
                await trio.sleep_forever()  # until cancelled
        await jack.expect("> bot joined the room", "> bot has left the room")
        await until(lambda: chat.statistics().clients == 1)


async def test_a_connection_that_cannot_begin_says_why():
    async with running(http_hosts=("localhost",)) as (_, port):
        await dial(port, nick="jack")
        with pytest.raises(Refused, match="the nick jack is taken"):
            async with open_client(url(port), nick="jack"):
                pass
        with pytest.raises(NoConnection, match="does not let this client in: HTTP status 404"):
            async with open_client(f"ws://{HOST}:{port}/chat"):
                pass
        for wrong in ("http://localhost/ws", "localhost:8888", "ws://"):
            with pytest.raises(ValueError, match="a URL must look like"):
                async with open_client(wrong):
                    pass
    with pytest.raises(NoConnection, match="Connection refused"):
        async with open_client(url(port)):
            pass


async def test_a_server_without_websocket_is_told_apart():
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"> welcome to something else\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        with pytest.raises(NoConnection, match="does not speak WebSocket"):
            async with open_client(url(listener.socket.getsockname()[1])):
                pass
        nursery.cancel_scope.cancel()


async def test_a_client_that_is_cut_off_comes_back_and_has_missed_nothing():
    async with (
        running() as (chat, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        jack = await dial(port, nick="jack", room="#a")
        await bot.join("#a")
        before = bot.id
        await jack.send("/msg one")
        assert (await anext(bot)).text == "one"
        line.open = False
        line.cut()
        assert isinstance(await anext(bot), Disconnected)
        await until(lambda: chat.statistics().away == 1)
        await jack.send("/msg two", "/me three", "/nick jim")
        await jack.expect(
            *("> bot joined the room", "> * jack three", "> all right, I will call you jim")
        )
        line.open = True
        assert await anext(bot) == Resumed("bot", ("#a",), anew=False)
        assert (await anext(bot)).text == "two"
        assert (await anext(bot)).text == "three"
        listed = await anext(bot)
        assert isinstance(listed, MembersListed)
        assert [member.nick for member in listed.members] == ["bot", "jim"]
        assert bot.id == before
        await bot.say("back", "#a")
        await jack.expect("> bot: back")


async def test_calls_wait_for_a_connection_and_fail_with_one_that_breaks():
    async with (
        running() as (chat, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
        trio.open_nursery() as nursery,
    ):
        await bot.join("#a")
        line.open = False
        line.cut()
        assert isinstance(await anext(bot), Disconnected)

        async def say() -> None:
            assert (await bot.say("at last", "#a")).position == 1

        nursery.start_soon(say)
        await until(lambda: chat.statistics().away == 1)
        line.open = True
        assert isinstance(await anext(bot), Resumed)


@pytest.mark.parametrize("grace", [60, 0])
async def test_it_is_connected_as_its_events_say(grace, monkeypatch):
    settle_in, breaks = Resuming.settle_in, True

    async def settle_in_and_break(self, *arguments) -> None:
        await settle_in(self, *arguments)
        if breaks:
            await trio.sleep_forever()  # until the connection breaks

    async with (
        running(resume_grace=grace) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
        trio.open_nursery() as nursery,
    ):
        assert bot.connected
        await bot.join("#a")
        monkeypatch.setattr(Resuming, "settle_in", settle_in_and_break)
        line.cut()
        await come(bot, Disconnected)
        assert not bot.connected
        await come(bot, Resumed)
        assert bot.connected
        # It is not to be asked yet, nor ever, as this connection breaks too.
        nursery.start_soon(not_sent, bot)
        await trio.testing.wait_all_tasks_blocked()
        line.cut()
        breaks = False
        await come(bot, Disconnected)
        await come(bot, Resumed)
        assert len(await bot.rooms()) == 1
    assert not bot.connected


async def come(bot: RemoteClient, kind: type) -> None:
    while not isinstance(await anext(bot), kind):
        pass


async def not_sent(bot: RemoteClient) -> None:
    with pytest.raises(NoConnection, match="before this was sent"):
        await bot.rooms()


async def test_an_answer_that_is_cut_off_is_no_connection(monkeypatch):
    async with (
        running() as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await bot.join("#a")

        [near] = [s for s in line._streams if s.socket.getsockname()[1] == line.port]
        receive = near.receive_some

        async def cut(size=None):
            await receive(size)
            line.cut()
            raise trio.ClosedResourceError

        near.receive_some = cut
        # The pump reads what it waits for first; the next is cut.
        await bot.ping()
        with pytest.raises(NoConnection, match="it may have been done, or not"):
            await bot.say("gone", "#a")


@pytest.mark.parametrize("grace", [60, 0.02])
@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_missed_or_doubled_however_often_it_is_cut(seed, grace):
    dice = random.Random(seed)
    total = 300
    async with (
        running(resume_grace=grace) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
        trio.open_nursery() as nursery,
    ):
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")

        async def talk() -> None:
            for number in range(total):
                await jack.send(f"/msg {number}")
                await trio.sleep(dice.random() * 0.004)  # as people do, and as chance has it

        async def cut() -> None:
            while True:
                await trio.sleep(dice.random() * 0.1)  # as chance has it
                line.cut()

        nursery.start_soon(talk)
        nursery.start_soon(cut)
        texts, breaks, came_anew = [], 0, 0
        async for event in bot:
            if isinstance(event, Said):
                texts.append(int(event.text))
            breaks += isinstance(event, Disconnected)
            assert not isinstance(event, Missed)
            came_anew += isinstance(event, Resumed) and event.anew
            if texts and texts[-1] == total - 1:
                break
        nursery.cancel_scope.cancel()
        assert texts == list(range(total))
        assert breaks > 3
        assert came_anew == 0 or grace < 1


async def serve_until(stop, ended, settings, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
    settings = Settings(rate_limit=None, linger_timeout=0, **settings)
    async with open_chat(settings) as chat:
        [(_, port)] = await chat.listen(host=HOST, port=0)
        task_status.started(port)
        await stop.wait()
    ended.set()


@pytest.mark.parametrize("store", ["file", "memory"])
async def test_a_server_that_is_started_anew_costs_no_messages(store, tmp_path):
    settings = {"store": f"sqlite:{tmp_path / 'rooms.db'}"} if store == "file" else {}
    with trio.fail_after(PATIENCE):
        async with a_line_to(0) as line, trio.open_nursery() as nursery:
            first, second, ended = trio.Event(), trio.Event(), trio.Event()
            line.to = await nursery.start(serve_until, first, ended, settings)
            async with open_client(url(line.port), nick="bot") as bot:
                jack = await dial(line.to, nick="jack", room="#a")
                await bot.join("#a")
                old = bot.id
                for number in range(5):
                    await jack.send(f"/msg {number}")
                    assert (await anext(bot)).text == str(number)
                await jack.stream.aclose()
                assert isinstance(await anext(bot), Left)
                line.open = False
                first.set()
                assert await anext(bot) == Disconnected("the server is shutting down")
                await ended.wait()
                line.to = await nursery.start(serve_until, second, ended, settings)
                jack = await dial(line.to, nick="jack", room="#a")
                await jack.send("/msg 5", "/msg 6")
                await jack.sync()
                line.open = True
                assert await anext(bot) == Resumed("bot", ("#a",), anew=True)
                await jack.expect("> bot joined the room")
                await jack.send("/msg 7")
                for number in (5, 6, 7):
                    assert (await anext(bot)).text == str(number)
                assert bot.id != old
            await jack.expect("> bot has left the room")
            await jack.stream.aclose()
            second.set()


async def test_after_the_grace_it_comes_anew_and_has_missed_nothing():
    async with (
        running(resume_grace=0.05) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        jack = await dial(port, nick="jack", room="#a")
        await jack.send("/msg before its time")
        await jack.sync()
        await bot.join("#a")
        line.open = False
        line.cut()
        await jack.expect("> bot joined the room", "> bot has left the room")
        for number in range(600):
            await jack.send(f"/msg {number}")
        await jack.sync()
        line.open = True
        assert isinstance(await anext(bot), Disconnected)
        assert await anext(bot) == Resumed("bot", ("#a",), anew=True)
        assert await anext(bot) == Missed("#a", "#a", 100)
        texts = [(await anext(bot)).text for _ in range(500)]
        assert texts == [str(number) for number in range(100, 600)]


async def test_a_room_in_which_nobody_had_spoken_is_caught_up_with_too():
    async with (
        running(resume_grace=0.05) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await bot.command("/join #a")
        jack = await dial(port, nick="jack", room="#a")
        line.open = False
        line.cut()
        await jack.expect("> bot has left the room")
        await jack.send("/msg one", "/msg two", "/topic tea")
        await jack.sync()
        line.open = True
        await come(bot, Resumed)
        assert [(await anext(bot)).text for _ in range(3)] == ["one", "two", "tea"]


async def test_entries_that_are_no_longer_kept_are_missed():
    async with (
        running(resume_grace=0.05, history_entries=2) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")
        line.open = False
        line.cut()
        await jack.expect("> bot has left the room")
        await jack.send("/msg one", "/msg two", "/msg three", "/msg four", "/msg five")
        await jack.sync()
        line.open = True
        await come(bot, Resumed)
        assert await anext(bot) == Missed("#a", "#a", 3)
        assert [(await anext(bot)).text for _ in range(2)] == ["four", "five"]


async def test_entries_that_a_log_cannot_read_are_missed(monkeypatch):
    async with (
        running(resume_grace=0.05) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")
        line.open = False
        line.cut()
        await jack.expect("> bot has left the room")
        await jack.send("/msg one", "/msg two")
        await jack.sync()

        async def fail(*_):
            raise OSError("the disk is gone")

        monkeypatch.setattr(MemoryLog, "before", fail)
        line.open = True
        await come(bot, Resumed)
        assert await anext(bot) == Missed("#a", "#a", 2)
        await jack.send("/msg three")
        await come(bot, Said)


async def test_positions_of_another_log_are_not_compared(tmp_path):
    """The server comes back with another file, which has gone further than the first."""
    first, second = ({"store": f"sqlite:{tmp_path / name}.db"} for name in ("one", "two"))
    with trio.fail_after(PATIENCE):
        async with a_line_to(0) as line, trio.open_nursery() as nursery:
            stop, ended = trio.Event(), trio.Event()
            line.to = await nursery.start(serve_until, stop, ended, first)
            async with open_client(url(line.port), nick="bot") as bot:
                await bot.join("#a")
                await bot.say("one", "#a")
                line.open = False
                stop.set()
                await ended.wait()
                stop = trio.Event()
                line.to = await nursery.start(serve_until, stop, ended, second)
                jack = await dial(line.to, nick="jack", room="#a")
                await jack.send("/msg two", "/msg three")
                await jack.sync()
                line.open = True
                await come(bot, Resumed)
                assert [(await anext(bot)).text for _ in range(2)] == ["two", "three"]
            await jack.stream.aclose()
            stop.set()


async def test_entries_in_place_of_those_that_a_log_has_lost_are_passed_on(monkeypatch):
    """As after a crash, or from a copy that someone has put back."""
    async with (
        running(resume_grace=0.05) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")
        await bot.say("one", "#a")
        line.open = False
        line.cut()
        await jack.expect("> bot: one", "> bot has left the room")
        await jack.send("/msg two")
        await jack.sync()
        before = MemoryLog.before

        async def begin_anew(*arguments):
            entries = await before(*arguments)
            return [evolve(e, position=1, time=e.time) for e in entries if e.text == "two"]

        monkeypatch.setattr(MemoryLog, "before", begin_anew)
        line.open = True
        await come(bot, Resumed)
        assert (await anext(bot)).text == "two"


async def test_another_connection_with_its_token_ends_it():
    async with (
        running() as (_, port),
        open_client(url(port), nick="bot") as bot,
        socket.open_socket(url(port)) as other,
    ):
        await other.receive()
        await other.send({"type": "resume", "client": bot.id, "token": bot.hello.token})
        assert (await other.receive())["type"] == "resumed"
        events = [event async for event in bot]
        reason = "you came back on another connection"
        assert events == [Ended(reason, 1008), Disconnected(reason)]
        with pytest.raises(ChatClosed, match="you came back on another connection"):
            await bot.ping()


async def test_a_program_that_does_not_read_its_events_is_told_how_many_are_gone():
    async with running() as (_, port), open_client(url(port), nick="bot", buffer=10) as bot:
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")
        for number in range(50):
            await jack.send(f"/msg {number}")
        await jack.sync()
        await bot.ping()
        got = [await anext(bot) for _ in range(11)]
        assert isinstance(got[0], Joined)
        assert [event.text for event in got[1:10]] == [str(number) for number in range(9)]
        assert got[10] == Missed("#a", "#a", 41)
        await jack.send("/msg more")
        assert (await anext(bot)).text == "more"


async def test_the_outcome_of_typed_lines_stands_in_its_place_among_the_events():
    async with running() as (_, port), open_client(url(port), nick="bot") as bot:
        await bot.command("/join #a", echo=True)
        jack = await dial(port, nick="jack", room="#a")
        await jack.send("/msg one")
        await jack.sync()
        await bot.command("/msg two", "#a", echo=True)
        await bot.command("/nick tob", "#a", echo=True)
        with pytest.raises(Refused):
            await bot.command("/nick jack", "#a", echo=True)
        await bot.command("/who", "#a")
        await bot.ping()
        got = [await anext(bot) for _ in range(7)]
        assert [type(event).__name__ for event in got] == [
            *["Welcomed", "Joined", "Said", "Said", "Renamed", "NickTaken", "Refusal"],
        ]
        assert [event.text for event in got[2:4]] == ["one", "two"]
        assert got[3].author == bot.id


async def test_all_that_a_typed_line_leads_to_comes():
    def count(caller, arguments):
        return [Notice(number) for number in ("one", "two", "three")]

    table = {"commands": [custom("count", "/count", "count", count)]}
    async with running(open_with=table) as (_, port), open_client(url(port)) as bot:
        assert await bot.command("/count") == Notice("one")
        await bot.ping()
        assert [await anext(bot), await anext(bot)] == [Notice("two"), Notice("three")]


async def test_a_nick_that_was_typed_is_taken_again_too():
    async with (
        running(resume_grace=0) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="bot") as bot,
    ):
        await bot.command("/nick tob")
        line.cut()
        assert isinstance(await anext(bot), Disconnected)
        assert await anext(bot) == Resumed("tob", (), anew=True)


async def test_a_program_that_reads_its_events_gets_all_of_a_flood():
    total = 3_000
    async with running() as (_, port), open_client(url(port), nick="bot", buffer=200) as bot:
        await bot.join("#a")
        jack = await dial(port, nick="jack", room="#a")
        assert isinstance(await anext(bot), Joined)
        await jack.send(*[f"/msg {number}" for number in range(total)])
        for number in range(total):
            event = await anext(bot)
            assert isinstance(event, Said), event
            assert event.text == str(number)


async def test_an_event_that_comes_twice_is_one_and_a_gap_is_missed():
    one = RemoteSession(None, 10)
    one._take(Welcomed("#a", "#A", "", 4), None)
    for position in (5, 5, 4, 8):
        one._take(Said("#a", "1", "jack", str(position), position), None)
    one._take(Missed("#a", "#A", 3), None)
    one._take(Said("#a", "1", "jack", "12", 12), None)
    one.inbox.end()
    got = []
    while (event := await one.inbox.take()) is not None:
        got.append(event.text if isinstance(event, Said) else event)
    assert got[1:] == ["5", Missed("#a", "#A", 2), "8", Missed("#a", "#A", 3), "12"]


async def test_an_inbox_says_what_is_missing_where_it_is_missing():
    inbox = Inbox(2)
    said = [Said("#a", "1", "jack", str(number), number + 1) for number in range(4)]
    for entry in said[:3]:
        inbox.put(entry)
    inbox.put(Missed("#a", "#A", 5))
    assert await inbox.take() == said[0]
    inbox.put(said[3])
    inbox.end()
    got = []
    while (event := await inbox.take()) is not None:
        got.append(event)
    assert got == [said[1], Missed("#a", "#a", 6), said[3]]


async def test_a_silent_server_is_given_up(monkeypatch, autojump_clock):
    ends = []
    async with open_chat(Settings(rate_limit=None)) as chat, trio.open_nursery() as nursery:

        async def connect(*_):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(chat.serve_stream, theirs)
            ends.append(ours)
            return ours

        async def swallow(_):
            await trio.lowlevel.checkpoint()

        monkeypatch.setattr(trio, "open_tcp_stream", connect)
        async with open_client("ws://localhost/ws", nick="bot") as bot:
            await bot.join("#a")
            # As long as it answers to pings, it is no silent one.
            await trio.sleep(10.5 * socket.PING_SECONDS)  # on the virtual clock
            assert len(ends) == 1
            silent_since = trio.current_time()
            ends[0].send_stream.send_all = swallow
            assert await anext(bot) == Disconnected("the connection broke")
            silent = trio.current_time() - silent_since
            assert socket.PING_SECONDS < silent <= 3 * socket.PING_SECONDS
            assert await anext(bot) == Resumed("bot", ("#a",), anew=False)
            assert len(ends) == 2


async def test_over_tls():
    authority = trustme.CA()
    server, client = (
        ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
    )
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    async with open_chat(Settings(rate_limit=None)) as chat, trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                await chat.serve_stream(trio.SSLStream(stream, server, server_side=True))

        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with open_client(f"wss://localhost:{port}/ws", nick="bot", ssl_context=client) as bot:
            await bot.join("#a")
            assert (await bot.say("Hi", "#a")).position == 1
        with pytest.raises(NoConnection, match="certificate verify failed"):
            async with open_client(f"wss://localhost:{port}/ws"):
                pass
        nursery.cancel_scope.cancel()


# --- fields that documents have only at times -----------------------------------------------------


def test_a_document_may_say_that_a_message_is_a_notice() -> None:
    said = {"type": "said", "room": "#a", "author": "x", "nick": "ann", "text": "Hi"}
    document = said | {"position": 1, "time": 1.0}
    assert parse_event(document) == Said("#a", "x", "ann", "Hi", 1, 1.0)
    noticed = parse_event(document | {"notice": True})
    assert type(noticed) is Noticed
    assert parse_event(json.loads(documents.write(noticed))) == noticed
    assert type(parse_event(document | {"notice": "yes"})) is Said


def test_a_document_may_say_why_somebody_has_left() -> None:
    document = {"type": "left", "room": "#a", "author": "x", "nick": "ann"}
    assert parse_event(document) == Left("#a", "x", "ann")
    left = parse_event(document | {"reason": "bye"})
    assert left == Left("#a", "x", "ann", "bye")
    assert json.loads(documents.write(left)) == document | {"reason": "bye"}
    with pytest.raises(MalformedDocument):
        parse_event(document | {"reason": 1})
