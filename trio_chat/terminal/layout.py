"""The rows of the terminal: the title, the log, the status, and the field below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prompt_toolkit.application import get_app
from prompt_toolkit.layout import (
    BufferControl,
    CompletionsMenu,
    ConditionalContainer,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    UIContent,
    UIControl,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput

from trio_chat.terminal.log import visible_rows
from trio_chat.terminal.styles import formatted
from trio_chat.terminal.ui_state import UiState, status_row, title_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.formatted_text import FormattedText

    from trio_chat.terminal.secret_row import SecretRow

# Rows that the menu of completions may take.
MENU_ROWS: Final = 6


class Rows:
    """Draws what `ui_state` gives.

    `typed` is what a person types, and `secrets` is the row for secrets in its place. `waiting`
    gives how many typed lines wait, and whether there was no room for one more.
    """

    def __init__(
        self,
        ui_state: Callable[[], UiState],
        waiting: Callable[[], tuple[int, bool]],
        typed: Buffer,
        secrets: SecretRow,
    ) -> None:
        self._ui_state = ui_state
        self._waiting = waiting
        self.log = _LogControl(ui_state)
        prompt = BeforeInput(lambda: formatted(ui_state().prompt))
        field = Window(
            BufferControl(typed, input_processors=[prompt]),
            height=_field_height,
            dont_extend_height=True,
            wrap_lines=True,
        )
        rows = HSplit(
            [
                Window(FormattedTextControl(self._title), height=1),
                Window(self.log),
                Window(FormattedTextControl(self._status), height=1),
                ConditionalContainer(field, ~secrets.is_asking),
                secrets.container,
            ]
        )
        menu = Float(CompletionsMenu(max_height=MENU_ROWS), xcursor=True, ycursor=True)
        self.container = FloatContainer(rows, [menu])

    def _title(self) -> FormattedText:
        return formatted(title_row(self._ui_state(), _columns()))

    def _status(self) -> FormattedText:
        waiting, refused = self._waiting()
        return formatted(status_row(self._ui_state(), _columns(), waiting, refused=refused))


class _LogControl(UIControl):
    """The rows of the log; `size` is the columns and rows that it had last."""

    def __init__(self, ui_state: Callable[[], UiState]) -> None:
        self.size = (1, 1)
        self._ui_state = ui_state

    def create_content(self, width: int, height: int) -> UIContent:
        self.size = (width, height)
        rows = [formatted(row) for row in visible_rows(self._ui_state().log, width, height)]
        return UIContent(rows.__getitem__, len(rows), show_cursor=False)


def _columns() -> int:
    return get_app().output.get_size().columns


def _field_height() -> Dimension:
    """A long line may take a third of the screen."""
    return Dimension(min=1, max=max(1, get_app().output.get_size().rows // 3))
