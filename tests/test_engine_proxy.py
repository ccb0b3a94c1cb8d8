"""The proxy before the engine does to connections what the tests of faults need."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import Engine
from engine_proxy import BREAKS, Proxy
from processes import wait_until

CALL = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"


@pytest.fixture
def proxy(engine: Engine) -> Iterator[Proxy]:
    engine.ask("SET", "n", "10")
    proxy = Proxy(engine.port)
    yield proxy
    proxy.close()


def call(proxy: Proxy) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as connection:
        connection.sendall(CALL)
        return connection.recv(64)


@pytest.mark.parametrize("kind", BREAKS)
def test_a_call_breaks(engine, proxy, kind, monkeypatch) -> None:
    monkeypatch.setattr("engine_proxy.BREAKS", (kind,))
    proxy.break_calls(1)
    reply = call(proxy)
    carried_out = kind in ("after", "reply")
    wait_until(lambda: engine.ask("GET", "n") == ("11" if carried_out else "10"))
    assert reply == (b":1" if kind == "reply" else b"")
    assert proxy.broken == {kind: 1}
    proxy.break_calls(0)
    assert call(proxy) == (b":12\r\n" if carried_out else b":11\r\n")


def test_bytes_for_a_side_that_is_cut_off_arrive_later(engine, proxy) -> None:
    proxy.cut()
    with socket.create_connection(("127.0.0.1", proxy.port), 0.2) as connection:
        connection.sendall(CALL)
        with pytest.raises(TimeoutError):
            connection.recv(64)
        assert engine.ask("GET", "n") == "10"
        proxy.mend()
        connection.settimeout(5)
        assert connection.recv(64) == b":11\r\n"


def test_it_leads_elsewhere(engine, proxy, tmp_path: Path) -> None:
    other = Engine(tmp_path / "other")
    try:
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as connection:
            connection.sendall(CALL)
            assert connection.recv(64) == b":11\r\n"
            proxy.lead_to(other.port)
            assert connection.recv(64) == b""
        assert call(proxy) == b":1\r\n"
    finally:
        other.close()


def test_a_replica_lacks_what_came_after_it_was_cut_off(engine, tmp_path: Path) -> None:
    replica = Engine(tmp_path / "replica")
    try:
        engine.ask("SET", "n", "1")
        replica.follow(engine.port)
        assert replica.ask("GET", "n") == "1"
        replica.leave()
        engine.ask("SET", "n", "2")
        replica.lead()
        assert replica.ask("GET", "n") == "1"
        assert replica.ask("SET", "n", "3") == "+OK"
    finally:
        replica.close()
