"""Nodes upgraded one after the other while people talk: nobody is disconnected, nothing is lost.

`nox -s cluster_upgrade` has 1,000 clients, and `nox -s cluster_versions` two versions in one chat.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from cluster import Cluster
from cluster_faults import FAULTS

import trio_chat

CLIENTS = int(os.environ.get("CLUSTER_CLIENTS", "100"))
ROOMS = int(os.environ.get("CLUSTER_ROOMS", "10"))
# Messages a second of each client.
RATE = 0.5 if CLIENTS > 200 else 2
# The sources of another version, which the nodes run before and beside this one.
OTHER = os.environ.get("CLUSTER_OTHER")


def test_nobody_notices_that_all_nodes_are_upgraded(tmp_path: Path) -> None:
    with Cluster(tmp_path, proxies=False, clients=CLIENTS, rooms=ROOMS, rate=RATE) as cluster:
        cluster.crowd.talk()
        cluster.run(1)
        for name, node in cluster.nodes.items():
            began = time.monotonic()
            answer = node.upgrade()
            took = time.monotonic() - began
            print(f"\n{name}: {answer['clients']} clients, {took:.1f} s, pause {answer['seconds']}")
            cluster.talks_again()
        verdict = cluster.end(complete_tells=True)
    assert verdict.wrong == {}
    assert (verdict.resumed, verdict.refused, verdict.unknown) == (0, 0, 0)


@pytest.mark.skipif(OTHER is None, reason="needs another version: nox -s cluster_versions")
def test_two_versions_are_one_chat(tmp_path: Path) -> None:
    """All nodes begin with another version, and are upgraded to this one, one after the other."""
    with Cluster(tmp_path, sources=Path(OTHER)) as cluster:
        cluster.crowd.talk()
        cluster.run(1)
        for name, node in cluster.nodes.items():
            cluster.use_sources(name, Path(trio_chat.__file__).parents[1])
            node.upgrade()
            cluster.talks_again()
            cluster.run(1)
        FAULTS["node_killed"](cluster, random.Random(0))
        cluster.talks_again()
        verdict = cluster.end()
    assert verdict.wrong == {}
