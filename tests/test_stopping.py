"""The end of a chat: graceful, at once, in the middle of anything, and never late."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable

import pytest
import trio
from loopback import (
    FAREWELL,
    HOST,
    LONG,
    SLOW,
    Links,
    chat_on_tcp,
    descriptors,
    dial,
    swallow,
    ticks,
    until,
    watch_links,
)
from snapshots import Gate

from trio_chat import ChatClosed, Refused, Settings, Stopping, open_chat, serve
from trio_chat.hub.outboxes import Outboxes
from trio_chat.hub.settle import Settle
from trio_chat.testing import LineClient, line_client

pytestmark = pytest.mark.usefixtures("waiting")


# --- listeners close first ------------------------------------------------------------------------


async def test_listeners_close_first(links: Links, gate: Gate) -> None:
    async with chat_on_tcp() as (chat, port):
        [(_, other_port)] = await chat.listen(host=HOST, port=0)
        inside = await dial(port, nick="john", room="#x")
        gate.shut()
        await inside.send("/msg hi")
        await until(lambda: gate.reached)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await ticks()
            for closed in (port, other_port):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((HOST, closed))
            assert links.closes == {}
            gate.opened.set()
            assert await inside.rest() == [FAREWELL]
            await inside.stream.aclose()
    links.check()


async def test_once_stopping_there_is_no_way_in(gate: Gate, autojump_clock) -> None:
    async with open_chat() as chat, line_client(chat, nick="john", room="#x") as john:
        gate.shut()
        await john.send("/msg hi")
        await until(lambda: gate.reached)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await ticks(3)
            with pytest.raises(ChatClosed):
                await chat.listen(host=HOST, port=0)
            with pytest.raises(ChatClosed):
                async with chat.connect():
                    pass
            one, _ = trio.testing.memory_stream_pair()
            with pytest.raises(ChatClosed):
                await chat.serve_stream(one)
            gate.opened.set()
            assert await john.rest() == [FAREWELL]
            await john.stream.aclose()


@pytest.mark.parametrize("steps", range(12))
async def test_a_client_that_comes_in_the_moment_of_stopping_is_let_go(
    steps: int, links: Links
) -> None:
    """With a farewell or without, as far as it got: but the chat ends, and at once."""
    before = descriptors()
    begun = time.monotonic()
    async with chat_on_tcp(stop_grace=20) as (chat, port):
        with contextlib.ExitStack() as sockets:
            late = [sockets.enter_context(socket.create_connection((HOST, port))) for _ in range(5)]
            for client in late:
                client.sendall(b"/nick john\n/rooms\n")
            await ticks(steps)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chat.stop)
                for client in late:
                    stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
                    with contextlib.suppress(trio.BrokenResourceError, ConnectionResetError):
                        lines = await LineClient(stream).rest()
                        assert lines == [] or lines[-1] == FAREWELL
                    client.close()
    assert time.monotonic() - begun < 10
    assert links.closes == dict.fromkeys(links.all, 1)
    assert descriptors() == before + links.squatted


@pytest.mark.parametrize("steps", range(12))
async def test_a_browser_that_comes_in_the_moment_of_stopping_says_nothing(
    steps: int, links: Links
) -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        with socket.create_connection((HOST, port)) as browser:
            browser.sendall(b"POST / HTTP/1.1\r\n\r\n/nick eve\n/join #x\n/msg hi\n")
            await ticks(steps)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chat.stop)
                assert await watcher.rest() == [FAREWELL]
                await watcher.stream.aclose()
                browser.close()


@pytest.mark.parametrize("steps", range(10))
async def test_the_beginning_of_a_request_may_be_cut_by_the_stop(steps: int) -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        browser = await dial(port)
        person = await dial(port)
        await browser.stream.send_all(b"PO")
        await person.stream.send_all(b"PU")
        await until(lambda: chat.statistics().clients == 3)
        await ticks()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await ticks(steps)
            await browser.stream.send_all(b"ST / HTTP/1.1\r\n\r\n/nick eve\n/join #x\n/msg hi\n")
            await person.stream.send_all(b"TTY\n")
            assert await watcher.rest() == [FAREWELL]
            # Late input is not answered, and not mistaken for anything else.
            unknown = "err: unknown command: PUTTY"
            lines = [line for line in await person.rest() if "/msg TEXT" not in line]
            assert lines in ([FAREWELL], [unknown, FAREWELL])
            told = "\n".join(await browser.rest())
            assert "unknown command" not in told
            for client in (watcher, browser, person):
                await client.stream.aclose()


async def test_listening_and_stopping_at_the_same_time() -> None:
    for waits in (*[0] * 10, *range(1, 8)):  # who comes first is for Trio's dice
        begun = time.monotonic()
        before = descriptors()
        async with open_chat(Settings(stop_grace=20)) as chat, trio.open_nursery() as nursery:

            async def listen(chat=chat) -> None:
                # It may come too late; nothing else may happen to it.
                with contextlib.suppress(ChatClosed):
                    await chat.listen(host=HOST, port=0)

            nursery.start_soon(listen)
            await ticks(waits)
            nursery.start_soon(chat.stop)
        assert time.monotonic() - begun < 10
        assert descriptors() == before


# --- last lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        ([b"/nick john\n"], "> all right, I will call you john"),
        ([b"G", b"ET / HTTP/1.1\r\n\r\n"], "HTTP/1.1 400 Bad Request"),
        ([b"GET / HTTP/1.1\r\n", b"\r\n"], "HTTP/1.1 400 Bad Request"),
    ],
)
async def test_first_bytes_that_have_arrived_are_answered(
    first: list[bytes], answer: str, links: Links
) -> None:
    async with chat_on_tcp() as (chat, port):
        client = await dial(port)
        await until(lambda: chat.statistics().clients == 1)
        [there] = chat._hub.state.sessions
        *earlier, last = first
        for data in earlier:
            await client.stream.send_all(data)
            await ticks()
        there.link.pause_reading()  # as if it came in the moment of stopping
        await client.stream.send_all(last)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await client.line() == answer
            await client.stream.aclose()
    links.check()


async def test_lines_that_wait_for_the_rate_are_passed_on_without_it(mock_clock) -> None:
    async with chat_on_tcp(rate_limit=0.1, rate_burst=2) as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        talker = await dial(port, nick="jack", room="#x")
        await watcher.expect("> jack joined the room")
        await talker.send(*[f"/msg {number}" for number in range(500)])
        await ticks()
        # These wait in the kernel: its task reads no more before the others have passed.
        await talker.send(*[f"/msg {number}" for number in range(500, 1000)])
        await ticks()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await watcher.rest() == [
                *[f"> jack: {number}" for number in range(1000)],
                FAREWELL,
            ]
            assert await talker.rest() == [FAREWELL]
            await watcher.stream.aclose()
            await talker.stream.aclose()


async def test_last_lines_pass_though_the_channel_is_full(
    gate: Gate, monkeypatch, mock_clock
) -> None:
    monkeypatch.setattr("trio_chat.server.opening.CHANNEL_ITEMS", 1)
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        talkers = [await dial(port, nick=f"jack{number}", room="#x") for number in range(20)]
        await watcher.sync()
        gate.shut()
        for talker in talkers:
            await talker.send("/msg one")
        await until(lambda: gate.reached)
        for line in ("/msg two", "/msg three"):
            for talker in talkers:
                await talker.send(line)
            await ticks()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await ticks()
            gate.opened.set()
            heard = await watcher.rest()
            assert heard.pop() == FAREWELL
            for number in range(20):
                own = [line for line in heard if line.startswith(f"> jack{number}:")]
                assert own == [f"> jack{number}: {word}" for word in ("one", "two", "three")]
            assert len(heard) == 60
            await watcher.stream.aclose()
            for talker in talkers:
                await talker.stream.aclose()


async def test_an_unfinished_line_is_not_said(mock_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        talker = await dial(port, nick="jack", room="#x")
        await talker.stream.send_all(b"/msg finished\n/msg unfinish")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await watcher.rest() == ["> jack joined the room", "> jack: finished", FAREWELL]
            await watcher.stream.aclose()
            await talker.stream.aclose()


async def test_more_than_a_turn_takes_is_said_before_the_farewell(mock_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        talker = await dial(port, nick="jack", room="#x")
        await talker.send(*["/msg x"] * 4_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            heard = await watcher.rest()
            assert heard == ["> jack joined the room", *["> jack: x"] * 4_000, FAREWELL]
            await watcher.stream.aclose()
            await talker.stream.aclose()


async def test_a_client_that_quits_among_the_last_lines_gets_a_goodbye_and_is_seen_to_leave(
    mock_clock,
) -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        talker = await dial(port, nick="jack", room="#x")
        await talker.send("/quit")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await talker.rest() == ["> sad to see you go =("]
            await talker.stream.aclose()
            assert await watcher.rest() == [
                "> jack joined the room",
                "> jack has left the room",
                FAREWELL,
            ]
            await watcher.stream.aclose()


# --- the farewell ---------------------------------------------------------------------------------


async def test_everyone_gets_the_farewell_and_nobody_is_said_to_have_left(mock_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(30)]
        clients.append(await dial(port))
        for client in clients[:-1]:
            await client.sync()
        await clients[0].stream.send_all(b"\xff\xf6")  # telnet: are you there?
        await clients[0].expect("", "> yes, the server is here")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            for client in clients:
                received = b""
                while data := await client.stream.receive_some():
                    received += data
                end = b"\r\n" if client is clients[0] else b"\n"
                assert received == FAREWELL.encode() + end
                await client.stream.aclose()
        assert chat.statistics().left == {"the chat stopped": 31}
        assert (chat.statistics().clients, chat.statistics().rooms) == (0, 0)


async def test_the_farewell_comes_after_what_waits_and_what_was_missed(narrow: Links) -> None:
    async with chat_on_tcp(stop_grace=20, **SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        slow = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        said = 0
        while chat.statistics().lagging == 0 or said < 400:
            await talker.send(f"{LONG[:-4]}{said:04}")
            await talker.sync()
            said += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await talker.rest() == [FAREWELL]
            heard = await slow.rest()
            assert heard.pop() == FAREWELL
            missed = heard.pop()
            assert [line[-4:] for line in heard] == [f"{number:04}" for number in range(len(heard))]
            assert missed == f"> you missed {said - len(heard)} messages in #x"
            await talker.stream.aclose()
            await slow.stream.aclose()
    narrow.check()


async def test_the_grace_bounds_it_when_a_client_never_reads(narrow: Links, mock_clock) -> None:
    async with chat_on_tcp(stop_grace=5, **SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        while chat.statistics().lagging == 0:
            await talker.send(LONG)
            await talker.sync()
        stopped = trio.Event()

        async def stop() -> None:
            await chat.stop()
            stopped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            # The others wait for nobody.
            assert await talker.rest() == [FAREWELL]
            await talker.stream.aclose()
            await until(lambda: len(narrow.closes) == 1)
            mock_clock.jump(4.9)
            await ticks()
            assert not stopped.is_set()
            mock_clock.jump(0.2)
            await until(stopped.is_set)
        await stuck.stream.aclose()
    narrow.check()


async def test_nobody_waits_for_one_who_falls_behind_while_stopping(
    links: Links, mock_clock
) -> None:
    """A client with many last lines of its own, which reads no line of others."""
    limits = SLOW | {"outbox_bytes": 20_000}
    async with chat_on_tcp(stop_grace=5, rate_limit=0.1, rate_burst=2, **limits) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        links.all[1]._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        for client in (talker, stuck):
            await client.send(*[f"/msg {'x' * 100}"] * 600)
        await ticks()
        stopped = trio.Event()

        async def stop() -> None:
            await chat.stop()
            stopped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert await talker.rest() == [
                "> jack joined the room",
                *[f"> jack: {'x' * 100}"] * 600,
                FAREWELL,
            ]
            assert chat.statistics().lagged == 1
            await talker.stream.aclose()
            await ticks()
            mock_clock.jump(5.1)
            await until(stopped.is_set)
        await stuck.stream.aclose()
    links.check()


async def test_the_hub_rests_while_a_client_is_slow_to_take_its_last_lines(narrow: Links) -> None:
    async with chat_on_tcp(stop_grace=20, **SLOW) as (chat, port), chat.connect("john") as bot:
        slow = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        await bot.join("#x")
        while chat.statistics().lagging == 0:
            await bot.say(LONG.removeprefix("/msg "))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            [session] = [s for s in chat._hub.state.sessions if not s.local]
            await until(lambda: session.closing is not None)
            while session.link.unsent_bytes >= SLOW["outbox_bytes"] // 2:
                await slow.line()
                await ticks(3)
            await ticks()
            turns = chat.statistics().turns
            await ticks(100)
            assert session.link.unsent_bytes
            assert chat.statistics().turns - turns < 10
            assert (await slow.rest())[-1] == FAREWELL
            await slow.stream.aclose()
    narrow.check()


async def test_nobody_is_said_to_have_missed_their_own_words(narrow: Links) -> None:
    async with chat_on_tcp(stop_grace=20, **SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        slow = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        said = 0
        while chat.statistics().lagging == 0 or said < 400:
            await talker.send(LONG)
            await talker.sync()
            said += 1
        await slow.send(*[f"/msg {number}" for number in range(50)])  # read at the stop
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            heard = await talker.rest()
            assert heard == [*[f"> jack: {number}" for number in range(50)], FAREWELL]
            received = await slow.rest()
            assert received.pop() == FAREWELL
            missed = received.pop()
            assert missed == f"> you missed {said - len(received)} messages in #x"
            await talker.stream.aclose()
            await slow.stream.aclose()


async def test_a_bot_is_told_and_its_events_end(autojump_clock) -> None:
    async with open_chat() as chat, chat.connect(nick="bot") as bot:
        await bot.join("#x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert [type(event) for event in [event async for event in bot]][-1] is Stopping
        with pytest.raises(ChatClosed):
            await bot.say("too late")
        assert [event async for event in bot] == []


async def test_a_bot_that_takes_no_notice_does_not_hold_the_stop_up(autojump_clock) -> None:
    async with trio.open_nursery() as nursery, open_chat(Settings(stop_grace=5)) as chat:

        async def idle(*, task_status) -> None:
            async with chat.connect(nick="bot") as bot:
                await bot.join("#x")
                task_status.started()
                await trio.sleep_forever()  # until cancelled

        await nursery.start(idle)
        with trio.fail_after(6):
            await chat.stop()
        nursery.cancel_scope.cancel()


async def test_a_bot_that_lagged_can_read_what_it_was_given_after_the_stop(autojump_clock) -> None:
    async with (
        open_chat(Settings(rate_limit=None, **SLOW)) as chat,
        chat.connect(nick="bot") as bot,
    ):
        await bot.join("#x")
        async with line_client(chat, nick="john", room="#x") as john:
            while chat.statistics().lagging == 0:
                await john.send(LONG)
                await john.sync()
        await chat.stop()
        given = [event async for event in bot]
        assert len(given) > 5
        assert type(given[-1]) is Stopping


async def test_a_stop_with_nobody_there(mock_clock) -> None:
    async with open_chat() as chat:
        await chat.stop()
    async with open_chat() as chat:
        await chat.listen(host=HOST, port=0)


# --- stop and stop --------------------------------------------------------------------------------


async def test_stopping_twice_is_stopping_once(mock_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        client = await dial(port, nick="john")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(chat.stop)
            assert await client.rest() == [FAREWELL]
            await client.stream.aclose()
        await chat.stop()
        await chat.stop()


async def test_leaving_the_block_stops() -> None:
    heard: list[str] = []
    async with trio.open_nursery() as nursery, chat_on_tcp(stop_grace=20) as (_, port):
        plain = socket.create_connection((HOST, port))
        client = LineClient(trio.SocketStream(trio.socket.from_stdlib_socket(plain)))
        await client.send("/rooms")
        await client.expect("> available rooms:")
        await client.send("/nick jack", "/join #x", "/msg bye")
        nursery.start_soon(hang_up_at_the_end, client, heard)
    assert heard == ["> all right, I will call you jack", "> welcome to #x", FAREWELL]


async def test_a_chat_that_has_stopped_can_still_be_asked_these(autojump_clock) -> None:
    async with open_chat() as chat:
        await chat.stop()
        assert chat.statistics().clients == 0
        with pytest.raises(ChatClosed):
            await chat.tell("nobody", "hi")
        with pytest.raises(ChatClosed):
            await chat.listen(host=HOST, port=0)
        with pytest.raises(Refused):
            await chat.tell("nobody", "\x1b")


async def test_one_who_gives_up_waiting_for_the_stop_does_not_stop_it(
    gate: Gate, mock_clock
) -> None:
    async with chat_on_tcp() as (chat, port):
        client = await dial(port, nick="john", room="#x")
        gate.shut()
        await client.send("/leave")
        await until(lambda: gate.reached)
        with trio.CancelScope() as scope:
            scope.cancel()
            await chat.stop()
        assert scope.cancelled_caught
        gate.opened.set()
        assert await client.rest() == ["> you have left #x", FAREWELL]
        await client.stream.aclose()
        await chat.stop()


# --- at once --------------------------------------------------------------------------------------


async def test_cancelling_stops_at_once_with_one_last_send(narrow: Links, mock_clock) -> None:
    """No clock moves here: what waited, even shielded, would wait for ever."""
    with trio.CancelScope() as scope:
        async with chat_on_tcp(**SLOW) as (chat, port):
            talker = await dial(port, nick="john", room="#x")
            stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
            await talker.expect("> jack joined the room")
            while chat.statistics().lagging == 0:
                await talker.send(LONG)
                await talker.sync()
            quiet = socket.create_connection((HOST, port))
            dialled_before = chat.statistics().connected
            await until(lambda: chat.statistics().connected == dialled_before + 1)
            peers = [talker.stream.socket, stuck.stream.socket]
            received = [peer.dup() for peer in peers]
            scope.cancel()
    assert scope.cancelled_caught
    assert read_all(received[0]) == FAREWELL.encode() + b"\n"
    assert read_all(quiet) == FAREWELL.encode() + b"\n"
    assert read_all(received[1]).startswith(b"> welcome to #x\n") is False  # read by `dial`
    for peer in received:
        peer.close()
    narrow.check()


def read_all(sock) -> bytes:
    """Give the input on a socket whose peer has closed."""
    plain = socket.socket(fileno=sock.detach()) if not isinstance(sock, socket.socket) else sock
    plain.settimeout(5)
    with plain:
        data = b""
        while piece := plain.recv(65_536):
            data += piece
        return data


async def test_an_exception_in_the_block_comes_out_alone_and_ends_all(links: Links) -> None:
    async def fail() -> None:
        async with chat_on_tcp() as (_, port):
            await dial(port)
            await dial(port, nick="john", room="#x")
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert leaves(caught.value) == [ZeroDivisionError]
    links.check()


def leaves(error: BaseException) -> list[type[BaseException]]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [type(error)]


@pytest.mark.parametrize("where", ["turn", "flush", "drained"])
async def test_a_hub_that_crashes_brings_the_error_out_and_ends_everything(
    where: str, narrow: Links, monkeypatch
) -> None:
    def crash(*_):
        raise ZeroDivisionError

    stop_ended = trio.Event()

    async def stop(chat) -> None:
        await chat.stop()
        stop_ended.set()

    async def run(nursery: trio.Nursery) -> None:
        async with chat_on_tcp(**SLOW) as (chat, port), chat.connect(nick="bot") as bot:
            await bot.join("#x")
            talker = await dial(port, nick="john", room="#x")
            slow = await dial(port, nick="jack", room="#x", receive_buffer=4096)
            while chat.statistics().lagging < 2:  # the bot is one
                await talker.send(LONG)
                await talker.sync()
            owner = Outboxes if hasattr(Outboxes, where) else Settle
            monkeypatch.setattr(owner, where, crash)
            nursery.start_soon(stop, chat)
            if where == "drained":
                nursery.start_soon(swallow, slow)
            with contextlib.suppress(ChatClosed):
                await bot.say("hi")
            await trio.sleep_forever()  # until cancelled

    before = descriptors()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ExceptionGroup) as caught, trio.fail_after(20):
            await run(nursery)
        assert leaves(caught.value) == [ZeroDivisionError]
        with trio.fail_after(5):
            await stop_ended.wait()
        nursery.cancel_scope.cancel()
    narrow.check()
    assert descriptors() == before


async def test_cancelling_serve_ends_it_at_once(links: Links, mock_clock) -> None:
    before = descriptors()
    async with trio.open_nursery() as nursery:
        [(host, port)] = await nursery.start(serve, Settings(port=0))
        client = socket.create_connection((host, port))
        client.sendall(b"/rooms\n")
        await until(lambda: len(links.all) == 1)
        await ticks()
        nursery.cancel_scope.cancel()
    assert read_all(client).endswith(FAREWELL.encode() + b"\n")
    links.check()
    assert descriptors() == before


async def test_serve_with_a_port_in_use_raises_and_leaves_nothing(links: Links) -> None:
    with socket.create_server((HOST, 0)) as taken:
        before = descriptors()
        with pytest.raises(ExceptionGroup) as caught:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, Settings(port=taken.getsockname()[1]))
        assert leaves(caught.value) == [OSError]
        assert descriptors() == before


# --- cancelled at every step ----------------------------------------------------------------------


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope once as many steps of any tasks have been made since it was armed."""

    def __init__(self, steps: float) -> None:
        self.steps = steps
        self.made = 0
        self.scope: trio.CancelScope | None = None

    def arm(self, scope: trio.CancelScope) -> None:
        self.scope = scope

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is None:
            return
        self.made += 1
        if self.made == self.steps:
            self.scope.cancel()


async def life(cancel: CancelAfter) -> None:
    """A chat from start to end, with clients of all kinds within."""
    with trio.CancelScope() as scope:
        cancel.arm(scope)
        async with open_chat(Settings(stop_grace=1)) as chat:
            [(_, port)] = await chat.listen(host=HOST, port=0)
            with socket.create_connection((HOST, port)) as client:
                client.sendall(b"/nick john\n/join #x\n/msg hi\n")
                async with (
                    chat.connect(nick="bot") as bot,
                    line_client(chat, nick="jack", room="#x") as jack,
                ):
                    await bot.join("#x")
                    await jack.send("/msg hi")
                    await bot.say("hi")
            await chat.stop()
    cancel.scope = None


async def ending(cancel: CancelAfter) -> None:
    """The end of a chat, cancelled while those outside go on reading."""
    async with trio.open_nursery() as outside:
        with trio.CancelScope() as scope:
            async with open_chat(Settings(stop_grace=1)) as chat:
                [(_, port)] = await chat.listen(host=HOST, port=0)
                for number in range(3):
                    client = await dial(port, nick=f"john{number}", room="#x")
                    outside.start_soon(hang_up_at_the_end, client)
                cancel.arm(scope)
        cancel.scope = None


async def stop_alone(cancel: CancelAfter) -> None:
    """Only the one who asked for the stop is cancelled: the chat ends gracefully all the same."""
    async with trio.open_nursery() as outside, open_chat(Settings(stop_grace=1)) as chat:
        [(_, port)] = await chat.listen(host=HOST, port=0)
        clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(2)]
        for client in clients:
            outside.start_soon(hang_up_at_the_end, client)
        with trio.CancelScope() as scope:
            cancel.arm(scope)
            await chat.stop()
        cancel.scope = None
        await chat.stop()
        assert chat.statistics().left == {"the chat stopped": 2}


async def ways_in(cancel: CancelAfter) -> None:
    """Each way in is given up in the middle: the chat goes on, and nothing of it is left."""
    async with open_chat(Settings(stop_grace=1)) as chat:
        with trio.CancelScope() as scope:
            cancel.arm(scope)
            [(_, port)] = await chat.listen(host=HOST, port=0)
            with socket.create_connection((HOST, port)):
                async with chat.connect(nick="bot") as bot, line_client(chat, nick="jack"):
                    await bot.join("#x")
                    await bot.say("hi")
                    await chat.tell(bot.id, "hi")
        cancel.scope = None
        await until(lambda: chat.statistics().clients == 0)
        async with chat.connect(nick="bot") as bot:
            await bot.join("#x")


async def hang_up_at_the_end(client: LineClient, heard: list[str] | None = None) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        lines = await client.rest()
        if heard is not None:
            heard += lines
    await client.stream.aclose()


@pytest.mark.parametrize("play", [life, ending, stop_alone, ways_in])
def test_a_cancel_at_any_step_ends_all_in_time_and_leaves_nothing(
    play: Callable[[CancelAfter], object], monkeypatch
) -> None:
    links = watch_links(monkeypatch)
    whole = CancelAfter(math.inf)
    trio.run(play, whole, instruments=[whole])
    links.check()
    assert whole.made > 5
    before = descriptors()
    for step in range(1, whole.made + 20):  # the number of steps varies a little
        cancel = CancelAfter(step)
        begun = time.monotonic()
        trio.run(play, cancel, instruments=[cancel])
        assert time.monotonic() - begun < 5, f"cancelled at step {step}"
        assert links.closes == dict.fromkeys(links.all, 1), f"cancelled at step {step}"
        links.unreleased.clear()  # those whom a hub that was cancelled first never met
        links.check()
        assert descriptors() == before, f"cancelled at step {step}"
