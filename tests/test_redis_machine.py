"""Three nodes on one Redis, and people and faults of all kinds: in the end all know the same.

When all is quiet, every node knows what the engine has, and what the engine counts is right.
Every client has heard the engine's streams from its join on, each entry once and in order.

To try more of it: `TRIES=300 pytest -o faulthandler_timeout=0 tests/test_redis_machine.py`.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from unittest import mock

import chats_machine
import trio
from chats_machine import CHATS, LOBBY, ROOMS, ChatsMachine, moments, places, who
from engine import ALWAYS, Engine
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from lua import Keys, keys_of
from node_members import InProcess, Member, OnLines, OnWebSocket, Streams

from trio_chat import Chat, Settings, open_chat
from trio_chat.roomlog.redis import node as node_module
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.codec import batch_from_stream
from trio_chat.roomlog.redis.errors import EngineAway
from trio_chat.roomlog.redis.keys import KEY

TRIES = int(os.environ.get("TRIES", "8"))
LEASE = 1.0
# Until everyone knows everything. On a busy machine leases run out, and nodes join again.
QUIET_SECONDS = 30.0
SETTINGS = {
    **chats_machine.SETTINGS,
    "rate_limit": None,
    "lease": LEASE,
    "max_rooms": 3,
    "stop_grace": 0.5,
}


class Cuttable:
    """The connections of a node, which the test can break."""

    def __init__(self, chat: Chat) -> None:
        node = chat._log.node
        self._clients: list[Client] = [node.turns, node.inbox, node.beats]
        self._clients.append(chat._log._history._client)
        self.is_cut = self.loses = False
        for client in self._clients:
            client._connect = self._connecting(client._connect)
        self._run, node.turns.script = node.turns.script, self._script

    def _connecting(self, connect: Callable[[], Awaitable]) -> Callable[[], Awaitable]:
        async def connect_or_not():
            if self.is_cut:
                raise EngineAway("the way is cut")
            return await connect()

        return connect_or_not

    async def _script(self, script: scripts.Script, *arguments) -> list[object]:
        reply = await self._run(script, *arguments)
        if self.loses:
            self.loses = False
            self.cut()
            self.mend()
            raise EngineAway("the reply is lost")
        return reply

    def cut(self) -> None:
        self.is_cut = True
        for client in self._clients:
            if client._connection is not None:
                client._connection.close()

    def mend(self) -> None:
        self.is_cut = False


class ThreeNodes(ChatsMachine):
    kinds = OnLines, OnWebSocket, InProcess
    redis: Engine

    def __init__(self) -> None:
        self.cuttables: dict[str, Cuttable] = {}
        super().__init__(None, mock.patch.object(node_module, "RECOVERY_SECONDS", 0.5))
        self.do(self._open)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)  # a moment of whatever goes on

    async def _open(self) -> None:
        if not self.redis.ping():
            self.redis.start()
        self.closing = AsyncExitStack()
        self.keys: Keys = await self.closing.enter_async_context(keys_of(self.redis))
        for name in CHATS:
            await self.start(name)

    # --- nodes ------------------------------------------------------------------------------------

    def opened(self, name: str) -> AbstractAsyncContextManager[Chat]:
        store = f"redis://127.0.0.1:{self.redis.port}"
        return open_chat(Settings(store=store, node=name, **SETTINGS))

    async def start(self, name: str) -> None:
        await super().start(name)
        self.cuttables[name] = Cuttable(self.chats[name])

    async def _stop(self, name: str, how: str) -> None:
        chat = self.chats.pop(name)
        if how == "stop":
            self.cuttables.pop(name).mend()
            self.over[name].set()
        else:
            # It can no longer say anything to the engine, as if its process had died.
            self.cuttables.pop(name).cut()
            chat._log.exchange.paused = True
            self.scopes[name].cancel("it is killed")
        with trio.fail_after(10):
            await self.ended[name].wait()
        for member in list(self.members):
            if member.chat is chat:
                if member.has_token and not member.over:
                    member.away = True
                else:
                    self.let_go(member)

    @rule(name=places, how=st.sampled_from(["stop", "kill"]))
    def stop_or_start(self, name: str, how: str) -> None:
        self.do(self._redis_is_there)
        if name in self.chats:
            self.do(self._stop, name, how)
        else:
            self.do(self.start, name)

    @rule(name=places)
    def fence(self, name: str) -> None:
        self.do(self._fence, name)

    async def _fence(self, name: str) -> None:
        if name in self.chats and self.redis.process.poll() is None:
            self.redis.ask("HDEL", f"{KEY}:node:{name}", "e")
            self.redis.ask("ZADD", f"{KEY}:leases", "0", name)

    @rule(name=places, seconds=moments)
    def cut_or_mend(self, name: str, seconds: float) -> None:
        if name in self.chats:
            cuttable = self.cuttables[name]
            if cuttable.is_cut:
                cuttable.mend()
            else:
                cuttable.cut()
            self.do(self.wait, seconds)

    @rule(name=places)
    def lose_reply(self, name: str) -> None:
        if name in self.chats:
            self.cuttables[name].loses = True

    @rule(seconds=moments)
    def kill_or_start_redis(self, seconds: float) -> None:
        if self.redis.process.poll() is None:
            self.redis.kill()
            self.do(self.wait, seconds)
        else:
            self.do(self._redis_is_there)

    async def _redis_is_there(self) -> None:
        if self.redis.process.poll() is not None:
            self.redis.start()
            self.keys.client.close()

    @rule(seconds=moments)
    def let_pass(self, seconds: float) -> None:
        self.do(self.wait, seconds)

    # --- members ----------------------------------------------------------------------------------

    @precondition(lambda self: self.members)
    @rule(who=who, how=st.sampled_from(["quit", "lost", "drop", "lost", "drop"]), name=places)
    def end_or_come_back(self, who: int, how: str, name: str) -> None:
        member = self.member(who)
        if not member.away:
            self.do(member.end, how)
        elif name in self.chats and isinstance(member, OnWebSocket):
            self.do(member.come_back, self.chats[name])
        for one in [one for one in self.members if one.over]:
            self.let_go(one)

    # --- when all is quiet ------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        self.do(self._settle)

    async def _settle(self) -> None:
        await self._redis_is_there()
        if not self.chats:
            await self.start(CHATS[0])
        for cuttable in self.cuttables.values():
            cuttable.mend()
        problems: list[str] = []
        with trio.move_on_after(QUIET_SECONDS):
            while problems := await self._problems():  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.05)  # before it looks again
        assert problems == [], "\n".join(problems)
        users = await self.keys.users()
        self.gone = [member for member in self.gone if member.user in users]

    def _may_be_orphan(self, member: Member, user: dict) -> bool:
        """Whether its node may have ended before it could tell the engine that a client quit."""
        if member.gave_up:
            return True
        return member.has_token and member.chat not in self.chats.values() and user["o"] == ""

    async def _problems(self) -> list[str]:
        """All that is not as it is to be in the end."""
        if busy := await self._unrest():
            return busy
        turn = await self.keys.ask("GET", "c")
        found = await self._differences()
        # Values from before a turn and after it cannot be compared.
        return found if turn == await self.keys.ask("GET", "c") else ["a turn came between"]

    async def _differences(self) -> list[str]:
        try:
            await self.keys.check()
        except AssertionError as error:
            return [f"the engine's own numbers: {error}"]
        users = await self.keys.users()
        streams = await self._streams()
        found = self._about_texts(streams)
        for name, chat in self.chats.items():
            found += await self._about_chat(name, chat, users)
        for member in self.members:
            found += self._about_member(member, users.get(member.user))
            found += member.problems(streams)
        found += [
            f"{member.name} is over, and a user: {users[member.user]}"
            for member in self.gone
            if member.user in users and not self._may_be_orphan(member, users[member.user])
        ]
        strangers = users.keys() - {member.user for member in (*self.members, *self.gone)}
        return found + [f"nobody is {user}" for user in strangers]

    async def _unrest(self) -> list[str]:
        found = []
        for member in self.members[:]:
            member.reads.set()
            if member.over:
                self.let_go(member)
            elif member.away and isinstance(member, OnWebSocket):
                chats = list(self.chats.values())
                await member.come_back(chats[len(member.name) % len(chats)])
                found.append(f"{member.name} comes back")
        for member in self.gone:
            member.reads.set()
        leases = set(await self.keys.ask("ZRANGE", "leases", 0, -1))
        if leases != self.chats.keys():
            found.append(f"leases: {leases}")
        last = await self.keys.hash("last")
        for name in self.chats:
            found += await self._unrest_of(name, int(last.get(name, 0)))
        return found

    async def _unrest_of(self, name: str, last: int) -> list[str]:
        found, log, hub = [], self.chats[name]._log, self.chats[name]._hub
        exchange = log.exchange
        if await self.keys.ask("HGET", f"node:{name}", "e") != log.node.epoch:
            found.append(f"{name} does not know yet that it is fenced")
        joined = exchange.joined.is_set() and not exchange._rejoin
        if log.unavailable or not joined or exchange._operations:
            found.append(f"{name} is not there, or has a turn under way")
        if len(log.arrivals) or log.arrivals.read < last:
            found.append(f"{name} has not read its inbox")
        if hub._collect.in_flight or hub._collect.turn.size or hub.state.backlog:
            found.append(f"{name} has something to decide")
        busy = [s for s in hub.state.sessions if s.suspended or s.slow_consumer or s.queue]
        return found + [f"{name}: {s.link.peer} waits: {s.suspended} {s.queue}" for s in busy]

    async def _streams(self) -> Streams:
        streams: Streams = {}
        for room in ROOMS:
            reply = await self.keys.client.call("XRANGE", f"{KEY}:e:{room}", "-", "+")
            streams[room] = [e for row in reply for e in batch_from_stream(room, *row).entries()]
        return streams

    def _about_texts(self, streams: Streams) -> list[str]:
        """Positions have no gaps, and nothing is said twice."""
        found = []
        for room, stream in streams.items():
            positions = [entry.position for entry in stream]
            if positions != list(range(1, len(positions) + 1)):
                found.append(f"{room} has the positions {positions}")
        texts = Counter(entry.text for stream in streams.values() for entry in stream)
        return found + [f"{text} was said {n} times" for text, n in texts.items() if n > 1]

    async def _about_chat(self, name: str, chat: Chat, users: dict[str, dict]) -> list[str]:
        state, found = chat._hub.state, []
        known = {
            user.id: (user.nick, set(user.keys), set(user.rooms))
            for user in state.users.values()
            if user.keys or user.rooms
        }
        expected = {user: (u["n"], set(u["k"]), set(u["r"])) for user, u in users.items()}
        found += [
            f"{name} has {known.get(user)} for {expected.get(user)} ({user})"
            for user in known.keys() | expected.keys()
            if known.get(user) != expected.get(user)
        ]
        here = {user.id for user in state.users.values() if user.is_here} & users.keys()
        expected_here = {user for user, about in users.items() if about["o"] == name}
        if here != expected_here:
            found.append(f"{name} has {here} here, not {expected_here}")
        holders = {user.keys[0]: user for user in state.users.values() if user.keys}
        if state.nicks != holders:
            found.append(f"{name} has nicks {state.nicks} for {holders}")
        names = {room for about in users.values() for room in about["r"]} | {LOBBY}
        if state.rooms.keys() != names:
            found.append(f"{name} has the rooms {list(state.rooms)}, not {names}")
        for room in list(state.rooms.values()):  # meanwhile rooms may come and go
            if not any(user.is_here for user in room.members):
                continue
            position, topic = await self.keys.ask("HMGET", f"r:{room.name}", "p", "t")
            there = int(position or 0), topic or ""
            if (room.position, room.topic) != there:
                found.append(f"{name} has {room.position, room.topic} of {room.name} for {there}")
        return found

    def _about_member(self, member: Member, user: dict | None) -> list[str]:
        rooms = set() if user is None else set(user["r"])
        if rooms != member.stays.keys():
            return [f"{member.name} is in {rooms}, and thinks {set(member.stays)}"]
        name = next((n for n, chat in self.chats.items() if chat is member.chat), "?")
        if user is not None and user["o"] != name:
            return [f"{member.name} is on {name}, and the engine says {user['o']}"]
        return []


class TestThreeNodes(ThreeNodes.TestCase):
    settings = settings(
        max_examples=TRIES,
        stateful_step_count=25,
        # Without shrinking, which takes longer than a test may; see the machine in memory.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        ThreeNodes.redis = Engine(Path(cls.folder.name) / "redis", *ALWAYS)

    @classmethod
    def tearDownClass(cls) -> None:
        ThreeNodes.redis.close()
        cls.folder.cleanup()
