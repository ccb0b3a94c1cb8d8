"""Faults of a chat on several nodes. Each one leaves nodes and engine whole again."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeAlias

from cluster import LEASE, Cluster
from engine import Engine

Fault: TypeAlias = Callable[[Cluster, random.Random], None]

PAST_LEASE = LEASE + 1.0


def some_node(cluster: Cluster, choose: random.Random) -> str:
    return choose.choice(sorted(cluster.nodes))


def node_killed(cluster: Cluster, choose: random.Random) -> None:
    """Its WebSocket clients resume on other nodes, and its line clients are gone."""
    name = some_node(cluster, choose)
    cluster.kill(name)
    cluster.run(choose.uniform(0.2, PAST_LEASE))
    cluster.restart(name)


def node_stopped(cluster: Cluster, choose: random.Random) -> None:
    """It tells its WebSocket clients to resume elsewhere."""
    name = some_node(cluster, choose)
    cluster.take_down(name)
    node = cluster.nodes[name]
    node.process.terminate()
    node.process.wait(20)
    node.kill()
    cluster.restart(name)


def node_hung(cluster: Cluster, choose: random.Random) -> None:
    """It is stopped past its lease, and then it continues."""
    name = some_node(cluster, choose)
    cluster.take_down(name)
    cluster.nodes[name].hang()
    cluster.run(PAST_LEASE)
    cluster.nodes[name].go_on()
    cluster.crowd.do(lambda: cluster.crowd.down.discard(name))


def node_cut_off(cluster: Cluster, choose: random.Random) -> None:
    """It runs, but nothing that it sends to the engine arrives before its lease is over."""
    name = some_node(cluster, choose)
    cluster.take_down(name)
    cluster.proxies[name].cut()
    cluster.run(PAST_LEASE)
    cluster.proxies[name].mend()
    cluster.crowd.do(lambda: cluster.crowd.down.discard(name))


def node_cut_off_briefly(cluster: Cluster, choose: random.Random) -> None:
    name = some_node(cluster, choose)
    cluster.proxies[name].cut()
    cluster.run(choose.uniform(0.1, LEASE / 2))
    cluster.proxies[name].mend()


def node_upgraded(cluster: Cluster, choose: random.Random) -> None:
    cluster.nodes[some_node(cluster, choose)].upgrade()


def engine_killed(cluster: Cluster, choose: random.Random) -> None:
    cluster.engine.kill()
    cluster.run(choose.choice([0.1, 1.5, PAST_LEASE]))
    cluster.engine.start()


def engine_hung(cluster: Cluster, choose: random.Random) -> None:
    cluster.engine.hang()
    cluster.run(choose.choice([1.5, PAST_LEASE]))
    cluster.engine.go_on()


def engine_cut(cluster: Cluster, choose: random.Random) -> None:
    """Power fails: a fifth of what the engine has written is not there afterwards."""
    cluster.crowd.rolled_back = True
    cluster.engine.kill()
    cluster.engine.cut_log(0.2)
    cluster.run(0.2)
    cluster.engine.start()


def engine_emptied(cluster: Cluster, choose: random.Random) -> None:
    """History is lost; the chat goes on, and positions are not used twice."""
    cluster.crowd.lossy = cluster.crowd.rolled_back = True
    assert cluster.engine.ask("FLUSHALL") == "+OK"


def engine_replaced(cluster: Cluster, choose: random.Random) -> None:
    """The engine dies, and a replica that lacks its last entries takes over."""
    cluster.crowd.rolled_back = True
    old = cluster.engine
    replica = Engine(old.folder.with_name(f"{old.folder.name}-next"), *old.arguments)
    cluster.closing.callback(replica.close)
    replica.follow(old.port)
    cluster.run(0.3)
    replica.leave()
    cluster.run(choose.uniform(0.1, 0.5))
    old.kill()
    cluster.run(choose.choice([0.1, 1.0]))
    replica.lead()
    cluster.engine = replica
    for proxy in cluster.proxies.values():
        proxy.lead_to(replica.port)


def calls_broken(cluster: Cluster, choose: random.Random) -> None:
    """Connections to the engine break around script calls, in every way."""
    for proxy in cluster.proxies.values():
        proxy.break_calls(choose.choice([0.01, 0.05]))
    cluster.run(2)
    for proxy in cluster.proxies.values():
        proxy.break_calls(0)
    assert sum(sum(proxy.broken.values()) for proxy in cluster.proxies.values()) > 0


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in [
        *[node_killed, node_stopped, node_hung, node_cut_off, node_cut_off_briefly, node_upgraded],
        *[engine_killed, engine_hung, engine_cut, engine_replaced, engine_emptied, calls_broken],
    ]
}
