"""A person at a screen: events go to the view, typed lines to the server."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.errors import ChatClosed, Code, NoConnection, Refused
from trio_chat.protocol.events import HelpShown, Welcomed
from trio_chat.protocol.table import help_lines
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal import lines
from trio_chat.terminal.accounts import Confidential, before, carry_out, this_device
from trio_chat.terminal.caution import Caution
from trio_chat.terminal.history import History
from trio_chat.terminal.requests import (
    GoTo,
    GoToNews,
    GoToNext,
    GoToPrevious,
    Scroll,
    ScrollToEnd,
)
from trio_chat.terminal.typed import (
    Clear,
    CloseTalk,
    Impossible,
    LeaveChat,
    OpenTalk,
    SayPrivately,
    Send,
    ShowHelp,
    Switch,
    read_on_screen,
    usages,
)
from trio_chat.terminal.ui_state import ui_state
from trio_chat.terminal.view import View
from trio_chat.terminal.window import Room, Talk

if TYPE_CHECKING:
    from trio_chat.remote import RemoteClient
    from trio_chat.remote.inbox import RemoteEvent
    from trio_chat.terminal.logins import Logins
    from trio_chat.terminal.requests import Request
    from trio_chat.terminal.screen import Screen
    from trio_chat.terminal.typed import MeaningOnScreen
    from trio_chat.terminal.window import Window

# Seconds in which joins and leaves are gathered into one line.
GATHER_SECONDS: Final = 1.0
# Seconds after which a typed line that waits for its answer is shown as waiting.
SLOW_SECONDS: Final = 1.0
# Seconds between two drawings, and between two rings of the bell.
DRAW_SECONDS: Final = 0.02
RING_SECONDS: Final = 1.0
# Said of a line whose answer has not come.
CUT_OFF: Final = "the connection broke before this was answered; it may be done, or not"


class Conversation:
    """A person at a screen, and the chat.

    `logins` keeps the person logged in. `in_room`: the client has been welcomed in a room, which is
    among the events. `bell`: the terminal rings when somebody calls the person.
    """

    def __init__(
        self,
        client: RemoteClient,
        screen: Screen,
        logins: Logins,
        *,
        in_room: bool,
        bell: bool = True,
    ) -> None:
        self._client = client
        self._logins = logins
        self._device = this_device()
        self._screen = screen
        self._in_room = in_room
        self._bell = bell
        self._view = View(client.id, client.nick, client.hello.greeting)
        self._log_id = client.hello.log
        self._history = History(client, self._view, self._draw_soon)
        self._caution = Caution(client)
        self._changed = trio.Event()
        # Why the connection ended last, and why the client has left, if it was not the person.
        self._reason = "the connection was closed"
        self._ended = ""

    async def run(self) -> str:
        """Go on until the person leaves, or the client has left.

        Gives the reason why the client has left; it is empty if the person did.
        """
        self._draw_soon()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._draw)
            nursery.start_soon(self._follow)
            nursery.start_soon(self._history.run)
            nursery.start_soon(self._carry_out_all)
            nursery.start_soon(self._grant_all)
            await self._screen.run()
            nursery.cancel_scope.cancel()
        return self._ended

    # --- what is shown ----------------------------------------------------------------------------

    def _draw_soon(self) -> None:
        self._changed.set()

    async def _draw(self) -> None:
        """Give the screen the view whenever it has changed, and ring."""
        rung, calls = float("-inf"), self._view.windows.calls
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            usages_now = usages(self._client.commands)
            self._screen.set_ui_state(ui_state(self._view, usages_now))
            if calls != self._view.windows.calls:
                calls = self._view.windows.calls
                if self._bell and trio.current_time() - rung >= RING_SECONDS:
                    rung = trio.current_time()
                    self._screen.ring()
            await trio.sleep(DRAW_SECONDS)  # a flood of events is drawn now and then

    # --- what happens -----------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Take events in until there are no more."""
        if not self._in_room:
            self._view.begin()
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
                self._view.flush_presence()
            else:
                await self._take(event)
            self._draw_soon()

    async def _take(self, event: RemoteEvent) -> None:
        if isinstance(event, Resumed):
            self._view.me = self._client.id
        self._view.take(event)
        if problem := self._logins.take(event):
            self._view.fail(problem)
        self._draw_soon()
        match event:
            case Welcomed(room=room):
                await self._history.fill(room)
                await self._learn_rooms()
            case Disconnected(reason=reason):
                self._reason = reason
            case Resumed(rooms=rooms, anew=anew):
                if self._client.hello.log != self._log_id:
                    self._log_id = self._client.hello.log
                    self._view.forget_positions()
                if anew:
                    await self._look_around(rooms)
                await self._history.fill()

    async def _learn_rooms(self) -> None:
        if not self._client.connected:
            return
        with suppress(NoConnection, ChatClosed):
            self._view.known_rooms = await self._client.rooms()
        self._draw_soon()

    async def _look_around(self, rooms: tuple[str, ...]) -> None:
        """Fetch the members of these rooms."""
        for room in rooms:
            if not self._client.connected:
                return
            with suppress(Refused, NoConnection, ChatClosed):
                self._view.take(await self._client.members(room))

    # --- what the person does ---------------------------------------------------------------------

    async def _grant_all(self) -> None:
        """Do what keys ask for, also while a line waits for a connection."""
        while True:
            self._grant(await self._screen.requests.first())
            self._screen.requests.done()
            self._draw_soon()

    def _grant(self, request: Request) -> None:
        windows = self._view.windows
        match request:
            case GoToNext():
                self._show(windows.next())
            case GoToPrevious():
                self._show(windows.previous())
            case GoTo(number=number):
                self._show(windows.numbered(number))
            case GoToNews():
                self._show(windows.next_with_news())
            case Scroll():
                self._history.scroll(request)
            case ScrollToEnd():
                self._history.scroll_to_end()

    def _show(self, window: Window | None) -> None:
        if window is not None and window is not self._view.current:
            self._view.switch(window)

    async def _carry_out_all(self) -> None:
        while True:
            typed, window = await self._screen.typed.first()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say_if_slow)
                if isinstance(typed, Confidential):
                    await self._carry_out_confidential(typed)
                else:
                    await self._carry_out(typed, window)
                nursery.cancel_scope.cancel()
            self._screen.typed.done()
            self._view.slow = False
            self._draw_soon()

    async def _say_if_slow(self) -> None:
        """Show that lines wait, once the server has not answered for a while."""
        await trio.sleep(SLOW_SECONDS)  # cancelled by an answer before that
        self._view.slow = True
        self._draw_soon()

    async def _carry_out(self, text: str, window: Window) -> None:
        view, in_talk = self._view, isinstance(window, Talk)
        known = {row.name for row in self._client.commands}
        match read_on_screen(text, known, view.windows.rooms, in_talk=in_talk):
            case Send(line=line):
                await self._send(line, window)
            case SayPrivately(text=said) if isinstance(window, Talk):
                await self._say_privately(said, window)
            case OpenTalk(nick=nick, text=said):
                talk = view.open_talk(nick)
                if said:
                    await self._say_privately(said, talk)
            case LeaveChat():
                await self._screen.end()
            case meaning:
                self._do_here(meaning, window)

    def _do_here(self, meaning: MeaningOnScreen | None, window: Window) -> None:
        """Do what needs no server."""
        match meaning:
            case CloseTalk():
                self._view.close(window)
            case Switch(room=name):
                self._show(self._view.windows.rooms.get(name))
            case Clear():
                window.clear()
            case ShowHelp(command=command):
                self._help(command)
            case Impossible(reason=reason):
                self._view.fail(reason)

    def _help(self, command: str | None) -> None:
        rows = {usage.name: usage for usage in usages(self._client.commands)}
        try:
            self._view.show(lines.answer(HelpShown(help_lines(rows, command))))
        except Refused as refused:
            self._view.fail(str(refused))

    async def _say_privately(self, text: str, talk: Talk) -> None:
        view, talks = self._view, self._view.talks
        recipient = talks.recipient(talk, text)
        try:
            told = await self._client.tell(talk.name, text, client=recipient)
            talks.sent(talk, view.nick, told)
        except Refused as refused:
            if refused.code == Code.NICK_PASSED_ON:
                talks.ask(talk, text, str(refused))
            else:
                view.fail(f"not sent: {refused}", talk)
        except NoConnection:
            view.fail(f"{CUT_OFF}: {text}", talk)
        except ChatClosed:
            await self._screen.end()

    async def _carry_out_confidential(self, command: Confidential) -> None:
        """Send secrets, once: if the connection breaks, the person has to decide."""
        try:
            if (shown := await carry_out(self._client, command, self._device)) is not None:
                self._view.show(lines.answer(shown))
        except Refused as refused:
            self._view.fail(str(refused))
        except NoConnection:
            self._view.fail(f"{CUT_OFF}: {command.line}")
        except ChatClosed:
            await self._screen.end()

    async def _send(self, line: str, window: Window) -> None:
        room = window.key if isinstance(window, Room) else None
        try:
            if question := await self._caution.question(line, room):
                self._view.fail(question)
                return
            await before(self._client, line)
            self._view.answered(await self._client.command(line, room, echo=True), line)
        except Refused:
            pass  # that is an event too
        except NoConnection:
            self._view.fail(f"{CUT_OFF}: {line}")
        except ChatClosed:
            await self._screen.end()
