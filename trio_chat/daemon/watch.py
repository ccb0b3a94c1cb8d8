"""Shows a text again and again: in place on a terminal, one after the other elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A screen of one's own, without cursor, on which long lines are cut; and back again.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, REST_OF_LINE, REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def keep_showing(text: Callable[[], str], seconds: float, *, between: str = "") -> None:
    """Show what `text` gives, every so many seconds, until Ctrl-C or nobody reads on.

    Elsewhere than on a terminal, `between` comes after each. What `text` raises ends it.
    """
    show, place = (in_place, own_screen) if sys.stdout.isatty() else (in_turn, nullcontext)
    with suppress(KeyboardInterrupt), place():
        while True:
            try:
                show(text(), between)
                sys.stdout.flush()
            except BrokenPipeError:
                # Python would write the rest once more, at its end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return
            time.sleep(seconds)  # between two looks


@contextmanager
def own_screen() -> Iterator[None]:
    """Take the terminal's other screen, and leave everything as it was."""
    sys.stdout.write(ENTER)
    try:
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def in_place(text: str, _: str) -> None:
    """Write over what was there before, as much as there is place for."""
    rows = shutil.get_terminal_size().lines
    lines = [f"{line}{REST_OF_LINE}" for line in text.split("\n")[:rows]]
    sys.stdout.write(HOME + "\r\n".join(lines) + REST_OF_SCREEN)


def in_turn(text: str, between: str) -> None:
    """Write it after what was there before."""
    sys.stdout.write(f"{text}\n{between}")
