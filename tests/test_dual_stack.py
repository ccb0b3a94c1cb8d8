"""Listening at `::`, which takes IPv4 too."""

from __future__ import annotations

import socket

import pytest
import trio
from loopback import PATIENCE, needs_ipv6, until

from trio_chat import Settings, open_chat
from trio_chat.config.endpoints import Endpoint

pytestmark = needs_ipv6


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_kinds_of_clients_are_served(host: str, caplog) -> None:
    caplog.set_level("INFO", "trio_chat")
    with trio.fail_after(PATIENCE):
        async with open_chat(Settings(host="::", port=0)) as chat:
            [(_, port)] = await chat.listen()
            assert chat.listening == (Endpoint("::", port),)
            with socket.create_connection((host, port)) as client:
                own = client.getsockname()[1]
                client.sendall(b"/quit\n")
                await until(lambda: "client left" in caplog.messages)
    shown = {r.address for r in caplog.records if r.getMessage().startswith("client ")}
    assert shown == {f"127.0.0.1:{own}" if host == "127.0.0.1" else f"[::1]:{own}"}


@pytest.mark.parametrize("reverse", [False, True])
async def test_ipv4_may_have_an_entry_of_its_own(*, reverse: bool) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::", 0))
        port = sock.getsockname()[1]
    both = [Endpoint("0.0.0.0", port), Endpoint("::", port)]
    settings = Settings(listen=tuple(reversed(both)) if reverse else tuple(both))
    async with open_chat(settings) as chat:
        assert sorted(await chat.listen()) == [("0.0.0.0", port), ("::", port)]
