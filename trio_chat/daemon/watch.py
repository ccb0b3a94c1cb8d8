"""Shows a text repeatedly: in place on a terminal, one below the other elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

from trio_chat.daemon.output import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Switch to the alternate screen without a cursor, on which long lines are cut; and back.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def keep_showing(text: Callable[[], str], seconds: float, *, between: str = "") -> None:
    """Show the result of `text` every so many seconds, until Ctrl-C or until nobody reads it.

    Unless standard output is a terminal, `between` follows each text. An exception in `text` ends
    this too.
    """
    show, place = (in_place, own_screen) if sys.stdout.isatty() else (in_turn, nullcontext)
    with suppress(KeyboardInterrupt, BrokenPipeError), place():
        while True:
            now = text()
            with writing():
                show(now, between)
            time.sleep(seconds)  # the interval that the operator chose


@contextmanager
def own_screen() -> Iterator[None]:
    """Use the terminal's alternate screen for a block, and restore the other at its end."""
    sys.stdout.write(ENTER)
    try:
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def in_place(text: str, _: str) -> None:
    """Replace the text on the screen by as much of this one as fits."""
    rows = shutil.get_terminal_size().lines
    lines = [f"{line}{REST_OF_LINE}" for line in text.split("\n")[:rows]]
    sys.stdout.write(HOME + "\r\n".join(lines) + REST_OF_SCREEN)


def in_turn(text: str, between: str) -> None:
    """Write the text below the ones before."""
    sys.stdout.write(f"{text}\n{between}")
