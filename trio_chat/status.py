"""A daemon's status for people: what it answers, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import cast

from trio_chat.logs import escaped


def status_lines(answer: Mapping[str, object]) -> list[str]:
    """Names and values in two columns; nothing in them can move a terminal's cursor."""
    width = max(map(len, answer), default=0)
    return [
        escaped(f"{name.replace('_', ' '):{width}}  {_shown(name, value)}")
        for name, value in answer.items()
    ]


def _shown(name: str, value: object) -> str:
    if name == "uptime" and isinstance(value, int | float):
        return str(timedelta(seconds=int(value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        counts = cast("Mapping[object, object]", value)
        return ", ".join(f"{what}: {count}" for what, count in counts.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value)))
    return str(value)
