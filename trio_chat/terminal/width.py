"""The columns that a text takes on a terminal: the most that any terminal gives it."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# Marks that stand in the column of the character before them.
_MARKS: Final = frozenset(("Mn", "Me"))
# The variation selector that turns a sign into a picture of two columns.
_AS_PICTURE: Final = "\ufe0f"


def width(text: str) -> int:
    """The columns that a text takes."""
    return len(text) if text.isascii() else sum(map(_width, clusters(text)))


def clusters(text: str) -> Iterator[str]:
    """The characters of a text, each with the marks that stand with it."""
    start = 0
    for at, char in enumerate(text):
        if at > start and unicodedata.category(char) not in _MARKS:
            yield text[start:at]
            start = at
    if text:
        yield text[start:]


def _width(cluster: str) -> int:
    char = cluster[0]
    kind = unicodedata.category(char)
    # A code point that is not assigned here may be a picture in a newer Unicode.
    if kind == "Cn" or unicodedata.east_asian_width(char) in "WF" or _AS_PICTURE in cluster:
        return 2
    return 0 if kind in _MARKS else 1
