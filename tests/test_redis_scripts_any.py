"""Whatever nodes ask of the engine, in whatever order: what it counts is what there is."""

from __future__ import annotations

import os

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from lua import (
    Caller,
    Keys,
    Operation,
    announced,
    gone,
    join,
    keys_of,
    leave,
    login,
    nick,
    rule,
    say,
    tell,
    topic,
)

TRIES = int(os.environ.get("TRIES", "60"))
NODES, USERS, ROOMS, NICKS = "abc", ("u1", "u2", "u3", "u4"), ("#a", "#b", "#c"), ("x", "y", "z")
GRACE = {"token": "hash", "grace": 60_000}

nodes, users, rooms = st.sampled_from(NODES), st.sampled_from(USERS), st.sampled_from(ROOMS)
# Two of three nicks have a key in common.
KEYS = {"x": ("x", "xy"), "y": ("y", "xy"), "z": ("z",)}
nicks = st.sampled_from([(name, *keys) for name, keys in KEYS.items()])
tokens = st.sampled_from([{}, GRACE])
texts = st.sampled_from(["x", "x" * 300, "x" * 9_000])
# Some of them are those of the room.
versions = st.integers(0, 3)
fields = st.sampled_from(["role a.x", "role a.y", "mute a.x"])
changes = st.dictionaries(fields, st.sampled_from([None, "owner", "voice"]), max_size=3)
operations = st.one_of(
    st.builds(lambda room, text: say(room, text, text), rooms, texts),
    st.builds(topic, rooms, st.just("tea"), users),
    st.builds(lambda user, name, token: nick(user, *name, **token), users, nicks, tokens),
    st.builds(
        lambda user, room, leaving, token: join(user, room, leaving=leaving, **token),
        *(users, rooms, st.sampled_from(["", *ROOMS]), tokens),
    ),
    st.builds(leave, users, rooms),
    st.builds(gone, users),
    st.builds(lambda user, sender: tell(user, "psst", sender), users, users),
    st.builds(
        lambda user, name, token: login(user, f"a.{name[0]}", *name, **token),
        *(users, nicks, tokens),
    ),
    st.builds(lambda user: login(user, "", ""), users),
    st.builds(rule, rooms, changes, versions, st.sampled_from([("", 0), ("owner", 1)])),
    st.builds(
        lambda user, room, version: join(user, room, version=version), users, rooms, versions
    ),
    st.builds(lambda user, positions: ("A", user, positions), users, st.sampled_from(["{}", ""])),
    st.builds(lambda user: ("M", user, "hash", "w"), users),
)
steps = st.one_of(
    st.tuples(st.just("turn"), nodes, st.lists(operations, max_size=6)),
    st.tuples(st.just("turn"), nodes, st.lists(operations, max_size=6)),
    st.tuples(st.just("again"), nodes, st.just(None)),
    st.tuples(st.just("die"), nodes, st.integers(1, 3)),
    st.tuples(st.just("leave"), nodes, st.just(None)),
    st.tuples(st.just("time is over"), nodes, users),
    st.tuples(
        st.just("come back"),
        nodes,
        st.dictionaries(
            users,
            st.tuples(st.sampled_from(["", *NICKS]), st.booleans(), st.lists(rooms, unique=True)),
        ),
    ),
    st.tuples(st.just("new engine"), nodes, st.lists(st.tuples(rooms, texts), max_size=4)),
)


class Run:
    """Nodes that do what they are told, and what the engine answered last."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.nodes = {name: Caller(keys, name) for name in NODES}
        self.last: dict[str, tuple[list[Operation], object]] = {}
        self.tops = dict.fromkeys(ROOMS, 0)
        self.epochs = 0

    async def do(self, what: str, name: str, how) -> None:  # noqa: C901 - one case a step
        node = self.nodes[name]
        match what:
            case "turn":
                results = await node.turn(*how)
                if results != ["FENCED"]:
                    self.last[name] = how, await node.again(*how)
                    self._positions(how, results)
            case "again" if name in self.last:
                drafts, reply = self.last[name]
                assert await node.again(*drafts) == reply
            case "die":
                await self.keys.ask("ZADD", "leases", 0, name)
                while await node.reap(name, most=how):
                    await self.keys.check()
                self.last.pop(name, None)
            case "leave":
                await node.leave()
                self.last.pop(name, None)
            case "time is over":
                if await self.keys.ask("ZSCORE", "orphans", how):
                    await self.keys.ask("ZADD", "orphans", 0, how)
                await node.reap("")
            case "come back":
                await self.register(node)
                people = [
                    announced(
                        *(user, name, *in_),
                        **GRACE,
                        account=f"a.{name}" if name and is_inside else "",
                        keys=KEYS[name] if name and is_inside else (),
                    )
                    for user, (name, is_inside, in_) in how.items()
                ]
                await node.announce(*people, positions=dict.fromkeys(ROOMS, len(how)))
            case "new engine":
                await self._restore(node, how)

    async def register(self, node: Caller) -> None:
        self.epochs += 1
        old, new = node.epoch, f"{node.name}{self.epochs}"
        while (await node.register(new, old))[0] == "REAP":
            await self.keys.ask("ZADD", "leases", 0, node.name)
            await node.reap(node.name)
        self.last.pop(node.name, None)

    async def _restore(self, node: Caller, lost: list[tuple[str, str]]) -> None:
        self.epochs += 1
        await node.hello(f"run {self.epochs}")
        for room, text in lost:
            state = await self.keys.ask("HGET", f"r:{room}", "p")
            top = int(state or await self.keys.ask("GET", "floor") or 0) + 1
            batch = (room, top, 1, 1_000, "n e 1", text, 0)
            assert await node.restore(batch, last=False) in (1, -1)
            assert await node.restore(batch, last=False) in (0, -1)
        await self.keys.ask("DEL", "recovering")

    def _positions(self, drafts: list[Operation], results: list) -> None:
        """Positions only grow, whatever is forgotten."""
        for (letter, room, *_), result in zip(drafts, results, strict=True):
            if letter in ("S", "T") or (
                letter == "R" and isinstance(result, list) and result[0] > 0
            ):
                assert result[0] > self.tops[room]
                self.tops[room] = result[0]


@settings(max_examples=TRIES)
@given(
    st.lists(steps, min_size=5, max_size=25),
    st.sampled_from([(100, 1000, 1 << 30), (2, 5, 4_000), (2, 1000, 20_000)]),
)
def test_the_engine_counts_what_there_is(engine, steps, limits):
    async def main() -> None:
        async with keys_of(engine) as keys:
            run = Run(keys)
            for node in run.nodes.values():
                node.limits = limits
                await run.register(node)
            for step in steps:
                await run.do(*step)
                await keys.check()

    trio.run(main)
