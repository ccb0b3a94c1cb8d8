"""The file of words that messages may not hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from trio_chat.config.files import read_file
from trio_chat.errors import SettingsError
from trio_chat.protocol.word_list import WordList

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

SETTING: Final = "word_list"
# More than any published list has. A hundred thousand words take some 20 MB of memory.
MOST_BYTES: Final = 1 << 20
MOST_LINES: Final = 50_000
MOST_CHARS: Final = 200  # of a line


def read_word_list(settings: Settings) -> WordList | None:
    """Return the words in the file that the setting names, or `None` if it names none.

    Each line is a word or a phrase. Empty lines and those that begin with `#` do not count. Raises
    `SettingsError` if the file cannot be read, or if it has something else.
    """
    if not settings.word_list:
        return None
    path = Path(settings.word_list)
    data = read_file(SETTING, path, MOST_BYTES + 1, secret=False)
    if len(data) > MOST_BYTES:
        raise SettingsError(f"{SETTING}: {path} must have at most {MOST_BYTES >> 20} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{SETTING}: {path} is not UTF-8 text: see line {number}") from None
    lines = [line.strip() for line in text.split("\n")]
    entries = [line for line in lines if line and not line.startswith("#")]
    if len(entries) > MOST_LINES:
        raise SettingsError(f"{SETTING}: {path} must have at most {MOST_LINES} words")
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_CHARS:
            sentence = f"{path} must have at most {MOST_CHARS} characters a line: see line {number}"
            raise SettingsError(f"{SETTING}: {sentence}")
    try:
        return WordList(entries)
    except ValueError as error:
        raise SettingsError(f"{SETTING}: {path}: {error}") from None
