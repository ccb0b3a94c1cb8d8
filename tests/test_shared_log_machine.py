"""Three chats on a shared log, and people who do whatever: in the end everyone knows the same.

A fold of the engine's order, a page long, says what each client of each chat is to be shown. When
all is quiet, every chat knows what the fold knows, and every client has been shown just that.

To try more of it: `TRIES=3000 pytest -o faulthandler_timeout=0 tests/test_shared_log_machine.py`.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from unittest import mock

import chats_machine
import trio
import trio.testing
from attrs import define, field
from chats_machine import (
    CHATS,
    LOBBY,
    ROOMS,
    ChatMember,
    ChatsMachine,
    ProgramMember,
    StreamMember,
    call_of,
    document_of,
    firsts,
    line_of,
    places,
    who,
)
from documents import DocumentClient, frame
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from shared_log import Engine, chat_on

from trio_chat import Chat, ChatClosed, Refused
from trio_chat.hub.outboxes import Outboxes
from trio_chat.protocol import events
from trio_chat.protocol.events import Entry
from trio_chat.testing import LineClient

TRIES = int(os.environ.get("TRIES", "40"))
SETTINGS = {**chats_machine.SETTINGS, "max_rooms": 2}
LISTED = 4  # members, in a welcome of that size
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


class Member(ChatMember):
    """A client with its commands and all that it has heard.

    `whole` is false once it has read too slowly, `broke` true once its connection broke. Then it
    may have missed joins and leaves, and still gets each persistent entry once. `cut` is true once
    its chat has ended, which may be in the middle of anything.
    """

    # It hears its own words; its commands are answered among what it hears; it hears the last of
    # that when it leaves.
    mirrors = False
    hears_own: tuple[str, ...] = ("topic_set",)
    hears_answers = True
    hears_out = True

    def __init__(self, number: int, chat: Chat, nursery: trio.Nursery) -> None:
        super().__init__(number, chat, nursery)
        self.heard: list[tuple] = []
        self.asked = self.refused = self.informed = 0
        self.whole = True
        self.broke = self.cut = False

    def shown(self, truth: Truth) -> list[tuple]:
        """All that it is to be shown, in the form in which it notes what it hears."""
        return [
            tuple(what)
            for own, *what in truth.shown.get(self.user, [])
            if (self.mirrors or not own or what[0] in self.hears_own)
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


class LineMember(Member, StreamMember):
    hears_own = ("topic_set", "acted")

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
            elif line.startswith("> you (to "):
                pass  # its own, which `told` of the other one counts
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
            self.broke = True
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


class DocumentMember(Member, StreamMember):
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
            self.away = self.broke = True
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


class InProcessMember(Member, ProgramMember):
    hears_own = ()
    hears_answers = False
    hears_out = False

    async def hear(self, bot) -> None:
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

    async def perform(self, bot, op: str, *what: str) -> None:
        try:
            result = await call_of(bot, op, *what)
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
        await super().ask(*ops)

    async def end(self, how: str) -> None:
        self.broke |= how != "quit"
        await super().end(how)


# --- what they do ---------------------------------------------------------------------------------

DRAFTS = (events.NickChanged, events.Entered, events.Said, events.TopicSet, events.Told)


class ThreeChats(ChatsMachine):
    kinds = LineMember, DocumentMember, InProcessMember

    def __init__(self) -> None:
        self.clock = trio.testing.MockClock()
        self.engine = Engine()
        notes_slow = self._note_slow(Outboxes.fall_behind)
        super().__init__(self.clock, mock.patch.object(Outboxes, "fall_behind", notes_slow))
        for name in CHATS:
            self.do(self.start, name)

    def _note_slow(self, fall_behind):
        def fall_behind_and_tell(outboxes, session) -> None:
            for member in (*self.members, *self.gone):
                if member.user == session.user.id:
                    member.whole = False
            fall_behind(outboxes, session)

        return fall_behind_and_tell

    def do(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        async def run() -> None:
            await function(*arguments)
            await trio.testing.wait_all_tasks_blocked()

        super().do(run)

    async def wait(self, seconds: float) -> None:
        self.clock.autojump_threshold = 0
        await trio.sleep(seconds)  # by a clock that jumps
        self.clock.autojump_threshold = math.inf

    # --- chats

    def opened(self, name: str) -> AbstractAsyncContextManager[Chat]:
        return chat_on(self.engine, **SETTINGS)

    async def _stop(self, name: str, how: str) -> None:
        chat = self.chats.pop(name)
        if how == "stop":
            self.over[name].set()
        else:
            self.scopes[name].cancel("it is killed")
        self.clock.autojump_threshold = 0
        with trio.fail_after(3 * chat.settings.stop_grace):
            await self.ended[name].wait()
        self.clock.autojump_threshold = math.inf
        for member in (*self.members, *self.gone):
            member.cut |= member.chat is chat
        for member in [member for member in self.members if member.cut]:
            self.let_go(member)

    def node(self, name: str):
        return self.chats[name]._log

    @rule(name=places, how=st.sampled_from(["stop", "stop", "kill"]))
    def stop_or_start(self, name: str, how: str) -> None:
        if name not in self.chats:
            self.do(self.start, name)
        else:
            self.do(self._stop, name, how)

    @rule(name=places)
    def stall_or_flow(self, name: str) -> None:
        if name in self.chats:
            node = self.node(name)
            if node.flows:
                node.stall()
            else:
                node.come_back()

    @rule(name=places, delay=st.sampled_from([0.0, 0.003, 0.01, 0.2]))
    def delay(self, name: str, delay: float) -> None:
        if name in self.chats:
            self.node(name).delay = delay

    @rule(refused=st.sets(st.sampled_from(DRAFTS)))
    def refuse(self, refused: set[type]) -> None:
        self.engine.refuses = lambda draft: type(draft) in refused

    @rule(seconds=st.sampled_from([0.004, 0.02, 0.1, 1.0]))
    def let_pass(self, seconds: float) -> None:
        self.do(self.wait, seconds)

    # --- members

    @initialize(first=firsts)
    def begin(self, first: list[int]) -> None:
        super().begin(first)
        self.do(self.wait, 1.0)

    @precondition(lambda self: self.members)
    @rule(who=who, how=st.sampled_from(["quit", "end", "lost", "drop", "lost", "drop"]))
    def end_or_come_back(self, who: int, how: str) -> None:
        member = self.member(who)
        if isinstance(member, DocumentMember) and member.away:
            self.do(member.come_back)
        else:
            self.do(member.end, how)
            if member.over:
                self.let_go(member)

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
        for chat in self.chats.values():
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
            await self.wait(STEP_SECONDS)
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
        assert hub._collect.in_flight is None
        assert hub._collect.turn.size == 0
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
        for chat in self.chats.values():
            users = chat._hub.state.users.values()
            keys = Counter(key for user in users for key in user.keys)
            assert max(keys.values(), default=1) == 1


TestThreeChats = ThreeChats.TestCase
# Without shrinking, which takes longer than a test may: add Phase.shrink to look into a failure.
TestThreeChats.settings = settings(
    max_examples=TRIES,
    stateful_step_count=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
