"""Writes the JSON Schema of WebSocket documents, `websocket.schema.json`, from the code.

`python docs/schema.py` brings it up to date; `test_current.py` says when it is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

from trio_chat.dialects.documents import (
    ALL_FORMS,
    ID_CHARS,
    IDENTIFIED,
    NOTICE,
    REASON,
    TYPES,
    field_names,
)
from trio_chat.dialects.forms import Form
from trio_chat.protocol import events

PAGE = Path(__file__).parent / "websocket.schema.json"
SIMPLE: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
ID = {"type": "string", "minLength": 1, "maxLength": ID_CHARS}

Schema = dict[str, object]


def command(name: str, form: Form) -> Schema:
    """A command, without unknown fields."""
    return {
        "description": form.help,
        "type": "object",
        "properties": {
            "type": {"const": name},
            **{field: dict(about.schema) for field, about in form.fields.items()},
            "id": ID,
        },
        "required": ["type", *(field for field, about in form.fields.items() if about.required)],
        "additionalProperties": False,
    }


def event(kind: type) -> Schema:
    """An event, with at least these fields."""
    schema = record(kind)
    about = {"type": {"const": TYPES[kind]}, "id": ID}
    return {
        "description": summary(kind),
        **schema,
        "properties": about | dict(properties(kind)) | optional(kind),
        "required": ["type", *dict(properties(kind))],
    }


def record(kind: type) -> Schema:
    known = dict(properties(kind))
    return {"type": "object", "properties": known, "required": list(known)}


def properties(kind: type) -> Iterator[tuple[str, Schema]]:
    hints = get_type_hints(kind, vars(events))
    for name in field_names(kind):
        yield name, value(hints[name])


def optional(kind: type) -> Schema:
    others = {events.Said: {NOTICE: value(bool)}, events.Left: {REASON: value(str)}}
    return {name: value(str) for name in IDENTIFIED.get(kind, ())} | others.get(kind, {})


def value(hint: object) -> Schema:
    """The schema of a field of this type."""
    if hint in SIMPLE:
        return {"type": SIMPLE[hint]}
    if get_origin(hint) is list:
        return {"type": "array", "items": value(get_args(hint)[0])}
    if isinstance(hint, UnionType):
        # In documents a `Noticed` is a `Said` with one more field.
        return {"oneOf": [value(part) for part in get_args(hint) if part is not events.Noticed]}
    assert isinstance(hint, type)
    return {"$ref": f"#/$defs/{TYPES[hint]}"} if hint in TYPES else record(hint)


def summary(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def schema() -> Schema:
    """The whole schema."""
    commands = {name: command(name, form) for name, form in ALL_FORMS.items()}
    answers = {name: event(kind) for kind, name in TYPES.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The documents of trio_chat's WebSocket protocol, version 1",
        "oneOf": [{"$ref": "#/$defs/any_command"}, {"$ref": "#/$defs/any_event"}],
        "$defs": {
            "any_command": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in commands]},
            "any_event": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in answers]},
            **commands,
            **answers,
        },
    }


def current() -> str:
    """The text that the file should have."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
