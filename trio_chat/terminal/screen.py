"""The terminal itself: prompt_toolkit in a thread, lines above the one that is being typed.

prompt_toolkit's applications need asyncio, so this one runs in a thread of its own. What it shows
is given to it (`show`, `set_ui_state`); what is typed waits in `typed`, and keys for another room
in `steps`.
"""

from __future__ import annotations

import signal
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application.run_in_terminal import in_terminal
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style

from trio_chat.terminal.completion import completions
from trio_chat.terminal.lines import cut, wrapped
from trio_chat.terminal.thread_queue import ThreadQueue
from trio_chat.terminal.ui_state import UiState
from trio_chat.terminal.width import width

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from trio_chat.terminal.lines import Line

# Lines that may wait to be sent; then the next one stays where it is typed.
MOST_WAITING: Final = 20
# Seconds that a thread may take to start its application.
START_SECONDS: Final = 5.0

# A terminal does not say whether it is dark or light. Each of these has a contrast of nearly 4 to 1
# or more both to black and to white; no colour has more than 4.58 to both.
NICK_COLOURS: Final = (
    *("#d75f00", "#008700", "#0087af", "#d700af", "#af5f5f", "#5f5fd7", "#008787", "#5f8700"),
)
QUIET: Final = "#808080"
FAULT: Final = "#ff0000"
CALLED: Final = "#d700af"

# prompt_toolkit passes these on as they are: DECAWM off, and on (DEC STD 070, 5.6).
RAW: Final = "[ZeroWidthEscape]"
NO_AUTOWRAP: Final = "\x1b[?7l"
AUTOWRAP: Final = "\x1b[?7h"

STYLE: Final = Style.from_dict(
    {
        **{f"nick{number}": colour for number, colour in enumerate(NICK_COLOURS)},
        "time": QUIET,
        "quiet": QUIET,
        "heading": "bold",
        "called": "bold",
        "private": "bold",
        "fault": FAULT,
        "room": "bold",
        "status": QUIET,
        "status.unread": "bold",
        "status.called": f"bold {CALLED}",
        "status.fault": FAULT,
    }
)


class _Input(Vt100Input):
    """What is typed; while lines are put above it, the terminal itself does not show it too."""

    stays_raw = False

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext() if self.stays_raw else super().cooked_mode()


class Screen:
    """A person's terminal, for as long as `run` runs."""

    def __init__(self) -> None:
        # Lines with the room they are meant for, which is the one in the prompt.
        self.typed: ThreadQueue[tuple[str, str | None]] = ThreadQueue(MOST_WAITING)
        # Steps to other rooms.
        self.steps: ThreadQueue[int] = ThreadQueue(MOST_WAITING)
        self._ui_state = UiState()
        self._started = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._input = _Input(sys.stdin)
        self._session: PromptSession[str] = PromptSession(
            self._prompt,
            input=self._input,
            completer=_Completer(lambda: self._ui_state),
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            enable_suspend=True,
            erase_when_done=True,
            include_default_pygments_style=False,
            key_bindings=self._keys(),
            reserve_space_for_menu=0,
            style=STYLE,
        )
        self._session.default_buffer.accept_handler = self._accept
        self._app = self._session.app

    # --- Trio's side ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Have the terminal until the person leaves; however it ends, it is as it was before."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_cancelled)
            # Ctrl-Z is to stop the thread that asks for it at once. One that ran on for a moment
            # would ask the terminal where its cursor is, and the shell would get the answer.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
            try:
                await trio.to_thread.run_sync(self._run_app)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                self._loop = None
                nursery.cancel_scope.cancel()

    async def _end_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()  # until the screen has ended
        finally:
            with trio.move_on_after(START_SECONDS, shield=True):
                await self.end()

    async def end(self) -> None:
        """Give the terminal back; `run` returns soon."""
        await self._started.wait()  # a thread that has only just begun will start its application
        self._soon(self._leave)

    def set_ui_state(self, ui_state: UiState) -> None:
        """Show this around the line that is typed from now on."""
        if ui_state != self._ui_state:
            self._ui_state = ui_state
            self._app.invalidate()

    async def show(self, lines: Sequence[Line]) -> None:
        """Put lines above the one that is typed; returns once they are there."""
        await self._started.wait()
        shown, token = trio.Event(), trio.lowlevel.current_trio_token()

        async def put() -> None:
            try:
                self._input.stays_raw = True
                async with in_terminal():
                    self._print(lines)
            finally:
                self._input.stays_raw = False
                token.run_sync_soon(shown.set)

        if self._soon(lambda: self._app.create_background_task(put())):
            await shown.wait()

    def _soon(self, call: Callable[[], object]) -> bool:
        """Have the application's thread do this; whether it will."""
        if self._loop is None:
            return False
        with suppress(RuntimeError):  # it has just ended
            self._loop.call_soon_threadsafe(call)
            return True
        return False

    # --- the thread's side ------------------------------------------------------------------------

    def _run_app(self) -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
        try:
            with suppress(EOFError):  # the terminal is gone
                self._app.run(pre_run=self._start, set_exception_handler=False, handle_sigint=False)
        finally:
            self._tell_trio(self._started.set)

    def _start(self) -> None:
        self._loop = self._app.loop
        if self._loop is not None:
            self._loop.set_exception_handler(self._fail)
        self._tell_trio(self._started.set)

    def _fail(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End with the error of a key, a completion or a redrawing."""
        error = context.get("exception") or RuntimeError(context.get("message"))
        if isinstance(error, BaseException) and not self._is_done():
            self._app.exit(exception=error)

    def _print(self, lines: Sequence[Line]) -> None:
        for line in lines:
            fitted = wrapped(line, self._app.output.get_size().columns)
            # A terminal that takes a character for wider must not begin a row of its own.
            row = [(RAW, NO_AUTOWRAP), *_formatted(fitted), ("", "\n"), (RAW, AUTOWRAP)]
            self._app.print_text(FormattedText(row))

    def _leave(self) -> None:
        if not self._is_done():
            self._app.exit()

    def _is_done(self) -> bool:
        return self._app.future is None or self._app.future.done()

    def _prompt(self) -> FormattedText:
        """How things stand, in a row of its own, and what stands before what is typed."""
        columns = self._app.output.get_size().columns
        status = [("status", "─ "), *self._ui_state.status]
        if self.typed and not self._ui_state.connected:
            status.insert(1, ("status.fault", f"{len(self.typed)} to send · "))
        status = cut(status, columns - 1)
        rest = columns - sum(width(text) for _, text in status)
        rule = ("status", f" {'─' * (rest - 1)}\n")
        return _formatted([*status, rule, *self._ui_state.prompt])

    def _accept(self, buffer: Buffer) -> bool:
        """Take what was typed; whether it stays there, which is when too much waits already."""
        ui_state = self._ui_state
        if buffer.text.strip() == "/quit" and not ui_state.connected:
            self._leave()  # what waits would keep it waiting
            return False
        return not self.typed.give([(line, ui_state.room) for line in buffer.text.splitlines()])

    def _tell_trio(self, call: Callable[[], object]) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(call)

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-c")
        def _clear_or_leave(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                self._leave()

        @keys.add("c-d")
        def _delete_or_leave(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.delete()
            else:
                self._leave()

        @keys.add("c-n")
        def _next_room(_: KeyPressEvent) -> None:
            self.steps.give([1])

        @keys.add("c-p")
        def _previous_room(_: KeyPressEvent) -> None:
            self.steps.give([-1])

        return keys


class _Completer(Completer):
    def __init__(self, ui_state: Callable[[], UiState]) -> None:
        self._ui_state = ui_state

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - the interface
    ) -> Iterable[Completion]:
        text = document.text_before_cursor
        start = -len(text.rpartition(" ")[2])
        found = completions(text, self._ui_state().words)
        for word, end in found:
            yield Completion(word + end, start, display=word)


def _formatted(line: Line) -> FormattedText:
    return FormattedText([(f"class:{style}" if style else "", text) for style, text in line])
