"""TOML forms of values, for messages that show a value or correct one of the wrong kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast

# For true and false, in flags and variables. A file has `true` and `false` without quotes.
WORDS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip

NAMES: Final[object] = tuple[str, ...]
RATE: Final[object] = float | None


def in_toml(value: object) -> str:
    """Write a value as a TOML file has it, in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=not value.isprintable())
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(in_toml, cast('list[object]', value)))}]"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return f"{{{', '.join(f'{key} = {in_toml(part)}' for key, part in pairs)}}}"
    return str(value)  # numbers, dates and times


def meant(kind: object, value: object) -> object:
    """Guess the value that was meant by one of the wrong kind; `None` if there is no good guess.

    `kind` is the type of the setting. For example, "6667" means 6667 if that is `int`.
    """
    if kind == NAMES:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else None
    if kind == RATE:
        number = _number(value)
        return "off" if value is False else None if number is None else f"{number}/s"
    if kind is bool:
        return WORDS.get(str(value).lower())
    if kind in (int, float):
        return _number(value)
    match value:
        case str(text) | [str(text)]:
            return text.lower()
    return None


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() else number
