"""Long text as messages: cut between words, or between the characters that people see."""

from __future__ import annotations

import unicodedata

import pytest
from bots import KINDS, open_bot
from hypothesis import given
from hypothesis import strategies as st

from trio_chat import Settings, open_chat, split_text

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
WAVE = "\U0001f44b\U0001f3fd"
FLAG = "\U0001f1e9\U0001f1ea"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
MARKED = "q\u0323\u0302"
HINDI = "\u0915\u094d\u0937\u093f"
JAMO = "\u1112\u119e\u11ab"


@pytest.mark.parametrize(
    ("text", "limit", "messages"),
    [
        ("", 5, []),
        (" \n \n", 5, []),
        ("tea", 3, ["tea"]),
        ("tea or coffee", 6, ["tea or", "coffee"]),
        ("tea or coffee", 7, ["tea or", "coffee"]),
        ("tea   or   coffee", 6, ["tea", "or", "coffee"]),
        ("tea\n\n  coffee \r\nmilk", 10, ["tea", "coffee", "milk"]),
        ("caffeine", 3, ["caf", "fei", "ne"]),
        ("a caffeine", 4, ["a", "caff", "eine"]),
        ("cafe\u0301s", 4, ["caf\u00e9", "s"]),
        ("a\u00a0b", 2, ["a", "b"]),
    ],
)
def test_text_is_cut_between_words(text, limit, messages):
    assert split_text(text, limit) == messages


@pytest.mark.parametrize("seen", [FAMILY, WAVE, FLAG, ENGLAND, MARKED, HINDI, JAMO])
def test_characters_that_people_see_as_one_are_kept_together(seen):
    limit = len(seen) + 1
    assert split_text(seen * 3, limit) == [seen] * 3
    assert split_text(f"ab{seen}{seen}", limit) == ["ab", seen, seen]


def test_flags_are_kept_in_pairs():
    assert split_text(FLAG * 5, 5) == [FLAG * 2, FLAG * 2, FLAG]
    assert split_text(f"x{FLAG}y", 2) == ["x", FLAG, "y"]


def test_a_stack_of_marks_that_is_too_high_is_cut():
    assert "".join(split_text("q" + "\u0323" * 9, 4)) == "q" + "\u0323" * 9


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_is_at_least_one(limit):
    with pytest.raises(ValueError, match="at least 1"):
        split_text("tea", limit)


pieces = st.sampled_from([FAMILY, WAVE, FLAG, MARKED, HINDI, JAMO, " ", "\n", "a", "tea", "\u00e9"])
texts = st.one_of(st.text(), st.lists(pieces).map("".join))


@given(texts, st.integers(1, 20))
def test_nothing_is_lost_and_all_fits(text, limit):
    messages = split_text(text, limit)
    assert "".join("".join(messages).split()) == "".join(unicodedata.normalize("NFC", text).split())
    for message in messages:
        assert 0 < len(message) <= limit
        assert message == message.strip()


@pytest.mark.parametrize("kind", KINDS)
async def test_each_message_may_be_said(kind):
    text = f"{FAMILY * 30} {'word ' * 100}{'x' * 500}"
    async with (
        open_chat(Settings(rate_limit=None, message_chars=100, line_bytes=1_000)) as chat,
        await open_bot(kind, chat, "bot") as bot,
    ):
        await bot.join("#a")
        messages = split_text(text, bot.limits.message_chars)
        for message in messages:
            assert (await bot.say(message)).text == message
