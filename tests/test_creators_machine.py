"""Creators of rooms and the roles that they give, in any order: a small model knows who has which.

The same steps are played with each kind of store, through upgrades and restarts, and on two nodes.

To try more of it: `TRIES=300 pytest -o faulthandler_timeout=0 tests/test_creators_machine.py`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from attrs import define, evolve, field
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from loopback import HOST, until
from snapshots import hand_over, succeed

from trio_chat import Chat, Settings, open_chat
from trio_chat.moderation.fields import CREATOR, Role
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.testing import LineClient

TRIES = int(os.environ.get("TRIES", "4"))
ROOMS = ("#a", "#b")
PEOPLE = 4
GIVEN = ("none", "voice", "operator", "owner")

Step: TypeAlias = tuple[str, int, int, str]


# --- the model ------------------------------------------------------------------------------------


@define
class Room:
    """A room with members. People are known by their nicks, which nobody takes twice."""

    members: list[str] = field(factory=list)
    roles: dict[str, Role] = field(factory=dict)
    invited: set[str] = field(factory=set)
    join: str = "all"

    def role(self, nick: str) -> Role:
        return self.roles.get(nick, Role.NONE)


@define
class Model:
    """The people in each room, with their roles."""

    rooms: dict[str, Room] = field(factory=dict)

    def room_of(self, nick: str) -> str:
        return next((name for name, room in self.rooms.items() if nick in room.members), "")

    def leave(self, nick: str) -> None:
        if name := self.room_of(nick):
            self.rooms[name].members.remove(nick)
            if not self.rooms[name].members:
                del self.rooms[name]  # and all that was decided there

    def enter(self, nick: str, name: str) -> None:
        room = self.rooms.get(name)
        is_let_in = room is None or room.join == "all" or room.role(nick) or nick in room.invited
        if self.room_of(nick) == name or not is_let_in:
            return
        self.leave(nick)
        room = self.rooms.setdefault(name, Room(roles={nick: Role.OPERATOR}))
        room.members.append(nick)

    def give(self, nick: str, other: str, role: Role) -> None:
        room = self.rooms.get(self.room_of(nick))
        if room is None or other not in room.members:
            return
        steps_down = nick == other and role < room.role(nick)
        if steps_down or (room.role(nick) is Role.OPERATOR and role is not Role.OWNER):
            room.roles[other] = role

    def act(self, nick: str, verb: str, other: str) -> None:
        room = self.rooms.get(self.room_of(nick))
        if room is None or room.role(nick) is not Role.OPERATOR:
            return
        if verb == "kick" and other in room.members:
            self.leave(other)
        elif verb == "invite" and other not in room.members:
            if room.join == "members" and not room.role(other):
                room.invited.add(other)
        elif verb in {"all", "members"}:
            room.join = verb


# --- the chat -------------------------------------------------------------------------------------


class Node:
    """A chat that goes on in another process, or begins anew."""

    def __init__(self, settings: Settings, nursery: trio.Nursery) -> None:
        self._settings = settings
        self._nursery = nursery
        self.port = 0

    async def start(self) -> None:
        self.chat: Chat = await self._nursery.start(self._run, None)
        [(_, self.port)] = await self.chat.listen(host=HOST, port=0)

    async def _run(self, handover, task_status) -> None:
        self._over, self._ended = over, ended = trio.Event(), trio.Event()
        opened = succeed(handover, self._settings) if handover else open_chat(self._settings)
        async with opened as chat:
            task_status.started(chat)
            await over.wait()
        ended.set()

    async def upgrade(self) -> None:
        over = self._over
        handover = await hand_over(self.chat)
        self.chat = await self._nursery.start(self._run, handover)
        over.set()

    async def stop(self) -> None:
        self._over.set()
        await self._ended.wait()


class Play:
    """People on some nodes, and the model of what they do."""

    def __init__(self, nodes: list[Node], kept: Callable[[str], bool]) -> None:
        """`kept` says whether the store has fields of a room."""
        self.nodes = nodes
        self.model = Model()
        self.clients: list[LineClient] = []
        self.nicks: list[str] = []
        self._kept = kept
        self._count = 0

    def node(self, who: int) -> Node:
        return self.nodes[who % len(self.nodes)]

    async def connect(self, who: int) -> None:
        self._count += 1
        client = LineClient(await trio.open_tcp_stream(HOST, self.node(who).port))
        nick = f"guest{self._count}"
        await client.send(f"/nick {nick}")
        await client.sync()
        self.clients[who : who + 1], self.nicks[who : who + 1] = [client], [nick]

    async def leave_for_good(self, who: int) -> None:
        await self.clients[who].stream.aclose()
        self.model.leave(self.nicks[who])
        await self.agree()

    async def step(self, step: Step) -> None:
        verb, who, *_ = step
        if verb == "upgrade":
            await self.node(who).upgrade()
        elif verb == "restart":
            await self._restart(self.node(who))
        elif verb == "quit":
            await self.leave_for_good(who)
            await self.connect(who)
        else:
            await self.clients[who].send(self._line(step))
            await self.clients[who].sync()
        await self.agree()

    async def _restart(self, node: Node) -> None:
        here = [who for who in range(PEOPLE) if self.node(who) is node]
        await node.stop()
        for who in here:
            await self.clients[who].stream.aclose()
            self.model.leave(self.nicks[who])
        await node.start()
        for who in here:
            await self.connect(who)

    def _line(self, step: Step) -> str:
        """Have the model do a step, and return the line for it."""
        verb, nick, whom, word = step[0], self.nicks[step[1]], self.nicks[step[2]], step[3]
        if verb == "leave":
            self.model.leave(nick)
            return "/leave"
        if verb == "join":
            self.model.enter(nick, word)
        elif verb == "role":
            self.model.give(nick, whom, Role[word.upper()])
            return f"/role {whom} {word}"
        elif verb == "room":
            self.model.act(nick, word.removeprefix("join "), whom)
        else:
            self.model.act(nick, verb, whom)
        return f"/{verb} {word or whom}"

    async def agree(self) -> None:
        """Wait until all nodes have what the model has."""
        with suppress(AssertionError):
            await until(lambda: not self.differences())
        assert self.differences() == []

    def differences(self) -> list[str]:
        return [
            f"{name} on node {at}: {mine}, not {there}"
            for at, node in enumerate(self.nodes)
            for name in ROOMS
            if (mine := self.seen(node, name)) != (there := self.expected(node, name))
        ]

    def expected(self, node: Node, name: str) -> tuple:
        room = self.model.rooms.get(name)
        if room is None:
            return ({}, "", False)
        is_here = any(self.node(self.nicks.index(nick)) is node for nick in room.members)
        roles = {nick: room.role(nick).word if is_here else "" for nick in room.members}
        return (roles, room.join if is_here else "", True)

    def seen(self, node: Node, name: str) -> tuple:
        state, kept = node.chat._hub.state, self._kept(name)
        room = state.rooms.get(name)
        if room is None:
            return ({}, "", kept)
        is_here = room.is_followed
        roles = {u.nick: state.role(name, u.person).word if is_here else "" for u in room.members}
        rules = room.rules
        if not is_here:
            return (roles, "", kept)
        assert dict(node.chat._log.snapshot(name).rules.fields) == dict(
            rules._fields if rules else {}
        )
        return (roles, "none" if rules is None else rules.setting("join"), kept)


number = itertools.count()
who = st.integers(0, PEOPLE - 1)
steps = st.one_of(
    st.tuples(st.just("join"), who, who, st.sampled_from(ROOMS)),
    st.tuples(st.just("join"), who, who, st.just(ROOMS[0])),
    st.tuples(st.just("role"), who, who, st.sampled_from(GIVEN)),
    st.tuples(
        st.sampled_from(["kick", "invite", "leave", "quit", "upgrade"]), who, who, st.just("")
    ),
    st.tuples(st.just("room"), who, who, st.sampled_from(["join all", "join members"])),
    st.tuples(st.just("restart"), who, who, st.just("")),
)


async def play(some: list[Step], *nodes: Settings, kept: Callable[[list[Node], str], bool]) -> None:
    async with trio.open_nursery() as nursery:
        begun = [Node(one, nursery) for one in nodes]
        for node in begun:
            await node.start()
        run = Play(begun, lambda name: kept(begun, name))
        for at in range(PEOPLE):
            await run.connect(at)
        for step in some:
            await run.step(step)
        for client in run.clients:
            await client.stream.aclose()
        for node in begun:
            await node.stop()


def in_log(nodes: list[Node], name: str) -> bool:
    fields = nodes[0].chat._log.snapshot(name).rules.fields
    assert not fields or CREATOR in fields
    return bool(fields)


tried = settings(
    max_examples=TRIES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
CREATORS = Settings(rate_limit=None, room_creator="operator", max_clients_per_address=100)


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@tried
@given(some=st.lists(steps, min_size=5, max_size=15))
def test_one_process_has_the_roles_of_the_model(
    tmp_path: Path, store: str, some: list[Step]
) -> None:
    place = "memory" if store == "memory" else f"sqlite:{tmp_path / f'{next(number)}.db'}"
    trio.run(lambda: play(some, evolve(CREATORS, store=place), kept=in_log))


@tried
@given(some=st.lists(steps, min_size=5, max_size=12))
def test_two_nodes_have_the_roles_of_the_model(redis, some: list[Step]) -> None:
    redis.ask("FLUSHALL")
    shared = evolve(CREATORS, store=f"redis://127.0.0.1:{redis.port}")

    def in_engine(_: list[Node], name: str) -> bool:
        return redis.ask("EXISTS", f"{KEY}:f:{name}") == ":1"

    nodes = [evolve(shared, node=name) for name in ("a", "b")]
    trio.run(lambda: play(some, *nodes, kept=in_engine))
