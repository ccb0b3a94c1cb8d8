"""One IRC message: read from a line, and written as a line.

The syntax is that of the modern IRC documentation ("Message Format") with the tags of IRCv3
(message-tags). A line that this module writes never holds NUL, CR or LF before its end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

END: Final = "\r\n"

# Characters that a tag's value cannot hold, and their escapes (message-tags, "Escaping values").
_ESCAPED: Final = {";": "\\:", " ": "\\s", "\\": "\\\\", "\r": "\\r", "\n": "\\n"}
_UNESCAPED: Final = {escaped[1]: plain for plain, escaped in _ESCAPED.items()}
_ESCAPES: Final = str.maketrans({**_ESCAPED, "\0": None})
_ESCAPE: Final = re.compile(r"\\(.?)", re.DOTALL)

# Characters that no message can hold, and those that end a parameter before the last one.
_NEVER: Final = re.compile(r"[\0\r\n]")
_NOT_IN_THE_MIDDLE: Final = re.compile(r"[\0\r\n ]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


@frozen
class Message:
    """A message: its command in capitals, its parameters, and its tags by name.

    `source` says whom it is from. A client's own is ignored, as the documentation asks.
    """

    command: str
    params: tuple[str, ...] = ()
    source: str = ""
    tags: Mapping[str, str] = field(factory=dict)


def read(line: str) -> Message | None:
    """Read a line without its end; `None` if it has no command.

    Several spaces count as one, except in the last parameter behind its colon.
    """
    tags, source, rest = "", "", line.lstrip(" ")
    if rest.startswith("@"):
        tags, _, rest = rest[1:].partition(" ")
        rest = rest.lstrip(" ")
    if rest.startswith(":"):
        source, _, rest = rest[1:].partition(" ")
    # A space before the first one lets the last parameter be the first, too.
    words, colon, last = f" {rest}".partition(" :")
    command, *params = [word for word in words.split(" ") if word] or [""]
    if not command:
        return None
    if colon:
        params.append(last)
    return Message(command.upper(), tuple(params), source, read_tags(tags) if tags else {})


def read_tags(text: str) -> dict[str, str]:
    """Read tags without their `@`. Of tags with the same name the last one counts."""
    tags: dict[str, str] = {}
    for tag in text.split(";"):
        name, _, value = tag.partition("=")
        if name:
            tags[name] = _ESCAPE.sub(_unescape, value)
    return tags


def _unescape(escape: re.Match[str]) -> str:
    # A backslash at the end, or before another character, is dropped.
    return _UNESCAPED.get(escape[1], escape[1])


def write(
    command: str, *params: str, source: str = "", tags: Mapping[str, str] | None = None
) -> str:
    """Write a message as a line with its end.

    A parameter before the last one is made one that can stand there: `*` is instead of nothing, and
    U+FFFD instead of a space.
    """
    parts = [write_tags(tags)] if tags else []
    if source:
        parts.append(f":{source}")
    parts.append(command)
    if params:
        parts += map(_middle, params[:-1])
        parts.append(_last(params[-1]))
    return harmless(" ".join(parts)) + END


def write_tags(tags: Mapping[str, str]) -> str:
    """Write tags, with their `@`. A tag with an empty value has no `=`."""
    written = (
        f"{name}={value.translate(_ESCAPES)}" if value else name for name, value in tags.items()
    )
    return "@" + ";".join(written)


def harmless(text: str) -> str:
    """Return a text without the characters that no message can hold."""
    return text if text.isprintable() else _NEVER.sub(_REPLACEMENT, text)


def _middle(param: str) -> str:
    if not param:
        return "*"
    word = _NOT_IN_THE_MIDDLE.sub(_REPLACEMENT, param)
    return f"{_REPLACEMENT}{word[1:]}" if word[0] == ":" else word


def _last(param: str) -> str:
    return f":{param}" if not param or param[0] == ":" or " " in param else param


def write_closing(reason: str) -> str:
    """Write the last line of a connection that the server closes."""
    return write("ERROR", f"Closing Link: {reason}")
