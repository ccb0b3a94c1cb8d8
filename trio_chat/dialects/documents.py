"""JSON documents: commands as programs send them, events as they get them (docs/websocket.md).

A document has a `type`, which names a record, and that record's fields. Which commands there are,
and how their fields are read, stands in `trio_chat.dialects.forms`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from attrs import fields, has

from trio_chat.dialects.forms import FORMS
from trio_chat.errors import Code, Refused
from trio_chat.protocol.commands import LabelledCommand, Refuse
from trio_chat.protocol.events import (
    Answered,
    EntriesShown,
    Event,
    LabelledEvent,
    Said,
    SessionResumed,
)
from trio_chat.protocol.text import printable

if TYPE_CHECKING:
    from trio_chat.dialects.forms import Context
    from trio_chat.protocol.commands import Command

ID_CHARS: Final = 64


def _type_name(kind: type) -> str:
    """What a record is called in documents: `TopicSet` is `topic_set`."""
    return re.sub(r"\B([A-Z])", r"_\1", kind.__name__).lower()


# The events that go out as documents of their own.
TYPES: Final[dict[type, str]] = {
    kind: _type_name(kind) for kind in get_args(Event) if kind not in (Answered, LabelledEvent)
} | {SessionResumed: "resumed"}

# Values that JSON has as they are.
_PLAIN: Final = frozenset({str, int, bool, Code})

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def write(event: Event) -> str:
    """The document for an event."""
    if isinstance(event, Said):  # nearly every one is
        return (
            f'{{"type":"said","room":{_encode(event.room)},"author":{_encode(event.author)},'
            f'"nick":{_encode(event.nick)},"text":{_encode(event.text)},'
            f'"position":{event.position},"time":{event.time:.3f}}}'
        )
    if isinstance(event, EntriesShown):  # a long page is written within the hub's turn
        entries = ",".join(map(write, event.entries))
        return (
            f'{{"type":"entries_shown","room":{_encode(event.room)},'
            f'"room_name":{_encode(event.room_name)},"entries":[{entries}],'
            f'"stopped_at":{event.stopped_at}}}'
        )
    if isinstance(event, LabelledEvent):
        return f'{{"id":{_encode(event.id)},{write(event.event)[1:]}'
    return _encode(_plain(event))


def _plain(value: object) -> object:
    """A record as JSON has it, and what is in it."""
    kind: Any = value.__class__
    if kind in _PLAIN:
        return value
    if kind is list:
        return [_plain(part) for part in cast("list[object]", value)]
    if isinstance(value, float):
        return round(value, 3)
    names = _names(kind)
    named: dict[str, object] = {"type": TYPES[kind]} if kind in TYPES else {}
    return named | {name: _plain(getattr(value, name)) for name in names}


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if has(kind) else ()


def read(text: str, context: Context) -> Command:
    """The record for a command; one that says why, if there is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Refuse("this is not valid JSON", Code.BAD_DOCUMENT)
    if not isinstance(document, dict):
        return Refuse("a command must be a JSON object", Code.BAD_DOCUMENT)
    if "id" not in document:
        return _command(document, context)
    label = document.pop("id")
    if not (isinstance(label, str) and 0 < len(label) <= ID_CHARS and label.isprintable()):
        return Refuse(
            f"an id must be a string of 1 to {ID_CHARS} printable characters", Code.BAD_DOCUMENT
        )
    return LabelledCommand(_command(document, context), label)


def _command(document: dict[str, object], context: Context) -> Command:
    try:
        return _read(document, context)
    except Refused as refusal:
        return Refuse(str(refusal), refusal.code, refusal.limit)


def _read(document: dict[str, object], context: Context) -> Command:
    kind = document.pop("type", None)
    form = FORMS.get(kind) if isinstance(kind, str) else None
    if form is None:
        raise Refused(
            f"there is no command of the type {printable(str(kind))}", code=Code.UNKNOWN_COMMAND
        )
    values: list[object] = []
    for name, field in form.fields.items():
        if name in document:
            values.append(field.read(document.pop(name), context))
        elif field.required:
            raise Refused(f"{kind} needs the field {name}", code=Code.BAD_DOCUMENT)
        else:
            values.append(field.default)
    if document:
        raise Refused(
            f"{kind} has no field {printable(next(iter(document)))}", code=Code.BAD_DOCUMENT
        )
    return form.make(*values)
