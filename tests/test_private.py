"""Connections that may carry passwords: nobody can read them on their way."""

from __future__ import annotations

import json

import pytest
import trio
from frames import REQUEST, frame
from opening import FedLink, records

from trio_chat import Settings
from trio_chat.errors import Code
from trio_chat.protocol.commands import LabelledCommand, LogIn, Refuse
from trio_chat.protocol.names import parse_nick
from trio_chat.transports.connection import new_reader

LOGIN = LogIn(parse_nick("john", 32), "secret")
NOT_ENCRYPTED = Refuse(
    "this connection is not encrypted: use TLS, or log in on the page", Code.NOT_ENCRYPTED
)
# The page reads this, so it does not send anybody to the page.
DOCUMENT_REFUSED = Refuse(
    "this connection is not encrypted: use TLS (https, wss)", Code.NOT_ENCRYPTED
)
FAR = "192.0.2.7"
LINES = b"/login john\nsecret\n"
DOCUMENT = frame(0x81, json.dumps({"type": "login", "name": "john", "password": "secret"}).encode())
WITH_TOKEN = frame(0x81, b'{"type":"authenticate","token":"secret","id":"1"}')


def taken(data: bytes, **how: object) -> bool:
    """Whether a password is taken that comes so, and also after a pause."""
    [found] = {takes(data, pause=pause, **how) for pause in (None, 0, 1)}
    return found


def takes(data: bytes, address: str, networks: tuple[str, ...] = (), **how: object) -> bool:
    settings = Settings(rate_limit=None, private_networks=networks)
    came = records(FedLink([data[:-1], data[-1:]], address), settings=settings, **how)
    refused = NOT_ENCRYPTED if data.endswith(LINES) else DOCUMENT_REFUSED
    assert (LOGIN in came) != (refused in came)
    return LOGIN in came


@pytest.mark.parametrize("data", [LINES, REQUEST + DOCUMENT])
def test_it_is_private_within_a_machine_and_with_tls(data: bytes) -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1", "unix"):
        assert taken(data, address=address)
    for address in (FAR, "10.0.0.1", "2001:db8::1", "unknown", "stream"):
        assert not taken(data, address=address)
        assert takes(data, address=address, inside=True)


@pytest.mark.parametrize("data", [LINES, REQUEST + DOCUMENT])
def test_or_where_the_operator_says_so(data: bytes) -> None:
    assert taken(data, address="10.1.2.3", networks=("10.1.0.0/16",))
    assert not taken(data, address="10.2.2.3", networks=("10.1.0.0/16",))


async def test_or_where_the_embedding_program_says_so() -> None:
    send, _ = trio.open_memory_channel[object](0)
    for private in (True, False):
        reader = new_reader(FedLink([], "stream"), send, Settings(), private=private)
        assert reader.first.is_private("stream") is private


def proxied(address: str) -> bytes:
    return f"PROXY TCP4 {address} 192.0.2.2 1 2\r\n".encode()


@pytest.mark.parametrize(
    ("peer", "client", "networks", "private"),
    [
        ("127.0.0.1", FAR, (), False),
        ("unix", FAR, (), False),
        ("127.0.0.1", "127.0.0.2", (), True),
        (FAR, "127.0.0.1", (), False),
        ("127.0.0.1", FAR, ("127.0.0.1",), True),
        ("unix", FAR, ("unix",), True),
        ("10.0.0.1", FAR, ("10.0.0.0/8",), True),
        # The way from the client to the proxy does not matter for that from the proxy.
        ("127.0.0.1", FAR, (FAR,), False),
    ],
)
def test_a_proxys_client_is_where_the_proxy_says(
    peer: str, client: str, networks: tuple[str, ...], *, private: bool
) -> None:
    how: dict[str, object] = {"address": peer, "networks": networks, "trusted": True}
    named = REQUEST.replace(b"\r\n", f"\r\nX-Forwarded-For: {client}\r\n".encode(), 1)
    for data in (proxied(client) + LINES, proxied(client) + REQUEST + DOCUMENT, named + DOCUMENT):
        assert taken(data, **how) is private


def test_a_proxy_that_names_nobody_may_serve_anyone() -> None:
    how = {"address": "127.0.0.1", "trusted": True}
    assert not taken(b"PROXY UNKNOWN\r\n" + LINES, **how)


def test_with_warn_a_document_is_taken_anywhere() -> None:
    warns = Settings(rate_limit=None, plaintext_passwords="warn")
    assert LOGIN in records(FedLink([REQUEST + DOCUMENT], FAR), settings=warns)


def test_a_refused_document_keeps_its_label() -> None:
    came = records(FedLink([REQUEST + WITH_TOKEN], FAR))
    assert LabelledCommand(DOCUMENT_REFUSED, "1") in came
