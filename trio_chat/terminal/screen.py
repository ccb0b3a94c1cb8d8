"""The terminal itself: prompt_toolkit in a thread, which draws and reads keys.

prompt_toolkit needs asyncio, so it runs in a thread of its own. The thread draws the last state
that `set_ui_state` was given. Typed lines wait in `typed`, and what keys ask for in `requests`.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    get_common_complete_suffix,
)
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    ConditionalContainer,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.styles import Style

from trio_chat.terminal.accounts import Confidential, with_secrets
from trio_chat.terminal.completion import completions
from trio_chat.terminal.log import visible_rows
from trio_chat.terminal.requests import (
    GoTo,
    GoToNews,
    GoToNext,
    GoToPrevious,
    Request,
    Scroll,
    ScrollToEnd,
)
from trio_chat.terminal.secret_row import SecretRow
from trio_chat.terminal.thread_queue import ThreadQueue
from trio_chat.terminal.ui_state import UiState, status_row, title_row

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from trio_chat.terminal.lines import Line
    from trio_chat.terminal.window import Window as ChatWindow

# A typed line, with the window that was on screen.
Typed: TypeAlias = "tuple[str | Confidential, ChatWindow]"

# Typed lines that may wait to be sent. While there are so many, the next one stays in its row.
MOST_WAITING: Final = 20
# Seconds that the thread may take to start or end its application.
START_SECONDS: Final = 5.0
# Rows that the menu of completions may take.
MENU_ROWS: Final = 6

# A terminal does not say whether it is dark or light. Each of these colours has a contrast of about
# 4 to 1 both to black and to white. No colour has more than 4.58 to both.
NICK_COLOURS: Final = (
    *("#d75f00", "#008700", "#0087af", "#d700af", "#af5f5f", "#5f5fd7", "#008787", "#5f8700"),
)
QUIET: Final = "#808080"
FAULT: Final = "#ff0000"
CALLED: Final = "#d700af"

STYLE: Final = Style.from_dict(
    {
        **{f"nick{number}": colour for number, colour in enumerate(NICK_COLOURS)},
        "time": QUIET,
        "quiet": QUIET,
        "rule": QUIET,
        "mark": QUIET,
        "heading": "bold",
        "called": "bold",
        "private": "bold",
        "fault": FAULT,
        "prompt": "bold",
        "status": QUIET,
        "status.current": "bold",
        "status.unread": "bold",
        "status.called": f"bold {CALLED}",
        "status.newer": "bold",
        "status.fault": FAULT,
    }
)


class Screen:
    """A person's terminal, for as long as `run` runs; `first` is a command to ask secrets for."""

    def __init__(self, first: Confidential | None = None) -> None:
        self._first = first
        self.typed: ThreadQueue[Typed] = ThreadQueue(MOST_WAITING)
        self.requests: ThreadQueue[Request] = ThreadQueue(MOST_WAITING)
        # Whether the line in the field was refused, because too many wait.
        self._refused = False
        self._ui_state = UiState()
        self._started = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log = _LogControl(lambda: self._ui_state)
        self._completer = _Completer(lambda: self._ui_state)
        self._typed = Buffer(
            accept_handler=self._accept, completer=self._completer, multiline=False
        )
        self._secrets = SecretRow(self._give_secrets, self._typed)
        self._app: Application[None] = Application(
            Layout(self._rows()),
            clipboard=self._secrets.clipboard,
            enable_page_navigation_bindings=False,
            full_screen=True,
            include_default_pygments_style=False,
            key_bindings=merge_key_bindings([self._keys(), self._secrets.keys()]),
            style=STYLE,
        )

    # --- Trio's side ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Have the terminal until the person leaves; afterwards it is as it was before."""
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_cancelled)
            nursery.start_soon(self._follow_size)
            # Ctrl-Z has to stop the thread that handles it at once. If another thread took the
            # signal, this one would draw on while the shell has the terminal.
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

    async def _follow_size(self) -> None:
        """Draw anew when the terminal has another size; only the main thread gets the signal."""
        with trio.open_signal_receiver(signal.SIGWINCH) as signals:
            async for _ in signals:
                self._app.invalidate()

    async def end(self) -> None:
        """Give the terminal back; `run` returns soon."""
        await self._started.wait()  # a thread that has just begun still starts its application
        self._soon(self._leave)

    def set_ui_state(self, ui_state: UiState) -> None:
        """Show this from now on."""
        self._ui_state = ui_state
        self._app.invalidate()

    def ring(self) -> None:
        """Ring the terminal's bell."""
        self._soon(self._ring)

    def _soon(self, call: Callable[[], object]) -> None:
        """Have the application's thread do this, unless the application has ended."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(call)

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
        if self._first is not None:
            self._secrets.ask(self._first)
        self._tell_trio(self._started.set)

    def _fail(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End with the error of a key, a completion or a redrawing."""
        error = context.get("exception") or RuntimeError(context.get("message"))
        if isinstance(error, BaseException) and not self._is_done():
            self._app.exit(exception=error)

    def _ring(self) -> None:
        self._app.output.bell()
        self._app.output.flush()

    def _leave(self) -> None:
        if not self._is_done():
            self._app.exit()

    def _is_done(self) -> bool:
        return self._app.future is None or self._app.future.done()

    def _accept(self, buffer: Buffer) -> bool:
        """Take a typed line; gives whether it stays there, because too many lines wait."""
        state = self._ui_state
        if buffer.text.strip() == "/quit" and not state.connected:
            self._leave()  # it would wait behind the lines that wait for a connection
            return False
        if state.window is None:
            return True
        self.requests.give([ScrollToEnd()])
        typed = list(with_secrets(buffer.text.splitlines(), accounts=state.accounts))
        last = typed[-1] if typed else ""
        asking = last if isinstance(last, Confidential) and last.asks else None
        whole = typed if asking is None else typed[:-1]
        if not self._give([(line, state.window) for line in whole]):
            return True
        # Secrets that were pasted with their command cannot be brought back.
        buffer.text = "\n".join(line if isinstance(line, str) else line.line for line in typed)
        if asking is not None:
            self._secrets.ask(asking)
        return False

    def _give_secrets(self, command: Confidential) -> bool:
        window = self._ui_state.window
        return window is not None and self._give([(command, window)])

    def _give(self, typed: list[Typed]) -> bool:
        """Pass on what was typed; gives whether there was room for it."""
        self._refused = bool(typed) and not self.typed.give(typed)
        return not self._refused

    def _tell_trio(self, call: Callable[[], object]) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(call)

    # --- rows and keys ----------------------------------------------------------------------------

    def _rows(self) -> FloatContainer:
        prompt = BeforeInput(lambda: _formatted(self._ui_state.prompt))
        typed = Window(
            BufferControl(self._typed, input_processors=[prompt]),
            height=self._typed_height,
            dont_extend_height=True,
            wrap_lines=True,
        )
        rows = HSplit(
            [
                Window(FormattedTextControl(self._title), height=1),
                Window(self._log),
                Window(FormattedTextControl(self._status), height=1),
                ConditionalContainer(typed, ~self._secrets.is_asking),
                self._secrets.container,
            ]
        )
        menu = Float(CompletionsMenu(max_height=MENU_ROWS), xcursor=True, ycursor=True)
        return FloatContainer(rows, [menu])

    def _title(self) -> FormattedText:
        return _formatted(title_row(self._ui_state, self._columns()))

    def _status(self) -> FormattedText:
        row = status_row(self._ui_state, self._columns(), len(self.typed), refused=self._refused)
        return _formatted(row)

    def _columns(self) -> int:
        return self._app.output.get_size().columns

    def _typed_height(self) -> Dimension:
        """A long line may take a third of the screen."""
        return Dimension(min=1, max=max(1, self._app.output.get_size().rows // 3))

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

        @keys.add("tab")
        def _complete(event: KeyPressEvent) -> None:
            self._completer.complete(event.current_buffer)

        @keys.add("c-z")
        def _suspend(event: KeyPressEvent) -> None:
            event.app.suspend_to_background()

        @keys.add("pageup")
        def _up(_: KeyPressEvent) -> None:
            self._scroll(-1)

        @keys.add("pagedown")
        def _down(_: KeyPressEvent) -> None:
            self._scroll(1)

        self._ask_by(keys, GoToNews(), "escape", "a")
        self._ask_by(keys, GoToNext(), "c-n")
        self._ask_by(keys, GoToPrevious(), "c-p")
        for number in range(1, 10):
            self._ask_by(keys, GoTo(number), "escape", str(number))
        return keys

    def _ask_by(self, bindings: KeyBindings, request: Request, *keys: str) -> None:
        @bindings.add(*keys)
        def _ask(_: KeyPressEvent) -> None:
            self.requests.give([request])

    def _scroll(self, pages: int) -> None:
        """Scroll by pages that have one row in common."""
        columns, height = self._log.size
        self.requests.give([Scroll(pages * max(1, height - 1), columns, height)])


class _LogControl(UIControl):
    """The rows of the log; `size` is the columns and rows that it had last."""

    def __init__(self, ui_state: Callable[[], UiState]) -> None:
        self.size = (1, 1)
        self._ui_state = ui_state

    def create_content(self, width: int, height: int) -> UIContent:
        self.size = (width, height)
        rows = [_formatted(row) for row in visible_rows(self._ui_state().log, width, height)]
        return UIContent(rows.__getitem__, len(rows), show_cursor=False)


class _Completer(Completer):
    def __init__(self, ui_state: Callable[[], UiState]) -> None:
        self._ui_state = ui_state

    def complete(self, buffer: Buffer) -> None:
        """Insert the text that all completions share, or show a menu of them, or go through it.

        The text is inserted at once, so that the next keys come after it.
        """
        document = buffer.document
        if buffer.complete_state is not None:
            buffer.complete_next()
            return
        found = list(self.get_completions(document, CompleteEvent(completion_requested=True)))
        if len(found) == 1:
            buffer.delete_before_cursor(-found[0].start_position)
            buffer.insert_text(found[0].text)
        elif common := get_common_complete_suffix(document, found):
            buffer.insert_text(common)
        elif found:
            buffer.start_completion()

    def get_completions(
        self,
        document: Document,
        complete_event: CompleteEvent,  # noqa: ARG002 - as prompt_toolkit calls it
    ) -> Iterable[Completion]:
        text = document.text_before_cursor
        start = -len(text.rpartition(" ")[2])
        found = completions(text, self._ui_state().words)
        for word, end in found:
            yield Completion(word + end, start, display=word)


def _formatted(line: Line) -> FormattedText:
    return FormattedText([(f"class:{style}" if style else "", text) for style, text in line])
