"""The PROXY protocol: headers of both versions, whose are taken, and what the hub makes of them."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from loopback import chat_on_tcp, dial, until
from opening import records, run, split

from trio_chat import Settings, open_chat
from trio_chat.config.endpoints import Endpoint
from trio_chat.config.trusted import is_trusted
from trio_chat.dialects.line import LineDialect
from trio_chat.errors import Code
from trio_chat.hub.inbox import CameFrom
from trio_chat.hub.state import counted_as
from trio_chat.protocol.commands import Disconnected, Refuse, Served
from trio_chat.protocol.table import make_table
from trio_chat.testing import LineClient, line_client
from trio_chat.transports.connection import Connection, new_reader
from trio_chat.transports.detection import VERBS
from trio_chat.transports.proxy_protocol import (
    LINE_BYTES,
    MOST_BYTES,
    SIGNATURES,
    V2,
    Header,
    MalformedHeader,
    read_header,
)
from trio_chat.transports.stream import StreamLink

SETTINGS = Settings(rate_limit=None)
PROXY = "192.0.2.1"
CROWDED = "err: there are too many connections from your address; close one first"
NOT_TRUSTED = "only a trusted proxy may send a PROXY header here"

LOCAL, PROXIED = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX, UNIX_DGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32


def v1(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


def v2(kind: int, block: bytes = b"", *, command: int = PROXIED, length: int | None = None):
    """A binary header; its length is that of what follows, unless another one is given."""
    size = len(block) if length is None else length
    return V2 + bytes([command, kind]) + size.to_bytes(2) + block


def addresses(source: str, target: str, port: int, target_port: int = 8888) -> bytes:
    ends = ip_address(source).packed + ip_address(target).packed
    return ends + port.to_bytes(2) + target_port.to_bytes(2)


INET = addresses("203.0.113.7", "198.51.100.9", 56324)
INET6 = addresses("2001:db8::7", "2001:db8:0:1::9", 56324)
MAPPED = addresses("::ffff:203.0.113.7", "::ffff:198.51.100.9", 56324)
UNIX_ENDS = b"/run/client".ljust(108, b"\0") + b"/run/chat".ljust(108, b"\0")
TLVS = b"\x04\x00\x05hello" + b"\x20\x00\x00"

FOUR = CameFrom("203.0.113.7:56324", "203.0.113.7")
SIX = CameFrom("[2001:db8::7]:56324", "2001:db8::7")
LONG = "ffff:" * 7 + "ffff"

# Each header, and the client that it names.
HEADERS = {
    "v1 TCP4": (v1("TCP4 203.0.113.7 198.51.100.9 56324 8888"), FOUR),
    "v1 TCP4, the longest": (
        v1("TCP4 255.255.255.255 255.255.255.255 65535 65535"),
        CameFrom("255.255.255.255:65535", "255.255.255.255"),
    ),
    "v1 TCP4, the shortest": (v1("TCP4 0.0.0.0 1.2.3.4 0 0"), CameFrom("0.0.0.0:0", "0.0.0.0")),
    "v1 TCP6": (v1("TCP6 2001:db8::7 2001:db8:0:1::9 56324 8888"), SIX),
    "v1 TCP6, in full": (v1("TCP6 2001:0DB8:0:0:0:0:0:7 :: 56324 8888"), SIX),
    "v1 TCP6, the longest": (
        v1(f"TCP6 {LONG} {LONG} 65535 65535"),
        CameFrom(f"[{LONG}]:65535", LONG),
    ),
    "v1 TCP6, IPv4 within": (v1("TCP6 ::ffff:203.0.113.7 ::ffff:1.2.3.4 56324 1"), FOUR),
    "v1 TCP6, IPv4 in hexadecimal": (v1("TCP6 ::ffff:cb00:7107 ::1 56324 1"), FOUR),
    "v1 UNKNOWN": (v1("UNKNOWN"), None),
    "v1 UNKNOWN, the longest": (v1(f"UNKNOWN {LONG} {LONG} 65535 65535"), None),
    "v1 UNKNOWN, anything": (b"PROXY UNKNOWN \0\xff\r\r\n", None),
    "v2 TCP4": (v2(TCP4, INET), FOUR),
    "v1 TCP6, reached by IPv4": (v1("TCP6 2001:db8::7 192.0.2.1 56324 8888"), SIX),
    "v1 TCP4, reached by IPv6": (v1("TCP4 203.0.113.7 2001:db8::1 56324 8888"), FOUR),
    "v2 TCP6": (v2(TCP6, INET6), SIX),
    "v2 TCP6, IPv4 within": (v2(TCP6, MAPPED), FOUR),
    "v2 TCP4 and more": (v2(TCP4, INET + TLVS), FOUR),
    "v2 TCP6 and more": (v2(TCP6, INET6 + TLVS), SIX),
    "v2 TCP4, the longest": (v2(TCP4, INET.ljust(MOST_BYTES, b"\n")), FOUR),
    "v2 UDP4": (v2(UDP4, INET), None),
    "v2 UDP6": (v2(UDP6, INET6), None),
    "v2 UNIX": (v2(UNIX, UNIX_ENDS), None),
    "v2 UNIX datagrams": (v2(UNIX_DGRAM, UNIX_ENDS), None),
    "v2 UNSPEC": (v2(UNSPEC), None),
    "v2 UNSPEC and more": (v2(UNSPEC, TLVS), None),
    "v2 LOCAL": (v2(UNSPEC, command=LOCAL), None),
    "v2 LOCAL, with addresses": (v2(TCP4, INET, command=LOCAL), None),
    "v2 LOCAL, of any family": (v2(0xFF, b"?", command=LOCAL), None),
}

NO_LINE = "its line is not one of version 1"
WRONG_ADDRESS = "its line has a wrong address"
WRONG_PORT = "its line has a wrong port"
UNKNOWN_KIND = "its address family or transport is unknown"
UNKNOWN_COMMAND = "its version or command is unknown"
TOO_SHORT = "it is shorter than its addresses"

# Each header that is none, and what is said of it.
MALFORMED = [
    (v1(""), NO_LINE),
    (v1("TCP4"), NO_LINE),
    (v1("TCP5 1.2.3.4 1.2.3.4 1 1"), NO_LINE),
    (v1("tcp4 1.2.3.4 1.2.3.4 1 1"), NO_LINE),
    (v1("UDP4 1.2.3.4 1.2.3.4 1 1"), NO_LINE),
    (v1("UNKNOWNS"), NO_LINE),
    (v1("unknown"), NO_LINE),
    (v1(" TCP4 1.2.3.4 1.2.3.4 1 1"), NO_LINE),
    (v1("TCP4  1.2.3.4 1.2.3.4 1 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 1 1 "), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 1 1\r"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 1 1 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 1"), NO_LINE),
    (v1("TCP4\t1.2.3.4\t1.2.3.4\t1\t1"), NO_LINE),
    (v1("TCP4 1.2.3.4\0 1.2.3.4 1 1"), NO_LINE),
    (v1("TCP4 1.2.3.٤ 1.2.3.4 1 1"), NO_LINE),
    (v1("TCP6 fe80::1%eth0 ::1 1 1"), NO_LINE),
    (v1("TCP6 [::1] ::1 1 1"), NO_LINE),
    (v1("TCP4 localhost 1.2.3.4 1 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 01 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 1 00"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 -1 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 +1 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 0x1 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 655350 1"), NO_LINE),
    (v1("TCP4 1.2.3.4 1.2.3.4 65536 1"), WRONG_PORT),
    (v1("TCP4 1.2.3.4 1.2.3.4 1 65536"), WRONG_PORT),
    (v1("TCP4 1.2.3 1.2.3.4 1 1"), WRONG_ADDRESS),
    (v1("TCP4 1.2.3.256 1.2.3.4 1 1"), WRONG_ADDRESS),
    (v1("TCP4 1.2.3.04 1.2.3.4 1 1"), WRONG_ADDRESS),
    (v1("TCP4 1.2.3.4 1.2.3.4.5 1 1"), WRONG_ADDRESS),
    (v1("TCP4 ::1 ::1 1 1"), WRONG_ADDRESS),
    (v1("TCP6 1.2.3.4 1.2.3.4 1 1"), WRONG_ADDRESS),
    (v1("TCP6 1::2::3 ::1 1 1"), WRONG_ADDRESS),
    (v1("TCP6 12345:: ::1 1 1"), WRONG_ADDRESS),
    (v1("TCP6 1:2:3:4:5:6:7 ::1 1 1"), WRONG_ADDRESS),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", NO_LINE),
    (b"PROXY UNKNOWN\n", NO_LINE),
    (b"PROXY hello\n/quit\r\n", NO_LINE),
    (b"PROXY UNKNOWN a\nb\r\n", NO_LINE),
    (b"PROXY UNKNOWN".ljust(LINE_BYTES), "its line is too long"),
    (b"PROXY UNKNOWN ".ljust(LINE_BYTES - 1) + b"\r\n", "its line is too long"),
    *[(v2(TCP4, INET, command=command), UNKNOWN_COMMAND) for command in (0, 1, 0x11, 0x22, 0x31)],
    *[(v2(kind, UNIX_ENDS), UNKNOWN_KIND) for kind in (0x03, 0x13, 0x23, 0x33, 0x40, 0xFF)],
    (v2(TCP4, INET[:-1]), TOO_SHORT),
    (v2(UDP4), TOO_SHORT),
    (v2(TCP6, INET), TOO_SHORT),
    (v2(UDP6, INET6[:-1]), TOO_SHORT),
    (v2(UNIX, UNIX_ENDS[:-1]), TOO_SHORT),
    (v2(UNIX_DGRAM), TOO_SHORT),
    (v2(TCP4, INET, length=MOST_BYTES + 1), "it is longer than 4096 bytes"),
    (v2(UNSPEC, command=LOCAL, length=0xFFFF), "it is longer than 4096 bytes"),
]


def in_each_way(data: bytes, *, trusted: bool = True) -> list[list]:
    """Give the records of these bytes for each way to split them."""
    return [records(pieces, trusted=trusted) for pieces in split(data)]


# --- reading a header -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_is_read_once_it_is_whole(name: str) -> None:
    data, client = HEADERS[name]
    for length in range(12, len(data)):
        assert read_header(data[:length]) is None
    header = Header(len(data), client, own="LOCAL" in name)
    assert read_header(data) == header
    assert read_header(data + b"/nick john\r\n" + data) == header


@pytest.mark.parametrize(("data", "where"), MALFORMED)
def test_headers_that_the_specification_does_not_allow_are_malformed(
    data: bytes, where: str
) -> None:
    with pytest.raises(MalformedHeader, match=f"^{where}$"):
        read_header(data)
    with pytest.raises(MalformedHeader, match=f"^{where}$"):
        read_header(data + b"/nick john\r\n")


def test_a_line_that_does_not_end_is_given_up_at_its_longest() -> None:
    line = b"PROXY TCP4 ".ljust(LINE_BYTES, b"1")
    for length in range(len(b"PROXY "), LINE_BYTES):
        assert read_header(line[:length]) is None
    with pytest.raises(MalformedHeader, match="too long"):
        read_header(line)


@given(st.sampled_from(SIGNATURES), st.binary(max_size=300))
def test_bytes_of_any_kind_are_a_header_or_are_not(signature: bytes, rest: bytes) -> None:
    try:
        header = read_header(signature + rest)
    except MalformedHeader:
        return
    if header is not None:
        assert 0 < header.size <= len(signature + rest)


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_both_versions_agree_on_every_address(address, port: int) -> None:
    text, target = str(address), "1.2.3.4" if address.version == 4 else "::1"
    mapped = address.version == 6 and address.ipv4_mapped
    if mapped:
        address = mapped
    shown = str(address) if address.version == 4 else f"[{address}]"
    kind = TCP4 if "." in target else TCP6
    for data in (
        v1(f"TCP{4 if kind == TCP4 else 6} {text} {target} {port} 1"),
        v2(kind, addresses(text, target, port, 1)),
    ):
        header = read_header(data)
        assert header is not None
        assert header.client is not None
        assert ip_address(header.client.address) == address
        # glibc writes a few deprecated addresses with dots, as `getpeername` does.
        if address.version == 4 or not address.packed.startswith(bytes(12)):
            assert header.client == CameFrom(f"{shown}:{port}", str(address))


def test_an_address_is_written_as_the_kernel_writes_it() -> None:
    """So that one client counts as one, whichever way it comes."""
    for text in ("::", "::1", "::1.2.3.4", "1::", "1:0:0:2::3", "fe80::1", "2001:db8::1:0:0:1"):
        header = read_header(v1(f"TCP6 {IPv6Address(text).exploded} ::1 1 1"))
        assert header is not None
        assert header.client is not None
        assert header.client.address == socket.getnameinfo((text, 1), socket.NI_NUMERICHOST)[0]


# --- among the first bytes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", HEADERS)
def test_a_trusted_header_may_be_split_anywhere(name: str) -> None:
    data, client = HEADERS[name]
    who = [] if client is None else [client]
    for came in in_each_way(data + b"/dance\r\n"):
        assert came == [*who, Refuse("unknown command: /dance", Code.UNKNOWN_COMMAND)]


@pytest.mark.parametrize(("data", "where"), MALFORMED)
def test_a_malformed_header_is_the_end_wherever_it_is_split(data: bytes, where: str) -> None:
    for came in in_each_way(data + b"\n/dance\r\n"):
        assert came == [
            Refuse(f"the PROXY header is malformed: {where}", Code.NOT_SERVED),
            Disconnected(f"sent a malformed PROXY header: {where}"),
        ]


@pytest.mark.parametrize("data", [SIGNATURES[0], V2, *[data for data, _ in HEADERS.values()]])
def test_an_untrusted_header_is_the_end_wherever_it_is_split(data: bytes) -> None:
    for came in in_each_way(data + b"/dance\r\n", trusted=False):
        assert came == [
            Refuse(NOT_TRUSTED, Code.NOT_SERVED),
            Disconnected("sent a PROXY header and is no trusted proxy"),
        ]


@pytest.mark.parametrize("name", ["v1 TCP4", "v1 UNKNOWN", "v2 TCP6 and more", "v2 LOCAL"])
def test_after_a_header_come_first_bytes_but_no_second_header(name: str) -> None:
    data, client = HEADERS[name]
    who = [] if client is None else [client]
    for verb in VERBS:
        for came in in_each_way(data + verb + b"/ HTTP/1.1\r\n\r\n/dance\r\n"):
            assert came[:-3] == who
            assert isinstance(came[-2], Served)
            assert came[-2].status == 400
            assert came[-1] == Disconnected("spoke HTTP")
    for other, _ in HEADERS.values():
        came = records([data + other + b"/dance\r\n"], trusted=True)
        assert came[:-2] == who
        assert came[-2] == Refuse(NOT_TRUSTED, Code.NOT_SERVED)


def test_nor_is_there_a_second_header_after_an_upgrade() -> None:
    data, client = HEADERS["v1 TCP4"]
    came = records([data, data], trusted=True, pause=1)
    assert came[:2] == [client, Refuse(NOT_TRUSTED, Code.NOT_SERVED)]


async def test_bytes_behind_a_header_have_their_own_time(autojump_clock) -> None:
    data, _ = HEADERS["v1 TCP4"]
    pieces = [data[:9], 9.0, data[9:], 60.0, b"GE", 9.0, b"T / HTTP/1.1\r\n\r\n"]
    *_, served, end = await run(pieces, trusted=True)
    assert isinstance(served, Served)
    assert (served.status, end) == (400, Disconnected("spoke HTTP"))


async def test_a_header_that_takes_too_long_is_a_line(autojump_clock) -> None:
    data, _ = HEADERS["v1 TCP4"]
    [refused, _hint] = await run([data[:9], 11.0, data[9:]], trusted=True)
    assert refused == Refuse("unknown command: PROXY", Code.UNKNOWN_COMMAND)


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        *(b"P\n", b"PR\n", b"PRO\n", b"PROX\n", b"PROXY\n", b"PROXY\r\n", b"PRI\n", b"PROXIES\n"),
        *(b"PROXYTCP4 1.2.3.4 1.2.3.4 1 1\r\n", b"proxy UNKNOWN\r\n", b" PROXY UNKNOWN\r\n"),
        *(b"POSH\n", b"PROXY\tUNKNOWN\r\n", b"/PROXY UNKNOWN\r\n"),
        *(b"\r\n", b"\r\n\r\n", b"\r\n\r\n\0\r\n", b"\r\n\r\n\0\r\nQUIT\r\n", b"\r\n\r\nQUIT\n"),
    ],
)
def test_a_line_that_begins_like_a_header_is_a_line(line: bytes, *, trusted: bool) -> None:
    expected = LineDialect(make_table(()), SETTINGS).feed(line + b"/dance\n")
    assert expected[-1] == Refuse("unknown command: /dance", Code.UNKNOWN_COMMAND)
    for came in in_each_way(line + b"/dance\n", trusted=trusted):
        # A summary of lines in quick succession comes at the end.
        assert came[: len(expected)] == expected


async def test_lines_after_a_header_wait_for_the_rate_as_others_do(autojump_clock) -> None:
    data, client = HEADERS["v2 TCP4"]
    settings, begun = Settings(rate_limit=1.0, rate_burst=1), trio.current_time()
    lines = [Refuse(f"unknown command: /{name}", Code.UNKNOWN_COMMAND) for name in "abc"]
    came = await run([data + b"/a\n/b\n/c\n"], settings=settings, trusted=True)
    assert came == [client, *lines]
    assert trio.current_time() - begun == pytest.approx(2, abs=0.1)


@given(data=st.data(), trusted=st.booleans())
def test_no_bytes_crash_it_and_no_split_matters(data: st.DataObject, *, trusted: bool) -> None:
    starts = st.sampled_from([b"", *SIGNATURES, *(data for data, _ in HEADERS.values())])
    sent = data.draw(starts) + data.draw(st.binary(max_size=200))
    whole = records([sent], trusted=trusted)
    pieces, rest = [], sent
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.append(rest[:size])
        rest = rest[size:]
    came = records(pieces, trusted=trusted)
    named = (CameFrom, Disconnected)
    assert [r for r in came if isinstance(r, named)] == [r for r in whole if isinstance(r, named)]
    assert sum(isinstance(record, CameFrom) for record in came) <= trusted


# --- who is trusted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "proxies", "trusted"),
    [
        ("192.0.2.7", ("192.0.2.7",), True),
        ("192.0.2.8", ("192.0.2.7",), False),
        ("192.0.2.8", ("192.0.2.7", "192.0.2.8"), True),
        ("10.255.0.1", ("10.0.0.0/8",), True),
        ("11.0.0.1", ("10.0.0.0/8",), False),
        ("2001:db8::9", ("10.0.0.0/8", "2001:db8::/32"), True),
        ("2001:db9::9", ("10.0.0.0/8", "2001:db8::/32"), False),
        ("::1", ("::1",), True),
        ("::1", ("0.0.0.0/0",), False),
        ("192.0.2.7", ("::/0",), False),
        ("192.0.2.7", (), False),
        ("unknown", ("0.0.0.0/0", "::/0"), False),
        ("unix", ("0.0.0.0/0", "::/0"), False),
        ("stream", ("0.0.0.0/0", "::/0"), False),
    ],
)
def test_trusted_are_the_addresses_and_networks_of_the_setting(
    address: str, proxies: tuple[str, ...], *, trusted: bool
) -> None:
    assert is_trusted(address, proxies) is trusted
    Settings(trusted_proxies=proxies)


# --- what the hub makes of it ---------------------------------------------------------------------


@asynccontextmanager
async def through_proxy(chat, first: bytes = b"", *, trusted: bool = True):
    """A client whose connection comes from the proxy and begins with these bytes."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        link = StreamLink(theirs, PROXY)
        with chat._channel.clone() as channel:
            reader = new_reader(link, channel, chat.settings, trusted=trusted)
            clients = chat._clients
            held, table = clients.descriptors, clients._table
            await Connection(reader, channel, chat.settings, table, descriptors=held).run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await ours.send_all(first)
        yield LineClient(ours)
        await ours.aclose()


@asynccontextmanager
async def running(**settings):
    async with open_chat(Settings(rate_limit=None, **settings)) as chat:
        yield chat
        state = chat._hub.state
        await trio.testing.wait_all_tasks_blocked()
        assert sum(state.addresses.values()) == state.clients
        assert all(state.addresses.values())


def shown(caplog) -> list[tuple[str, ...]]:
    """The log: each message with its address and, where it has one, its proxy or reason."""
    return [
        (
            record.message,
            record.address,
            *(vars(record)[key] for key in ("proxy", "reason") if key in vars(record)),
        )
        for record in caplog.records
    ]


@pytest.mark.parametrize("name", ["v1 TCP4", "v1 TCP6", "v2 TCP4 and more", "v2 TCP6"])
async def test_logs_see_the_real_address(name: str, caplog, autojump_clock) -> None:
    caplog.set_level("INFO", "trio_chat")
    data, client = HEADERS[name]
    async with running() as chat, through_proxy(chat, data) as john:
        assert await john.sync() == []
        assert dict(chat._hub.state.addresses) == {counted_as(client.address, 64): 1}
        await john.send("/quit")
        assert await john.rest() == ["> sad to see you go =("]
    assert shown(caplog) == [
        ("client joined", client.peer),
        ("client came through a proxy", client.peer, PROXY),
        ("client left", client.peer, "quit"),
    ]
    assert len({record.client for record in caplog.records}) == 1


@pytest.mark.parametrize(
    "data", [b"", v1("UNKNOWN"), v2(UNSPEC, command=LOCAL), v2(UNIX, UNIX_ENDS)]
)
async def test_a_header_without_address_keeps_the_proxys_address(
    data, caplog, autojump_clock
) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with running() as chat, through_proxy(chat, data) as john:
        assert await john.sync() == []
        assert dict(chat._hub.state.addresses) == {PROXY: 1}
        await john.send("/quit")
        await john.rest()
    assert shown(caplog) == [("client joined", PROXY), ("client left", PROXY, "quit")]


async def test_the_limit_counts_real_addresses_and_not_the_proxys(autojump_clock) -> None:
    other = v1("TCP4 203.0.113.8 198.51.100.9 1 1")
    async with (
        running(max_clients_per_address=1) as chat,
        through_proxy(chat) as health_check,
        through_proxy(chat, v1("UNKNOWN")) as unknown,
        through_proxy(chat, other) as far,
    ):
        async with through_proxy(chat, v1("TCP4 203.0.113.7 1.1.1.1 1 1")) as first:
            for client in (health_check, unknown, far, first):
                assert await client.sync() == []
            async with through_proxy(chat, v2(TCP6, MAPPED) + b"/join #a\n/msg Hi\n") as second:
                assert await second.rest() == [CROWDED]
            assert await first.sync() == []
            assert chat.statistics().turned_away == 1
        async with through_proxy(chat, v2(TCP4, INET)) as again:
            assert await again.sync() == []


async def test_one_address_counts_as_one_with_and_without_a_proxy(autojump_clock) -> None:
    async with running(max_clients_per_address=1) as chat:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(chat.serve_stream, theirs, peer="203.0.113.7"))
            assert await LineClient(ours).sync() == []
            async with through_proxy(chat, v2(TCP4, INET)) as second:
                assert await second.rest() == [CROWDED]
            await ours.aclose()


@pytest.mark.parametrize(
    ("prefix", "source", "let_in"),
    [
        (64, "2001:db8:0:0:1::9", False),
        (64, "2001:db8:0:1::7", True),
        (48, "2001:db8:0:1::7", False),
        (128, "2001:db8::8", True),
        (128, "2001:db8::7", False),
        (1, "::ffff:203.0.113.7", True),
    ],
)
async def test_addresses_of_ipv6_count_by_their_network(
    prefix: int, source: str, *, let_in: bool, autojump_clock
) -> None:
    async with (
        running(max_clients_per_address=1, ipv6_prefix=prefix) as chat,
        through_proxy(chat, v1("TCP6 2001:db8::7 ::1 1 1")) as first,
        through_proxy(chat, v1(f"TCP6 {source} ::1 1 1")) as second,
    ):
        assert await first.sync() == []
        assert await second.rest() == [CROWDED] if not let_in else await second.sync() == []
        await first.stream.aclose()
        await second.stream.aclose()
        await until(lambda: chat.statistics().clients == 0)
        assert not chat._hub.state.addresses


async def test_a_streams_name_that_only_looks_like_an_address_counts_as_it_is(
    autojump_clock,
) -> None:
    async with running(max_clients_per_address=1) as chat, trio.open_nursery() as nursery:
        for peer, answers in (("a:1", []), ("a:2", []), ("a:1", [CROWDED])):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(partial(chat.serve_stream, theirs, peer=peer))
            client = LineClient(ours)
            assert await (client.rest() if answers else client.sync()) == answers
        await chat.stop()


async def test_the_proxys_address_is_limited_when_it_is_not_trusted(autojump_clock) -> None:
    async with (
        running(max_clients_per_address=1) as chat,
        through_proxy(chat, trusted=False) as first,
        through_proxy(chat, trusted=False) as second,
    ):
        assert await first.sync() == []
        assert await second.rest() == [CROWDED]


async def test_a_real_loopback_address_is_exempt_as_ever(autojump_clock) -> None:
    header = v1("TCP4 127.0.0.1 127.0.0.1 1 1")
    async with (
        running(max_clients_per_address=1) as chat,
        through_proxy(chat, header) as first,
        through_proxy(chat, header) as second,
    ):
        assert await first.sync() == await second.sync() == []


async def test_a_client_that_finds_the_server_full_is_told_so_and_not_moved(
    caplog, autojump_clock
) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with running(max_clients=1) as chat, through_proxy(chat) as first:
        assert await first.sync() == []
        async with through_proxy(chat, v2(TCP4, INET)) as second:
            assert await second.rest() == ["err: the server is full; please try again later"]
        assert chat.statistics().turned_away == 1
    assert "client came through a proxy" not in caplog.messages


async def test_others_that_send_a_header_are_closed(caplog, autojump_clock) -> None:
    caplog.set_level("INFO", "trio_chat")
    async with running() as chat, line_client(chat, nick="ann", room="#a") as ann:
        caplog.clear()
        for data, _ in HEADERS.values():
            more = data + b"/nick evil\n/join #a\n/msg gotcha\n"
            async with through_proxy(chat, more, trusted=False) as client:
                assert await client.rest() == [f"err: {NOT_TRUSTED}"]
        assert await ann.sync() == []
        assert chat.statistics().left == {
            "sent a PROXY header and is no trusted proxy": len(HEADERS)
        }
        assert {address for _, address, *_ in shown(caplog)} == {PROXY}


async def test_streams_of_an_embedding_program_are_never_trusted(autojump_clock) -> None:
    async with running(trusted_proxies=("0.0.0.0/0",)) as chat, line_client(chat) as client:
        await client.stream.send_all(v2(TCP4, INET))
        assert await client.rest() == [f"err: {NOT_TRUSTED}"]


async def test_a_malformed_header_from_a_trusted_proxy_is_the_end(autojump_clock) -> None:
    async with running() as chat:
        async with through_proxy(chat, v1("TCP4 here there 1 1") + b"/join #a\n") as client:
            assert await client.rest() == [f"err: the PROXY header is malformed: {NO_LINE}"]
        assert chat.statistics().left == {f"sent a malformed PROXY header: {NO_LINE}": 1}


async def test_a_header_in_pieces_under_a_rate(autojump_clock) -> None:
    async with (
        open_chat(Settings(rate_limit=1.0, rate_burst=1)) as chat,
        through_proxy(chat) as one,
    ):
        for byte in HEADERS["v2 TCP6 and more"][0] + b"/dance\n/prance\n":
            await one.stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        await one.expect("err: unknown command: /dance", "err: unknown command: /prance")
        assert dict(chat._hub.state.addresses) == {"2001:db8::/64": 1}


async def test_half_a_header_at_a_stop_is_nobodys(autojump_clock) -> None:
    async with open_chat(SETTINGS) as chat, through_proxy(chat, v2(TCP4, INET)[:-1]) as one:
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            assert await one.rest() == ["> the server is shutting down"]


# --- over TCP -------------------------------------------------------------------------------------


async def test_over_tcp_the_setting_says_who_is_trusted(caplog) -> None:
    caplog.set_level("INFO", "trio_chat")
    loopback = ("192.0.2.0/24", "127.0.0.0/8")
    async with chat_on_tcp(trusted_proxies=loopback, max_clients_per_address=1) as (chat, port):
        john = await dial(port)
        await john.stream.send_all(v2(TCP6, INET6 + TLVS)[:20])
        await until(lambda: chat.statistics().clients == 1)
        await john.stream.send_all(v2(TCP6, INET6 + TLVS)[20:] + b"/nick john\n")
        await john.expect("> all right, I will call you john")
        jack = await dial(port)
        await jack.stream.send_all(v1("TCP6 2001:db8::7 ::1 1 1"))
        assert await jack.rest() == [CROWDED]
        june = await dial(port, nick="june")
        assert await june.sync() == []
        await john.stream.aclose()
        await until(lambda: chat.statistics().clients == 1)
    first = caplog.records[0].client
    records = [record for record in caplog.records if record.client == first]
    assert [record.address for record in records] == [SIX.peer] * 3
    [proxy] = [record.proxy for record in records if hasattr(record, "proxy")]
    assert proxy.startswith("127.0.0.1:")


async def test_over_tcp_nobody_is_trusted_unless_the_setting_says_so() -> None:
    async with chat_on_tcp(trusted_proxies=("192.0.2.0/24",)) as (chat, port):
        for data in (HEADERS["v1 TCP4"][0], HEADERS["v2 TCP4"][0], HEADERS["v2 LOCAL"][0]):
            client = await dial(port)
            await client.stream.send_all(data + b"/join #a\n")
            assert await client.rest() == [f"err: {NOT_TRUSTED}"]
        await until(lambda: chat.statistics().clients == 0)
        assert chat.statistics().left == {"sent a PROXY header and is no trusted proxy": 3}


# --- over a unix socket ---------------------------------------------------------------------------


@pytest.mark.parametrize("trusted", [True, False])
async def test_at_a_unix_socket_a_proxy_is_trusted_if_unix_is(
    tmp_path: Path, caplog, *, trusted: bool
) -> None:
    caplog.set_level("INFO", "trio_chat")
    path = str(tmp_path / "chat.sock")
    proxies = ("unix",) if trusted else ("0.0.0.0/0", "::/0")
    async with open_chat(Settings(rate_limit=None, trusted_proxies=proxies)) as chat:
        await chat.listen_at(Endpoint(unix=path))
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(HEADERS["v2 TCP6"][0] + b"/quit\n")
            (told,) = await LineClient(stream).rest()
        await until(lambda: chat.statistics().clients == 0)
    assert told == ("> sad to see you go =(" if trusted else f"err: {NOT_TRUSTED}")
    seen = {record.address for record in caplog.records if hasattr(record, "client")}
    assert seen == {SIX.peer if trusted else f"unix:{path}"}
    proxies = {record.proxy for record in caplog.records if hasattr(record, "proxy")}
    assert proxies == ({f"unix:{path}"} if trusted else set())
