"""The clients of `crowd`: members who record what they hear, and others who pass by.

One process, one thread and no framework: the machine is the server's.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from frames import REQUEST, frame

if TYPE_CHECKING:
    from crowd import Crowd

READ_BYTES = 1 << 16
ANSWER = b"err: unknown command: /"
GOODBYE = b"> sad to see you go =(\n"
CLOSED = b"\x88\x02\x03\xe8"  # a close frame with 1000
LOUD = b"x" * 1_900
FRAME_OF_TEXT = 0x81


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
    """A client's end: sends what it is given, and hands on the lines or frames that come."""

    def __init__(self, crowd: Crowd, *, slow: bool = False, port: int | None = None) -> None:
        self.crowd = crowd
        self.loop = crowd.loop
        self.socket = socket.socket()
        if slow:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            self.socket.connect(("127.0.0.1", crowd.port if port is None else port))
        except OSError:
            self.socket.close()
            raise
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
        self.rest += data
        self.on_data()

    def close(self) -> None:
        del self.loop.ready[self.socket.fileno()]
        self.loop.epoll.unregister(self.socket)
        self.socket.close()

    def on_data(self) -> None:
        """Take what is whole from the rest."""

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
        self.come_in()

    # --- how it speaks --------------------------------------------------------------------------

    def come_in(self) -> None:
        self.send(b"/nick %s\n/join %s\n" % (self.nick, self.room.encode()))

    def saying(self, text: bytes) -> bytes:
        return b"/msg %s\n" % text

    def asking(self, word: bytes) -> bytes:
        """Something that is answered with this word, and does nothing."""
        return b"/%s\n" % word

    def complete(self) -> bool:
        """Whether it has got all that it itself has said, if it gets that."""
        return True

    def on_data(self) -> None:
        *lines, self.rest = self.rest.split(b"\n")
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
        if word == b"in":
            self.crowd.inside += 1
        elif word == b"end":
            self.ends += 1
        else:
            self.longest = max(self.longest, time.monotonic() - self.asked.popleft())

    def on_end(self) -> None:
        self.gone = True
        self.crowd.wrong("disconnected", self.nick.decode())

    # --- what it does ---------------------------------------------------------------------------

    def talk(self) -> None:
        if self.crowd.talking and not self.gone:
            self.send(self.saying(b"%d" % self.said))
            self.said += 1
            self.loop.later(1 / self.crowd.rate, self.talk)

    def ask(self) -> None:
        if self.crowd.talking and not self.gone:
            self.asked.append(time.monotonic())
            self.send(self.asking(b"p"))
            self.loop.later(self.crowd.interval, self.ask)

    def talk_in_halves(self) -> None:
        """Say something in two halves, with others' lines in between."""
        if self.crowd.talking and not self.gone:
            line = self.saying(b"%d" % self.said)
            cut = self.crowd.choose.randrange(1, len(line))
            self.said += 1
            self.send(line[:cut])
            self.loop.later(self.crowd.choose.uniform(0.05, 0.4), lambda: self.finish(line[cut:]))

    def finish(self, rest: bytes) -> None:
        if not self.gone:
            self.send(rest)
            self.loop.later(0.01, self.talk_in_halves)

    def shout(self) -> None:
        if self.crowd.talking and not self.gone:
            self.send(self.saying(b"%d %s" % (self.said, LOUD)))
            self.said += 1
            self.loop.later(0.03, self.shout)


class Program(Member):
    """A member that comes by WebSocket; what it hears it notes as lines, to compare."""

    def __init__(self, crowd: Crowd, nick: str, room: str, *, slow: bool = False) -> None:
        self.opened = False
        self.acknowledged = 0
        super().__init__(crowd, nick, room, slow=slow)

    def come_in(self) -> None:
        nick = document(b"take_nick", nick=self.nick)
        self.send(REQUEST + nick + document(b"join", room=self.room.encode()))

    def saying(self, text: bytes) -> bytes:
        return document(b"say", room=self.room.encode(), text=text)

    def asking(self, word: bytes) -> bytes:
        return document(b"ping", id=word)

    def complete(self) -> bool:
        return self.acknowledged == self.said

    def on_data(self) -> None:
        if not self.opened:
            head, blank, rest = self.rest.partition(b"\r\n\r\n")
            if not blank:
                return
            self.opened, self.rest = True, rest
            if not head.startswith(b"HTTP/1.1 101 "):
                self.crowd.wrong("error", f"{self.nick.decode()} is told {head.decode()}")
        payloads, self.rest = unframed(self.rest)
        for payload in payloads:
            if payload is None:
                self.crowd.wrong("error", f"{self.nick.decode()} gets a frame that is no text")
            else:
                self.on_event(json.loads(payload))

    def on_event(self, event: dict) -> None:
        match event:
            case {"type": "said", "nick": nick, "text": text}:
                number = int(text.partition(" ")[0])
                if nick.encode() == self.nick:
                    self.acknowledge(number)
                else:
                    self.hear(f"> {nick}: {text}".encode(), nick.encode(), number)
            case {"type": "done", "id": word}:
                self.answered(word.encode())
            case {"type": "missed", "count": missed}:
                self.missed += missed
            case {"type": "refusal" | "ended" | "stopping"}:
                self.crowd.wrong("error", f"{self.nick.decode()} is told {event}")

    def acknowledge(self, number: int) -> None:
        if number != self.acknowledged:
            self.crowd.wrong("doubled or reordered", f"{self.nick.decode()} said {number}")
        self.acknowledged = number + 1


def document(kind: bytes, **fields: bytes) -> bytes:
    """The frame of a command whose fields need no escaping."""
    pairs = {"type": kind, **fields}.items()
    text = ",".join(f'"{name}":"{value.decode()}"' for name, value in pairs)
    return frame(FRAME_OF_TEXT, f"{{{text}}}".encode())


def unframed(data: bytes) -> tuple[list[bytes | None], bytes]:
    """The payloads of whole frames, `None` for other than text; and what is left."""
    payloads: list[bytes | None] = []
    at = 0
    while len(data) >= at + 2:
        head, size = at + 2, data[at + 1]
        if size > 125:
            head += 2 if size == 126 else 8
            if len(data) < head:
                break
            size = int.from_bytes(data[at + 2 : head])
        if len(data) < head + size:
            break
        payloads.append(data[head : head + size] if data[at] == FRAME_OF_TEXT else None)
        at = head + size
    return payloads, data[at:]


class Passer(Connection):
    """One that comes, says something that takes it a moment, and goes; and then the next."""

    def __init__(self, crowd: Crowd, script: Callable[[random.Random], list[bytes]]) -> None:
        super().__init__(crowd)
        self.script = script
        crowd.passing.add(self)
        *self.parts, self.expected = script(crowd.choose)
        self.go_on()

    def go_on(self) -> None:
        if self.parts and self in self.crowd.passing:
            self.send(self.parts.pop(0))
            self.loop.later(self.crowd.choose.uniform(0, 0.3), self.go_on)

    def on_end(self) -> None:
        self.crowd.passing.discard(self)
        self.crowd.passed += 1
        if self.parts or not self.rest.endswith(self.expected):
            self.crowd.wrong("turned away", f"{self.rest!r} before {self.parts}")
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


def program(choose: random.Random) -> list[bytes]:
    """One by WebSocket: half a request, half a frame, and the end of both."""
    sent = REQUEST + document(b"join", room=b"#door") + document(b"quit")
    first, second = sorted(choose.sample(range(1, len(sent)), 2))
    return [sent[:first], sent[first:second], sent[second:], CLOSED]
