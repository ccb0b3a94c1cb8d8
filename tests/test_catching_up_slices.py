"""Catching up costs the others little: it goes in slices, and what comes twice counts as talk."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import trio
from documents import Closed
from test_resume import chat_with_jack, lose, programs

from trio_chat import Settings
from trio_chat.hub import catching_up

SAID = 200
TEXT = "x" * 1000
# Beside the text, a document has names, an author and a time.
DOCUMENT = 1_130


async def talk(chat) -> None:
    async with chat.connect(nick="bot") as bot:
        await bot.join("#a")
        for _ in range(SAID):
            await bot.say(TEXT)


async def everything(john) -> int:
    """The number of messages until a session has caught up."""
    said = 0
    while (document := await john.receive())["type"] != "members_listed":
        said += document["type"] == "said"
    return said


async def test_catching_up_goes_in_slices(autojump_clock, monkeypatch) -> None:
    sizes = []
    original = catching_up.CatchingUp.give_slices

    def give_slices(self) -> None:
        before = self._state.counts.bytes_out
        original(self)
        sizes.append(self._state.counts.bytes_out - before)

    monkeypatch.setattr(catching_up.CatchingUp, "give_slices", give_slices)
    async with chat_with_jack() as (chat, _), programs(chat) as program:
        all_of_them = [await program.connect() for _ in range(5)]
        for john in all_of_them:
            await john.ask_all("join", room="#a")
        for john in all_of_them:
            await lose(chat, john)
        await talk(chat)
        for john in [(await program.come_back(john.hello))[0] for john in all_of_them]:
            assert await everything(john) == SAID
    assert max(sizes) < catching_up.TURN_BYTES + DOCUMENT
    assert sum(sizes) >= len(all_of_them) * SAID * len(TEXT)


async def test_two_that_catch_up_take_turns(autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(catching_up, "TURN_BYTES", 1)
    order = []
    original = catching_up.CatchingUp._slice

    def slice_of(self, session, space) -> int:
        order.append(session.user.id)
        return original(self, session, space)

    monkeypatch.setattr(catching_up.CatchingUp, "_slice", slice_of)
    in_turns = []
    give = catching_up.CatchingUp.give_slices

    def give_slices(self) -> None:
        before = len(order)
        give(self)
        in_turns.append(len(order) - before)

    monkeypatch.setattr(catching_up.CatchingUp, "give_slices", give_slices)
    async with chat_with_jack() as (chat, _), programs(chat) as program:
        both = [await program.connect() for _ in range(2)]
        for john in both:
            await john.ask_all("join", room="#a")
        for john in both:
            await lose(chat, john)
        await talk(chat)
        back = [(await program.come_back(john.hello))[0] for john in both]
        for john in back:
            assert await everything(john) == SAID
    first, second = (john.hello["client"] for john in both)
    shared = order[order.index(second) : len(order) - order[::-1].index(first)]
    assert len(shared) > SAID
    assert max(in_turns) == 1
    assert all(before != after for before, after in itertools.pairwise(shared))


@pytest.mark.parametrize("rate", [None, 10.0])
async def test_entries_sent_again_weigh_against_the_rate(rate, autojump_clock) -> None:
    async with chat_with_jack() as (chat, _), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await lose(chat, john)
        await talk(chat)
        await chat.reload(Settings(rate_limit=rate, rate_burst=30))
        seconds = []
        for _ in range(4):
            since = trio.current_time()
            back, _ = await program.come_back(john.hello, a=0)
            assert await everything(back) == SAID
            seconds.append(trio.current_time() - since)
            await lose(chat, back)
        # The first time nothing comes twice; the second time the burst is spent.
        lines = SAID * DOCUMENT / catching_up.RESENT_LINE_BYTES
        assert seconds[0] < 1
        if rate is None:
            assert max(seconds) < 1
        else:
            assert sum(seconds) == pytest.approx((3 * lines - 30) / rate, rel=0.2)


async def test_a_stop_does_not_wait_for_the_rate(autojump_clock) -> None:
    async with chat_with_jack(rate_burst=1) as (chat, _), programs(chat) as program:
        john = await program.connect()
        await john.ask("join", room="#a")
        await lose(chat, john)
        await talk(chat)
        john, _ = await program.come_back(john.hello, a=0)
        await everything(john)
        await lose(chat, john)
        await chat.reload(Settings(rate_limit=0.01, rate_burst=1))
        john, _ = await program.come_back(john.hello, a=0)
        since = trio.current_time()
        await chat.stop()
        last = ""
        with contextlib.suppress(Closed):
            while True:
                last = (await john.receive())["type"]
        assert last == "stopping"
        assert trio.current_time() - since < 10
