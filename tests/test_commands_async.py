"""Custom commands by `async def`: a task each, with a deadline, and answers in order."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing
from documents import document_client

from trio_chat import Act, Caller, Notice, Refused, Row, Say, Settings, command, open_chat
from trio_chat.hub.handlers import custom as custom_commands
from trio_chat.testing import line_client

LATE = "err: /wait took too long, and was stopped"
FAILED = "err: /wait failed; the server's log says why"


@command("where", "/where", "say where this was typed")
async def where(caller: Caller, _: str) -> list[Notice]:
    await trio.lowlevel.checkpoint()
    return [Notice(f"{caller.nick} in {caller.room}")]


@command("here", "/here", "say where this was typed, at once")
def here(caller: Caller, _: str) -> list[Notice]:
    return [Notice(f"{caller.nick} in {caller.room}")]


@command("wait", "/wait SECONDS", "wait, and tell the room")
async def wait(caller: Caller, seconds: str) -> list[Notice | Say | Act]:
    await trio.sleep(float(seconds))  # stands for work
    return [Notice("waited"), Say(f"{seconds} seconds"), Act("yawns")]


def waits(what) -> Row:
    """A command that does this, which may raise, and gives what comes of it."""

    @command("wait", "/wait", "wait")
    async def handler(caller: Caller, arguments: str):
        await trio.sleep(1)  # stands for work
        return await what() if callable(what) else what

    return handler


def chat_with(*rows: Row, **settings):
    return open_chat(Settings(rate_limit=None, **settings), commands=rows)


async def test_answers_come_in_order_and_others_do_not_wait(autojump_clock):
    async with (
        chat_with(wait) as chat,
        line_client(chat, nick="john", room="#a") as john,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await john.expect("> jack joined the room")
        began = trio.current_time()
        await jack.send("/msg first", "/wait 5", "/msg last", "/rooms")
        await john.send("/msg meanwhile")
        await jack.expect("> john: meanwhile")
        assert trio.current_time() == began
        await jack.expect(
            "> waited", "> jack: 5 seconds", "> * jack yawns", "> available rooms: #a"
        )
        assert trio.current_time() == began + 5
        assert await john.sync() == [
            "> jack: first",
            "> jack: 5 seconds",
            "> * jack yawns",
            "> jack: last",
        ]


async def test_a_caller_knows_its_room(autojump_clock):
    async with chat_with(where, here) as chat, document_client(chat, nick="bo") as bo:
        for line in ("/where", "/here"):
            assert (await bo.ask("command", line=line))["text"] == "bo in None"
        for room in ("#A", "#b"):
            await bo.ask("join", room=room)
        for line in ("/where", "/here"):
            assert (await bo.ask("command", line=line))["text"] == "bo in None"
            assert (await bo.ask("command", line=line, room="#A"))["text"] == "bo in #a"
    async with chat_with(where, here) as chat, line_client(chat, nick="jo", room="#A") as jo:
        await jo.send("/where", "/here")
        await jo.expect("> jo in #a", "> jo in #a")


async def test_a_label_is_answered(autojump_clock):
    async def refuse():
        raise Refused("no", code="nope")

    for what, answer in (([], "done"), ([Notice("yes")], "notice"), (refuse, "refusal")):
        async with chat_with(waits(what)) as chat, document_client(chat, nick="bo") as bo:
            assert (await bo.ask("command", line="/wait"))["type"] == answer


async def raise_group():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await trio.sleep_forever()  # until the other task has failed


async def fail():
    raise ZeroDivisionError


NONSENSE = {
    "raises": fail,
    "raises a group": raise_group,
    "nothing": None,
    "a number": [5],
    "a text": "text",
    "no text": [Say(None)],
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_a_handler_that_fails_is_logged_and_its_caller_stays(what, autojump_clock, caplog):
    caplog.set_level(logging.ERROR)
    async with chat_with(waits(NONSENSE[what])) as chat, line_client(chat) as client:
        await client.send("/wait", "/rooms")
        await client.expect(FAILED, "> available rooms:")
    [record] = caplog.records
    assert record.getMessage() == "/wait failed"
    assert record.exc_info is not None


async def test_a_handler_has_a_deadline(autojump_clock):
    async with chat_with(wait) as chat, line_client(chat, room="#a") as client:
        began = trio.current_time()
        await client.send("/wait 1000", "/rooms")
        await client.expect(LATE, "> available rooms: #a")
        assert trio.current_time() == began + custom_commands.HANDLER_SECONDS


async def test_a_command_that_fails_while_it_is_cancelled_ends_nobody(autojump_clock, caplog):
    async def fail_late():
        try:
            await raise_late()
        finally:
            raise ZeroDivisionError

    async def raise_late():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)  # another one to be cancelled
            await trio.sleep_forever()  # until it is cancelled

    async with chat_with(waits(fail_late)) as chat, line_client(chat) as other:
        async with line_client(chat) as client:
            await client.send("/wait")
            await client.expect(FAILED)
        async with line_client(chat) as client:
            await client.send("/wait")
            await trio.sleep(5)  # virtual: the handler fails meanwhile
        assert await other.sync() == []
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "/wait failed",
        "/wait failed",
    ]


async def test_only_so_many_run_at_once(autojump_clock, monkeypatch):
    monkeypatch.setattr(custom_commands, "MOST_HANDLERS", 2)
    async with (
        chat_with(wait) as chat,
        line_client(chat, room="#a") as one,
        line_client(chat, room="#b") as two,
        line_client(chat, room="#c") as three,
    ):
        began = trio.current_time()
        for client in (one, two, three):
            await client.send("/wait 10")
        for client, seconds in ((one, 10), (two, 10), (three, 20)):
            await client.expect("> waited")
            assert trio.current_time() == began + seconds


async def test_a_handler_that_never_began_leaves_no_warning(autojump_clock, monkeypatch):
    monkeypatch.setattr(custom_commands, "MOST_HANDLERS", 1)
    async with chat_with(wait) as chat, line_client(chat, room="#a") as one:
        await one.send("/wait 1000")
        await trio.sleep(1)  # virtual: the first handler is at work
        async with line_client(chat, room="#a") as two:
            await two.send("/wait 1")
            await two.expect(LATE)


async def test_a_caller_that_leaves_cancels_its_handler(autojump_clock):
    ended = trio.Event()

    async def forever():
        try:
            await trio.sleep_forever()  # until the caller has left
        finally:
            ended.set()

    async with chat_with(waits(forever)) as chat:
        began = trio.current_time()
        async with line_client(chat) as client:
            await client.send("/wait")
            await trio.sleep(2)  # virtual: the handler is at work
        await ended.wait()
        assert trio.current_time() - began < 5


async def test_a_stop_waits_for_no_handler(autojump_clock):
    async with chat_with(wait) as chat, line_client(chat, room="#a") as client:
        await client.send("/wait 20")
        await trio.sleep(1)  # virtual: the handler is at work
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.stop)
            await client.expect(LATE)
            assert trio.current_time() - began < 1
            await client.rest()
