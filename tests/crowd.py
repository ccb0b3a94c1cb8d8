"""A crowd that talks all the time, and can tell of each line whether it came, once and in order.

    python tests/crowd.py PORT --clients 100 --rooms 10 --record seen.json

It prints `ready` once everyone is connected, and reads commands on standard input. On `pauses` it
prints each talker's longest wait for an answer since the last `pauses`. On `end` everyone finishes;
it records what each room has heard, and prints what has gone wrong. Answers are lines of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from crowd_members import Loop, Member, Passer, Program, program, quitter, undecided

PATIENCE = 60  # seconds until those who have not come to the end are told
BUSY = "#busy"


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
            row = number // len(rooms)
            kind = row % 10
            make = Program if row % 3 == 1 else Member
            if kind == 1:
                self.halvers.append(make(self, f"h{number}", room))
            elif kind == 2 and number % len(rooms) < max(1, len(rooms) // 10):
                self.late.append(make(self, f"l{number}", room, slow=True))
            else:
                self.talkers.append(make(self, f"t{number}", room))
        self.shouters = [Member(self, f"b{number}", BUSY) for number in range(3)]
        self.late += [
            make(self, f"lb{number}", BUSY, slow=True)
            for number, make in enumerate([Member, Member, Program, Program])
        ]
        for member in self.members:
            member.send(member.asking(b"in"))
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
        for script in (quitter, undecided, program):
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
                member.send(member.asking(b"end"))
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
            if not member.complete():
                self.wrong("lost", f"{member.nick.decode()} lacks some of its own")
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
            "programs": sum(isinstance(member, Program) for member in self.members),
            "late": len(self.late),
            "said": sum(member.said for member in self.members),
            "heard": sum(len(member.heard) for member in self.members),
            "passed": self.passed,
            "wrong": {kind: [len(what), *what[:3]] for kind, what in self.wrongs.items()},
        }


def say(answer: object) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - who started it reads that


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
