"""Measures a chat on several nodes with one Redis beside one process with its rooms in memory.

All variants run at once, each with its clients connected, and talk in turns: other load on the
machine affects all alike. Prints Markdown tables, and writes the figures of each turn to
build/cluster.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Self

from peers import (
    BUILD,
    MissingError,
    Peer,
    compiled,
    found,
    found_ours,
    free_port,
    running,
    serving,
    trio_chat_arguments,
)
from run import CPU, LOADS, Figures, Load, figures_in, raise_descriptor_limit, where

ENGINE_CPU = "engine_cpu_us_per"
ALONE = "one process, memory"
# Messages of each room in one turn, which then takes some tenths of a second.
MESSAGES = {"100x10x16": 130, "100x10x1": 12, "500x2x1": 8, "1x1000x1": 13, "1x3x1": 300}
TURNS = 8
# The limits for nodes and engine together, at three nodes, divided by one process.
TARGETS = {"100x10x16": 1.3, "100x10x1": 1.4, "500x2x1": 1.7}
LATENCY = Load("1x3x1", "1 room × 3, 1 in flight", 1, 3, 1, 300, {})
LATENCY_TARGET_MS = 0.4
OF_NODES = 3  # what the targets are for
EACH_PING = 0.002


@dataclass(frozen=True)
class Way:
    """A variant: so many nodes on an engine of their own, or none and one process alone."""

    nodes: int

    @property
    def name(self) -> str:
        """Its words in a table."""
        plural = "s" if self.nodes > 1 else ""
        return f"{self.nodes} node{plural}" if self.nodes else ALONE


@dataclass(frozen=True)
class Running:
    """A variant that runs with its clients, which are silent until told to talk."""

    way: Way
    clients: subprocess.Popen[str]
    engine_port: int


@contextmanager
def engine(name: str) -> Iterator[tuple[int, int]]:
    """Run a Redis without a file for the length of the block, which gets its port and process."""
    program = found("redis-server", "needs redis-server: apt-get install redis-server")
    folder = BUILD / "engine" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port = free_port()
    # The AOF is part of the cost, as it would be in service.
    options = ["--save", "", "--appendonly", "yes", "--dir", str(folder)]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", *options]
    with serving(command, port, folder / "log") as pid:
        yield port, pid


def node(name: str, store: str) -> Peer:
    def arguments(port: int) -> list[str]:
        return trio_chat_arguments(port, store, "--node", name)

    return Peer(f"cluster-{name}", "line", found_ours, arguments)


@contextmanager
def crowd(fanout: str, way: Way, load: Load) -> Iterator[Running]:
    """Run a variant and its clients."""
    with ExitStack() as stack:
        engine_port, engine_pid = 0, 0
        if way.nodes:
            engine_port, engine_pid = stack.enter_context(engine(str(way.nodes)))
            store = f"redis://127.0.0.1:{engine_port}/0"
            peers = [node(f"{way.nodes}-{number}", store) for number in range(way.nodes)]
        else:
            peers = [Peer("alone", "line", found_ours, trio_chat_arguments)]
        servers = [stack.enter_context(running(peer, peer.prepare())) for peer in peers]
        command = [
            fanout,
            ",".join(str(port) for port, _ in servers),
            "line",
            *replace(load, messages=0).arguments,
            ",".join(str(pid) for _, pid in servers),
            *([str(engine_pid)] if way.nodes else []),
        ]
        pipe = subprocess.PIPE
        clients = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        next_figures(clients)
        yield Running(way, clients, engine_port)


def next_figures(clients: subprocess.Popen[str]) -> Figures:
    """Read what the clients print when they are connected, and after each turn."""
    figures = figures_in(clients.stdout.readline() if clients.stdout else "")
    if not figures:
        raise RuntimeError("the clients ended")
    return figures


def talk(run: Running, load: Load) -> Figures:
    """Have the clients talk once; with the engine's round trip meanwhile, in milliseconds."""
    with RoundTrips(run.engine_port) as trips:
        print(load.in_flight, MESSAGES[load.name], file=run.clients.stdin, flush=True)
        figures = next_figures(run.clients)
    if trips.seconds:
        figures["round trip"] = median(trips.seconds) * 1000
    figures["both"] = figures[CPU] + figures.get(ENGINE_CPU, 0)
    return figures


class RoundTrips:
    """Asks the engine again and again, for the length of a block, how long an answer takes."""

    def __init__(self, port: int) -> None:
        self.seconds: list[float] = []
        self._port, self._ended = port, threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        if self._port:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._port:
            self._thread.join()

    def _ask(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            while not self._ended.wait(EACH_PING):
                began = time.perf_counter()
                connection.sendall(b"PING\r\n")
                connection.recv(64)
                self.seconds.append(time.perf_counter() - began)


Turns = list[dict[str, Figures]]  # of each turn the figures by variant


def measure(fanout: str, ways: list[Way], loads: list[Load], turns: int) -> dict[str, Turns]:
    """Loads with the same clients, the variants by turns."""
    with ExitStack() as stack:
        runs = [stack.enter_context(crowd(fanout, way, loads[0])) for way in ways]
        results: dict[str, Turns] = {}
        for load in loads:
            for run in runs:
                talk(run, load)  # the first is slower: code and memory are new
            results[load.name] = []
            for number in range(turns):
                turned = runs if number % 2 == 0 else runs[::-1]
                figures = {run.way.name: talk(run, load) for run in turned}
                results[load.name].append(figures)
                shown = {way.name: round(figures[way.name]["both"], 2) for way in ways}
                print(f"{load.name}, turn {number + 1} of {turns}: {shown}", flush=True)
        return results


def spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def cpu_table(ways: list[Way], loads: list[Load], results: dict[str, Turns]) -> str:
    """CPU time of nodes and engine, and the ratio of their sum to one process, turn by turn."""
    shared = [way.name for way in ways if way.nodes]
    rows = [["load", ALONE, *(f"{way}: nodes + engine" for way in shared)]]
    rows[0] += [f"{way} by {ALONE}" for way in shared]
    rows.append(["---", *["---:"] * (1 + len(shared)), *["---"] * len(shared)])
    for load in loads:
        turns = results[load.name]
        cells = [f"{median(turn[ALONE][CPU] for turn in turns):.3g}"]
        ratios = []
        for way in shared:
            nodes = median(turn[way][CPU] for turn in turns)
            engines = median(turn[way][ENGINE_CPU] for turn in turns)
            cells.append(f"{nodes:.3g} + {engines:.2g}")
            ratios.append(spread([turn[way]["both"] / turn[ALONE]["both"] for turn in turns]))
            if way == Way(OF_NODES).name and load.name in TARGETS:
                ratios[-1] += f"; target {TARGETS[load.name]}"
        rows.append([load.says, *cells, *ratios])
    return markdown(rows)


def rate_table(ways: list[Way], loads: list[Load], results: dict[str, Turns]) -> str:
    """Deliveries a second."""
    rows = [["load", *(way.name for way in ways)], ["---", *["---:"] * len(ways)]]
    for load in loads:
        turns = results[load.name]
        rates = [median(turn[way.name]["rate"] for turn in turns) for way in ways]
        rows.append([load.says, *(f"{rate:,.0f}" for rate in rates)])
    return markdown(rows)


def latency_table(ways: list[Way], loads: list[Load], results: dict[str, Turns]) -> str:
    """From the sender to a member on another node, and the engine's round trip meanwhile."""
    names = ["p50, ms", "p99, ms", "engine's round trip, p50, ms", "p50 beside it, ms"]
    rows = [["load", "variant", *names], ["---", "---", *["---:"] * len(names)]]
    for load in loads:
        for way in ways:
            figures = [turn[way.name] for turn in results[load.name]]
            p50, p99 = (median(one[name] for one in figures) for name in ("p50", "p99"))
            cells = [f"{p50:.2f}", f"{p99:.2f}", "–", "–"]
            if way.nodes:
                trip = median(one["round trip"] for one in figures)
                cells[2:] = [f"{trip:.2f}", f"{p50 - trip:.2f}"]
            rows.append([load.says, way.name, *cells])
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 3, 8], help="(1 3 8)")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"turns of each load ({TURNS})")
    parser.add_argument("--loads", nargs="+", choices=[*MESSAGES], default=[*MESSAGES])
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    raise_descriptor_limit()
    ways = [Way(0), *(Way(nodes) for nodes in arguments.nodes)]
    loads = [load for load in [*LOADS, LATENCY] if load.name in arguments.loads]
    results: dict[str, Turns] = {}
    try:
        fanout = compiled("fanout")
        for clients in dict.fromkeys((load.rooms, load.members) for load in loads):
            alike = [load for load in loads if (load.rooms, load.members) == clients]
            results |= measure(fanout, ways, alike, arguments.turns)
    except MissingError as exc:
        sys.exit(f"cluster {exc}")
    except (OSError, RuntimeError) as exc:
        sys.exit(f"cluster: {exc}; the servers' logs are in {BUILD}")
    Path(BUILD / "cluster.json").write_text(json.dumps(results, indent=1) + "\n")
    busy = [load for load in loads if load is not LATENCY]
    print("\nCPU time, µs a delivery:\n", cpu_table(ways, busy, results), sep="\n")
    print("\nDeliveries a second:\n", rate_table(ways, busy, results), sep="\n")
    print("\nLatency:\n", latency_table(ways, loads, results), sep="\n")
    print(f"\n{where()}; turns: {arguments.turns}.")
    print(f"Target for p50 beside the round trip, {LATENCY.says}: {LATENCY_TARGET_MS} ms.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
