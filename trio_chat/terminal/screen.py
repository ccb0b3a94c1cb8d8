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
from prompt_toolkit.key_binding import merge_key_bindings
from prompt_toolkit.layout import Layout

from trio_chat.terminal.accounts import Confidential, with_secrets
from trio_chat.terminal.keys import TabCompleter, field_keys, request_keys
from trio_chat.terminal.layout import Rows
from trio_chat.terminal.requests import Request, ScrollToEnd
from trio_chat.terminal.secret_row import SecretRow
from trio_chat.terminal.styles import STYLE
from trio_chat.terminal.thread_queue import ThreadQueue
from trio_chat.terminal.ui_state import UiState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from trio_chat.terminal.window import Window as ChatWindow

# A typed line, with the window that was on screen.
Typed: TypeAlias = "tuple[str | Confidential, ChatWindow]"

# Typed lines that may wait to be sent. While there are so many, the next one stays in its row.
MOST_WAITING: Final = 20
# Seconds that the thread may take to start or end its application.
START_SECONDS: Final = 5.0


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
        completer = TabCompleter(lambda: self._ui_state.words)
        typed = Buffer(accept_handler=self._accept, completer=completer, multiline=False)
        self._secrets = SecretRow(self._give_secrets, typed)
        rows = Rows(lambda: self._ui_state, self._waiting, typed, self._secrets)
        keys = (
            field_keys(completer.complete, self._leave, self._send),
            request_keys(self._ask, lambda: rows.log.size),
            self._secrets.keys(),
        )
        self._app: Application[None] = Application(
            Layout(rows.container),
            clipboard=self._secrets.clipboard,
            enable_page_navigation_bindings=False,
            full_screen=True,
            include_default_pygments_style=False,
            key_bindings=merge_key_bindings(keys),
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

    def _send(self, line: str) -> None:
        """Take a line as if it were typed, and leave the field as it is."""
        if self._ui_state.window is not None:
            self._give([(line, self._ui_state.window)])

    def _give_secrets(self, command: Confidential) -> bool:
        window = self._ui_state.window
        return window is not None and self._give([(command, window)])

    def _give(self, typed: list[Typed]) -> bool:
        """Pass on what was typed; gives whether there was room for it."""
        self._refused = bool(typed) and not self.typed.give(typed)
        return not self._refused

    def _waiting(self) -> tuple[int, bool]:
        return len(self.typed), self._refused

    def _ask(self, request: Request) -> None:
        self.requests.give([request])

    def _tell_trio(self, call: Callable[[], object]) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(call)
