"""The rules for the text of messages and topics, and safe forms of text to show again."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from trio_chat.errors import Code, Refused

# The Stream-Safe Text Format (UAX #15) allows so many. No language needs more, and taller stacks
# draw over the lines above. Sorting the marks of a run takes the square of its length in time.
MAX_MARKS: Final = 30

# No script and no emoji has more invisible characters in a row: a flag's tag has seven. A long run
# hides text that only programs read.
MAX_UNSEEN: Final = 10

# Characters that draw nothing and take no place, for a class of a pattern.
UNSEEN: Final = (
    r"\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\ufff0-\ufff8\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff"
)
# The fillers of Korean draw nothing either, but take a place.
_FILLERS: Final = r"\u115f\u1160\u3164\uffa0"

# The most words of one search, because each is looked for in every message of a room.
MAX_WORDS: Final = 16

# The length at which `printable` cuts: enough to recognise a typing error.
MAX_ECHO: Final = 64

# One character never decomposes into more than four, so NFC makes no text shorter than a fourth.
_MOST_COMPOSED: Final = 4

_BIDI_CONTROLS: Final = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_NONCHARACTERS: Final = r"\ufdd0-\ufdef" + "".join(
    rf"\U{plane:04x}fffe\U{plane:04x}ffff" for plane in range(17)
)
_NEVER_SHOWN: Final = re.compile(
    # C0, DEL and C1. ESC and CSI are among them.
    r"[\x00-\x1f\x7f-\x9f"
    # Some terminals and all browsers begin a new line here.
    r"\u2028\u2029"
    # Embeddings, overrides and isolates make a text read as another text.
    r"\u202a-\u202e\u2066-\u2069"
    # Deprecated shaping switches.
    r"\u206a-\u206f"
    # Interlinear annotation hides text inside text.
    r"\ufff9-\ufffb"
    r"\ud800-\udfff" + _NONCHARACTERS + "]"
)
_TOO_MANY_UNSEEN: Final = re.compile(f"[{UNSEEN}{_FILLERS}]{{{MAX_UNSEEN + 1}}}")
# A braille pattern without dots is a blank too.
_BLANK: Final = re.compile(rf"[\s{UNSEEN}{_FILLERS}\u2800]*")
_TOO_MANY_MARKS: Final = re.compile(rb"[^\0]{%d}" % (MAX_MARKS + 1))


def clean_text(text: str, *, what: str, limit: int) -> str:
    """Return `text` as people will see it: in NFC, and with a space for each tab.

    `what` is the noun of a refusal ("message", "topic"). `limit` counts characters after NFC.
    Cleaning a result again changes nothing. The caller decides whether text may be empty.

    Raises `Refused` for text that is too long, and for text with one of these:

    - control characters, and so all ANSI escapes;
    - line or paragraph separators;
    - bidirectional embeddings, overrides or isolates;
    - deprecated format characters, or interlinear annotation;
    - surrogates or noncharacters;
    - more than `MAX_MARKS` combining marks in a row;
    - more than `MAX_UNSEEN` invisible characters in a row.

    Joiners (ZWJ, ZWNJ), directional marks (LRM, RLM), variation selectors and tag characters pass:
    Persian words, Hebrew punctuation, and emoji of families and flags need them.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    if len(text) <= limit * _MOST_COMPOSED:
        text = _normalize(text.replace("\t", " "), what)
    if len(text) > limit:
        sentence = f"{_a(what)} may have at most {limit} characters; this one has {len(text)}"
        limited_by = "topic_chars" if what == "topic" else "message_chars"
        raise Refused(sentence, code=Code.TOO_LONG, limit=limited_by)
    # To Python, all of `_NEVER_SHOWN` is unprintable, and few other characters are.
    found = None if text.isprintable() else _NEVER_SHOWN.search(text)
    if found:
        raise Refused(f"{_a(what)} may not contain {_describe(found[0])}", code=Code.BAD_TEXT)
    if _TOO_MANY_UNSEEN.search(text):
        sentence = (
            f"{_a(what)} may not contain more than {MAX_UNSEEN} invisible characters in a row"
        )
        raise Refused(sentence, code=Code.BAD_TEXT)
    return text


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it has only spaces and invisible characters."""
    return _BLANK.fullmatch(text) is not None


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def printable(text: str) -> str:
    """Return `text` in a form that is safe within an error or a log line.

    Each character that `clean_text` refuses, and each tab, becomes U+FFFD. A text of more than
    `MAX_ECHO` characters is cut to that length and ends in an ellipsis. Raises nothing.
    """
    if len(text) > MAX_ECHO:
        text = text[: MAX_ECHO - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return harmless(text)


def harmless(text: str) -> str:
    """Return `text` with U+FFFD for each tab, and for each character that is never shown."""
    return text if text.isprintable() else _NEVER_SHOWN.sub("\N{REPLACEMENT CHARACTER}", text)


def casefolded(text: str) -> str:
    """Return the form in which texts are searched: texts that differ only in case are equal."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())


def parse_words(text: str) -> tuple[str, ...]:
    """Return the words of a search, casefolded. Raises `Refused` for more than `MAX_WORDS`."""
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
        # A few marks, such as U+0344, become two marks.
        _refuse_stacked_marks(normal, what)
    return normal


def _refuse_stacked_marks(text: str, what: str) -> None:
    # A combining class fits into a byte, and C code counts and searches bytes.
    classes = bytes(map(unicodedata.combining, text))
    if len(text) - classes.count(0) > MAX_MARKS and _TOO_MANY_MARKS.search(classes):
        raise Refused(
            f"{_a(what)} may not contain more than {MAX_MARKS} accents or marks on one letter",
            code=Code.BAD_TEXT,
        )


def _describe(char: str) -> str:
    if unicodedata.category(char) == "Cc":
        return "control characters (arrow keys send them)"
    if _BIDI_CONTROLS.match(char):
        return "characters that override the direction of text"
    return f"the character U+{ord(char):04X}"
