"""Whatever people of a site do on two nodes, and through fences: both know the same of them."""

from __future__ import annotations

import os

import trio
from attrs import define
from documents import DocumentClient, document_client
from engine import Engine
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from loopback import until
from lua import Keys, keys_of
from test_redis_log import chats, fence

from trio_chat import Chat, Credentials, Identity, Refused

TRIES = int(os.environ.get("TRIES", "8"))
ROOMS = ("#a", "#b")
# Ann has two nicks, and an old one is free once she has the other.
TOKENS = {"ann": ("1", "ann"), "anna": ("1", "anna"), "bob": ("2", "bob")}

people, rooms = st.integers(0, 3), st.sampled_from(ROOMS)
steps = st.one_of(
    st.tuples(
        st.just("authenticate"),
        people,
        st.fixed_dictionaries({"token": st.sampled_from(sorted(TOKENS))}),
    ),
    st.tuples(
        st.just("authenticate"),
        people,
        st.fixed_dictionaries({"token": st.sampled_from(sorted(TOKENS))}),
    ),
    st.tuples(st.just("logout"), people, st.just({})),
    st.tuples(
        st.just("take_nick"),
        people,
        st.fixed_dictionaries({"nick": st.sampled_from(["ann", "jim"])}),
    ),
    *[
        st.tuples(st.just(do), people, st.fixed_dictionaries({"room": rooms}))
        for do in ("join", "join", "leave", "claim_room")
    ],
    st.tuples(
        st.just("mute"),
        people,
        st.fixed_dictionaries({"room": rooms, "nick": st.sampled_from(["ann", "bob"])}),
    ),
    st.tuples(st.just("fence"), st.integers(0, 1), st.just({})),
)


async def site(credentials: Credentials) -> Identity:
    await trio.lowlevel.checkpoint()
    if credentials.secret not in TOKENS:
        raise Refused("who?")
    return Identity(*TOKENS[credentials.secret])


def known(chat: Chat) -> dict[str, tuple]:
    """The users that a node knows: their nicks, persons, keys and rooms."""
    return {
        user.id: (user.nick, user.person, set(user.keys), set(user.rooms))
        for user in chat._hub.state.users.values()
        if user.keys or user.rooms
    }


async def in_engine(keys: Keys) -> dict[str, tuple]:
    return {
        user: (about["n"], about.get("p", user), set(about["k"]), set(about["r"]))
        for user, about in (await keys.users()).items()
    }


@define
class Nodes:
    """Two nodes, and four people who speak documents: two on each."""

    keys: Keys
    engine: Engine
    chats: list[Chat]
    clients: list[DocumentClient]

    async def do(self, what: str, who: int, fields: dict) -> None:
        if what == "fence":
            fence(self.engine, "ab"[who])
        else:
            await self.clients[who].send(what, **fields)

    async def settle(self) -> None:
        """Wait until both nodes have joined, and have nothing under way."""
        for client in self.clients:
            await client.sync()
        for chat in self.chats:
            name = chat._log.node.name
            while await self.keys.ask("HGET", f"node:{name}", "e") != chat._log.node.epoch:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.02)  # until its next beat, when it notices
            await until(
                lambda chat=chat: (
                    chat._log.exchange.joined.is_set() and not chat._log.exchange._rejoin
                ),
                "joining again",
            )
        for client in self.clients:
            await client.sync()

    async def differences(self) -> list[str]:
        await self.keys.check()
        there = await in_engine(self.keys)
        found = [
            f"{chat._log.node.name} has {known(chat)} for {there}"
            for chat in self.chats
            if known(chat) != there
        ]
        for room in ROOMS:
            fields = await self.keys.hash(f"f:{room}")
            for chat in self.chats:
                state = chat._hub.state.rooms.get(room)
                if state is not None and state.is_followed:
                    rules = {} if state.rules is None else dict(state.rules._fields)
                    if rules != fields:
                        found.append(f"{room}: {rules} for {fields}")
        return found


# Without shrinking, which takes longer than a test may.
@settings(max_examples=TRIES, phases=[Phase.explicit, Phase.generate])
@given(st.lists(steps, min_size=4, max_size=25))
def test_both_nodes_know_the_same_of_people_and_rules(engine, steps):
    async def main() -> None:
        async with (
            keys_of(engine) as keys,
            chats(engine, "a", "b", authenticate=site) as [a, b],
            document_client(a) as one,
            document_client(a) as two,
            document_client(b) as three,
            document_client(b) as four,
        ):
            nodes = Nodes(keys, engine, [a, b], [one, two, three, four])
            for step in steps:
                await nodes.do(*step)
            await nodes.settle()
            problems = ["?"]
            with trio.move_on_after(20):
                while problems := await nodes.differences():  # noqa: ASYNC110 - as above
                    await trio.sleep(0.02)  # until both have read their inboxes
            assert problems == []

    trio.run(main)
