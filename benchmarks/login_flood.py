"""Measures what others notice of a flood of wrong passwords: a round trip, beside a quiet server.

    python benchmarks/login_flood.py --rounds 6

Two people talk in a room, while 200 attackers try passwords: from one network, or from another one
for each try. The floods are taken apart, too: attackers that connect as often without a try, and
few attackers that keep the hashing thread busy. The attackers have a process with a low priority,
as in life they have machines of their own. On a busy machine run it under `chrt -r 20`: otherwise
it measures the others.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

import trio
from costs import cpu_seconds
from peers import BUILD, OURS, Peer, found_ours, running, trio_chat_arguments

from trio_chat.people.opening import open_people
from trio_chat.people.store import people_path
from trio_chat.protocol.names import parse_nick

ATTACKERS = 200
FEW = 4
PASSWORD = "correct horse battery"  # noqa: S105 - of nobody
# The attackers name their networks as a proxy does, and send passwords without TLS.
ARGUMENTS = ("--trusted-proxies", "127.0.0.1", "--plaintext-passwords", "warn")
LIMITS = ("--max-clients-per-address", "100000")
SECONDS = 2.0
WARM_UP_SECONDS = 0.5
PAUSE_SECONDS = 0.5
# Between two messages, and between two tries of an attacker that stays.
MESSAGE_SECONDS = 0.004
TRY_SECONDS = 0.1
# Niceness of the attackers, above that of the server.
NICER = 5

TRY = b"/login john\nwrong wrong wrong\n"
WHO = b"/who #a\n/who #a\n"
# The kinds of floods: attackers, and what they send; then whether each try has a connection of its
# own, and a network of its own.
FLOODS = {
    "one network": (ATTACKERS, TRY, False, False),
    "many networks": (ATTACKERS, TRY, True, True),
    "connections alone": (ATTACKERS, WHO, True, True),
    "hashes alone": (FEW, TRY, True, True),
}


# --- attackers ------------------------------------------------------------------------------------


class Attackers:
    """Connections that send the same again and again, in one thread."""

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._count, self._words, self._reconnects, self._spread = FLOODS[name]
        self._selector = selectors.DefaultSelector()
        self._networks = os.getpid() % 200 * 100_000
        self._due: list[tuple[float, socket.socket | None]] = []
        self._waits = 0
        self.tries = 0

    def run(self) -> None:
        """Go on until the parent closes the standard input."""
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        now = time.monotonic()
        self._due = [(now + self._wait(), None) for _ in range(self._count)]
        while True:
            now = time.monotonic()
            due = [item for item in self._due if item[0] <= now]
            self._due = [item for item in self._due if item[0] > now]
            for _, client in due:
                self._try(client)
            wait = min((at for at, _ in self._due), default=now + 1.0) - now
            for key, _ in self._selector.select(max(0.001, wait)):
                if key.data is None:
                    return
                self._read(key.data)

    def _wait(self) -> float:
        """The seconds until a try: another number each time, so that they do not come at once."""
        self._waits += 1
        return 2 * TRY_SECONDS * (self._waits * 0.618 % 1)

    def _try(self, client: socket.socket | None) -> None:
        self.tries += 1
        if client is not None:
            client.sendall(self._words)
            return
        client = socket.create_connection(("127.0.0.1", self._port))
        self._networks += self._spread
        number = self._networks
        address = f"{20 + (number >> 16) % 100}.{number >> 8 & 255}.{number & 255}.7"
        client.sendall(f"PROXY TCP4 {address} 127.0.0.1 5000 1\r\n".encode() + self._words)
        client.settimeout(0)
        self._selector.register(client, selectors.EVENT_READ, client)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(1 << 16)
        except OSError:
            data = b""
        if data and b"err: " not in data and b"> in " not in data:
            return
        after = time.monotonic() + self._wait()
        if data and not self._reconnects:
            self._due.append((after, client))
            return
        self._selector.unregister(client)
        client.close()
        self._due.append((after, None))


def lower_priority() -> None:
    """Let the server come before this process."""
    if (policy := os.sched_getscheduler(0)) == os.SCHED_OTHER:
        os.nice(NICER)
    else:  # under `chrt`, which keeps the rest of a busy machine out
        os.sched_setscheduler(0, policy, os.sched_param(1))


@contextmanager
def flood(port: int, name: str) -> Iterator[list[int]]:
    """Run attackers for the length of a block; the list has their tries afterwards."""
    tries: list[int] = []
    if name == "quiet":
        yield tries
        return
    command = [sys.executable, __file__, "--attack", name, "--port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as attackers:
        try:
            time.sleep(WARM_UP_SECONDS)  # they have to connect
            yield tries
        finally:
            out, _ = attackers.communicate()
            tries.append(int(out or 0))


# --- a client -------------------------------------------------------------------------------------


def talk(port: int, nick: str) -> socket.socket:
    """A client in a room."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(f"/nick {nick}\n/join #a\n".encode())
    data = b""
    while b"> welcome to" not in data or not data.endswith(b"\n"):
        data += client.recv(1 << 16)
    return client


def round_trips(speaker: socket.socket, listener: socket.socket) -> list[float]:
    """The milliseconds from a message to its arrival, one after the other."""
    taken = []
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end:
        number += 1
        word = f": {number:06}\n".encode()
        began = time.perf_counter()
        speaker.sendall(b"/msg " + word[2:])
        data = b""
        while not data.endswith(word):
            data += listener.recv(1 << 16)
        taken.append((time.perf_counter() - began) * 1000)
        time.sleep(MESSAGE_SECONDS)  # the pace of a person
    return taken


# --- the whole ------------------------------------------------------------------------------------


async def make_account(path: Path) -> None:
    async with open_people(path) as people:
        await people.register(parse_nick("john", 32), PASSWORD, "192.0.2.1")


def main() -> int:
    """Print the median and the 99th percentile of each kind, and the ratios to a quiet server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.attack:
        lower_priority()
        attackers = Attackers(arguments.port, arguments.attack)
        attackers.run()
        print(attackers.tries)
        return 0
    BUILD.mkdir(exist_ok=True)
    kinds = ("quiet", *FLOODS)
    figures = {kind: ([], [], [], []) for kind in kinds}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = Path(folder) / "chat.db"
        trio.run(make_account, people_path(store))
        peer = Peer(
            *(OURS, "line", found_ours),
            lambda port: [*trio_chat_arguments(port, f"sqlite:{store}"), *ARGUMENTS, *LIMITS],
        )
        port, pid = stack.enter_context(running(peer, found_ours()))
        speaker, listener = [stack.enter_context(talk(port, nick)) for nick in ("ann", "kim")]
        for number in range(arguments.rounds):
            for kind in kinds[:: 1 if number % 2 == 0 else -1]:
                with flood(port, kind) as tries:
                    before = cpu_seconds(pid)
                    taken = round_trips(speaker, listener)
                    used = (cpu_seconds(pid) - before) / SECONDS
                p50, p99 = median(taken), quantiles(taken, n=100)[98]
                whole = SECONDS + WARM_UP_SECONDS
                for column, value in zip(
                    figures[kind], (p50, p99, used, sum(tries) / whole), strict=True
                ):
                    column.append(value)
                time.sleep(PAUSE_SECONDS)  # connections end without notice
    print(f"load of the machine: {os.getloadavg()[0]:.1f}, processors: {os.cpu_count()}")
    for kind in kinds:
        p50, p99, used, tries_a_second = map(median, figures[kind])
        ratios = [
            median(a / b for a, b in zip(figures[kind][at], figures["quiet"][at], strict=True))
            for at in (0, 1)
        ]
        print(
            f"{kind}: p50 {p50:.2f} ms ({ratios[0]:.2f} x), p99 {p99:.2f} ms ({ratios[1]:.2f} x), "
            f"server CPU {used:.0%}, tries a second {tries_a_second:.0f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
