"""A chat on several nodes while nodes, engine and connections fail, and people talk.

At the end of each round, everything that anyone has heard is compared. Nothing is lost, doubled or
out of order, and nobody is listed who is not there. `nox -s cluster_faults` has fifty rounds.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import Cluster, arguments
from cluster_faults import FAULTS
from engine import ALWAYS, EVERYSEC
from processes import PATIENCE, environment
from served import DEFAULTS

ROUNDS = int(os.environ.get("ROUNDS", "0"))
FEW = [
    ["node_killed", "node_hung", "engine_cut"],
    ["node_cut_off", "node_stopped", "engine_killed", "calls_broken"],
    ["engine_replaced", "engine_emptied"],
]
# The nodes' clocks differ by days: times are the engine's, and so is the end of a lease.
CLOCKS = (-90_000, 0, 90_000)


def rounds() -> list[tuple[int, list[str]]]:
    if not ROUNDS:
        return list(enumerate(FEW))
    chosen = []
    for seed in range(ROUNDS):
        choose = random.Random(seed)
        # Every fault comes as often; others before or after it are by chance.
        faults = [sorted(FAULTS)[seed % len(FAULTS)], *choose.sample(sorted(FAULTS), 2)]
        choose.shuffle(faults)
        chosen.append((seed, faults))
    return chosen


@pytest.mark.parametrize(
    ("seed", "faults"), [pytest.param(*one, id=f"{one[0]}-{'-'.join(one[1])}") for one in rounds()]
)
def test_nothing_is_lost_doubled_or_reordered(seed, faults, tmp_path: Path) -> None:
    choose = random.Random(seed)
    engine = ALWAYS if seed % 3 == 2 else EVERYSEC
    with Cluster(tmp_path, engine=engine, seed=seed, clocks=CLOCKS) as cluster:
        cluster.crowd.talk()
        cluster.run(0.5)
        for fault in faults:
            FAULTS[fault](cluster, choose)
            cluster.talks_again()
        verdict = cluster.end()
    assert verdict.wrong == {}
    assert verdict.kept > verdict.refused or len(faults) > 2


@pytest.mark.skipif(not ROUNDS, reason="takes long: nox -s cluster_faults")
def test_sentinel_has_a_replica_take_over(tmp_path: Path) -> None:
    """The nodes put back the entries that the replica lacks."""
    with Cluster(tmp_path, sentinel=True) as cluster:
        cluster.crowd.talk()
        cluster.run(1)
        cluster.engine.kill()
        cluster.talks_again()
        assert "role:master" in cluster.replica.ask("INFO", "replication")
        verdict = cluster.end()
    assert verdict.wrong == {}


def test_a_node_whose_name_is_taken_does_not_start(tmp_path: Path) -> None:
    with Cluster(tmp_path, nodes=1) as cluster:
        cluster.crowd.talk()
        second = subprocess.run(
            [sys.executable, "-m", "trio_chat", "serve", *arguments("a", cluster.store("a"))],
            env=environment() | DEFAULTS | {"TRIO_CHAT_PORT": "0"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        verdict = cluster.end()
    assert (second.returncode, second.stdout) == (2, "")
    [line] = [line for line in second.stderr.splitlines() if " INFO " not in line]
    assert line == "trio-chat: another node is called a: give this one another name (--node)"
    assert verdict.wrong == {}
