"""A chat that stands still, and then goes on: by itself, or as another one. Nobody sees which."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.lowlevel
from attrs import evolve
from loopback import (
    FAREWELL,
    HOST,
    LONG,
    SLOW,
    Links,
    chat_on_tcp,
    dial,
    reset,
    ticks,
    until,
)
from snapshots import Gate, Next, hand_over, passed_on, succeed, successor

from trio_chat import ChatClosed, Notice, Refused, custom
from trio_chat.errors import Code
from trio_chat.hub import hub
from trio_chat.hub.inbox import Lost
from trio_chat.hub.pause import Pause
from trio_chat.protocol import chat_rows, commands
from trio_chat.protocol.names import parse_nick
from trio_chat.server import opening
from trio_chat.snapshot import freezer
from trio_chat.testing import LineClient, line_client
from trio_chat.transports import reader

pytestmark = pytest.mark.usefixtures("waiting")

UPGRADING = "> the server is being upgraded: please connect again"


# --- what goes on ---------------------------------------------------------------------------------


async def test_people_go_on_talking(goes_on: Next, links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await john.expect("> jack joined the room")
        await john.send("/topic bees", "/msg one")
        await john.expect("> topic of #x: bees")
        await jack.expect("> topic of #x: bees", "> john: one")
        async with goes_on(chat) as new:
            await john.send("/msg two", "/who", "/nick joe")
            await john.expect("> in #x: jack, john", "> all right, I will call you joe")
            await jack.expect("> john: two", "> john is now known as joe")
            await jack.send("/nick john", "/tell joe hi", "/topic", "/history")
            await jack.expect(
                "> all right, I will call you john",
                "> you (to joe): hi",
                "> topic of #x: bees",
            )
            shown = await jack.lines(3)
            assert [line.partition("] ")[2] for line in shown] == [
                "topic of #x: bees", "john: one", "john: two",
            ]  # fmt: skip
            assert [line.split()[1] for line in shown] == ["[1", "[2", "[3"]
            await john.expect("> jack is now known as john", "> john (to you): hi")
            third = await dial(port, nick="jim", room="#x")
            await third.expect("> topic of #x: bees")
            await john.expect("> jim joined the room")
            assert new.statistics().connected == 3
            assert new.statistics().clients == 3
    links.check()


async def test_users_are_the_same_as_before(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        await dial(port, nick="john", room="#x")
        before = [evolve(user, idle=0) for user in await chat.users()]
        async with goes_on(chat) as new:
            assert [evolve(user, idle=0) for user in await new.users()] == before


async def test_an_announcement_reaches_clients_that_were_handed_over(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john")
        silent = await dial(port)
        async with goes_on(chat) as new:
            # A client that has sent nothing yet may speak TLS or HTTP.
            assert await new.announce("tea is ready") == 1
            await john.expect("> tea is ready")
            await silent.send("/rooms")
            await silent.expect("> available rooms:")


async def test_the_count_of_a_paste_comes_after_a_pause(
    goes_on: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "REST_SECONDS", 0.05)
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john")
        async with chat.frozen():
            await john.send("a", "b")
        await john.expect("err: unknown command: a")
        assert "/msg TEXT" in await john.line()
        await john.expect("err: unknown command: b")
        async with chat.frozen():
            await trio.sleep(0.1)  # longer than the silence that ends a paste
            assert chat.statistics().waiting == 0
        await john.expect(
            "> 2 lines were not sent: each line must begin with a command, such as /msg"
        )
        monkeypatch.setattr(reader, "REST_SECONDS", 1.0)
        await john.send("a", "b", "c")
        await john.lines(3)
        async with goes_on(chat):
            await john.expect(
                "> 3 lines were not sent: each line must begin with a command, such as /msg"
            )


async def test_nobody_is_called_like_someone_who_came_over(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        await dial(port, nick="mary")
        async with goes_on(chat):
            other = await dial(port)
            await other.send("/nick rnary", "/nick Mary")
            assert await other.lines(2) == [
                f"err: the nick {nick} is taken, or looks like one that is: please choose another"
                for nick in ("rnary", "Mary")
            ]


@pytest.mark.parametrize("nick", ["?john", "jo?hn", "+john", "$john", "anonymous-1", "admin"])
async def test_a_nick_that_nobody_can_take_now_stays_until_its_holder_leaves(
    nick: str, goes_on: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat_on_tcp() as (chat, port):
        jack = await dial(port, nick="jack", room="#x")
        with monkeypatch.context() as patch:  # as an earlier version had it
            patch.setattr(chat_rows, "parse_nick", partial(parse_nick, reserved=True))
            john = await dial(port, nick=nick, room="#x")
        await jack.expect(f"> {nick} joined the room")
        async with goes_on(chat) as new:
            await jack.send("/who", f"/tell {nick} Hi", f"/tell {nick.upper()} again")
            assert await jack.sync() == [
                f"> in #x: {', '.join(sorted((nick, 'jack')))}",
                f"> you (to {nick}): Hi",
                f"> you (to {nick}): again",
            ]
            await john.expect("> jack (to you): Hi", "> jack (to you): again")
            await john.send("/msg I am still here", f"/nick {nick}")
            [line] = await john.sync()
            assert line.startswith("err: ")
            await jack.expect(f"> {nick}: I am still here")
            async with new.connect(nick="bot") as bot:
                await bot.tell(nick, "from a bot")
                await john.expect("> bot (to you): from a bot")
                await john.send("/quit")
                await jack.expect(f"> {nick} has left the room")
                with pytest.raises(Refused) as caught:
                    await bot.tell(nick, "too late")
                assert caught.value.code == Code.NO_SUCH_NICK
                with pytest.raises(Refused):
                    await bot.take_nick(nick)
            await jack.send(f"/nick {nick}")
            assert await jack.sync() == [line]


async def test_a_nick_that_was_asked_for_before_is_held_to_the_rules_of_now() -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john")
        handover = await hand_over(chat)
        [paused] = handover.state.clients
        paused.queued = [
            commands.TakeNick(parse_nick(nick, 32, reserved=True)) for nick in ("?john", "jim")
        ]
        async with succeed(handover, chat.settings):
            await john.expect("err: a nick may not contain '?'", "> all right, I will call you jim")


SPLIT = [
    (b"/nick jo", b"hn\n", ["> all right, I will call you john"]),
    (b"GE", b"T / HTTP/1.1\r\n\r\n", ["HTTP/1.1 400 Bad Request"]),
    (b"GE", b"\n", ["err: unknown command: GE"]),
    (b"PROXY TCP4 1.2", b".3.4 1.2.3.4 1 2\r\n/who\n",
     ["err: you are in no room; use /join ROOM first"]),
    (b"/x" * 300, b"xx\n/who\n",
     ["err: a line may have at most 400 bytes; this one was ignored",
      "err: you are in no room; use /join ROOM first"]),
    (b"/topic\xff", b"\xf6\n", ["", "> yes, the server is here",
                                "err: you are in no room; use /join ROOM first"]),
    (b"\xff\xfa\x18ab", b"c\xff\xf0/who\n", ["err: you are in no room; use /join ROOM first"]),
    (b"/who\r", b"\0/topic\n", ["err: you are in no room; use /join ROOM first"] * 2),
    ("/nick jé".encode()[:-1], "é\n".encode()[1:], ["> all right, I will call you jé"]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "answers"), SPLIT)
async def test_input_may_be_split_by_it_anywhere(before, after, answers, goes_on: Next) -> None:
    small = {"line_bytes": 400, "message_chars": 100}
    async with chat_on_tcp(trusted_proxies=("127.0.0.1",), **small) as (chat, port):
        john = await dial(port)
        await john.stream.send_all(before)
        await until(lambda: chat.statistics().clients == 1)
        await ticks()
        async with goes_on(chat):
            await john.stream.send_all(after)
            assert [line.rstrip("\r") for line in await john.lines(len(answers))] == answers


async def test_a_client_that_speaks_telnet_gets_crlf_from_then_on(goes_on: Next) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.stream.send_all(b"\xff\xfd\x06")
        assert await john.stream.receive_some() == b"\xff\xfc\x06"
        async with goes_on(chat):
            jack = await dial(port, nick="jack", room="#x")
            await jack.send("/msg hi")
            data = b""
            while len(data) < 34:
                data += await john.stream.receive_some()
            assert data == b"> jack joined the room\r\n> jack: hi\r\n"


async def test_a_client_that_connects_meanwhile_waits_and_is_not_refused(links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        async with chat.frozen() as paused:
            late = await dial(port)
            await late.send("/who")
            await ticks()
            assert len(links.all) == 0
            handover = passed_on(paused)
            paused.hand_over()
        async with succeed(handover, chat.settings):
            await late.expect("err: you are in no room; use /join ROOM first")


async def test_within_a_pause_nothing_is_read_or_written(links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await john.expect("> jack joined the room")
        async with chat.frozen() as paused:
            turns = chat.statistics().turns
            await john.send("/msg hi", "/quit")
            await ticks()
            with pytest.raises(BlockingIOError):
                jack.stream.socket._sock.recv(1, socket.MSG_DONTWAIT)
            assert [len(sock.recv(99, socket.MSG_PEEK)) for sock in paused.clients[:1]] == [14]
            assert chat.statistics().turns == turns
        await john.expect("> sad to see you go =(")
        await jack.expect("> john: hi", "> john has left the room")


# --- clients in the middle of something -----------------------------------------------------------


async def test_one_that_waits_for_its_rate(goes_on: Next, autojump_clock) -> None:
    async with chat_on_tcp(rate_limit=10.0, rate_burst=5) as (chat, port):
        john = await dial(port)
        begun = trio.current_time()
        await john.send(*(f"/x{number}" for number in range(20)))
        await john.expect(*(f"err: unknown command: /x{number}" for number in range(5)))
        async with goes_on(chat):
            await john.expect(*(f"err: unknown command: /x{number}" for number in range(5, 20)))
            assert 1.4 < trio.current_time() - begun < 1.7


async def test_one_whose_rate_is_lifted(autojump_clock) -> None:
    async with chat_on_tcp(rate_limit=0.01, rate_burst=1) as (chat, port):
        john = await dial(port)
        await john.send("/x", "/y", "/z")
        await john.expect("err: unknown command: /x")
        async with successor(chat, rate_limit=None):
            await john.expect("err: unknown command: /y", "err: unknown command: /z")


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub takes one record a turn, and just one more may wait for it."""
    monkeypatch.setattr(opening, "CHANNEL_ITEMS", 1)
    monkeypatch.setattr(hub, "TURN_RECORDS", 1)


async def test_tasks_that_wait_for_the_hub(goes_on: Next, gate, crowded) -> None:
    """Records are at hand in their own tasks; with some it is that their input has ended."""
    async with chat_on_tcp() as (chat, port):
        clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(6)]
        for client in clients:
            await client.sync()
        gate.shut()
        await clients[0].send("/msg a")
        await until(lambda: gate.reached)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd, chat, clients[1:], gate)
            async with goes_on(chat) as new:
                for client in clients[1:4]:
                    assert len(await client.lines(5)) == 5
                    assert await client.sync() == []
                lines = await clients[0].lines(5)
                assert sorted(lines) == [
                    *[f"> john{number}: b" for number in (1, 2, 3)],
                    *[f"> john{number} has left the room" for number in (4, 5)],
                ]
                await until(lambda: new.statistics().clients == 4)


async def crowd(chat, clients: list[LineClient], gate) -> None:
    """Say what comes behind the note that a pause is wanted."""
    await until(chat._clients.frozen.locked)
    await ticks()
    for client in clients[:3]:
        await client.send("/msg b")
    for client in clients[3:]:
        await client.stream.send_eof()
    await ticks()
    gate.opened.set()


async def test_one_that_waits_for_an_answer_from_the_log(goes_on: Next, reading: Gate) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/msg hi")
        await john.sync()
        reading.shut()
        await john.send("/history", "/x", "/quit")
        await until(lambda: reading.reached)
        await ticks()
        async with goes_on(chat):
            reading.opened.set()
            shown, *others = await john.rest()
            assert shown.endswith("john: hi")
            assert others == ["err: unknown command: /x", "> sad to see you go =("]


async def test_one_whose_records_are_held(goes_on: Next) -> None:
    """More at once than a turn takes of one client."""
    rolled = custom("roll", "/roll", "roll", lambda caller, text: [Notice(f"rolled {text}")])
    with_roll = {"open_with": {"commands": [rolled]}}
    async with chat_on_tcp(**with_roll) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send(*(f"/roll {number}" for number in range(3_000)))
        await until(lambda: bool(chat._hub.state.backlog))
        async with goes_on(chat, **with_roll):
            await john.expect(*(f"> rolled {number}" for number in range(3_000)))


async def test_a_handler_under_way_is_answered_once(goes_on: Next) -> None:
    gate, runs = trio.Event(), []

    async def slow(_, text: str) -> list[Notice]:
        runs.append(text)
        await gate.wait()
        return [Notice(f"done: {text}")]

    rows = {"open_with": {"commands": [custom("slow", "/slow", "take time", slow)]}}
    async with chat_on_tcp(**rows) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/slow tea", "/who")
        await until(lambda: runs == ["tea"], "the handler")
        async with goes_on(chat, **rows):
            gate.set()
            await john.expect("> done: tea", "> in #x: john")


async def test_a_held_command_that_is_gone_is_unknown() -> None:
    rolled = custom("roll", "/roll", "roll", lambda caller, text: [Notice(f"rolled {text}")])
    async with chat_on_tcp(open_with={"commands": [rolled]}) as (chat, port):
        john = await dial(port)
        await john.send(*["/roll 1"] * 4_000)
        await until(lambda: bool(chat._hub.state.backlog))
        async with successor(chat):
            lines = await john.lines(4_000)
            assert lines[0] == "> rolled 1"
            assert lines[-1] == "err: unknown command: /roll"
            assert sorted(lines) == lines


async def lag(chat, talker: LineClient) -> int:
    """Talk until someone lags; the number of lines that took."""
    said = 0
    while not chat.statistics().lagging:
        await talker.send(LONG)
        await talker.sync()
        said += 1
    return said


async def test_one_that_lags_is_caught_up(goes_on: Next, narrow: Links) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = await lag(chat, john)
        for number in range(200):
            await john.send(f"/msg {number} {LONG[5:90]}")
        await john.sync()
        async with goes_on(chat) as new:
            assert new.statistics().lagging == 1
            await jack.send("/x")
            await ticks()
            [slow] = [s for s in new._hub.state.sessions if s.slow_consumer]
            assert slow.queue is None  # it is not read from
            await john.send("/msg last")
            lines = await jack.lines(said + 201)
            assert lines == (
                [f"> john: {LONG[5:]}"] * said
                + [f"> john: {number} {LONG[5:90]}" for number in range(200)]
                + ["> john: last"]
            )
            await until(lambda: not new.statistics().lagging)
            await jack.expect("err: unknown command: /x")
            await jack.send("/msg back")
            await john.expect("> jack: back")
            assert await jack.sync() == []


# Without epoll each task waits by itself.
@pytest.mark.parametrize("waiting", ["epoll"], indirect=True)
async def test_no_task_starts_for_a_client_until_it_has_something_to_do(waiting: None) -> None:
    """Ten thousand of them would be a third of the pause."""
    async with chat_on_tcp() as (chat, port):
        talker, quitter, idler, lost = [
            await dial(port, nick=nick, room="#x") for nick in ("john", "jack", "jill", "jim")
        ]
        for client in (talker, quitter, idler, lost):
            await client.sync()
        async with successor(chat) as new:
            before = len(new._clients._nursery.child_tasks)
            assert new._clients.descriptors.connections == 4
            await talker.send("/msg hi")
            await idler.expect("> john: hi")
            assert len(new._clients._nursery.child_tasks) == before + 1
            await quitter.send("/quit")
            await quitter.expect("> john: hi", "> sad to see you go =(")
            assert await quitter.line() == ""
            await lost.stream.aclose()
            await idler.expect("> jack has left the room", "> jim has left the room")
            await until(lambda: new._clients.descriptors.connections == 2)
            # A second pause finds one without a task, and one with.
            async with new.frozen() as paused:
                assert len(paused.state.clients) == 2
            await new.stop()
            assert (await idler.lines(1)) == ["> the server is shutting down"]
            assert await idler.line() == ""


# Without epoll each task is told by itself.
@pytest.mark.parametrize("waiting", ["epoll"], indirect=True)
async def test_a_reader_that_waits_for_bytes_is_not_woken_for_a_pause(waiting: None) -> None:
    """It would cost each idle client more than all the rest of a handover."""
    async with chat_on_tcp() as (chat, port):
        clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(9)]
        await clients[0].stream.send_all(b"/msg half")
        for client in clients[1:]:
            await client.sync()
        tasks = set(chat._clients._nursery.child_tasks)
        woken: list[trio.lowlevel.Task] = []

        class Woken(trio.abc.Instrument):
            def before_task_step(self, task: trio.lowlevel.Task) -> None:
                if task in tasks:
                    woken.append(task)

        instrument = Woken()
        trio.lowlevel.add_instrument(instrument)
        async with chat.frozen() as paused:
            assert len(paused.state.clients) == 9
            assert paused.state.clients[0].reader.dialect.lines.buffer == b"/msg half"
        await ticks()
        trio.lowlevel.remove_instrument(instrument)
        assert woken == []
        await clients[0].stream.send_all(b" and half\n")
        for client in clients[1:]:
            await client.expect("> john0: half and half")


async def test_entries_that_the_log_keeps_do_not_go_over(goes_on: Next, narrow: Links) -> None:
    """One that lags reads it from there, whatever was at hand before."""
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = await lag(chat, john)
        async with chat.frozen() as paused:
            assert [room.recent for room in paused.state.rooms] == [[]]
        async with goes_on(chat):
            assert await jack.lines(said) == [f"> john: {LONG[5:]}"] * said


@pytest.mark.usefixtures("not_at_hand")
async def test_one_for_whom_the_log_is_being_read(
    goes_on: Next, narrow: Links, reading: Gate
) -> None:
    async with chat_on_tcp(**SLOW, recent_entries=1) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = await lag(chat, john)
        for number in range(200):
            await john.send(f"/msg {number} {LONG[5:90]}")
        await john.sync()
        reading.shut()
        lines = [await jack.line()]
        while not reading.reached:
            with trio.move_on_after(0.01):
                lines.append(await jack.line())
        async with goes_on(chat):
            reading.opened.set()
            lines += await jack.lines(said + 200 - len(lines))
            assert lines == (
                [f"> john: {LONG[5:]}"] * said
                + [f"> john: {number} {LONG[5:90]}" for number in range(200)]
            )


@pytest.mark.parametrize("at_hand", [True, False])
async def test_entries_at_hand_for_a_lagging_client_go_over(narrow: Links, *, at_hand) -> None:
    """Nothing else has these messages, as nothing is kept here. A client is told of lost ones."""
    async with chat_on_tcp(**SLOW, history_entries=0, recent_entries=2000) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = await lag(chat, john)
        for number in range(20):
            await john.send(f"/msg {number}")
        await john.sync()
        handover = await hand_over(chat)
        if not at_hand:
            handover.state.rooms[0].recent.clear()
        async with succeed(handover, chat.settings):
            before = [f"> john: {LONG[5:]}"] * said
            assert await jack.lines(said) == before
            if at_hand:
                assert await jack.lines(20) == [f"> john: {number}" for number in range(20)]
            else:
                await jack.expect("> you missed 20 messages in #x")
            await jack.send("/msg here")
            await john.expect("> jack: here")


async def test_a_token_that_is_gone_by_then_costs_nobody_the_connection(tmp_path, caplog) -> None:
    token = tmp_path / "token"
    token.write_text("x" * 40)
    token.chmod(0o600)
    async with chat_on_tcp(metrics_token_file=str(token)) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        handover = await hand_over(chat)
        token.unlink()
        async with succeed(handover, chat.settings):
            await john.send("/who")
            await john.expect("> in #x: john")
    assert "the files that settings name are not in use" in caplog.text


async def test_a_smaller_outbox_drops_nobody(narrow: Links) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        while not (left := [c.link.unsent_bytes for c in chat._hub.state.sessions][1]) > 25_000:
            await john.send(LONG)
            await john.sync()
        assert left < 50_000
        async with successor(chat, outbox_bytes=8_000, max_clients=1, max_rooms=1) as new:
            await until(lambda: new.statistics().lagging == 1)
            await john.send("/msg end")
            while (await jack.line()) != "> john: end":
                pass
            assert new.statistics().left == {}


async def test_one_that_quits_gets_all_that_waits(goes_on: Next, narrow: Links) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = await fill(chat, john)
        await jack.send("/quit")
        await john.expect("> jack has left the room")
        async with goes_on(chat) as new:
            assert await jack.rest() == [
                *[f"> john: {LONG[5:]}"] * said, "> sad to see you go =(",
            ]  # fmt: skip
            await until(lambda: new.statistics().clients == 1)
            assert new.statistics().left == {"quit": 1}
    narrow.check()


async def test_one_that_has_ended_its_input_gets_all_that_waits(
    goes_on: Next, narrow: Links
) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await john.expect("> jack joined the room")
        said = await fill(chat, john)
        await jack.stream.send_eof()
        await john.expect("> jack has left the room")
        async with goes_on(chat) as new:
            assert await jack.rest() == [f"> john: {LONG[5:]}"] * said
            await until(lambda: new.statistics().clients == 1)
    narrow.check()


async def test_one_whose_input_ends_just_then_gets_all_that_waits(
    goes_on: Next, narrow: Links, gate, crowded
) -> None:
    """That it has ended is still on its way to the hub when that has it stand still."""
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        others = [await dial(port, nick=f"jim{number}", room="#x") for number in range(3)]
        said = await fill(chat, john)
        gate.shut()
        await john.send("/msg end")
        await until(lambda: gate.reached)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crowd, chat, [*others, jack], gate)
            async with goes_on(chat) as new:
                lines = await jack.rest()
                assert lines[:3] == [f"> jim{number} joined the room" for number in range(3)]
                assert lines[3 : 3 + said] == [f"> john: {LONG[5:]}"] * said
                assert lines[3 + said] == "> john: end"
                await until(lambda: new.statistics().clients == 4)
    narrow.check()


async def fill(chat, talker: LineClient) -> int:
    """Talk until much waits for the second client; the number of lines that took."""
    said = 0
    while [client.link.unsent_bytes for client in chat._hub.state.sessions][1] < 25_000:
        await talker.send(LONG)
        await talker.sync()
        said += 1
    return said


async def test_one_that_lingers_stays_with_the_old_chat(links: Links) -> None:
    """The hub has let go of it: its own task ends it, and may do so after the handing over."""
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        await john.send("/quit")
        await john.expect("> sad to see you go =(")
        await until(lambda: chat.statistics().clients == 0)
        async with successor(chat) as new:
            assert new.statistics().clients == 0
            await ticks()
            assert links.closes == {}
            assert await john.line() == ""
            await john.stream.aclose()
            await until(lambda: len(links.closes) == 1)
    links.check()


@pytest.mark.parametrize("how", [reset, lambda client: client.stream.socket.close()])
async def test_a_connection_that_is_lost_meanwhile(how, links: Links) -> None:
    for handing in (False, True):
        async with chat_on_tcp() as (chat, port):
            john = await dial(port, nick="john", room="#x")
            jack = await dial(port, nick="jack", room="#x")
            await john.expect("> jack joined the room")
            async with chat.frozen() as paused:
                how(jack)
                await ticks()
                handover = passed_on(paused)
                if handing:
                    paused.hand_over()
            async with succeed(handover, chat.settings) if handing else keep(handover, chat):
                await john.expect("> jack has left the room")
        links.check()


@asynccontextmanager
async def keep(handover, chat) -> AsyncIterator:
    for sock in (*handover.clients, *handover.listeners):
        sock.close()
    yield chat


async def test_one_that_has_already_failed_is_not_taken_along(monkeypatch) -> None:
    """The hub hears of it in the very turn after which it would stand still."""
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await john.expect("> jack joined the room")
        client = next(c for c in chat._hub.state.sessions if c.user.nick == "jack")
        stop = Pause.stop

        def fail_once_stopped(pause, session) -> None:
            stop(pause, session)
            if session is client:
                chat._channel.send_nowait(Lost(client, "nothing could be delivered"))

        monkeypatch.setattr(Pause, "stop", fail_once_stopped)
        async with chat.frozen() as paused:
            assert [client.nick for client in paused.state.clients] == ["john"]
        await john.expect("> jack has left the room")
        await jack.stream.aclose()


async def open_later(gate: Gate) -> None:
    await ticks()
    gate.opened.set()


@pytest.mark.parametrize("source", [b"TCP4 192.0.2.1", b"TCP6 2001:db8::1"])
async def test_an_address_is_counted_as_before(source: bytes, goes_on: Next) -> None:
    proxied = {"trusted_proxies": ("127.0.0.1",), "max_clients_per_address": 1}
    header = b"PROXY %b 192.0.2.2 1 2\r\n" % source
    async with chat_on_tcp(**proxied) as (chat, port):
        john = await dial(port)
        await john.stream.send_all(header + b"/x\n")
        await john.expect("err: unknown command: /x")
        async with goes_on(chat) as new:
            jack = await dial(port)
            await jack.stream.send_all(header)
            assert (await jack.line()).startswith("err: there are too many connections from your")
            await john.send("/quit")
            await john.rest()
            await jack.stream.aclose()
            await until(lambda: new.statistics().clients == 0)
            assert not new._hub.state.addresses
            jim = await dial(port)
            await jim.stream.send_all(header + b"/y\n")
            await jim.expect("err: unknown command: /y")


async def test_one_that_lagged_before_anything_was_said_gets_nothing_older(
    goes_on: Next, narrow: Links
) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/msg old", "/msg older", "/leave")
        await john.expect("> you have left #x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        while not chat.statistics().lagging:
            await jack.send("/help")
            await ticks()
        await john.send("/join #x", "/msg new", "/topic bees")
        await john.expect("> welcome to #x", "> topic of #x: bees")
        async with goes_on(chat):
            while (line := await jack.line()).partition(" - ")[0].startswith("> /"):
                pass
            assert line == "> john: new"
            await jack.expect("> topic of #x: bees")


# --- those who cannot go --------------------------------------------------------------------------


async def test_streams_see_nothing_of_a_pause() -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        async with line_client(chat, nick="jack", room="#x") as jack:
            await john.expect("> jack joined the room")
            async with chat.frozen():
                await jack.send("/msg one")
                await john.send("/msg two")
                await ticks()
            await john.expect("> jack: one")
            await jack.expect("> john: two")
            await jack.send("/msg three")
            await john.expect("> jack: three")


async def test_bytes_that_a_stream_has_read_and_not_passed_on_are_not_lost(reading: Gate) -> None:
    async with chat_on_tcp() as (chat, _), line_client(chat, nick="jack", room="#x") as jack:
        reading.shut()
        await jack.send("/history")
        await until(lambda: reading.reached)
        for word in ("/a", "/b", "/c"):
            await jack.send(word)
            await ticks()
        async with chat.frozen():
            reading.opened.set()
        await jack.expect("> no messages found in #x")
        await jack.expect(*(f"err: unknown command: {word}" for word in ("/a", "/b", "/c")))


async def test_answers_for_a_stream_arrive_though_it_has_sent_more() -> None:
    """A plain close with unread input would be a reset."""
    async with chat_on_tcp() as (chat, _), trio.open_nursery() as nursery:
        with socket.create_server((HOST, 0)) as listener:
            jack = LineClient(await trio.open_tcp_stream(*listener.getsockname()))
            theirs, _ = listener.accept()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
        nursery.start_soon(chat.serve_stream, stream)
        await jack.sync()
        async with successor(chat):
            await jack.stream.send_all(b"/x\n" * 9)
            lines = await jack.rest()
            assert lines[0] == UPGRADING
            await jack.stream.aclose()


async def test_a_stream_that_is_cancelled_meanwhile_holds_nobody_up(gate: Gate) -> None:
    async with chat_on_tcp() as (chat, port), trio.open_nursery() as nursery:
        john = await dial(port, nick="john", room="#x")
        ours, theirs = trio.testing.memory_stream_pair()
        jack = LineClient(ours)
        nursery.start_soon(chat.serve_stream, theirs)
        await jack.send("/nick jack")
        await jack.expect("> all right, I will call you jack")
        gate.shut()
        await john.send("/msg hi")
        await until(lambda: gate.reached)
        nursery.start_soon(cancel_behind_the_note, chat, nursery.cancel_scope, gate)
        with trio.CancelScope(shield=True):
            async with chat.frozen() as paused:
                assert [client.nick for client in paused.state.clients] == ["john"]


async def cancel_behind_the_note(chat, scope: trio.CancelScope, gate: Gate) -> None:
    await until(chat._clients.frozen.locked)
    await ticks()
    scope.cancel()
    with trio.CancelScope(shield=True):
        await ticks()
        gate.opened.set()


async def test_streams_are_told_and_have_left(links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        async with line_client(chat, nick="jack", room="#x") as jack:
            await john.expect("> jack joined the room")
            async with successor(chat):
                assert await jack.rest() == [UPGRADING]
                await john.expect("> jack has left the room")
                await john.send("/nick jack")
                await john.expect("> all right, I will call you jack")


async def test_a_stream_that_comes_meanwhile_is_told_too() -> None:
    async with chat_on_tcp() as (chat, _):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            async with chat.frozen() as paused:
                nursery.start_soon(chat.serve_stream, theirs)
                await ours.send_all(b"/nick jack\n/join #x\n/msg hi\n")
                await ticks()
                for sock in passed_on(paused).listeners:
                    sock.close()
                paused.hand_over()
            assert await LineClient(ours).rest() == [UPGRADING]
            await ours.aclose()
        assert chat._log._histories == {}


async def test_with_in_process_clients_it_is_refused() -> None:
    async with chat_on_tcp() as (chat, port), chat.connect(nick="bot") as bot:
        await bot.join("#x")
        john = await dial(port, nick="john", room="#x")
        with pytest.raises(Refused, match="in-process") as caught:
            async with chat.frozen():
                pytest.fail("it was paused")
        assert caught.value.code == Code.CANNOT_HAND_OVER
        await john.send("/msg hi")
        await john.sync()
        await dial(port, nick="jack", room="#x")


# --- when it is asked for -------------------------------------------------------------------------


async def test_a_chat_that_is_stopping_or_handed_over_cannot_be_frozen() -> None:
    async with chat_on_tcp() as (chat, _), successor(chat), trio.open_nursery() as nursery:
        with pytest.raises(ChatClosed):
            async with chat.frozen():
                pytest.fail("it was paused")
        nursery.start_soon(chat.stop)
    with pytest.raises(ChatClosed):
        async with chat.frozen():
            pytest.fail("it was paused")


async def test_a_stop_waits_for_the_pause_to_be_over(links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        await john.sync()
        async with trio.open_nursery() as nursery:
            async with chat.frozen() as paused:
                nursery.start_soon(chat.stop)
                await ticks()
                assert links.closes == {}
                assert [listener.fileno() == -1 for listener in paused.listeners] == [False]
            assert await john.rest() == [FAREWELL]
            await john.stream.aclose()


async def test_a_hub_that_does_not_get_to_stand_still(gate: Gate, autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await john.expect("> jack joined the room")
        gate.shut()
        await john.send("/msg hi")
        await until(lambda: gate.reached)
        await john.send("/msg two")
        with pytest.raises(trio.TooSlowError):
            async with chat.frozen():
                pytest.fail("it was paused")
        gate.opened.set()
        await jack.expect("> john: hi", "> john: two")
        async with chat.frozen():
            await john.send("/msg three")
        await jack.expect("> john: three")
        await dial(port, nick="jim", room="#x")


async def test_a_stop_after_one_that_was_too_slow_is_as_fast_as_any(
    gate: Gate, crowded, monkeypatch
) -> None:
    """Some had begun to stand still, and had not got round to reading on."""
    monkeypatch.setattr(freezer, "PAUSE_SECONDS", 0.1)
    async with chat_on_tcp(stop_grace=60) as (chat, port):
        clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(4)]
        for client in clients:
            await client.sync()
        # The first turn takes the note, the second waits for the log with all standing still or
        # about to say so.
        await clients[0].send("/msg a")
        gate.shut()
        await until(lambda: gate.reached)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(too_slow, chat)
            await until(chat._clients.frozen.locked)
            await ticks()
            nursery.start_soon(say, chat, "john1")
            await ticks()
            gate.opened.set()
            gate.shut()
            await until(lambda: gate.reached)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await ticks()
            gate.opened.set()
            begun = time.monotonic()
            for client in clients:
                assert (await client.rest())[-1] == FAREWELL
                await client.stream.aclose()
        assert time.monotonic() - begun < 10


async def test_a_stop_reaches_one_that_has_not_got_round_to_reading_on() -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        await john.sync()
        [client] = chat._hub.state.sessions
        pause = Pause()
        pause.stop(client)
        pause.over.set()
        client.link.drain_input()
        await until(lambda: client.input_ended)


async def say(chat, nick: str) -> None:
    """Have the hub find a message behind the note, as of a task that was just about to send it."""
    client = next(c for c in chat._hub.state.sessions if c.user.nick == nick)
    await chat._channel.send((client, (commands.Say("hi"),), 0))


async def too_slow(chat) -> None:
    with pytest.raises(trio.TooSlowError):
        async with chat.frozen():
            pytest.fail("it was paused")


@pytest.mark.parametrize("when", ["before the note is read", "after it is"])
async def test_freezing_a_cancelled_chat_does_not_wait(when: str, gate: Gate, crowded) -> None:
    async def pause_chat(chat) -> None:
        with pytest.raises(ChatClosed):
            async with chat.frozen():
                pytest.fail("it was paused")

    async with trio.open_nursery() as outside:
        with trio.CancelScope() as scope:
            async with chat_on_tcp() as (chat, port):
                john = await dial(port, nick="john", room="#x")
                for nick in ("jack", "jim"):
                    await dial(port, nick=nick, room="#x")
                gate.shut()
                await john.send("/msg hi")
                await until(lambda: gate.reached)
                outside.start_soon(pause_chat, chat)
                await until(chat._clients.frozen.locked)
                await ticks()
                if when == "after it is":
                    for nick in ("jack", "jim"):
                        outside.start_soon(say, chat, nick)
                        await ticks()
                    for _ in range(2):  # the first turn has taken the note with it
                        gate.opened.set()
                        gate.shut()
                        await until(lambda: gate.reached)
                    assert chat._hub.state.pause is not None
                begun = time.monotonic()
                scope.cancel()
    assert time.monotonic() - begun < 4


async def test_pauses_come_one_after_the_other() -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port)
        held = 0

        async def pause_chat() -> None:
            nonlocal held
            async with chat.frozen():
                assert held == 0
                held += 1
                await ticks()
                held -= 1

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(pause_chat)
        assert await john.sync() == []


async def test_listening_on_more_meanwhile_begins_afterwards(links: Links) -> None:
    async with chat_on_tcp() as (chat, _):
        async with chat.frozen():
            [(_, port)] = await chat.listen(host=HOST, port=0)
            john = await dial(port)
            await john.send("/x")
            await ticks()
            assert links.all == []
        await john.expect("err: unknown command: /x")


# --- what the chat itself takes along -------------------------------------------------------------


async def test_rooms_kept_without_members_go_over_as_the_settings_say() -> None:
    async with chat_on_tcp(keep_rooms=("#a", "#b")) as (chat, port):
        john = await dial(port, nick="john", room="#a")
        await john.send("/topic bees", "/leave")
        await john.expect("> topic of #a: bees", "> you have left #a")
        async with successor(chat, keep_rooms=("#a", "#c")):
            await john.send("/rooms", "/join #a")
            await john.expect("> available rooms: #a, #c", "> welcome to #a", "> topic of #a: bees")


async def test_counts_and_the_time_it_runs_go_on(autojump_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/quit")
        await john.rest()
        await until(lambda: chat.statistics().clients == 0)
        await trio.sleep(1_000)  # on the virtual clock
        before = chat.statistics()
        async with successor(chat) as new:
            after = new.statistics()
            assert (after.connected, after.left) == (before.connected, {"quit": 1})
            assert after.records == before.records
            assert 1_000 <= new.uptime < 1_100
