"""Valid and invalid messages and topics."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import Refused
from trio_chat.protocol.text import MAX_ECHO, MAX_MARKS, MAX_UNSEEN, clean_text, printable

# Hypothesis draws rarely from these by itself. Surrogates too: an embedder may hold such text.
AWKWARD = (
    "\t\n\r\0\x1b\x7f\x85\x9b\u00ad\u0301\u0316\u0344\u200b\u200d\u200e"
    "\u2028\u202e\u2066\ufeff\ufff9\ud800\U0001ffff"
)
ANY_TEXT = st.text(
    st.characters(exclude_categories=()) | st.sampled_from(AWKWARD) | st.sampled_from("ab :")
)


def clean(text: str, limit: int = 2000) -> str:
    return clean_text(text, what="message", limit=limit)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hi", "Hi"),
        ("", ""),
        ("  two  spaces  ", "  two  spaces  "),
        ("a\tb\t\tc", "a b  c"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_these_texts_are_shown(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
        "\u05d0\u200e!\u200f",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
        "\u2764\ufe0f",  # a red heart
        "\U0001f3f4\U000e0067\U000e0062\U000e007f",  # the start of a flag's tags
    ],
)
def test_format_characters_that_people_need_are_kept(text: str) -> None:
    assert clean(text) == text


CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
OTHERS = [
    0x2028, 0x2029, *range(0x206A, 0x2070), *range(0xFFF9, 0xFFFC), 0xD800, 0xDFFF, 0xFDD0, 0xFDEF,
    *(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (
            [code for code in CONTROLS if code != 0x09],
            "a topic may not contain control characters (arrow keys send them)",
        ),
        (BIDI, "a topic may not contain characters that override the direction of text"),
        (OTHERS, "a topic may not contain the character U+{:04X}"),
    ],
)
def test_these_are_refused(codes: list[int], sentence: str) -> None:
    for code in codes:
        with pytest.raises(Refused) as caught:
            clean_text(f"a{chr(code)}b", what="topic", limit=50)
        assert str(caught.value) == sentence.format(code)


def test_characters_beside_the_refused_are_allowed() -> None:
    refused = {*CONTROLS, *BIDI, *OTHERS}
    near = {code - 1 for code in refused} | {code + 1 for code in refused}
    for code in near - refused:
        if 0 < code < 0x110000 and not (0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF):
            assert clean(f"a{chr(code)}b") == unicodedata.normalize("NFC", f"a{chr(code)}b")


def test_length_is_counted_in_characters_after_normalisation() -> None:
    assert clean("e\u0301" * 10, limit=10) == "\u00e9" * 10
    # The longest way to write ten characters.
    assert clean("\u03b1\u0313\u0300\u0345" * 10, limit=10) == "\u1f82" * 10
    assert clean("\U0001f600" * 10, limit=10) == "\U0001f600" * 10


@pytest.mark.parametrize("text", ["x" * 2315, "\u00e9" * 2315, "e\u0301" * 2315])
def test_too_long(text: str) -> None:
    with pytest.raises(Refused) as caught:
        clean(text)
    assert str(caught.value) == "a message may have at most 2000 characters; this one has 2315"


def test_nothing_decomposes_into_more_than_four() -> None:
    """The early refusal of very long texts, here and in names, rests on this."""
    longest = max(len(unicodedata.normalize("NFD", chr(code))) for code in range(0x110000))
    assert longest == 4


UNSEEN = [
    *("\u200b", "\u00ad", "\ufe0f", "\U000e0041", "\u2060\u200d"),
    *("\u3164", "\ufff0", "\U00013430", "\U0001bca0\U0001bca3"),
]


@pytest.mark.parametrize("unseen", UNSEEN)
def test_runs_of_invisible_characters(unseen: str) -> None:
    most = f"a{unseen * (MAX_UNSEEN // len(unseen))}b"
    assert clean(most) == most
    assert clean(most * 9) == most * 9
    with pytest.raises(Refused) as caught:
        clean(f"a{unseen * MAX_UNSEEN}\u200b")
    told = "a message may not contain more than 10 invisible characters in a row"
    assert str(caught.value) == told


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # a flag
        "\U0001f469\u200d\u2764\ufe0f\u200d\U0001f48b\u200d\U0001f468",  # a kiss
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
    ],
)
def test_the_characters_that_emoji_and_scripts_need_pass(text: str) -> None:
    assert clean(text) == text


def test_stacked_marks() -> None:
    stack = "a" + "\u0316" * MAX_MARKS
    assert clean(stack) == stack
    with pytest.raises(Refused, match="a message may not contain more than 30 accents or marks"):
        clean(stack + "\u0316")
    # Each of these becomes two marks.
    with pytest.raises(Refused):
        clean("a" + "\u0344" * (MAX_MARKS - 1))


@given(ANY_TEXT)
def test_cleaning_again_changes_nothing(text: str) -> None:
    try:
        once = clean(text)
    except Refused:
        return
    assert clean(once) == once
    assert printable(once[:MAX_ECHO]) == once[:MAX_ECHO]


@given(ANY_TEXT)
def test_text_is_shown_as_it_was_or_refused(text: str) -> None:
    try:
        shown = clean(text)
    except Refused as refused:
        sentence = str(refused)
        assert clean(sentence) == sentence
    else:
        assert shown == unicodedata.normalize("NFC", text.replace("\t", " "))
        shown.encode("utf-8")
        assert not any(unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} for char in shown)
        assert not any(ord(char) in BIDI for char in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/foo", "/foo"),
        ("\x1b[2Jx\t", "\ufffd[2Jx\ufffd"),
        ("\u202eabc", "\ufffdabc"),
        ("\u00e9", "\u00e9"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 63 + "\u2026"),
        ("\0" * 1000, "\ufffd" * 63 + "\u2026"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_printable_is_safe_whatever_it_is_given(text: str) -> None:
    shown = printable(text)
    assert len(shown) == min(len(text), MAX_ECHO)
    assert printable(shown) == shown
    shown.encode("utf-8")
    assert not any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} for char in shown)
    assert not any(ord(char) in BIDI for char in shown)
