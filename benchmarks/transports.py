"""Measures what each dialect costs, with and without TLS, beside lines alone.

Each round has rooms of line clients, of WebSocket clients and of clients of IRC, and rooms where
half of the members speak lines. Then it has line clients and WebSocket clients over TLS. Prints a
Markdown table. The result is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

from peers import MissingError, Peer, compiled, found, found_ours, running, trio_chat_arguments
from ratios import FIGURES, Figures, in_turns, table
from run import LOADS, Load, put_under, raise_descriptor_limit, where
from through_tls import certificate, through_tls

CHOSEN = ("1x1000x1", "1x1000x64", "100x10x16")
# The limit for a room of half lines and half documents, divided by lines alone.
TARGET = 1.2


def over_tls(port: int) -> list[str]:
    """Give the arguments of `trio_chat_arguments`, with a certificate."""
    cert, key = certificate()
    return trio_chat_arguments(port, "memory", "--tls-cert", str(cert), "--tls-key", str(key))


WAYS = [
    Peer("line", "line", found_ours, trio_chat_arguments),
    Peer("websocket", "ws", found_ours, trio_chat_arguments),
    Peer("half websocket", "line+ws", found_ours, trio_chat_arguments),
    Peer("IRC", "irc", found_ours, trio_chat_arguments),
    Peer("half IRC", "line+irc", found_ours, trio_chat_arguments),
    Peer("line, TLS", "line", found_ours, over_tls),
    Peer("websocket, TLS", "ws", found_ours, over_tls),
]


def measure(fanout: str, load: Load, way: Peer) -> Figures:
    with ExitStack() as stack:
        port, pid = stack.enter_context(running(way, found_ours()))
        if way.arguments is over_tls:
            port = stack.enter_context(through_tls(port))
        return put_under(fanout, load, way, port, pid)


def possible() -> list[Peer]:
    """The variants that can be measured here; prints why others cannot."""
    try:
        found("haproxy", "TLS needs haproxy: apt-get install haproxy")
        found("openssl", "TLS needs openssl")
    except MissingError as missing:
        print(f"left out: {missing}", file=sys.stderr)
        return [way for way in WAYS if way.arguments is not over_tls]
    return WAYS


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    loads = [load.name for load in LOADS if load.messages]
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    parser.epilog = f"Ways: {', '.join(way.name for way in WAYS)}."
    parser.add_argument("--loads", nargs="+", choices=loads, default=CHOSEN, metavar="LOAD")
    names = [way.name for way in WAYS]
    parser.add_argument("--ways", nargs="+", choices=names, default=names, metavar="WAY")
    arguments = parser.parse_args()

    raise_descriptor_limit()
    fanout = compiled("fanout")
    ways = [way for way in possible() if way.name in arguments.ways]
    results = {
        load.says: in_turns(
            ways, arguments.rounds, lambda way, load=load: measure(fanout, load, way)
        )
        for load in LOADS
        if load.name in arguments.loads
    }
    print(table([way.name for way in ways], results, list(FIGURES)))
    print(
        f"\n{where()}; rounds: {arguments.rounds}; target: half websocket at most {TARGET} × line."
    )
    return (
        0 if all(figures for rounds in results.values() for way in rounds for figures in way) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
