"""The rules for passwords: PRECIS OpaqueString (RFC 8265, 4.2), a length, and no easy guesses.

There are no rules about digits or punctuation: they make passwords harder for people alone (NIST SP
800-63B, 5.1.1.2). `common.txt` says where its list is from. The other rules are of our own.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from precis_i18n import get_profile

from trio_chat.errors import Code, Refused
from trio_chat.protocol.names import Name

LEAST: Final = 12
MOST: Final = 128
# One character never decomposes into more than four, so a text with more characters is too long.
_MOST_TYPED: Final = 4 * MOST

# A password has to be as long as this if each guessable part counts as one character.
LEAST_PARTS: Final = 8

_PROFILE: Final = get_profile("OpaqueString")

# Rows of keyboards, columns of keyboards, and two alphabets: forwards or backwards, three or more
# of their characters are one part.
_ROWS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop[]", "asdfghjkl;'", "zxcvbnm,./",
    "qwertzuiopü", "yxcvbnm,.-",
    "azertyuiop", "qsdfghjklm", "wxcvbn,;:!",
    "йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю",
    "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/", "qazwsxedcrfvtgbyhnujmik,ol.p;/",
    "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "!@#$%^&*()",
)  # fmt: skip
_BOTH_WAYS: Final = (*_ROWS, *(row[::-1] for row in _ROWS))
LEAST_OF_ROW: Final = 3

# Words that are a part by themselves; the nick and the name of the program are others.
_WORDS: Final = (
    "password", "passwort", "passwd", "passw0rd", "p@ssword", "p@ssw0rd", "motdepasse",
    "contrasena", "contraseña", "пароль", "parola", "senha", "geheim", "secret",
    "letmein", "welcome", "iloveyou", "admin", "login", "master", "dragon", "monkey",
    "football", "baseball", "sunshine", "princess", "superman", "batman",
    "chat", "trio", "test",
)  # fmt: skip

# A part that comes again at once counts once: abcabc is abc.
_REPEATED: Final = re.compile(r"(.{1,16}?)\1+", re.DOTALL)


def prepare(password: str) -> str:
    """Return the form in which passwords are compared; nothing if it can be nobody's password.

    A text that is longer than any password may be is cut, and is still too long.
    """
    text = password[: _MOST_TYPED + 1]
    # PRECIS does not change these, and takes a hundred times as long.
    if text.isascii() and text.isprintable():
        return text
    try:
        prepared: str = _PROFILE.enforce(text)
    except UnicodeEncodeError:  # it holds the password, so it goes no further
        return ""
    return prepared


def check_new(password: str, name: Name) -> str:
    """Return a new password in its prepared form. Raises `Refused` with the first broken rule."""
    prepared = prepare(password)
    if not prepared:
        raise _refusal("may not be empty, or contain control or invisible characters")
    if len(prepared) < LEAST:
        raise _refusal(f"must have at least {LEAST} characters: several words are easy to remember")
    if len(prepared) > MOST:
        raise _refusal(f"may have at most {MOST} characters")
    if prepared.casefold() in _common() or _parts(prepared, name) < LEAST_PARTS:
        raise _refusal("must be harder to guess: take several words that have nothing in common")
    return prepared


def _refusal(rule: str) -> Refused:
    return Refused(f"a password {rule}", code=Code.BAD_PASSWORD)


def _parts(password: str, name: Name) -> int:
    """Return the length if each part that is easy to guess counts as one character."""
    text = password.casefold()
    nick = (name.casefolded,) if len(name.casefolded) >= LEAST_OF_ROW else ()
    at, parts = 0, ""
    while at < len(text):
        end = max(_end_of_row(text, at), _end_of_word(text, at, (*nick, *_WORDS)), at + 1)
        parts += text[at] if end == at + 1 else "\0"
        at = end
    return len(_REPEATED.sub(r"\1", parts))


def _end_of_row(text: str, at: int) -> int:
    """Return the end of the longest piece of a row from here, or the same place."""
    end = at + LEAST_OF_ROW
    while end <= len(text) and any(text[at:end] in row for row in _BOTH_WAYS):
        end += 1
    return end - 1 if end > at + LEAST_OF_ROW else at


def _end_of_word(text: str, at: int, words: tuple[str, ...]) -> int:
    return max((at + len(word) for word in words if text.startswith(word, at)), default=at)


@cache
def _common() -> frozenset[str]:
    text = (files("trio_chat.people") / "common.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))
