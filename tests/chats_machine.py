"""The common part of the machines of several chats: clients, and their commands.

One machine has a shared log in memory and a virtual clock, the other one Redis and real time.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from unittest import mock

import trio
import trio.testing
from documents import Closed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from live_run import LiveRun

from trio_chat import Chat, ChatClosed

CHATS = ("a", "b", "c")
PEOPLE = 7
LOBBY, *_ = ROOMS = ("#lobby", "#a", "#b")
NICKS = ("john", "JOHN", "mary", "rnary", "jack")  # two pairs of them look alike
SETTINGS = {
    "keep_rooms": (LOBBY,),
    "message_chars": 100,
    "line_bytes": 400,
    # A client that does not read falls behind after a few messages. The log has all of them.
    "outbox_bytes": 1_500,
    "recent_entries": 3,
    "resume_grace": 80_000.0,
    "stall_timeout": 80_000.0,
}
FLOOD = 25
PADDING = "x" * 60
SPEAKS = ("say", "act", "topic", "tell")
ENDED = (trio.BrokenResourceError, trio.ClosedResourceError, Closed)

# --- clients --------------------------------------------------------------------------------------


class ChatMember(ABC):
    """A client of one of the chats. `over`: it has ended."""

    def __init__(self, number: int, chat: Chat, nursery: trio.Nursery) -> None:
        self.name = f"{self.__class__.__name__} {number}"
        self.chat = chat
        self.nursery = nursery
        self.user = ""
        self.reads = trio.Event()
        self.reads.set()
        self.told: list[str] = []
        self.over = False

    @abstractmethod
    async def connect(self) -> None: ...

    @abstractmethod
    async def ask(self, *ops: tuple[str, ...]) -> None: ...

    @abstractmethod
    async def end(self, how: str) -> None: ...


class StreamMember(ChatMember):
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
        with suppress(*ENDED):
            await self.hear()
        await stream.aclose()

    @abstractmethod
    async def hear(self) -> None: ...

    async def send(self, data: bytes) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_all(data)

    async def drop(self, how: str) -> None:
        if how == "lost":
            self.scope.cancel("the connection is lost")
        else:
            await self.stream.aclose()


class ProgramMember(ChatMember):
    """One that asks one thing after the other, as a program does."""

    async def connect(self) -> None:
        self.calls, self.next_calls = trio.open_memory_channel[tuple[str, ...]](math.inf)
        self.scope = trio.CancelScope()
        await self.nursery.start(self._live)

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        with self.scope, suppress(ChatClosed):
            async with self.chat.connect() as bot, trio.open_nursery() as nursery:
                self.user = bot.id
                nursery.start_soon(self.hear, bot)
                task_status.started()
                async for op in self.next_calls:
                    await self.perform(bot, *op)
                nursery.cancel_scope.cancel("it leaves")
        self.over = True

    @abstractmethod
    async def hear(self, bot) -> None: ...

    @abstractmethod
    async def perform(self, bot, op: str, *what: str) -> None: ...

    async def ask(self, *ops: tuple[str, ...]) -> None:
        for op in ops:
            self.calls.send_nowait(op)

    async def end(self, how: str) -> None:
        self.over = True
        if how == "quit":
            self.calls.close()
        else:
            self.scope.cancel("it is cancelled")


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


def call_of(bot, op: str, *what: str) -> Awaitable[object]:
    calls: dict[str, Callable[..., Awaitable[object]]] = {
        "nick": bot.take_nick,
        "join": bot.join,
        "leave": bot.leave,
        "say": lambda room, text: bot.say(text, room),
        "act": lambda room, text: bot.act(text, room),
        "topic": lambda room, text: bot.set_topic(text, room),
        "tell": bot.tell,
        "who": bot.members,
        "history": lambda room: bot.history(room, 1),
        "rooms": lambda *_: bot.rooms(),
    }
    return calls[op](*what)


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
places = st.sampled_from(CHATS)
who = st.integers(0, PEOPLE - 1)  # of those who are there
moments = st.sampled_from([0.0, 0.0, 0.002, 0.01, 0.1])
# The number of a member: every other one can come back.
kinds = st.sampled_from([0, 1, 1, 2])
firsts = st.lists(kinds, min_size=4, max_size=4)


class ChatsMachine(RuleBasedStateMachine):
    """Chats that start and end, members, and all that these ask."""

    members: list
    kinds: tuple[type[ChatMember], type[ChatMember], type[ChatMember]]

    def __init__(self, clock: trio.abc.Clock | None, *patches) -> None:
        super().__init__()
        self.live = LiveRun(clock)
        self.chats: dict[str, Chat] = {}
        self.scopes: dict[str, trio.CancelScope] = {}
        self.over: dict[str, trio.Event] = {}
        self.ended: dict[str, trio.Event] = {}
        self.members = []
        self.gone: list = []
        self.texts = self.people = 0
        self.sound = True
        self.errors: list[str] = []
        logger = logging.getLogger("trio_chat")
        self.patches = [*patches, mock.patch.object(logger, "error", self._note_error)]
        for patch in self.patches:
            patch.start()

    def _note_error(self, text: str, *_: object, **more: object) -> None:
        self.errors.append(f"{text}: {more}")

    def do(self, function: Callable[..., Awaitable[object]], *arguments: object) -> None:
        self.sound = False
        self.live.call(function, *arguments)
        self.sound = True

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    # --- chats

    def opened(self, name: str) -> AbstractAsyncContextManager[Chat]:
        raise NotImplementedError

    async def start(self, name: str) -> None:
        await self.live.nursery.start(self._run_chat, name)

    async def _run_chat(self, name: str, task_status: trio.TaskStatus[None]) -> None:
        scope = self.scopes[name] = trio.CancelScope()
        over, ended = trio.Event(), trio.Event()
        self.over[name], self.ended[name] = over, ended
        with scope:
            async with self.opened(name) as self.chats[name]:
                task_status.started()
                await over.wait()
        ended.set()

    # --- members

    def member(self, who: int):
        return self.members[who % len(self.members)]

    def let_go(self, member: ChatMember) -> None:
        member.over = True
        self.members.remove(member)
        self.gone.append(member)

    def text(self, padding: str = "") -> str:
        self.texts += 1
        return f"t{self.texts}{padding}"

    def written(self, ops: list[tuple[str, str]]) -> list[tuple[str, ...]]:
        """Each text is another one."""
        return [(*op, self.text()) if op[0] in SPEAKS else op for op in ops]

    async def _connect(self, name: str, kind: int) -> None:
        self.people += 1
        member = self.kinds[kind](self.people, self.chats[name], self.live.nursery)
        await member.connect()
        self.members.append(member)

    @initialize(first=firsts)
    def begin(self, first: list[int]) -> None:
        for number, kind in enumerate(first):
            self.do(self._connect, CHATS[number % len(CHATS)], kind)
            self.do(self.members[-1].ask, ("nick", NICKS[number]), ("join", LOBBY))

    @precondition(lambda self: len(self.members) < PEOPLE)
    @rule(name=places, kind=kinds, room=rooms)
    def connect(self, name: str, kind: int, room: str) -> None:
        if name in self.chats:
            self.do(self._connect, name, kind)
            self.do(self.members[-1].ask, ("join", room))

    @precondition(lambda self: self.members)
    @rule(who=who, ops=some)
    def ask(self, who: int, ops: list[tuple[str, str]]) -> None:
        self.do(self.member(who).ask, *self.written(ops))

    @precondition(lambda self: self.members)
    @rule(one=who, two=who, ops=some, others=some, seconds=moments)
    def ask_together(self, one: int, two: int, ops: list, others: list, seconds: float) -> None:
        async def both() -> None:
            await self.member(one).ask(*self.written(ops))
            await self.member(two).ask(*self.written(others))
            await self.wait(seconds)

        self.do(both)

    @precondition(lambda self: self.members)
    @rule(who=who, room=rooms)
    def flood(self, who: int, room: str) -> None:
        self.do(self.member(who).ask, *(("say", room, self.text(PADDING)) for _ in range(FLOOD)))

    @precondition(lambda self: self.members)
    @rule(who=who)
    def read_or_not(self, who: int) -> None:
        self.do(self._read_or_not, self.member(who))

    async def _read_or_not(self, member: ChatMember) -> None:
        if member.reads.is_set():
            member.reads = trio.Event()
        else:
            member.reads.set()

    # --- always

    @invariant()
    def nothing_goes_wrong(self) -> None:
        assert self.errors == []

    def settle(self) -> None:
        """Wait until all is quiet, and compare all that everyone knows."""
        raise NotImplementedError

    def teardown(self) -> None:
        try:
            if self.sound:
                self.settle()
        finally:
            for patch in self.patches:
                patch.stop()
            self.live.close()
