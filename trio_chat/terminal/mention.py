"""Mentions: a text that has a person's nick calls that person."""

from __future__ import annotations

import unicodedata

from trio_chat.protocol.names import ANONYMOUS
from trio_chat.protocol.text import casefolded

# Scripts without spaces between words. Each of their characters counts as a word.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA ", "THAI ", "LAO ", "KHMER ", "MYANMAR ")


def mentions(text: str, nick: str) -> bool:
    """Whether the nick stands in the text as a word, whatever the case."""
    if nick in ("", ANONYMOUS):
        return False
    text, nick = casefolded(text), casefolded(nick)
    at = text.find(nick)
    while at >= 0:
        end = at + len(nick)
        if _parts(text[at - 1 : at], nick[0]) and _parts(nick[-1], text[end : end + 1]):
            return True
        at = text.find(nick, at + 1)
    return False


def _parts(one: str, other: str) -> bool:
    """Whether a word ends between these two neighbouring characters."""
    return not (_spells(one) and _spells(other))


def _spells(char: str) -> bool:
    """Whether a character forms one word with its neighbours."""
    if not char or (char != "_" and unicodedata.category(char)[0] not in "LMN"):
        return False
    return not unicodedata.name(char, "").startswith(_UNSPACED)
