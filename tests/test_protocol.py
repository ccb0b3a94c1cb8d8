"""The line protocol as its users see it: played against a whole chat, line by line."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
import trio.testing
from documents import document_client

from trio_chat import Settings, open_chat
from trio_chat.testing import LineClient, line_client

NO_ROOM = "err: you are in no room; use /join ROOM first"
TOO_MANY_ROOMS = "err: there are too many rooms; please join one that exists (/rooms lists them)"
HELP = [
    "> /nick NAME - choose the name that others see",
    "> /join ROOM [KEY] - enter or create a room (telnet and nc: one room at a time)",
    "> /rooms - list all rooms",
    "> /msg TEXT - say TEXT to everyone in your room",
    "> /me TEXT - say what you do, for example: /me waves",
    "> /tell NICK TEXT - say TEXT to one person only",
    "> /invite NICK - ask someone to enter your room",
    "> /leave - leave your room",
    "> /topic [TEXT] - show the topic of your room; with TEXT, change it",
    "> /who - list the people in your room",
    "> /history [before ID] [N] - show the last 20 messages, or N, or those before ID",
    "> /search WORDS - show messages in your room that hold all these words",
    "> /ignore [NICK] - list whom you ignore; with NICK, begin it or end it",
    "> /help [COMMAND|all] - list the commands that you may use, or explain one",
    "> /quit - leave the chat and disconnect",
]


@asynccontextmanager
async def running(**settings):
    settings.setdefault("rate_limit", None)
    # With a clock that jumps, a wait for something that never comes ends here.
    with trio.fail_after(100_000):
        async with open_chat(Settings(**settings)) as chat:
            yield chat


@pytest.fixture
async def chat():
    async with running() as chat:
        yield chat


@asynccontextmanager
async def raw_client(chat, peer="stream"):
    """A stream to the chat, from an address."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: chat.serve_stream(theirs, peer=peer))
        yield ours
        await ours.aclose()


async def read(stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        assert more, f"the end comes after {data!r}"
        data += more
    return data


async def read_all(stream) -> bytes:
    data = b""
    while more := await stream.receive_some():
        data += more
    return data


# --- the table ------------------------------------------------------------------------------------

HINT = "> to say something to your room type /msg TEXT; /help lists all commands"

# A line from jack; the answers to jack, to jill in the same room, and to john in another room.
TABLE = [
    ("/nick jim", ["> all right, I will call you jim"], ["> jack is now known as jim"], []),
    ("/nick JACK", ["> all right, I will call you JACK"], ["> jack is now known as JACK"], []),
    ("/nick jack", ["> all right, I will call you jack"], [], []),
    ("/join #go", ["> welcome to #go"], ["> jack has left the room"], ["> jack joined the room"]),
    ("/join #new", ["> welcome to #new"], ["> jack has left the room"], []),
    ("/rooms", ["> available rooms: #general, #go"], [], []),
    ("/msg Hi", [], ["> jack: Hi"], []),
    ("/msg  two  spaces ", [], ["> jack:  two  spaces"], []),
    ("/quit", ["> sad to see you go =("], ["> jack has left the room"], []),
    ("hello", ["err: unknown command: hello", HINT], [], []),
    ("hello /msg there", ["err: unknown command: hello", HINT], [], []),
    ("/shout Hi", ["err: unknown command: /shout"], [], []),
    ("/MSG Hi", [], ["> jack: Hi"], []),
    ("/msg\u00a0Hi", [], ["> jack: Hi"], []),
    ("/msg Hallp\bo", [], ["> jack: Hallo"], []),
    ("/", ["err: unknown command: /"], [], []),
    ("//msg Hi", ["err: unknown command: //msg"], [], []),
    ("", [], [], []),
    ("   ", [], [], []),
    ("\r", [], [], []),
    ("/me waves", ["> * jack waves"], ["> * jack waves"], []),
    ("/tell john hi", ["> you (to john): hi"], [], ["> jack (to you): hi"]),
    ("/tell JOHN hi there", ["> you (to john): hi there"], [], ["> jack (to you): hi there"]),
    ("/tell jack  hm", ["> jack (to you):  hm", "> you (to jack):  hm"], [], []),
    ("/leave", ["> you have left #general"], ["> jack has left the room"], []),
    ("/topic", ["> #general has no topic"], [], []),
    ("/topic Old trains", ["> topic of #general: Old trains"], ["> topic of #general: Old trains"],
     []),
    ("/who", ["> in #general: jack, jill"], [], []),
    ("/help", HELP, [], []),
    ("/help msg", ["> /msg TEXT - say TEXT to everyone in your room"], [], []),
    ("/help /msg", ["> /msg TEXT - say TEXT to everyone in your room"], [], []),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE)
async def test_each_row_of_the_table(chat, row, autojump_clock):
    sent, sender, room, elsewhere = row
    async with (
        line_client(chat, nick="john", room="#go") as john,
        line_client(chat, nick="jill", room="#general") as jill,
        line_client(chat, nick="jack", room="#general") as jack,
    ):
        await jill.expect("> jack joined the room")
        await jack.send(sent)
        assert await (jack.rest() if sent == "/quit" else jack.sync()) == sender
        assert await jill.sync() == room
        assert await john.sync() == elsewhere


async def test_a_room_with_almost_the_same_name_is_mentioned(chat, autojump_clock):
    async with line_client(chat) as john, line_client(chat) as jack:
        await john.send("/join #Tea", "/join tea")
        # John has left it, and nobody else is there; it is there again once he joins it.
        await john.expect("> welcome to #Tea", "> welcome to tea", "> (there is #tea too)")
        await jack.send("/join #Tea", "/join #coffee")
        await jack.expect("> welcome to #Tea", "> (there is tea too)", "> welcome to #coffee")
        await jack.send("/join #tea")
        await jack.expect("> welcome to #tea", "> (there is tea too)")
        await jack.send("/join TEA")
        await jack.expect("> welcome to tea", "> (there is #tea too)")
        async with document_client(chat) as page:
            await page.ask("join", room="#tea")
            assert await page.sync() == []


async def test_the_transcript_of_the_tutorial(chat, autojump_clock):
    async with line_client(chat) as john, line_client(chat) as jack:
        await john.send("/nick john")
        await john.expect("> all right, I will call you john")
        await john.send("/join #general")
        await john.expect("> welcome to #general")
        await jack.send("/nick jack")
        await jack.expect("> all right, I will call you jack")
        await jack.send("/rooms")
        await jack.expect("> available rooms: #general")
        await jack.send("/join #general")
        await jack.expect("> welcome to #general")
        await jack.send("/msg Hi")
        await john.expect("> jack joined the room", "> jack: Hi")


async def test_nobody_is_greeted(chat, autojump_clock):
    async with line_client(chat) as client:
        with trio.move_on_after(3600) as waited:
            await client.line()
        assert waited.cancelled_caught
        assert await client.sync() == []


async def test_many_may_be_anonymous(chat, autojump_clock):
    async with line_client(chat, room="#a") as one, line_client(chat, room="#a") as two:
        await two.send("/msg Hi", "/who")
        await one.expect("> anonymous joined the room", "> anonymous: Hi")
        await two.expect("> in #a: anonymous, anonymous")


async def test_a_dropped_connection_leaves_the_room_as_quit_does(chat, autojump_clock):
    async with line_client(chat, nick="john", room="#a") as john:
        async with line_client(chat, nick="jack", room="#a"):
            pass
        await john.expect("> jack joined the room", "> jack has left the room")
        await john.send("/who", "/nick jack")
        await john.expect("> in #a: john", "> all right, I will call you jack")


async def test_a_topic_is_shown_to_those_who_join(chat, autojump_clock):
    async with line_client(chat, room="#a") as one, line_client(chat) as two:
        await one.send("/topic Trains", "/topic Steam  trains", "/topic")
        await one.expect(
            "> topic of #a: Trains",
            "> topic of #a: Steam  trains",
            "> topic of #a: Steam  trains",
        )
        await two.send("/join #a")
        await two.expect("> welcome to #a", "> topic of #a: Steam  trains")
        assert await two.sync() == []


async def test_one_is_in_one_room_at_a_time(chat, autojump_clock):
    async with line_client(chat, nick="john") as john, line_client(chat, room="#b") as other:
        await john.send("/join #a", "/join #b", "/msg Hi", "/who", "/rooms")
        await other.expect("> john joined the room", "> john: Hi")
        await john.expect(
            "> welcome to #a",
            "> welcome to #b",
            "> in #b: anonymous, john",
            "> available rooms: #b",
        )


async def test_the_old_room_hears_of_the_new_nick_no_more(chat, autojump_clock):
    async with line_client(chat, nick="john", room="#a") as john:
        async with line_client(chat, nick="jack", room="#a") as jack:
            await jack.send("/leave", "/nick jim", "/msg Hi")
            await jack.expect("> you have left #a", "> all right, I will call you jim", NO_ROOM)
        await john.expect("> jack joined the room", "> jack has left the room")
        assert await john.sync() == []


# --- where the tutorial's server would crash or misbehave -----------------------------------------

GAPS = [
    ("/nick", "err: nick is required, usage: /nick NAME"),
    ("/nick ", "err: nick is required, usage: /nick NAME"),
    ("/nick a b", "err: usage: /nick NAME"),
    ("/join", "err: room is required, usage: /join ROOM [KEY]"),
    ("/join a b c", "err: usage: /join ROOM [KEY]"),
    ("/rooms now", "err: usage: /rooms"),
    ("/msg", "err: message is required, usage: /msg TEXT"),
    ("/msg   ", "err: message is required, usage: /msg TEXT"),
    ("/me", "err: action is required, usage: /me TEXT"),
    ("/tell", "err: nick is required, usage: /tell NICK TEXT"),
    ("/tell jill", "err: message is required, usage: /tell NICK TEXT"),
    ("/tell jill  ", "err: message is required, usage: /tell NICK TEXT"),
    ("/tell jim hi", "err: no one here is called jim"),
    ("/tell anonymous hi", "err: no one here is called anonymous"),
    ("/tell +jim hi", "err: no one here is called +jim"),
    ("/leave now", "err: usage: /leave"),
    ("/who else", "err: usage: /who"),
    ("/help msg me", "err: usage: /help [COMMAND|all]"),
    ("/help shout", "err: there is no such command; /help alone lists them"),
    ("/quit now", "err: usage: /quit"),
    ("/join #general", "err: you are in #general already"),
    ("/join #GENERAL", "err: you are in #general already"),
    ("/nick jill", "err: the nick jill is taken, or looks like one that is: please choose another"),
    ("/nick JILL", "err: the nick JILL is taken, or looks like one that is: please choose another"),
    ("/nick jіll", "err: the nick jіll is taken, or looks like one that is: please choose another"),
    ("/nick anonymous", "err: the nick 'anonymous' is reserved: please choose another"),
    ("/nick anonymous-1", "err: the nick 'anonymous-1' is reserved: please choose another"),
    ("/nick jo?hn", "err: a nick may not contain '?'"),
    ("/nick +john", "err: a nick may not begin with '+'"),
    ("/nick Anonymous", "err: the nick 'Anonymous' is reserved: please choose another"),
    ("/nick аnоnymоus", "err: the nick 'аnоnymоus' is reserved: please choose another"),
    ("/nick server", "err: the nick 'server' is reserved: please choose another"),
    ("/nick >jim", "err: a nick may not begin with '>'"),
    *((f"/nick j{char}m", f"err: a nick may not contain '{char}'") for char in "#/@:,*!"),
    ("/nick j\x1b[31m", "err: a nick may not contain control characters (arrow keys send them)"),
    ("/nick j\u202ejm", "err: a nick may not contain invisible characters"),
    ("/nick j\u200bjm", "err: a nick may not contain invisible characters"),
    ("/nick " + "j" * 33, "err: a nick may have at most 32 characters"),
    ("/join a,b", "err: a room name may not contain ','"),
    (
        "/join #\x1b[31m",
        "err: a room name may not contain control characters (arrow keys send them)",
    ),
    ("/join #\u202ea", "err: a room name may not contain invisible characters"),
    ("/join " + "r" * 65, "err: a room name may have at most 64 characters"),
]
BAD_TEXT = [
    ("\x1b[31mred", "may not contain control characters (arrow keys send them)"),
    ("a\x9b31m", "may not contain control characters (arrow keys send them)"),
    ("a\x07", "may not contain control characters (arrow keys send them)"),
    ("a\x00b", "may not contain control characters (arrow keys send them)"),
    ("a\rb", "may not contain control characters (arrow keys send them)"),
    ("a\u202eb", "may not contain characters that override the direction of text"),
    ("a\u2066b", "may not contain characters that override the direction of text"),
    ("a\u2028b", "may not contain the character U+2028"),
]
TEXT_COMMANDS = [
    ("/msg", "a message"),
    ("/me", "an action"),
    ("/tell jill", "a message"),
    ("/topic", "a topic"),
]


@pytest.mark.parametrize(
    ("sent", "answer"),
    GAPS
    + [
        (f"{command} {text}", f"err: {what} {wrong}")
        for command, what in TEXT_COMMANDS
        for text, wrong in BAD_TEXT
    ],
)
async def test_a_refusal_is_said_and_life_goes_on(chat, sent, answer, autojump_clock):
    async with (
        line_client(chat, nick="jill", room="#general") as jill,
        line_client(chat, nick="jack", room="#general") as jack,
    ):
        await jill.expect("> jack joined the room")
        await jack.send(sent)
        assert await jack.sync() == [answer]
        assert await jill.sync() == []
        await jack.send("/msg Hi")
        await jill.expect("> jack: Hi")
        await jack.send("/topic")
        await jack.expect("> #general has no topic")


@pytest.mark.parametrize("sent", ["/msg Hi", "/me waves", "/topic", "/topic a", "/who", "/leave"])
async def test_commands_that_need_a_room_say_so(chat, sent, autojump_clock):
    async with line_client(chat) as client:
        await client.send(sent)
        assert await client.sync() == [NO_ROOM]


@pytest.mark.parametrize(
    "line", [b"/msg \xc3\x28", b"/nick \xe2\x82", b"\x80", b"/topic \xed\xa0\x80"]
)
async def test_a_line_that_is_no_utf8_is_refused_and_not_said(chat, line, autojump_clock):
    async with (
        line_client(chat, room="#a") as one,
        line_client(chat, room="#a") as two,
    ):
        await one.expect("> anonymous joined the room")
        await two.stream.send_all(line + b"\n")
        assert await two.sync() == [
            "err: this line is not valid UTF-8, so it was ignored: set your terminal to UTF-8"
        ]
        assert await one.sync() == []


@pytest.mark.parametrize(
    ("word", "echo"),
    [
        ("\x1b[2J", "\ufffd[2J"),
        ("/\x9b2J", "/\ufffd2J"),
        ("a\u202eb", "a\ufffdb"),
        ("x" * 100, "x" * 63 + "…"),
    ],
)
async def test_an_unknown_word_is_echoed_without_harm(chat, word, echo, autojump_clock):
    async with line_client(chat) as client:
        await client.send(f"{word} and more")
        await client.expect(f"err: unknown command: {echo}")


async def test_nothing_said_can_look_like_a_line_of_the_servers(chat, autojump_clock):
    async with (
        line_client(chat, nick="jill", room="#a") as jill,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await jill.expect("> jack joined the room")
        text = "> john joined the room"
        await jack.send(f"/msg {text}", f"/me {text}", f"/tell jill {text}")
        await jill.expect(f"> jack: {text}", f"> * jack {text}", f"> jack (to you): {text}")


async def test_texts_are_told_in_nfc_and_any_script(chat, autojump_clock):
    async with line_client(chat, room="#a") as one, line_client(chat, room="#a") as two:
        await one.expect("> anonymous joined the room")
        await two.send("/msg cafe\u0301", "/msg Привет, 世界 👩‍👩‍👧", "/msg a\tb")
        await one.expect(
            "> anonymous: café", "> anonymous: Привет, 世界 👩‍👩‍👧", "> anonymous: a b"
        )


async def test_a_nick_is_free_again_when_its_owner_takes_another_or_goes(chat, autojump_clock):
    async with line_client(chat) as two:
        async with line_client(chat, nick="john") as one:
            await one.send("/nick jim")
            await one.expect("> all right, I will call you jim")
            await two.send("/nick john", "/nick jim")
            await two.expect(
                "> all right, I will call you john",
                "err: the nick jim is taken, or looks like one that is: please choose another",
            )
        await two.send("/nick jim")
        await two.expect("> all right, I will call you jim")


@pytest.mark.parametrize(("command", "what", "most"), [
    ("/msg", "a message", 10), ("/me", "an action", 10), ("/topic", "a topic", 5),
])  # fmt: skip
async def test_a_text_has_its_longest_length(command, what, most, autojump_clock):
    async with (
        running(message_chars=10, topic_chars=5) as chat,
        line_client(chat, room="#a") as client,
    ):
        await client.send(f"{command} {'é' * most}")
        assert not any(line.startswith("err") for line in await client.sync())
        await client.send(f"{command} {'é' * (most + 1)}")
        assert await client.sync() == [
            f"err: {what} may have at most {most} characters; this one has {most + 1}"
        ]


# --- rooms ----------------------------------------------------------------------------------------


async def test_rooms_are_listed_sorted_and_gone_when_empty(chat, autojump_clock):
    async with line_client(chat) as asker:
        await asker.send("/rooms")
        await asker.expect("> available rooms:")
        async with (
            line_client(chat, room="general"),
            line_client(chat, room="#general"),
            line_client(chat, room="#Alpha"),
        ):
            await asker.send("/rooms")
            await asker.expect("> available rooms: #Alpha, #general, general")
        await asker.send("/rooms")
        await asker.expect("> available rooms:")


async def test_a_room_has_the_name_its_first_member_gave_it(chat, autojump_clock):
    async with line_client(chat, room="#Öl") as one, line_client(chat) as two:
        await two.send("/join #öL", "/who", "/leave")
        await two.expect(
            "> welcome to #Öl", "> in #Öl: anonymous, anonymous", "> you have left #Öl"
        )
        assert await one.sync() == ["> anonymous joined the room", "> anonymous has left the room"]


async def test_an_emptied_room_is_made_anew_and_its_topic_is_its_names(chat, autojump_clock):
    async with line_client(chat, room="#A") as client:
        await client.send("/topic Trains", "/leave")
        assert await client.sync() == ["> topic of #A: Trains", "> you have left #A"]
        await client.send("/join #a", "/topic")
        await client.expect("> welcome to #a", "> topic of #a: Trains", "> topic of #a: Trains")


async def test_kept_rooms_are_there_without_members(autojump_clock):
    async with running(keep_rooms=("#Lobby", "go")) as chat, line_client(chat) as client:
        await client.send("/rooms")
        await client.expect("> available rooms: #Lobby, go")
        await client.send("/join #lobby")
        await client.expect("> welcome to #Lobby")
        await client.send("/leave")
        await client.expect("> you have left #Lobby")
        await client.send("/rooms")
        await client.expect("> available rooms: #Lobby, go")


async def test_a_kept_room_is_there_even_for_who_leaves_it_and_asks_at_once(autojump_clock):
    async with running(keep_rooms=("#lobby",)) as chat, line_client(chat) as client:
        await client.send("/join #lobby", "/leave", "/rooms")
        await client.expect(
            "> welcome to #lobby", "> you have left #lobby", "> available rooms: #lobby"
        )


async def test_a_room_left_and_joined_at_once_is_there(chat, autojump_clock):
    async with line_client(chat) as client:
        await client.send("/join #a", "/leave", "/rooms", "/join #a", "/rooms")
        await client.expect(
            "> welcome to #a",
            "> you have left #a",
            "> available rooms:",
            "> welcome to #a",
            "> available rooms: #a",
        )


async def test_there_may_be_no_more_rooms_than_max_rooms(autojump_clock):
    async with running(max_rooms=2) as chat, line_client(chat, room="#a") as one:
        async with line_client(chat, room="#b") as two:
            await two.send("/join #c")
            await two.expect(TOO_MANY_ROOMS)
            await two.send("/who", "/join #a")
            await two.expect("> in #b: anonymous", "> welcome to #a")
        await one.send("/rooms", "/join #c", "/rooms")
        await one.expect("> anonymous joined the room", "> anonymous has left the room")
        await one.expect("> available rooms: #a", "> welcome to #c", "> available rooms: #c")


async def test_kept_rooms_count_while_they_are_empty(autojump_clock):
    async with running(max_rooms=1, keep_rooms=("#a",)) as chat, line_client(chat) as client:
        await client.send("/join #a", "/join #b", "/leave", "/join #b")
        await client.expect("> welcome to #a", TOO_MANY_ROOMS, "> you have left #a", TOO_MANY_ROOMS)


async def test_lists_are_cut_at_200_names(chat, autojump_clock):
    async with AsyncExitStack() as bots, line_client(chat) as client:
        for number in range(203):
            bot = await bots.enter_async_context(chat.connect(nick=f"bot{number:03}"))
            await bot.join("#a")
            await bot.join(f"#r{number:03}")
        await client.send("/rooms")
        listed = ", ".join(["#a", *(f"#r{number:03}" for number in range(199))])
        await client.expect(f"> available rooms: {listed} and 4 more")
        await client.send("/join #a", "/who")
        nicks = ", ".join(["anonymous", *(f"bot{number:03}" for number in range(199))])
        await client.expect("> welcome to #a", f"> in #a: {nicks} and 4 more")


# --- lines ----------------------------------------------------------------------------------------


async def test_lines_may_come_in_any_pieces(chat, autojump_clock):
    async with line_client(chat, nick="jill", room="#a") as jill, line_client(chat) as jack:
        for byte in "/nick jаck\r\n/join #a\n/msg Привет\r\n/tell jill ж\n".encode():
            await jack.stream.send_all(bytes((byte,)))
            await trio.testing.wait_all_tasks_blocked()
        await jill.expect("> jаck joined the room", "> jаck: Привет", "> jаck (to you): ж")


async def test_carriage_return_and_telnets_cr_nul_end_lines_too(chat, autojump_clock):
    async with raw_client(chat) as stream:
        await stream.send_all(b"/nick john\r\0/join #a\r\n/rooms\n")
        expected = b"> all right, I will call you john\n> welcome to #a\n> available rooms: #a\n"
        assert await read(stream, len(expected)) == expected


async def test_telnets_proposals_are_refused_and_its_lines_end_as_it_wants(chat, autojump_clock):
    async with line_client(chat, room="#a") as other, raw_client(chat) as stream:
        await stream.send_all(
            b"\xff\xfd\x01\xff\xfb\x1f/nick jo\xff\xf1hn\r\n/join #a\r\n/msg h\xff\xfd\x03i\r\n"
        )
        expected = (
            b"\xff\xfc\x01\xff\xfe\x1f"
            b"> all right, I will call you john\r\n> welcome to #a\r\n\xff\xfc\x03"
        )
        assert await read(stream, len(expected)) == expected
        await other.send("/msg Hi")
        assert await read(stream, 17) == b"> anonymous: Hi\r\n"
        # The other has sent no telnet command, and gets no carriage return.
        said = b"> john joined the room\n> john: hi\n"
        assert await read(other.stream, len(said)) == said


async def test_without_a_slash_it_is_no_message(chat, autojump_clock):
    async with line_client(chat, room="#a") as one, line_client(chat, room="#a") as two:
        await one.expect("> anonymous joined the room")
        await two.send("Hi")
        assert await two.sync() == ["err: unknown command: Hi", HINT]
        await two.send("Hi")
        assert await two.sync() == ["err: unknown command: Hi"]
        assert await one.sync() == []


async def test_lines_pasted_without_a_command_are_counted(chat, autojump_clock):
    async with line_client(chat, room="#a") as one, line_client(chat, room="#a") as two:
        await one.expect("> anonymous joined the room")
        # A terminal sends a pasted text line by line.
        for line in ("/msg def f():", "", "    pass", "f()"):
            await two.send(line)
            await trio.sleep(0.1)  # on the virtual clock
        await two.expect(
            "err: unknown command: pass",
            HINT,
            "err: unknown command: f()",
            "> 2 lines were not sent: each line must begin with a command, such as /msg",
        )
        await one.expect("> anonymous: def f():")
        await two.send("a")
        await trio.sleep(1)  # on the virtual clock
        await two.send("b")
        await trio.sleep(1)  # on the virtual clock
        assert await two.sync() == ["err: unknown command: a", "err: unknown command: b"]
        # A program that means commands is told nothing.
        await two.send("/msg one", "/msg two", "/dance")
        assert await two.sync() == ["err: unknown command: /dance"]
        # At the end of the input there is no need to wait.
        await two.send("a", "b", "c")
        await two.stream.send_eof()
        assert (await two.rest())[-1] == (
            "> 3 lines were not sent: each line must begin with a command, such as /msg"
        )


async def test_a_paste_is_counted_as_one_however_slowly_it_is_taken(autojump_clock):
    async with (
        running(rate_limit=10.0, rate_burst=2, bare_lines=True) as chat,
        line_client(chat, room="#a") as two,
    ):
        await two.send(*map(str, range(40)))
        await two.expect("> 40 lines came at once: each is a message of its own")


async def test_bare_lines_are_messages_where_the_setting_says_so(autojump_clock):
    async with (
        running(bare_lines=True) as chat,
        line_client(chat, room="#a") as one,
        line_client(chat, room="#a") as two,
    ):
        await one.expect("> anonymous joined the room")
        await two.send("Hi there ", "", "  ", "/msg again", "/no")
        assert await two.sync() == ["err: unknown command: /no"]
        assert await one.sync() == ["> anonymous: Hi there", "> anonymous: again"]
        await two.send("/leave", "Hi", "a\x1bb")
        assert await two.sync() == [
            "> you have left #a",
            NO_ROOM,
            "err: a message may not contain control characters (arrow keys send them)",
        ]


async def test_a_line_too_long_is_refused_once_and_left_out(autojump_clock):
    async with (
        running(line_bytes=100, message_chars=20) as chat,
        line_client(chat, room="#a") as one,
        line_client(chat, room="#a") as two,
    ):
        await one.expect("> anonymous joined the room")
        for _ in range(50):
            await two.stream.send_all(b"/msg " + b"x" * 60)
            await trio.testing.wait_all_tasks_blocked()
        await two.send("", "/msg Hi", "/" + "y" * 99, "/" + "z" * 100)
        refusal = "err: a line may have at most 100 bytes; this one was ignored"
        assert await two.sync() == [
            refusal,
            f"err: unknown command: /{'y' * 62}…",
            refusal,
        ]
        assert await one.sync() == ["> anonymous: Hi"]


# --- the end of a connection ----------------------------------------------------------------------


async def test_commands_after_quit_are_not_done(chat, autojump_clock):
    async with line_client(chat, room="#a") as one, line_client(chat, room="#a") as two:
        await two.send("/quit", "/msg Hi", "/join #b", "/rooms")
        assert await two.rest() == ["> sad to see you go =("]
        assert await one.sync() == ["> anonymous joined the room", "> anonymous has left the room"]


async def test_complete_lines_before_the_end_of_input_are_done_and_answered(chat, autojump_clock):
    async with line_client(chat, room="#a") as other, line_client(chat, nick="jack") as client:
        await client.stream.send_all(b"/join #a\n/msg Hi\n/rooms\n/msg unfinished")
        await client.stream.send_eof()
        assert await client.rest() == ["> welcome to #a", "> available rooms: #a"]
        await other.expect("> jack joined the room", "> jack: Hi", "> jack has left the room")
        assert await other.sync() == []


# --- who else may come ----------------------------------------------------------------------------


NOTHING = b"There is nothing here: the page is at /, and programs come to /ws.\n"


@pytest.mark.parametrize("verb", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "PRI"])
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_http_is_answered_and_closed_and_never_in_a_room(
    chat, verb, in_pieces, autojump_clock
):
    request = f"{verb} /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n/join #a\n/msg Hi\n".encode()
    async with line_client(chat, room="#a") as other, raw_client(chat) as stream:
        if in_pieces:
            for byte in request:
                await stream.send_all(bytes((byte,)))
                await trio.testing.wait_all_tasks_blocked()
        else:
            await stream.send_all(request)
        head, _, body = (await read_all(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert f"Content-Length: {len(NOTHING)}".encode() in head.split(b"\r\n")
        assert body == (b"" if verb == "HEAD" else NOTHING)
        assert await other.sync() == []
        await other.send("/rooms")
        await other.expect("> available rooms: #a")


class LateStream(trio.abc.HalfCloseableStream):
    """One whose bytes arrive in the moment in which the chat stops."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sent = b""
        self.reads = 0

    async def receive_some(self, max_bytes=None):
        self.reads += 1
        if self.reads == 1:
            await trio.sleep_forever()  # until cancelled
        await trio.lowlevel.checkpoint()
        data, self.data = self.data, b""
        return data

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        self.sent += bytes(data)

    async def send_eof(self):
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()

    async def aclose(self):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("data", "heard"),
    [
        (b"/join #a\n/msg Hi\n", ["> anonymous joined the room", "> anonymous: Hi"]),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n/join #a\n/msg Hi\n", []),
    ],
)
async def test_a_client_that_comes_in_the_moment_of_stopping(nursery, data, heard, autojump_clock):
    async with running() as chat, line_client(chat, room="#a") as other:
        stream = LateStream(data)
        nursery.start_soon(chat.serve_stream, stream)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(chat.stop)
        assert await other.rest() == [*heard, "> the server is shutting down"]


@pytest.mark.parametrize("word", ["G", "GE", "PO", "POSTING", "GETTING /", "get / HTTP/1.1"])
async def test_a_beginning_a_little_like_http_is_a_persons(chat, word, autojump_clock):
    async with line_client(chat) as client:
        await client.send(word)
        await client.expect(f"err: unknown command: {word.partition(' ')[0]}")


async def test_beyond_max_clients_one_is_told_and_closed(autojump_clock):
    async with running(max_clients=2) as chat, line_client(chat, nick="one") as one:
        async with line_client(chat, nick="two"), raw_client(chat) as third:
            await third.send_all(b"/join #a\n/msg Hi\n")
            told = b"err: the server is full; please try again later\n"
            assert await read_all(third) == told
            assert chat.statistics().clients == 2
            assert chat.statistics().turned_away == 1
        async with line_client(chat) as again:
            assert await again.sync() == []
        await one.send("/rooms")
        await one.expect("> available rooms:")


async def test_beyond_max_clients_per_address_one_is_told_and_closed(autojump_clock):
    async with running(max_clients_per_address=1) as chat:
        async with (
            raw_client(chat, "192.0.2.1") as first,
            raw_client(chat, "192.0.2.2") as far,
        ):
            assert await LineClient(first).sync() == []
            async with raw_client(chat, "192.0.2.1") as second:
                told = await read_all(second)
            assert told == (
                b"err: there are too many connections from your address; close one first\n"
            )
            assert await LineClient(far).sync() == []
        async with raw_client(chat, "192.0.2.1") as again:
            assert await LineClient(again).sync() == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
async def test_loopback_may_have_as_many_as_it_likes(address, autojump_clock):
    async with (
        running(max_clients_per_address=1) as chat,
        raw_client(chat, address) as one,
        raw_client(chat, address) as two,
    ):
        assert await LineClient(one).sync() == []
        assert await LineClient(two).sync() == []


# --- the rate -------------------------------------------------------------------------------------


async def test_too_fast_a_client_waits_and_loses_nothing(autojump_clock):
    async with (
        running(rate_limit=2.0, rate_burst=3) as chat,
        chat.connect() as bot,
        line_client(chat, nick="jack", room="#a") as jack,
    ):
        await bot.join("#a")
        await trio.sleep(60)  # on the virtual clock
        start = trio.current_time()
        await jack.send(*(f"/msg {number}" for number in range(8)))
        came = []
        while len(came) < 8:
            event = await bot.__anext__()
            came.append((event.text, round(trio.current_time() - start, 3)))
        times = [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.5]
        assert came == [(str(number), time) for number, time in enumerate(times)]
        # It is as welcome as before: after a while, its burst is there again.
        await trio.sleep(1.5)  # on the virtual clock
        start = trio.current_time()
        await jack.send("/who", "/rooms", "/topic")
        await jack.lines(3)
        assert trio.current_time() == start


async def test_a_client_too_fast_slows_no_other(autojump_clock):
    async with (
        running(rate_limit=1.0, rate_burst=5) as chat,
        line_client(chat, room="#a") as fast,
        line_client(chat, room="#b") as other,
    ):
        await fast.send(*["/who"] * 100)
        start = trio.current_time()
        assert await other.sync() == []
        assert trio.current_time() == start
        assert await fast.lines(100) == ["> in #a: anonymous"] * 100
        assert trio.current_time() - start == pytest.approx(96)


async def test_lines_that_wait_for_the_rate_are_done_at_a_stop(autojump_clock):
    async with running(rate_limit=1.0, rate_burst=1) as chat, line_client(chat) as client:
        start = trio.current_time()
        await client.send("/rooms", "/nick jack", "/join #a", "/who")
        await client.line()
        await chat.stop()
        assert await client.rest() == [
            "> all right, I will call you jack",
            "> welcome to #a",
            "> in #a: jack",
            "> the server is shutting down",
        ]
        assert trio.current_time() - start < 3
