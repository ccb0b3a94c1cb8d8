"""Requests that a person makes by keys: another window, or another part of the log."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen


@frozen
class GoToNext:
    """Go to the next window."""


@frozen
class GoToPrevious:
    """Go to the previous window."""


@frozen
class GoTo:
    """Go to the window with this number."""

    number: int


@frozen
class GoToNews:
    """Go to the next window with unread messages."""


@frozen
class Scroll:
    """Scroll the log, of this size, by so many rows; up if they are negative."""

    rows: int
    columns: int
    height: int


@frozen
class ScrollToEnd:
    """Show the newest line of the window on screen."""


Request: TypeAlias = GoToNext | GoToPrevious | GoTo | GoToNews | Scroll | ScrollToEnd
