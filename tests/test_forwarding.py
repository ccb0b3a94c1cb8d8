"""Proxies by HTTP name their clients: which of them are believed, and what goes by that."""

from __future__ import annotations

import pytest
import trio
from frames import REQUEST
from hypothesis import given
from hypothesis import strategies as st
from loopback import HOST, chat_on_tcp, until
from opening import records, run

from trio_chat import Settings
from trio_chat.hub.inbox import CameFrom
from trio_chat.protocol.commands import Served
from trio_chat.transports.forwarding import client_of

PROXIES = ("192.0.2.0/24", "127.0.0.1", "2001:db8:1::/48")
SETTINGS = Settings(rate_limit=None, trusted_proxies=PROXIES)
FAR, FAR_6 = CameFrom("203.0.113.7", "203.0.113.7"), CameFrom("2001:db8::7", "2001:db8::7")


@pytest.mark.parametrize(
    ("name", "value", "client"),
    [
        ("x-forwarded-for", "203.0.113.7", FAR),
        ("x-forwarded-for", "9.9.9.9, 203.0.113.7", FAR),
        ("x-forwarded-for", "9.9.9.9, 203.0.113.7, 192.0.2.1,127.0.0.1", FAR),
        ("x-forwarded-for", "x, 203.0.113.7 , 2001:db8:1::5", FAR),
        ("x-forwarded-for", "203.0.113.7:99", CameFrom("203.0.113.7:99", "203.0.113.7")),
        ("x-forwarded-for", "2001:DB8:0::7", FAR_6),
        ("x-forwarded-for", "[2001:db8::7]", FAR_6),
        ("x-forwarded-for", "[2001:db8::7]:9", CameFrom("[2001:db8::7]:9", "2001:db8::7")),
        ("x-forwarded-for", "::ffff:203.0.113.7", FAR),
        # Nobody is named, or nobody that a trusted proxy has seen.
        ("x-forwarded-for", "192.0.2.1, 192.0.2.2", None),
        ("x-forwarded-for", "203.0.113.7, unknown", None),
        ("x-forwarded-for", "203.0.113.7, unknown, 192.0.2.1", None),
        ("x-forwarded-for", "203.0.113.7,", None),
        ("x-forwarded-for", "", None),
        ("x-forwarded-for", "256.1.1.1", None),
        ("forwarded", "for=203.0.113.7", FAR),
        ("forwarded", 'for=9.9.9.9, by=x;FOR="203.0.113.7";proto=https, for=192.0.2.1', FAR),
        ("forwarded", 'for="[2001:db8::7]:9"', CameFrom("[2001:db8::7]:9", "2001:db8::7")),
        ("forwarded", "for=203.0.113.7, for=_hidden", None),
        ("forwarded", "for=203.0.113.7, by=192.0.2.1", None),
        ("forwarded", "xfor=203.0.113.7", None),
        ("x-real-ip", "203.0.113.7", None),
    ],
)
def test_the_rightmost_address_that_is_no_trusted_proxy_counts(
    name: str, value: str, client: CameFrom | None
) -> None:
    assert client_of({name: value}, PROXIES) == client


def test_forwarded_counts_only_where_there_is_no_other() -> None:
    both = {"forwarded": "for=9.9.9.9", "x-forwarded-for": "203.0.113.7"}
    assert client_of(both, PROXIES) == FAR


@given(st.text(), st.sampled_from(["forwarded", "x-forwarded-for"]))
def test_no_header_breaks_it(value: str, name: str) -> None:
    client_of({name: value}, PROXIES)


def request(*headers: str, websocket: bool = False) -> bytes:
    if websocket:
        return REQUEST.replace(b"\r\n\r\n", "\r\n".join(["", *headers, "", ""]).encode())
    return "\r\n".join(["GET /icon.svg HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def came(*pieces: bytes, **how: object) -> list[str]:
    found = records(pieces, settings=SETTINGS, **how)
    return [record.address for record in found if isinstance(record, CameFrom)]


FORWARDED = request("X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 203.0.113.7")


@pytest.mark.parametrize(
    ("first", "trusted", "counts"),
    [
        (b"", True, True),
        (b"", False, False),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00", True, True),  # the proxy speaks for itself
        # The header of the proxy names its client, whose own words do not count.
        (b"PROXY TCP4 198.51.100.1 1.1.1.1 1 1\r\n", True, False),
        (b"PROXY UNKNOWN\r\n", True, False),
    ],
)
def test_only_a_trusted_proxy_is_believed(first: bytes, *, trusted: bool, counts: bool) -> None:
    for pause in (None, 1):
        found = came(first + FORWARDED[:-1], FORWARDED[-1:], trusted=trusted, pause=pause)
        assert [one for one in found if one != "198.51.100.1"] == ["203.0.113.7"] * counts


async def test_it_comes_before_what_it_is_said_of() -> None:
    order = [type(one) for one in await run([FORWARDED], settings=SETTINGS, trusted=True)]
    assert order.index(CameFrom) < order.index(Served)


async def test_limits_and_logs_go_by_the_client_of_each_request(caplog) -> None:
    caplog.set_level("DEBUG", "trio_chat")
    settings = {"trusted_proxies": (HOST,), "max_clients_per_address": 1}
    async with chat_on_tcp(**settings) as (chat, port):
        addresses = chat._hub.state.addresses
        async with (
            await trio.open_tcp_stream(HOST, port) as kept,
            await trio.open_tcp_stream(HOST, port) as program,
            await trio.open_tcp_stream(HOST, port) as crowded,
        ):
            for client in ("203.0.113.7", "203.0.113.8"):
                await kept.send_all(request(f"X-Forwarded-For: {client}:9"))
                await until(lambda client=client: dict(addresses).get(client) == 1)
            await program.send_all(request("Forwarded: for=203.0.113.9", websocket=True))
            assert b" 101 " in await program.receive_some()
            await crowded.send_all(request("X-Forwarded-For: 203.0.113.9", websocket=True))
            assert b" 503 " in await crowded.receive_some()
            assert addresses["203.0.113.9"] == 1
        # Nobody is left but one that may come back.
        await until(lambda: dict(addresses) == {"203.0.113.9": 1})
    told = {(record.message, record.address) for record in caplog.records if record.name}
    assert ("request answered", "203.0.113.7:9") in told
    assert ("request answered", "203.0.113.8:9") in told
    assert ("client came through a proxy", "203.0.113.9") in told
    assert ("client joined", "203.0.113.9") in told
