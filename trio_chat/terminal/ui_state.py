"""The content of the screen, as a record that never changes: another thread reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from trio_chat.protocol.text import harmless
from trio_chat.terminal import lines
from trio_chat.terminal.accounts import keeps_accounts
from trio_chat.terminal.completion import Words
from trio_chat.terminal.lines import cut
from trio_chat.terminal.log import LogView
from trio_chat.terminal.width import width
from trio_chat.terminal.window import Room, Talk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trio_chat.protocol.events import Usage
    from trio_chat.terminal.lines import Line
    from trio_chat.terminal.view import View
    from trio_chat.terminal.window import Window

# Columns that a window's name may take beside what is typed, and in the status row.
MOST_PROMPT: Final = 20


@frozen
class Tab:
    """A window in the status row."""

    number: int
    name: str
    unread: int
    called: bool
    on_screen: bool


@frozen
class UiState:
    """The screen at one moment."""

    title: Line = field(factory=list)
    log: LogView = field(factory=LogView)
    # The number of lines below the view.
    newer: int = 0
    fetching: bool = False
    # Whether the server takes long to answer what was typed.
    slow: bool = False
    nick: str = ""
    tabs: tuple[Tab, ...] = ()
    prompt: Line = field(factory=list)
    words: Words = field(factory=Words)
    # The window on screen. A typed line goes back with it.
    window: Window | None = None
    connected: bool = True
    # Whether the server keeps accounts.
    accounts: bool = False


def ui_state(view: View, commands: Collection[Usage]) -> UiState:
    """The screen for this view."""
    window = view.current
    return UiState(
        lines.line(*_title(view)),
        window.log.view(),
        window.log.newer,
        view.fetching,
        view.slow,
        harmless(view.nick),
        tuple(_tabs(view)),
        lines.line(("prompt", f"{_short(window.name)}> ")),
        _words(view, commands),
        window,
        view.connected,
        keeps_accounts([row.name for row in commands]),
    )


def title_row(state: UiState, columns: int) -> Line:
    """The row above the log: what is on screen."""
    return _ruled([("rule", "── "), *state.title], columns)


def status_row(state: UiState, columns: int, waiting: int, *, refused: bool = False) -> Line:
    """The row below the log: news first, then this person's nick and the windows.

    `waiting` is the number of typed lines that wait to be sent. `refused` says that they leave no
    room for the line in the field. If not all windows fit, the row leaves out windows without news.
    """
    row: Line = [("rule", "─ ")]
    if waiting and (state.slow or not state.connected):
        full = ", no room for this line" if refused else ""
        row.append(("status.fault", f"{waiting} to send{full} · "))
    if not state.connected:
        row.append(("status.fault", "no connection · "))
    if state.newer:
        row.append(("status.newer", f"↓ {state.newer} newer, PgDn · "))
    if state.fetching:
        row.append(("status", "fetching older · "))
    row.append(("status", state.nick))
    every = [*row, *_tab_row(state.tabs)]
    if sum(width(text) for _, text in every) < columns:
        return _ruled(every, columns)
    news = [tab for tab in state.tabs if tab.on_screen or tab.unread]
    return _ruled([*row, *_tab_row(news)], columns)


def _ruled(row: Line, columns: int) -> Line:
    """The row cut to its width, with a line drawn to its end."""
    row = cut(row, columns - 1)
    rest = columns - sum(width(text) for _, text in row)
    return [*row, ("rule", f" {'─' * (rest - 1)}")] if rest > 0 else row


def _tab_row(tabs: Iterable[Tab]) -> Iterable[tuple[str, str]]:
    for tab in tabs:
        name = f"{tab.number}:{tab.name}"
        yield ("status", " · ")
        if tab.on_screen:
            yield ("status.current", name)
        elif tab.unread:
            style = "status.called" if tab.called else "status.unread"
            yield (style, f"{name} {tab.unread}{'!' if tab.called else ''}")
        else:
            yield ("status", name)


def _title(view: View) -> Iterable[tuple[str, str]]:
    window = view.current
    yield ("heading", window.name)
    if isinstance(window, Room):
        yield ("quiet", f" · {lines.people(len(window.members) + window.more)}")
        if (standing := window.standing) is not None:
            if standing.role != "none":
                yield ("quiet", f" · {standing.role}")
            now = view.now()
            if standing.muted and not 0 < standing.until <= now:
                yield ("fault", f" · {lines.mute(standing, now)}")
        if window.topic:
            yield ("quiet", f" · {window.topic}")
    elif isinstance(window, Talk):
        yield ("quiet", " · private")
        if window.gone:
            yield ("quiet", ", has left your rooms")


def _tabs(view: View) -> Iterable[Tab]:
    for number, window in enumerate(view.windows, 1):
        name = harmless(_short(window.name))
        yield Tab(number, name, window.unread, window.called, window is view.current)


def _short(name: str) -> str:
    if width(name) <= MOST_PROMPT:
        return name
    [(_, beginning)] = cut([("", name)], MOST_PROMPT - 1)
    return f"{beginning}…"


def _words(view: View, commands: Iterable[Usage]) -> Words:
    usages = {harmless(f"/{row.name}"): row.usage for row in commands}
    own = [room.name for room in view.windows.rooms.values()]
    rooms = tuple(map(harmless, dict.fromkeys([*own, *view.known_rooms])))
    match view.current:
        case Room(members=members, spoke=spoke):
            here = tuple(nick for client, nick in members.items() if client != view.me)
            return Words(usages, rooms, here, tuple(spoke))
        case Talk(name=name):
            return Words(usages, rooms, (name,))
    return Words(usages, rooms)
