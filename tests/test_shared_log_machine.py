"""Three chats on a shared log, and people who do whatever: in the end everyone knows the same.

A fold of the engine's order, a page long, says what each client of each chat is to be shown. When
all is quiet, every chat knows what the fold knows, and every client has been shown just that.

To try more of it: `TRIES=3000 pytest -o faulthandler_timeout=0 tests/test_shared_log_machine.py`.
"""

from __future__ import annotations

import logging
import math
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from unittest import mock

import trio
import trio.testing
from attrs import define, field
from documents import Closed, DocumentClient, frame
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_run import LiveRun
from shared_log import Engine, chat_on

from trio_chat import Chat, ChatClosed, Refused
from trio_chat.hub.outboxes import Outboxes
from trio_chat.protocol import events
from trio_chat.protocol.events import Entry
from trio_chat.testing import LineClient

TRIES = int(os.environ.get("TRIES", "100"))
CHATS = 3
PEOPLE = 7
LOBBY, *_ = ROOMS = ("#lobby", "#a", "#b")
NICKS = ("john", "JOHN", "mary", "rnary", "jack")  # two pairs of them look alike
SETTINGS = {
    "keep_rooms": (LOBBY,),
    "max_rooms": 2,
    "message_chars": 100,
    "line_bytes": 400,
    # A client that does not read falls behind after a few messages. The log has all of them.
    "outbox_bytes": 1_500,
    "recent_entries": 3,
    "resume_grace": 80_000.0,
    "stall_timeout": 80_000.0,
}
LISTED = 4  # members, in a welcome of that size
FLOOD = 25
PADDING = "x" * 60
STEP_SECONDS = 5.0
MOST_STEPS = 200  # until all is quiet
FAREWELL = "> the server is shutting down"

# --- what the engine's order comes to -------------------------------------------------------------


@define
class Truth:
    """All that is known once the entries are folded, and all that each user is to be shown.

    The latter is a list of tuples: whether it is the user's own doing, the kind, and the details.
    """

    nicks: dict[str, str] = field(factory=dict)
    holders: dict[str, str] = field(factory=dict)
    rooms: dict[str, list[str]] = field(factory=dict)
    members: dict[str, list[str]] = field(factory=lambda: {room: [] for room in ROOMS})
    topics: dict[str, str] = field(factory=lambda: dict.fromkeys(ROOMS, ""))
    positions: dict[str, int] = field(factory=lambda: dict.fromkeys(ROOMS, 0))
    shown: dict[str, list[tuple]] = field(factory=dict)
    # The positions of a room when a user came into it: the last time, and the first time.
    since: dict[tuple[str, str], int] = field(factory=dict)
    first: dict[tuple[str, str], int] = field(factory=dict)
    # Each user's entries, texts, and private messages from others.
    entries: Counter[str] = field(factory=Counter)
    texts: dict[str, list[str]] = field(factory=dict)
    told: dict[str, list[str]] = field(factory=dict)

    def fold(self, entry: Entry) -> None:
        user = entry.author
        self.entries[user] += 1
        here = self.rooms.setdefault(user, [])
        match entry:
            case events.Said() | events.Acted() | events.TopicSet():
                self._keep(entry)
            case events.Told(to=to, text=text):
                self.told.setdefault(to, []).append(text)
            case events.NickChanged(name=name):
                assert all(self.holders.get(key, user) == user for key in name.keys)
                self._free(user)
                self.holders.update(dict.fromkeys(name.keys, user))
                old, self.nicks[user] = self.nick(user), name.display
                for room in here if old != name.display else ():
                    self._show(room, user, "renamed", old, name.display)
                self._show_to(user, "called", name.display)
            case events.Entered(room=room, leaving=leaving):
                assert room not in here
                if leaving is not None:
                    self._leave(user, leaving)
                self._show(room, user, "joined", self.nick(user))
                here.append(room)
                self.members[room].append(user)
                self.since[user, room] = self.positions[room]
                self.first.setdefault((user, room), self.positions[room])
                nicks = sorted(map(self.nick, self.members[room]))
                about = self.topics[room], self.positions[room], len(nicks), nicks[:LISTED]
                self._show_to(user, "welcomed", room, *about)
            case events.Exited(room=room):
                self._leave(user, room)
                self._show_to(user, "departed", room)
            case events.Gone():
                for room in list(here):
                    self._leave(user, room)
                self._free(user)
                self.nicks.pop(user, None)

    def nick(self, user: str) -> str:
        return self.nicks.get(user, "anonymous")

    def _keep(self, entry: events.PersistentEntry) -> None:
        room, user = entry.room, entry.author
        assert user in self.members[room]
        assert entry.position == self.positions[room] + 1
        self.positions[room] = entry.position
        self.texts.setdefault(user, []).append(entry.text)
        if isinstance(entry, events.TopicSet):
            self.topics[room] = entry.text
            user = ""  # topics are for their authors too
        self._show(room, user, KINDS[type(entry)], entry.nick, entry.text, entry.position)

    def _free(self, user: str) -> None:
        self.holders = {key: holder for key, holder in self.holders.items() if holder != user}

    def _leave(self, user: str, room: str) -> None:
        self.rooms[user].remove(room)
        self.members[room].remove(user)
        del self.since[user, room]
        self._show(room, user, "left", self.nick(user))

    def _show(self, room: str, user: str, kind: str, *what: object) -> None:
        for member in self.members[room]:
            self.shown.setdefault(member, []).append((member == user, kind, room, *what))

    def _show_to(self, user: str, kind: str, *what: object) -> None:
        self.shown.setdefault(user, []).append((False, kind, *what))

    def existing(self) -> dict[str, tuple]:
        """The rooms that exist: topic, position and members."""
        return {
            room: (self.topics[room], self.positions[room], sorted(members))
            for room, members in self.members.items()
            if members or room == LOBBY
        }


KINDS = {
    events.Said: "said",
    events.Acted: "acted",
    events.TopicSet: "topic_set",
    events.Joined: "joined",
    events.Left: "left",
    events.Renamed: "renamed",
}
KEPT = ("said", "acted", "topic_set")

# --- those who use it -----------------------------------------------------------------------------


class Member(ABC):
    """A client of one of the chats, with its commands and all that it has heard.

    `whole` is false once it has read too slowly, `broke` true once its connection broke. Then it
    may have missed joins and leaves, and still gets each persistent entry once. `cut` is true once
    its chat has ended, which may be in the middle of anything.
    """

    # It hears its own words; its commands are answered among what it hears; it hears the last of
    # that when it leaves.
    mirrors = False
    hears_answers = True
    hears_out = True

    def __init__(self, number: int, chat: Chat, nursery: trio.Nursery) -> None:
        self.name = f"member {number}"
        self.chat = chat
        self.nursery = nursery
        self.user = ""
        self.reads = trio.Event()
        self.reads.set()
        self.heard: list[tuple] = []
        self.told: list[str] = []
        self.asked = self.refused = self.informed = 0
        self.whole = True
        self.broke = self.cut = False
        self.over = False

    @abstractmethod
    async def connect(self) -> None: ...

    @abstractmethod
    async def ask(self, *ops: tuple[str, ...]) -> None: ...

    @abstractmethod
    async def end(self, how: str) -> None: ...

    def shown(self, truth: Truth) -> list[tuple]:
        """All that it is to be shown, in the form in which it notes what it hears."""
        return [
            tuple(what)
            for own, *what in truth.shown.get(self.user, [])
            if (self.mirrors or not own)
            and (self.hears_answers or what[0] not in ("called", "welcomed", "departed"))
        ]

    def check(self, truth: Truth, *, to_the_end: bool) -> None:
        shown = self.shown(truth)
        if self.whole and not self.broke:
            all_of_it = to_the_end or (self.hears_out and not self.cut)
            assert self.heard == (shown if all_of_it else shown[: len(self.heard)]), self.name
        kept = self.kept(self.heard)
        assert max(Counter(kept).values(), default=1) == 1, self.name
        self.check_order(kept, truth)
        if not self.broke:
            assert set(kept) <= set(self.kept(shown)), self.name
        if to_the_end:
            for room in truth.rooms.get(self.user, ()):
                self.check_all_of(room, truth, kept)
            if not self.broke:
                assert Counter(self.told) == Counter(truth.told.get(self.user, ())), self.name
                answered = self.refused + self.informed
                assert self.asked == answered + truth.entries[self.user], self.name
        assert max(Counter(self.told).values(), default=1) == 1, self.name

    def kept(self, heard: list[tuple]) -> list[tuple]:
        """The identities of persistent entries: room and position."""
        return [(what[1], what[-1]) for what in heard if what[0] in KEPT]

    def check_order(self, kept: list[tuple], truth: Truth) -> None:
        for room in ROOMS:
            positions = [position for name, position in kept if name == room]
            assert positions == sorted(positions), self.name
            assert not positions or positions[0] > truth.first[self.user, room], self.name

    def check_all_of(self, room: str, truth: Truth, kept: list[tuple]) -> None:
        """All that was said since it came was heard, in its order, and once."""
        since = self.since(room, truth, kept)
        due = [
            (room, what[-1])
            for own, *what in truth.shown[self.user]
            if what[0] in KEPT and what[1] == room and what[-1] > since
            if self.mirrors or not own
        ]
        assert [one for one in kept if one[0] == room and one[1] > since] == due, self.name

    def since(self, room: str, truth: Truth, kept: list[tuple]) -> int:
        """The position after which it is to have heard everything."""
        del kept
        return truth.since[self.user, room]


class OnStream(Member):
    """One over a stream, which takes nothing but what the client reads."""

    async def open_stream(self) -> None:
        to_chat, at_chat = trio.testing.memory_stream_one_way_pair()
        from_chat, to_us = trio.testing.lockstep_stream_one_way_pair()
        self.stream = trio.StapledStream(to_chat, to_us)
        self.scope = trio.CancelScope()
        self.nursery.start_soon(self._serve, trio.StapledStream(from_chat, at_chat), self.scope)

    async def _serve(self, stream: trio.StapledStream, scope: trio.CancelScope) -> None:
        with scope, suppress(ChatClosed):
            await self.chat.serve_stream(stream, peer=self.name)

    async def listen(self, stream: trio.StapledStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, Closed):
            await self.hear()
        await stream.aclose()

    @abstractmethod
    async def hear(self) -> None: ...

    async def send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)

    async def drop(self, how: str) -> None:
        self.broke = True
        if how == "lost":
            self.scope.cancel("the connection is lost")
        else:
            await self.stream.aclose()


class LineMember(OnStream):
    async def connect(self) -> None:
        await self.open_stream()
        self.client = LineClient(self.stream)
        self.nursery.start_soon(self.listen, self.stream)
        await trio.testing.wait_all_tasks_blocked()
        [self.user] = [s.user.id for s in self.chat._hub.state.sessions if s.link.peer == self.name]

    async def hear(self) -> None:
        while True:
            await self.reads.wait()
            line = await self.client.line()
            if not line:
                return
            if told := re.fullmatch(r"> \S+ \(to you\): (t\d+)", line):
                self.told.append(told[1])
            elif line.startswith("err: "):
                self.refused += 1
            elif line.startswith(("> in ", "> available rooms:", "> [", "> no messages found")):
                self.informed += 1
            elif line.startswith("> you missed "):
                assert self.chat._hub.state.stopping, line
            elif line not in (FAREWELL, "> sad to see you go =("):
                self.heard.append(("line", line))

    async def ask(self, *ops: tuple[str, ...]) -> None:
        self.asked += len(ops)
        await self.send("".join(f"{line_of(*op)}\n" for op in ops).encode())

    async def end(self, how: str) -> None:
        self.over = True
        if how == "quit":
            await self.send(b"/quit\n")
        elif how == "end":
            await self.stream.send_eof()
        else:
            await self.drop(how)

    def shown(self, truth: Truth) -> list[tuple]:
        return [("line", line) for what in super().shown(truth) for line in lines_of(*what)]

    def kept(self, heard: list[tuple]) -> list[tuple]:
        """Here it is the text. Topics are left out: each join repeats one."""
        found = [re.fullmatch(r"> (?:\* \S+|\S+:) (t\d+)x*", line) for _, line in heard]
        return [("", match[1]) for match in found if match]

    def check_order(self, kept: list[tuple], truth: Truth) -> None:
        """Nothing: a text does not tell its place."""

    def check_all_of(self, room: str, truth: Truth, kept: list[tuple]) -> None:
        since = truth.since[self.user, room]
        due = [
            ("", what[3].rstrip("x"))
            for own, *what in truth.shown[self.user]
            if what[0] in ("said", "acted") and what[1] == room and what[-1] > since and not own
        ]
        assert [one for one in kept if one in due] == due, self.name


def line_of(op: str, *what: str) -> str:
    match op, *what:
        case "say", _, text:
            return f"/msg {text}"
        case "act", _, text:
            return f"/me {text}"
        case "topic", _, text:
            return f"/topic {text}"
        case "leave" | "who" | "rooms", *_:
            return f"/{op}"
        case "history", _:
            return "/history 1"
        case _:
            return f"/{op} {' '.join(what)}"


def lines_of(kind: str, *what: str) -> list[str]:
    match kind, *what:
        case "said", _, nick, text, _:
            return [f"> {nick}: {text}"]
        case "acted", _, nick, text, _:
            return [f"> * {nick} {text}"]
        case "topic_set", room, _, text, _:
            return [f"> topic of {room}: {text}"]
        case "joined", _, nick:
            return [f"> {nick} joined the room"]
        case "left", _, nick:
            return [f"> {nick} has left the room"]
        case "renamed", _, old, nick:
            return [f"> {old} is now known as {nick}"]
        case "called", nick:
            return [f"> all right, I will call you {nick}"]
        case "departed", room:
            return [f"> you have left {room}"]
        case "welcomed", room, topic, *_:
            return [f"> welcome to {room}", *([f"> topic of {room}: {topic}"] if topic else [])]
    raise AssertionError(kind)


class DocumentMember(OnStream):
    mirrors = True

    async def connect(self) -> None:
        self.positions: dict[str, int] = {}
        # Rooms of which it may not have known, when its connection broke, that it was in them.
        self.unsure: set[str] = set()
        self.labels = 0
        await self._open()
        self.hello = self.client.hello
        self.user = self.hello["client"]

    async def _open(self) -> None:
        self.away = False
        self.waiting: list[int] = []
        await self.open_stream()
        self.client = DocumentClient(self.stream)
        await self.client.open()
        self.nursery.start_soon(self.listen, self.stream)

    async def hear(self) -> None:
        client = self.client
        while True:
            await self.reads.wait()
            got = await client.receive()
            if client is not self.client:
                return  # it has come back on another connection
            if (label := got.get("id")) is not None:
                assert self.waiting.index(int(label)) == 0 or not self.whole, self.name
                self.waiting.remove(int(label))
                if got["type"] == "refusal":
                    self.refused += 1
                elif got["type"] in ("members_listed", "rooms_listed", "entries_shown"):
                    self.informed += 1
            match got:
                case {"type": "said" | "acted" | "topic_set" as kind, "room": room}:
                    self.heard.append((kind, room, got["nick"], got["text"], got["position"]))
                    self.positions[room] = got["position"]
                case {"type": "joined" | "left" as kind, "room": room, "nick": nick}:
                    self.heard.append((kind, room, nick))
                case {"type": "renamed", "room": room, "old": old, "nick": nick}:
                    self.heard.append(("renamed", room, old, nick))
                case {"type": "nick_taken", "nick": nick}:
                    self.heard.append(("called", nick))
                case {"type": "departed", "room": room}:
                    self.heard.append(("departed", room))
                    self.positions.pop(room, None)
                case {"type": "welcomed", "room": room, "members": members}:
                    nicks = [member["nick"] for member in members]
                    count = len(nicks) + got["more"]
                    about = got["topic"], got["position"], count, nicks[:LISTED]
                    self.heard.append(("welcomed", room, *about))
                    self.positions[room] = got["position"]
                    self.unsure.discard(room)
                case {"type": "told", "text": text} if label is None:  # else it is the answer
                    self.told.append(text)
                case {"type": "missed"}:
                    assert self.chat._hub.state.stopping, "nothing was to be missed"

    async def ask(self, *ops: tuple[str, ...]) -> None:
        data = b""
        for op in ops:
            self.asked += 1
            self.labels += 1
            self.waiting.append(self.labels)
            data += frame({**document_of(*op), "id": str(self.labels)})
        await self.send(data)

    async def end(self, how: str) -> None:
        if how in ("lost", "drop"):
            self.away = True
            await self.drop(how)
            return
        self.over = True
        await self.send(frame({"type": "quit"}))

    async def come_back(self) -> None:
        self.unsure |= set(ROOMS) - self.positions.keys()
        await self._open()
        self.labels += 1
        self.waiting.append(self.labels)
        about = {"client": self.user, "token": self.hello["token"], "positions": self.positions}
        await self.send(frame({"type": "resume", **about, "id": str(self.labels)}))

    def since(self, room: str, truth: Truth, kept: list[tuple]) -> int:
        since = super().since(room, truth, kept)
        if room not in self.unsure:
            return since
        # It could not ask for what was lost with the connection.
        heard = [position for name, position in kept if name == room and position > since]
        return min(heard, default=truth.positions[room] + 1) - 1

    def check(self, truth: Truth, *, to_the_end: bool) -> None:
        super().check(truth, to_the_end=to_the_end)
        if to_the_end:
            assert self.waiting == [], self.name


def document_of(op: str, *what: str) -> dict[str, object]:
    match op, *what:
        case "say" | "act", room, text:
            return {"type": op, "room": room, "text": text}
        case "topic", room, text:
            return {"type": "set_topic", "room": room, "text": text}
        case "nick", nick:
            return {"type": "take_nick", "nick": nick}
        case "tell", nick, text:
            return {"type": "tell", "nick": nick, "text": text}
        case "join" | "leave", room:
            return {"type": op, "room": room}
        case "who", room:
            return {"type": "list_members", "room": room}
        case "history", room:
            return {"type": "show_history", "room": room, "limit": 1}
        case "rooms", *_:
            return {"type": "list_rooms"}
    raise AssertionError(op)


class InProcessMember(Member):
    """One that asks one thing after the other, as a program does."""

    hears_answers = False
    hears_out = False

    async def connect(self) -> None:
        self.calls, self.next_calls = trio.open_memory_channel[tuple[str, ...]](math.inf)
        self.scope = trio.CancelScope()
        await self.nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        with self.scope, suppress(ChatClosed):
            async with self.chat.connect() as bot, trio.open_nursery() as nursery:
                self.user = bot.id
                nursery.start_soon(self._hear, bot)
                task_status.started()
                async for op in self.next_calls:
                    await self._perform(bot, *op)
                nursery.cancel_scope.cancel("it leaves")
        self.over = True

    async def _hear(self, bot) -> None:
        async for event in bot:
            await self.reads.wait()
            match event:
                case events.Said() | events.Acted() | events.TopicSet():
                    what = event.room, event.nick, event.text, event.position
                    self.heard.append((KINDS[type(event)], *what))
                case events.Joined(room=room, nick=nick) | events.Left(room=room, nick=nick):
                    self.heard.append((KINDS[type(event)], room, nick))
                case events.Renamed(room=room, old=old, nick=nick):
                    self.heard.append(("renamed", room, old, nick))
                case events.Told(text=text):
                    self.told.append(text)
                case events.Missed():
                    assert self.chat._hub.state.stopping, "nothing was to be missed"

    async def _perform(self, bot, op: str, *what: str) -> None:
        calls: dict[str, Callable[..., Awaitable[object]]] = {
            "nick": bot.take_nick,
            "join": bot.join,
            "leave": bot.leave,
            "say": lambda room, text: bot.say(text, room),
            "act": lambda room, text: bot.act(text, room),
            "topic": lambda room, text: bot.set_topic(text, room),
            "tell": bot.tell,
            "who": bot.members,
            "history": lambda room: bot.history(1, room=room),
            "rooms": lambda *_: bot.rooms(),
        }
        try:
            result = await calls[op](*what)
        except Refused:
            self.refused += 1
            return
        except ChatClosed:
            self.asked = -1  # which is never right, if the chat is there still
            return
        self.informed += op in ("who", "history", "rooms")
        if op in ("say", "act", "topic"):
            assert (result.room, result.text, result.author) == (*what, self.user)

    async def ask(self, *ops: tuple[str, ...]) -> None:
        self.asked += len(ops)
        for op in ops:
            self.calls.send_nowait(op)

    async def end(self, how: str) -> None:
        self.over = True
        if how == "quit":
            self.calls.close()
        else:
            self.broke = True
            self.scope.cancel("it is cancelled")


# --- what they do ---------------------------------------------------------------------------------

rooms, nicks = st.sampled_from(ROOMS), st.sampled_from(NICKS)
says = st.sampled_from(["say", "say", "say", "act", "topic", "who", "history"])
about_rooms = st.tuples(says, rooms)
ops = st.one_of(
    about_rooms,
    about_rooms,
    st.tuples(st.just("nick"), nicks),
    st.tuples(st.just("join"), rooms),
    st.tuples(st.just("join"), rooms),
    st.tuples(st.just("leave"), rooms),
    st.tuples(st.just("tell"), nicks),
    st.tuples(st.just("rooms"), rooms),
)
some = st.lists(ops, min_size=1, max_size=5)
places = st.integers(0, CHATS - 1)
who = st.integers(0, PEOPLE - 1)  # of those who are there
kinds = st.sampled_from([LineMember, DocumentMember, DocumentMember, InProcessMember])
DRAFTS = (events.NickChanged, events.Entered, events.Said, events.TopicSet, events.Told)


class ThreeChats(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = trio.testing.MockClock()
        self.live = LiveRun(self.clock)
        self.engine = Engine()
        self.chats: list[Chat | None] = [None] * CHATS
        self.scopes: list[trio.CancelScope] = [trio.CancelScope()] * CHATS
        self.over: list[trio.Event] = [trio.Event()] * CHATS
        self.ended: list[trio.Event] = [trio.Event()] * CHATS
        self.members: list[Member] = []
        self.gone: list[Member] = []
        self.texts = self.people = 0
        self.sound = True
        self.errors: list[str] = []
        self.patches = [
            mock.patch.object(Outboxes, "_fall_behind", self._note_slow(Outboxes._fall_behind)),
            mock.patch.object(logging.getLogger("trio_chat"), "error", self._note_error),
        ]
        for patch in self.patches:
            patch.start()
        for place in range(CHATS):
            self.do(self._start, place)

    def _note_slow(self, fall_behind):
        def fall_behind_and_tell(outboxes, session) -> None:
            for member in (*self.members, *self.gone):
                if member.user == session.user.id:
                    member.whole = False
            fall_behind(outboxes, session)

        return fall_behind_and_tell

    def _note_error(self, text: str, *_: object, **more: object) -> None:
        self.errors.append(f"{text}: {more}")

    def do(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        async def run() -> None:
            await function(*arguments)
            await trio.testing.wait_all_tasks_blocked()

        self.sound = False
        self.live.call(run)
        self.sound = True

    async def _let_pass(self, seconds: float) -> None:
        self.clock.autojump_threshold = 0
        await trio.sleep(seconds)  # by a clock that jumps
        self.clock.autojump_threshold = math.inf

    # --- chats

    async def _start(self, place: int) -> None:
        await self.live.nursery.start(self._run, place)

    async def _run(self, place: int, task_status: trio.TaskStatus[None]) -> None:
        self.scopes[place] = trio.CancelScope()
        self.over[place], self.ended[place] = trio.Event(), trio.Event()
        with self.scopes[place]:
            async with chat_on(self.engine, **SETTINGS) as self.chats[place]:
                task_status.started()
                await self.over[place].wait()
        self.ended[place].set()

    async def _stop(self, place: int, how: str) -> None:
        chat, self.chats[place] = self.chats[place], None
        if how == "stop":
            self.over[place].set()
        else:
            self.scopes[place].cancel("it is killed")
        self.clock.autojump_threshold = 0
        with trio.fail_after(3 * chat.settings.stop_grace):
            await self.ended[place].wait()
        self.clock.autojump_threshold = math.inf
        for member in (*self.members, *self.gone):
            member.cut |= member.chat is chat
        for member in [member for member in self.members if member.cut]:
            self._let_go(member)

    def _let_go(self, member: Member) -> None:
        self.members.remove(member)
        self.gone.append(member)

    def node(self, place: int):
        return self.chats[place]._log

    @rule(place=places, how=st.sampled_from(["stop", "stop", "kill"]))
    def stop_or_start(self, place: int, how: str) -> None:
        if self.chats[place] is None:
            self.do(self._start, place)
        else:
            self.do(self._stop, place, how)

    @rule(place=places)
    def stall_or_flow(self, place: int) -> None:
        if self.chats[place] is not None:
            node = self.node(place)
            if node.flows:
                node.stall()
            else:
                node.come_back()

    @rule(place=places, delay=st.sampled_from([0.0, 0.003, 0.01, 0.2]))
    def delay(self, place: int, delay: float) -> None:
        if self.chats[place] is not None:
            self.node(place).delay = delay

    @rule(refused=st.sets(st.sampled_from(DRAFTS)))
    def refuse(self, refused: set[type]) -> None:
        self.engine.refuses = lambda draft: type(draft) in refused

    @rule(seconds=st.sampled_from([0.004, 0.02, 0.1, 1.0]))
    def let_pass(self, seconds: float) -> None:
        self.do(self._let_pass, seconds)

    # --- members

    def member(self, who: int) -> Member:
        return self.members[who % len(self.members)]

    def text(self, padding: str = "") -> str:
        self.texts += 1
        return f"t{self.texts}{padding}"

    def written(self, ops: list[tuple[str, str]]) -> list[tuple[str, ...]]:
        """Each text is another one."""
        speaks = ("say", "act", "topic", "tell")
        return [(*op, self.text()) if op[0] in speaks else op for op in ops]

    async def _connect(self, place: int, kind: type[Member]) -> None:
        self.people += 1
        member = kind(self.people, self.chats[place], self.live.nursery)
        await member.connect()
        self.members.append(member)

    @initialize(first=st.lists(kinds, min_size=4, max_size=4))
    def begin(self, first: list[type[Member]]) -> None:
        for number, kind in enumerate(first):
            self.do(self._connect, number % CHATS, kind)
            self.do(self.members[-1].ask, ("nick", NICKS[number]), ("join", LOBBY))
        self.do(self._let_pass, 1.0)

    @precondition(lambda self: len(self.members) < PEOPLE)
    @rule(place=places, kind=kinds, room=rooms)
    def connect(self, place: int, kind: type[Member], room: str) -> None:
        if self.chats[place] is not None:
            self.do(self._connect, place, kind)
            self.do(self.members[-1].ask, ("join", room))

    @precondition(lambda self: self.members)
    @rule(who=who, ops=some)
    def ask(self, who: int, ops: list[tuple[str, str]]) -> None:
        self.do(self.member(who).ask, *self.written(ops))

    @precondition(lambda self: self.members)
    @rule(one=who, two=who, ops=some, others=some, seconds=st.sampled_from([0.0, 0.01]))
    def ask_together(self, one: int, two: int, ops: list, others: list, seconds: float) -> None:
        async def both() -> None:
            await self.member(one).ask(*self.written(ops))
            await self.member(two).ask(*self.written(others))

        self.do(both)
        if seconds:
            self.do(self._let_pass, seconds)

    @precondition(lambda self: self.members)
    @rule(who=who, room=rooms)
    def flood(self, who: int, room: str) -> None:
        self.do(self.member(who).ask, *(("say", room, self.text(PADDING)) for _ in range(FLOOD)))

    @precondition(lambda self: self.members)
    @rule(who=who)
    def read_or_not(self, who: int) -> None:
        member = self.member(who)
        if member.reads.is_set():
            member.reads = trio.Event()
        else:
            self.do(self._read, member)

    async def _read(self, member: Member) -> None:
        member.reads.set()

    @precondition(lambda self: self.members)
    @rule(who=who, how=st.sampled_from(["quit", "end", "lost", "drop", "lost", "drop"]))
    def end_or_come_back(self, who: int, how: str) -> None:
        member = self.member(who)
        if isinstance(member, DocumentMember) and member.away:
            self.do(member.come_back)
        else:
            self.do(member.end, how)
            if member.over:
                self._let_go(member)

    # --- when all is quiet

    @rule()
    def settle(self) -> None:
        self.do(self._settle)
        truth = Truth()
        for entry in self.engine.order:
            truth.fold(entry)
        for texts in truth.texts.values():
            numbers = [int(text.strip("tx")) for text in texts]
            assert numbers == sorted(set(numbers))
        for chat in self.chats:
            if chat is not None:
                self._check_chat(chat, truth)
        for member in self.members:
            member.check(truth, to_the_end=True)
        for member in self.gone:
            member.check(truth, to_the_end=False)
        self.gone.clear()

    async def _settle(self) -> None:
        self.engine.refuses = lambda _: False
        for member in (*self.members, *self.gone):
            member.reads.set()
            if isinstance(member, DocumentMember) and member.away and member in self.members:
                await member.come_back()
        for node in self.engine.nodes:
            node.come_back()
        for _ in range(MOST_STEPS):
            await self._let_pass(STEP_SECONDS)
            if not any(node.in_flight or node.under_way for node in self.engine.nodes):
                return
        raise AssertionError("it is never quiet")

    def _check_chat(self, chat: Chat, truth: Truth) -> None:
        hub, state = chat._hub, chat._hub.state
        assert {user.id: user.nick for user in state.nicks.values()} == truth.nicks
        assert {
            room.name: (room.topic, room.position, sorted(user.id for user in room.members))
            for room in state.rooms.values()
        } == truth.existing()
        known = {user for user, rooms in truth.rooms.items() if rooms} | truth.nicks.keys()
        assert {user.id for user in state.users.values() if user.keys or user.rooms} == known
        here = {session.user.id for session in state.sessions}
        # A connection on which somebody was to come back may have been lost before it did.
        away = {user.id for user in state.users.values() if user.detached is not None}
        assert state.users.keys() == known | here | away
        assert here == {member.user for member in self.members if member.chat is chat}
        assert hub._decide.in_flight is None
        assert hub._decide.turn.size == 0
        assert not state.backlog
        for session in state.sessions:
            assert not session.suspended
            assert not session.slow_consumer
            assert not session.queue
            assert not session.labels
            assert session.local or session.link.paused is None

    # --- always

    @invariant()
    def no_nick_is_two_peoples(self) -> None:
        for chat in self.chats:
            if chat is not None:
                users = chat._hub.state.users.values()
                keys = Counter(key for user in users for key in user.keys)
                assert max(keys.values(), default=1) == 1

    @invariant()
    def nothing_goes_wrong(self) -> None:
        assert self.errors == []

    def teardown(self) -> None:
        try:
            if self.sound:
                self.settle()
        finally:
            for patch in self.patches:
                patch.stop()
            self.live.close()


TestThreeChats = ThreeChats.TestCase
# Without shrinking, which takes longer than a test may: add Phase.shrink to look into a failure.
TestThreeChats.settings = settings(
    max_examples=TRIES,
    stateful_step_count=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
