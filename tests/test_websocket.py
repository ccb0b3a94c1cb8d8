"""WebSocket clients in a chat: what they get, beside each other and beside people with telnet."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from documents import Closed, document_client, frame, mine

import trio_chat
from trio_chat import Settings, open_chat
from trio_chat.testing import line_client

SETTINGS = Settings(rate_limit=None)


@pytest.fixture
async def chat(autojump_clock):
    async with open_chat(SETTINGS) as chat:
        yield chat


async def test_the_hello_says_what_a_client_must_know(chat):
    async with document_client(chat) as john:
        hello = john.hello
        assert mine(hello, "protocol", "server", "nick") == (1, "trio_chat", "anonymous")
        assert hello["version"] == trio_chat.version.version()
        assert len(hello["client"]) == 16
        assert len(hello["token"]) >= 32
        assert hello["grace"] == SETTINGS.resume_grace
        assert hello["limits"] == {
            "document_bytes": SETTINGS.document_bytes,
            "message_chars": 2000,
            "topic_chars": 300,
            "nick_chars": 32,
            "room_chars": 64,
            "rooms": 50,
            "history": 500,
        }
        usages = {row["name"]: row["usage"] for row in hello["commands"]}
        assert usages["nick"] == "/nick NAME"


async def test_lines_and_documents_are_in_one_room(chat):
    async with (
        line_client(chat, nick="jack", room="#General") as jack,
        document_client(chat, nick="john") as john,
    ):
        welcomed = await john.ask("join", room="#general")
        assert mine(welcomed, "type", "room", "room_name", "topic", "more") == (
            *("welcomed", "#general", "#General"),
            *("", 0),
        )
        nicks = {member["nick"]: member["client"] for member in welcomed["members"]}
        assert list(nicks) == ["jack", "john"]
        assert nicks["john"] == john.hello["client"]
        await jack.expect("> john joined the room")
        await jack.send("/msg Hi", "/me waves", "/topic tea")
        said, acted, topic_set = [await john.receive() for _ in range(3)]
        assert mine(said, "type", "nick", "text", "position") == ("said", "jack", "Hi", 1)
        assert said["author"] == nicks["jack"]
        assert mine(acted, "type", "text", "position") == ("acted", "waves", 2)
        assert mine(topic_set, "type", "text", "room_name", "position") == (
            *("topic_set", "tea", "#General"),
            3,
        )
        await john.send("say", room="#GENERAL", text="Hello")
        own = await john.receive()
        assert mine(own, "type", "author", "position") == ("said", nicks["john"], 4)
        assert "id" not in own
        await jack.expect("> * jack waves", "> topic of #General: tea", "> john: Hello")
        await jack.send("/nick jim", "/leave")
        assert mine(await john.receive(), "type", "old", "nick") == ("renamed", "jack", "jim")
        assert mine(await john.receive(), "type", "author") == ("left", nicks["jack"])


async def test_a_welcome_says_what_was_the_last_entry_before_it(chat):
    async with line_client(chat, room="#a") as jack, document_client(chat) as john:
        assert (await john.ask("join", room="#b"))["position"] == 0
        await jack.send("/msg one", "/me two", "/topic three")
        await jack.sync()
        welcomed = await john.ask("join", room="#a")
        assert mine(welcomed, "position", "topic") == (3, "three")
        assert (await john.ask("say", room="#a", text="four"))["position"] == 4


async def test_a_client_is_in_several_rooms_and_names_them(chat):
    async with (
        document_client(chat, nick="john", rooms=("#a", "#b")) as john,
        document_client(chat, nick="jack", rooms=("#b", "#c")) as jack,
    ):
        assert mine(await john.receive(), "type", "room") == ("joined", "#b")
        await john.send("say", room="#a", text="nobody hears me")
        await john.send("say", room="#b", text="Hi")
        await john.send("say", room="#c", text="not there")
        assert (await john.receive())["room"] == "#a"
        assert (await john.receive())["room"] == "#b"
        assert await john.receive() == {
            "type": "refusal",
            "reason": "you are not in that room",
            "code": "not_in_room",
        }
        assert mine(await jack.receive(), "room", "text") == ("#b", "Hi")
        departed = await jack.ask("leave", room="#b")
        assert departed == {"type": "departed", "room": "#b", "room_name": "#b", "reason": ""}
        assert mine(await john.receive(), "type", "room") == ("left", "#b")
        taken, before = await john.ask_all("take_nick", nick="Jo")
        assert taken == {"type": "nick_taken", "nick": "Jo"}
        assert [mine(event, "type", "room", "old", "nick") for event in before] == [
            ("renamed", room, "john", "Jo") for room in ("#a", "#b")
        ]


async def test_there_is_a_limit_on_rooms(autojump_clock):
    async with (
        open_chat(Settings(rate_limit=None, rooms_per_client=2)) as chat,
        document_client(chat, rooms=("#a", "#b")) as john,
    ):
        assert await john.ask("join", room="#c") == {
            "type": "refusal",
            "reason": "you are in 2 rooms, which is the most; leave one",
            "code": "in_too_many_rooms",
        }
        assert (await john.ask("leave", room="#a"))["type"] == "departed"
        assert (await john.ask("join", room="#c"))["type"] == "welcomed"


async def test_a_private_message_by_client_id_reaches_that_client_alone(chat):
    async with document_client(chat, nick="john") as john:
        async with document_client(chat, nick="jack") as jack:
            jacks_id = jack.hello["client"]
            about = {"nick": "jack", "client": jacks_id}
            told = await john.ask("tell", **about, text="psst")
            assert mine(told, "type", "to") == ("told", jacks_id)
            assert mine(await jack.receive(), "type", "text") == ("told", "psst")
            # It follows a change of the nick, whoever has the old one now.
            await jack.ask("take_nick", nick="jim")
            async with line_client(chat, nick="jack") as other:
                await john.ask("tell", **about, text="still you?")
                assert mine(await jack.receive(), "type", "text") == ("told", "still you?")
                await jack.ask("quit")
                refusal = await john.ask("tell", **about, text="secret")
                assert mine(refusal, "code", "reason") == (
                    "nick_passed_on",
                    "the jack you mean has left; someone else is called jack now",
                )
                await other.send("/quit")
                await other.expect("> sad to see you go =(")
        refusal = await john.ask("tell", **about, text="secret")
        assert mine(refusal, "code", "reason") == ("client_left", "jack has left")
        # An id that never was.
        refusal = await john.ask("tell", nick="JOHN", client="x", text="secret")
        assert refusal["code"] == "nick_passed_on"


async def test_each_command_with_an_id_is_answered_with_it_once(chat):
    async with (
        line_client(chat, nick="jack", room="#a") as jack,
        document_client(chat, nick="john", rooms=("#a",)) as john,
    ):
        own = {"author": john.hello["client"], "nick": "john"}
        said = await john.ask("say", room="#a", text="Hi")
        assert said == said | {"type": "said", "position": 1, "text": "Hi", **own}
        acted = await john.ask("act", room="#a", text="waves")
        assert acted == acted | {"type": "acted", "position": 2, **own}
        topic = await john.ask("set_topic", room="#a", text="tea")
        assert topic == topic | {"type": "topic_set", "position": 3, "room_name": "#a", **own}
        told = await john.ask("tell", nick="jack", text="psst")
        assert told == told | {"type": "told", "text": "psst", **own}
        shown = await john.ask("show_topic", room="#a")
        assert mine(shown, "type", "topic") == ("topic_shown", "tea")
        assert (await john.ask("list_rooms"))["names"] == ["#a"]
        members = await john.ask("list_members", room="#a")
        assert [member["nick"] for member in members["members"]] == ["jack", "john"]
        history = await john.ask("show_history", room="#a", limit=2)
        assert history["entries"] == [acted, topic]
        history = await john.ask("show_history", room="#a", limit=9, before=2)
        assert history["entries"] == [said]
        found = await john.ask("search", room="#a", words="WAVES")
        assert found["entries"] == [acted]
        assert await john.ask("ping") == {"type": "done"}
        assert (await john.ask("tell", nick="nobody-here", text="x"))["type"] == "refusal"
        await jack.expect(
            *("> john joined the room", "> john: Hi", "> * john waves"),
            *("> topic of #a: tea", "> john (to you): psst"),
        )
        assert await john.ask("quit") == {"type": "goodbye"}
        with pytest.raises(Closed) as closed:
            await john.receive()
        assert closed.value.code == 1000
        await jack.expect("> john has left the room")


async def test_own_entries_keep_their_place_among_those_of_others(chat):
    # All of one turn: what the two said is one run, rendered once, but for the ids.
    async with (
        document_client(chat, nick="john", rooms=("#a",)) as john,
        document_client(chat, nick="jack", rooms=("#a",)) as jack,
    ):
        await john.receive()
        for number in range(3):
            await john.send("say", room="#a", text=f"john {number}", id=f"j{number}")
            await jack.send("say", room="#a", text=f"jack {number}")
        got = [[await client.receive() for _ in range(6)] for client in (john, jack)]
        ids = [document.pop("id", None) for document in got[0]]
        assert got[0] == got[1]
        assert [document["position"] for document in got[0]] == [1, 2, 3, 4, 5, 6]
        assert ids == [
            f"j{own['text'][-1]}" if own["text"].startswith("john") else None for own in got[0]
        ]


async def test_documents_sent_at_once_are_answered_once_each(chat):
    # It is one run, which grows by no outcome.
    async with document_client(chat, rooms=("#a",)) as john:
        say = {"type": "say", "room": "#a", "text": "x"}
        await john.stream.send_all(b"".join(frame({**say, "id": f"{n}"}) for n in range(3)))
        answers = [mine(await john.receive(), "type", "id", "position") for _ in range(3)]
        assert answers == [("said", "0", 1), ("said", "1", 2), ("said", "2", 3)]
        assert await john.sync() == []


async def test_typed_commands_are_those_of_the_table(autojump_clock):
    def roll(caller, arguments):
        return [trio_chat.Notice("you roll"), trio_chat.Act("rolls a 6")]

    rows = [trio_chat.custom("roll", "/roll", "roll a die", roll)]
    async with (
        open_chat(SETTINGS, commands=rows) as chat,
        document_client(chat, nick="john", rooms=("#a", "#b")) as john,
    ):
        assert mine(await john.ask("command", line="/me waves", room="#b"), "type", "room") == (
            *("acted", "#b"),
        )
        assert (await john.ask("command", line="/nick"))["reason"].endswith("usage: /nick NAME")
        assert (await john.ask("command", line="hello"))["reason"] == "unknown command: hello"
        assert (await john.ask("command", line="/msg hi"))["reason"] == (
            "say which room: you are in several"
        )
        assert (await john.ask("command", line="/help nick"))["lines"] == [
            "/nick NAME - choose the name that others see"
        ]
        assert await john.ask("command", line="/roll", room="#a") == {
            "type": "notice",
            "text": "you roll",
        }
        assert mine(await john.receive(), "type", "room", "text") == ("acted", "#a", "rolls a 6")


async def test_a_line_typed_in_no_room_reaches_none(autojump_clock):
    def roll(*_):
        return [trio_chat.Notice("you roll"), trio_chat.Act("rolls a 6")]

    rows = [trio_chat.custom("roll", "/roll", "roll a die", roll)]
    async with (
        open_chat(SETTINGS, commands=rows) as chat,
        document_client(chat, nick="john", rooms=("#a",)) as john,
    ):
        # It would be the only room it is in.
        for line in ("/msg hi", "/me waves", "/topic tea", "/leave", "/who"):
            refusal = await john.ask("command", line=line, room="")
            assert mine(refusal, "type", "code") == ("refusal", "not_in_room")
        assert (await john.ask("command", line="/roll", room=""))["text"] == "you roll"
        assert (await john.receive())["code"] == "not_in_room"
        assert (await john.ask("show_history", room="#a"))["entries"] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "this is not valid JSON"),
        ("{", "this is not valid JSON"),
        ("[" * 20_000, "this is not valid JSON"),
        ('{"type": "say"} {}', "this is not valid JSON"),
        ("[]", "a command must be a JSON object"),
        ("{}", "there is no command of the type None"),
        ('{"type": "dance"}', "there is no command of the type dance"),
        ('{"type": ["say"]}', "there is no command of the type ['say']"),
        ('{"type": "say", "text": "x"}', "say needs the field room"),
        ('{"type": "say", "text": "x", "room": 1}', "room must be a string"),
        ('{"type": "say", "text": "x", "room": null}', "room must be a string"),
        ('{"type": "say", "text": " ", "room": "#a"}', "message is required"),
        ('{"type": "say", "text": "\\u200b", "room": "#a"}', "message is required"),
        ('{"type": "say", "text": null, "room": "#a"}', "text must be a string"),
        ('{"type": "set_topic", "text": [], "room": "#a"}', "text must be a string"),
        ('{"type": "set_topic", "text": "\\u2060", "room": "#a"}', "topic is required"),
        ('{"type": "search", "words": 1, "room": "#a"}', "words must be a string"),
        ('{"type": "say", "text": "a\\nb", "room": "#a"}', "a message may not contain control"),
        ('{"type": "say", "text": "\\ud800", "room": "#a"}', "a message may not contain the char"),
        ('{"type": "say", "text": "x", "room": "\\ud800"}', "a room name may not contain"),
        ('{"type": "say", "text": "x", "room": "#a", "lang": "en"}', "say has no field lang"),
        ('{"type": "ping", "id": 1}', "an id must be a string of 1 to 64 printable"),
        ('{"type": "ping", "id": ""}', "an id must be a string of 1 to 64 printable"),
        ('{"type": "ping", "id": "\\ud800"}', "an id must be a string of 1 to 64 printable"),
        ('{"type": "show_history", "room": "#a", "limit": 501}', "limit must be a whole number"),
        ('{"type": "show_history", "room": "#a", "limit": true}', "limit must be a whole number"),
        ('{"type": "show_history", "room": "#a", "limit": 1.0}', "limit must be a whole number"),
        ('{"type": "show_history", "room": "#a", "limit": NaN}', "limit must be a whole number"),
        ('{"type": "show_history", "room": "#a", "before": 0}', "before must be a whole number"),
        (
            '{"type": "take_nick", "nick": "admin"}',
            "the nick 'admin' is reserved: please choose another",
        ),
        ('{"type": "resume", "client": "a", "token": "\\u00e9"}', "client and token must be"),
        ('{"type": "resume", "client": "a", "token": "b", "positions": []}', "positions must be"),
        (
            '{"type": "resume", "client": "a", "token": "b", "positions": {"#a": -1}}',
            "a position must be",
        ),
        ('{"type": "hello\\u001b[31m"}', "there is no command of the type hello\ufffd[31m"),
    ],
)
async def test_an_unknown_command_is_refused_and_nothing_more(chat, text, reason):
    async with document_client(chat, nick="john", rooms=("#a",)) as john:
        await john.send_text(text)
        refusal = await john.receive()
        assert refusal["type"] == "refusal"
        assert refusal["reason"].startswith(reason)
        assert await john.sync() == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"binary"), 1003),
        (frame(b"binary", fin=False), None),
        (b"\x81\x85abcd" + bytes(0xFF ^ byte for byte in b"abcda"), 1007),
        (b"\x81\x02{}", 1002),  # not masked
        (b"\x80\x80abcd", 1002),  # a continuation of nothing
        (b"\xc1\x80abcd", 1002),  # compressed
        (b"\x83\x80abcd", 1002),  # an opcode that is none
        (b"\x09\x80abcd", 1002),  # a ping in pieces
        (b"\x89\xfe\x00\x7eabcd" + bytes(126), 1002),  # a long ping
        (b"\x81\xfe\x00\x01abcdx", 1002),  # a length in more bytes than it needs
        (frame("{", fin=False) + frame("}"), 1002),
        (b"\x88\x81abcdx", 1002),
        (b"\x81\xff" + (1 << 62).to_bytes(8) + b"abcd", 1009),
        (frame("x" * (SETTINGS.document_bytes + 1)), 1009),
        (frame("x" * 20_000, fin=False) * 2, 1009),
    ],
    ids=(
        *("binary", "binary begun", "no UTF-8", "not masked", "continuation of nothing"),
        *("compressed", "unknown opcode", "ping in pieces", "long ping", "needless length"),
        *(
            "text in text",
            "close of one byte",
            "too long to tell",
            "too long",
            "too long in pieces",
        ),
    ),
)
async def test_frames_that_may_not_be(chat, sent, code):
    async with line_client(chat, nick="jack", room="#a") as jack:
        async with document_client(chat, nick="john", rooms=("#a",)) as john:
            await jack.expect("> john joined the room")
            await john.stream.send_all(sent)
            if code is None:
                await john.stream.aclose()
            else:
                with pytest.raises(Closed) as closed:
                    await john.receive()
                assert closed.value.code == code
        if code is not None:  # for good: nobody is waited for
            await jack.expect("> john has left the room")


async def test_pings_are_answered_in_order_and_pongs_are_not(chat):
    async with document_client(chat, nick="john", rooms=("#a",)) as john:
        await john.send("say", room="#a", text="before")
        await john.ping(b"one")
        await john.stream.send_all(b"\x8a\x80abcd")
        text = json.dumps({"type": "say", "room": "#a", "text": "after"})
        # A ping may come between the fragments of a message.
        start = b"\x01" + bytes((0x80 | 20,)) + bytes(4) + text[:20].encode()
        end = b"\x80" + bytes((0x80 | len(text) - 20,)) + bytes(4) + text[20:].encode()
        await john.stream.send_all(start + b"\x89\x83" + bytes(4) + b"two" + end)
        pongs = []
        assert (await john.receive(pongs=pongs))["text"] == "before"
        assert pongs == []
        assert (await john.receive(pongs=pongs))["text"] == "after"
        assert pongs == [b"one", b"two"]


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_a_close_is_answered_with_its_code(chat, code):
    async with document_client(chat) as john:
        assert await john.close(code) == code


async def test_the_end_of_the_chat_is_1001(autojump_clock):
    async with (
        open_chat(SETTINGS) as chat,
        document_client(chat, rooms=("#a",)) as john,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(chat.stop)
        assert await john.receive() == {"type": "stopping", "restarting": False}
        with pytest.raises(Closed) as closed:
            await john.receive()
        assert closed.value.code == 1001


async def test_a_custom_command_that_fails_is_refused(autojump_clock, caplog):
    def fail(*_):
        raise ZeroDivisionError

    rows = [trio_chat.custom("fail", "/fail", "fail", fail)]
    async with open_chat(SETTINGS, commands=rows) as chat, document_client(chat) as john:
        refusal = await john.ask("command", line="/fail")
        assert mine(refusal, "type", "code") == ("refusal", "command_failed")
        assert (await john.ask("list_rooms"))["names"] == []
    caplog.clear()


async def test_a_command_that_fails_in_the_hub_ends_its_sender_with_1011(
    autojump_clock, caplog, monkeypatch
):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("trio_chat.hub.handlers.rooms.Rooms._list_rooms", fail)
    async with open_chat(SETTINGS) as chat, document_client(chat) as john:
        await john.send("list_rooms", id="x")
        assert mine(await john.receive(), "type", "code") == ("ended", 1011)
        with pytest.raises(Closed) as closed:
            await john.receive()
        assert closed.value.code == 1011
    caplog.clear()


async def test_script_and_markup_come_through_as_they_are(chat):
    text = '<script>alert("1")</script> \\ \U0001f600 &amp; \u05d0'
    async with (
        document_client(chat, nick='<b>"x"', rooms=('#"<i>',)) as john,
        line_client(chat, room='#"<i>') as jack,
    ):
        await john.receive()
        said = await john.ask("say", room='#"<i>', text=text)
        assert mine(said, "room", "nick", "text") == ('#"<i>', '<b>"x"', text)
        await jack.expect(f'> <b>"x": {text}')
