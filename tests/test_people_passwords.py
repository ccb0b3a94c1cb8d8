"""The rules for passwords: PRECIS, a length, and nothing that is easy to guess."""

from __future__ import annotations

import time

import pytest
from people import JOHN, name, refused

from trio_chat.people import passwords
from trio_chat.people.passwords import LEAST, MOST, check_new, prepare


def parts(text: str) -> int:
    return passwords._parts(text, JOHN)


@pytest.mark.parametrize(
    "text",
    [
        "correct horse battery",
        "Zq8!mT2#pLw9",
        "tr0ub4dor&3xk",
        "Ünïcödé pässwörds",
        "犬も歩けば棒に当たる、と言う",
        "0f3a 77b1 09cc 41de",
        "x" * 3 + "the quick brown fox" * 3,
    ],
)
def test_a_good_password_is_taken_as_it_is(text: str) -> None:
    assert check_new(text, JOHN) == text == prepare(text)


@pytest.mark.parametrize(
    ("typed", "compared"),
    [
        ("two words\u00a0and one", "two words and one"),
        ("two words\u3000and one", "two words and one"),
        ("Ame\u0301lie and Zoe\u0308 went", "Am\u00e9lie and Zo\u00eb went"),
        ("Case Is Kept, Always", "Case Is Kept, Always"),
        # PRECIS keeps wide letters apart from narrow ones: RFC 8265, 4.2.2.
        ("\uff21 wide letter A", "\uff21 wide letter A"),
    ],
)
def test_keyboards_may_write_the_same_password_in_different_ways(typed: str, compared: str) -> None:
    assert prepare(typed) == check_new(typed, JOHN) == compared


@pytest.mark.parametrize("bad", ["", "a\tb", "\x00", "\x1b[A", "a\u200db", "\ud800", "\u202e"])
def test_passwords_contain_none_of_these(bad: str) -> None:
    text = bad and f"correct horse {bad} battery"
    assert not prepare(text)
    with refused("bad_password") as caught:
        check_new(text, JOHN)
    assert "control or invisible characters" in str(caught.value)


def test_the_length_is_counted_in_what_is_compared() -> None:
    shortest = "Zq8!mT2#pLwé"
    assert len(check_new(shortest, JOHN)) == LEAST == 12
    for short in (shortest[1:], "e\u0301" * 11):
        with refused("bad_password") as caught:
            check_new(short, JOHN)
        assert str(caught.value).startswith("a password must have at least 12 characters")
    words = "correct horse battery staple, " * 9
    assert len(check_new(words[:MOST], JOHN)) == MOST == 128
    # A letter and its mark are one character.
    marked = words[: MOST - 1] + "e\u0301"
    assert len(marked) == MOST + 1
    assert len(check_new(marked, JOHN)) == MOST
    for long in (words[: MOST + 1], words * 1000, "e\u0301" * 100_000):
        with refused("bad_password") as caught:
            check_new(long, JOHN)
        assert str(caught.value) == "a password may have at most 128 characters"


def test_a_text_of_any_length_costs_no_time() -> None:
    began = time.thread_time()
    for text in ("é" * 1_000_000, "ab" * 1_000_000, "\u0301" * 1_000_000):
        assert len(prepare(text)) <= 4 * MOST + 1
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "liverpool123", "LIVERPOOL123", "michaeljackson", "transformers",  # in the list
        "aaaaaaaaaaaa", "abababababab", "abcabcabcabcabc", "hunter2hunter2",  # repeated
        "abcdefghijkl", "12345678901234567890", "zyxwvutsrqponml", "098765432109",  # in a row
        "qwertyuiop[]", "qwerty123456", "1qaz2wsx3edc", "1q2w3e4r5t6y", "йцукенгшщзхъ",  # keyboards
        "poiuytrewqlkj", "azertyuiopqs", "asdfghjkl;'asd",
        "password1234", "Password!2345", "passwordpassword", "mypassword12", "letmein12345678",
        "john12345678", "JohnJohnJohn", "john password",  # with the nick
        "trio-chat-2024", "chatchatchat",  # with the program
    ],
)  # fmt: skip
def test_passwords_that_are_easy_to_guess_are_refused(text: str) -> None:
    with refused("bad_password") as caught:
        check_new(text, JOHN)
    assert "harder to guess" in str(caught.value)


def test_only_the_own_nick_matters() -> None:
    text = "wolfgang1756"
    assert check_new(text, JOHN) == text
    with refused("bad_password"):
        check_new(text, name("Wolfgang"))
    # A nick of two letters is in many words.
    assert check_new("correct horse", name("re")) == "correct horse"


@pytest.mark.parametrize(
    ("text", "expected"), [("xyz", 1), ("xy", 2), ("a1234b", 3), ("aXaXaX", 2), ("JOHNjohn!", 2)]
)
def test_a_guessable_part_counts_as_one_character(text: str, expected: int) -> None:
    assert parts(text) == expected


def test_the_list_has_passwords_of_the_right_length_in_small_letters_alone() -> None:
    common = passwords._common()
    assert len(common) == 179
    for text in common:
        assert LEAST <= len(text) <= MOST
        assert text == text.casefold() == text.strip()
        assert prepare(text) == text


@pytest.mark.parametrize("text", ["ab" * 64, "aab" * 42, "qwertyuiop" * 12, "é" * 128, "a" * 128])
def test_the_rules_take_no_time(text: str) -> None:
    check = passwords.check_new
    began = time.thread_time()
    with refused("bad_password"):
        check(text, JOHN)
    assert time.thread_time() - began < 0.1
