"""Measures what each way in costs: trio-chat beside itself with lines alone.

Each round has a room of people with lines, one of WebSocket clients, and one that is half and half.
Prints a Markdown table; what counts is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import sys

from peers import Peer, compiled, found_ours, trio_chat_arguments
from ratios import FIGURES, in_turns, table
from run import LOADS, measure, raise_descriptor_limit, where

CHOSEN = ("1x1000x1", "1x1000x64", "100x10x16")
# What `mixed` may cost by `line`.
TARGET = 1.2

# TLS is one more row here, once fanout speaks it: a protocol of its own and two files as arguments.
WAYS = [
    Peer("line", "line", found_ours, trio_chat_arguments),
    Peer("websocket", "ws", found_ours, trio_chat_arguments),
    Peer("mixed", "mixed", found_ours, trio_chat_arguments),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    loads = [load.name for load in LOADS if load.messages]
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run (5)")
    parser.add_argument("--loads", nargs="+", choices=loads, default=CHOSEN, metavar="LOAD")
    arguments = parser.parse_args()

    raise_descriptor_limit()
    fanout = compiled("fanout")
    results = {
        load.says: in_turns(
            WAYS,
            arguments.rounds,
            lambda way, load=load: measure(fanout, load, way, found_ours()),
        )
        for load in LOADS
        if load.name in arguments.loads
    }
    print(table([way.name for way in WAYS], results, list(FIGURES)))
    print(f"\n{where()}; rounds: {arguments.rounds}; target: mixed at most {TARGET} × line.")
    return 0 if all(figures for ways in results.values() for way in ways for figures in way) else 1


if __name__ == "__main__":
    sys.exit(main())
