"""A client that sends whatever it likes where TLS is spoken: before, after and within a handshake.

Tests send bytes of their own; `fuzz/fuzz.py` sends what a fuzzer makes of them.
"""

from __future__ import annotations

import re
import socket
import ssl
import tempfile
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import trio
from attacks import ENDS
from authority import Authority
from loopback import HOST, PATIENCE, descriptors

from trio_chat import Settings, open_chat
from trio_chat.config.endpoints import ALL
from trio_chat.testing import line_client

HELLO = b"\x16\x03"
# The first byte of an input selects where the rest of it is sent.
AT_FIRST, AFTER_A_HANDSHAKE, INSIDE = range(3)
RECORD_BYTES = 2**14 + 256  # RFC 8446, 5.2
ENDS_TLS = re.compile(r"the TLS handshake failed: .+|connection lost(: .+)?|" + ENDS.pattern)
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@cache
def authority() -> Authority:
    return Authority(Path(tempfile.mkdtemp()))


@cache
def settings() -> Settings:
    limits = {"rate_limit": None, "line_bytes": 256, "message_chars": 64, "resume_grace": 0}
    return Settings(**limits, **authority().settings)


@cache
def trusting(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = authority().trusting
    context.maximum_version = version
    return context


def hello(version: ssl.TLSVersion) -> bytes:
    """The first bytes of a client."""
    outgoing = ssl.MemoryBIO()
    client = trusting(version).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def record(kind: int, payload: bytes, *, length: int | None = None) -> bytes:
    """One record of TLS (RFC 8446, 5.1), with a length that need not be its own."""
    size = len(payload) if length is None else length
    return bytes((kind, 3, 3)) + size.to_bytes(2) + payload


def seeds() -> list[bytes]:
    """Inputs to begin with."""
    ways = [bytes((AT_FIRST, size)) for size in (1, 60, 255)]
    hellos = [hello(version)[2:] for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)]
    lines = b"/nick eve\n/join #a\n/msg Hi\n"
    records = [
        record(21, b"\x02\x28"),
        record(21, b"\x01\x00"),
        record(22, b"\x00\x00\x00\x00"),  # a wish to begin anew
        record(22, b"\x18\x00\x00\x01\x01"),  # other keys, please
        record(20, b"\x01"),
        record(23, lines),
        record(24, b"\x01\x40\x00"),  # a heartbeat that asks for more than it has
        record(23, b"", length=RECORD_BYTES + 1),
    ]
    return [
        *(way + one for way in ways for one in hellos),
        *(bytes((AT_FIRST, 255)) + hellos[1] + one for one in records),
        *(bytes((AFTER_A_HANDSHAKE, 255)) + one for one in records),
        *(bytes((INSIDE, size)) + lines for size in (1, 255)),
        bytes((INSIDE, 255)) + HELLO + hellos[1],
        bytes((INSIDE, 255)) + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]


def attack_tls(data: bytes) -> None:
    """Send this; the first two bytes say where, over which TLS, and in pieces of which size."""
    way, rest = data[:2].ljust(2, b"\1"), data[2:]
    size = max(1, way[1])
    version = ssl.TLSVersion.TLSv1_3 if way[0] & 4 else ssl.TLSVersion.TLSv1_2
    trio.run(partial(_attack, way[0] % 4 % 3, version, _pieces(rest, size)))


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


async def _attack(where: int, version: ssl.TLSVersion, pieces: list[bytes]) -> None:
    before = descriptors()
    with trio.fail_after(PATIENCE):
        async with open_chat(settings()) as chat, line_client(chat, nick="Ann") as ann:
            theirs, ours = socket.socketpair()
            accepted = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
            clients = chat._clients
            serve = partial(clients.serve, accept=ALL)
            clients._nursery.start_soon(serve, clients.link(accepted))
            async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as stream:
                if where == AT_FIRST:
                    check_records(await _first(stream, [HELLO, *pieces]))
                else:
                    await _after_a_handshake(stream, version, pieces, raw=where != INSIDE)
            while chat.statistics().clients > 1:
                await trio.lowlevel.checkpoint()
            assert await ann.sync() == []
            left = chat.statistics().left
            assert all(ENDS_TLS.fullmatch(reason) for reason in left), left
    assert descriptors() == before


async def _first(stream: trio.SocketStream, pieces: list[bytes]) -> bytes:
    """Send these and end; all that comes back."""
    with suppress(*GONE):
        for piece in pieces:
            await stream.send_all(piece)
            await trio.lowlevel.checkpoint()
        await stream.send_eof()
    return await _rest(stream)


async def _after_a_handshake(
    stream: trio.SocketStream, version: ssl.TLSVersion, pieces: list[bytes], *, raw: bool
) -> None:
    tls = trio.SSLStream(stream, trusting(version), server_hostname=HOST)
    await tls.do_handshake()
    out: trio.abc.SendStream = stream if raw else tls
    with suppress(*GONE):
        for piece in pieces:
            await out.send_all(piece)
        await stream.send_eof()
    if raw:
        check_records(await _rest(stream))
    else:
        await _rest(tls)


async def _rest(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    with suppress(*GONE):
        async for some in stream:
            data += some
    return bytes(data)


def check_records(data: bytes) -> None:
    """Whether these are records of TLS, each of them whole.

    Of which version an alert says it is depends on what the client has claimed of itself.
    """
    while data:
        kind, size = data[0], int.from_bytes(data[3:5])
        assert kind in range(20, 24), data
        assert size <= RECORD_BYTES, data
        assert len(data) >= 5 + size, data
        data = data[5 + size :]
