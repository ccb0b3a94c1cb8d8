"""The UI state around the line that is typed: the prompt, the line below, words to complete.

It is a record that nobody changes, so that the thread of the terminal may read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from trio_chat.protocol.text import harmless
from trio_chat.terminal import lines
from trio_chat.terminal.completion import Words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_chat.protocol.events import Usage
    from trio_chat.terminal.lines import Line
    from trio_chat.terminal.view import View

# Columns that the room's name may take of the row in which one types.
MOST_PROMPT = 20


@frozen
class UiState:
    """How things stand at one moment."""

    prompt: Line = field(factory=list)
    status: Line = field(factory=list)
    words: Words = field(factory=Words)
    # The room on screen, by its casefolded name.
    room: str | None = None
    connected: bool = True


def ui_state(view: View, commands: Iterable[Usage]) -> UiState:
    """How things stand now."""
    room = view.room
    name = "no room" if room is None else _short(room.name)
    return UiState(
        lines.line(("room", f"{name}> ")),
        lines.line(*_status(view)),
        Words(
            {harmless(f"/{row.name}"): row.usage for row in commands},
            tuple(map(harmless, _rooms(view))),
            tuple(map(harmless, _nicks(view))),
        ),
        view.current,
        view.connected,
    )


def _short(name: str) -> str:
    return name if len(name) <= MOST_PROMPT else name[: MOST_PROMPT - 1] + "…"


def _status(view: View) -> Iterable[tuple[str, str]]:
    """Who one is and where else something was said; what matters most stands first."""
    yield ("status", view.nick)
    if not view.connected:
        yield ("status.fault", " · no connection")
    for name, room in view.rooms.items():
        if name != view.current and room.unread:
            style = "status.called" if room.called else "status.unread"
            yield ("status", " · ")
            yield (style, f"{_short(room.name)} {room.unread}{'!' if room.called else ''}")
    if view.room is not None:
        count = len(view.room.members) + view.room.more
        yield ("status", f" · {lines.people(count)}")
    others = sum(1 for name in view.rooms if name != view.current)
    if others:
        yield ("status", f" · {others + 1} rooms, Ctrl-N for the next")


def _rooms(view: View) -> tuple[str, ...]:
    own = [room.name for room in view.rooms.values()]
    return tuple(dict.fromkeys([*own, *view.known_rooms]))


def _nicks(view: View) -> tuple[str, ...]:
    if view.room is None:
        return ()
    here = {nick for client, nick in view.room.members.items() if client != view.me}
    spoke = [nick for nick in reversed(view.room.spoke) if nick in here]
    return tuple(dict.fromkeys([*spoke, *sorted(here)]))
