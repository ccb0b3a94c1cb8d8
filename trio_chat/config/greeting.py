"""The greeting: a text from the operator for each new client, as a setting or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trio_chat.config.files import read_file
from trio_chat.config.validators import is_path, must_be
from trio_chat.errors import Refused, SettingsError
from trio_chat.protocol.text import clean_text

if TYPE_CHECKING:
    from attrs import Attribute

    from trio_chat.config.settings import Settings

FILE: Final = "file:"

# A screenful of a terminal, and lines that fill it.
GREETING_LINES: Final = 24
GREETING_CHARS: Final = 2_000
BYTES_A_CHARACTER: Final = 4  # UTF-8 at its longest, RFC 3629


_a_text_or_file = must_be(
    f"a text of at most {GREETING_CHARS} characters in {GREETING_LINES} lines, {FILE}PATH, or "
    "nothing",
    lambda value: isinstance(value, str) and (not value or is_path(value.removeprefix(FILE))),
)


def a_greeting(settings: object, attribute: Attribute[Any], value: Any) -> None:
    """Validate a text to show, or `file:` and a path."""
    _a_text_or_file(settings, attribute, value)
    if not value.startswith(FILE):
        greeting_lines(attribute.name, value)


def read_greeting(settings: Settings) -> tuple[str, ...]:
    """Return the lines of the greeting, none if there is none.

    Raises `SettingsError` if its file cannot be read, or if it may not be shown.
    """
    greeting = settings.greeting
    if not greeting.startswith(FILE):
        return greeting_lines("greeting", greeting)
    path = Path(greeting.removeprefix(FILE))
    data = read_file("greeting", path, BYTES_A_CHARACTER * GREETING_CHARS + 1, secret=False)
    if len(data) > BYTES_A_CHARACTER * GREETING_CHARS:
        raise SettingsError(f"greeting: {path} must have at most {GREETING_CHARS} characters")
    try:
        # Some editors begin a file with a byte order mark, and show none.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"greeting: {path} is not UTF-8 text: see line {line}") from None
    return greeting_lines(f"greeting: {path}", text)


def greeting_lines(named: str, text: str) -> tuple[str, ...]:
    """Return the lines of a text that may be shown to anyone; raises `SettingsError` for others."""
    lines = text.rstrip().replace("\r\n", "\n").split("\n") if text.strip() else []
    chars = sum(map(len, lines))
    if chars > GREETING_CHARS:
        raise SettingsError(f"{named} must have at most {GREETING_CHARS} characters, not {chars}")
    if len(lines) > GREETING_LINES:
        raise SettingsError(f"{named} must have at most {GREETING_LINES} lines, not {len(lines)}")
    shown: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            shown.append(clean_text(line.rstrip(), what="line", limit=GREETING_CHARS))
        except Refused as refusal:
            raise SettingsError(
                f"{named} must be plain text, unlike its line {number}: {refusal}"
            ) from None
    return tuple(shown)
