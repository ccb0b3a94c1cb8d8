"""The rules of a room: fields that moderators change, and the actions that changed them.

A log does not know what the fields mean. It keeps them, and refuses a change that was decided by
rules that are no longer those of the room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import Removed, Ruled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeGuard

    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.roomlog import Result

# Actions that a log keeps of a room, whatever it keeps of the history. So moderators can look up or
# undo an action after weeks, and one who acts without end fills neither memory nor disk.
MOST_ACTIONS: Final = 1_000

CHANGED: Final = "the rules of this room have just changed: please try again"
TEXTS_GONE: Final = "there is nothing left to put back: the texts are gone, or back already"


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
    `removed` has the runs of entries whose texts the log can put back; see `Removed`.
    """

    position: int
    time: float
    author: str
    nick: str
    text: str
    was: Mapping[str, str | None] = field(factory=dict)
    now: Mapping[str, str | None] = field(factory=dict)
    removed: list[list[int]] = field(factory=list)


def has_changed() -> Refused:
    """Return the refusal of what was decided by rules that have changed since."""
    return Refused(CHANGED, code=Code.RULES_CHANGED)


def out_of_bounds(draft: Ruled) -> Refused:
    """Return the refusal of a value that a field has in too many rooms."""
    sentence = "that is too many" if draft.bound is None else draft.bound[2]
    return Refused(sentence, code=Code.NOT_ALLOWED)


def decide(
    drafts: Sequence[Result],
    current: Callable[[str], Rules],
    count: Callable[[str, str], int],
    has_texts: Callable[[str, int], bool],
) -> Sequence[Result]:
    """Refuse each `Ruled` that was decided by rules that have changed since, or beyond its bound.

    A `Removed` that has no texts to put back is refused, too. If none is refused, this returns
    `drafts` itself. `current` returns the rules of a room before these drafts. `count` returns the
    number of rooms in which a field has a value. `has_texts` returns whether texts of an action in
    a room can be put back.
    """
    changed: set[str] = set()
    undone: set[tuple[str, int]] = set()
    more: Counter[tuple[str, str | None]] = Counter()
    refused: dict[int, Refused] = {}
    for draft in drafts:
        if not isinstance(draft, Ruled):
            continue
        rules = current(draft.room)
        new = {n: v for n, v in draft.changes.items() if rules.fields.get(n) != v}
        if draft.room in changed or draft.version != rules.version:
            refused[id(draft)] = has_changed()
        elif isinstance(draft, Removed) and draft.undoes:
            what = draft.room, draft.undoes
            if what in undone or not has_texts(*what):
                refused[id(draft)] = Refused(TEXTS_GONE, code=Code.NO_SUCH_ACTION)
            undone.add(what)
        elif draft.bound is not None and any(
            count(name, value) + more[name, value] >= draft.bound[1]
            for name, value in new.items()
            if value is not None and value == draft.bound[0]
        ):
            refused[id(draft)] = out_of_bounds(draft)
        elif draft.changes:
            changed.add(draft.room)
            more.update(new.items())
            more.subtract((name, rules.fields.get(name)) for name in new)
    return [refused.get(id(draft), draft) for draft in drafts] if refused else drafts


def is_action(entry: Entry) -> TypeGuard[Ruled]:
    """Whether an entry is an action, which a log keeps a record of."""
    return isinstance(entry, Ruled) and not (isinstance(entry, Removed) and entry.own)


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
    if not isinstance(entry, Ruled):
        return entry
    return evolve(entry, changes={}, version=0, ousted=(), silenced=(), bound=None)
