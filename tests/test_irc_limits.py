"""The modes `k` and `l` by the modern IRC documentation, RFC 1459 and RFC 2812.

A sentence above a test is the standard's.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from irc import irc_client
from test_irc_moderation import logged_in, room_of_ann
from test_irc_operators import channel

from trio_chat.people import hasher
from trio_chat.testing import line_client

KEY_FORM = "the key must be 1 to 32 ASCII characters without space or comma, the first no colon"
LIMIT_FORM = "the limit must be a whole number from 1 to 1000000"
LOCKED = "475 tom #tea #tea has a key: give it behind the name of the room"
WRONG = "475 tom #tea that is not the key of #tea"
FULL = "471 tom #tea #tea is full: try again later"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


# "If this mode is set, its value is the key that is required to join the channel."
async def test_a_channel_with_a_key_is_joined_with_it_alone() -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "tom") as tom:
        assert await jim.shown("MODE #tea +k Green!") == ["jim MODE #tea +k *"]
        assert await tom.shown("JOIN #tea") == [LOCKED]
        assert await tom.shown("JOIN #tea green!") == [WRONG]
        assert (await tom.shown("JOIN #tea :Green!"))[0] == "tom JOIN #tea"


# "JOIN #foo,#bar fubar,foobar ; Command to join channel #foo using key \"fubar\", and channel #bar
# using key \"foobar\"."
async def test_each_channel_of_a_join_has_the_key_in_its_place() -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "tom") as tom:
        await jim.ask("JOIN #oolong", "MODE #tea +k green", "MODE #oolong +k blue")
        joined = ["tom JOIN #tea", "tom JOIN #oolong"]
        told = await tom.shown("JOIN #oolong,#tea green,blue")
        assert [line[:3] for line in told] == ["475", "475"]
        told = await tom.shown("JOIN #tea,#mint,#oolong green,,blue")
        assert [line for line in told if line in joined] == joined
        await tom.ask("PART #tea,#oolong")
        told = await tom.shown("JOIN #tea,#oolong green")
        assert [line for line in told if " JOIN " in line or line.startswith("475")] == [
            "tom JOIN #tea",
            "475 tom #oolong #oolong has a key: give it behind the name of the room",
        ]


# "Servers may choose to hide sensitive information such as channel keys when sending the current
# modes."
async def test_nobody_is_told_the_key_and_everyone_that_there_is_one() -> None:
    async with channel("jim", "kim") as (chat, [jim, kim]), irc_client(chat, "tom") as tom:
        told = await jim.shown("MODE #tea +kl green 20", "MODE #tea", "ROOM #tea")
        told += await kim.shown("MODE #tea") + await tom.shown("MODE #tea")
        for mode in ("jim MODE #tea +k *", "jim MODE #tea +l 20"):
            assert told.count(mode) == 2
        shown = [line for line in told if line.startswith("324")]
        assert shown == [f"324 {nick} #tea +kln * 20" for nick in ("jim", "kim", "tom")]
        assert "limit 20, key set" in " ".join(told)
        told += await jim.shown("MODE #tea +k :gr een", "ROOM #tea key green", "LOG #tea")
        assert "green" not in str(told)
        async with line_client(chat, nick="sue") as sue:
            await sue.send("/join #tea green")
            assert await sue.line() == "> welcome to #tea"


async def test_a_key_and_a_limit_are_taken_away() -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "tom") as tom:
        assert await jim.shown("MODE #tea -k green", "MODE #tea -l") == []
        await jim.ask("MODE #tea +k green", "MODE #tea +l 1")
        assert await jim.shown("MODE #tea -k") == ["jim MODE #tea -k *"]
        assert await tom.shown("JOIN #tea") == [FULL]
        # A limit takes no parameter with it, and a key does.
        await jim.ask("MODE #tea +k green")
        assert await jim.shown("MODE #tea -lk+l any 5") == [
            "jim MODE #tea -l",
            "jim MODE #tea -k *",
            "jim MODE #tea +l 5",
        ]
        assert await jim.shown("MODE #tea -l") == ["jim MODE #tea -l"]
        assert "324 jim #tea +n" in await jim.shown("MODE #tea")
        assert (await tom.shown("JOIN #tea"))[0] == "tom JOIN #tea"


# "This mode sets a limit on the number of users that are allowed to join the channel."
# ERR_CHANNELISFULL (471): "Indicates that the channel cannot be joined because it is full"
async def test_a_full_channel_is_not_joined() -> None:
    async with channel("jim", "kim") as (chat, [jim, kim]), irc_client(chat, "tom") as tom:
        assert await jim.shown("MODE #tea +l 1") == ["jim MODE #tea +l 1"]
        assert await tom.shown("JOIN #tea") == [FULL]
        assert await kim.shown("PRIVMSG #tea :still here") == ["jim MODE #tea +l 1"]
        assert await jim.shown("MODE #tea +l 3") == [
            "kim PRIVMSG #tea still here",
            "jim MODE #tea +l 3",
        ]
        assert (await tom.shown("JOIN #tea"))[0] == "tom JOIN #tea"


async def test_an_invitation_leads_into_a_full_channel_with_a_key() -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "tom") as tom:
        await jim.ask("MODE #tea +l 1", "MODE #tea +k green")
        assert "341 jim tom #tea" in await jim.shown("INVITE tom #tea")
        assert "jim INVITE tom #tea" in await tom.shown()
        assert "tom JOIN #tea" in await tom.shown("JOIN #tea")


# ERR_INVALIDMODEPARAM (696): "Indicates that there was a problem with a mode parameter."
@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("MODE #tea +k", "461 jim MODE Not enough parameters"),
        ("MODE #tea +l", "461 jim MODE Not enough parameters"),
        ("MODE #tea +k :", f"696 jim #tea k * {KEY_FORM}"),
        ("MODE #tea +k :two words", f"696 jim #tea k * {KEY_FORM}"),
        ("MODE #tea +k a,b", f"696 jim #tea k * {KEY_FORM}"),
        ("MODE #tea +k off", f"696 jim #tea k * {KEY_FORM}"),
        ("MODE #tea +k *", f"696 jim #tea k * {KEY_FORM}"),
        (f"MODE #tea +k {'x' * 33}", f"696 jim #tea k * {KEY_FORM}"),
        ("MODE #tea +l :", f"696 jim #tea l * {LIMIT_FORM}"),
        ("MODE #tea +l 0", f"696 jim #tea l 0 {LIMIT_FORM}"),
        ("MODE #tea +l -1", f"696 jim #tea l -1 {LIMIT_FORM}"),
        ("MODE #tea +l off", f"696 jim #tea l off {LIMIT_FORM}"),
        ("MODE #tea +l 99999999999999999999", f"696 jim #tea l 99999999999999999999 {LIMIT_FORM}"),
    ],
)
async def test_a_wrong_parameter_has_its_numeric_and_changes_nothing(
    line: str, answer: str
) -> None:
    async with channel("jim") as (_, [jim]):
        assert await jim.shown(line) == [answer]
        assert "324 jim #tea +n" in await jim.shown("MODE #tea")


async def test_an_operator_learns_no_key_by_setting_it_again() -> None:
    async with channel("jim", "kim") as (_, [jim, kim]):
        await jim.ask("MODE #tea +k green")
        await kim.ask()
        for key in ("green", "blue", "set"):
            told = await kim.shown(f"MODE #tea +k {key}")
            assert [line[:12] for line in told] == ["482 kim #tea"]
        assert await jim.shown("MODE #tea +k green") == ["jim MODE #tea +k *"]
        assert await jim.shown("MODE #tea +k set") == ["jim MODE #tea +k *"]


async def test_an_account_with_a_role_needs_no_key(tmp_path: Path) -> None:
    async with room_of_ann(tmp_path) as (chat, ann), logged_in(chat, "bob", "#tea") as bob:
        await ann.ask("MODE #tea +v bob", "MODE #tea +k green", "MODE #tea +l 1")
        await bob.ask("PART #tea")
        assert "bob JOIN #tea" in await bob.shown("JOIN #tea")
