"""Rooms and messages in IRC, by the modern IRC documentation, beside lines and documents."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
from documents import document_client
from irc import IrcClient, commands, irc_client, show
from loopback import HOST, chat_on_tcp
from people import PASSWORD
from snapshots import successor
from test_redis_log import chats

from trio_chat import Notice, Noticed, Settings, command, open_chat
from trio_chat.dialects.irc.entries import ENTRIES
from trio_chat.dialects.irc.replies import REPLIES
from trio_chat.hub import room as rooms
from trio_chat.protocol import events
from trio_chat.protocol.commands import Caller
from trio_chat.protocol.past import ActiveRooms
from trio_chat.testing import line_client

MANY = Settings(rate_limit=None, max_rooms=20, rooms_per_client=3)


# --- rooms ----------------------------------------------------------------------------------------


async def test_a_join_is_answered_with_the_topic_and_the_members() -> None:
    async with open_chat() as chat, line_client(chat, nick="tel", room="#Tea") as tel:
        await tel.send("/topic green")
        await tel.sync()
        async with irc_client(chat, "ann") as ann:
            messages = await ann.ask("JOIN #TEA")
            assert [show(message) for message in messages] == [
                "ann JOIN #tea",
                "332 ann #tea green",
                f"333 ann #tea tel {messages[2].params[3]}",
                "353 ann = #tea ann tel",
                "366 ann #tea End of /NAMES list",
            ]
            # "The source of the message represents the client that joined".
            user, at, host = messages[0].source.partition("@")
            assert (user, at) == ("ann!~ann", "@")
            assert host.endswith(".chat.local")
            assert await tel.sync() == ["> ann joined the room"]
            # "servers should ignore" a room that the client is in.
            assert await ann.shown("JOIN #tea") == []


async def test_several_rooms_and_those_without_a_hash() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="general") as tel,
        irc_client(chat, "ann") as ann,
    ):
        messages = await ann.ask("JOIN &general,#b,&x:y key")
        joined = [m.params[0] for m in messages if m.command == "JOIN"]
        assert joined == ["&general", "#b", "&x:y"]
        assert await tel.sync() == ["> ann joined the room"]
        await tel.send("/msg Hi")
        await tel.sync()
        assert await ann.shown() == ["tel PRIVMSG &general Hi"]
        assert await ann.shown("PART #b,&general :bye", "PART #b") == [
            "ann PART #b bye",
            "ann PART &general bye",
            "403 ann #b there is no such room",
        ]
        assert await tel.sync() == ["> ann has left the room (bye)"]
        assert await ann.shown("JOIN 0") == ["ann PART &x:y"]


@pytest.mark.parametrize("name", ["general", "&", "&#a", "+a", "#a\x07b", "!a", "#" + "x" * 64])
async def test_names_that_cannot_be_rooms_are_refused(name: str) -> None:
    async with open_chat(MANY) as chat, irc_client(chat, "ann") as ann:
        assert commands(await ann.ask(f"JOIN {name}")) == ["403"]


async def test_no_more_rooms_than_clients_may_be_in() -> None:
    async with open_chat(MANY) as chat, irc_client(chat, "ann", "#a", "#b", "#c") as ann:
        [refusal] = await ann.ask("JOIN #d")
        assert (refusal.command, refusal.params[1]) == ("405", "#d")
        await ann.ask("PART #a")
        assert commands(await ann.ask("JOIN #d")) == ["JOIN", "353", "366"]


async def test_long_lists_of_members_are_whole_and_in_several_lines() -> None:
    nicks = [f"{name:x<30}" for name in "abcdefghijklmno"]
    async with open_chat(Settings(rate_limit=None)) as chat:
        clients = [chat.connect() for _ in nicks]
        for client, nick in zip(clients, nicks, strict=True):
            bot = await client.__aenter__()
            await bot.take_nick(nick)
            await bot.join("#a")
        async with irc_client(chat, "zoe") as zoe:
            messages = await zoe.ask("JOIN #a")
            lines = [m.params[3] for m in messages if m.command == "353"]
            assert len(lines) > 1
            assert " ".join(lines).split() == [*nicks, "zoe"]
            assert commands(messages) == ["JOIN", *["353"] * len(lines), "366"]
            again = await zoe.ask("NAMES #a")
            assert again == messages[1:]
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_names_of_rooms_that_one_is_not_in_are_not_told() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a"), irc_client(chat, "bob") as bob:
        assert await bob.shown("NAMES #a", "NAMES #none", "NAMES") == [
            "366 bob #a End of /NAMES list",
            "366 bob #none End of /NAMES list",
            "366 bob * End of /NAMES list",
        ]


async def test_names_without_a_room_are_those_of_all_own_rooms() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "cat", "#c"),
        irc_client(chat, "bob", "#a", "#b", capabilities=("userhost-in-names",)) as bob,
    ):
        await ann.ask()
        assert await ann.shown("NAMES") == ["353 ann = #a ann bob", "366 ann * End of /NAMES list"]
        first, second, end = await bob.ask("NAMES")
        assert (first.params[2], second.params[2]) == ("#a", "#b")
        assert [name.partition("!")[0] for name in first.params[3].split()] == ["bob", "ann"]
        assert (end.command, end.params[1]) == ("366", "*")


async def test_topics() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        await ann.ask()
        none, new, topic, setter = await ann.ask("TOPIC #a", "TOPIC #a :green tea", "TOPIC #a")
        assert [show(message) for message in (none, new, topic)] == [
            "331 ann #a No topic is set",
            "ann TOPIC #a green tea",
            "332 ann #a green tea",
        ]
        # "<nick> <setat>", which is a time in seconds.
        assert (setter.command, *setter.params[:3]) == ("333", "ann", "#a", "ann")
        assert abs(int(setter.params[3]) - time.time()) < 60
        assert await tel.sync() == ["> topic of #a: green tea"]
        assert commands(await ann.ask("TOPIC #b", "TOPIC #b :x", "TOPIC b", "TOPIC")) == [
            *("403", "403", "403", "461")
        ]


async def test_the_list_of_rooms_and_its_filters() -> None:
    async with (
        open_chat(MANY) as chat,
        irc_client(chat, "ann", "#a", "&bee", "#c") as ann,
        irc_client(chat, "bob", "#c") as bob,
    ):
        await bob.ask("TOPIC #c :see")
        await ann.ask()

        async def listed(line: str) -> list[str]:
            first, *rooms, last = await ann.ask(line)
            assert (first.command, last.command) == ("321", "323")
            assert all(room.command == "322" for room in rooms)
            return [" ".join(room.params[1:]).rstrip() for room in rooms]

        assert await listed("LIST ") == ["#a 1", "#c 2 see", "&bee 1"]
        assert await listed("LIST #c,#a") == ["#a 1", "#c 2 see"]
        assert await listed("LIST #A") == ["#a 1"]
        assert await listed("LIST &*") == ["&bee 1"]
        assert await listed("LIST !#*") == ["&bee 1"]
        assert await listed("LIST >1") == ["#c 2 see"]
        assert await listed("LIST <2") == ["#a 1", "&bee 1"]
        assert await listed("LIST #none") == []


async def test_no_list_costs_more_than_a_few_masks() -> None:
    async with open_chat(MANY) as chat, irc_client(chat, "ann", "#a") as ann:
        many = ",".join(f"!#{number}" for number in range(9))
        assert commands(await ann.ask(f"LIST {many},!#a")) == ["321", "323"]
        assert commands(await ann.ask(f"LIST {many},!#x,!#a")) == ["321", "322", "323"]


async def test_the_modes_of_a_room() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a") as ann:
        modes, _, *bans = await ann.shown("MODE #a", "MODE #a b", "MODE #a +b")
        assert modes == "324 ann #a +n"
        assert bans == [
            "368 ann #a End of channel ban list",
            "368 ann #a End of channel ban list",
        ]
        assert commands(await ann.ask("MODE #a +i", "MODE #none", "MODE a,b", "MODE")) == [
            *("482", "403", "401", "461")
        ]


async def test_when_a_room_was_made_is_known_over_an_upgrade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RPL_CREATIONTIME follows RPL_CHANNELMODEIS."""
    now = SimpleNamespace(time=lambda: 1_600_000_000.7)
    monkeypatch.setattr(rooms, "time", now)
    answer = ["324 ann #a +n", "329 ann #a 1600000000"]
    async with (
        chat_on_tcp(rate_limit=None) as (old, port),
        await trio.open_tcp_stream(HOST, port) as stream,
    ):
        ann = IrcClient(stream)
        await ann.register("ann")
        await ann.ask("JOIN #a")
        assert await ann.shown("MODE #a") == answer
        now.time = lambda: 1_700_000_000.0
        async with successor(old):
            assert await ann.shown("MODE #a") == answer
            assert (await ann.shown("PART #a", "JOIN #a", "MODE #a"))[-1] == (
                "329 ann #a 1700000000"
            )


async def test_the_modes_of_a_person() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann, line_client(chat, nick="tel"):
        assert await ann.shown("MODE ann", "MODE ann +i", "MODE ann +x", "MODE tel", "MODE no") == [
            "221 ann +i",
            "ann MODE ann +i",
            "501 ann Unknown mode: x",
            "502 ann You cannot see or change the modes of others",
            "401 ann no nobody here is called no",
        ]


# --- messages -------------------------------------------------------------------------------------


async def test_messages_go_both_ways_between_all_dialects() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        document_client(chat, nick="web", rooms=("#a",)) as web,
        irc_client(chat, "ann", "#a") as ann,
    ):
        await tel.sync()
        await web.sync()
        # "No message is sent back to its author".
        assert await ann.shown("PRIVMSG #a :\x0304,12Hi\x0f all", "PRIVMSG #A ::)") == []
        assert await tel.sync() == ["> ann: Hi all", "> ann: :)"]
        assert [event["text"] for event in await web.sync()] == ["Hi all", ":)"]
        await tel.send("/msg moin", "/me waves", "/tell ann psst")
        await tel.sync()
        messages = await ann.ask()
        assert [show(message) for message in messages] == [
            "tel PRIVMSG #a moin",
            "tel PRIVMSG #a \x01ACTION waves\x01",
            "tel PRIVMSG ann psst",
        ]
        assert messages[0].source.startswith("tel!~u@")
        assert await ann.shown("PRIVMSG tel :hey", "PRIVMSG #a :\x01ACTION nods\x01") == []
        assert await tel.sync() == ["> ann (to you): hey", "> * ann nods"]


async def test_one_message_may_be_for_several() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        irc_client(chat, "ann", "#a", "#b") as ann,
    ):
        await tel.sync()
        assert await ann.shown("PRIVMSG tel,#a,#none,nobody :Hi") == [
            "404 ann #none you are not in that room",
            "401 ann nobody no one here is called nobody",
        ]
        assert await tel.sync() == ["> ann (to you): Hi", "> ann: Hi"]
        assert commands(await ann.ask("PRIVMSG a,b,c,d,e :Hi")) == ["407"]


@pytest.mark.parametrize(
    ("line", "numeric"),
    [
        ("PRIVMSG", "411"),
        ("PRIVMSG :", "411"),
        ("PRIVMSG #a", "412"),
        ("PRIVMSG #a :", "412"),
        ("PRIVMSG #a :  ", "412"),
        ("PRIVMSG #a :\x02\x0304\x0f", "412"),
        ("PRIVMSG #a :\x01ACTION \x01", "412"),
        ("PRIVMSG #b :Hi", "404"),
        ("PRIVMSG nobody :Hi", "401"),
        ("PRIVMSG a:b :Hi", "401"),
        ("PRIVMSG #a :\x01VERSION\x01", "404"),
        ("PRIVMSG #a :\x01DCC SEND x 1 2 3\x01", "404"),
        ("PRIVMSG #a :" + "x" * 2001, "417"),
        # A control character that is no formatting could move a terminal.
        ("PRIVMSG #a :\x1b[31mred", "412"),
    ],
)
async def test_messages_that_are_refused(line: str, numeric: str) -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        await ann.ask()
        [refusal] = await ann.ask(line)
        assert refusal.command == numeric
        assert refusal.params[0] == "ann"
        assert await tel.sync() == []


async def test_the_rules_of_a_room_count_in_irc(tmp_path: Path) -> None:
    async with (
        open_chat(Settings(store=f"sqlite:{tmp_path}/chat.db")) as chat,
        document_client(chat, nick="web") as web,
        irc_client(chat, "ann") as ann,
        irc_client(chat, "bob") as bob,
    ):

        async def rule(setting: str, value: str) -> None:
            answer, _ = await web.ask_all("set_room", room="#a", setting=setting, value=value)
            assert answer["type"] == "ruled", answer

        await web.ask("register", password=PASSWORD)
        await web.ask("join", room="#a")
        await web.ask("claim_room", room="#a")
        await ann.ask("JOIN #a")
        await rule("join", "accounts")
        await rule("speak", "voice")
        await ann.ask()
        # ERR_INVITEONLYCHAN, ERR_CANNOTSENDTOCHAN and ERR_CHANOPRIVSNEEDED
        assert commands(await bob.ask("JOIN #a")) == ["473"]
        assert commands(await ann.ask("PRIVMSG #a :Hi", "NOTICE #a :Hi")) == ["404"]
        await ann.ask("PART #a :Hi")
        [left] = [event for event in await web.sync() if event["type"] == "left"]
        assert "reason" not in left
        await rule("join", "all")
        await ann.ask("JOIN #a")
        await rule("speak", "all")
        await rule("topic", "operators")
        await ann.ask()
        assert commands(await ann.ask("TOPIC #a :tea")) == ["482"]


async def test_requests_of_clients_to_clients_reach_nobody() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel") as tel,
        irc_client(chat, "ann") as ann,
    ):
        lines = ("PRIVMSG tel :\x01VERSION\x01", "PRIVMSG tel :\x01DCC CHAT chat 1 2\x01")
        assert await ann.ask(*lines, "NOTICE tel :\x01VERSION x\x01", "TAGMSG tel") == []
        assert await tel.sync() == []


async def test_notices_are_told_apart_by_programs(tmp_path: Path) -> None:
    async with (
        open_chat(Settings(store=f"sqlite:{tmp_path}/chat.db")) as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        document_client(chat, nick="web", rooms=("#a",)) as web,
        irc_client(chat, "ann", "#a") as ann,
        irc_client(chat, "bob", "#a") as bob,
    ):
        for client in (tel, web):
            await client.sync()
        await ann.ask()
        assert await ann.shown("NOTICE #a :\x02Hi", "NOTICE bob,web :psst") == []
        assert await bob.shown() == ["ann NOTICE #a Hi", "ann NOTICE bob psst"]
        assert await tel.sync() == ["> ann: Hi"]
        said, told = await web.sync()
        assert (said["type"], said["text"], said["notice"]) == ("said", "Hi", True)
        assert (told["type"], told["text"], told["notice"]) == ("told", "psst", True)
        # Nobody ever answers a NOTICE automatically, and the server does not either.
        wrong = ("", " #a", " #none :x", " nobody :x", " a,b,c,d,e :x")
        assert await ann.ask(*(f"NOTICE{what}" for what in wrong)) == []
        async with chat.connect() as bot:
            await bot.join("#a")
            [kept] = await bot.history()
            assert (type(kept), kept.text) == (Noticed, "Hi")


async def test_notices_are_told_apart_on_all_nodes(redis) -> None:
    async with (
        chats(redis, "a", "b") as [a, b],
        irc_client(a, "ann", "#a") as ann,
        irc_client(b, "bob", "#a", capabilities=("draft/chathistory",)) as bob,
    ):
        await ann.ask("PRIVMSG #a :Hello", "NOTICE #a :Hi", "NOTICE #a :Ho")
        heard = [show(message) for message in await bob.until("NOTICE")]
        while heard[-1] != "ann NOTICE #a Ho":
            heard.append(show(await bob.message()))
        said = ["ann PRIVMSG #a Hello", "ann NOTICE #a Hi", "ann NOTICE #a Ho"]
        assert [line for line in heard if "JOIN" not in line] == said
        assert await bob.shown("CHATHISTORY LATEST #a * 9") == said


async def test_nicks_change_once_for_those_who_share_several_rooms() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a", "#b") as ann,
        irc_client(chat, "bob", "#a", "#b") as bob,
    ):
        await ann.ask()
        assert await ann.shown("NICK anna") == ["ann NICK anna"]
        assert await bob.shown() == ["ann NICK anna"]
        assert commands(await ann.ask("NICK bob", "NICK a:b")) == ["433", "432"]
        assert await ann.shown("NICK ANNA") == ["anna NICK ANNA"]


async def test_a_person_who_leaves_the_chat_quits_once() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a", "#b") as ann:
        async with irc_client(chat, "bob", "#a", "#b") as bob:
            assert await ann.shown() == ["bob JOIN #a", "bob JOIN #b"]
            source = (await bob.ask("PART #b"))[0].source
            await ann.ask()
            await bob.ask("JOIN #b")
        *_, last = await ann.ask()
        assert show(last) == "bob QUIT Quit:"
        assert last.source == source


async def test_a_person_who_leaves_may_say_why() -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        document_client(chat, nick="web", rooms=("#a",)) as web,
        irc_client(chat, "ann", "#a") as ann,
    ):
        async with irc_client(chat, "bob", "#a") as bob:
            for client in (tel, web):
                await client.sync()
            await ann.ask()
            assert await bob.shown("PART #a :off to \x02tea") == ["bob PART #a off to tea"]
            await bob.ask("JOIN #a")
            await bob.send("QUIT :good night")
            assert await bob.rest() == ["ERROR :Closing Link: you have quit"]
        assert await ann.shown() == [
            "bob PART #a off to tea",
            "bob JOIN #a",
            "bob QUIT Quit: good night",
        ]
        assert await tel.sync() == [
            "> bob has left the room (off to tea)",
            "> bob joined the room",
            "> bob has left the room (good night)",
        ]
        left = [event.get("reason") for event in await web.sync() if event["type"] == "left"]
        assert left == ["off to tea", "good night"]


@pytest.mark.parametrize("line", ["PART #a :\x1b[31m", "PART #a : ", "PART #a :" + "x" * 301])
async def test_a_reason_that_cannot_be_shown_is_left_out(line: str) -> None:
    async with (
        open_chat() as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        irc_client(chat, "ann", "#a") as ann,
    ):
        await tel.sync()
        await ann.ask(line)
        assert await tel.sync() == ["> ann has left the room"]


async def test_no_reason_is_a_way_around_the_hook_for_messages() -> None:
    async with (
        open_chat(before_say=lambda draft: draft.text) as chat,
        line_client(chat, nick="tel", room="#a") as tel,
        irc_client(chat, "ann", "#a") as ann,
    ):
        await tel.sync()
        await ann.ask("PART #a :buy now", "JOIN #a")
        await ann.send("QUIT :buy now")
        await ann.rest()
        left = "> ann has left the room"
        assert await tel.sync() == [left, "> ann joined the room", left]


async def test_people_without_a_nick_are_told_apart() -> None:
    async with (
        open_chat() as chat,
        irc_client(chat, "ann", "#a") as ann,
        line_client(chat, room="#a") as tel,
    ):
        await tel.send("/msg Hi", "/nick tel")
        await tel.sync()
        joined, said, renamed = await ann.ask()
        nick = joined.source.partition("!")[0]
        assert nick.startswith("anonymous-")
        assert said.source == joined.source
        assert show(renamed) == f"{nick} NICK tel"


async def test_commands_of_the_program_work_as_commands_of_irc() -> None:
    @command("roll", "/roll DICE", "roll dice")
    def roll(caller: Caller, arguments: str) -> list[Notice]:
        return [Notice(f"{caller.nick} rolls {arguments}")]

    async with open_chat(commands=[roll]) as chat, irc_client(chat, "ann") as ann:
        assert await ann.shown("ROLL 2 d6", "roll :x y") == [
            "NOTICE ann ann rolls 2 d6",
            "NOTICE ann ann rolls x y",
        ]
        # The commands of people are not those of IRC: /login would wait for a password.
        assert commands(await ann.ask("LOGIN ann", "TELL ann x", "FOO")) == ["421"] * 3


def test_no_event_is_without_lines() -> None:
    of_programs = {events.Hello, events.SessionResumed, events.CommandsListed}
    # The encoding itself writes these: what is in the one, and the other as a batch.
    others = of_programs | {events.LabelledEvent, ActiveRooms}
    assert {*ENTRIES, *REPLIES} | others == set(events.Event.__args__)


async def test_lines_of_the_operator_are_notices() -> None:
    async with open_chat() as chat, irc_client(chat, "ann") as ann:
        await chat.announce("tea is ready")
        assert await ann.shown() == ["NOTICE * tea is ready"]


async def test_a_kicked_person_reads_why() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a") as ann:
        [user] = await chat.users()
        await chat.kick(user.id, "no flooding")
        assert await ann.rest() == ["ERROR :Closing Link: no flooding"]


async def test_the_end_of_the_chat(nursery: trio.Nursery) -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a") as ann:
        nursery.start_soon(chat.stop)
        assert await ann.rest() == ["ERROR :Closing Link: the server is shutting down"]
