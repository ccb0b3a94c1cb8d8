"""Splits long text into messages: at words where it can, and never within a character people see.

A character that people see, a grapheme cluster, may be several of Unicode's: a letter with accents,
a flag, an emoji of a family. The rules are those of UAX #29, simplified: where they differ, text is
kept together.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# These belong to the character before them, beside combining marks: joiners, skin tones, tags.
_EXTENDS: Final = re.compile("[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\uff9e\uff9f]")
_JOINER: Final = "\u200d"
# A flag is two of these.
_FLAGS: Final = re.compile("[\U0001f1e6-\U0001f1ff]+$")
# Korean letters that begin a syllable, and those that go on with one.
_LEADING: Final = re.compile("[\u1100-\u115f\ua960-\ua97c]")
_FOLLOWING: Final = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb]")
_HANGUL: Final = re.compile("[\u1100-\u11ff\ua960-\ua97c\uac00-\ud7fb]")
# The combining class of a virama, which joins two letters of Indic scripts.
_VIRAMA: Final = 9


def split_text(text: str, limit: int) -> list[str]:
    """Split a text into messages of at most `limit` characters each.

    `ChatClient.limits` says how many a message may have: `limits.message_chars`. Each line becomes
    a message of its own, without the white space at its ends; empty lines are left out. A line that
    is too long is cut between words. A word that is too long is cut between the characters that
    people see; one such character longer than `limit` is cut too.

    The text comes back in Unicode's form NFC, in which limits are counted. Raises `ValueError` if
    `limit` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"a limit must be at least 1, not {limit}")
    lines = unicodedata.normalize("NFC", text).splitlines()
    return [message for line in lines for message in _split_line(line.strip(), limit)]


def _split_line(line: str, limit: int) -> list[str]:
    messages: list[str] = []
    while len(line) > limit:
        end = _end(line, limit)
        messages.append(line[:end].rstrip())
        line = line[end:].lstrip()
    return [*messages, line] if line else messages


def _end(line: str, limit: int) -> int:
    """The place at which to cut a line that is longer than the limit."""
    for at in range(limit, 0, -1):
        if line[at].isspace():
            return at
    for at in range(limit, 0, -1):
        if not _is_within(line, at):
            return at
    return limit


def _is_within(line: str, at: int) -> bool:
    """Whether a character that people see goes on at this place."""
    before, after = line[at - 1], line[at]
    if unicodedata.category(after)[0] == "M" or _EXTENDS.match(after) or before == _JOINER:
        return True
    if unicodedata.combining(before) == _VIRAMA and after.isalpha():
        return True
    if _HANGUL.match(before) and _FOLLOWING.match(after):
        return True
    if _LEADING.match(before) and _HANGUL.match(after):
        return True
    flags = _FLAGS.search(line, 0, at)
    return flags is not None and len(flags[0]) % 2 == 1 and _FLAGS.match(after) is not None
