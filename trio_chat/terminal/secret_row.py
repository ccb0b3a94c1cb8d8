"""The row in which a person types secrets: it shows none of them, and keeps none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.clipboard import DummyClipboard, DynamicClipboard, InMemoryClipboard
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import DummyHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.layout import BufferControl, ConditionalContainer, Window
from prompt_toolkit.layout.processors import BeforeInput, PasswordProcessor

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.key_binding import KeyPressEvent

    from trio_chat.terminal.accounts import Confidential


class SecretRow:
    """Asks for the secrets of a command, one after the other, and gives them all at once.

    `give` says whether there was room for them; otherwise the last one stays in the row. The person
    types in `usual` at other times.
    """

    def __init__(self, give: Callable[[Confidential], bool], usual: Buffer) -> None:
        self._give = give
        self._usual = usual
        # The command, with the secrets so far.
        self._command: Confidential | None = None
        self.is_asking = Condition(lambda: self._command is not None)
        # A key that deletes text would leave it in the clipboard, and another one shows that.
        cut, nothing = InMemoryClipboard(), DummyClipboard()
        self.clipboard = DynamicClipboard(lambda: nothing if self.is_asking() else cut)
        buffer = Buffer(accept_handler=self._accept, history=DummyHistory(), multiline=False)
        shown = [PasswordProcessor(), BeforeInput(self._prompt, style="class:prompt")]
        self._control = BufferControl(buffer, input_processors=shown)
        row = Window(self._control, height=1, dont_extend_height=True)
        self.container = ConditionalContainer(row, self.is_asking)

    def ask(self, command: Confidential) -> None:
        """Ask for what this command lacks, in place of the line in which one types."""
        self._command = command
        get_app().layout.focus(self._control)

    def cancel(self) -> None:
        """Forget what was typed, and go back to the line in which one types."""
        self._command = None
        self._control.buffer.reset()
        get_app().layout.focus(self._usual)

    def keys(self) -> KeyBindings:
        """Keys that mean something else while a secret is asked for."""
        keys = KeyBindings()

        # Not eager, the key would wait for another one. So Alt and a key cancel, too.
        @keys.add("escape", filter=self.is_asking, eager=True)
        @keys.add("c-c", filter=self.is_asking)
        def _cancel(_: KeyPressEvent) -> None:
            self.cancel()

        @keys.add("tab", filter=self.is_asking)
        def _complete_nothing(_: KeyPressEvent) -> None:
            pass

        return keys

    def _prompt(self) -> str:
        return "" if self._command is None else f"{self._command.asks[0].prompt} (Esc cancels): "

    def _accept(self, buffer: Buffer) -> bool:
        """Take a secret; gives whether it stays, because too many lines wait."""
        secret = buffer.text.rstrip("\n")
        if self._command is None or not secret:
            self.cancel()
            return False
        command = evolve(self._command, secrets=(*self._command.secrets, secret))
        if command.asks:
            self._command = command
        elif self._give(command):
            self.cancel()
        else:
            return True
        return False
