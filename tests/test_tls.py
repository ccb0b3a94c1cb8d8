"""TLS on the port that everyone comes to: who speaks it, who does not get so far, and all's end."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import struct
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from authority import Authority
from loopback import (
    FAREWELL,
    HOST,
    PATIENCE,
    Links,
    chat_on_tcp,
    descriptors,
    dial,
    ticks,
    until,
)
from snapshots import Next, continued, successor

from trio_chat import Chat, Endpoint, Settings, SettingsError
from trio_chat.config.certificate import read_certificate
from trio_chat.dialects.line_encoding import LF
from trio_chat.hub.handlers.connections import Connections
from trio_chat.hub.inbox import Secured
from trio_chat.hub.pause import Pause
from trio_chat.hub.session import Session
from trio_chat.hub.state import State
from trio_chat.remote import Disconnected, Resumed, connections, open_client
from trio_chat.testing import LineClient
from trio_chat.transports.first_bytes import FIRST_BYTES_SECONDS
from trio_chat.transports.rejection import NO_ROOM, NO_TLS
from trio_chat.transports.tcp import SocketLink
from trio_chat.transports.tls import (
    HANDSHAKE_SECONDS,
    PENDING_BYTES,
    RECORD_BYTES,
    TLS_READ_BYTES,
    TlsLink,
)

pytestmark = pytest.mark.usefixtures("waiting")

UPGRADING = "> the server is being upgraded: please connect again"
# The first bytes of every client's hello, and the bytes that tell it from lines.
HELLO = b"\x16\x03"


@asynccontextmanager
async def running(authority: Authority, **settings) -> AsyncIterator[tuple[Chat, int]]:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings, **settings) as (chat, port):
            yield chat, port


async def shake(stream: trio.abc.Stream, authority: Authority) -> LineClient:
    """A client that speaks lines over TLS over this."""
    tls = trio.SSLStream(stream, authority.trusting, server_hostname=HOST)
    await tls.do_handshake()
    return LineClient(tls)


async def dial_tls(port: int, authority: Authority, nick: str | None = None) -> LineClient:
    client = await shake((await dial(port)).stream, authority)
    if nick is not None:
        await client.send(f"/nick {nick}", "/join #x")
        await client.expect(f"> all right, I will call you {nick}", "> welcome to #x")
    return client


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.reason for record in caplog.records if hasattr(record, "reason")]


class Splitting(trio.abc.HalfCloseableStream):
    """Sends a byte at a time, and lets the other side read it before the next one."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def send_all(self, data) -> None:
        for byte in bytes(data):
            await self.stream.send_all(bytes((byte,)))
            await ticks(5)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def receive_some(self, max_bytes=None) -> bytes:
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


# --- those who speak it ---------------------------------------------------------------------------


async def test_lines_over_tls_beside_lines_without(authority: Authority, links: Links) -> None:
    async with running(authority) as (chat, port):
        jane = await dial_tls(port, authority, "jane")
        assert jane.stream.version() == "TLSv1.3"
        john = await dial(port, nick="john", room="#x")
        await jane.expect("> john joined the room")
        await jane.send("/msg hello")
        await john.expect("> jane: hello")
        await john.send("/msg hi")
        await jane.expect("> john: hi")
        assert chat.statistics().clients == 2
        await jane.send("/quit")
        assert (await jane.rest())[-1] == "> sad to see you go =("
        await john.expect("> jane has left the room")
    links.check()


async def test_more_bytes_than_the_connection_takes_come_whole(authority: Authority) -> None:
    async with running(authority, outbox_bytes=1 << 20) as (_, port):
        jane = await dial_tls(port, authority, "jane")
        john = await dial(port, nick="john", room="#x")
        lines = [f"{number} {'x' * 900}" for number in range(400)]
        await john.send(*(f"/msg {line}" for line in lines))
        assert await jane.line() == "> john joined the room"
        assert await jane.lines(400) == [f"> john: {line}" for line in lines]
        await jane.stream.aclose()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_hello_may_be_split_anywhere(authority: Authority, version, links: Links) -> None:
    async with running(authority) as (_, port):
        context = authority.trusting
        context.maximum_version = version
        stream = Splitting((await dial(port)).stream)
        jane = LineClient(trio.SSLStream(stream, context, server_hostname=HOST))
        await jane.send("/nick jane")
        await jane.expect("> all right, I will call you jane")
        await jane.stream.aclose()
    links.check()


async def test_a_version_that_is_too_old(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority) as (chat, port):
        context = authority.trusting
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        stream = trio.SSLStream((await dial(port)).stream, context, server_hostname=HOST)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.do_handshake()
        assert "PROTOCOL_VERSION" in str(caught.value.__cause__)
        await until(lambda: not chat.statistics().clients)
    assert reasons(caplog) == ["the TLS handshake failed: unsupported protocol"]


@pytest.mark.parametrize("more", [b"", b"x" * 100_000], ids=["nothing", "more"])
async def test_a_client_that_fails_the_handshake_is_told_by_an_alert(
    authority: Authority, links: Links, more: bytes
) -> None:
    """Even with input that nobody has read: a reset would take the alert with it."""
    async with running(authority) as (_, port):
        stream = (await dial(port)).stream
        await stream.send_all(b"\x16\x03\x01\x00\x05hello" + more)
        alert = await stream.receive_some()
        assert (alert[:1], alert[5:6]) == (b"\x15", b"\x02")  # an alert, a fatal one
        assert await stream.receive_some() == b""
        await stream.aclose()
    links.check()


async def test_bytes_like_tls_inside_of_tls_are_a_line(authority: Authority) -> None:
    async with running(authority, trusted_proxies=(HOST,)) as (_, port):
        jane = await dial_tls(port, authority)
        await jane.stream.send_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        # Bytes before TLS come from the proxy, and bytes inside TLS from its client.
        assert await jane.rest() == ["err: only a trusted proxy may send a PROXY header here"]
        john = await dial_tls(port, authority)
        await john.stream.send_all(HELLO + b"\n/nick john\n")
        assert (await john.lines(3))[2] == "> all right, I will call you john"


class ByHand:
    """A client whose TLS is computed here: what goes together, and when, is the test's to say."""

    def __init__(self, stream: trio.SocketStream, authority: Authority) -> None:
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = authority.trusting.wrap_bio(self.incoming, self.outgoing, server_hostname=HOST)

    async def shake(self) -> None:
        """Shake hands, but for the last that there is to send."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send()
                self.incoming.write(await self.stream.receive_some())
            else:
                return

    def say(self, text: bytes) -> None:
        self.tls.write(text)

    def end(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()

    async def send(self, more: bytes = b"") -> None:
        await self.stream.send_all(self.outgoing.read() + more)

    async def heard(self) -> bytes:
        """All that comes until the server has said that it sends no more."""
        text = b""
        while True:
            try:
                while data := self.tls.read(1 << 16):
                    text += data
            except ssl.SSLWantReadError:
                self.incoming.write(await self.stream.receive_some())
            except ssl.SSLZeroReturnError:  # this side has said so before
                return text
            else:
                return text


async def test_bytes_that_come_with_the_end_of_the_handshake_are_read(authority: Authority) -> None:
    async with running(authority) as (_, port):
        jane = ByHand((await dial(port)).stream, authority)
        await jane.shake()
        jane.say(b"/nick jane\n/quit\n")
        await jane.send()
        told = b"> all right, I will call you jane\n> sad to see you go =(\n"
        assert await jane.heard() == told
        await jane.stream.aclose()


async def test_a_client_that_ends_with_its_last_line_is_answered(
    authority: Authority, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    """Though its own side of the connection stays open until it has heard ours."""
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority) as (_, port):
        jane = ByHand((await dial(port)).stream, authority)
        await jane.shake()
        await jane.send()
        jane.say(b"/nick jane\n")
        jane.end()
        await jane.send()
        assert await jane.heard() == b"> all right, I will call you jane\n"
        assert await jane.stream.receive_some() == b""
        await jane.stream.aclose()
    assert reasons(caplog) == ["closed by the client"]
    links.check()


async def test_lines_before_what_is_no_tls_are_said(
    authority: Authority, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority) as (_, port):
        john = await dial(port, nick="john", room="#x")
        jane = ByHand((await dial(port)).stream, authority)
        await jane.shake()
        jane.say(b"/nick jane\n/join #x\n/msg Hi\n")
        await jane.send(b"this is no TLS")
        await john.expect("> jane joined the room", "> jane: Hi", "> jane has left the room")
        await jane.stream.aclose()
        await john.stream.aclose()
    assert reasons(caplog)[0] == "connection lost: wrong version number"
    links.check()


async def test_lines_sent_before_the_handshake_is_over_come_after_it(
    authority: Authority,
) -> None:
    async with running(authority) as (chat, port):
        jane = ByHand((await dial(port)).stream, authority)
        await jane.shake()
        [client] = chat._hub.state.sessions
        client.link.write(b"> one\n", None)
        jane.say(b"/quit\n")
        await jane.send()
        assert await jane.heard() == b"> one\n> sad to see you go =(\n"
        await jane.stream.aclose()


# --- through a proxy ------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
async def test_a_proxy_may_say_before_it_who_comes(authority: Authority, *, together: bool) -> None:
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    async with running(authority, trusted_proxies=(HOST,)) as (chat, port):
        stream = (await dial(port)).stream
        tls = trio.SSLStream(FirstOf(stream, header, together=together), authority.trusting,
                             server_hostname=HOST)  # fmt: skip
        jane = LineClient(tls)
        assert await jane.sync() == []
        assert chat._hub.state.addresses == {"192.0.2.1": 1}
        [client] = chat._hub.state.sessions
        assert (client.link.peer, type(client.link)) == ("192.0.2.1:1", TlsLink)
        await jane.stream.aclose()
        await until(lambda: not chat._hub.state.addresses)


class FirstOf(Splitting):
    """Sends something before all else."""

    def __init__(self, stream: trio.SocketStream, first: bytes, *, together: bool) -> None:
        super().__init__(stream)
        self.first, self.together = first, together

    async def send_all(self, data) -> None:
        first, self.first = self.first, b""
        if first and not self.together:
            await self.stream.send_all(first)
            await ticks(20)
            first = b""
        await self.stream.send_all(first + bytes(data))


async def test_an_address_with_too_many_is_turned_away_before_it(authority: Authority) -> None:
    async with running(authority, trusted_proxies=(HOST,), max_clients_per_address=1) as (_, port):
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
        first = FirstOf((await dial(port)).stream, header, together=True)
        jane = await shake(first, authority)
        assert await jane.sync() == []
        before = descriptors()
        second = (await dial(port)).stream
        await second.send_all(header + HELLO)
        assert await second.receive_some() == NO_ROOM
        assert await second.receive_some() == b""
        await second.aclose()
        await until(lambda: descriptors() == before)
        await jane.stream.aclose()


# --- those for whom nothing comes of it -----------------------------------------------------------


async def test_without_a_certificate_a_hello_gets_an_alert(
    links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp() as (_, port):
            stream = (await dial(port)).stream
            tls = trio.SSLStream(stream, ssl.create_default_context(), server_hostname=HOST)
            with pytest.raises(trio.BrokenResourceError) as caught:
                await tls.do_handshake()
            assert "HANDSHAKE_FAILURE" in str(caught.value.__cause__)
            raw = (await dial(port)).stream
            await raw.send_all(HELLO[:1])
            await ticks()
            await raw.send_all(HELLO[1:])
            assert await raw.receive_some() == NO_TLS
            assert await raw.receive_some() == b""
    assert reasons(caplog) == ["spoke TLS, and there is no certificate for that: see tls_cert"] * 2
    links.check()


@pytest.mark.parametrize("garbage", [b"", b"\x01", b"\x01\x00\x05hello", b"\x16" * 500, b"\n" * 9])
async def test_garbage_costs_a_line_in_the_log(
    authority: Authority, garbage: bytes, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority) as (chat, port):
        before = descriptors()
        stream = (await dial(port)).stream
        await stream.send_all(HELLO + garbage)
        await stream.send_eof()
        await until(lambda: reasons(caplog))
        await stream.aclose()
        await until(lambda: descriptors() == before + links.squatted)
        assert not chat.statistics().clients
        john = await dial(port)
        assert await john.sync() == []
    left = [record for record in caplog.records if record.getMessage() == "client left"]
    assert left[0].reason.startswith("the TLS handshake failed: ")
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    links.check()


async def test_a_handshake_has_so_long(
    authority: Authority, mock_clock, caplog: pytest.LogCaptureFixture, links: Links
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority) as (chat, port):
        stream = (await dial(port)).stream
        await stream.send_all(HELLO)
        await until(lambda: any(type(c.link) is TlsLink for c in chat._hub.state.sessions))
        await ticks()
        mock_clock.jump(HANDSHAKE_SECONDS - 0.1)
        await ticks()
        assert chat.statistics().clients == 1
        mock_clock.jump(0.2)
        assert await stream.receive_some() == b""
        await stream.aclose()
    assert reasons(caplog) == ["no TLS handshake within 10 seconds"]
    links.check()


async def test_a_handshake_counts_against_the_limits(authority: Authority) -> None:
    async with running(authority, max_clients=1) as (chat, port):
        stream = (await dial(port)).stream
        await stream.send_all(HELLO)
        await until(lambda: any(type(c.link) is TlsLink for c in chat._hub.state.sessions))
        full = "err: the server is full; please try again later"
        assert await (await dial(port)).rest() == [full]


async def test_a_client_that_breaks_off_without_a_word(
    authority: Authority, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority) as (chat, port):
        jane = await dial_tls(port, authority, "jane")
        sock = jane.stream.transport_stream.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        await until(lambda: not chat.statistics().clients)
    assert reasons(caplog) == ["connection lost: Connection reset by peer"]
    links.check()


# --- other certificates ---------------------------------------------------------------------------


async def test_a_renewed_certificate_is_for_who_comes_from_now_on(authority: Authority) -> None:
    async with running(authority) as (chat, port):
        jane, old = await dial_tls(port, authority, "jane"), authority.issued
        waiting = (await dial(port)).stream
        await waiting.send_all(HELLO[:1])
        authority.issue()
        await chat.reload(chat.settings)
        assert authority.issued != old
        john = await dial_tls(port, authority, "john")
        assert jane.stream.getpeercert(binary_form=True) == old
        assert john.stream.getpeercert(binary_form=True) == authority.issued
        await john.send("/msg hello")
        await jane.expect("> john joined the room", "> john: hello")
        # A pair that is none keeps the old one, whole.
        good, used = authority.cert.read_bytes(), authority.issued
        fingerprint = chat.certificate
        authority.issue()
        authority.cert.write_bytes(good)
        with pytest.raises(SettingsError, match="is not the key of the certificate"):
            await chat.reload(Settings(**authority.settings, message_chars=7))
        assert chat.settings.message_chars != 7
        assert chat.certificate == fingerprint
        jack = await dial_tls(port, authority)
        assert jack.stream.getpeercert(binary_form=True) == used
        # And without one there is no TLS any more, but for those who have it.
        await chat.reload(Settings(rate_limit=None))
        stream = (await dial(port)).stream
        await stream.send_all(HELLO)
        assert await stream.receive_some() == NO_TLS
        await jane.send("/msg still here")
        await john.expect("> jane: still here")
        for client in (jane, john, jack):
            await client.stream.aclose()


# --- stopping -------------------------------------------------------------------------------------


async def test_a_stop_says_farewell_inside_of_tls_and_waits_for_no_handshake(
    authority: Authority, links: Links, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running(authority, linger_timeout=20) as (chat, port):
        jane = await dial_tls(port, authority, "jane")
        late = (await dial(port)).stream
        await late.send_all(HELLO)
        await until(lambda: [type(c.link) for c in chat._hub.state.sessions] == [TlsLink] * 2)
        since = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            # `rest` ends with TLS's own word that it does: without it this raises.
            assert await jane.rest() == [FAREWELL]
            await jane.stream.aclose()
            assert await late.receive_some() == b""
            await late.aclose()
        assert trio.current_time() - since < chat.settings.linger_timeout
    assert "the TLS handshake was given up: the chat is stopping" in reasons(caplog)
    links.check()


async def test_a_client_that_does_not_answer_the_end_does_not_hold_the_stop_up(
    authority: Authority,
) -> None:
    async with running(authority, linger_timeout=0.1) as (chat, port):
        jane = await dial_tls(port, authority, "jane")
        since = trio.current_time()
        await chat.stop()
        assert trio.current_time() - since < chat.settings.stop_grace
        assert await jane.rest() == [FAREWELL]


async def test_a_client_that_never_reads_does_not_hold_the_stop_up(
    authority: Authority, links: Links
) -> None:
    async with running(authority, stop_grace=0.5, outbox_bytes=1 << 16) as (chat, port):
        jane = await dial_tls(port, authority, "jane")
        john = await dial(port, nick="john", room="#x")
        jane_here = next(c for c in chat._hub.state.sessions if c.user.nick == "jane")
        while not jane_here.slow_consumer:
            await john.send(*[f"/msg {'x' * 900}"] * 50)
            await john.sync()
        since = trio.current_time()
        await chat.stop()
        assert trio.current_time() - since < 10
        await jane.stream.transport_stream.aclose()
    links.check()


async def test_being_cancelled_ends_it_at_once(authority: Authority, links: Links) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings) as (chat, port):
            await dial_tls(port, authority, "jane")
            late = (await dial(port)).stream
            await late.send_all(HELLO)
            await until(lambda: chat.statistics().clients == 2)
            chat._clients._nursery.cancel_scope.cancel()
            await chat.stop()
    links.check()


# --- standing still -------------------------------------------------------------------------------


async def test_lines_go_on_or_are_told_to_come_again(
    goes_on: Next, authority: Authority, links: Links
) -> None:
    async with running(authority) as (chat, port):
        jane = await dial_tls(port, authority, "jane")
        john = await dial(port, nick="john", room="#x")
        await jane.expect("> john joined the room")
        async with goes_on(chat):
            await john.send("/msg there?")
            if goes_on is continued:
                await jane.expect("> john: there?")
                await jane.stream.aclose()
            else:
                assert await jane.rest() == [UPGRADING]
                await jane.stream.aclose()
                await john.expect("> jane has left the room")
                again = await dial_tls(port, authority, "jane")
                await again.send("/msg back")
                assert (await john.lines(2))[1] == "> jane: back"
                await again.stream.aclose()
    if goes_on is continued:
        links.check()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_handshake_goes_on_while_all_stands_still(
    authority: Authority, *, ends: bool
) -> None:
    """However it goes on then, by itself or as another chat, the client is told something."""
    async with running(authority) as (chat, port):
        stream = Held((await dial(port)).stream)
        jane = LineClient(trio.SSLStream(stream, authority.trusting, server_hostname=HOST))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jane.send, "/nick jane")
            await until(lambda: any(type(c.link) is TlsLink for c in chat._hub.state.sessions))
            if ends:
                async with successor(chat):
                    stream.go_on.set()
                    assert await jane.rest() == [UPGRADING]
                    await jane.stream.aclose()
                return
            async with chat.frozen() as paused:
                assert not paused.clients
                stream.go_on.set()
                await ticks(200)
                assert chat._channel.statistics().current_buffer_used == 0
            await jane.expect("> all right, I will call you jane")
            await jane.stream.aclose()


async def test_bytes_behind_a_handshake_wait_while_all_stands_still(
    authority: Authority,
) -> None:
    async with running(authority) as (chat, port):
        jane = ByHand((await dial(port)).stream, authority)
        await jane.shake()
        async with chat.frozen():
            jane.say(b"/nick jane\n/quit\n")
            await jane.send()
            await ticks(200)
            assert chat._channel.statistics().current_buffer_used == 0
        told = b"> all right, I will call you jane\n> sad to see you go =(\n"
        assert await jane.heard() == told
        await jane.stream.aclose()


class Held(Splitting):
    """Sends the first bytes, and the rest once it may."""

    def __init__(self, stream: trio.SocketStream, first: int = 10) -> None:
        super().__init__(stream)
        self.first = first
        self.go_on = trio.Event()

    async def send_all(self, data) -> None:
        if self.go_on.is_set():
            await self.stream.send_all(data)
            return
        await self.stream.send_all(bytes(data)[: self.first])
        await self.go_on.wait()
        await self.stream.send_all(bytes(data)[self.first :])


async def test_a_beginning_that_does_not_tell_yet_goes_over(authority: Authority) -> None:
    async with running(authority) as (chat, port):
        stream = Held((await dial(port)).stream, 1)
        jane = LineClient(trio.SSLStream(stream, authority.trusting, server_hostname=HOST))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jane.send, "/nick jane")
            await ticks()
            async with successor(chat):
                stream.go_on.set()
                await jane.expect("> all right, I will call you jane")
                await jane.stream.aclose()


@pytest.mark.parametrize("steps", range(0, 40, 3))
@pytest.mark.parametrize("ends", [True, False])
async def test_a_pause_at_any_step_of_a_hello(
    authority: Authority, steps: int, *, ends: bool, links: Links
) -> None:
    async with running(authority) as (chat, port), trio.open_nursery() as nursery:
        client = trio.SSLStream((await dial(port)).stream, authority.trusting, server_hostname=HOST)
        jane = LineClient(client)
        nursery.start_soon(jane.send, "/nick jane")
        await ticks(steps)
        if not ends:
            async with continued(chat):
                await ticks()
            await jane.expect("> all right, I will call you jane")
        else:
            async with successor(chat):
                # It had not begun yet, and goes over; or it had.
                heard = await jane.line()
                assert heard in (UPGRADING, "> all right, I will call you jane")
                await jane.stream.aclose()
            return
        await jane.stream.aclose()


def test_tls_records_for_a_client_that_does_not_read_are_bounded(
    authority: Authority,
) -> None:
    """Answers to changes of keys wait behind what is unsent: so many, and then it ends."""
    certificate = read_certificate(Settings(**authority.settings))
    assert certificate is not None
    below = SimpleNamespace(peer="p", address="a", unsent_bytes=1)
    link = TlsLink(below, HELLO, certificate.context)
    link._outgoing.write(b"x" * PENDING_BYTES)
    link._answer()
    assert link._outgoing.pending == PENDING_BYTES
    link._outgoing.write(b"x")
    with pytest.raises(OSError, match="too many messages of TLS's own"):
        link._answer()


@pytest.mark.parametrize("steps", range(40))
async def test_a_handshake_that_has_begun_goes_on_in_a_pause(
    authority: Authority, steps: int
) -> None:
    async with running(authority) as (chat, port), trio.open_nursery() as nursery:
        stream = (await dial(port)).stream
        client = trio.SSLStream(stream, authority.trusting, server_hostname=HOST)
        shaken = trio.Event()

        async def shake_hands() -> None:
            await client.do_handshake()
            shaken.set()

        nursery.start_soon(shake_hands)
        await ticks(steps)
        async with chat.frozen():
            if any(isinstance(each.link, TlsLink) for each in chat._hub.state.sessions):
                await until(shaken.is_set)
        await until(shaken.is_set)
        jane = LineClient(client)
        await jane.send("/nick jane")
        await jane.expect("> all right, I will call you jane")
        await client.aclose()


@pytest.mark.parametrize("wanted", ["to stand still", "to stop"])
async def test_the_hub_wants_of_each_link_what_it_wants_of_the_first(
    authority: Authority, wanted: str
) -> None:
    """A hello that was being read when the hub said so is a record that comes after that."""
    state = State(Settings())
    handler = Connections(state, None, None, None, None, None).handlers[Secured]
    ours, theirs = socket.socketpair()
    old = SocketLink.accepted(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), 60)
    certificate = read_certificate(Settings(**authority.settings))
    assert certificate is not None
    link = TlsLink(old, HELLO, certificate.context)
    channel, _ = trio.open_memory_channel(1)
    client = Session(old, LF, channel, room_limit=1)
    if wanted == "to stop":
        state.stopping = True
    else:
        state.pause = Pause()
    record = Secured(link)
    handler(client, record)
    assert record.taken
    assert client.link is link
    assert old.released
    assert link.reading.cancel_called is link.ending is (wanted == "to stop")
    assert link._after_handshake is state.pause
    for one in (ours, old, link):
        one.close()


@pytest.mark.parametrize("more", [0, 1])
async def test_tls_records_wait_within_a_bound(authority: Authority, more: int) -> None:
    """A client that reads nothing could ask for answers of TLS's own, as for new keys, for ever."""
    ours, theirs = socket.socketpair()
    below = SocketLink.accepted(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)), 60)
    certificate = read_certificate(Settings(**authority.settings))
    assert certificate is not None
    link = TlsLink(below, b"", certificate.context)
    below.keep(b"what the connection does not take", None)
    link._outgoing.write(bytes(PENDING_BYTES + more))
    if more:
        with pytest.raises(OSError, match="too many messages of TLS's own"):
            link._answer()
    else:
        link._answer()
    for one in (ours, link):
        one.close()


class Below:
    """A link over TCP that has come to these bytes so far."""

    peer = address = "p"
    unsent_bytes = 0

    def __init__(self) -> None:
        self.came = self.sent = b""

    def take(self, most: int) -> bytes | None:
        data, self.came = self.came[:most], self.came[most:]
        return data or None

    def write(self, chunk: bytes | None, more: None) -> int:
        self.sent += chunk or b""
        return 0

    async def readable(self) -> None:
        while not self.came:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def above(
    authority: Authority,
) -> AsyncIterator[tuple[Below, TlsLink, ssl.SSLObject, object]]:
    """A link after its handshake, what is below it, and its client."""
    certificate = read_certificate(Settings(**authority.settings))
    assert certificate is not None
    heard, says = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.trusting.wrap_bio(heard, says, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    below = Below()
    link = TlsLink(below, says.read(), certificate.context)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.readable)
            await until(lambda: bool(below.sent))
            heard.write(below.sent)
            client.do_handshake()
            below.came += says.read()
        yield below, link, client, says


@pytest.mark.parametrize("size", [1, 40, 1_024, 5_000, 16_384, 40_000])
async def test_records_count_for_what_they_are(authority: Authority, size: int) -> None:
    """However they come: at least a kilobyte each, and what decrypts to nothing counts too."""
    async with above(authority) as (below, link, client, says):
        for _ in range(10):
            client.write(b"x" * size)
        sent = says.read()
        below.came += sent
        got, counted = b"", 0
        while below.came:
            before = len(below.came)
            data = link.take()
            assert before - len(below.came) <= TLS_READ_BYTES
            got += data or b""
            counted += len(data or b"") + link.overhead
        assert len(got) == 10 * size
        # A part of a record's header counts with the rest of the record.
        assert counted == pytest.approx(max(10 * RECORD_BYTES, len(sent)), abs=RECORD_BYTES)
        assert link.take() is None
        assert link.overhead == 0


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_heads_of_records_may_be_split_anywhere(authority: Authority, size: int) -> None:
    async with above(authority) as (below, link, client, says):
        for length in (1, 2, 300, 1):
            client.write(b"x" * length)
        sent = says.read()
        records = 0
        for at in range(0, len(sent), size):
            records += link._records(sent[at : at + size])
        assert records == 4
        assert below.came == b""


# --- WebSocket ------------------------------------------------------------------------------------


async def test_a_program_comes_by_wss_and_back_after_an_upgrade(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FIRST_WAIT", 0.01)
    url = f"wss://{HOST}:%d/ws"
    with trio.fail_after(PATIENCE):
        async with running(authority) as (chat, port):
            john = await dial(port, nick="john", room="#x")
            async with open_client(url % port, nick="jane", ssl_context=authority.trusting) as jane:
                await jane.join("#x")
                await john.expect("> jane joined the room")
                async with successor(chat):
                    kinds = [type(await anext(jane)) for _ in range(2)]
                    assert kinds == [Disconnected, Resumed]
                    await jane.say("still me", room="#x")
                    # Nobody saw it leave.
                    await john.expect("> jane: still me")


async def test_a_hello_that_is_read_last_is_given_up(authority: Authority) -> None:
    async with running(authority) as (chat, port):
        client = (await dial(port)).stream
        await until(lambda: chat.statistics().clients == 1)
        [there] = chat._hub.state.sessions
        there.link.pause_reading()
        await client.send_all(HELLO)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            with contextlib.suppress(trio.BrokenResourceError):
                while await client.receive_some():
                    pass
            await client.aclose()
        given_up = "the TLS handshake was given up: the chat is stopping"
        assert chat.statistics().left == {given_up: 1}


async def test_clients_may_take_their_time_inside_of_tls(authority: Authority, mock_clock) -> None:
    """Though where only TLS is taken, that has to begin in time."""
    async with running(authority) as (chat, _):
        [(_, port)] = await chat.listen_at(Endpoint(accept=("tls",)))
        client = await dial_tls(port, authority)
        await client.stream.do_handshake()
        await ticks(200)
        mock_clock.jump(FIRST_BYTES_SECONDS + 1)
        await ticks(200)
        await client.stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await client.line() == "HTTP/1.1 200 OK"
        await trio.aclose_forcefully(client.stream)


async def test_a_request_has_so_long_inside_of_tls_too(authority: Authority, mock_clock) -> None:
    async with running(authority) as (chat, port):
        client = await dial_tls(port, authority)
        await client.stream.send_all(b"GET / HTTP/1.1\r\nHost: ")
        await until(lambda: chat.statistics().bytes_in > 0)
        await ticks(200)
        mock_clock.jump(FIRST_BYTES_SECONDS + 0.1)
        assert await client.line() == "HTTP/1.1 408 Request Timeout"
        await client.stream.aclose()


async def test_the_page_comes_by_https(authority: Authority) -> None:
    async with running(authority) as (_, port):
        client = await dial_tls(port, authority)
        await client.stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while data := await client.stream.receive_some():
            answer += data
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"</html>" in answer
