"""Workers that are one chat, by a Redis of the test's own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from engine import Engine
from processes import Talk, Talker, wait_until
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
    return serve("--workers", "2", "--store", store, "--lease", LEASE)


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


def test_workers_are_one_chat(served: Served, talk: Talk) -> None:
    one, other = of_each_worker(served, talk)
    other.say("/msg Hi")
    one.hears_until("> n2: Hi")

    assert served.told("announce", "Hi", "all") == ("2 clients got the line\n", "")
    for talker in (one, other):
        talker.hears_until("> Hi all")
    assert served.told("announce", "a\nb")[1].startswith("trio-chat: ")
    out, _ = served.told("clients")
    assert sorted(line.split()[0] for line in out.splitlines()[1:]) == ["n1", "n2"]
    out, err = served.told("clients", "--limit", "1")
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
