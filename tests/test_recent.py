"""The recent entries of all rooms, for sessions that catch up, stay within a common bound."""

from __future__ import annotations

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from loopback import PATIENCE

from trio_chat import Settings, open_chat
from trio_chat.hub.recent import Recent
from trio_chat.hub.room import Room
from trio_chat.protocol.events import Removed, Said
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.weight import weight

ROOMS = ("#a", "#b", "#c")
TEXTS = st.text("x😀", max_size=40)


TIMES = itertools.count(1)


def said(room: Room, text: str) -> Said:
    return Said(room.name, "id", "jack", text, time=next(TIMES))


def held(*rooms: Room) -> int:
    return sum(weight(room.recent or ()) for room in rooms)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(ROOMS), st.lists(TEXTS, min_size=1, max_size=5)),
            st.tuples(st.integers(1, 40), st.integers(0, 2000)),
            st.sampled_from(ROOMS),
        )
    )
)
def test_it_knows_what_it_holds_and_holds_no_more_than_it_may(steps) -> None:
    entries, most = 3, 1000
    recent = Recent(entries, most)
    rooms = {name: Room(name, name, LoggedRoom()) for name in ROOMS}
    for step in steps:
        if isinstance(step, str):
            recent.forget(rooms[step])
            assert not rooms[step].recent
        elif isinstance(step[0], str):
            room, texts = rooms[step[0]], step[1]
            recent.keep(room, [said(room, text) for text in texts])
            kept = [entry.text for entry in room.recent or ()]
            newest = min(len(kept), len(texts))
            assert kept[len(kept) - newest :] == texts[len(texts) - newest :]
        else:
            entries, most = step
            recent.resize(entries, most)
        assert held(*rooms.values()) <= recent.bytes <= most
        assert all(len(room.recent or ()) <= entries for room in rooms.values())


def test_a_busy_room_counts_for_little_more_than_it_holds() -> None:
    room = Room("#a", "#a", LoggedRoom())
    recent = Recent(64, 1 << 20)
    for number in range(1000):
        recent.keep(room, [said(room, "x" * (number % 300))] * (1 + number % 3))
        assert len(room.recent or ()) <= 64
        assert held(room) <= recent.bytes <= held(room) + 10 * weight([said(room, "x" * 300)])
    recent.forget(room)
    assert recent.bytes == 0


def test_the_room_that_was_silent_for_longest_gives_back_first() -> None:
    first, second, third = rooms = [Room(name, name, LoggedRoom()) for name in ROOMS]
    size = weight([said(first, "x")])
    recent = Recent(10, 4 * size + size // 2)

    def kept() -> list[int]:
        return [len(room.recent or ()) for room in rooms]

    for room in (first, second, first, third):
        recent.keep(room, [said(room, "x")])
    assert kept() == [2, 1, 1]
    recent.keep(third, [said(third, "x")])
    assert kept() == [2, 0, 2]
    recent.keep(third, [said(third, "x") for _ in range(3)])
    assert kept() == [0, 0, 4]


@pytest.mark.usefixtures("not_at_hand")
async def test_one_client_in_many_rooms_holds_no_more_than_the_bound(autojump_clock) -> None:
    most = 100_000
    settings = Settings(rate_limit=None, recent_bytes=most)
    with trio.fail_after(PATIENCE):
        async with open_chat(settings) as chat, chat.connect() as bot:
            for number in range(20):
                await bot.join(f"#{number}")
            for number in range(200):
                await bot.say("😀" * 500, f"#{number % 20}")
            state = chat._hub.state
            assert most // 2 < held(*state.rooms.values()) <= state.recent.bytes <= most
            for number in range(20):
                await bot.leave(f"#{number}")
            assert state.recent.bytes == 0


async def test_nothing_is_kept_beside_a_log_in_memory_that_has_as_much(autojump_clock) -> None:
    with trio.fail_after(PATIENCE):
        async with open_chat(Settings(rate_limit=None)) as chat, chat.connect() as bot:
            await bot.join("#a")
            for number in range(300):
                await bot.say(str(number))
            state = chat._hub.state
            room = state.rooms["#a"]
            assert state.recent.bytes == 0
            entries = state.recent.since(room, room.position - 2)
            assert [entry.text for entry in entries] == ["298", "299"]
            assert len(state.recent.since(room, 0)) == state.settings.recent_entries
            assert state.recent.since(room, room.position) == []


@pytest.mark.parametrize(
    "less", [{"history_entries": 3}, {"history_days": 1.0}, {"max_store_bytes": 1 << 20}]
)
async def test_entries_are_kept_once_the_log_is_to_keep_less(less, autojump_clock) -> None:
    with trio.fail_after(PATIENCE):
        async with open_chat(Settings(rate_limit=None)) as chat, chat.connect() as bot:
            await bot.join("#a")
            for number in range(300):
                await bot.say(str(number))
            await chat.reload(Settings(rate_limit=None, **less))
            await bot.say("300")
            state = chat._hub.state
            kept = [entry.text for entry in state.recent.since(state.rooms["#a"], 0)]
            assert kept == [str(number) for number in range(45, 301)]
            assert state.recent.bytes > 0


def test_removed_texts_are_emptied_and_texts_that_are_back_come_anew() -> None:
    recent, room = Recent(10, 100_000), Room("#a", "#a", LoggedRoom())
    entries = [Said("#a", "id", "jack", f"{n}", position=n, time=n) for n in range(3, 9)]
    recent.keep(room, entries)
    room.position = 8
    recent.change(room, Removed("#a", "#a", "mod", "ann", "", positions=[[1, 4], [6, 6]]))
    kept = recent.since(room, 0)
    assert [entry.text for entry in kept] == ["", "", "5", "", "7", "8"]
    assert entries[0].text == "3"  # clients in the process may have yet to read it
    assert recent.bytes == weight(kept)
    back = Removed("#a", "#a", "mod", "ann", "", positions=[[1, 4], [6, 6]], undoes=9)
    recent.change(room, back)
    assert [entry.position for entry in recent.since(room, 0)] == [7, 8]
    recent.change(Room("#b", "#b", LoggedRoom()), back)
