"""Pings keep silent connections alive, and nobody sees them."""

from __future__ import annotations

import pytest
import trio
from documents import DocumentClient, dial_documents
from loopback import PATIENCE, chat_on_tcp, dial, ticks, until

from trio_chat import Chat, Settings
from trio_chat.dialects.line_encoding import CRLF, LF
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.hub.state import BEATS
from trio_chat.transports.event_link import EVENTS

NO_OPERATION, PING = b"\xff\xf1", b"\x89\x00"
INTERVAL = 64


async def beat(mock_clock, chat: Chat, beats: int = 1) -> None:
    """Let so many beats pass; the hub has taken its part in each."""
    for _ in range(beats):
        mock_clock.jump(INTERVAL / BEATS)
        await ticks()
        await chat.beat()


async def heard(stream: trio.abc.ReceiveStream) -> bytes:
    """Give the input that has not been read yet."""
    data = b""
    while True:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_give_up, scope)
                data += await stream.receive_some()
                nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            return data


async def _give_up(scope: trio.CancelScope) -> None:
    await ticks()
    scope.cancel()


def test_dialects_that_can_take_a_ping() -> None:
    assert CRLF.ping == NO_OPERATION
    assert DOCUMENTS.ping == PING
    assert LF.ping == EVENTS.ping == b""


async def test_each_gets_one_in_an_interval(mock_clock) -> None:
    async with chat_on_tcp(ping_interval=INTERVAL) as (chat, port):
        plain, telnet = await dial(port, nick="john"), await dial(port)
        await telnet.stream.send_all(NO_OPERATION + b"/nick jack\n")
        await until(lambda: "jack" in chat._hub.state.nicks)
        program = await dial_documents(port, nick="jim")
        streams = plain.stream, telnet.stream, program.stream
        for stream in streams:
            await heard(stream)
        for _ in range(3):
            await beat(mock_clock, chat, BEATS)
            assert [await heard(stream) for stream in streams] == [b"", NO_OPERATION, PING]
        for stream in streams:
            await stream.aclose()


async def test_a_beat_pings_its_part_whenever_they_have_come(mock_clock) -> None:
    async with chat_on_tcp(ping_interval=INTERVAL) as (chat, port):
        clients = [await dial(port) for _ in range(3 * BEATS)]
        for client in clients:
            await client.stream.send_all(NO_OPERATION)
        sessions = chat._hub.state.sessions
        await until(lambda: [one.encoding for one in sessions] == [CRLF] * len(clients))
        for _ in range(BEATS):
            before = chat.statistics().bytes_out
            await beat(mock_clock, chat)
            assert chat.statistics().bytes_out - before == 3 * len(NO_OPERATION)
        for client in clients:
            await client.stream.aclose()


@pytest.mark.parametrize("way", ["draining", "closing"])
async def test_a_client_with_something_to_read_gets_no_ping(way: str, mock_clock) -> None:
    async with chat_on_tcp(ping_interval=INTERVAL) as (chat, port):
        program = await dial_documents(port)
        [session] = chat._hub.state.sessions
        setattr(session, way, "x")
        await beat(mock_clock, chat, BEATS)
        assert await heard(program.stream) == b""
        setattr(session, way, None)
        await beat(mock_clock, chat, BEATS)
        assert await heard(program.stream) == PING
        await program.stream.aclose()


async def test_a_reload_begins_and_ends_them(mock_clock) -> None:
    async with chat_on_tcp(ping_interval=0) as (chat, port):
        program = await dial_documents(port)
        await beat(mock_clock, chat, 3 * BEATS)
        assert await heard(program.stream) == b""
        await chat.reload(Settings(ping_interval=INTERVAL))
        await beat(mock_clock, chat, BEATS)
        assert await heard(program.stream) == PING
        await chat.reload(Settings(ping_interval=0))
        await beat(mock_clock, chat, 3 * BEATS)
        assert await heard(program.stream) == b""
        await program.stream.aclose()


async def test_one_that_answers_pings_is_hardly_slowed(mock_clock) -> None:
    async with chat_on_tcp(ping_interval=INTERVAL, rate_limit=0.01, rate_burst=30) as (chat, port):
        program: DocumentClient = await dial_documents(port)
        for _ in range(4 * 10):
            await program.stream.send_all(b"\x8a\x80abcd")
            await ticks()
        with trio.fail_after(PATIENCE):
            await program.sync()  # ten lines of thirty are spent
        await program.stream.aclose()
        assert chat.statistics().left == {}


async def test_the_end_neither_waits_for_a_beat_nor_pings(mock_clock) -> None:
    async with chat_on_tcp(ping_interval=INTERVAL) as (chat, port):
        clients = [await dial(port) for _ in range(2 * BEATS)]
        for client in clients:
            await client.stream.send_all(NO_OPERATION)
        await until(lambda: all(one.encoding is CRLF for one in chat._hub.state.sessions))
        await beat(mock_clock, chat)
        for client in clients:
            await heard(client.stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            for client in clients:
                await client.expect("> the server is shutting down")
                await client.stream.aclose()
    assert trio.current_time() == INTERVAL / BEATS
