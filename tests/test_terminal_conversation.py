"""A conversation on a terminal, with a client and a screen of the test's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import trio

from trio_chat.errors import NoConnection
from trio_chat.protocol.events import Hello, Limits, Said, Welcomed
from trio_chat.remote import Disconnected, RemoteClient, Resumed
from trio_chat.terminal.conversation import Conversation
from trio_chat.terminal.lines import Line
from trio_chat.terminal.screen import Screen
from trio_chat.terminal.thread_queue import ThreadQueue
from trio_chat.terminal.ui_state import UiState

EVENTS = {
    "history": Welcomed("#a", "#a"),
    "members": Resumed("jack", ("#a", "#b"), anew=True),
}


class Breaking:
    """A client whose connection breaks while it answers the first question; calls wait then."""

    id, nick = "1", "jack"
    hello = Hello("1", "jack", "", 0.0, Limits(*range(7)), [])

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

    async def history(self, room: str, limit: int) -> list[object]:
        await self.asked("history")
        return [Said(room, "2", "mary", "before you came", 1, 0.0)] if self.comes_back else []

    async def members(self, room: str) -> object:
        return EVENTS["history"] if await self.asked("members") == [] else None

    async def rooms(self) -> list[object]:
        return await self.asked("rooms")


class Shown:
    """A screen that keeps what it is to show, until there is a line with some text."""

    def __init__(self, text: str) -> None:
        self.typed: ThreadQueue[tuple[str, str | None]] = ThreadQueue(9)
        self.steps: ThreadQueue[int] = ThreadQueue(9)
        self.text = text
        self.over = trio.Event()

    async def run(self) -> None:
        await self.over.wait()

    async def show(self, lines: Sequence[Line]) -> None:
        await trio.lowlevel.checkpoint()
        if any(self.text in "".join(text for _, text in line) for line in lines):
            self.over.set()

    def set_ui_state(self, _: UiState) -> None:
        pass


@pytest.mark.parametrize("breaks_at", EVENTS)
async def test_a_connection_that_breaks_between_two_questions_is_told_of(breaks_at: str) -> None:
    client = cast("RemoteClient", Breaking(breaks_at))
    screen = Shown("gone; connecting again")
    with trio.fail_after(5):
        await Conversation(client, cast("Screen", screen), in_room=True).run()


async def test_what_could_not_be_asked_is_asked_when_it_is_back() -> None:
    client = cast("RemoteClient", Breaking("history", comes_back=True))
    screen = Shown("before you came")
    with trio.fail_after(5):
        await Conversation(client, cast("Screen", screen), in_room=True).run()
