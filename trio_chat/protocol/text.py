"""What a message or a topic may hold, and how words of a client's are echoed back."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from trio_chat.errors import Code, Refused

# What the Stream-Safe Text Format (UAX #15) allows: no language needs more, taller stacks draw over
# the lines above, and to sort the marks of one run takes time in the square of its length.
MAX_MARKS: Final = 30

# Words of one search: each is looked for in every message of a room.
MAX_WORDS: Final = 16

# What `printable` cuts at: enough to recognise one's own typing error.
MAX_ECHO: Final = 64

# One character never decomposes into more than four, so NFC shortens nothing further than that.
_MOST_COMPOSED: Final = 4

_BIDI_CONTROLS: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_NONCHARACTERS: Final = r"\ufdd0-\ufdef" + "".join(
    rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17)
)
_NEVER_SHOWN: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: ESC and CSI are among them
    r"\u2028\u2029"  # some terminals and all browsers begin a new line here
    r"\u202a-\u202e\u2066-\u2069"  # embeddings, overrides, isolates: text that reads as other text
    r"\u206a-\u206f"  # deprecated shaping switches
    r"\ufff9-\ufffb"  # interlinear annotation: hides text inside text
    r"\ud800-\udfff" + _NONCHARACTERS + "]"
)
_TOO_MANY_MARKS: Final = re.compile(rb"[^\0]{%d}" % (MAX_MARKS + 1))


def clean_text(text: str, *, what: str, limit: int) -> str:
    """Return `text` as it is to be shown: tabs made single spaces, and in NFC.

    `what` is the noun for the sentence ("message", "topic"); `limit` counts characters after NFC.
    Cleaning a result again changes nothing. Whether text may be empty is the caller's affair.

    Raises `Refused` for text that is too long, or holds control characters (so no ANSI escapes),
    line or paragraph separators, bidirectional embeddings, overrides or isolates, deprecated
    format characters, interlinear annotation, surrogates, noncharacters, or more than `MAX_MARKS`
    combining marks in a row.

    Joiners (ZWJ, ZWNJ), directional marks (LRM, RLM), variation selectors and tag characters
    stay allowed: Persian words, Hebrew punctuation and emoji of families and flags need them.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    if len(text) <= limit * _MOST_COMPOSED:
        text = _normalize(text.replace("\t", " "), what)
    if len(text) > limit:
        sentence = f"{_a(what)} may have at most {limit} characters; this one has {len(text)}"
        limited_by = "topic_chars" if what == "topic" else "message_chars"
        raise Refused(sentence, code=Code.TOO_LONG, limit=limited_by)
    # All that is never shown is unprintable to Python; few other characters are.
    found = None if text.isprintable() else _NEVER_SHOWN.search(text)
    if found:
        raise Refused(f"{_a(what)} may not contain {_describe(found[0])}", code=Code.BAD_TEXT)
    return text


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def printable(text: str) -> str:
    """Return `text` safe to show within an error or a log line.

    Each character that `clean_text` refuses, and each tab, becomes U+FFFD; what is longer than
    `MAX_ECHO` characters is cut to that length, its last character an ellipsis. Raises nothing.
    """
    if len(text) > MAX_ECHO:
        text = text[: MAX_ECHO - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return harmless(text)


def harmless(text: str) -> str:
    """Return `text` with U+FFFD for what `clean_text` refuses as never shown, and for each tab."""
    return text if text.isprintable() else _NEVER_SHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def casefolded(text: str) -> str:
    """The form in which texts are searched: what differs in case alone is the same there."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def parse_words(text: str) -> tuple[str, ...]:
    """The words to search for, casefolded; raises `Refused` for more than `MAX_WORDS`."""
    words = tuple(dict.fromkeys(casefolded(text).split()))
    if len(words) > MAX_WORDS:
        raise Refused(
            f"a search may have at most {MAX_WORDS} words; this one has {len(words)}",
            code=Code.TOO_LONG,
        )
    return words


def _normalize(text: str, what: str) -> str:
    _refuse_stacked_marks(text, what)
    normal = unicodedata.normalize("NFC", text)
    if normal != text:
        # A few marks, such as U+0344, become two.
        _refuse_stacked_marks(normal, what)
    return normal


def _refuse_stacked_marks(text: str, what: str) -> None:
    # Combining classes are all below 256, so bytes can hold them, and C counts and searches those.
    classes = bytes(map(unicodedata.combining, text))
    if len(text) - classes.count(0) > MAX_MARKS and _TOO_MANY_MARKS.search(classes):
        raise Refused(
            f"{_a(what)} may not contain more than {MAX_MARKS} accents or marks on one letter",
            code=Code.BAD_TEXT,
        )


def _describe(char: str) -> str:
    if unicodedata.category(char) == "Cc":
        return "control characters, such as arrow keys send"
    if _BIDI_CONTROLS.match(char):
        return "characters that override the direction of text"
    return f"the character U+{ord(char):04X}"
