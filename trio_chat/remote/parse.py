"""Events from the documents that a server sends."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin, get_type_hints

from attrs import has

from trio_chat.dialects.documents import NOTICE, REASON, TYPES, field_names
from trio_chat.errors import Code
from trio_chat.protocol import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.protocol.events import Event

# Fields that were added within version 1 of the protocol, with their values for older servers.
ADDED: Final[Mapping[type, Mapping[str, object]]] = {
    events.Refusal: {"code": Code.REFUSED.value},
    events.Hello: {"log": "", "greeting": "", "embed_origins": []},
    events.Departed: {"reason": ""},
    events.ActionShown: {"undoable": False},
    events.SessionResumed: {"person": ""},
    events.Told: {"time": 0.0, "waited": False, "notice": False},
}

KINDS = {name: kind for kind, name in TYPES.items()}

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


# No honest server sends more than this: longer texts than any message, higher positions than SQLite
# counts, later times than any calendar has.
MOST_CHARS: Final = 1 << 19
MOST_WHOLE: Final = 1 << 53
MOST_SECONDS: Final = 253_402_300_799  # the end of the year 9999


class MalformedDocument(Exception):
    """A document that breaks the protocol."""


def parse_event(document: Mapping[str, object]) -> Event | None:
    """The event in a document; `None` if its type is unknown here. Unknown fields are left out.

    Raises `MalformedDocument` if a field is missing, has the wrong kind, or a value that nobody can
    show.
    """
    kind = _kind(document)
    if kind is None:
        return None
    if kind is events.Joined and "was" in document:
        return _identified(document)
    if kind is events.Left and "now" in document:
        return None  # the document after it says the rest
    event = cast("Event", _record(kind, document))
    if isinstance(event, events.Left) and REASON in document:
        event.reason = str(_value(kind, str, document[REASON]))
    return event


def _identified(joined: Mapping[str, object]) -> Event:
    """Return the event of a member that has logged in or out: a `joined` with two more fields."""
    names = {"old": "was", "old_nick": "was_called"}
    named = {**joined, **{name: joined.get(other) for name, other in names.items()}}
    return cast("Event", _record(events.Identified, named))


def _kind(document: Mapping[str, object]) -> type | None:
    name = document.get("type")
    kind = KINDS.get(name) if isinstance(name, str) else None
    return events.Noticed if kind is events.Said and document.get(NOTICE) is True else kind


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, dict(vars(events)))
    return {name: hints[name] for name in field_names(kind)}


def _record(kind: type, document: Mapping[str, object]) -> object:
    if (added := ADDED.get(kind)) is not None:
        document = {**added, **document}
    try:
        values = {name: (hint, document[name]) for name, hint in _hints(kind).items()}
    except KeyError as missing:
        raise MalformedDocument(f"{kind.__name__} without {missing}") from None
    return kind(**{name: _value(kind, hint, value) for name, (hint, value) in values.items()})


def _value(within: type, hint: Any, value: object) -> object:
    if isinstance(value, list) and get_origin(hint) is list:
        [item] = get_args(hint)
        return [_value(within, item, part) for part in value]
    if isinstance(value, dict):
        kinds: tuple[type, ...] = get_args(hint) or (hint,)
        kind = kinds[0] if len(kinds) == 1 else _kind(value)
        if kind is not None and kind in kinds and has(kind):
            return _record(kind, value)
    elif hint is float and type(value) in (int, float) and 0 <= cast("float", value) < MOST_SECONDS:
        return float(cast("float", value))
    elif type(value) is hint and _is_good(value):
        return value
    raise MalformedDocument(f"{within.__name__} with a wrong value")


def _is_good(value: object) -> bool:
    if isinstance(value, int):
        return 0 <= value <= MOST_WHOLE
    # JSON can have half of a surrogate pair; UTF-8 cannot.
    return isinstance(value, str) and len(value) <= MOST_CHARS and not _SURROGATES.search(value)
