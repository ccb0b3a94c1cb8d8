"""MONITOR by its specification (IRCv3, monitor)."""

from __future__ import annotations

from pathlib import Path

from documents import document_client
from irc import commands, irc_client, show
from people import PASSWORD

from trio_chat import Settings, open_chat
from trio_chat.testing import line_client

QUICK = Settings(rate_limit=None)


async def test_monitor_tells_nicks_that_are_here_and_that_are_not() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann, irc_client(chat, "Bob") as bob:
        online, offline = await ann.ask("MONITOR + bob,Jim")
        source = (await bob.ask("JOIN #a"))[0].source
        assert (online.command, online.params) == ("730", ("ann", source))
        assert (offline.command, offline.params) == ("731", ("ann", "Jim"))
        assert await ann.shown("MONITOR + jim") == ["731 ann Jim"]
        assert await ann.shown("MONITOR L") == ["732 ann bob,Jim", "733 ann End of MONITOR list"]
        assert await ann.shown("MONITOR S") == [f"730 ann {source}", "731 ann Jim"]
        # "No output will be returned for use of this command".
        assert await ann.ask("MONITOR - BOB,nobody") == []
        assert await ann.shown("MONITOR L") == ["732 ann Jim", "733 ann End of MONITOR list"]
        assert await ann.ask("MONITOR C") == []
        assert await ann.shown("MONITOR L") == ["733 ann End of MONITOR list"]
        assert await ann.ask("MONITOR S") == []


async def test_people_who_come_and_go() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        await ann.ask("MONITOR + tel,tal")
        async with line_client(chat, nick="tel") as tel:
            [online] = await ann.ask()
            assert online.command == "730"
            assert online.params[1].startswith("tel!~u@")
            await tel.send("/nick TEL")
            await tel.sync()
            assert await ann.ask() == []
            await tel.send("/nick tal")
            await tel.sync()
            online, offline = await ann.ask()
            assert online.command == "730"
            # The nick is as the person had written it; the list has it as the client did.
            assert show(offline) == "731 ann TEL"
            assert (await ann.shown("MONITOR S"))[-1] == "731 ann tel"
            await ann.ask("MONITOR - tal")
        assert await ann.ask() == []
        await ann.ask("MONITOR + tal")
        async with line_client(chat, nick="tal"):
            assert commands(await ann.ask()) == ["730"]
        assert [show(message) for message in await ann.until("731")] == ["731 ann tal"]


async def test_a_person_without_a_nick_is_watched_until_it_takes_one() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a") as ann:
        async with line_client(chat, room="#a") as tel:
            [came] = await ann.ask()
            nick = came.source.partition("!")[0]
            [online] = await ann.ask(f"MONITOR + {nick}")
            assert (online.command, online.params[1]) == ("730", came.source)
            await tel.send("/nick tel")
            await tel.sync()
            assert await ann.shown() == [f"{nick} NICK tel", f"731 ann {nick}"]
        async with line_client(chat, room="#a"):
            [_, came] = await ann.ask()
            nick = came.source.partition("!")[0]
            await ann.ask(f"MONITOR + {nick}")
        assert show((await ann.until("731"))[-1]) == f"731 ann {nick}"


async def test_a_person_with_several_devices_goes_with_the_last_one(tmp_path: Path) -> None:
    async with (
        open_chat(Settings(store=f"sqlite:{tmp_path}/chat.db")) as chat,
        irc_client(chat, "ann") as ann,
    ):
        await ann.ask("MONITOR + web")
        async with document_client(chat, nick="web") as web:
            assert commands(await ann.ask()) == ["730"]
            await web.ask("register", password=PASSWORD)
            async with document_client(chat) as phone:
                await phone.ask("login", name="web", password=PASSWORD)
                await web.ask("logout")
                assert await ann.ask() == []
                assert (await phone.ask("logout"))["type"] == "logged_out"
                assert await ann.shown() == ["731 ann web"]


async def test_a_list_has_an_end() -> None:
    async with open_chat(QUICK) as chat, irc_client(chat, "ann") as ann:
        nicks = [f"n{number}" for number in range(102)]
        messages = await ann.ask(f"MONITOR + {','.join(nicks[:60])}")
        assert set(commands(messages)) == {"731"}
        *_, full = await ann.ask(f"MONITOR + {','.join(nicks[50:])}")
        assert full.command == "734"
        assert full.params[:3] == ("ann", "100", "n100,n101")
        listed = [m.params[1] for m in await ann.ask("MONITOR L") if m.command == "732"]
        assert ",".join(listed).split(",") == nicks[:100]
        await ann.ask("MONITOR C")
        assert commands(await ann.ask("MONITOR + n101")) == ["731"]


async def test_wrong_commands() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        refused = await ann.ask("MONITOR", "MONITOR +", "MONITOR ?", "MONITOR -")
        assert commands(refused) == ["461"] * 4
        # "Target MUST be a valid nick".
        assert await ann.ask("MONITOR + *!u@h,a:b,,") == []
        assert commands(await ann.ask("MONITOR L")) == ["733"]


async def test_nothing_is_left_of_who_is_gone() -> None:
    async with open_chat() as chat:
        async with irc_client(chat, "ann") as ann:
            await ann.ask("MONITOR + bob,tel")
            state = chat._hub.state
            assert set(state.watchers) == {"bob", "tel"}
        async with irc_client(chat, "eve") as eve:
            await eve.ask()
            assert state.watchers == state.stirred == {}


async def test_clients_learn_how_many_they_may_watch() -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        supported = [m.params for m in await ann.register("ann") if m.command == "005"]
        assert "MONITOR=100" in {token for line in supported for token in line}
