"""Measures this code beside another commit of it: server CPU a delivery, and memory an idle client.

In a round both servers run at once, each with its clients connected. The two groups talk in turns
of a tenth of a second, so other load on the machine affects both. Prints a Markdown table and
writes the figures of each turn to build/beside.json.
"""

from __future__ import annotations

import argparse
import compileall
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby
from math import comb
from pathlib import Path
from pstats import Stats
from statistics import mean, median
from tempfile import TemporaryDirectory

from peers import BUILD, MissingError, Peer, compiled, running, trio_chat_arguments
from run import CPU, LOADS, MEMORY, Figures, Load, figures_in, raise_descriptor_limit, where

ROOT = Path(__file__).parent.parent
BEFORE, AFTER = "before", "after"
WORKING_TREE = "the working tree"
# Many short turns are more stable than few long ones: a busy machine changes every second.
TURNS = 18
OUTSIDE = 0.05
FUNCTIONS = 20  # of a profile
IDLE_ROUNDS = 2  # memory hardly differs from round to round
# Messages of each room in one turn, which then takes about a tenth of a second.
MESSAGES = {"500x2x1": 8, "100x10x1": 12, "100x10x16": 130, "1x1000x1": 13, "1x1000x64": 500}

Turns = list[Figures]  # of each turn the figure by server
Rounds = dict[str, list[Turns]]  # by load


def unpack(revision: str, folder: Path) -> None:
    """Put the package of a revision, or of the working tree, into a folder, and compile it."""
    if revision == WORKING_TREE:
        shutil.copytree(ROOT / "trio_chat", folder / "trio_chat")
    else:
        folder.mkdir()
        archive = ["git", "-C", str(ROOT), "archive", revision, "trio_chat"]
        packed = subprocess.run(archive, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    compileall.compile_dir(folder, quiet=1)


def arguments_in(folder: Path, profiler: list[str], port: int) -> list[str]:
    """For `env`: this Python runs the package in the folder, whatever is installed."""
    python = [f"PYTHONPATH={folder}", sys.executable, "-P", *profiler, "-m", "trio_chat"]
    return [*python, *trio_chat_arguments(port)]


def profile_of(name: str) -> str:
    return str(BUILD / f"{name}.prof")


@contextmanager
def crowd(fanout: str, server: Peer, load: Load) -> Iterator[subprocess.Popen[str]]:
    """Run a server and its clients, which are silent until told to talk."""
    with running(server, server.prepare()) as (port, pid):
        numbers = replace(load, messages=0).arguments
        command = [fanout, str(port), server.protocol, *numbers, str(pid)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as clients:
            yield clients


def next_figures(clients: subprocess.Popen[str]) -> Figures:
    """Read what the clients print when they are connected, and after each turn."""
    figures = figures_in(clients.stdout.readline() if clients.stdout else "")
    if not figures:
        raise RuntimeError("the clients ended")
    return figures


def talk(clients: subprocess.Popen[str], load: Load) -> float:
    """Have the clients talk once; the server's CPU time a delivery."""
    print(load.in_flight, MESSAGES[load.name], file=clients.stdin, flush=True)
    return next_figures(clients)[CPU]


def measure(fanout: str, servers: list[Peer], loads: list[Load]) -> dict[str, Turns]:
    """One round of loads with the same clients, the servers by turns."""
    with ExitStack() as stack:
        crowds = {
            server.name: stack.enter_context(crowd(fanout, server, loads[0])) for server in servers
        }
        idle = {name: next_figures(clients)[MEMORY] for name, clients in crowds.items()}
        return {
            load.name: [
                {name: talk(clients, load) for name, clients in crowds.items()}
                for _ in range(TURNS)
            ]
            if load.messages
            else [idle]
            for load in loads
        }


def ratios_of(turns: Turns) -> list[float]:
    return sorted(turn[AFTER] / turn[BEFORE] for turn in turns)


def clients_of(load: Load) -> tuple[int, int]:
    """Loads that have the same share a round's clients."""
    return load.rooms, load.members


def measure_all(servers: list[Peer], loads: list[Load], rounds: int) -> Rounds:
    """Every load ROUNDS times; every other round begins with the other server."""
    fanout = compiled("fanout")
    results: Rounds = {load.name: [] for load in loads}
    for number in range(rounds):
        turned = servers if number % 2 == 0 else servers[::-1]
        for _, alike in groupby(sorted(loads, key=clients_of), clients_of):
            these = [load for load in alike if load.messages or number < IDLE_ROUNDS]
            for name, turns in measure(fanout, turned, these).items() if these else ():
                results[name].append(turns)
                ratio = median(ratios_of(turns))
                print(f"round {number + 1} of {rounds}: {name}: {ratio:.3f}", flush=True)
    return results


def interval(ratios: list[float]) -> tuple[float, float]:
    """The two of the sorted ratios between which the true median lies, 95 times of 100."""
    count, rank, outside = len(ratios), 0, 2 / 2 ** len(ratios)
    while (outside := outside + 2 * comb(count, rank + 1) / 2**count) <= OUTSIDE:
        rank += 1
    return ratios[rank], ratios[-1 - rank]


def row(load: Load, rounds: list[Turns]) -> list[str]:
    """A load's line of the table."""
    before, after = (
        min(mean(turn[name] for turn in turns) for turns in rounds) for name in (BEFORE, AFTER)
    )
    cells = [load.says, load.unit, f"{before:.3g}", f"{after:.3g}", f"{after / before:.3f}"]
    if not load.messages:
        return [*cells, f"{after - before:+.2f} KB"]
    ratios = sorted(ratio for turns in rounds for ratio in ratios_of(turns))
    low, high = interval(ratios)
    return [*cells, f"{median(ratios):.3f} ({low:.3f} to {high:.3f})"]


def table(loads: list[Load], results: Rounds) -> str:
    rows = [["load", "unit", f"least {BEFORE}", f"least {AFTER}", "ratio", "median ratio (95 %)"]]
    rows.append(["---", "---", "---:", "---:", "---:", "---"])
    rows += [row(load, results[load.name]) for load in loads]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [load.name for load in LOADS]
    parser.add_argument("--against", default="HEAD", metavar="REV", help="the other commit (HEAD)")
    parser.add_argument(
        "--of", default=WORKING_TREE, metavar="REV", help="the commit to measure (%(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=12, help="number of rounds (12)")
    parser.add_argument("--quick", action="store_const", dest="rounds", const=3, help="3 rounds")
    parser.add_argument("--loads", nargs="+", choices=names, default=names, metavar="LOAD")
    parser.add_argument(
        "--profile", choices=names, metavar="LOAD", help="print which functions take long in a load"
    )
    parser.epilog = f"Loads: {', '.join(names)}."
    return parser.parse_args()


def measured(arguments: argparse.Namespace, loads: list[Load]) -> Rounds:
    """The figures, from copies of both packages: the working tree may change meanwhile."""
    with TemporaryDirectory() as folder:
        servers = []
        for name, revision in ((BEFORE, arguments.against), (AFTER, arguments.of)):
            unpack(revision, Path(folder, name))
            profiler = ["-m", "cProfile", "-o", profile_of(name)] if arguments.profile else []
            how = partial(arguments_in, Path(folder, name), profiler)
            servers.append(Peer(name, "line", lambda: "env", how))
        return measure_all(servers, loads, arguments.rounds)


def main() -> None:
    arguments = parse_arguments()
    if arguments.profile:
        arguments.loads, arguments.rounds = [arguments.profile], 1
    raise_descriptor_limit()
    loads = [load for load in LOADS if load.name in arguments.loads]
    try:
        results = measured(arguments, loads)
    except subprocess.CalledProcessError as exc:
        sys.exit(f"beside: {exc.cmd[0]} failed, see above")
    except MissingError as exc:
        sys.exit(f"beside {exc}")
    except (OSError, RuntimeError) as exc:
        sys.exit(f"beside: {exc}; the servers' logs are in {BUILD}")
    if arguments.profile:
        for name in (BEFORE, AFTER):
            print(f"\n{name}:")
            Stats(profile_of(name)).strip_dirs().sort_stats("tottime").print_stats(FUNCTIONS)
        return
    (BUILD / "beside.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{table(loads, results)}\n")
    print(f"before: {arguments.against}; after: {arguments.of}; rounds: {arguments.rounds}.")
    print(f"{where()}.")


if __name__ == "__main__":
    main()
