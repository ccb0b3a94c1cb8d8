"""The descriptors of connections: their number, and connections that linger."""

from __future__ import annotations

import json
import resource
import socket
from pathlib import Path

import pytest
from processes import Run, Start, Talk, wait_until

from trio_chat.transports.descriptors import LINGERING, SPARE_FILES, Descriptors


@pytest.mark.parametrize(
    ("limit", "accepted"),
    [(1032, 1032 - SPARE_FILES), (40, 20), (resource.RLIM_INFINITY, 10**9)],
)
def test_some_stay_free_for_the_owner(limit: int, accepted: int, monkeypatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    held = Descriptors()
    held.connections = accepted - 1
    assert held.may_accept()
    held.connections += 1
    assert held.may_accept() == (limit == resource.RLIM_INFINITY)


@pytest.mark.parametrize(
    ("limit", "max_clients", "lingering"),
    [(20_000, 1000, 1000 + LINGERING), (1032, 1000, 875), (resource.RLIM_INFINITY, 1, 101)],
)
def test_lingering_clients_leave_descriptors_for_newcomers(
    limit: int, max_clients: int, lingering: int, monkeypatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    held = Descriptors()
    held.connections = lingering
    assert held.may_linger(max_clients)
    held.connections += 1
    assert not held.may_linger(max_clients)


def test_the_owner_is_answered_when_clients_have_taken_all(
    start: Start, talk: Talk, run: Run, tmp_path: Path
) -> None:
    control = tmp_path / "c.sock"
    daemon = start("--control", str(control), shell='ulimit -n 100; exec "$@"')
    inside = talk(daemon, "/join #x")
    inside.hears("> welcome to #x")
    crowd = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(150)]
    try:
        daemon.logs("new clients have to wait: Too many open files")

        def clients() -> int:
            return json.loads(run("status", "--control", str(control), "--json").out)["clients"]

        # Trio accepts one or two before their tasks have begun.
        wait_until(lambda: 0 <= clients() - (100 - SPARE_FILES) <= 2, clients)
        inside.say("/quit")
        inside.hears("> sad to see you go =(")
        assert run("stop", "--control", str(control)).code == 0
    finally:
        for one in crowd:
            one.close()
