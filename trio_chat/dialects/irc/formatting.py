r"""The formatting of IRC clients, and CTCP: codes within the text of a message.

Bold, colors and the like stand in a text as control characters. Other dialects cannot show them,
so they are taken out. Texts between two `\x01` are CTCP; only ACTION has a meaning here, as `/me`.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

_FORMATTING: Final = re.compile(
    # A color, by its number or as hexadecimal digits, with or without one for the background.
    r"\x03(?:\d{1,2}(?:,\d{1,2})?)?"
    r"|\x04(?:[0-9A-Fa-f]{6}(?:,[0-9A-Fa-f]{6})?)?"
    # Bold, plain, monospace, reversed, italic, struck and underlined.
    r"|[\x02\x0f\x11\x16\x1d\x1e\x1f]"
)
_CTCP: Final = "\x01"


@frozen
class Ctcp:
    """A CTCP message: its command in capitals, and the text behind that."""

    command: str
    text: str


def plain(text: str) -> str:
    """Return a text without formatting."""
    return text if text.isprintable() else _FORMATTING.sub("", text)


def read_ctcp(text: str) -> Ctcp | None:
    """Return the CTCP message that a text is; `None` if it is none. Its end may be missing."""
    if not text.startswith(_CTCP):
        return None
    command, _, rest = text[1:].removesuffix(_CTCP).partition(" ")
    return Ctcp(command.upper(), rest)


def write_action(text: str) -> str:
    """Return an action as CTCP."""
    return f"{_CTCP}ACTION {text}{_CTCP}"
