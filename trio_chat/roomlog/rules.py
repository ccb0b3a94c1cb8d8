"""The rules of a room: fields that moderators change, and the actions that changed them.

A log does not know what the fields mean. It keeps them, and refuses a change that was decided by
rules that are no longer those of the room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import Ruled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import Result

# Actions that a log keeps of a room, whatever it keeps of the history. So moderators can look up or
# undo an action after weeks, and one who acts without end fills neither memory nor disk.
MOST_ACTIONS: Final = 1_000

CHANGED: Final = "the rules of this room have just changed: please try again"


@frozen
class Rules:
    """The fields of a room at one moment.

    `version` is the position of the entry that changed a field last, or 0. Nobody changes `fields`:
    a change makes another mapping, so a log can give the same one to all.
    """

    version: int = 0
    fields: Mapping[str, str] = field(factory=dict)


NO_RULES: Final = Rules()


@frozen
class Action:
    """An entry `Ruled` with the fields that it changed: `was` before, and `now` after it.

    `None` is a field that there was not, or is no longer. The position is the action's number.
    """

    position: int
    time: float
    author: str
    nick: str
    text: str
    was: Mapping[str, str | None] = field(factory=dict)
    now: Mapping[str, str | None] = field(factory=dict)


def decide(drafts: Sequence[Result], current: Callable[[str], Rules]) -> Sequence[Result]:
    """Refuse each `Ruled` that was decided by rules that have changed since.

    `current` returns the rules of a room before these drafts. If none is refused, this returns
    `drafts` itself.
    """
    changed: set[str] = set()
    refused: set[int] = set()
    for draft in drafts:
        if not isinstance(draft, Ruled):
            continue
        if draft.room in changed or draft.version != current(draft.room).version:
            refused.add(id(draft))
        elif draft.changes:
            changed.add(draft.room)
    if not refused:
        return drafts
    refusal = Refused(CHANGED, code=Code.RULES_CHANGED)
    return [refusal if id(draft) in refused else draft for draft in drafts]


def follow(rules: Rules, entry: Ruled) -> tuple[Rules, Action]:
    """Return the rules after an entry that has its position, and the action that it was."""
    now = dict(entry.changes)
    was = {name: rules.fields.get(name) for name in now}
    action = Action(entry.position, entry.time, entry.author, entry.nick, entry.text, was, now)
    if not now:
        return rules, action
    fields = {**rules.fields, **now}
    kept = {name: value for name, value in fields.items() if value is not None}
    return Rules(entry.position, kept), action


def as_kept(entry: PersistentEntry) -> PersistentEntry:
    """Return an entry as history keeps it: without the changes of fields."""
    return evolve(entry, changes={}, version=0, ousted=()) if isinstance(entry, Ruled) else entry
