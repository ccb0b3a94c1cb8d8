"""Clients that are rejected are told so in what they speak, and take up nothing for long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from loopback import (
    FAREWELL,
    HOST,
    PATIENCE,
    chat_on_tcp,
    descriptors,
    dial,
    ticks,
    until,
    watch_links,
)

from trio_chat import Chat
from trio_chat.errors import NoConnection
from trio_chat.remote import open_client
from trio_chat.transports import connection
from trio_chat.transports import descriptors as descriptors_module
from trio_chat.transports.connection import REJECTION_SECONDS
from trio_chat.transports.detection import VERBS
from trio_chat.transports.rejection import NO_ROOM

pytestmark = pytest.mark.usefixtures("waiting")

pytestmark = pytest.mark.usefixtures("waiting")

FULL = b"err: the server is full; please try again later\n"
SENTENCE = b"The server is full; please try again later.\n"


@asynccontextmanager
async def full_chat(**settings) -> AsyncIterator[tuple[Chat, int]]:
    """One with a client in it, and room for no other."""
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(max_clients=1, **settings) as (chat, port):
            ann = await dial(port, nick="ann", room="#a")
            yield chat, port
            assert await ann.sync() == []


async def rest(stream: trio.abc.ReceiveStream) -> bytes:
    return b"".join([bytes(data) async for data in stream])


async def turned_away(chat: Chat, port: int, data: bytes = b"") -> trio.SocketStream:
    """A client that the hub has released, while its task waits for the first bytes or for more."""
    before = chat.statistics().turned_away
    stream = (await dial(port)).stream
    await stream.send_all(data)
    await until(lambda: chat.statistics().turned_away > before)
    await ticks()
    return stream


@pytest.mark.parametrize("verb", VERBS)
async def test_a_browser_gets_503_and_a_sentence(verb: bytes) -> None:
    async with full_chat() as (_, port):
        stream = (await dial(port)).stream
        await stream.send_all(verb + b"/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = (await rest(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert f"Content-Length: {len(SENTENCE)}".encode() in head
        assert b"Retry-After" not in head  # nobody knows
        assert body == (b"" if verb == b"HEAD " else SENTENCE)


@pytest.mark.parametrize("at", range(1, 4))
async def test_its_first_bytes_may_come_in_pieces(at: int) -> None:
    async with full_chat() as (chat, port):
        stream = await turned_away(chat, port, b"GET "[:at])
        await stream.send_all(b"GET "[at:])
        assert (await rest(stream)).startswith(b"HTTP/1.1 503 ")


async def test_tls_gets_an_alert() -> None:
    async with full_chat() as (_, port):
        stream = (await dial(port)).stream
        await stream.send_all(b"\x16\x03\x01")
        assert await rest(stream) == NO_ROOM


@pytest.mark.parametrize("data", [b"/nick bob\n", b"GET\n", b"\xff\xfb\x1f"])
async def test_a_person_gets_a_line(data: bytes) -> None:
    async with full_chat() as (_, port):
        stream = (await dial(port)).stream
        await stream.send_all(data)
        assert await rest(stream) == FULL


@pytest.mark.parametrize("data", [b"", b"GE"])
async def test_a_silent_client_is_a_person(data: bytes, mock_clock) -> None:
    async with full_chat() as (chat, port):
        stream = await turned_away(chat, port, data)
        mock_clock.jump(REJECTION_SECONDS - 0.01)
        await ticks()
        with trio.move_on_after(0) as nothing_yet:
            await stream.receive_some()
        assert nothing_yet.cancelled_caught
        mock_clock.jump(0.02)
        assert await rest(stream) == FULL


async def test_a_client_that_ends_its_side_at_once_gets_a_line() -> None:
    async with full_chat() as (_, port):
        stream = (await dial(port)).stream
        await stream.send_eof()
        assert await rest(stream) == FULL


@pytest.mark.parametrize("linger", [2.0, 0.5])
async def test_it_is_held_no_longer_than_any_that_is_closed(linger: float, mock_clock) -> None:
    async with full_chat(linger_timeout=linger) as (chat, port):
        before = descriptors()
        stream = await turned_away(chat, port)
        assert chat.statistics().clients == 1  # the place is free while it waits
        mock_clock.jump(min(REJECTION_SECONDS, linger / 2))
        assert await stream.receive_some() == FULL
        mock_clock.jump(linger / 2)
        await until(lambda: descriptors() == before + 1)  # its own end
        await stream.aclose()


async def test_only_so_many_may_wait(mock_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors_module, "LINGERING", 2)
    async with full_chat() as (chat, port):
        waiting = [await turned_away(chat, port) for _ in range(2)]
        before = descriptors()
        for _ in range(3):
            stream = (await dial(port)).stream
            assert await rest(stream) == FULL
            await until(lambda: descriptors() == before + 1)  # its own end: none lingers
            await stream.aclose()
        with trio.socket.socket() as sock:
            await sock.connect((HOST, port))
            await sock.send(b"GET /")  # there before it is accepted
            assert (await sock.recv(99)).startswith(b"HTTP/1.1 503 ")
        gone = waiting.pop()
        await gone.send_all(b"GET ")
        await gone.send_eof()
        await until(lambda: chat._clients.descriptors.connections == 2)
        one = await turned_away(chat, port)
        await one.send_all(b"GET ")
        assert (await rest(one)).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("verb", [b"GET ", b"HEAD "])
async def test_behind_a_proxy_by_what_comes_after_its_header(
    verb: bytes, *, together: bool
) -> None:
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    settings = {"max_clients_per_address": 1, "trusted_proxies": (HOST,)}
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**settings) as (chat, port):
            first = (await dial(port)).stream
            await first.send_all(header)
            await until(lambda: "192.0.2.1" in chat._hub.state.addresses)
            second = (await dial(port)).stream
            await second.send_all(header + verb * together)
            if not together:
                await until(lambda: chat.statistics().turned_away == 1)
                await second.send_all(verb)
            head, _, body = (await rest(second)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            sentence = b"There are too many connections from your address; close one first.\n"
            assert body == (b"" if verb == b"HEAD " else sentence)


@pytest.mark.parametrize("at", [0, 3, 20, 36, 38])
async def test_a_full_chat_looks_behind_a_proxys_header_too(at: int) -> None:
    said = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nHEAD "
    async with full_chat(trusted_proxies=(HOST,)) as (chat, port):
        stream = await turned_away(chat, port, said[:at])
        await stream.send_all(said[at:])
        head, _, body = (await rest(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert body == b""


async def test_a_program_is_told_the_sentence() -> None:
    async with full_chat() as (_, port):
        with pytest.raises(NoConnection, match="HTTP status 503: The server is full; please"):
            async with open_client(f"ws://{HOST}:{port}/ws", nick="bob"):
                raise AssertionError("is in")


async def test_a_stop_waits_for_them_no_longer_than_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    links = watch_links(monkeypatch)
    monkeypatch.setattr(connection, "REJECTION_SECONDS", 20)
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(max_clients=1, linger_timeout=0.2) as (chat, port):
            ann = await dial(port, nick="ann")
            stream = await turned_away(chat, port)
            since = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(chat.stop)
                assert await ann.rest() == [FAREWELL]
                await ann.stream.aclose()
            assert trio.current_time() - since < 20
            assert await rest(stream) == FULL
            await stream.aclose()
    links.check()
