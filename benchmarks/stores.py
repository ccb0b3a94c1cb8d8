"""Measures what a file costs: trio-chat with rooms in a file beside rooms in memory.

Each round has a server with `--store memory`, one whose file survives its process, and one whose
file also survives a power cut. Prints a Markdown table. The result is the median of the ratios
within a round.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial

from peers import BUILD, Peer, compiled, found_ours, trio_chat_arguments
from ratios import FIGURES, in_turns, table
from run import LOADS, measure, raise_descriptor_limit, where

CHOSEN = ("100x10x16", "1x1000x1")
STORE = BUILD / "store"


def arguments_in_file(durability: str, port: int) -> list[str]:
    """Give the arguments of `trio_chat_arguments`, with a new file."""
    shutil.rmtree(STORE, ignore_errors=True)
    STORE.mkdir()
    file = f"sqlite:{STORE / 'rooms.db'}"
    return trio_chat_arguments(port, file, "--durability", durability)


WAYS = [
    Peer("memory", "line", found_ours, trio_chat_arguments),
    Peer("process", "line", found_ours, partial(arguments_in_file, "process")),
    Peer("power", "line", found_ours, partial(arguments_in_file, "power")),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    rounds = parser.parse_args().rounds

    raise_descriptor_limit()
    fanout = compiled("fanout")
    results = {
        load.says: in_turns(
            WAYS, rounds, lambda way, load=load: measure(fanout, load, way, found_ours())
        )
        for load in LOADS
        if load.name in CHOSEN
    }
    print(table([way.name for way in WAYS], results, list(FIGURES)))
    print(f"\n{where()}; rounds: {rounds}.")
    return 0 if all(figures for ways in results.values() for way in ways for figures in way) else 1


if __name__ == "__main__":
    sys.exit(main())
