"""The capability `sts` by its specification (IRCv3, sts): clients are to come with TLS."""

from __future__ import annotations

import pytest
import trio
from authority import Authority
from irc import IrcClient
from loopback import HOST, PATIENCE, chat_on_tcp

from trio_chat import Endpoint, Settings, SettingsError
from trio_chat.transports import connection

MONTH = 2_592_000


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """All clients are on other machines."""
    monkeypatch.setattr(connection, "is_local", lambda _: False)


async def offered(stream: trio.abc.Stream, version: str = "302") -> list[str]:
    """The values of `sts` that a client over this stream reads."""
    async with stream:
        client = IrcClient(stream)
        [answer] = await client.ask(f"CAP LS {version}".rstrip())
        return [word for word in answer.params[-1].split() if word.startswith("sts")]


async def secured(port: int, authority: Authority) -> trio.SSLStream[trio.SocketStream]:
    below = await trio.open_tcp_stream(HOST, port)
    return trio.SSLStream(below, authority.trusting, server_hostname=HOST)


@pytest.mark.usefixtures("elsewhere")
async def test_a_client_reads_the_port_without_tls_and_the_time_with_it(
    authority: Authority,
) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings, sts_duration=MONTH) as (_, port):
            assert await offered(await trio.open_tcp_stream(HOST, port)) == [f"sts=port={port}"]
            assert await offered(await secured(port, authority)) == [f"sts=duration={MONTH}"]


@pytest.mark.usefixtures("elsewhere")
async def test_nothing_is_said_unless_it_is_set(authority: Authority) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings) as (_, port):
            assert await offered(await trio.open_tcp_stream(HOST, port)) == []
            assert await offered(await secured(port, authority)) == []


@pytest.mark.usefixtures("elsewhere")
async def test_clients_that_know_no_values_do_not_read_it(authority: Authority) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings, sts_duration=MONTH) as (_, port):
            assert await offered(await trio.open_tcp_stream(HOST, port), "") == []


@pytest.mark.usefixtures("elsewhere")
async def test_nobody_can_ask_for_it_and_it_is_never_enabled(authority: Authority) -> None:
    settings = {**authority.settings, "sts_duration": MONTH}
    with trio.fail_after(PATIENCE):
        async with (
            chat_on_tcp(**settings) as (_, port),
            await trio.open_tcp_stream(HOST, port) as stream,
        ):
            client = IrcClient(stream)
            asked = await client.shown("CAP LS 302", "CAP REQ :sts server-time", "CAP LIST")
            assert asked[1:] == ["CAP * NAK sts server-time", "CAP * LIST cap-notify"]


async def test_clients_on_this_machine_are_left_alone(authority: Authority) -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**authority.settings, sts_duration=MONTH) as (_, port):
            assert await offered(await trio.open_tcp_stream(HOST, port)) == []


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("header", [b"", b"PROXY TCP4 203.0.113.7 203.0.113.8 5 6\r\n"])
async def test_the_port_of_a_proxy_is_not_known(authority: Authority, header: bytes) -> None:
    settings = {**authority.settings, "trusted_proxies": (HOST,), "sts_duration": MONTH}
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**settings) as (_, port):
            stream = await trio.open_tcp_stream(HOST, port)
            await stream.send_all(header)
            assert await offered(stream) == []


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("listen", "value"),
    [
        ((Endpoint(HOST, 6667, accept=("irc",)), Endpoint(HOST, 6697)), ["sts=port=6697"]),
        ((Endpoint(HOST, 6667, accept=("irc",)), Endpoint(HOST, 0)), []),
        ((Endpoint(HOST, 6667, accept=("irc",)),), []),
    ],
)
async def test_an_address_without_tls_names_another_one(
    authority: Authority, listen: tuple[Endpoint, ...], value: list[str]
) -> None:
    settings = {**authority.settings, "listen": listen, "sts_duration": MONTH}
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(**settings) as (chat, _):
            [(_, port)] = await chat.listen_at(Endpoint(HOST, 0, accept=("irc",)))
            assert await offered(await trio.open_tcp_stream(HOST, port)) == value


def test_it_needs_a_certificate() -> None:
    with pytest.raises(SettingsError, match="sts_duration needs tls_cert and tls_key"):
        Settings(sts_duration=MONTH)
