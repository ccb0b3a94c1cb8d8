"""Workers that are one chat, by a Redis of the test's own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from engine import Engine
from processes import Run, Talk, Talker, wait_until
from served import Served

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux alone")

# Far longer than a test may take.
LEASE = "300"


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    yield engine
    engine.close()


@pytest.fixture
def served(engine: Engine, serve: Callable[..., Served]) -> Served:
    store = f"redis://127.0.0.1:{engine.port}/0"
    proxy = ("--trusted-proxies", "127.0.0.1")
    return serve("--workers", "2", "--store", store, "--lease", LEASE, *proxy)


def of_each_worker(served: Served, talk: Talk) -> list[Talker]:
    """Someone with a nick and in a room at each of two workers: n1 and n2."""
    found: dict[int, Talker] = {}
    counts = [0, 0]
    while len(found) < 2:
        talker = talk(served, "/rooms")
        talker.hears_until("> available rooms:")
        now = [row["clients"] for row in served.status()["workers"]]
        number = 1 if now[0] > counts[0] else 2
        if number in found:
            talker.close()
            wait_until(lambda: served.status()["clients"] == len(found))
        else:
            found[number] = talker
            counts = now
    for number, talker in found.items():
        talker.say(f"/nick n{number}", "/join #x", "/rooms")
        talker.hears_until("> available rooms: #x")
    return [found[1], found[2]]


def test_workers_are_one_chat(served: Served, talk: Talk, run: Run) -> None:
    one, other = of_each_worker(served, talk)
    other.say("/msg Hi")
    one.hears_until("> n2: Hi")

    assert served.told(run, "announce", "Hi", "all") == ("2 clients got the line\n", "")
    for talker in (one, other):
        talker.hears_until("> Hi all")
    assert served.told(run, "announce", "a\nb")[1].startswith("trio-chat: ")
    out, _ = served.told(run, "clients")
    assert sorted(line.split()[0] for line in out.splitlines()[1:]) == ["n1", "n2"]
    out, err = served.told(run, "clients", "--limit", "1")
    assert len(out.splitlines()) == 2
    assert "not shown: 1" in err

    served.upgrade()
    served.logs("the parent is upgraded")
    one.say("/msg Still here")
    other.hears_until("> n1: Still here")

    # The people of one that is killed have left, though its lease has not run out. Its name as a
    # node is free.
    first = served.status()["workers"][0]["process"]
    os.kill(first, signal.SIGKILL)
    other.hears_until("> n1 has left the room")
    wait_until(lambda: served.status()["problems"] == [])
    one = talk(served, "/nick n1", "/join #x", "/msg Back again")
    one.hears_until("> all right, I will call you n1")
    other.hears_until("> n1: Back again")


def comes_from(talk: Talk, served: Served, address: str) -> Talker:
    talker = talk(served)
    talker.socket.sendall(f"PROXY TCP4 {address} 127.0.0.1 5000 {served.port}\r\n".encode())
    talker.say("/rooms")
    return talker


def test_a_ban_by_one_worker_counts_at_all(served: Served, talk: Talk, run: Run) -> None:
    here: list[Talker] = []
    while not all(row["clients"] for row in served.status()["workers"]):
        here.append(comes_from(talk, served, "203.0.113.7"))
        here[-1].hears_until("> available rooms:")
    out, err = served.told(run, "ban", "203.0.113.0/24", "2h", "spam")
    assert (out.split(" ", 2)[2], err) == ("from the server for 2 hours: spam [A1]\n", "")
    for talker in here:
        assert talker.rest()[-1].startswith("err: you are banned from this server until ")
    for talker in [comes_from(talk, served, "203.0.113.99") for _ in range(6)]:
        assert talker.file.readline().startswith("err: you are banned from this server until ")
    # A worker that starts knows the rules, too.
    os.kill(served.status()["workers"][0]["process"], signal.SIGKILL)
    wait_until(lambda: [row["restarts"] for row in served.status()["workers"]] == [1, 0])
    wait_until(lambda: served.status()["problems"] == [])
    for talker in [comes_from(talk, served, "203.0.113.100") for _ in range(6)]:
        assert talker.file.readline().startswith("err: you are banned from this server until ")
    assert served.told(run, "undo", "A1")[0].startswith("undid A1: banned net:")
    assert [line.split()[0] for line in served.told(run, "log")[0].splitlines()[1:]] == ["A1", "A2"]
    comes_from(talk, served, "203.0.113.7").hears_until("> available rooms:")
