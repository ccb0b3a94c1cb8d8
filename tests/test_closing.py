"""Every close by us delivers its last line, and closes its descriptor once: resets or not."""

from __future__ import annotations

import contextlib
import gc
import socket
import time

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
    reset,
    ticks,
    unread_bytes,
    until,
)

from trio_chat.dialects.line import LineDialect
from trio_chat.hub.session import Session
from trio_chat.testing import LineClient

pytestmark = pytest.mark.usefixtures("waiting")

GOODBYE = "> sad to see you go =("
MORE_THAN_ONE_READ = b"/msg nobody will read this\n" * 40_000  # 1 MB


def sessions() -> int:
    """The sessions in memory."""
    return sum(isinstance(one, Session) for one in gc.get_objects())


@contextlib.asynccontextmanager
async def pouring(client: LineClient):
    """Send a lot beside what the block does, and go on with it after our end has been told."""

    async def pour() -> None:
        # The other side may close before it has taken all.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await client.stream.send_all(MORE_THAN_ONE_READ)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pour)
        yield
        nursery.cancel_scope.cancel()


async def last_bytes_with_more_sent(client: LineClient) -> list[str]:
    """All lines up to a proper end of file, while more than the server takes is on its way."""
    async with pouring(client):
        return await client.rest()


async def send_without_end(client: LineClient) -> None:
    while True:
        await client.stream.send_all(MORE_THAN_ONE_READ)


# --- the last line arrives ------------------------------------------------------------------------


async def test_quit_with_unread_input_on_both_sides(links: Links) -> None:
    async with chat_on_tcp() as (_, port):
        client = await dial(port)
        await client.stream.send_all(b"/help\n" * 100 + b"/quit\n")
        lines = await last_bytes_with_more_sent(client)
        assert lines[-1] == GOODBYE
        assert lines.count(lines[0]) == 100
        await client.stream.aclose()
    links.check()


async def test_refusal_with_unread_input_on_both_sides(links: Links) -> None:
    async with chat_on_tcp(max_clients=1) as (chat, port):
        inside = await dial(port, nick="john")
        turned_away = await dial(port)
        assert await last_bytes_with_more_sent(turned_away) == [
            "err: the server is full; please try again later"
        ]
        assert chat.statistics().turned_away == 1
        await turned_away.stream.aclose()
        await inside.send("/rooms")
        await inside.expect("> available rooms:")
        await inside.stream.aclose()
        await until(lambda: chat.statistics().clients == 0)
        next_one = await dial(port, nick="jack")
        await next_one.stream.aclose()
    links.check()


async def test_refusal_for_the_address_with_unread_input(links: Links, monkeypatch) -> None:
    monkeypatch.setattr("trio_chat.hub.handlers.connections._is_this_machine", lambda _: False)
    async with chat_on_tcp(max_clients_per_address=2) as (chat, port):
        inside = [await dial(port, nick="john"), await dial(port, nick="jack")]
        turned_away = await dial(port)
        assert await last_bytes_with_more_sent(turned_away) == [
            "err: there are too many connections from your address; close one first"
        ]
        await turned_away.stream.aclose()
        reset(inside.pop())
        await until(lambda: chat.statistics().clients == 1)
        inside.append(await dial(port, nick="jack"))
        for client in inside:
            await client.stream.aclose()
    links.check()


async def test_http_with_unread_input(links: Links) -> None:
    async with chat_on_tcp() as (_, port):
        browser = await dial(port)
        await browser.stream.send_all(b"POST / HTTP/1.1\r\n\r\n")
        lines = await last_bytes_with_more_sent(browser)
        assert lines[0] == "HTTP/1.1 400 Bad Request"
        await browser.stream.aclose()
    links.check()


async def test_a_failed_command_with_unread_input(links: Links, monkeypatch, caplog) -> None:
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("trio_chat.hub.handlers.rooms.Rooms._list_rooms", fail)
    async with chat_on_tcp() as (_, port):
        client = await dial(port)
        await client.send("/rooms")
        assert await last_bytes_with_more_sent(client) == [
            "err: something went wrong with that; please connect again"
        ]
        await client.stream.aclose()
    links.check()
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


async def test_stop_with_unread_input_on_both_sides(links: Links) -> None:
    async with chat_on_tcp(stop_grace=20) as (chat, port):
        clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(3)]
        endings: list[str] = []

        async def talk(client: LineClient) -> None:
            lines = await last_bytes_with_more_sent(client)
            endings.append(lines[-1])
            await client.stream.aclose()

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(talk, client)
            await until(lambda: chat.statistics().records > 1000)
            await chat.stop()
        assert endings == [FAREWELL] * 3
    links.check()


async def test_the_last_line_comes_after_a_backlog_that_is_read_late(narrow: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        client = await dial(port, receive_buffer=4096)
        helps = await client_help(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.stream.send_all, b"/help\n" * 1000 + b"/quit\n")
            await until(lambda: any(link.unsent_bytes for link in narrow.all))
            await ticks()
            assert chat.statistics().clients == 1
            lines = await client.rest()
        assert lines == helps * 1000 + [GOODBYE]
        await client.stream.aclose()
    narrow.check()


async def client_help(client: LineClient) -> list[str]:
    await client.send("/help")
    return await client.sync()


# --- how we close ---------------------------------------------------------------------------------


async def test_the_end_is_seen_before_the_close_and_what_comes_then_is_discarded(
    links: Links, mock_clock
) -> None:
    async with chat_on_tcp(linger_timeout=2) as (chat, port):
        client = await dial(port)
        await client.send("/quit")
        assert await client.rest() == [GOODBYE]  # to the end of file: SHUT_WR
        await until(lambda: chat.statistics().clients == 0)  # it counts no more
        [link] = links.all
        for _ in range(3):
            await client.stream.send_all(MORE_THAN_ONE_READ)  # read, or this would wait for ever
        await until(lambda: unread_bytes(link._socket) == 0)
        mock_clock.jump(1.9)
        await ticks()
        await client.send("more")
        await until(lambda: unread_bytes(link._socket) == 0)
        assert links.closes == {}
        mock_clock.jump(0.2)
        await until(lambda: links.closes == {link: 1})
        with pytest.raises(trio.BrokenResourceError):
            await send_without_end(client)
        await client.stream.aclose()
    links.check()


async def test_we_close_as_soon_as_the_peer_has(links: Links, mock_clock) -> None:
    async with chat_on_tcp() as (_, port):
        client = await dial(port)
        await client.send("/quit")
        assert await client.rest() == [GOODBYE]
        await ticks()
        assert links.closes == {}
        await client.stream.send_eof()
        await until(lambda: len(links.closes) == 1)
        await client.stream.aclose()
    links.check()


async def test_lingering_can_be_switched_off(links: Links, mock_clock) -> None:
    async with chat_on_tcp(linger_timeout=0) as (_, port):
        client = await dial(port)
        await client.send("/quit")
        assert await client.rest() == [GOODBYE]
        await until(lambda: len(links.closes) == 1)
        await client.stream.aclose()
    links.check()


async def test_lingering_does_not_outlast_the_grace_of_a_stop(links: Links, mock_clock) -> None:
    async with chat_on_tcp(linger_timeout=60, stop_grace=5) as (chat, port):
        client = await dial(port)
        await until(lambda: chat.statistics().clients == 1)
        stopped = trio.Event()

        async def stop() -> None:
            await chat.stop()
            stopped.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            assert await client.rest() == [FAREWELL]
            mock_clock.jump(4.9)
            await ticks()
            assert links.closes == {}
            mock_clock.jump(0.2)
            await until(lambda: len(links.closes) == 1)
            await stopped.wait()
        await client.stream.aclose()
    links.check()


async def test_a_client_that_has_left_leaves_no_work_for_the_garbage_collector() -> None:
    async with chat_on_tcp() as (_, port):
        gc.collect()
        before = sessions()
        gc.disable()
        try:
            client = await dial(port, nick="jack", room="#a")
            assert sessions() == before + 1
            await client.send("/quit")
            assert await client.rest() == [GOODBYE]
            await client.stream.aclose()
            await until(lambda: sessions() == before)
        finally:
            gc.enable()


async def test_a_client_that_pours_without_end_is_closed_all_the_same(links: Links) -> None:
    async with chat_on_tcp(linger_timeout=0.2) as (_, port):
        client = await dial(port)
        await client.send("/quit")

        async def pour() -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await send_without_end(client)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            assert await client.rest() == [GOODBYE]
            begun = time.monotonic()
        assert time.monotonic() - begun < 10
        await client.stream.aclose()
    links.check()


# --- one close ------------------------------------------------------------------------------------


async def test_descriptors_are_back_where_they_were(links: Links) -> None:
    async with chat_on_tcp() as (_, port):
        before = descriptors()
        for _ in range(20):
            clients = [await dial(port, nick=f"john{number}", room="#x") for number in range(6)]
            assert descriptors() == before + links.squatted + 12
            await clients[0].send("/quit")
            await clients[1].stream.send_eof()
            await clients[2].stream.aclose()
            reset(clients[3])
            await clients[4].stream.send_all(b"/msg unfinished")
            reset(clients[4])
            await clients[5].send("/quit", "/rooms")
            reset(clients[5])
            for client in clients[:3]:
                await client.stream.aclose()
            await until(lambda: len(links.closes) == len(links.all))
            assert descriptors() == before + links.squatted
    links.check()


async def test_a_waiting_sender_does_not_keep_or_touch_the_descriptor(narrow: Links) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        before = descriptors()
        talker = await dial(port, nick="john", room="#x")
        stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talker.stream.send_all, (b"/msg " + b"x" * 100 + b"\n") * 1000)
            await until(lambda: chat.statistics().lagging == 1)
        reset(stuck)
        await until(lambda: chat.statistics().clients == 1)
        await until(lambda: len(narrow.closes) == 1)
        assert await talker.sync() == ["> jack joined the room", "> jack has left the room"]
        await talker.stream.aclose()
        await until(lambda: len(narrow.closes) == 2)
        assert descriptors() == before + narrow.squatted
    narrow.check()


# --- resets at every point ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"G",
        b"/nick jack",
        b"/nick jack\n/join #x",
        b"/nick jack\n/join #x\n",
        b"/nick jack\n/join #x\n/msg hi\n/ms",
        b"/nick jack\n/join #x\n" + b"/rooms\n" * 3000,
        b"/nick jack\n/join #x\n/quit\n",
        b"/quit\n" + b"/rooms\n" * 3000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfd",
        b"\xff\xfd\x06",
    ],
)
@pytest.mark.parametrize("looked_at", [True, False])
async def test_a_reset_ends_that_client_alone(sent, looked_at, links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        for _ in range(3):
            come = chat.statistics().connected + 1
            client = socket.create_connection((HOST, port))
            client.sendall(sent)
            if looked_at:
                await until(lambda come=come: chat.statistics().connected == come)
                await ticks(5)
            reset(client)
            await until(lambda come=come: chat.statistics().connected == come)
            await until(lambda: chat.statistics().clients == 1)
        heard = await watcher.sync()
        joined = heard.count("> jack joined the room")
        assert joined == heard.count("> jack has left the room")
        assert joined == 3 or not looked_at or b"/join #x\n" not in sent
        await watcher.stream.aclose()
        await until(lambda: len(links.closes) == 4)
    links.check()


async def test_a_reset_while_lagging(narrow: Links) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        for _ in range(3):
            stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
            await stuck.send("/rooms", "/ms")
            await until(lambda: chat.statistics().clients == 2)
            while not chat.statistics().lagging:
                await talker.send(LONG)
                await talker.sync()
            reset(stuck)
            await until(lambda: chat.statistics().clients == 1)
        await talker.send("/who")
        assert await talker.sync() == ["> jack has left the room", "> in #x: john"]
        await talker.stream.aclose()
        await until(lambda: len(narrow.closes) == 4)
    narrow.check()


async def test_a_reset_while_lines_wait_for_the_rate(links: Links, mock_clock) -> None:
    async with chat_on_tcp(rate_limit=1.0, rate_burst=3) as (chat, port):
        client = await dial(port, nick="jack", room="#x")
        await client.send(*["/rooms"] * 10)
        await client.expect("> available rooms: #x")
        reset(client)
        await ticks()
        for _ in range(20):
            mock_clock.jump(1)
            await ticks()
        await until(lambda: chat.statistics().clients == 0)
        await until(lambda: len(links.closes) == 1)
    links.check()


async def test_a_reset_while_the_goodbye_waits_to_be_read(narrow: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        client = await dial(port, receive_buffer=4096)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.stream.send_all, b"/help\n" * 1000 + b"/quit\n")
            await until(lambda: any(link.unsent_bytes for link in narrow.all))
        await ticks()
        reset(client)
        await until(lambda: chat.statistics().clients == 0)
        await until(lambda: len(narrow.closes) == 1)
    narrow.check()


async def test_a_reset_in_the_moment_of_lingering(links: Links) -> None:
    async with chat_on_tcp(linger_timeout=60) as (_, port):
        client = await dial(port)
        await client.send("/quit")
        assert await client.rest() == [GOODBYE]
        await client.send("still here")
        reset(client)
        await until(lambda: len(links.closes) == 1)
    links.check()


async def test_a_reset_while_stopping(narrow: Links) -> None:
    async with chat_on_tcp(stop_grace=60, **SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        while not chat.statistics().lagging:
            await talker.send(LONG)
            await talker.sync()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await talker.rest() == [FAREWELL]
            await talker.stream.aclose()
            assert chat.statistics().clients == 1
            reset(stuck)
    narrow.check()


# --- an error in one client's task ----------------------------------------------------------------


async def test_an_error_in_a_clients_task_ends_that_client_alone(
    links: Links, monkeypatch, caplog
) -> None:
    feed = LineDialect.feed

    def fail(self, data: bytes, *arguments):
        if b"fail" in data:
            raise ZeroDivisionError
        return feed(self, data, *arguments)

    monkeypatch.setattr(LineDialect, "feed", fail)
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        unlucky = await dial(port, nick="jack", room="#x")
        await unlucky.send("fail")
        await watcher.expect("> jack joined the room", "> jack has left the room")
        assert chat.statistics().left == {"an error in its task": 1}
        await unlucky.stream.aclose()
        await watcher.stream.aclose()
    links.check()
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "a connection's task failed"
    assert HOST in record.address


async def test_a_drop_for_no_progress_frees_the_descriptor(narrow: Links, mock_clock) -> None:
    async with chat_on_tcp(stall_timeout=60, **SLOW) as (chat, port):
        talker = await dial(port, nick="john", room="#x")
        stuck = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        while not chat.statistics().lagging:
            await talker.send(LONG)
            await talker.sync()
        mock_clock.jump(59)
        await ticks()
        assert chat.statistics().clients == 2
        mock_clock.jump(2)
        await ticks()
        while chat.statistics().clients == 2:  # the kernel has delivered some meanwhile
            mock_clock.jump(60)
            await ticks()
        assert await talker.sync() == ["> jack has left the room"]
        assert list(chat.statistics().left) == [
            "nothing sent could be delivered for 60 seconds",
        ]
        await ticks()
        mock_clock.jump(3)  # the linger
        await until(lambda: len(narrow.closes) == 1)
        with contextlib.suppress(trio.BrokenResourceError):
            await stuck.rest()
        await stuck.stream.aclose()
        await talker.stream.aclose()
    narrow.check()


def test_a_socket_is_closed_with_its_link_and_not_by_the_collector(recwarn) -> None:
    """The descriptor has one owner: what Trio made of it has let go."""

    async def main() -> int:
        async with chat_on_tcp() as (_, port):
            before = descriptors()
            for _ in range(5):
                with socket.create_connection((HOST, port)) as client:
                    client.sendall(b"/quit\n")
                    await ticks()
            await until(lambda: descriptors() == before)
            return before

    trio.run(main)
    assert [str(warning.message) for warning in recwarn] == []
