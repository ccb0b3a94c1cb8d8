"""Standing still and handing over in the middle of everything: under load, and given up."""

from __future__ import annotations

import contextlib
import gc
import math
import time

import pytest
import trio
from documents import dial_documents
from loopback import HOST, chat_on_tcp, descriptors, dial, ticks, until, watch_links
from snapshots import hand_over, passed_on, succeed

from trio_chat import Settings, open_chat
from trio_chat.testing import LineClient, line_client

pytestmark = pytest.mark.usefixtures("waiting")

# --- under load -----------------------------------------------------------------------------------

TALKERS = 8
LINES = 400


async def talk(client: LineClient, name: str, pauses: trio.Event) -> None:
    """Numbered lines, in pieces of any size; at least so many, and until all is over."""
    number = 0
    while number < LINES or not pauses.is_set():
        data = "".join(f"/msg {name} {number + more}\n" for more in range(7)).encode()
        number += 7
        cut = number % len(data)
        await client.stream.send_all(data[:cut])
        await trio.lowlevel.checkpoint()
        await client.stream.send_all(data[cut:])
        for _ in range(20):
            await trio.lowlevel.checkpoint()
    await client.send(f"/msg {name} end")


async def listen(client: LineClient, heard: dict[str, list[int]]) -> None:
    """Everyone else's lines, until each has said its last."""
    ended = 0
    while ended < TALKERS - 1:
        line = await client.line()
        assert line, "the connection has ended"
        nick, name, number = line.removeprefix("> ").split()
        assert nick == f"{name}:"
        if number == "end":
            ended += 1
        else:
            heard.setdefault(name, []).append(int(number))


class Talk:
    """All talk at once, until the pauses are over and each has heard all that was said."""

    def __init__(self) -> None:
        self.pauses_over = trio.Event()
        self.ended = trio.Event()

    async def run(self, port: int, *, task_status) -> None:
        names = [f"john{number}" for number in range(TALKERS)]
        clients = [await dial(port, nick=name, room="#x") for name in names]
        for client in clients:
            await client.sync()
        all_heard: list[dict[str, list[int]]] = []
        async with trio.open_nursery() as nursery:
            for name, client in zip(names, clients, strict=True):
                all_heard.append({})
                nursery.start_soon(talk, client, name, self.pauses_over)
                nursery.start_soon(listen, client, all_heard[-1])
            task_status.started()
        check_each_line_once_and_in_order(all_heard)
        self.ended.set()


def check_each_line_once_and_in_order(all_heard: list[dict[str, list[int]]]) -> None:
    assert len(all_heard) == TALKERS
    for heard in all_heard:
        assert len(heard) == TALKERS - 1
        for numbers in heard.values():
            assert numbers == list(range(len(numbers)))
            assert len(numbers) >= LINES


@pytest.mark.parametrize("rate_limit", [None, 20_000.0])
async def test_twenty_pauses_under_load(rate_limit: float | None) -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery, chat_on_tcp(rate_limit=rate_limit) as (chat, port):
        await nursery.start(talk.run, port)
        for number in range(20):
            await ticks(number)
            async with chat.frozen():
                await ticks(number % 3)
        talk.pauses_over.set()
        await talk.ended.wait()


async def test_ten_handings_over_under_load() -> None:
    talk = Talk()
    async with trio.open_nursery() as nursery, contextlib.AsyncExitStack() as chats:
        chat, port = await chats.enter_async_context(chat_on_tcp())
        await nursery.start(talk.run, port)
        for number in range(10):
            await ticks(3 * number)
            handover = await hand_over(chat)
            chat = await chats.enter_async_context(succeed(handover, chat.settings))
        talk.pauses_over.set()
        await talk.ended.wait()


# --- given up at every step -----------------------------------------------------------------------


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope once as many steps of any tasks have been made since it was armed."""

    def __init__(self, steps: float) -> None:
        self.steps = steps
        self.made = 0
        self.scope: trio.CancelScope | None = None

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.scope is not None:
            self.made += 1
            if self.made == self.steps:
                self.scope.cancel()


async def pausing_alone(cancel: CancelAfter) -> None:
    """Only who pauses is cancelled: the chat goes on."""
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        await john.expect("> jack joined the room")
        await john.stream.send_all(b"/msg one\n/msg tw")
        with trio.CancelScope() as scope:
            cancel.scope = scope
            async with chat.frozen():
                await ticks(3)
        cancel.scope = None
        await john.stream.send_all(b"o\n")
        await jack.expect("> john: one", "> john: two")
        third = await dial(port, nick="jim", room="#x")
        await jack.expect("> jim joined the room")
        await third.send("/quit")
        await third.rest()


async def everything(cancel: CancelAfter) -> None:
    """The whole chat is cancelled; once it has handed over, its clients see nothing of that."""
    clients: list[LineClient] = []
    handover = None
    is_over = False
    with trio.CancelScope() as scope:
        async with open_chat(Settings(stop_grace=1)) as chat:
            [(_, port)] = await chat.listen(host=HOST, port=0)
            clients += [await dial(port, nick=f"john{number}", room="#x") for number in range(2)]
            async with line_client(chat, nick="jack", room="#x"):
                cancel.scope = scope
                async with chat.frozen() as paused:
                    handover = passed_on(paused)
                    await ticks(2)
                    paused.hand_over()
                    is_over = True
                    await ticks(2)
                await ticks(2)
    cancel.scope = None
    if is_over:
        async with succeed(handover, Settings(stop_grace=1)):
            await clients[0].send("/msg hi")
            await clients[1].expect("> jack joined the room", "> jack has left the room")
            await clients[1].expect("> john0: hi")
    elif handover is not None:
        for sock in (*handover.clients, *handover.listeners):
            sock.close()
    for client in clients:
        await client.stream.aclose()


async def taking_over(cancel: CancelAfter) -> None:
    """The next chat is cancelled while it opens, and lets go of all it was given."""
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x")
        program, lost = [await dial_documents(port, rooms=("#x",)) for _ in range(2)]
        await lost.stream.aclose()
        await until(lambda: chat.statistics().away == 1)
        handover = await hand_over(chat)
        await chat.stop()
        with trio.CancelScope() as scope:
            cancel.scope = scope
            async with succeed(handover, chat.settings):
                await john.send("/msg hi")
                await jack.sync()
                await program.sync()
        cancel.scope = None
        for sock in handover.listeners:
            sock.close()


@pytest.mark.parametrize("play", [pausing_alone, everything, taking_over])
def test_a_cancel_at_any_step_leaves_nothing_undone(play, monkeypatch) -> None:
    links = watch_links(monkeypatch)
    whole = CancelAfter(math.inf)
    trio.run(play, whole, instruments=[whole])
    gc.collect()
    before = descriptors() - links.squatted
    assert whole.made > 5
    for step in range(1, whole.made + 10):
        cancel = CancelAfter(step)
        begun = time.monotonic()
        trio.run(play, cancel, instruments=[cancel])
        assert time.monotonic() - begun < 5, f"cancelled at step {step}"
        assert links.closes == dict.fromkeys(links.all, 1), f"cancelled at step {step}"
        links.unreleased.clear()
        links.check()
        links.closes.clear()
        links.all.clear()
        assert descriptors() == before, f"cancelled at step {step}"
