"""People and the server in IRC: WHO, WHOX, WHOIS, ISON, AWAY, LUSERS and the like."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from documents import document_client
from irc import IrcClient, commands, irc_client, show
from people import PASSWORD

from trio_chat import Settings, open_chat
from trio_chat.dialects.irc import absent
from trio_chat.dialects.irc.reading import ALL_ROWS
from trio_chat.dialects.irc.registration import COMMANDS as REGISTRATION
from trio_chat.dialects.irc.usage import USAGE
from trio_chat.testing import line_client


async def host_of(client: IrcClient) -> str:
    """The host that stands for the client's address."""
    [reply] = await client.ask(f"USERHOST {client.nick}")
    return reply.params[1].partition("@")[2]


# --- WHO ------------------------------------------------------------------------------------------


async def test_who_of_a_room() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a"),
        irc_client(chat, "ann", "#a") as ann,
    ):
        host = await host_of(ann)
        mine, theirs, end = await ann.ask("WHO #A")
        # A room, a user name, a host, the server, a nick, flags, and a real name after a count.
        assert mine.params == (
            *("ann", "#a", "~ann", host, "chat.local", "ann", "H", "0 ann's name"),
        )
        assert theirs.params[5] == "tel"
        assert show(end) == "315 ann #A End of /WHO list"
        assert commands(await ann.ask("WHO #none", "WHO a,b")) == ["315", "315"]


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ("*", ["ann", "bob"]),
        ("b*", ["bob"]),
        ("B?b", ["bob"]),
        ("*name*", ["ann", "bob"]),  # the real name
        ("bob", ["bob"]),
        ("eve", ["eve"]),  # by its nick, also in no room of the asker's
        ("e*", []),
        ("[a-z]ob", []),  # no pattern of IRC
    ],
)
async def test_who_by_masks(mask: str, found: list[str]) -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "bob", "#a"),
        irc_client(chat, "eve", "#b"),
    ):
        await ann.ask()
        *people, end = await ann.ask(f"WHO {mask}")
        assert sorted(person.params[5] for person in people) == found
        assert end.params == ("ann", mask, "End of /WHO list")


async def test_who_with_fields() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a") as ann:
        host = await host_of(ann)
        # irssi asks so on each join.
        [reply, end] = await ann.ask("WHO #a %tcuhnfdar,743")
        assert reply.command == "354"
        assert reply.params == (
            *("ann", "743", "#a", "~ann", host, "ann", "H", "0", "0", "ann's name"),
        )
        assert end.command == "315"
        [reply, _] = await ann.ask("WHO #a %rant")
        assert reply.params == ("ann", "0", "ann", "0", "ann's name")
        [reply, _] = await ann.ask("WHO ann %nilso,1")
        assert reply.params == ("ann", "255.255.255.255", "chat.local", "ann", "0", "n/a")


# --- WHOIS ----------------------------------------------------------------------------------------


async def test_whois() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", "#b") as ann,
        irc_client(chat, "bob", "#b", "#c") as bob,
    ):
        await ann.ask()
        host = await host_of(bob)
        messages = await ann.ask("WHOIS BOB")
        assert [show(message) for message in messages[:-2]] == [
            f"311 ann bob ~bob {host} * bob's name",
            "319 ann bob #b",  # and no room that only one of the two is in
            "312 ann bob chat.local trio_chat",
        ]
        idle, end = messages[-2:]
        assert idle.command == "317"
        assert idle.params[2].isdigit()
        assert idle.params[3].isdigit()
        assert show(end) == "318 ann BOB End of /WHOIS list"
        # Only the asker itself is told its address.
        assert "338" in commands(await ann.ask("WHOIS ann ann"))


async def test_whois_of_a_person_with_several_devices(tmp_path: Path) -> None:
    async with (
        open_chat(Settings(store=f"sqlite:{tmp_path}/chat.db")) as chat,
        irc_client(chat, "ann", "#a", "#b") as ann,
        document_client(chat, nick="web") as first,
        document_client(chat) as second,
    ):
        await first.ask("register", password=PASSWORD)
        await first.ask("join", room="#a")
        await second.ask("login", name="web", password=PASSWORD)
        await second.ask("join", room="#b")
        await ann.ask()
        shown = await ann.shown("WHOIS web")
        assert "319 ann web #a #b" in shown
        assert "330 ann web web is logged in as" in shown
        people = await ann.ask("WHO #b %n")
        assert [m.params[1] for m in people if m.command == "354"] == ["ann", "web"]


async def test_whois_of_nobody() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        assert await ann.shown("WHOIS no", "WHOIS", "WHOWAS no", "WHOWAS") == [
            "401 ann no nobody here is called no",
            "318 ann no End of /WHOIS list",
            "431 ann No nick was given",
            "406 ann no There was no such nick lately",
            "369 ann no End of WHOWAS",
            "431 ann No nick was given",
        ]


# --- who is here, and who is away -----------------------------------------------------------------


async def test_ison_tells_the_nicks_that_are_here() -> None:
    async with open_chat() as chat, line_client(chat, nick="Tel"), irc_client(chat, "ann") as ann:
        assert await ann.shown("ISON tel no ann", "ison :no ANN", "ISON no", "ISON") == [
            "303 ann Tel ann",
            "303 ann ann",
            "303 ann",
            "461 ann ISON Not enough parameters",
        ]
        [reply] = await ann.ask("USERHOST tel no ann")
        first, second = reply.params[1].split()
        assert first.startswith("Tel=+~u@")
        assert second == f"ann=+~ann@{await host_of(ann)}"


async def test_an_away_person_is_told_by_301() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "bob", "#a") as bob,
    ):
        await ann.ask()
        assert await bob.shown("AWAY :at \x02lunch") == ["306 bob You are marked as away"]
        assert await ann.shown("PRIVMSG bob :Hi", "PRIVMSG BOB :Hi") == [
            "301 ann bob at lunch",
            "301 ann BOB at lunch",
        ]
        assert "301" in commands(await ann.ask("WHOIS bob"))
        assert (await ann.ask("WHO bob"))[0].params[6] == "G"
        assert (await ann.ask("USERHOST bob"))[0].params[1].startswith("bob=-")
        await bob.ask()
        assert await bob.shown("AWAY", "AWAY :") == ["305 bob You are marked as away no more"] * 2
        assert await ann.shown("PRIVMSG bob :Hi") == []


async def test_real_names_change() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", capabilities=("setname",)) as ann:
        assert await ann.shown("SETNAME :Ann B") == ["ann SETNAME Ann B"]
        [whois, *_] = await ann.ask("WHOIS ann")
        assert whois.params[-1] == "Ann B"
        refused = await ann.ask("SETNAME", "SETNAME : ", "SETNAME :\x02")
        assert commands(refused) == ["461", "400", "400"]


async def test_no_unwanted_word_is_in_what_people_say_about_themselves(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("spam\n")
    settings = Settings(word_list=str(tmp_path / "words"))
    async with (
        open_chat(settings) as chat,
        irc_client(chat) as ann,
        irc_client(chat, "bob") as bob,
    ):
        await ann.ask("NICK ann", "USER ann 0 * :my spam")
        why = "the text holds a word that is not wanted here"
        for line in ("AWAY :spam", "SETNAME :spam"):
            [refusal] = await ann.shown(line)
            assert refusal.endswith(why), refusal
        about = await bob.ask("WHOIS ann")
        assert about[0].params[-1] == ""
        assert "301" not in commands(about)


# --- the server -----------------------------------------------------------------------------------


async def test_counts() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a"),
        irc_client(chat, "ann", "#a", "#b") as ann,
    ):
        messages = await ann.ask("LUSERS")
        assert [" ".join(m.params[1:]) for m in messages] == [
            "There are 2 users and 0 invisible on 1 server",
            "0 operators online",
            "0 unknown connections",
            "2 rooms",
            "I have 2 clients and 0 servers",
            "2 2 Current local users 2, max 2",
            "2 2 Current global users 2, max 2",
        ]


async def test_a_client_that_has_yet_to_register_is_counted() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:

        async def count() -> str:
            [line] = [m for m in await ann.ask("LUSERS") if m.command == "253"]
            return line.params[1]

        async with irc_client(chat) as bob, irc_client(chat) as eve:
            await bob.ask("NICK bob")
            await eve.ask("NICK eve")
            assert await count() == "2"
            await bob.ask("USER bob 0 * :Bob")
            assert await count() == "1"
            await eve.send("QUIT")
            await eve.rest()
            assert await count() == "0"


async def test_facts_about_the_server() -> None:
    settings = Settings(http_hosts=("192.0.2.1", "chat.example.org"))
    async with open_chat(settings) as chat, irc_client(chat, "ann") as ann:
        assert commands(await ann.ask("VERSION")) == ["351", "005", "005"]
        [time] = await ann.ask("TIME")
        # Its name is the first host name of the settings.
        assert time.params[:2] == ("ann", "chat.example.org")
        assert time.source == "chat.example.org"
        for line in ("TIME Chat.example.org", "TIME *.example.org", "TIME ANN"):
            assert commands(await ann.ask(line)) == ["391"]
        for command in ("MOTD", "VERSION", "TIME", "INFO"):
            assert await ann.shown(f"{command} irc.example.net") == [
                "402 ann irc.example.net There is no such server here"
            ]
        info, end = await ann.ask("INFO")
        assert version("trio_chat") in info.params[1]
        assert end.command == "374"
        assert commands(await ann.ask("OPER a b", "OPER", "FOO", "USER a b c d")) == [
            *("491", "461", "421", "462")
        ]


async def test_help() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        first, *others, last = await ann.ask("HELP")
        assert (first.command, last.command) == ("704", "706")
        assert {message.command for message in others} == {"705"}
        assert commands(await ann.ask("HELP nick")) == ["704", "706"]
        # Commands of IRC are explained as they are in IRC, whatever the case.
        first, last = await ann.shown("HELPOP privmsg")
        assert first.startswith("704 ann privmsg PRIVMSG ROOM|NICK[,...] :TEXT - ")
        assert last == "706 ann privmsg End of help"
        for command in ("HELP", "HELPOP"):
            assert await ann.shown(f"{command} nothing") == [
                "524 ann nothing there is no such command; /help alone lists them"
            ]


def test_each_command_is_explained() -> None:
    assert {*ALL_ROWS, *absent.ROWS, *REGISTRATION} == set(USAGE)


async def test_a_person_without_a_nick_is_a_target_by_the_name_that_irc_shows() -> None:
    async with (
        open_chat(Settings(nick_chars=12)) as chat,
        irc_client(chat, "ann", "#a") as ann,
        line_client(chat, room="#a") as tel,
    ):
        [came] = await ann.ask()
        nick = came.source.partition("!")[0]
        assert await ann.shown(f"PRIVMSG {nick.upper()} :Hi") == []
        assert await tel.sync() == ["> ann (to you): Hi"]
        [about, *_] = await ann.ask(f"WHOIS {nick}")
        assert (about.command, about.params[1]) == ("311", nick)
        assert await ann.shown(f"ISON {nick}") == [f"303 ann {nick}"]
        for mask in (nick, "anonymous-*"):
            [who, _] = await ann.ask(f"WHO {mask}")
            assert who.params[5] == nick
        async with line_client(chat, nick="jim") as jim:
            await jim.send(f"/tell {nick} Hello")
            assert await jim.sync() == ["> you (to anonymous): Hello"]
        assert (await tel.sync())[-1] == "> jim (to you): Hello"
        # The name is of nobody once the person has a nick.
        await tel.send("/nick tel")
        await tel.sync()
        assert [m.command for m in await ann.ask(f"PRIVMSG {nick} :Hi")] == ["NICK", "401"]
