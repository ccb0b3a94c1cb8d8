"""Events from the documents that a server sends."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args, get_origin, get_type_hints

from attrs import fields

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


class MalformedDocument(Exception):
    """A document that is not as the protocol has it."""


def parse_event(document: Mapping[str, object]) -> Event | None:
    """The event that a document says; `None` for one of a type that is not known here.

    Fields that are not known are left out. Raises `MalformedDocument` for one that is missing, or
    is of another kind.
    """
    name = str(document.get("type"))
    kind = KINDS.get(name)
    if kind is None:
        return None
    added = ADDED.get(name)
    return cast("Event", _record(kind, document if added is None else {**added, **document}))


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, dict(vars(events)))
    return {field.name: hints[field.name] for field in fields(kind)}


def _record(kind: type, document: Mapping[str, object]) -> object:
    try:
        return kind(*[_value(hint, document[name]) for name, hint in _hints(kind).items()])
    except KeyError as missing:
        raise MalformedDocument(f"{kind.__name__} without {missing}") from None


def _value(hint: Any, value: object) -> object:
    if get_origin(hint) is list and isinstance(value, list):
        [item] = get_args(hint)
        return [_value(item, part) for part in value]
    if isinstance(value, dict):
        return _record(KINDS[str(value.get("type"))] if get_args(hint) else hint, value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise MalformedDocument(f"{value!r} is no {hint}")
    return value
