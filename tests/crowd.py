"""A crowd that talks all the time, and can tell of each line whether it came, once and in order.

    python tests/crowd.py PORT --clients 100 --rooms 10 --record seen.json

It says `ready` once everyone is in. Told `pauses` on standard input, it says how long each talker
has waited for an answer at worst since it was last asked; told `end`, it has everyone finish,
writes down what each room has heard, and says what has gone wrong. Answers are lines of JSON.

One process, one thread and no framework: the machine is the server's.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import resource
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

READ_BYTES = 1 << 16
PATIENCE = 60  # seconds until those who have not come to the end are told
ANSWER = b"err: unknown command: "
GOODBYE = b"> sad to see you go =(\n"
LOUD = b"x" * 1_900
BUSY = "#busy"


class Loop:
    """Sockets that can be read or written, and calls that are due."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.ready: dict[int, Callable[[int], None]] = {}
        self.calls: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self.calls, (time.monotonic() + seconds, next(self.order), call))

    def run(self, ended: Callable[[], bool]) -> None:
        while not ended():
            now = time.monotonic()
            while self.calls and self.calls[0][0] <= now:
                heapq.heappop(self.calls)[2]()
            wait = max(0, self.calls[0][0] - time.monotonic()) if self.calls else 1
            for descriptor, events in self.epoll.poll(min(wait, 0.1)):
                if descriptor in self.ready:
                    self.ready[descriptor](events)


class Connection:
    """A client's end: sends what it is given, and hands on the lines that come."""

    def __init__(self, crowd: Crowd, *, slow: bool = False) -> None:
        self.crowd = crowd
        self.loop = crowd.loop
        self.socket = socket.socket()
        if slow:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", crowd.port))
        self.socket.settimeout(0)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unsent = b""
        self.rest = b""
        self.reading = True
        self.loop.epoll.register(self.socket, select.EPOLLIN)
        self.loop.ready[self.socket.fileno()] = self.on_ready

    def send(self, data: bytes) -> None:
        self.unsent += data
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.unsent = b""  # the read tells
        self.watch()

    def watch(self) -> None:
        events = (select.EPOLLIN if self.reading else 0) | (select.EPOLLOUT if self.unsent else 0)
        self.loop.epoll.modify(self.socket, events)

    def read(self, *, on: bool) -> None:
        self.reading = on
        self.watch()

    def on_ready(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self.send(b"")
        if events & ~select.EPOLLOUT:
            self.take()

    def take(self) -> None:
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self.on_end()
            return
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.on_lines(lines)

    def close(self) -> None:
        del self.loop.ready[self.socket.fileno()]
        self.loop.epoll.unregister(self.socket)
        self.socket.close()

    def on_lines(self, lines: list[bytes]) -> None: ...

    def on_end(self) -> None: ...


class Member(Connection):
    """One that stays in a room, and notes what it hears there."""

    def __init__(self, crowd: Crowd, nick: str, room: str, *, slow: bool = False) -> None:
        super().__init__(crowd, slow=slow)
        self.nick, self.room = nick.encode(), room
        self.heard: list[bytes] = []
        self.next: dict[bytes, int] = {}
        self.missed = 0
        self.said = 0
        self.asked: deque[float] = deque()
        self.longest = 0.0
        self.ends = 0
        self.gone = False
        self.send(b"/nick %s\n/join %s\n" % (self.nick, room.encode()))

    def on_lines(self, lines: list[bytes]) -> None:
        for line in lines:
            head, colon, text = line.partition(b": ")
            if colon and head.startswith(b"> "):
                self.hear(line, head[2:], int(text.partition(b" ")[0]))
            elif line.startswith(ANSWER):
                self.answered(line.removeprefix(ANSWER))
            elif line.startswith(b"> you missed "):
                self.missed += int(line.split()[3])
            elif line.startswith(b"err"):
                self.crowd.wrong("error", f"{self.nick.decode()} is told {line.decode()}")

    def hear(self, line: bytes, author: bytes, number: int) -> None:
        due = self.next.get(author, 0)
        if number < due:
            self.crowd.wrong("doubled or reordered", f"{self.nick.decode()} hears {line[:40]!r}")
        elif number > due:
            self.missed -= number - due
        self.next[author] = number + 1
        self.heard.append(self.crowd.known.setdefault(line, line))

    def answered(self, word: bytes) -> None:
        if word == b"/in":
            self.crowd.inside += 1
        elif word.startswith(b"/end"):
            self.ends += 1
        else:
            self.longest = max(self.longest, time.monotonic() - self.asked.popleft())

    def on_end(self) -> None:
        self.gone = True
        self.crowd.wrong("disconnected", self.nick.decode())

    # --- what it does ---------------------------------------------------------------------------

    def talk(self) -> None:
        if self.crowd.talking and not self.gone:
            self.send(b"/msg %d\n" % self.said)
            self.said += 1
            self.loop.later(1 / self.crowd.rate, self.talk)

    def ask(self) -> None:
        if self.crowd.talking and not self.gone:
            self.asked.append(time.monotonic())
            self.send(b"/p\n")
            self.loop.later(self.crowd.interval, self.ask)

    def talk_in_halves(self) -> None:
        """Say a line in two halves, with others' lines in between."""
        if self.crowd.talking and not self.gone:
            line = b"/msg %d\n" % self.said
            cut = self.crowd.choose.randrange(1, len(line))
            self.said += 1
            self.send(line[:cut])
            self.loop.later(self.crowd.choose.uniform(0.05, 0.4), lambda: self.finish(line[cut:]))

    def finish(self, rest: bytes) -> None:
        self.send(rest)
        self.loop.later(0.01, self.talk_in_halves)

    def shout(self) -> None:
        if self.crowd.talking and not self.gone:
            self.send(b"/msg %d %s\n" % (self.said, LOUD))
            self.said += 1
            self.loop.later(0.03, self.shout)


class Passer(Connection):
    """One that comes, says something that takes it a moment, and goes; and then the next."""

    def __init__(self, crowd: Crowd, script: Callable[[random.Random], list[bytes]]) -> None:
        super().__init__(crowd)
        self.script = script
        self.got = b""
        crowd.passing.add(self)
        *self.parts, self.expected = script(crowd.choose)
        self.go_on()

    def go_on(self) -> None:
        if self.parts and self in self.crowd.passing:
            self.send(self.parts.pop(0))
            self.loop.later(self.crowd.choose.uniform(0, 0.3), self.go_on)

    def on_lines(self, lines: list[bytes]) -> None:
        self.got += b"".join(line + b"\n" for line in lines)

    def on_end(self) -> None:
        self.crowd.passing.discard(self)
        self.crowd.passed += 1
        if self.parts or not (self.got + self.rest).endswith(self.expected):
            self.crowd.wrong("turned away", f"{self.got + self.rest!r} before {self.parts}")
        if self.crowd.talking:
            Passer(self.crowd, self.script)


def quitter(choose: random.Random) -> list[bytes]:
    cut = choose.randrange(1, 6)
    return [b"/join #door\n", b"/quit\n"[:cut], b"/quit\n"[cut:], GOODBYE]


def undecided(choose: random.Random) -> list[bytes]:
    """Its first bytes could be a browser's, and may turn out to be."""
    if choose.random() < 0.5:
        return [b"PO", b"ST / HTTP/1.1\r\n\r\n", b"as this server knows it.\n"]
    return [b"P", b"RO", b"BABLY\n/qu", b"it\n", GOODBYE]


class Crowd:
    def __init__(self, options: argparse.Namespace) -> None:
        self.loop = Loop()
        self.port, self.rate, self.interval = options.port, options.rate, options.interval
        self.choose = random.Random(options.seed)
        self.known: dict[bytes, bytes] = {}
        self.inside = self.passed = 0
        self.talking = False
        self.wrongs: dict[str, list[str]] = {}
        self.passing: set[Passer] = set()
        self.talkers: list[Member] = []
        self.halvers: list[Member] = []
        self.shouters: list[Member] = []
        self.late: list[Member] = []
        self.scribes: dict[str, Member] = {}
        self.come_in(options.clients, [f"#r{number}" for number in range(options.rooms)])

    def wrong(self, kind: str, what: str) -> None:
        self.wrongs.setdefault(kind, []).append(what)

    @property
    def members(self) -> list[Member]:
        quiet = [*self.scribes.values(), *self.late]
        return [*self.talkers, *self.halvers, *self.shouters, *quiet]

    def come_in(self, clients: int, rooms: list[str]) -> None:
        for room in [*rooms, BUSY]:
            self.scribes[room] = Member(self, f"s{room[1:]}", room)
        for number in range(clients - len(rooms)):
            room = rooms[number % len(rooms)]
            kind = number // len(rooms) % 10
            if kind == 1:
                self.halvers.append(Member(self, f"h{number}", room))
            elif kind == 2 and number % len(rooms) < max(1, len(rooms) // 10):
                self.late.append(Member(self, f"l{number}", room, slow=True))
            else:
                self.talkers.append(Member(self, f"t{number}", room))
        self.shouters = [Member(self, f"b{number}", BUSY) for number in range(3)]
        self.late += [Member(self, f"lb{number}", BUSY, slow=True) for number in range(3)]
        for member in self.members:
            member.send(b"/in\n")
        self.wait(lambda: self.inside == len(self.members), "come in")

    def wait(self, ended: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + PATIENCE
        self.loop.run(lambda: ended() or time.monotonic() > limit)
        if not ended():
            self.wrong("stuck", f"not all have {what} within {PATIENCE} seconds")

    def talk(self) -> None:
        self.talking = True
        for member in self.late:
            member.read(on=False)
        for member in self.talkers:
            self.loop.later(self.choose.uniform(0, 1 / self.rate), member.talk)
            self.loop.later(self.choose.uniform(0, self.interval), member.ask)
        for member in self.halvers:
            self.loop.later(self.choose.uniform(0, 0.3), member.talk_in_halves)
        for member in self.shouters:
            member.shout()
        for script in (quitter, undecided):
            for _ in range(max(3, len(self.talkers) // 50)):
                Passer(self, script)
        self.obey(sys.stdin.fileno())

    def obey(self, descriptor: int) -> None:
        """Do what is asked for, until that is the end."""
        commands = iter(os.fdopen(descriptor, "r", buffering=1, closefd=False).readline, "")

        def on_command(_: int) -> None:
            command = next(commands, "end\n").strip()
            if command == "pauses":
                say(self.pauses())
            else:
                self.talking = False

        self.loop.epoll.register(descriptor, select.EPOLLIN)
        self.loop.ready[descriptor] = on_command
        self.loop.run(lambda: not self.talking)
        self.loop.epoll.unregister(descriptor)

    def pauses(self) -> list[float]:
        now = time.monotonic()
        longest = [
            max(member.longest, now - member.asked[0] if member.asked else 0)
            for member in self.talkers
        ]
        for member in self.talkers:
            member.longest = 0.0
        return [round(seconds, 4) for seconds in longest]

    def end(self, record: Path | None) -> None:
        """Have everyone hear the last of it."""
        self.wait(lambda: not self.passing, "gone")
        time_for_halves = time.monotonic() + 0.5
        self.loop.run(lambda: time.monotonic() > time_for_halves)
        for member in self.late:
            member.read(on=True)
        there = [member for member in self.members if not member.gone]
        # Twice: what others had sent when the first answer came has been heard with the second.
        for number in (1, 2):
            for member in there:
                member.send(b"/end\n")
            self.wait(lambda n=number: all(m.gone or m.ends >= n for m in there), "ended")
        self.check()
        if record is not None:
            heard = {room: scribe.heard for room, scribe in self.scribes.items()}
            lines = {room: [line.decode() for line in some] for room, some in heard.items()}
            record.write_text(json.dumps(lines))

    def check(self) -> None:
        said = {member.nick: member for member in self.members}
        for member in self.members:
            for author, number in self.authors(member, said):
                member.missed -= number - member.next.get(author, 0)
            if member.missed:
                self.wrong("lost", f"{member.nick.decode()} lacks {-member.missed}")
            own = b"> %s: " % member.nick
            order = {line: n for n, line in enumerate(self.scribes[member.room].heard)}
            places = [order.get(line, -1) for line in member.heard]
            if places != sorted(places) or any(line.startswith(own) for line in member.heard):
                self.wrong("reordered", member.nick.decode())

    def authors(self, member: Member, said: dict[bytes, Member]) -> Iterator[tuple[bytes, int]]:
        for nick, other in said.items():
            if other.room == member.room and other is not member:
                yield nick, other.said

    def report(self) -> dict[str, object]:
        return {
            "clients": len(self.members),
            "late": len(self.late),
            "said": sum(member.said for member in self.members),
            "heard": sum(len(member.heard) for member in self.members),
            "passed": self.passed,
            "wrong": {kind: [len(what), *what[:3]] for kind, what in self.wrongs.items()},
        }


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--rooms", type=int, default=10)
    parser.add_argument("--rate", type=float, default=1.0, help="lines a second of each talker")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(options)
    say("ready")
    crowd.talk()
    crowd.end(options.record)
    say(crowd.report())


if __name__ == "__main__":
    main()
