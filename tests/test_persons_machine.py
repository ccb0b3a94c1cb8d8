"""People with several devices, whatever these do: others see each person once.

Devices on lines and on WebSockets log in and out, come and go, break and resume, lag, and live
through upgrades. When all is quiet, everyone knows the same people, and has read each message once.

To try more of it: `TRIES=300 pytest -o faulthandler_timeout=0 tests/test_persons_machine.py`.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeAlias
from unittest import mock

import trio
import trio.testing
from attrs import define, field
from documents import Closed, DocumentClient, check, frame
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_run import LiveRun
from loopback import HOST
from people import FakeIgnored, NoMail, NoReadMarkers
from snapshots import hand_over, succeed

from trio_chat import Refused, Settings, open_chat
from trio_chat.errors import Code
from trio_chat.people import Identity, LoggedIn
from trio_chat.people.marks import Marks
from trio_chat.people.networks import Tags
from trio_chat.protocol.events import Acted, Said
from trio_chat.protocol.names import parse_nick
from trio_chat.server import opening
from trio_chat.transports.tcp import SocketLink

Asked: TypeAlias = tuple[str, str, str]

TRIES = int(os.environ.get("TRIES", "10"))
PATIENCE = 20
DEVICES = 7
PASSWORD = "correct horse"
ROOMS = ("#a", "#b")
OWNED = ("john", "mary")  # these nicks are accounts from the beginning
OTHERS = ("jack", "JACK", "kim")  # these may become accounts
PADDING = "x" * 120
FLOOD = 120
SETTINGS = {
    "rate_limit": None,
    "message_chars": 160,
    "line_bytes": 700,
    "nick_chars": 16,  # so that lists of members are complete
    # A client that does not read falls behind after a few messages. The log has all of them.
    "outbox_bytes": 3_200,
    "recent_entries": 3,
    "resume_grace": 80_000.0,
    "stall_timeout": 80_000.0,
}
ASKED = re.compile(r"(\xff\xfb\x01)?> password[^:]*: |> the password again: ")
# The meaning of a line for a device that speaks lines.
TEXT = r"(t\d+)x*"
LINES = {
    r"> you are logged in: I will call you (\S+)": "on_in",
    r"> you are logged out: I will call you (\S+)": "on_out",
    r"> all right, I will call you (\S+)": "on_nick",
    r"> the nick \S+ belongs to an account, whose owner has logged in.*": "on_displaced",
    r"> welcome to (\S+)": "on_welcome",
    r"> you have left \S+": "on_departed",
    r"> in #\S+: (.*)": "on_members",
    r"> (\S+) joined the room": "on_joined",
    r"> (\S+) has left the room": "on_left",
    r"> (\S+) is now known as (\S+)": "on_renamed",
    r"> \S+ has logged in or out": "on_nothing",
    rf"> you \(to \S+\): {TEXT}": "on_copy",
    rf"> \S+ \(to you\): {TEXT}": "on_told",
    rf"> \* \S+ {TEXT}": "on_acted",
    r"> (?:topic of|\(there is|your recovery code|sad to see) .*|err: .*": "on_nothing",
    rf"> \S+: {TEXT}": "on_said",
}
ENDED = (trio.BrokenResourceError, trio.ClosedResourceError, Closed)


@define
class FakePeople:
    """Accounts with one password, whose checks take as long as the test likes."""

    accounts: dict[str, Identity] = field(factory=dict)
    goes_on: trio.Event = field(factory=trio.Event)
    ignored: FakeIgnored = field(factory=FakeIgnored)
    mail: NoMail = field(factory=NoMail)
    read_markers: NoReadMarkers = field(factory=NoReadMarkers)
    news: None = None
    tags: Tags = field(factory=lambda: Tags(Marks(b"key")))

    def add(self, nick: str) -> Identity:
        name = parse_nick(nick, 30)
        identity = Identity(f"a.{name.casefolded}", name)
        return self.accounts.setdefault(name.casefolded, identity)

    def holder(self, keys):
        return next((a.id for a in self.accounts.values() if set(a.name.keys) & set(keys)), None)

    async def log_in(self, name, password, address, device=None) -> LoggedIn:
        await self.goes_on.wait()
        if password != PASSWORD or name.casefolded not in self.accounts:
            raise Refused("wrong", code=Code.WRONG_PASSWORD)
        return LoggedIn(self.accounts[name.casefolded])

    async def register(self, name, password, address, device=None) -> LoggedIn:
        await self.goes_on.wait()
        if self.holder(name.keys) is not None:
            raise Refused("taken", code=Code.NICK_REGISTERED)
        return LoggedIn(self.add(name.display), recovery="a-code")

    async def delete(self, account, password, address) -> None:
        await self.goes_on.wait()
        if self.accounts.pop(account.removeprefix("a."), None) is None:
            raise Refused("gone", code=Code.NO_SUCH_ACCOUNT)

    async def check(self) -> None:
        """Nothing: there is no file."""

    pause = check

    def resume(self) -> None:
        """Nothing: there is no file."""


# --- devices --------------------------------------------------------------------------------------


class Device:
    """A client, and what it has been told of itself: its account, its nick and its rooms."""

    def __init__(self, number: int, machine: PersonsMachine) -> None:
        self.name = f"{self.__class__.__name__} {number}"
        self.machine = machine
        self.user = self.account = ""
        self.nick = "anonymous"
        self.rooms: set[str] = set()
        self.reads = trio.Event()
        self.reads.set()
        self.whole = True
        self.away = self.over = False
        self.told: list[str] = []
        self.syncs = 0
        self.synced = trio.Event()

    @property
    def person(self) -> str:
        return self.account or self.user

    async def dial(self) -> None:
        client = trio.socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        self.machine.sockets.append(client)
        await client.connect((HOST, self.machine.port))
        self.stream = trio.SocketStream(client)
        self.queue, queue = trio.open_memory_channel[bytes](math.inf)
        self.machine.nursery.start_soon(self._write, self.stream, queue)

    async def send(self, data: bytes) -> None:
        self.queue.send_nowait(data)

    async def _write(self, stream: trio.SocketStream, queue) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in queue:
                await stream.send_all(data)

    async def listen(self) -> None:
        stream = self.stream
        try:
            with suppress(*ENDED):
                await self.hear()
        except Exception as error:  # noqa: BLE001 - the rule under way raises it
            self.machine.failures.append(error)
        await stream.aclose()
        if stream is self.stream:
            self.synced.set()  # nothing more comes

    def logged_in(self, account: str, nick: str) -> None:
        self.account, self.nick = account, nick
        for other in self.machine.devices if account else ():
            # It is displaced, and learns that when it comes back.
            if other.away and not other.account and other.nick.casefold() == nick.casefold():
                other.nick = "anonymous"

    def check_told(self, texts: list[str]) -> None:
        assert Counter(self.told) == Counter(texts), self.name


class OnLines(Device):
    """One that types; it is in one room at most."""

    async def connect(self) -> None:
        await self.dial()
        self.heard: list[str] = []  # the texts in its room, since it came there
        self.said: set[str] = set()
        self.repeats = False
        self.members: Counter[str] | None = None
        self.asked_who = False
        self.machine.nursery.start_soon(self.listen)
        await self.sync()
        known = self.machine.known
        [self.user] = self.machine.state.users.keys() - known
        known.add(self.user)

    async def hear(self) -> None:
        data = b""
        while True:
            await self.reads.wait()
            got = await self.stream.receive_some(512)
            if not got:
                return
            *lines, data = (data + got).split(b"\n")
            for line in lines:
                self.line(ASKED.sub("", line.decode("latin-1").rstrip("\r")))

    def line(self, line: str) -> None:
        if line == f"err: unknown command: /sync{self.syncs}":
            self.synced.set()
            return
        for pattern, name in LINES.items():
            if match := re.fullmatch(pattern, line):
                getattr(self, name)(*match.groups())
                return
        raise AssertionError(line)

    def on_nothing(self) -> None: ...

    def on_in(self, nick: str) -> None:
        self.members = None  # of its own changes it hears nothing else
        self.logged_in(f"a.{nick.casefold()}", nick)

    def on_out(self, nick: str) -> None:
        self.members = None
        self.logged_in("", nick)

    def on_nick(self, nick: str) -> None:
        self.members = None
        self.nick = nick

    def on_displaced(self) -> None:
        self.on_nick("anonymous")

    def on_welcome(self, room: str) -> None:
        self.rooms, self.heard, self.members = {room}, [], None

    def on_departed(self) -> None:
        self.rooms = set()

    def on_members(self, nicks: str) -> None:
        members = Counter(nicks.split(", "))
        assert self.members in (None, members), self.name
        self.members = members

    def on_joined(self, nick: str) -> None:
        self.moves(nick, 1)

    def on_left(self, nick: str) -> None:
        self.moves(nick, -1)

    def on_renamed(self, old: str, nick: str) -> None:
        assert old != nick, self.name
        self.moves(old, -1)
        self.moves(nick, 1)

    def on_told(self, text: str) -> None:
        self.told.append(text)

    def on_copy(self, text: str) -> None:
        if text not in self.said:  # else it is the answer
            self.told.append(text)

    def on_said(self, text: str) -> None:
        assert text not in self.heard, (self.name, text)
        if text not in self.said:
            self.heard.append(text)
        else:
            assert self.repeats, (self.name, text)

    def on_acted(self, text: str) -> None:
        if text not in self.said:
            self.on_said(text)

    def moves(self, nick: str, change: int) -> None:
        if self.members is not None:
            self.members[nick] += change
            assert self.members[nick] >= 0, (self.name, nick)
            assert nick == "anonymous" or self.members[nick] <= 1, (self.name, nick)
            if not self.members[nick]:
                del self.members[nick]

    def stall(self) -> None:
        self.reads = trio.Event()
        self.whole, self.repeats, self.members = False, True, None

    async def sync(self) -> None:
        self.syncs += 1
        self.synced = trio.Event()
        await self.send(f"/sync{self.syncs}\n".encode())
        if not self.machine.failures:
            await self.synced.wait()

    async def ask(self, op: str, what: str, text: str = "") -> None:
        self.said.add(text.rstrip("x"))
        lines = {
            "login": f"/login {what}\n{PASSWORD}",
            "wrong": f"/login {what}\nsomething else",
            "logout": "/logout",
            "register": f"/register\n{PASSWORD}\n{PASSWORD}",
            "delete": f"/account delete\n{PASSWORD}",
            "nick": f"/nick {what}",
            "join": f"/join {what}",
            "leave": "/leave",
            "say": f"/msg {text}",
            "act": f"/me {text}",
            "topic": f"/topic {text}",
            "tell": f"/tell {what} {text}",
            "who": "/who",
        }
        await self.send(f"{lines[op]}\n".encode())

    async def quit(self) -> None:
        self.over = True
        await self.send(b"/quit\n")
        await self.synced.wait()

    def check_room(self) -> None:
        for room in self.rooms:
            log = [text for text in self.machine.texts_of(room) if text not in self.said]
            assert self.heard == (log[-len(self.heard) :] if self.heard else []), self.name
            if self.members is not None:
                assert self.members == Counter(self.machine.members(room).values()), self.name


class OnWebSocket(Device):
    """One that is a program, and may come back."""

    token = ""

    async def connect(self) -> None:
        self.members: dict[str, dict[str, str] | None] = {}
        self.at: dict[str, int] = {}
        self.labels: dict[str, Asked] = {}
        self.number = 0
        await self._open()
        self.user, self.token = self.client.hello["client"], self.client.hello["token"]
        self.machine.known.add(self.user)

    async def _open(self) -> None:
        await self.dial()
        self.away = False
        self.labels.clear()
        self.client = DocumentClient(self.stream)
        await self.client.open()
        self.machine.nursery.start_soon(self.listen)

    async def hear(self) -> None:
        client = self.client
        while True:
            await self.reads.wait()
            document = check(await client.receive())
            if client is self.client:
                self.document(document)

    def document(self, got: dict) -> None:
        what = None
        if (label := got.get("id")) is not None:
            assert next(iter(self.labels)) == label or not self.whole, (self.name, got)
            what = self.labels.pop(label)
        getattr(self, f"on_{got['type']}")(got, what)

    def on_done(self, _: dict, what: Asked | None) -> None:
        if what == ("sync", "", ""):
            self.synced.set()

    def on_said(self, got: dict, what: Asked | None) -> None:
        assert got["position"] == self.at[got["room"]] + 1, (self.name, got)
        self.at[got["room"]] = got["position"]
        assert what is None or got["text"] == what[2]

    on_acted = on_topic_set = on_said

    def on_joined(self, got: dict, _: Asked | None) -> None:
        if (members := self.members[got["room"]]) is not None:
            assert got["author"] not in members, (self.name, got)
            members[got["author"]] = got["nick"]

    def on_left(self, got: dict, _: Asked | None) -> None:
        if (members := self.members[got["room"]]) is not None:
            assert got["author"] in members, (self.name, got)
            del members[got["author"]]

    def on_renamed(self, got: dict, _: Asked | None) -> None:
        if (members := self.members[got["room"]]) is not None:
            assert members[got["author"]] == got["old"], (self.name, got)
            members[got["author"]] = got["nick"]

    def on_members_listed(self, got: dict, what: Asked | None) -> None:
        self.list(got["room"], got["members"], is_answer=what is not None)

    def on_welcomed(self, got: dict, _: Asked | None) -> None:
        room = got["room"]
        self.rooms.add(room)
        self.at[room], self.members[room] = got["position"], None
        self.list(room, got["members"], is_answer=False)

    def on_departed(self, got: dict, _: Asked | None) -> None:
        self.rooms.discard(got["room"])
        del self.members[got["room"]], self.at[got["room"]]

    def on_logged_in(self, got: dict, _: Asked | None) -> None:
        self.logged_in(got["person"], got["nick"])

    def on_logged_out(self, got: dict, _: Asked | None) -> None:
        self.logged_in("", got["nick"])

    def on_nick_taken(self, got: dict, _: Asked | None) -> None:
        self.nick = got["nick"]

    def on_notice(self, got: dict, _: Asked | None) -> None:
        assert "whose owner has logged in" in got["text"]
        self.nick = "anonymous"

    def on_told(self, got: dict, what: Asked | None) -> None:
        if what is None:
            self.told.append(got["text"])

    def on_resumed(self, got: dict, _: Asked | None) -> None:
        self.nick = got["nick"]
        self.rooms = {room["room"] for room in got["rooms"]}
        for room in self.rooms:
            self.members[room] = None

    def on_refusal(self, *_: object) -> None: ...

    on_goodbye = on_ended = on_refusal

    def list(self, room: str, members: list[dict], *, is_answer: bool) -> None:
        listed = {member["client"]: member["nick"] for member in members}
        assert len(listed) == len(members), (self.name, members)
        before = self.members[room]
        assert not is_answer or before is None or before == listed, (self.name, before, listed)
        self.members[room] = listed

    def stall(self) -> None:
        self.reads = trio.Event()
        self.whole = False

    async def _ask(self, what: Asked, document: dict[str, object]) -> None:
        self.number += 1
        self.labels[str(self.number)] = what
        await self.send(frame({**document, "id": str(self.number)}))

    async def sync(self) -> None:
        self.synced = trio.Event()
        await self._ask(("sync", "", ""), {"type": "ping"})
        if not self.machine.failures:
            await self.synced.wait()

    async def ask(self, op: str, what: str, text: str = "") -> None:
        documents: dict[str, dict[str, object]] = {
            "login": {"type": "login", "name": what, "password": PASSWORD},
            "wrong": {"type": "login", "name": what, "password": "something else"},
            "logout": {"type": "logout"},
            "register": {"type": "register", "password": PASSWORD},
            "delete": {"type": "delete_account", "password": PASSWORD},
            "nick": {"type": "take_nick", "nick": what},
            "join": {"type": "join", "room": what},
            "leave": {"type": "leave", "room": what},
            "say": {"type": "say", "room": what, "text": text},
            "act": {"type": "act", "room": what, "text": text},
            "topic": {"type": "set_topic", "room": what, "text": text},
            "tell": {"type": "tell", "nick": what, "text": text},
            "who": {"type": "list_members", "room": what},
        }
        await self._ask((op, what, text), documents[op])

    async def quit(self) -> None:
        self.over = True
        self.synced = trio.Event()
        await self.send(frame({"type": "quit"}))
        await self.synced.wait()

    async def lose(self) -> None:
        self.away = True
        self.whole = False
        self.reads.set()
        await self.stream.aclose()
        user = self.machine.state.users[self.user]
        await self.machine.until(lambda: user.detached is not None)

    async def come_back(self) -> None:
        await self._open()
        about = {"client": self.user, "token": self.token, "positions": self.at}
        await self._ask(("resume", "", ""), {"type": "resume", **about})

    def check_room(self) -> None:
        for room in () if self.away else self.rooms:
            assert self.at[room] == self.machine.state.rooms[room].position, self.name
            assert self.members[room] == self.machine.members(room), self.name


# --- what they do ---------------------------------------------------------------------------------

rooms = st.sampled_from(ROOMS)
nicks = st.sampled_from(OTHERS)
owned = st.sampled_from((*OWNED, *OWNED, *OTHERS))
who = st.integers(0, DEVICES - 1)  # of those who are there
ops = st.one_of(
    st.tuples(st.sampled_from(["say", "say", "act", "topic", "who", "leave"]), rooms),
    st.tuples(st.just("join"), rooms),
    st.tuples(st.just("join"), rooms),
    st.tuples(st.just("login"), owned),
    st.tuples(st.just("login"), owned),
    st.tuples(st.just("wrong"), owned),
    st.tuples(st.sampled_from(["logout", "register"]), st.just("")),
    st.tuples(st.just("nick"), nicks | st.sampled_from(OWNED)),
    st.tuples(st.just("tell"), owned),
)
some = st.lists(ops, min_size=1, max_size=4)
SPEAKS = ("say", "act", "topic", "tell")


class PersonsMachine(RuleBasedStateMachine):
    """A chat, its accounts, and devices."""

    def __init__(self) -> None:
        super().__init__()
        self.sound = True
        self.errors: list[str] = []
        self.failures: list[Exception] = []  # of what the devices hear
        self.devices: list[Device] = []
        self.known: set[str] = set()  # the ids of all users so far
        self.people = FakePeople()
        self.texts = self.numbers = 0
        self.sockets: list[trio.socket.SocketType] = []
        logger = logging.getLogger("trio_chat")
        make = SocketLink.__init__

        def with_a_small_buffer(link: SocketLink, *arguments) -> None:
            make(link, *arguments)
            link._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2_048)

        @asynccontextmanager
        async def people_of_the_test(*_: object, **__: object):
            yield self.people

        self.patches = [
            mock.patch.object(logger, "error", self._note_error),
            mock.patch.object(opening, "_open_people", people_of_the_test),
            mock.patch.object(Settings, "keeps_accounts", new=True),
            mock.patch.object(SocketLink, "__init__", with_a_small_buffer),
        ]
        for patch in self.patches:
            patch.start()
        self.live = LiveRun()
        self.nursery = self.live.nursery
        try:
            self.do(self._open)
        except BaseException:
            self._stop_patches()  # Hypothesis tears down only what has been set up
            raise

    def _stop_patches(self) -> None:
        for patch in self.patches:
            patch.stop()

    def _note_error(self, text: str, *_: object, **more: object) -> None:
        self.errors.append(f"{text}: {more}")

    def do(self, function, *arguments: object) -> None:
        async def bounded() -> None:
            with trio.fail_after(PATIENCE):
                await function(*arguments)

        self.sound = False
        self.live.call(bounded)
        for failure in self.failures:
            raise failure
        self.sound = True

    async def until(self, holds) -> None:
        while not holds():  # noqa: ASYNC110 - sockets bring things by themselves
            await trio.sleep(0.0005)  # until the system has got round to it

    # --- the chat

    @property
    def state(self):
        return self.chat._hub.state

    async def _open(self) -> None:
        self.people.goes_on.set()
        for nick in OWNED:
            self.people.add(nick)
        self.chat = await self.nursery.start(self._run_chat, None)
        [(_, self.port)] = await self.chat.listen(host=HOST, port=0)

    async def _run_chat(self, handover, task_status) -> None:
        self.over = over = trio.Event()
        async with AsyncExitStack() as stack:
            if handover is None:
                opened = open_chat(Settings(**SETTINGS))
            else:
                opened = succeed(handover, Settings(**SETTINGS))
            task_status.started(await stack.enter_async_context(opened))
            await over.wait()

    @rule()
    def upgrade(self) -> None:
        self.do(self._upgrade)

    async def _upgrade(self) -> None:
        over, old = self.over, self.chat
        handover = await hand_over(old)
        self.chat = await self.nursery.start(self._run_chat, handover)
        over.set()

    # --- truth

    def members(self, room: str) -> dict[str, str]:
        """The persons in a room with their nicks, as the devices themselves know them."""
        return {one.person: one.nick for one in self.devices if room in one.rooms}

    def texts_of(self, room: str) -> list[str]:
        """List what was said in a room, as its log has it."""
        history = self.chat._log._histories.get(room)
        entries = () if history is None else history.entries
        return [entry.text.rstrip("x") for entry in entries if isinstance(entry, Said | Acted)]

    # --- devices

    def device(self, who: int) -> Device:
        here = [one for one in self.devices if not one.away]
        return (here or self.devices)[who % len(here or self.devices)]

    def text(self, padding: str = "") -> str:
        self.texts += 1
        return f"t{self.texts}{padding}"

    async def _connect(self, kind: type[Device]) -> None:
        self.numbers += 1
        device = kind(self.numbers, self)
        await device.connect()
        self.devices.append(device)

    async def _ask(self, device: Device, ops: list[tuple[str, str]]) -> None:
        for op, what in ops if not device.away else ():
            await device.ask(op, what, *([self.text()] if op in SPEAKS else []))

    @initialize()
    def begin(self) -> None:
        for kind in (OnWebSocket, OnWebSocket, OnLines, OnWebSocket):
            self.do(self._connect, kind)
        for device, nick in zip(self.devices, ("john", "john", "john", "mary"), strict=True):
            self.do(self._ask, device, [("login", nick), ("join", "#a")])

    @precondition(lambda self: len(self.devices) < DEVICES)
    @rule(kind=st.sampled_from([OnLines, OnWebSocket]), ops=some)
    def connect(self, kind: type[Device], ops: list[tuple[str, str]]) -> None:
        self.do(self._connect, kind)
        self.do(self._ask, self.devices[-1], ops)

    @precondition(lambda self: self.devices)
    @rule(who=who, ops=some)
    def ask(self, who: int, ops: list[tuple[str, str]]) -> None:
        self.do(self._ask, self.device(who), ops)

    @precondition(lambda self: self.devices)
    @rule(one=who, other=who, ops=some, others=some)
    def ask_together(self, one: int, other: int, ops: list, others: list) -> None:
        async def both() -> None:
            await self._ask(self.device(one), ops)
            await self._ask(self.device(other), others)

        self.do(both)

    @precondition(lambda self: self.devices)
    @rule(who=who, stalls=st.sets(who, max_size=3), own=st.booleans())
    def flood(self, who: int, stalls: set[int], own: bool) -> None:  # noqa: FBT001 - Hypothesis draws it
        """Say so much that those who do not read fall behind: some, and perhaps the own devices."""

        async def say_a_lot() -> None:
            device = self.device(who)
            same = [one for one in self.devices if own and one.account == device.account]
            for other in (*map(self.device, stalls), *same):
                if other is not device and not other.away and other.reads.is_set():
                    other.stall()
            for room in () if device.away else sorted(device.rooms):
                for _ in range(FLOOD):
                    await device.ask("say", room, self.text(PADDING))
            if not device.away and device.reads.is_set() and self.people.goes_on.is_set():
                await device.sync()

        self.do(say_a_lot)

    @precondition(lambda self: self.devices)
    @rule(who=who)
    def read_or_not(self, who: int) -> None:
        async def read_or_not() -> None:
            device = self.device(who)
            if device.away or not device.reads.is_set():
                device.reads.set()
            else:
                device.stall()

        self.do(read_or_not)

    @rule()
    def let_checks_wait_or_go_on(self) -> None:
        async def wait_or_go_on() -> None:
            if self.people.goes_on.is_set():
                self.people.goes_on = trio.Event()
            else:
                self.people.goes_on.set()

        self.do(wait_or_go_on)

    @rule(nick=nicks)
    def make_an_account(self, nick: str) -> None:
        """The operator makes one of a nick, whoever has that now."""
        self.people.add(nick)

    @precondition(lambda self: self.devices)
    @rule(who=who)
    def break_or_come_back(self, who: int) -> None:
        device = self.devices[who % len(self.devices)]
        if isinstance(device, OnWebSocket) and device.away:
            self.do(device.come_back)
        elif isinstance(device, OnWebSocket):
            self.settle()
            self.do(device.lose)

    @precondition(lambda self: len(self.devices) > 1)
    @rule(one=who, other=who, nick=nicks)
    def displace(self, one: int, other: int, nick: str) -> None:
        """The owner of a new account logs in while somebody else has its nick."""
        self.settle()
        self.do(self._ask, self.device(one), [("nick", nick)])
        self.do(self._sync)
        self.people.add(nick)
        self.do(self._ask, self.device(other), [("login", nick)])
        self.settle()

    @precondition(lambda self: self.devices)
    @rule(who=who, how=st.sampled_from(["quit", "kick"]))
    def leave(self, who: int, how: str) -> None:
        self.settle()
        self.do(self._leave, self.devices[who % len(self.devices)], how)

    async def _leave(self, device: Device, how: str) -> None:
        if device.away or how == "kick":
            device.over = True
            device.synced = trio.Event()
            assert await self.chat.kick(device.user, "enough")
            if not device.away:
                await device.synced.wait()
        else:
            await device.quit()
        await self.until(lambda: device.user not in self.state.users)
        self.devices.remove(device)

    @precondition(lambda self: self.devices)
    @rule(who=who)
    def delete(self, who: int) -> None:
        """Delete an account, with all its devices logged in."""
        self.settle()
        device = self.device(who)
        if device.away or not device.account:
            return
        account = device.account
        self.do(self._ask, device, [("delete", "")])
        self.do(self._sync)
        for other in self.devices:
            if other.away and other.account == account:
                other.logged_in("", "anonymous")
        assert not any(other.account == account for other in self.devices)
        self.settle()

    @precondition(lambda self: self.devices)
    @rule(who=who, other=who)
    def tell(self, who: int, other: int) -> None:
        """A private message reaches each device of its reader, and the sender's others."""
        self.settle()
        sender, reader = self.device(who), self.device(other)
        if sender.away or reader.away or reader.nick == "anonymous":
            return
        for device in self.devices:
            device.told.clear()
        text = self.text()
        self.do(sender.ask, "tell", reader.nick, text)
        self.do(self._sync)
        for device in self.devices:
            if device is sender:
                # On lines it reads that it is told something by itself.
                assert len(device.told) <= (sender.person == reader.person), device.name
            elif not device.away:
                gets = device.person in (sender.person, reader.person)
                device.check_told([text] if gets else [])

    # --- when all is quiet

    async def _sync(self) -> None:
        for _ in range(2):  # all that is asked is answered, and then all of that has been read
            async with trio.open_nursery() as nursery:
                for device in self.devices:
                    if not device.away:
                        nursery.start_soon(device.sync)

    async def _settle(self) -> None:
        self.people.goes_on.set()
        for device in self.devices:
            device.reads.set()
        await self._sync()
        for device in self.devices:
            if not device.away:
                for room in device.rooms:
                    await device.ask("who", room)
        await self._sync()
        self._check()
        for device in self.devices:
            device.whole = not device.away

    @rule()
    def settle(self) -> None:
        self.do(self._settle)

    def _check(self) -> None:
        state, claims = self.state, self.chat._log.claims
        accounts: dict[str, set[str]] = {}
        for device in self.devices:
            if device.account:
                accounts.setdefault(device.account, set()).add(device.user)
        assert {a.id: {u.id for u in a.users} for a in state.accounts.values()} == accounts
        assert claims._devices == accounts
        assert claims._accounts == {one.user: one.account for one in self.devices if one.account}
        called = {one.nick.casefold(): one for one in self.devices if one.nick != "anonymous"}
        assert state.nicks.keys() == called.keys()
        assert claims._keys.keys() == {one.person for one in called.values()}
        for nick, user in state.nicks.items():
            assert user.nick.casefold() == nick
            assert state.users[user.id] is user
        assert state.users.keys() == {one.user for one in self.devices}
        there = {room for device in self.devices for room in device.rooms}
        assert state.rooms.keys() == there
        for name, room in state.rooms.items():
            listed = room.listed(99)
            assert {member.client: member.nick for member in listed.members} == self.members(name)
            assert (len(listed.members), listed.more) == (len(self.members(name)), 0)
        for device in self.devices:
            user = state.users[device.user]
            assert (user.nick, user.person) == (device.nick, device.person), device.name
            assert user.rooms.keys() == device.rooms, device.name
            device.check_room()

    # --- always

    @invariant()
    def nothing_goes_wrong(self) -> None:
        assert self.errors == []

    def teardown(self) -> None:
        try:
            if self.sound:
                self.settle()
                for device in list(self.devices):
                    self.do(self._leave, device, "quit")
                state, claims = self.state, self.chat._log.claims
                tables = state.users, state.sessions, state.nicks, state.accounts, state.rooms
                held = claims._holders, claims._keys, claims._accounts, claims._devices
                assert not any((*tables, *held, claims._members, claims._rooms))
        finally:
            self._stop_patches()
            try:
                self.live.close()
            finally:
                for sock in self.sockets:
                    sock._sock.close()  # Trio's own call needs its run, which has ended


TestPersons = PersonsMachine.TestCase
# Without shrinking, which takes longer than a test may: add Phase.shrink to look into a failure.
TestPersons.settings = settings(
    max_examples=TRIES,
    stateful_step_count=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
