"""Views of the terminal client for tests, and the text that they show."""

from __future__ import annotations

import time

from trio_chat.protocol.events import Member, Said
from trio_chat.terminal.ui_state import status_row, title_row, ui_state
from trio_chat.terminal.view import View

NOW = 1_769_860_800.0  # a noon in January
HOUR = time.strftime("%H:%M", time.localtime(NOW))
ME = Member("1", "john")
JACK = Member("2", "jack")


def said(text: str, position: int, room: str = "#a", *, who: Member = JACK, at: float = NOW):
    return Said(room, who.client, who.nick, text, position, at)


def texts(shown) -> list[str]:
    return ["".join(text for _, text in line) for line in shown]


def log_of(view: View, room: str | None = None) -> list[str]:
    """The lines of a room, or of the window on screen."""
    window = view.current if room is None else view.windows.rooms[room]
    return texts(line.line for line in window.log.view().lines)


def status(view: View, columns: int = 200) -> str:
    return "".join(texts([status_row(ui_state(view, []), columns, 0)]))


def title(view: View) -> str:
    return "".join(texts([title_row(ui_state(view, []), 200)])).rstrip("\u2500 ")


def new_view() -> View:
    view = View(ME.client, ME.nick, now=lambda: NOW)
    view.begin()
    view.current.log.clear()
    return view
