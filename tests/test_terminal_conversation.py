"""A conversation on a terminal, with a client and a screen of the test's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar, cast

import pytest
import trio

from trio_chat.errors import Code, NoConnection, Refused
from trio_chat.protocol.events import (
    Hello,
    Left,
    Limits,
    Said,
    Told,
    Usage,
    Welcomed,
)
from trio_chat.remote import Disconnected, RemoteClient, Resumed
from trio_chat.terminal.conversation import Conversation
from trio_chat.terminal.logins import Logins
from trio_chat.terminal.requests import GoToNews, Request, Scroll, ScrollToEnd
from trio_chat.terminal.screen import Screen, Typed
from trio_chat.terminal.thread_queue import ThreadQueue
from trio_chat.terminal.ui_state import UiState, status_row

NO_LOGINS = Logins("ws://localhost/ws", None)
EVENTS = {
    "history": Welcomed("#a", "#a", position=1),
    "members": Resumed("jack", ("#a", "#b"), anew=True),
}


class Breaking:
    """A client whose connection breaks while it answers the first question; calls wait then."""

    id, nick = "1", "jack"
    limits = Limits(*range(7))
    hello = Hello("1", "jack", "", 0.0, limits, [])
    commands: ClassVar[list[Usage]] = []

    def __init__(self, breaks_at: str, *, comes_back: bool = False) -> None:
        self.connected = True
        self.comes_back = comes_back
        self.breaks_at = breaks_at
        self.events = [EVENTS[breaks_at]]

    async def __anext__(self) -> object:
        if self.events:
            return self.events.pop(0)
        if self.comes_back and not self.connected:
            self.connected, self.breaks_at = True, ""
            return Resumed("jack", ("#a",), anew=False)
        await trio.sleep_forever()  # until cancelled
        raise AssertionError

    async def asked(self, what: str) -> list[object]:
        if not self.connected:
            await trio.sleep_forever()  # until cancelled
        if what == self.breaks_at:
            self.connected = False
            self.events.append(Disconnected("gone"))
            if self.comes_back:
                raise NoConnection("gone")
        return []

    async def history(self, room: str, limit: int, *, before: int | None = None) -> list[object]:
        await self.asked("history")
        return [Said(room, "2", "mary", "before you came", 1, 0.0)] if self.comes_back else []

    async def members(self, room: str) -> object:
        return EVENTS["history"] if await self.asked("members") == [] else None

    async def rooms(self) -> list[object]:
        return await self.asked("rooms")


class Shown:
    """A screen that ends once its log has a line with some text; it keeps what it was shown."""

    def __init__(self, text: str = "") -> None:
        self.typed: ThreadQueue[Typed] = ThreadQueue(9)
        self.requests: ThreadQueue[Request] = ThreadQueue(9)
        self.text = text
        self.over = trio.Event()
        self.rung = 0
        self.state = UiState()
        self.changed = trio.Event()

    async def run(self) -> None:
        await self.over.wait()

    async def end(self) -> None:
        await trio.lowlevel.checkpoint()
        self.over.set()

    def ring(self) -> None:
        self.rung += 1

    def set_ui_state(self, state: UiState) -> None:
        self.state = state
        self.changed.set()
        self.changed = trio.Event()
        if self.text and any(self.text in line for line in self.lines()):
            self.over.set()

    def lines(self) -> list[str]:
        return ["".join(text for _, text in line.line) for line in self.state.log.lines]

    async def waits(self, holds: Callable[[UiState], bool]) -> None:
        while not holds(self.state):
            await self.changed.wait()

    async def shows(self, text: str) -> None:
        await self.waits(lambda _: any(text in line for line in self.lines()))


@pytest.mark.parametrize("breaks_at", EVENTS)
async def test_a_connection_that_breaks_between_two_questions_is_told_of(breaks_at: str) -> None:
    client = cast("RemoteClient", Breaking(breaks_at))
    screen = Shown("gone; connecting again")
    with trio.fail_after(5):
        await Conversation(client, cast("Screen", screen), NO_LOGINS, in_room=True).run()


async def test_questions_of_a_break_are_asked_when_the_connection_is_back() -> None:
    client = cast("RemoteClient", Breaking("history", comes_back=True))
    screen = Shown("before you came")
    with trio.fail_after(5):
        await Conversation(client, cast("Screen", screen), NO_LOGINS, in_room=True).run()


class Chatting:
    """A client in #a, where there are as many entries as it says; it takes its time to answer."""

    id, nick, device, connected = "1", "john", 0, True
    limits = Limits(0, 0, 0, 0, 0, 0, 500)
    hello = Hello("1", "john", "", 0.0, limits, [])
    commands: ClassVar = [Usage("tell", "/tell", "")]

    def __init__(self, count: int, events: list[object]) -> None:
        self.count = count
        self.events = [Welcomed("#a", "#a", position=count), *events]
        self.asked: list[int | None] = []
        self.answers = trio.Event()
        self.sent: list[tuple[str, str, str | None]] = []

    async def __anext__(self) -> object:
        await trio.lowlevel.checkpoint()
        if self.events:
            return self.events.pop(0)
        await trio.sleep_forever()  # until cancelled
        raise AssertionError

    async def history(self, room: str, limit: int, *, before: int | None = None) -> list[object]:
        self.asked.append(before)
        await trio.sleep(5)  # virtual: a slow server
        end = self.count + 1 if before is None else before
        positions = range(max(1, end - limit), end)
        return [Said(room, "2", "mary", f"number {at}.", at, 0.0) for at in positions]

    async def rooms(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return ["#a"]

    async def command(self, line: str, room: str | None, *, echo: bool) -> object:
        assert (line, room, echo) == ("/msg hello?", "#a", True)
        await self.answers.wait()
        return Said("#a", "1", "john", "hello?", 1, 0.0)

    async def tell(self, nick: str, text: str, *, client: str | None) -> Told:
        await trio.lowlevel.checkpoint()
        self.sent.append((nick, text, client))
        if client == "2":
            raise Refused("the mary you mean has left", code=Code.NICK_PASSED_ON)
        return Told("9", "1", "john", text)


@asynccontextmanager
async def talking(client: Chatting) -> AsyncGenerator[Shown, None]:
    screen = Shown()
    conversation = Conversation(
        cast("RemoteClient", client), cast("Screen", screen), NO_LOGINS, in_room=True
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conversation.run)
        yield screen
        screen.over.set()


async def test_a_reader_at_the_top_is_given_older_messages(autojump_clock: object) -> None:
    client = Chatting(120, [])
    async with talking(client) as screen:
        await screen.shows("number 71.")
        screen.requests.give([Scroll(-100, 80, 10)])
        await screen.shows("number 1.")
        # A hundred rows up: two of today's with its date, and those of 98 messages.
        assert screen.lines()[-1] == "00:00 mary: number 22."
        screen.requests.give([Scroll(-100, 80, 10)])
        await screen.shows("the server has no older messages")
        screen.requests.give([Scroll(-100, 80, 10)])
        await trio.sleep(60)  # virtual: any answer would be here by now
        assert client.asked == [121, 71]


async def test_while_older_messages_are_fetched_one_can_go_elsewhere(
    autojump_clock: object,
) -> None:
    client = Chatting(120, [])
    async with talking(client) as screen:
        await screen.shows("number 120.")
        screen.requests.give([Scroll(-100, 80, 10)])
        await screen.waits(lambda state: state.fetching)
        screen.requests.give([ScrollToEnd()])
        await screen.waits(lambda state: not state.fetching)
        assert "all times are local" in screen.lines()[-1]
        assert screen.state.newer == 0


async def test_the_bell_rings_once_a_second_at_most(autojump_clock: object) -> None:
    events = [Told("1", "2", "mary", "x"), Left("#a", "3", "tim"), Told("1", "2", "mary", "y")]
    async with talking(Chatting(0, events)) as screen:
        await screen.shows("mary writes to you alone")
        await trio.sleep(1)  # virtual: the second between two bells
        assert screen.rung == 1


async def test_a_line_that_waits_for_a_slow_server_is_shown_as_waiting(
    autojump_clock: object,
) -> None:
    client = Chatting(0, [])
    async with talking(client) as screen:
        await screen.waits(lambda state: state.title[:1] == [("heading", "#a")])
        assert screen.state.window is not None
        screen.typed.give([("hello?", screen.state.window)])
        await screen.waits(lambda state: state.slow)
        assert trio.current_time() >= 1
        assert "1 to send" in "".join(
            text for _, text in status_row(screen.state, 80, len(screen.typed))
        )
        client.answers.set()
        await screen.waits(lambda state: not state.slow)
        assert len(screen.typed) == 0


async def test_no_text_goes_to_a_namesake_unasked(autojump_clock: object) -> None:
    client = Chatting(0, [Told("1", "2", "mary", "psst")])
    async with talking(client) as screen:
        await screen.shows("mary writes to you alone")
        screen.requests.give([GoToNews()])
        await screen.shows("mary: psst")
        assert screen.state.window is not None
        typed = [("for you only", screen.state.window)]
        screen.typed.give(typed)
        await screen.shows("not sent: the mary you mean has left")
        screen.typed.give(typed)
        await screen.shows("john: for you only")
    assert client.sent == [("mary", "for you only", "2"), ("mary", "for you only", None)]
