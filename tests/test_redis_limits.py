"""The limit and the key of a room on several nodes that share a real Redis."""

from __future__ import annotations

from test_redis_log import Turns, chats, hear
from test_redis_people import inside, people  # noqa: F401 - a fixture of these tests too

from trio_chat.testing import LineClient, line_client

FULL = "err: #a is full: try again later"
IN = "> welcome to #a"


async def first_of(client: LineClient, *texts: str) -> str:
    """Read lines until one is one of these texts."""
    while (line := await client.line()) not in texts:
        assert line is not None
    return line


async def test_a_node_without_members_of_a_room_obeys_its_key(redis, people):  # noqa: F811 - fixtures, imported above
    async with (
        chats(redis, "a", "b") as [a, b],
        inside(a, "ann", "#a") as ann,
        line_client(b, nick="jim") as jim,
    ):
        await ann.send("/claim", "/room key Tea!")
        await hear(ann, "> ann set a key [A2]")
        await jim.send("/join #a", "/join #a Tea", "/join #a Tea!")
        locked, wrong = "err: #a has a key", "err: that is not the key of #a"
        await hear(jim, locked, wrong, IN)


async def test_joins_on_two_nodes_at_once_do_not_exceed_the_limit(redis, people):  # noqa: F811 - fixtures, imported above
    async with (
        chats(redis, "a", "b") as both,
        inside(both[0], "ann", "#a") as ann,
        line_client(both[1], nick="kim") as kim,
        line_client(both[0], nick="jim") as jim,
        line_client(both[1], nick="tom") as tom,
    ):
        await ann.send("/claim", "/room limit 3")
        await hear(ann, "> ann set limit to 3 [A2]")
        await kim.send("/join #a")
        await hear(kim, IN)  # so both nodes know the limit, and that there is one place
        held = [Turns(chat) for chat in both]
        await jim.send("/join #a")
        await tom.send("/join #a")
        for turns in held:
            await turns.done[0].wait()
        for turns in held:
            for may_end in turns.may_end:
                may_end.set()
        assert sorted([await first_of(client, FULL, IN) for client in (jim, tom)]) == [IN, FULL]
