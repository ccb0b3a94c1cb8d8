"""Measures a busy room's latency beside clients that keep requesting another room's history.

Both rooms are in one file, and the other room has many thousand messages. The clients page through
them with `/history`, and search for a word that none of them has, which reads all of them. In
another run the same clients ask a second server on the same machine, which shows the machine's part
of the delay. Prints a Markdown table. The result is the median of the ratios within a round.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from threading import Event, Thread

import trio
from peers import BUILD, Peer, compiled, found_ours, running, trio_chat_arguments
from ratios import Figures, in_turns, table
from run import Load, put_under, raise_descriptor_limit, where

from trio_chat.protocol.events import Said
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite.log import open_sqlite_log

BUSY = Load("1x100x1", "1 room × 100, 1 in flight", 1, 100, 1, 2500, {})
# The messages of this room arrived one by one, between the messages of other rooms.
ROOM, ROWS, AMONG = "#past", 20_000, 10
ASKERS = 8
# The server that the clients ask.
ANOTHER, IT, NOBODY = f"{ASKERS} ask another server", f"{ASKERS} ask it", "alone"
PAGE = 500
# A request, and one more line that marks the end of its answer: ten lines a second, which is the
# default rate limit.
ASK_SECONDS = 0.2
DONE = b"err: unknown command: /done\n"
FULL = BUILD / "past.db"
TEXT = "message number {} of a room in which nobody talks any more"


async def fill() -> None:
    """Make a file with the messages of the other room."""
    FULL.unlink(missing_ok=True)
    rooms = [ROOM, *(f"{ROOM}-{number}" for number in range(1, AMONG))]
    async with open_sqlite_log(FULL, "process", Retention(ROWS, AMONG)) as log:
        for number in range(ROWS):
            for room in rooms:  # one by one, so that they lie as far apart as possible
                text = TEXT.format(number)
                await log.append([Said(room, "0123456789abcdef", "jack", text)])


def arguments(name: str, port: int) -> list[str]:
    """Give the arguments of `trio_chat_arguments`, with a copy of the file."""
    used = BUILD / f"past-{name}.db"
    for leftover in BUILD.glob(f"{used.name}-*"):
        leftover.unlink()
    shutil.copy(FULL, used)
    return trio_chat_arguments(port, f"sqlite:{used}", "--history-entries", str(2 * ROWS))


SERVER = Peer("trio-chat", "line", found_ours, partial(arguments, "asked"))
OTHER = Peer("another", "line", found_ours, partial(arguments, "another"))


def ask(port: int, stop: Event) -> None:
    """Ask and wait for the answer, again and again."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(f"/join {ROOM}\n".encode())
        for number in count():
            before = ROWS + 1 - number // 2 * PAGE % ROWS
            asked = (
                "/search nothing like this" if number % 2 else f"/history before {before} {PAGE}"
            )
            next_time = time.monotonic() + ASK_SECONDS
            client.sendall(f"{asked}\n/done\n".encode())
            answer = b""
            while DONE not in answer:
                answer = answer[-len(DONE) :] + client.recv(1 << 18)
            if stop.wait(max(0, next_time - time.monotonic())):
                return


@contextmanager
def asking(port: int, askers: int) -> Iterator[None]:
    """Have this many clients ask for the length of the block."""
    stop = Event()
    threads = [Thread(target=ask, args=(port, stop)) for _ in range(askers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def measure(fanout: str, whom: str) -> Figures:
    with (
        running(SERVER, found_ours()) as (port, pid),
        running(OTHER, found_ours()) as (other, _),
        asking(other if whom == ANOTHER else port, 0 if whom == NOBODY else ASKERS),
    ):
        return put_under(fanout, BUSY, SERVER, port, pid)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (5)")
    rounds = parser.parse_args().rounds

    raise_descriptor_limit()
    fanout = compiled("fanout")
    trio.run(fill)
    ways = [ANOTHER, IT, NOBODY]
    results = in_turns(ways, rounds, lambda whom: measure(fanout, whom))
    print(table(ways, {BUSY.says: results}, ["p50", "p99"]))
    print(f"\n{where()}; rounds: {rounds}.")
    return 0 if all(figures for ways in results for figures in ways) else 1


if __name__ == "__main__":
    sys.exit(main())
