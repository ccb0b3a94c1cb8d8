"""Operators of channels by the modern IRC documentation and RFC 2812, where creators are some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from documents import document_client
from irc import IrcClient, commands, irc_client, show
from test_creators import CREATORS

from trio_chat import Chat, Settings, open_chat
from trio_chat.testing import line_client


@asynccontextmanager
async def channel(
    *nicks: str, settings: Settings = CREATORS
) -> AsyncIterator[tuple[Chat, list[IrcClient]]]:
    """#tea with these people, the first of whom has made it. Each comes from another network."""
    async with AsyncExitStack() as stack:
        chat = await stack.enter_async_context(open_chat(settings))
        clients = [
            await stack.enter_async_context(
                irc_client(chat, nick, "#tea", peer=f"192.0.2.{number}:6667")
            )
            for number, nick in enumerate(nicks, 1)
        ]
        for client in clients:
            await client.ask()
        yield chat, clients


# --- https://modern.ircdocs.horse/#channel-operators ----------------------------------------------


async def test_the_creator_has_the_prefix_of_operators_at_once() -> None:
    async with channel("jim") as (chat, _), irc_client(chat, "tom") as tom:
        assert await tom.shown("JOIN #oolong") == [
            "tom JOIN #oolong",
            "353 tom = #oolong @tom",
            "366 tom #oolong End of /NAMES list",
        ]
        [who] = [m for m in await tom.ask("WHO #oolong") if m.command == "352"]
        assert who.params[6] == "H@"
        assert "319 tom tom @#oolong" in await tom.shown("WHOIS tom")


async def test_operators_give_and_take_the_status_of_members() -> None:
    async with channel("jim", "tom", "kim") as (_, [jim, tom, kim]):
        for change, nick in (("+o", "tom"), ("+v", "kim"), ("-v", "kim"), ("-o", "tom")):
            assert await jim.shown(f"MODE #tea {change} {nick}") == [
                f"jim MODE #tea {change} {nick}"
            ]
            assert await tom.shown() == await kim.shown() == [f"jim MODE #tea {change} {nick}"]


async def test_an_operator_whom_the_creator_made_takes_the_role_of_the_creator() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        await jim.ask("MODE #tea +o tom")
        await tom.ask()
        assert await tom.shown("MODE #tea -o jim") == ["tom MODE #tea -o jim"]
        assert (await jim.shown("MODE #tea +o jim"))[-1].startswith("482 jim #tea ")
        assert await tom.shown("MODE #tea +o jim") == ["tom MODE #tea +o jim"]


async def test_an_operator_may_give_its_own_status_up() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        assert await jim.shown("MODE #tea -o jim") == ["jim MODE #tea -o jim"]
        assert "353 tom = #tea jim tom" in await tom.shown("NAMES #tea")


# ERR_CHANOPRIVSNEEDED: "a command failed because the client does not have appropriate channel
# privileges"
@pytest.mark.parametrize(
    "line",
    [
        *("MODE #tea +o tom", "MODE #tea -o jim", "MODE #tea +v tom", "MODE #tea +i"),
        *("MODE #tea +m", "MODE #tea +t", "MODE #tea +b jim!*@*", "MODE #tea -b *!*@net:00000000"),
        *("MODE #tea +k green", "MODE #tea +l 9"),
        "KICK #tea jim",
    ],
)
async def test_members_without_a_role_may_not_moderate(line: str) -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        [refusal] = await tom.shown(line)
        assert refusal.startswith("482 tom #tea ")
        assert await jim.shown() == []


# --- https://modern.ircdocs.horse/#mode-message ---------------------------------------------------


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("MODE #tea +o kim", "441 jim kim #tea"),  # she is in another channel
        ("MODE #tea +o sam", "401 jim sam"),  # there is nobody of that name
        ("MODE #other +o jim", "442 jim #other"),
        ("MODE #nowhere +o jim", "403 jim #nowhere"),
        ("MODE #tea +X", "472 jim X"),
        ("MODE tea +o jim", "401 jim tea"),
    ],
)
async def test_modes_that_cannot_change_have_their_numerics(line: str, answer: str) -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "kim", "#other"):
        [refusal] = await jim.shown(line)
        assert refusal.startswith(f"{answer} "), refusal


async def test_the_modes_of_a_channel_are_those_that_operators_have_set() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        assert await jim.shown("MODE #tea +im-i+t") == [
            "jim MODE #tea +i",
            "jim MODE #tea +m",
            "jim MODE #tea -i",
            "jim MODE #tea +t",
        ]
        await tom.ask()
        # RPL_CHANNELMODEIS (324), for members too
        assert (await tom.shown("MODE #tea"))[0] == "324 tom #tea +mnt"


# --- https://modern.ircdocs.horse/#kick-message ---------------------------------------------------


async def test_all_members_see_a_kick() -> None:
    async with channel("jim", "tom", "kim") as (_, [jim, tom, kim]):
        assert await jim.shown("KICK #tea tom :bye") == []
        for client in (jim, tom, kim):
            assert await client.shown() == ["jim KICK #tea tom bye"]
        # RFC 2812, 3.2.8: without a comment it is the nick of the kicker.
        await jim.ask("KICK #tea kim")
        assert await kim.shown() == ["jim KICK #tea kim jim"]
        assert (await tom.shown("JOIN #tea"))[0] == "tom JOIN #tea"


async def test_an_operator_kicks_another_one() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        await jim.ask("MODE #tea +o tom")
        await tom.ask()
        await tom.ask("KICK #tea jim")
        assert "tom KICK #tea jim tom" in await jim.shown()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("KICK #tea kim", "441 jim kim #tea"),
        ("KICK #tea sam", "401 jim sam"),
        ("KICK #other jim", "442 jim #other"),
        ("KICK #nowhere jim", "403 jim #nowhere"),
        ("KICK tea jim", "403 jim tea"),
        ("KICK #tea", "461 jim KICK"),
    ],
)
async def test_kicks_of_nobody_have_their_numerics(line: str, answer: str) -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "kim", "#other"):
        [refusal] = await jim.shown(line)
        assert refusal.startswith(f"{answer} "), refusal


# --- https://modern.ircdocs.horse/#topic-message --------------------------------------------------


async def test_only_operators_set_a_protected_topic() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        await jim.ask("MODE #tea +t", "MODE #tea +v tom")
        await tom.ask()
        [refusal] = await tom.shown("TOPIC #tea :green")
        assert refusal.startswith("482 tom #tea ")
        assert await jim.shown("TOPIC #tea :green") == ["jim TOPIC #tea green"]
        await jim.ask("MODE #tea -t")
        assert (await tom.shown("TOPIC #tea :black"))[-1] == "tom TOPIC #tea black"


# --- https://modern.ircdocs.horse/#invite-message -------------------------------------------------


async def test_an_invitation_lets_into_a_channel_for_those_who_are_invited() -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "tom") as tom:
        await jim.ask("MODE #tea +i")
        assert commands(await tom.ask("JOIN #tea")) == ["473"]
        assert (await tom.shown("INVITE jim #tea"))[-1].startswith("442 tom #tea ")
        assert await jim.shown("INVITE tom #tea") == ["341 jim tom #tea"]
        assert await tom.shown() == ["jim INVITE tom #tea"]
        assert (await tom.shown("JOIN #tea"))[0] == "tom JOIN #tea"
        assert (await tom.shown("INVITE jim #tea"))[-1].startswith("443 tom jim #tea ")
        assert (await jim.shown("INVITE tom #tea"))[-1].startswith("443 jim tom #tea ")
        assert (await jim.shown("INVITE sam #tea"))[-1].startswith("401 jim sam ")
        async with irc_client(chat, "kim"):
            assert (await tom.shown("INVITE kim #tea"))[-1].startswith("482 tom #tea ")
        assert (await tom.shown("INVITE jim #nowhere"))[-1].startswith("403 tom #nowhere ")


# --- the modes m and b ----------------------------------------------------------------------------


async def test_only_voices_and_operators_speak_in_a_moderated_channel() -> None:
    async with channel("jim", "tom", "kim") as (_, [jim, tom, kim]):
        await jim.ask("MODE #tea +m", "MODE #tea +v kim")
        await tom.ask()
        [refusal] = await tom.shown("PRIVMSG #tea :hi")
        assert refusal.startswith("404 tom #tea ")
        await kim.ask("PRIVMSG #tea :hello")
        await jim.ask("PRIVMSG #tea :welcome")
        assert await tom.shown() == ["kim PRIVMSG #tea hello", "jim PRIVMSG #tea welcome"]


async def test_people_who_are_banned_stay_outside_until_the_ban_is_taken() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        await jim.ask("MODE #tea +b tom!*@*")
        assert "jim KICK #tea tom" in " ".join(await tom.shown())
        [refusal] = await tom.shown("JOIN #tea")
        assert refusal.startswith("474 tom #tea ")
        await jim.ask()
        [ban, end] = await jim.ask("MODE #tea b")
        assert [ban.command, show(end)] == ["367", "368 jim #tea End of channel ban list"]
        await jim.ask(f"MODE #tea -b {ban.params[2]}")
        assert (await tom.shown("JOIN #tea"))[0] == "tom JOIN #tea"
        assert commands(await jim.ask("MODE #tea b"))[-1:] == ["368"]


# --- the end, and other clients -------------------------------------------------------------------


async def test_a_channel_that_was_empty_has_none_of_the_modes_of_before() -> None:
    async with channel("jim") as (chat, [jim]), irc_client(chat, "tom") as tom:
        await jim.ask("MODE #tea +imt", "PART #tea")
        assert await tom.shown("JOIN #tea") == [
            "tom JOIN #tea",
            "353 tom = #tea @tom",
            "366 tom #tea End of /NAMES list",
        ]
        assert (await tom.shown("MODE #tea"))[0] == "324 tom #tea +n"
        assert "353 jim = #tea @tom jim" in [
            " ".join((*line.split()[:4], *sorted(line.split()[4:])))
            for line in await jim.shown("JOIN #tea")
        ]


async def test_an_operator_who_comes_back_is_shown_as_one() -> None:
    async with channel("jim", "tom") as (_, [jim, tom]):
        await jim.ask("PART #tea", "JOIN #tea")
        assert await tom.shown() == ["jim PART #tea", "jim JOIN #tea", "MODE #tea +o jim"]


async def test_clients_of_all_kinds_moderate_each_other() -> None:
    async with (
        channel("jim") as (chat, [jim]),
        line_client(chat, nick="tel", room="#tea") as tel,
        document_client(chat, nick="web", rooms=("#tea",)) as web,
    ):
        await tel.sync()
        await jim.ask("MODE #tea +o tel")
        await tel.send("/role web operator")
        assert await tel.sync() == ["> jim made tel operator [A1]", "> tel made web operator [A2]"]
        await web.sync()
        kicked = await web.ask("moderate", action="kick", room="#tea", target="tel")
        assert kicked["text"] == "kicked tel"
        assert "> web kicked tel [A3]" in await tel.sync()
        assert "web KICK #tea tel web" in await jim.shown()
