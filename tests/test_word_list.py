"""Words that messages may not hold: how they are found, and what becomes of the messages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from attrs import evolve
from hubs import Running, act, running_hub, say, take, tell, topic
from test_held import said
from test_moderation import guest, member, owned, typed
from test_moderation_attacks import texts
from test_persons import FakePeople

from trio_chat import Settings, SettingsError, open_chat
from trio_chat.config.word_list import read_word_list
from trio_chat.hub.inbox import Reload
from trio_chat.protocol import commands
from trio_chat.protocol.table import custom
from trio_chat.protocol.word_list import MOST_WORDS, WordList
from trio_chat.testing import line_client

WORDS = WordList(["Spam", "ink", "buy my watches", "hello", "\u0431\u0430\u0440", "stra\u00dfe"])
REFUSED = "err: the message holds a word that is not wanted here"


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    for nick in ("ann", "bob", "eve"):
        people.add(nick)
    return people


# --- finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "spam", "SPAM!", "some (spam).", "spam-filter", "_spam_", "|spam|", "no\u00a0spam",
        "buy my watches", "BUY  My, watches...", "so buy my watches now",
        "sp\u0430m",  # with a Cyrillic a
        "\uff53\uff50\uff41\uff4d",  # wide
        "\U0001d42c\U0001d429\U0001d41a\U0001d426",  # mathematical
        "s\u200bp\u00ada\u2060m",  # with what nobody sees
        "s\u0336p\u0336a\u0336m\u0336",  # struck out
        "he||o", "he11o", "hel\u217co", "INK", "ink",
        "\u0411\u0410\u0420", "STRASSE", "stra\u00dfe",
    ],
)  # fmt: skip
def test_a_word_is_found_however_it_is_written(text: str) -> None:
    assert WORDS.is_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "spammer",
        "buy watches",
        "buy my",
        "my watches buy",
        "sp\u00e4m",
        "s p a m",
        "span",
    ],
)
def test_other_words_are_not(text: str) -> None:
    assert not WORDS.is_in(text)


def test_an_entry_has_some_words_and_not_too_many() -> None:
    for entry in ("...", " ".join(["x"] * (MOST_WORDS + 1))):
        with pytest.raises(ValueError, match="a phrase has 1 to 8 words, unlike "):
            WordList([entry])
    assert WordList([" ".join(["x"] * MOST_WORDS)]).is_in("x " * 9)


def test_no_text_takes_long() -> None:
    words = WordList(
        [*(" ".join(["a"] * count) + " b" for count in range(1, MOST_WORDS)), "(x+)+$", "[a-z]*b"]
    )
    begun = time.thread_time()
    assert not words.is_in("a " * 5_000)
    assert not words.is_in("a" * 10_000)
    assert not words.is_in("a\u0301" * 5_000)
    assert time.thread_time() - begun < 1


# --- the file -------------------------------------------------------------------------------------


def read(path: Path) -> WordList | None:
    return read_word_list(Settings(word_list=str(path)))


def test_a_file_has_a_line_for_each(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("\ufeff# not these\r\nspam\r\n\r\n  buy my watches  \n", encoding="utf-8")
    words = read(path)
    assert words is not None
    assert words.is_in("spam")
    assert words.is_in("buy my watches")
    assert not words.is_in("not these")
    assert read_word_list(Settings()) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a\n\xff\n", "{} is not UTF-8 text: see line 2"),
        (b"a\n...\n", "{}: a phrase has 1 to 8 words, unlike '...'"),
        (
            b"a\n" + b"x" * 201,
            "{} must have at most 200 characters a line: see line 2",
        ),
        (b"a\n" * 50_001, "{} must have at most 50000 words"),
        (b"#" * (1 << 20) + b"#", "{} must have at most 1 MB"),
    ],
)
def test_a_file_that_is_none_is_refused(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read(path)
    assert str(caught.value) == f"word_list: {sentence.format(path)}"
    path.unlink()
    with pytest.raises(SettingsError, match=r"^word_list: cannot read .*: No such file"):
        read(path)


async def test_a_reload_reads_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("spam")
    settings = Settings(word_list=str(path), rate_limit=None)
    async with open_chat(settings) as chat, line_client(chat) as jim:
        await jim.send("/nick jim", "/join #a", "/msg spam")
        await jim.expect("> all right, I will call you jim", "> welcome to #a", REFUSED)
        path.write_text("ham")
        await chat.reload(chat.settings)
        await jim.send("/msg spam", "/msg ham")
        await jim.expect(REFUSED)
        path.unlink()
        with pytest.raises(SettingsError):
            await chat.reload(chat.settings)
        await jim.send("/msg ham")
        await jim.expect(REFUSED)
        await chat.reload(evolve(chat.settings, word_list=""))
        await jim.send("/msg ham", "/who")
        await jim.expect("> in #a: jim")


# --- what becomes of messages ---------------------------------------------------------------------


def use_words(run: Running) -> None:
    run.hub.state.words = WORDS


async def test_it_is_refused_in_a_room_without_rules_too(people) -> None:
    async with running_hub(people=people) as run:
        use_words(run)
        jim = await run.member("jim")
        await run.turn(jim, say("spam"), say("ok"), say("SPAM"), act("spam"), say("ok"))
        assert jim.link.lines() == [REFUSED] * 3
        assert texts(run) == ["ok", "ok"]


async def test_no_other_way_leads_around(people) -> None:
    def shout(caller, text):
        return [commands.Say("spam")]

    rows = [custom("shout", "/shout", "shout", shout)]
    async with running_hub(
        people=people, rows=rows, before_say=lambda draft: draft.text.replace("x", "s")
    ) as run:
        use_words(run)
        jim, kim = await run.member("jim"), await run.member("kim")
        kim.link.lines(), jim.link.lines()
        await run.turn(jim, topic("spam"), tell("kim", "spam"), say("xpam"), take("spam"))
        await run.turn(jim, commands.Custom(shout, "", "shout"))
        what = "holds a word that is not wanted here"
        assert jim.link.lines() == [
            f"err: the topic {what}", REFUSED, REFUSED, f"err: the nick {what}", REFUSED,
        ]  # fmt: skip
        assert kim.link.lines() == []
        assert texts(run) == []
        assert await typed(run, jim, "/join spam") == [f"err: the name {what}"]


async def test_it_waits_where_messages_can_wait(people) -> None:
    async with running_hub(people=people) as run:
        use_words(run)
        ann, bob = await owned(run), await member(run, "bob")
        assert bob.user.account is not None
        bob.user.account.since = 1.0  # an old account
        assert await typed(run, bob, "/msg spam") == [REFUSED]
        await typed(run, ann, "/room new-people hold")
        bob.link.lines()
        assert await typed(run, bob, "/msg spam", "/topic spam") == [
            "> your message waits for a moderator of #a [H1]",
            "err: the topic holds a word that is not wanted here",
        ]
        await typed(run, ann, "/held pass 1", "/room new-people free", "/raid 10m")
        bob.link.lines()
        await run.turn(bob, say("spam"))
        assert [one.text for one in await run.log.held("#a")] == ["spam"]
        assert await said(run) == ["spam"]


async def test_operators_say_what_they_want_and_may_switch_it_off(people) -> None:
    async with running_hub(people=people) as run:
        use_words(run)
        ann, jim = await owned(run), await guest(run, "jim")
        await run.turn(ann, say("spam"))
        await typed(run, ann, "/room words off")
        await run.turn(jim, say("spam"))
        await typed(run, ann, "/room words on")
        await run.turn(jim, say("spam"))
        assert texts(run) == ["spam", "spam"]


async def test_a_refused_message_does_not_count_in_a_slow_room(people) -> None:
    async with running_hub(people=people) as run:
        use_words(run)
        ann, bob = await owned(run), await member(run, "bob")
        await typed(run, ann, "/room slow 30")
        await run.turn(bob, say("spam"), say("ok"))
        assert texts(run) == ["ok"]


async def test_the_list_goes_with_the_settings(people) -> None:
    async with running_hub(people=people) as run:
        run.channel.send_nowait(Reload(run.hub.state.settings, [], (), WORDS))
        jim = await run.member("jim")
        assert await typed(run, jim, "/msg spam") == [REFUSED]
