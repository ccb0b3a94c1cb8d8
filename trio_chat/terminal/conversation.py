"""A person's conversation: what happens goes to the screen, what is typed to the server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import ChatClosed, NoConnection, Refused
from trio_chat.protocol.events import HelpShown, Welcomed
from trio_chat.protocol.table import help_lines
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal import lines
from trio_chat.terminal.lines import Line
from trio_chat.terminal.typed import LeaveChat, Send, ShowHelp, Switch, read_typed, usages
from trio_chat.terminal.ui_state import ui_state
from trio_chat.terminal.view import View

if TYPE_CHECKING:
    from trio_chat.remote import RemoteClient
    from trio_chat.remote.inbox import RemoteEvent
    from trio_chat.terminal.screen import Screen

# Seconds in which joins and leaves are gathered into one line.
GATHER_SECONDS = 1.0
# Entries of a room that are shown when it is joined.
HISTORY = 20
# Lines that may wait to be shown.
MOST_UNSHOWN = 1_000


class Conversation:
    """What one person and the chat say to each other.

    `in_room`: the client has been welcomed in a room, which is among the events.
    """

    def __init__(self, client: RemoteClient, screen: Screen, *, in_room: bool) -> None:
        self._client = client
        self._screen = screen
        self._in_room = in_room
        self._view = View(client.id, client.nick)
        self._usages = usages(client.hello.commands)
        # Rooms whose past is still to be shown: a connection may break before that.
        self._unfilled: dict[str, None] = {}
        self._put, self._lines = trio.open_memory_channel[list[Line]](MOST_UNSHOWN)
        # Why the connection ended last, and why the client has left, if it was not the person.
        self._reason = "the connection was closed"
        self._ended = ""

    async def run(self) -> str:
        """Go on until the person leaves, or the client has; why it has, empty if the person did."""
        self._ui_state()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show)
            nursery.start_soon(self._follow)
            nursery.start_soon(self._carry_out_all)
            nursery.start_soon(self._step_all)
            await self._screen.run()
            nursery.cancel_scope.cancel()
        return self._ended

    def _ui_state(self) -> None:
        self._screen.set_ui_state(ui_state(self._view, self._usages))

    async def _add(self, shown: list[Line]) -> None:
        self._ui_state()
        if not shown:
            return
        try:
            self._put.send_nowait(shown)
        except trio.WouldBlock:
            await self._put.send(shown)

    async def _show(self) -> None:
        """Put lines on the screen, all at once that have come since the last time."""
        while True:
            shown = await self._lines.receive()
            while len(shown) < MOST_UNSHOWN:
                try:
                    shown += self._lines.receive_nowait()
                except trio.WouldBlock:
                    break
            await self._screen.show(shown)

    # --- what happens -----------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Show events until there are no more."""
        if not self._in_room:
            await self._add(self._view.begun())
            await self._learn_rooms()
        while True:
            event: RemoteEvent | None = None
            deadline = GATHER_SECONDS if self._view.gathering else float("inf")
            with trio.move_on_after(deadline):
                try:
                    event = await anext(self._client)
                except StopAsyncIteration:
                    self._ended = self._reason
                    await self._screen.end()
                    return
            if event is None:
                await self._add(self._view.flush_presence())
            else:
                await self._take(event)

    async def _take(self, event: RemoteEvent) -> None:
        self._view.me = self._client.id
        await self._add(self._view.take(event))
        match event:
            case Welcomed(room=room):
                self._unfilled[room] = None
                await self._fill()
            case Disconnected(reason=reason):
                self._reason = reason
            case Resumed(rooms=rooms, anew=anew):
                if anew:
                    await self._look_around(rooms)
                if self._unfilled:
                    await self._fill()

    async def _fill(self) -> None:
        """Show what was said before in rooms just joined, and learn which others there are."""
        for room in list(self._unfilled):
            if not self._client.connected:  # it would wait, and with it the word that there is none
                return
            try:
                entries = await self._client.history(room, HISTORY)
            except NoConnection:
                return
            except (Refused, ChatClosed):
                entries = None  # it is left again: the next events say so
            del self._unfilled[room]
            if entries is not None:
                await self._add(self._view.fill(room, entries))
        await self._learn_rooms()

    async def _learn_rooms(self) -> None:
        if not self._client.connected:
            return
        with suppress(NoConnection, ChatClosed):
            self._view.known_rooms = await self._client.rooms()
        self._ui_state()

    async def _look_around(self, rooms: tuple[str, ...]) -> None:
        """Learn who is in these rooms."""
        for room in rooms:
            if not self._client.connected:
                return
            with suppress(Refused, NoConnection, ChatClosed):
                self._view.take(await self._client.members(room))

    # --- what is typed ----------------------------------------------------------------------------

    async def _step_all(self) -> None:
        """Go to other rooms by keys, also while a line waits for a connection."""
        while True:
            name = self._view.neighbour(await self._screen.steps.first())
            self._screen.steps.done()
            if name is not None and name != self._view.current:
                await self._add(self._view.switch(name))

    async def _carry_out_all(self) -> None:
        while True:
            text, room = await self._screen.typed.first()
            await self._carry_out(text, room or self._view.current)
            self._screen.typed.done()

    async def _carry_out(self, text: str, room: str | None) -> None:
        match read_typed(text, self._view.rooms):
            case Send(line=line):
                await self._send(line, room)
            case Switch(room=other):
                await self._add(self._view.switch(other))
            case ShowHelp(command=command):
                await self._help(command)
            case LeaveChat():
                await self._screen.end()

    async def _help(self, command: str | None) -> None:
        rows = {usage.name: usage for usage in self._usages}
        try:
            shown = lines.answer(HelpShown(help_lines(rows, command)))
        except Refused as refused:
            shown = self._view.failed(str(refused))
        await self._add(shown)

    async def _send(self, line: str, room: str | None) -> None:
        try:
            answer = await self._client.command(line, room, echo=True)
            await self._add(self._view.answered(answer, line))
        except Refused:
            pass  # that is an event too
        except NoConnection:
            lost = "the connection broke before this was answered; it may be done, or not"
            await self._add(self._view.failed(f"{lost}: {line}"))
        except ChatClosed:
            await self._screen.end()
