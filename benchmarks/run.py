"""Measures trio-chat beside other servers: server CPU a delivery, and memory an idle client.

Each round runs every load against every peer, one after the other, and divides trio-chat's figure
by the peer's. The result is the median of these ratios. Prints a Markdown table, and writes the
table, the figures and a plot to the output directory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

from peers import BUILD, OURS, PEERS, MissingError, Peer, compiled, running

LOAD_SECONDS = 300  # a load that takes longer has hung
CPU = "server_cpu_us_per"
MEMORY = "rss/conn"


@dataclass(frozen=True)
class Load:
    """A load for `fanout`, and the targets for the ratios."""

    name: str
    says: str
    rooms: int
    members: int
    in_flight: int
    messages: int
    targets: dict[str, float]  # by peer
    figure: str = CPU
    most: float | None = None  # the limit for our own figure
    payload: int = 64

    @property
    def unit(self) -> str:
        """The unit of the figure."""
        return "KB a client" if self.figure == MEMORY else "µs a delivery"

    @property
    def arguments(self) -> list[str]:
        """Arguments of `fanout`, between the protocol and the process id."""
        numbers = (self.rooms, self.members, self.in_flight, self.messages, self.payload)
        return [str(number) for number in numbers]


# Each room has so many messages that the start hardly affects the figure.
LOADS = [
    Load("500x2x1", "500 rooms × 2, 1 in flight", 500, 2, 1, 100, {"gochat": 1.5}),
    Load("100x10x1", "100 rooms × 10, 1 in flight", 100, 10, 1, 200, {"gochat": 1.0}),
    Load("1x1000x1", "1 room × 1000, 1 in flight", 1, 1000, 1, 200, {"gochat": 0.85}),
    Load("100x10x16", "100 rooms × 10, 16 in flight", 100, 10, 16, 1000, {"nats-server": 0.7}),
    Load(
        name="1x1000x64",
        says="1 room × 1000, 64 in flight",
        rooms=1,
        members=1000,
        in_flight=64,
        messages=1000,
        targets={"nats-server": 0.25, "floor": 1.0},
    ),
    Load("idle", "5,000 idle clients", 500, 10, 1, 0, {}, figure=MEMORY, most=7.0),
]

Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """One load against one peer in one round; `figures` is empty if it failed."""

    round: int
    load: str
    peer: str
    figures: Figures


def prepare(names: list[str]) -> tuple[list[tuple[Peer, str]], list[str]]:
    """The peers that can run here with their programs, and why others cannot."""
    peers, missing = [], []
    for peer in PEERS:
        if peer.name in names:
            try:
                peers.append((peer, peer.prepare()))
            except (MissingError, subprocess.CalledProcessError) as exc:
                missing.append(f"{peer.name} ({exc})")
    return peers, missing


def figures_in(told: str) -> Figures:
    """The figures in the output of `fanout`, by name."""
    return {name: float(value) for name, value in re.findall(r"(\S+?)=(-?[\d.]+)", told)}


def put_under(fanout: str, load: Load, peer: Peer, port: int, pid: int) -> Figures:
    """Run a load against a server; if it fails, print that and give no figures."""
    command = [fanout, str(port), peer.protocol, *load.arguments, str(pid)]
    try:
        result = subprocess.run(
            command, check=True, input="", capture_output=True, text=True, timeout=LOAD_SECONDS
        )
    except subprocess.SubprocessError as exc:
        said = getattr(exc, "stderr", None) or exc
        print(f"failed: {load.name} against {peer.name}: {said}", file=sys.stderr)
        return {}
    return figures_in(result.stdout)


def measure(fanout: str, load: Load, peer: Peer, program: str) -> Figures:
    """Run one load against a fresh server."""
    with running(peer, program) as (port, pid):
        return put_under(fanout, load, peer, port, pid)


def measure_all(loads: list[Load], peers: list[tuple[Peer, str]], rounds: int) -> list[Run]:
    """Run every load against every peer, ROUNDS times; every second round in reverse order."""
    fanout = compiled("fanout")
    runs = []
    for number in range(rounds):
        for load in loads:
            for peer, program in peers if number % 2 == 0 else reversed(peers):
                if peer.one_at_a_time and load.in_flight > 1:
                    continue
                figures = measure(fanout, load, peer, program)
                runs.append(Run(number, load.name, peer.name, figures))
                shown = f"{figures[load.figure]:g} {load.unit}" if figures else "failed"
                print(f"round {number + 1} of {rounds}: {load.name} {peer.name}: {shown}")
    return runs


def figures_of(runs: list[Run], load: Load, peer: str) -> dict[int, float]:
    """The load's figure for the peer, by round."""
    return {
        run.round: run.figures[load.figure]
        for run in runs
        if (run.load, run.peer) == (load.name, peer) and load.figure in run.figures
    }


def ratios_of(runs: list[Run], load: Load, peer: str) -> list[float]:
    """Our figure by the peer's, of each round that has both."""
    ours, theirs = figures_of(runs, load, OURS), figures_of(runs, load, peer)
    return sorted(ours[number] / theirs[number] for number in ours.keys() & theirs.keys())


def verdict(runs: list[Run], load: Load) -> str:
    """The result of a load: the median, the range of the rounds, the target."""
    parts = []
    own = figures_of(runs, load, OURS)
    if load.most and own:
        parts.append(f"{median(own.values()):.1f} {load.unit} (target {load.most:g})")
    for peer, target in load.targets.items():
        if ratios := ratios_of(runs, load, peer):
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            parts.append(f"{median(ratios):.2f} × {peer} ({spread}; target {target:.2f})")
    return ", ".join(parts) or "–"


def table(runs: list[Run], loads: list[Load], peers: list[str]) -> str:
    """The medians as a Markdown table."""
    rows = [["load", "unit", *peers, f"{OURS} by a peer, median of the rounds"]]
    rows.append(["---", "---", *["---:"] * len(peers), "---"])
    for load in loads:
        cells = [figures_of(runs, load, peer).values() for peer in peers]
        shown = [f"{median(cell):.3g}" if cell else "–" for cell in cells]
        rows.append([load.says, load.unit, *shown, verdict(runs, load)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def panels_of(runs: list[Run], loads: list[Load], peers: list[str]) -> dict[str, Figures]:
    """The medians by peer, by the title of a panel of the plot."""
    panels = {}
    for load in loads:
        rounds = {peer: figures_of(runs, load, peer).values() for peer in peers}
        bars = {peer: median(figures) for peer, figures in rounds.items() if figures}
        panels[f"{load.says}\n{load.unit}"] = bars
    return panels


def machine() -> dict[str, str | int | None]:
    """The conditions that the figures depend on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    } | {
        package.name: package.version
        for package in metadata.distributions()
        if package.name in ("trio", "trio-chat")
    }


def where() -> str:
    """The machine in one line."""
    return ", ".join(f"{name} {value}" for name, value in machine().items())


def raise_descriptor_limit() -> None:
    """Allow the servers as many open files as possible."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    loads, peers = [load.name for load in LOADS], [peer.name for peer in PEERS]
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    parser.add_argument("--loads", nargs="+", choices=loads, default=loads, metavar="LOAD")
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, metavar="PEER")
    parser.add_argument(
        "--output", type=Path, default=BUILD, help="directory for the results (%(default)s)"
    )
    parser.epilog = f"Loads: {', '.join(loads)}. Peers: {', '.join(peers)}."
    return parser.parse_args()


def main() -> int:
    from plot import draw  # noqa: PLC0415 - matplotlib, which the other scripts do without

    arguments = parse_arguments()
    raise_descriptor_limit()
    loads = [load for load in LOADS if load.name in arguments.loads]
    peers, missing = prepare(arguments.peers)
    runs = measure_all(loads, peers, arguments.rounds)

    names = [peer.name for peer, _ in peers]
    written = table(runs, loads, names)
    written += (
        f"\n\n{where()}; rounds: {arguments.rounds}; left out: {', '.join(missing) or 'nothing'}."
    )
    print(written)

    arguments.output.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "runs": [asdict(run) for run in runs]}
    (arguments.output / "benchmark.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.output / "benchmark.md").write_text(written + "\n", encoding="utf-8")
    draw(panels_of(runs, loads, names), OURS, arguments.output / "benchmark")
    return 0 if all(run.figures for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
