"""Events from the documents that a server sends."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin, get_type_hints

from attrs import fields, has

from trio_chat.dialects.documents import TYPES
from trio_chat.errors import Code
from trio_chat.protocol import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.protocol.events import Event

# Fields that came within version 1 of the protocol, and what they are if an earlier server leaves
# them out.
ADDED: Final[Mapping[str, Mapping[str, object]]] = {
    TYPES[events.Refusal]: {"code": Code.REFUSED.value},
    TYPES[events.Hello]: {"log": ""},
}

KINDS = {name: kind for kind, name in TYPES.items()}

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


# No server means more than this: texts longer than any message may be, positions above what SQLite
# counts, and times that no calendar has.
MOST_CHARS: Final = 1 << 19
MOST_WHOLE: Final = 1 << 53
MOST_SECONDS: Final = 253_402_300_799  # the end of the year 9999


class MalformedDocument(Exception):
    """A document that is not as the protocol has it."""


def parse_event(document: Mapping[str, object]) -> Event | None:
    """The event that a document says; `None` for one of a type that is not known here.

    Fields that are not known are left out. Raises `MalformedDocument` for one that is missing, is
    of another kind, or has a value that nobody can show.
    """
    kind = _kind(document)
    if kind is None:
        return None
    added = ADDED.get(TYPES[kind])
    return cast("Event", _record(kind, document if added is None else {**added, **document}))


def _kind(document: Mapping[str, object]) -> type | None:
    name = document.get("type")
    return KINDS.get(name) if isinstance(name, str) else None


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, dict(vars(events)))
    return {field.name: hints[field.name] for field in fields(kind)}


def _record(kind: type, document: Mapping[str, object]) -> object:
    try:
        values = [(hint, document[name]) for name, hint in _hints(kind).items()]
    except KeyError as missing:
        raise MalformedDocument(f"{kind.__name__} without {missing}") from None
    return kind(*[_value(kind, hint, value) for hint, value in values])


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
    # JSON can hold half of a surrogate pair, which no UTF-8 can.
    return isinstance(value, str) and len(value) <= MOST_CHARS and not _SURROGATES.search(value)
