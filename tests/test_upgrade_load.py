"""Upgrades under load: nobody is disconnected, and no line is lost, doubled or out of order.

`nox -s upgrade` has more people and more upgrades, and `nox -s upgrade_versions` another version
that is upgraded to this one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import wait_until
from served import Crowd, Served, ends
from stored import stored

CLIENTS = int(os.environ.get("UPGRADE_CLIENTS", "100"))
ROOMS = int(os.environ.get("UPGRADE_ROOMS", "10"))
UPGRADES = int(os.environ.get("UPGRADES", "2"))
IDLE = int(os.environ.get("UPGRADE_IDLE", "200"))
# The sources of another version, which a daemon runs before this one.
OTHER = os.environ.get("UPGRADE_OTHER")
# So much that the clients together ask about 4,000 times a second, at most.
INTERVAL = max(0.05, CLIENTS / 4_000)
RATE = 0.5 if CLIENTS > 200 else 2
# The limit for a pause under load, with patience for a slow machine.
MOST = 10.0


def test_nobody_is_disconnected_and_no_line_is_lost(tmp_path: Path) -> None:
    upgrade_a_crowd(tmp_path, UPGRADES)


@pytest.mark.skipif(OTHER is None, reason="needs another version: nox -s upgrade_versions")
def test_another_version_is_upgraded_to_this_one(tmp_path: Path) -> None:
    # Python looks for the package in the daemon's directory first, and then where this version is.
    package = tmp_path / "trio_chat"
    package.symlink_to(Path(OTHER, "trio_chat").resolve(strict=True))
    upgrade_a_crowd(tmp_path, 2, install=lambda: package.unlink(missing_ok=True))


def upgrade_a_crowd(
    folder: Path, upgrades: int, install: Callable[[], None] = lambda: None
) -> None:
    """Install and upgrade `upgrades` times while people talk. None of them misses anything."""
    daemon = Served(
        folder,
        *["--store", "sqlite:chat.db", "--history-entries", "1000000"],
        # The crowd takes a ping for an error.
        *["--stall-timeout", "3600", "--log-level", "warning", "--ping-interval", "0"],
    )
    seen = folder / "seen.json"
    crowd = Crowd(
        daemon.port,
        *[f"--clients={CLIENTS}", f"--rooms={ROOMS}", f"--record={seen}"],
        *[f"--interval={INTERVAL}", f"--rate={RATE}"],
    )
    try:
        wait_for_lagging(daemon)
        crowd.tells("pauses")
        time.sleep(1)  # what people wait when there is no upgrade
        print(f"\n{CLIENTS} clients, without: {told(crowd.tells('pauses'))}")
        longest: list[float] = []
        for number in range(upgrades):
            install()
            daemon.upgraded()
            time.sleep(1)  # for all to have their answers
            pauses = crowd.tells("pauses")
            print(f"{CLIENTS} clients, upgrade {number + 1}: {told(pauses)}")
            longest += pauses
        print(f"{CLIENTS} clients, {upgrades} upgrades: {told(longest)}")
        assert max(longest) < MOST
        assert daemon.status()["upgrades"] == upgrades
        report = crowd.tells("end")
        print(report)
    finally:
        crowd.close()
        daemon.kill()
    assert report["wrong"] == {}
    assert report["passed"] > upgrades
    check_store(folder / "chat.db", json.loads(seen.read_text()))
    assert "ERROR" not in daemon.log.read_text()


def test_idle_clients_are_handed_over(tmp_path: Path) -> None:
    """It prints how long `UPGRADE_IDLE` clients, in rooms of ten, wait for an upgrade."""
    limits = [f"--max-clients={IDLE + 10}", f"--max-clients-per-address={IDLE + 10}"]
    daemon = Served(tmp_path, "--store", "sqlite:chat.db", "--ping-interval", "0", *limits)
    with ExitStack() as closing:
        closing.callback(daemon.kill)
        clients = [
            closing.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
            for _ in range(IDLE)
        ]
        for number, client in enumerate(clients):
            client.sendall(f"/nick n{number}\n/join #r{number // 10}\n".encode())
        rooms = -(-IDLE // 10)
        wait_until(lambda: daemon.status()["rooms"] == rooms, lambda: str(daemon.status()))
        wait_until(lambda: daemon.status()["clients"] == IDLE, lambda: str(daemon.status()))
        seconds = []
        for _ in range(UPGRADES):
            before = daemon.status()["process"]
            answer = daemon.upgrade()
            assert answer["clients"] == IDLE
            seconds.append(answer["seconds"])
            ends(before)  # else it takes the processor from the next upgrade
        print(f"\n{IDLE} idle clients waited, in seconds: {seconds}")
        assert max(seconds) < MOST
        first = clients[0].makefile("rb")
        clients[1].sendall(b"/msg still here\n")
        while first.readline() != b"> n1: still here\n":
            pass


def wait_for_lagging(daemon: Served) -> None:
    wait_until(lambda: daemon.status()["lagging"], lambda: "nobody lags")


def told(pauses: list[float]) -> str:
    """The longest waits of the clients, in milliseconds: median, 99th percentile and longest."""
    ordered = sorted(pauses)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    return f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, max {ordered[-1] * 1000:.0f} ms"


def check_store(store: Path, seen: dict[str, list[str]]) -> None:
    """The kept messages are those that people saw, in that order."""
    kept: dict[str, list[str]] = {room: [] for room in seen}
    for entry in stored(store):
        kept.get(entry.room, []).append(f"> {entry.nick}: {entry.text}")
    assert kept == seen
