"""Measures what each kind of input costs the server, by the byte.

One client sends one kind of input, without the rate limit. The figures are the server's CPU time,
answers included, and the growth of its resident memory once everything is answered. Prints a
Markdown table with the most expensive kind first.
"""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from peers import BUILD, OURS, Peer, found_ours, running, trio_chat_arguments
from through_tls import certificate

# The server must answer within this time, in seconds.
PATIENCE = 120.0
ROOMS = 5_000
MEMBERS = 500
# Limits that the connections which set the scene must not reach.
LIMITS = (
    *("--max-clients-per-address", "20000", "--max-rooms", "20000"),
    *("--rooms-per-client", "5001", "--store", "memory"),
)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Client:
    """A connection that reads everything, and looks for an answer in it."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._heard = b""
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := self.socket.recv(1 << 20):
                with self._changed:
                    self._heard = self._heard[-200:] + data
                    self._changed.notify_all()
        except OSError:
            pass
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def until(self, answer: bytes) -> None:
        """Wait until the input has this answer."""
        with self._changed:
            if not self._changed.wait_for(lambda: answer in self._heard or self._ended, PATIENCE):
                raise RuntimeError(f"no answer with {answer!r} in {PATIENCE:g} seconds")
            self._heard = b""


@dataclass(frozen=True)
class Kind:
    """One kind of input: `count` times `item`, from a client that has sent `greet`.

    The client sends `asks` at the end, and its answer has `answer`. `scene` sets up other clients.
    """

    name: str
    item: Callable[[int], bytes]
    count: int
    greet: bytes = b"/join #costs\n"
    asks: bytes = b"/no-such\n"
    answer: bytes = b"unknown command: /no-such"
    scene: Callable[[int], list[Client]] | None = None
    anew: bool = False


def frame(head: int, payload: bytes) -> bytes:
    """A client's frame, with a mask that changes nothing."""
    size = len(payload)
    return bytes((head, 0x80 | size)) + bytes(4) + payload


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def in_rooms(port: int) -> list[Client]:
    """One WebSocket client in very many rooms."""
    client = Client(connected(port))
    client.socket.sendall(UPGRADE)
    client.until(b'"hello"')
    for number in range(ROOMS):
        client.socket.sendall(frame(0x81, b'{"type":"join","room":"#%d"}' % number))
    client.socket.sendall(frame(0x81, b'{"type":"ping","id":"end"}'))
    client.until(b'"end"')
    return [client]


def in_one_room(port: int) -> list[Client]:
    """Very many people in one room."""
    clients = [Client(connected(port)) for _ in range(MEMBERS)]
    for client in clients:
        client.socket.sendall(b"/join #costs\n")
        client.until(b"welcome")
    return clients


def after_a_talk(port: int) -> list[Client]:
    """A room with a full history."""
    client = Client(connected(port))
    line = b"/msg " + b"a" * 2_000 + b"\n"
    client.socket.sendall(b"/join #costs\n" + line * 10_000 + b"/no-such\n")
    client.until(b"/no-such")
    return [client]


def kinds() -> list[Kind]:
    """All kinds of input."""
    websocket = partial(
        Kind, greet=UPGRADE, asks=frame(0x81, b'{"type":"ping","id":"last"}'), answer=b'"last"'
    )
    emoji = "\N{GRINNING FACE}".encode()
    return [
        Kind("an empty line", lambda _: b"\n", 200_000),
        Kind("a message of one letter, alone in a room", lambda _: b"/msg a\n", 100_000),
        Kind(
            "a message of 2,000 emoji, alone in a room",
            lambda _: b"/msg " + emoji * 2_000 + b"\n",
            1_000,
        ),
        Kind("a topic of one letter", lambda _: b"/topic a\n", 20_000),
        Kind("a line that is no UTF-8", lambda _: b"\xf0\n", 50_000),
        Kind("a command that there is not", lambda _: b"/x\n", 50_000),
        Kind("a line that is too long", lambda _: b"a" * 9_000 + b"\n", 500),
        Kind("`/help`", lambda _: b"/help\n", 10_000),
        Kind("a nick, another each time", lambda n: b"/nick n%d\n" % n, 10_000),
        Kind("a room, another each time", lambda n: b"/join #%d\n" % n, 10_000),
        Kind(f"`/rooms` among {ROOMS:,}", lambda _: b"/rooms\n", 5_000, scene=in_rooms),
        Kind(f"`/who` among {MEMBERS:,}", lambda _: b"/who\n", 2_000, scene=in_one_room),
        Kind(f"a message to {MEMBERS:,} others", lambda _: b"/msg a\n", 500, scene=in_one_room),
        Kind(
            f"a nick before {MEMBERS:,} others",
            lambda n: b"/nick n%d\n" % n,
            200,
            scene=in_one_room,
        ),
        Kind(
            "`/history 500` of long messages", lambda _: b"/history 500\n", 200, scene=after_a_talk
        ),
        Kind(
            "`/search` that finds nothing",
            lambda _: b"/search " + b"a" * 300 + b"b\n",
            5,
            scene=after_a_talk,
        ),
        Kind("telnet: are you there", lambda _: b"\xff\xf6", 50_000),
        Kind("telnet: an option", lambda _: b"\xff\xfd\x03", 50_000),
        Kind("telnet: nothing at all", lambda _: b"\xff\xf1", 200_000),
        websocket("WebSocket: a ping", lambda _: frame(0x89, b""), 30_000),
        websocket("WebSocket: a pong", lambda _: frame(0x8A, b""), 30_000),
        websocket("WebSocket: no JSON", lambda _: frame(0x81, b"{"), 20_000),
        websocket("WebSocket: many brackets", lambda _: frame(0x81, b"[" * 120), 10_000),
        websocket("WebSocket: a ping command", lambda _: frame(0x81, b'{"type":"ping"}'), 20_000),
        Kind("a WebSocket, and its end", lambda _: UPGRADE, 500, anew=True),
        Kind(
            "HTTP: a page that there is not",
            lambda _: b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
            1_000,
            anew=True,
        ),
        Kind(
            "HTTP: the page",
            lambda _: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            1_000,
            anew=True,
        ),
        Kind("a connection, and one line", lambda _: b"/x\n", 1_000, anew=True),
        Kind("a TLS handshake", lambda _: b"tls", 300, anew=True),
    ]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Cost:
    """The cost of a kind: bytes of an item, microseconds and lasting bytes for each byte."""

    kind: Kind
    item_bytes: float
    microseconds: float
    lasting: float


def measure(kind: Kind) -> Cost:
    """Send one kind of input to a fresh server."""
    with server() as (port, pid):
        others = kind.scene(port) if kind.scene else []
        if kind.anew:
            sent = [kind.item(number) for number in range(kind.count)]
            send_anew(port, sent[:20])
            cpu, memory = cpu_seconds(pid), resident_bytes(pid)
            size = send_anew(port, sent)
        else:
            client = Client(connected(port))
            client.socket.sendall(kind.greet + kind.asks)
            client.until(kind.answer)
            data = b"".join(kind.item(number) for number in range(kind.count))
            cpu, memory, size = cpu_seconds(pid), resident_bytes(pid), len(data)
            client.socket.sendall(data + kind.asks)
            client.until(kind.answer)
            others.append(client)
        time.sleep(0.3)  # turns and connections end without notice
        seconds, grown = cpu_seconds(pid) - cpu, max(0, resident_bytes(pid) - memory)
        for other in others:
            other.socket.close()
    return Cost(kind, size / kind.count, seconds / size * 1e6, grown / size)


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Run a fresh server; gives its port and its process id."""
    cert, key = certificate()
    tls = ("--tls-cert", str(cert), "--tls-key", str(key))
    peer = Peer(OURS, "line", found_ours, lambda port: [*trio_chat_arguments(port), *LIMITS, *tls])
    with running(peer, found_ours()) as (port, pid):
        yield port, pid


def send_anew(port: int, items: list[bytes]) -> int:
    """Send each on a connection of its own, and read the first bytes of the answer."""
    size = 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for item in items:
        with connected(port) as sock:
            if item == b"tls":
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = context.wrap_bio(incoming, outgoing)
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        size += outgoing.pending
                        sock.sendall(outgoing.read())
                        incoming.write(sock.recv(1 << 16))
                size += outgoing.pending
                sock.sendall(outgoing.read())
            else:
                size += len(item)
                sock.sendall(item)
                sock.recv(1 << 16)
    return size


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "kinds", nargs="*", help="measure only kinds whose name has one of these words"
    )
    words = parser.parse_args().kinds
    BUILD.mkdir(exist_ok=True)
    costs = []
    for kind in kinds():
        if not words or any(word in kind.name for word in words):
            costs.append(measure(kind))
            print(f"{kind.name}: {costs[-1].microseconds:.2f} µs a byte", file=sys.stderr)
    print("| input | bytes | µs of CPU a byte | lasting bytes a byte |")
    print("| --- | ---: | ---: | ---: |")
    for cost in sorted(costs, key=lambda cost: -cost.microseconds):
        name, size = cost.kind.name, cost.item_bytes
        print(f"| {name} | {size:,.0f} | {cost.microseconds:.3g} | {cost.lasting:.2g} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
