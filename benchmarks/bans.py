"""Measures what a connection and a join cost with 10,000 bans and 100,000 accounts, beside none.

    python benchmarks/bans.py --rounds 8

Both servers run all the time, and are measured in turns. Each connection comes from an address of
its own, as a proxy on this machine says, so the server has no tags at hand.
"""

from __future__ import annotations

import argparse
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

import trio
from costs import cpu_seconds
from peers import BUILD, OURS, Peer, found_ours, running, trio_chat_arguments

from trio_chat.daemon.control_client import asking
from trio_chat.people.opening import open_people
from trio_chat.people.store import people_path
from trio_chat.protocol.names import parse_nick

BANS = 10_000
ACCOUNTS = 100_000
# An IPv4 /16 has so many networks with a tag.
NETWORKS = 256
CONNECTIONS = 1_500
JOINS = 6_000
LIMITS = ("--max-clients-per-address", "100000", "--trusted-proxies", "127.0.0.1")
WELCOME = b"> welcome to "
# Connections and turns end without notice.
SETTLE_SECONDS = 0.3


@contextmanager
def server(bans: int, accounts: int) -> Iterator[tuple[int, int]]:
    """Run a server with so many bans of networks and accounts; gives its port and process id."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        control, store = Path(folder) / "control.sock", Path(folder) / "chat.db"
        trio.run(make_accounts, people_path(store), accounts)
        arguments = (*LIMITS, "--control", str(control))
        peer = Peer(
            *(OURS, "line", found_ours),
            lambda port: [*trio_chat_arguments(port, f"sqlite:{store}"), *arguments],
        )
        port, pid = stack.enter_context(running(peer, found_ours()))
        for number in range(bans // NETWORKS):
            ask(control, f"10.{number}.0.0/16 forever")
        for number in range(bans % NETWORKS):
            ask(control, f"172.16.{number}.0/24 forever")
        yield port, pid


async def make_accounts(path: Path, count: int) -> None:
    """Make a file with accounts that have no passwords."""
    async with open_people(path):
        pass
    names = [parse_nick(f"person{number}", 32) for number in range(count)]
    with closing(sqlite3.connect(path)) as file, file:
        file.executemany(
            "INSERT INTO accounts (id, nick, casefolded, made) VALUES (?, ?, ?, 0)",
            [(f"a.{at}", name.display, name.casefolded) for at, name in enumerate(names)],
        )
        file.executemany(
            "INSERT INTO names (key, account) VALUES (?, ?)",
            [(key, f"a.{at}") for at, name in enumerate(names) for key in name.keys],
        )


def ask(control: Path, arguments: str) -> None:
    with asking(control) as daemon:
        answer = daemon.ask("moderate", None, do="ban", arguments=arguments)
    if "error" in answer:
        raise RuntimeError(answer["error"])


def connections(port: int, turn: int) -> int:
    """Connect from addresses that no ban is about, enter a room, and leave; gives how often."""
    for number in range(CONNECTIONS):
        address = f"{20 + turn}.{number >> 8}.{number & 255}.7"
        client = socket.create_connection(("127.0.0.1", port))
        with client:
            head = f"PROXY TCP4 {address} 127.0.0.1 5000 {port}\r\n"
            client.sendall(f"{head}/nick n{number}\n/join #a\n".encode())
            read_until(client, 1)
    return CONNECTIONS


def joins(port: int, turn: int) -> int:
    """Go from room to room on one connection; gives how often."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        head = f"PROXY TCP4 {20 + turn}.1.2.3 127.0.0.1 5000 {port}\r\n/nick john\n"
        client.sendall(head.encode())
        for _ in range(JOINS // 100):
            client.sendall(b"/join #a\n/join #b\n" * 50)
            read_until(client, 100)
    return JOINS


def read_until(client: socket.socket, welcomes: int) -> None:
    data = b""
    while data.count(WELCOME) < welcomes or not data.endswith(b"\n"):
        more = client.recv(1 << 16)
        if not more:
            raise RuntimeError(f"the server has hung up: {data[-200:]!r}")
        data += more


def main() -> int:
    """Print the microseconds of the servers' CPU for each, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    rounds = parser.parse_args().rounds
    BUILD.mkdir(exist_ok=True)
    with ExitStack() as stack:
        servers = [stack.enter_context(server(*kept)) for kept in ((0, 0), (BANS, ACCOUNTS))]
        for name, act in (("a connection with a join", connections), ("a join", joins)):
            columns: list[list[float]] = [[], []]
            for turn in range(rounds):
                order = (0, 1) if turn % 2 == 0 else (1, 0)
                for which in order:
                    port, pid = servers[which]
                    before = cpu_seconds(pid)
                    count = act(port, turn)
                    time.sleep(SETTLE_SECONDS)  # what the act has left to do counts, too
                    columns[which].append((cpu_seconds(pid) - before) / count * 1e6)
            ratios = sorted(full / empty for empty, full in zip(*columns, strict=True))
            print(
                f"{name}: {median(columns[0]):.1f} us without, {median(columns[1]):.1f} us "
                f"with {BANS:,} bans and {ACCOUNTS:,} accounts; ratio "
                f"{median(ratios):.3f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
