"""TCP: bytes as they come over a real socket, its ends, and half-open peers."""

from __future__ import annotations

import errno
import socket
import sys

import pytest
import trio
from loopback import HOST, Links, chat_on_tcp, dial, needs_ipv6, reset, ticks, until

from trio_chat.testing import line_client
from trio_chat.transports.tcp import SocketLink

pytestmark = pytest.mark.usefixtures("waiting")


async def test_the_seeds_dialogue(links: Links) -> None:
    async with chat_on_tcp() as (_, port):
        john = await dial(port, nick="john", room="#general")
        jack = await dial(port, nick="jack")
        await jack.send("/rooms", "/join #general", "/msg Hi")
        await jack.expect("> available rooms: #general", "> welcome to #general")
        await john.expect("> jack joined the room", "> jack: Hi")
        await jack.stream.aclose()
        await john.expect("> jack has left the room")
        await john.stream.aclose()
    links.check()


async def test_a_new_client_is_greeted_with_nothing(links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        silent = await dial(port)
        await until(lambda: chat.statistics().clients == 1)
        await silent.send("/rooms")
        await silent.expect("> available rooms:")
        await silent.stream.aclose()
    links.check()


# --- a client's own end of file -------------------------------------------------------------------


async def test_at_the_end_of_file_complete_lines_are_answered_and_the_rest_is_discarded() -> None:
    async with chat_on_tcp() as (_, port):
        watcher = await dial(port, nick="john", room="#x")
        piped = await dial(port)
        await piped.stream.send_all(b"/nick a\n/join #x\n/msg hi\n/msg unfinished")
        await piped.stream.send_eof()
        assert await piped.rest() == ["> all right, I will call you a", "> welcome to #x"]
        await watcher.expect("> a joined the room", "> a: hi", "> a has left the room")
        await watcher.stream.aclose()
        await piped.stream.aclose()


async def test_lines_that_wait_for_the_rate_are_answered_before_the_end(mock_clock) -> None:
    async with chat_on_tcp(rate_limit=1.0, rate_burst=2) as (chat, port):
        piped = await dial(port)
        await piped.send(*["/rooms"] * 4)
        await piped.stream.send_eof()
        await piped.expect(*["> available rooms:"] * 2)
        for _ in range(2):
            await ticks()
            assert chat.statistics().clients == 1
            mock_clock.jump(1)
            await piped.expect("> available rooms:")
        assert await piped.line() == ""
        await piped.stream.aclose()


async def test_more_lines_than_a_turn_takes_are_answered_before_the_end() -> None:
    async with chat_on_tcp() as (_, port):
        piped = await dial(port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(piped.stream.send_all, b"/rooms\n" * 5_000)
            for _ in range(5_000):
                await piped.expect("> available rooms:")
        await piped.send(*["/who"] * 3_000)
        await piped.stream.send_eof()
        assert await piped.rest() == ["err: you are in no room; use /join ROOM first"] * 3_000
        await piped.stream.aclose()


async def test_nothing_but_an_end_of_file(links: Links) -> None:
    async with chat_on_tcp() as (chat, port):
        for start in (b"", b"GE", b"\xff", b"/ni", b"\r"):
            silent = await dial(port)
            await silent.stream.send_all(start)
            await silent.stream.send_eof()
            assert await silent.rest() == []
            await silent.stream.aclose()
        await until(lambda: chat.statistics().left == {"closed by the client": 5})
    links.check()


# --- bytes as they come ---------------------------------------------------------------------------


async def test_a_slow_drip_of_bytes_is_lines_all_the_same() -> None:
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        drip = await dial(port, nick="jack", room="#x")
        await watcher.expect("> jack joined the room")
        for number in range(3):
            for byte in f"/msg größer {number} 漢字\r\n".encode():
                before = chat.statistics().turns
                await drip.stream.send_all(bytes([byte]))
                if byte != ord("\n"):
                    await ticks(3)
                    assert chat.statistics().turns == before
            await watcher.expect(f"> jack: größer {number} 漢字")
            await watcher.send("/rooms")
            await watcher.expect("> available rooms: #x")
        await drip.stream.aclose()
        await watcher.stream.aclose()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_browser_gets_an_answer_and_never_a_room(at_once, links: Links) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n/join #x\n/msg hi\n"
    async with chat_on_tcp() as (chat, port):
        watcher = await dial(port, nick="john", room="#x")
        browser = await dial(port)
        for piece in [request] if at_once else [request[:1], request[1:3], request[3:]]:
            await browser.stream.send_all(piece)
            await ticks()
        answer = b""
        while data := await browser.stream.receive_some():
            answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head + b"\r\n"
        await browser.stream.aclose()
        await until(lambda: chat.statistics().clients == 1)
        assert await watcher.sync() == []
        await watcher.stream.aclose()
    links.check()


@pytest.mark.parametrize("urgent", [b"\xff", b"\xff\xf2"])
async def test_urgent_data_stays_in_its_place(urgent: bytes) -> None:
    """Telnet's Synch (RFC 854) sends its first byte or its last as urgent data, by the client."""
    async with chat_on_tcp() as (_, port):
        client = await dial(port)
        await client.send("/rooms")
        await client.expect("> available rooms:")
        sock = client.stream.socket
        await sock.send(urgent, socket.MSG_OOB)
        await client.stream.send_all(b"\xff\xf2"[len(urgent) :] + b"/rooms\r\n/who\r\n")
        await client.expect("> available rooms:", "err: you are in no room; use /join ROOM first")


# --- half-open peers ------------------------------------------------------------------------------


async def test_keepalive_is_set_as_the_settings_say(links: Links) -> None:
    async with chat_on_tcp(keepalive=77) as (_, port):
        client = await dial(port, nick="john")
        [link] = links.all
        sock = link._socket
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle = getattr(socket, "TCP_KEEPIDLE", None) or socket.TCP_KEEPALIVE
        assert sock.getsockopt(socket.IPPROTO_TCP, idle) == 77
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 25
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
        await client.stream.aclose()
    links.check()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
@pytest.mark.parametrize(("keepalive", "stall_timeout", "seconds"), [(77, 60, 154), (77, 600, 600)])
async def test_sent_bytes_have_to_be_acknowledged_as_soon_as_a_probe(
    keepalive: int, stall_timeout: int, seconds: int, links: Links
) -> None:
    """A ping to a peer that has vanished would keep the connection for a quarter of an hour."""
    async with chat_on_tcp(keepalive=keepalive, stall_timeout=stall_timeout) as (_, port):
        client = await dial(port, nick="john")
        sock = links.all[0]._socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1_000 * seconds
        await client.stream.aclose()


@pytest.mark.parametrize("keepalive", [1, 32_767])
async def test_keepalive_at_its_limits_is_taken_by_the_kernel(keepalive: int, links: Links) -> None:
    async with chat_on_tcp(keepalive=keepalive) as (_, port):
        client = await dial(port, nick="john")
        sock = links.all[0]._socket
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        interval = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        assert interval == max(1, keepalive // 3)
        await client.stream.aclose()


async def test_silence_alone_ends_nobody(mock_clock) -> None:
    async with chat_on_tcp() as (chat, port):
        client = await dial(port, nick="john", room="#x")
        for _ in range(10):
            mock_clock.jump(3600)
            await ticks()
        await client.send("/rooms")
        await client.expect("> available rooms: #x")
        assert chat.statistics().left == {}
        await client.stream.aclose()


async def test_a_dead_peer_that_keepalive_finds_is_a_connection_lost(links: Links, caplog) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with chat_on_tcp() as (_, port):
        watcher = await dial(port, nick="john", room="#x")
        dead = await dial(port, nick="jack", room="#x")
        await watcher.expect("> jack joined the room")
        link = links.all[1]
        real = link._socket

        class TimedOut:
            def recv(self, _size):
                raise OSError(errno.ETIMEDOUT, "Connection timed out")

            def __getattr__(self, name):
                return getattr(real, name)

        link._socket = TimedOut()
        await dead.send("")  # wakes the reader, as the kernel would
        await watcher.expect("> jack has left the room")
        await until(lambda: real.fileno() == -1)
        assert caplog.records[-1].reason == "connection lost: Connection timed out"
        await dead.stream.aclose()
        await watcher.stream.aclose()


# --- ways in --------------------------------------------------------------------------------------


async def test_several_ways_in_lead_to_the_same_rooms() -> None:
    async with chat_on_tcp() as (chat, port):
        [(_, other_port)] = await chat.listen(host=HOST, port=0)
        one = await dial(port, nick="john", room="#x")
        two = await dial(other_port, nick="jack", room="#x")
        async with line_client(chat, nick="june", room="#x") as three:
            await three.send("/msg hi")
            await one.expect("> jack joined the room", "> june joined the room", "> june: hi")
            await two.expect("> june joined the room", "> june: hi")
        await one.stream.aclose()
        await two.stream.aclose()


async def test_a_port_in_use_is_an_error_and_the_chat_goes_on() -> None:
    async with chat_on_tcp() as (chat, port):
        with pytest.raises(OSError, match=rf"\[Errno {errno.EADDRINUSE}\]"):
            await chat.listen(host=HOST, port=port)
        client = await dial(port, nick="john")
        await client.stream.aclose()


@needs_ipv6
async def test_an_address_is_one_however_it_is_written() -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.listen()
        with socket.create_connection((HOST, server.getsockname()[1])) as client:
            accepted, _ = server.accept()
            link = SocketLink.accepted(
                trio.SocketStream(trio.socket.from_stdlib_socket(accepted)), 120.0
            )
            assert (link.address, link.peer) == (HOST, f"{HOST}:{client.getsockname()[1]}")
            link.close()


async def test_a_client_that_has_gone_before_its_address_is_asked_is_no_error(
    links: Links, caplog
) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with chat_on_tcp() as (chat, port):
        reset(socket.create_connection((HOST, port)))
        await until(lambda: sum(chat.statistics().left.values()) == 1)
    assert [record.address for record in caplog.records] == ["unknown"]
    assert caplog.records[-1].reason == "connection lost: Connection reset by peer"
    links.check()


async def test_loopback_may_have_as_many_as_it_likes() -> None:
    async with chat_on_tcp(max_clients_per_address=1) as (chat, port):
        clients = [await dial(port, nick=f"john{number}") for number in range(5)]
        assert chat.statistics().turned_away == 0
        for client in clients:
            await client.stream.aclose()


async def test_a_closed_link_has_nothing_undelivered() -> None:
    """A task that waits for a writable link may look at it just after it was closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        link = SocketLink.accepted(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), 120)
        link.close()
        assert link.undelivered() == 0
