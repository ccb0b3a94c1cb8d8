"""The lines of one window, and the part of them that its reader looks at."""

from __future__ import annotations

import time
from collections import deque
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import frozen

from trio_chat.terminal import lines
from trio_chat.terminal.lines import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.terminal.lines import Line

# Lines that a window keeps: while its reader is at the end, and while they read older ones.
MOST_LINES: Final = 500
MOST_BACK: Final = 5_000
# Lines that wait below a reader who has scrolled back. Later ones push out the first.
MOST_NEWER: Final = 500
# Rows of the tallest terminal. A reader is never shown more lines than this.
MOST_ROWS: Final = 300


@frozen(eq=False)
class LogLine:
    """A line, its time, and its position if it shows a persistent entry (else 0)."""

    time: float
    line: Line
    position: int = 0

    @property
    def day(self) -> tuple[int, ...]:
        """The local date of the line."""
        return time.localtime(self.time)[:3]


@frozen
class LogView:
    """The lines of a log that a screen may show; the last of them is cut by the screen's edge.

    `cut` is the number of that line's rows below the edge. `first_new` is the first line that came
    after the reader went to another window.
    """

    lines: tuple[LogLine, ...] = ()
    cut: int = 0
    first_new: LogLine | None = None


class Log:
    """A bounded log with one reader, who is at its end or has scrolled back.

    New lines never move the view of a reader who has scrolled back.
    """

    def __init__(self) -> None:
        self._lines: deque[LogLine] = deque()
        # Lines that came since the reader scrolled back, and how many of those were pushed out.
        self._newer: deque[LogLine] = deque(maxlen=MOST_NEWER)
        self._pushed_out = 0
        # The view's lower edge: whole lines below it, and rows below it of the line that it cuts.
        self._below = 0
        self._cut = 0
        self._first_new: LogLine | None = None

    @property
    def at_end(self) -> bool:
        """Whether the reader sees the newest line."""
        return not (self._below or self._cut)

    @property
    def newer(self) -> int:
        """The number of lines below the view."""
        cut = 1 if self._cut else 0
        return self._below + cut + len(self._newer) + self._pushed_out

    @property
    def oldest(self) -> int:
        """The position of the oldest entry in the log; 0 if there is none."""
        return next((line.position for line in self._lines if line.position), 0)

    @property
    def oldest_time(self) -> float:
        """The time of the oldest line; 0 if there is none."""
        return self._lines[0].time if self._lines else 0.0

    @property
    def is_full(self) -> bool:
        """Whether the log has no room for older lines."""
        return len(self._lines) >= MOST_BACK

    def append(self, line: LogLine, *, first_new: bool = False) -> None:
        """Add the newest line; `first_new`: mark it as the first that the reader has not seen."""
        if first_new:
            self._first_new = line
        if self.at_end:
            self._lines.append(line)
            self._trim(MOST_LINES)
            return
        self._pushed_out += len(self._newer) == MOST_NEWER
        self._newer.append(line)

    def prepend(self, older: Sequence[LogLine]) -> None:
        """Add lines that are older than all others; the oldest comes first."""
        self._lines.extendleft(reversed(older))

    def remove(self, concerns: Callable[[int], bool]) -> None:
        """Show that entries were removed, in the lines that they have; `concerns` says which."""
        for held in (self._lines, self._newer):
            for at, shown in enumerate(held):
                if shown.position and concerns(shown.position):
                    removed = LogLine(shown.time, lines.removed(shown.time), shown.position)
                    if shown is self._first_new:
                        self._first_new = removed
                    held[at] = removed

    def clear(self) -> None:
        """Forget all lines."""
        self._lines.clear()
        self._newer.clear()
        self._pushed_out = self._below = self._cut = 0

    def scroll_up(self, rows: int, columns: int, height: int) -> int:
        """Move a view of this size up by so many rows; gives the rows that were lacking."""
        self._admit_newer()
        self._settle(columns)
        above = self._rows_above(columns, rows + height) - height
        moved = min(rows, max(0, above))
        self._cut += moved
        while self._below < len(self._lines) - 1:
            lowest = self._height(self._below, columns)
            if self._cut < lowest:
                break
            self._cut -= lowest
            self._below += 1
        return rows - moved

    def scroll_down(self, rows: int, columns: int) -> None:
        """Move the view down by so many rows, at most to the end."""
        self._admit_newer()
        self._settle(columns)
        self._cut -= rows
        while self._cut < 0 and self._below:
            self._below -= 1
            self._cut += self._height(self._below, columns)
        if self._cut <= 0 and not self._below:
            self.scroll_to_end()

    def scroll_to_end(self) -> None:
        """Show the newest line."""
        self._admit_newer()
        self._below = self._cut = 0
        self._trim(MOST_LINES)

    def unmark(self) -> None:
        """Take away the mark of the first new line."""
        self._first_new = None

    def view(self) -> LogView:
        """The lines that may be on screen."""
        end = len(self._lines) - self._below
        shown = islice(self._lines, max(0, end - MOST_ROWS), end)
        return LogView(tuple(shown), self._cut, self._first_new)

    def _admit_newer(self) -> None:
        """Let the reader scroll through the lines that came meanwhile."""
        if not self._newer:
            return
        if self._pushed_out:
            first = self._newer[0].time
            gap = lines.quiet(first, f"{self._pushed_out} lines were not kept here")
            self._lines.append(LogLine(first, gap))
            self._below += 1
        self._below += len(self._newer)
        self._lines.extend(self._newer)
        self._newer.clear()
        self._pushed_out = 0
        self._trim(MOST_BACK + MOST_NEWER)

    def _trim(self, most: int) -> None:
        while len(self._lines) > most:
            self._lines.popleft()

    def _settle(self, columns: int) -> None:
        """Keep the cut within its line, which has other rows in a window of another width."""
        self._below = min(self._below, max(0, len(self._lines) - 1))
        if self._cut:
            self._cut = min(self._cut, self._height(self._below, columns) - 1)

    def _height(self, below: int, columns: int) -> int:
        """The rows of the line that has so many lines below it."""
        at = len(self._lines) - 1 - below
        before = self._lines[at - 1] if at else None
        return len(_rows(self._lines[at], before, columns, self._first_new))

    def _rows_above(self, columns: int, most: int) -> int:
        """The rows above the view's lower edge; they are not counted further than `most`."""
        count, below = -self._cut, self._below
        while below < len(self._lines) and count < most:
            count += self._height(below, columns)
            below += 1
        return count


def visible_rows(view: LogView, columns: int, height: int) -> list[Line]:
    """The rows of a view in a window of this size; empty ones stand on top."""
    rows: list[Line] = []
    for at in range(len(view.lines) - 1, -1, -1):
        before = view.lines[at - 1] if at else None
        of_line = _rows(view.lines[at], before, columns, view.first_new)
        if view.cut and not rows:
            of_line = of_line[: max(1, len(of_line) - view.cut)]
        rows = of_line + rows
        if len(rows) >= height:
            return rows[len(rows) - height :]
    return [[]] * (height - len(rows)) + rows


# A server may allow messages of 262,144 characters, which take half a second to wrap.
@lru_cache(maxsize=MOST_LINES)
def _wrapped(this: LogLine, columns: int) -> list[Line]:
    return wrapped(this.line, columns)


def _rows(
    this: LogLine, before: LogLine | None, columns: int, first_new: LogLine | None
) -> list[Line]:
    """The rows of a line, after its date if that is another one than of the line before.

    The first new line has a mark above it.
    """
    rows = _wrapped(this, columns)
    if this is first_new:
        rows = [*wrapped(lines.mark("new"), columns), *rows]
    if before is None or before.day != this.day:
        rows = [*wrapped(lines.mark(lines.date(this.time)), columns), *rows]
    return rows
