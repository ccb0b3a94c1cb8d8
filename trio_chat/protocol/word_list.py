"""Words and phrases that messages may not hold, found however their letters are disguised.

A word is found as a whole: `ass` is not in `class`. Letters that look alike count as the same, and
so do capital and small ones. Looking takes time in proportion to the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from trio_chat.protocol.names import likeness

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Words of one phrase, at most: each length costs one more look at each place of a text.
MOST_WORDS: Final = 8

_WORD: Final = re.compile(r"[^\W_]+")
_BETWEEN: Final = re.compile(r"[\W_]+")


class WordList:
    """A list of words and phrases."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Begin with these. Raises `ValueError` for one without a word, or with too many words."""
        self._words: set[str] = set()
        # By their lengths.
        self._phrases: defaultdict[int, set[tuple[str, ...]]] = defaultdict(set)
        for entry in entries:
            for words in _readings(entry):
                if not 0 < len(words) <= MOST_WORDS:
                    raise ValueError(f"a phrase has 1 to {MOST_WORDS} words, unlike {entry!r}")
                if len(words) == 1:
                    self._words.add(words[0])
                else:
                    self._phrases[len(words)].add(tuple(words))

    def is_in(self, text: str) -> bool:
        """Whether a text holds one of the words or phrases."""
        return any(map(self._is_among, _readings(text)))

    def _is_among(self, words: list[str]) -> bool:
        if not self._words.isdisjoint(words):
            return True
        return any(
            tuple(words[at : at + length]) in phrases
            for length, phrases in self._phrases.items()
            for at in range(len(words) - length + 1)
        )


def _readings(text: str) -> Iterator[list[str]]:
    """Give the words of a text, as one may read them, in the form in which they are compared.

    `he||o` may be a word with two letters l, and `|word|` a word between two lines. Some letters
    look like others only as capitals, and some only as small ones.
    """
    if not text.isascii():
        text = _without_marks(unicodedata.normalize("NFKC", text))
    forms = (text, text.casefold())
    for form in dict.fromkeys((*forms, *(_BETWEEN.sub(" ", form) for form in forms))):
        yield _WORD.findall(_comparable(form))


def _comparable(text: str) -> str:
    """Return a text that equals others with the same look, in any case."""
    alike = likeness(text)
    return alike if alike.isascii() else unicodedata.normalize("NFC", alike)


def _without_marks(text: str) -> str:
    """Leave out what is drawn over letters or is not drawn: letters with accents are one character.

    Zero-width characters are between the letters of a word, and nobody sees them.
    """
    return "".join(char for char in text if unicodedata.category(char) not in _UNSEEN)


_UNSEEN: Final = frozenset({"Mn", "Me", "Cf"})
