"""Writes the JSON Schema of WebSocket documents, `websocket.schema.json`, from the code.

`python docs/schema.py` brings it up to date; `test_current.py` says when it is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

from attrs import fields

from trio_chat.dialects.documents import ID_CHARS, TYPES
from trio_chat.dialects.forms import FORMS, Form
from trio_chat.protocol import events

PAGE = Path(__file__).parent / "websocket.schema.json"
SIMPLE: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}
ID = {"type": "string", "minLength": 1, "maxLength": ID_CHARS}

Schema = dict[str, object]


def command(name: str, form: Form) -> Schema:
    """A command: what is not known is refused."""
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
    """An event: it has all these fields, and may get more."""
    schema = record(kind)
    about = {"type": {"const": TYPES[kind]}, "id": ID}
    return {
        "description": summary(kind),
        **schema,
        "properties": about | dict(properties(kind)),
        "required": ["type", *dict(properties(kind))],
    }


def record(kind: type) -> Schema:
    known = dict(properties(kind))
    return {"type": "object", "properties": known, "required": list(known)}


def properties(kind: type) -> Iterator[tuple[str, Schema]]:
    hints = get_type_hints(kind, vars(events))
    for field in fields(kind):
        yield field.name, value(hints[field.name])


def value(hint: object) -> Schema:
    """What a field of this type holds."""
    if hint in SIMPLE:
        return {"type": SIMPLE[hint]}
    if get_origin(hint) is list:
        return {"type": "array", "items": value(get_args(hint)[0])}
    if isinstance(hint, UnionType):
        return {"oneOf": [value(part) for part in get_args(hint)]}
    assert isinstance(hint, type)
    return {"$ref": f"#/$defs/{TYPES[hint]}"} if hint in TYPES else record(hint)


def summary(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def schema() -> Schema:
    """All of it."""
    commands = {name: command(name, form) for name, form in FORMS.items()}
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
    """The file as it should be."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    PAGE.write_text(current(), encoding="utf-8")
