"""Puts the statistics of several workers together, as if they were one daemon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

# All workers know the same rooms, and are upgraded together. The fullest outbox is one client's.
GREATEST: Final = ("rooms", "outbox_most", "upgrades")
# Of a histogram: the bounds are the same in all workers, and the counts are one for each bound.
SAME: Final = ("bounds",)
COUNTED: Final = ("counts",)


def together(answers: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Add numbers, also those within; join texts and lists.

    An answer may lack fields that others have: for a moment, workers may be of two versions.
    """
    names = dict.fromkeys(name for answer in answers for name in answer)
    return {name: _one(name, [answer.get(name) for answer in answers]) for name in names}


def _one(name: str, values: Sequence[object]) -> object:
    match [value for value in values if value is not None]:
        case []:
            return None
        case [bool(), *_] as found:
            return any(found)
        case [int() | float(), *_] as found:
            numbers = cast("list[float]", found)
            return max(numbers) if name in GREATEST else sum(numbers)
        case [Mapping(), *_] as found:
            return together(cast("list[Mapping[str, object]]", found))
        case [list(), *_] as found:
            return _lists(name, cast("list[list[object]]", found))
        case found:
            return ", ".join(dict.fromkeys(map(str, found)))


def _lists(name: str, lists: list[list[object]]) -> list[object]:
    if name in SAME:
        return lists[0]
    if name in COUNTED:
        rows = cast("list[list[int]]", lists)
        return [sum(row) for row in zip(*rows, strict=False)]
    return list(dict.fromkeys(item for items in lists for item in items))
