"""The keys of the terminal: completion, scrolling, other windows, and the way out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from prompt_toolkit.completion import (
    CompleteEvent,
    Completer,
    Completion,
    get_common_complete_suffix,
)
from prompt_toolkit.key_binding import KeyBindings

from trio_chat.terminal.completion import completions
from trio_chat.terminal.requests import GoTo, GoToNews, GoToNext, GoToPrevious, Request, Scroll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from trio_chat.terminal.completion import Words


# The requests that keys make, and their keys.
REQUESTS: Final[Sequence[tuple[Request, tuple[str, ...]]]] = (
    (GoToNews(), ("escape", "a")),
    (GoToNext(), ("c-n",)),
    (GoToPrevious(), ("c-p",)),
    *((GoTo(number), ("escape", str(number))) for number in range(1, 10)),
)


def request_keys(
    ask: Callable[[Request], object], log_size: Callable[[], tuple[int, int]]
) -> KeyBindings:
    """Return the keys for windows and the log. `log_size` gives its columns and rows."""
    keys = KeyBindings()

    def scroll(pages: int) -> None:
        """Scroll by pages that have one row in common."""
        columns, height = log_size()
        ask(Scroll(pages * max(1, height - 1), columns, height))

    keys.add("pageup")(lambda _: scroll(-1))
    keys.add("pagedown")(lambda _: scroll(1))
    for request, names in REQUESTS:
        keys.add(*names)(partial(_ask, ask, request))
    return keys


def _ask(ask: Callable[[Request], object], request: Request, _: KeyPressEvent) -> None:
    ask(request)


def field_keys(
    complete: Callable[[Buffer], object],
    leave: Callable[[], object],
    send: Callable[[str], object],
) -> KeyBindings:
    """Return the keys for the field, for a whole command, and for leaving from an empty field."""
    keys = KeyBindings()

    @keys.add("c-c")
    def _clear_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            leave()

    @keys.add("c-d")
    def _delete_or_leave(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.delete()
        else:
            leave()

    keys.add("f2")(lambda _: send("/log"))
    keys.add("tab")(lambda event: complete(event.current_buffer))
    keys.add("c-z")(lambda event: event.app.suspend_to_background())
    return keys


class TabCompleter(Completer):
    """Completes the line that is being typed, at the Tab key; `words` gives what is known."""

    def __init__(self, words: Callable[[], Words]) -> None:
        self._words = words

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
        """Find the completions of the last word before the cursor."""
        text = document.text_before_cursor
        start = -len(text.rpartition(" ")[2])
        found = completions(text, self._words())
        for word, end in found:
            yield Completion(word + end, start, display=word)
