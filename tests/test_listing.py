"""Lists of rooms and members: in order whatever has come, gone and changed since the last one."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from loopback import PATIENCE

from trio_chat import Settings, open_chat
from trio_chat.hub.listing import Listing
from trio_chat.testing import line_client

CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 9)))


@given(CHANGES, CHANGES)
def test_a_listing_is_what_sorting_all_of_it_gives(before, after) -> None:
    values: dict[int, None] = {}
    listing = Listing(values, lambda value: -value)

    def change(changes) -> None:
        for add, value in changes:
            if add and value not in values:
                values[value] = None
                listing.add(value)
            elif not add and value in values:
                listing.remove(value)
                del values[value]

    change(before)
    assert listing.first(10) == sorted(values, reverse=True)
    change(after)
    assert listing.first(10) == sorted(values, reverse=True)
    assert listing.first(3) == sorted(values, reverse=True)[:3]


def test_a_list_does_not_look_at_everything_again() -> None:
    looked_at = 0

    def key(value: int) -> int:
        nonlocal looked_at
        looked_at += 1
        return value

    listing = Listing(range(10_000), key)
    listing.first(1)
    looked_at = 0
    for _ in range(10):
        listing.add(10_000)
        listing.remove(10_000)
        assert listing.first(2) == [0, 1]
    assert looked_at < 500


async def test_rooms_are_listed_in_order_as_they_come_and_go(autojump_clock) -> None:
    with trio.fail_after(PATIENCE):
        async with (
            open_chat(Settings(rate_limit=None)) as chat,
            line_client(chat) as jack,
            line_client(chat) as jill,
        ):
            await jack.send("/join #m", "/rooms")
            await jack.expect("> welcome to #m", "> available rooms: #m")
            for room, listed in (("#z", "#m, #z"), ("#a", "#a, #m"), ("#m", "#m")):
                await jill.send(f"/join {room}")
                await jill.sync()
                await jack.sync()
                await jack.send("/rooms")
                await jack.expect(f"> available rooms: {listed}")


async def test_members_are_listed_by_the_nicks_they_have_now(autojump_clock) -> None:
    with trio.fail_after(PATIENCE):
        async with (
            open_chat(Settings(rate_limit=None)) as chat,
            line_client(chat) as jack,
            line_client(chat) as jill,
            line_client(chat) as nobody,
        ):
            for client in (jack, jill, nobody):
                await client.send("/join #a")
                await client.sync()
            for client, nick, listed in (
                (jack, "zoe", "anonymous, anonymous, zoe"),
                (jill, "bob", "anonymous, bob, zoe"),
                (jack, "al", "al, anonymous, bob"),
            ):
                await client.send(f"/nick {nick}")
                await client.sync()
                await nobody.sync()
                await nobody.send("/who")
                await nobody.expect(f"> in #a: {listed}")
            await jill.send("/quit")
            await jill.rest()
            await nobody.sync()
            await nobody.send("/who")
            await nobody.expect("> in #a: al, anonymous")
