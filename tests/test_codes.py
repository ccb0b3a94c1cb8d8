"""Each refusal has a code beside its sentence, from one list, wherever it comes out."""

from __future__ import annotations

import ast
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from documents import document_client, mine
from loopback import HOST, PATIENCE, chat_on_tcp, dial

import trio_chat
from trio_chat import Chat, Refused, Settings, custom, open_chat
from trio_chat.errors import Code
from trio_chat.protocol.events import Ended, Refusal
from trio_chat.remote import open_client, session
from trio_chat.remote.parse import parse_event
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.server import opening
from trio_chat.testing import line_client

ROOT = Path(trio_chat.__file__).parent

# The classes of refusals: raised, read from a client, told to it.
REFUSALS = ("Refused", "Refuse", "Refusal")
SITES = [
    pytest.param(node, id=f"{path.relative_to(ROOT)}:{node.lineno}")
    for path in sorted(ROOT.rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in REFUSALS
]


def code_of(call: ast.Call) -> str:
    """The code that is given to a refusal, as it stands in the source."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
    return ast.unparse([*call.args[1:2], *given][0])


def test_a_code_is_its_name_in_lower_case_and_has_a_meaning() -> None:
    for code in Code:
        assert code == code.name.lower()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
        assert re.fullmatch(r"\S.*[^\s.]", code.meaning)


@pytest.mark.parametrize("site", SITES)
def test_each_refusal_names_its_code_or_passes_one_on(site: ast.Call) -> None:
    code = code_of(site)
    if code.startswith("Code."):
        assert Code[code.removeprefix("Code.")]
    else:
        assert code.endswith(".code")


def test_each_code_is_used() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    used = set(re.findall(r"\bCode\.([A-Z_]+)\b", source))
    assert used == set(Code.__members__)


def test_a_refusal_without_a_code_is_the_embedding_programs() -> None:
    assert Refused("no").code == "refused"
    assert Refused("no", code="no_dice").code == "no_dice"


# --- in documents ---------------------------------------------------------------------------------


def before_say(draft) -> str:
    if "bad" in draft.text:
        raise Refused("mind your language")
    if "worse" in draft.text:
        raise Refused("mind your language", code="bad_language")
    return draft.text.replace("nothing", "")


def roll(_: object, arguments: str) -> list[trio_chat.Notice]:
    if arguments:
        raise Refused("a die has 6 sides")
    return [trio_chat.Notice("\x1b")]


@asynccontextmanager
async def small_chat() -> AsyncIterator[Chat]:
    settings = Settings(rate_limit=None, rooms_per_client=3, max_rooms=3, message_chars=20)
    with trio.fail_after(1_000):
        async with open_chat(
            settings, before_say=before_say, commands=[custom("roll", "/roll", "rolls", roll)]
        ) as chat:
            yield chat


DOCUMENTS = [
    ("take_nick", {"nick": "a b"}, "bad_nick"),
    ("take_nick", {"nick": ""}, "bad_nick"),
    ("take_nick", {"nick": "x" * 33}, "bad_nick"),
    ("take_nick", {"nick": "\u0301"}, "bad_nick"),
    ("take_nick", {"nick": ">x"}, "bad_nick"),
    ("take_nick", {"nick": "\ue000"}, "bad_nick"),
    ("take_nick", {"nick": "admin"}, "nick_reserved"),
    ("take_nick", {"nick": "JACK"}, "nick_taken"),
    ("tell", {"nick": "jim", "text": "x"}, "no_such_nick"),
    ("tell", {"nick": "jim", "client": "x", "text": "x"}, "client_left"),
    ("tell", {"nick": "jack", "client": "x", "text": "x"}, "nick_passed_on"),
    ("tell", {"nick": "jack", "client": 5, "text": "x"}, "bad_document"),
    ("tell", {"nick": "a b", "text": "x"}, "bad_nick"),
    ("invite", {"nick": "jim", "room": "#a"}, "no_such_nick"),
    ("join", {"room": "a,b"}, "bad_room_name"),
    ("join", {"room": "x" * 65}, "bad_room_name"),
    ("join", {"room": "#a"}, "already_in_room"),
    ("join", {"room": "#new"}, "too_many_rooms"),
    ("leave", {"room": "#c"}, "not_in_room"),
    ("command", {"line": "/who"}, "say_which_room"),
    ("say", {"room": "#a", "text": " "}, "bad_text"),
    ("say", {"room": "#a", "text": "a\nb"}, "bad_text"),
    ("say", {"room": "#a", "text": "a" + "\u0301" * 31}, "bad_text"),
    ("say", {"room": "#a", "text": "x" * 21}, "too_long"),
    ("search", {"room": "#a", "words": " ".join("abcdefghijklmnopq")}, "too_long"),
    ("command", {"line": "/dance"}, "unknown_command"),
    ("command", {"line": "/help dance"}, "unknown_command"),
    ("command", {"line": "/nick"}, "bad_usage"),
    ("command", {"line": "/history x"}, "bad_usage"),
    ("command", {"line": " "}, "bad_text"),
    ("dance", {}, "unknown_command"),
    ("say", {"room": "#a"}, "bad_document"),
    ("say", {"room": "#a", "text": 5}, "bad_document"),
    ("say", {"room": "#a", "text": "x", "colour": "red"}, "bad_document"),
    ("show_history", {"room": "#a", "limit": 501}, "bad_document"),
    ("resume", {"client": "x", "token": "\xe9"}, "bad_document"),
    ("resume", {"client": "x", "token": "y", "positions": []}, "bad_document"),
    ("resume", {"client": "x", "token": "y"}, "cannot_resume"),
    ("say", {"room": "#a", "text": "bad"}, "refused"),
    ("say", {"room": "#a", "text": "worse"}, "bad_language"),
    ("say", {"room": "#a", "text": "nothing"}, "refused"),
    ("command", {"line": "/roll 2", "room": "#a"}, "refused"),
    ("command", {"line": "/roll", "room": "#a"}, "bad_text"),
]


@pytest.mark.parametrize(("kind", "fields", "code"), DOCUMENTS)
async def test_the_codes_of_documents(kind, fields, code, autojump_clock) -> None:
    async with (
        small_chat() as chat,
        line_client(chat, nick="jack", room="#c"),
        document_client(chat, nick="john", rooms=("#a", "#b")) as john,
    ):
        assert mine(await john.ask(kind, **fields), "type", "code") == ("refusal", code)
        await john.send(kind, **fields)  # without an id it is the same
        assert mine(await john.receive(), "type", "code") == ("refusal", code)


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "ping", "id": 5}'])
async def test_an_unknown_command_has_its_code(text, autojump_clock) -> None:
    async with small_chat() as chat, document_client(chat) as john:
        await john.send_text(text)
        assert mine(await john.receive(), "type", "code") == ("refusal", "bad_document")


async def test_a_person_in_as_many_rooms_as_allowed_has_its_code(autojump_clock) -> None:
    async with small_chat() as chat, document_client(chat, rooms=("#a", "#b", "#c")) as john:
        assert (await john.ask("join", room="#d"))["code"] == "in_too_many_rooms"


async def test_a_person_in_no_room_has_its_code(autojump_clock) -> None:
    async with small_chat() as chat, document_client(chat) as john:
        assert (await john.ask("command", line="/who"))["code"] == "not_in_room"


# --- what the log says ----------------------------------------------------------------------------


class FailingLog(MemoryLog):
    """A log that neither writes nor reads."""

    async def append(self, drafts):
        if any(isinstance(draft, trio_chat.Said) for draft in drafts):
            raise OSError("no space left on device")
        return await super().append(drafts)

    async def before(self, room, position, limit):
        raise OSError("disk I/O error")

    async def search(self, room, words, limit, before):
        raise OSError("disk I/O error")


@pytest.fixture
def _failing(monkeypatch) -> None:
    @asynccontextmanager
    async def open_log(*_) -> AsyncIterator[FailingLog]:
        yield FailingLog(Retention(10, 10))

    monkeypatch.setattr(opening, "_open_log", open_log)


@pytest.mark.usefixtures("_failing")
async def test_a_log_that_fails(autojump_clock) -> None:
    async with (
        small_chat() as chat,
        document_client(chat, rooms=("#a",)) as john,
        chat.connect() as bot,
    ):
        for label in ({}, {"id": "1"}):
            await john.send("say", room="#a", text="x", **label)
            assert mine(await john.receive(), "type", "code") == ("refusal", "cannot_write")
        assert (await john.ask("show_history", room="#a"))["code"] == "cannot_read"
        await john.ask("set_topic", room="#a", text="x")  # else there is nothing to look at
        assert (await john.ask("search", room="#a", words="x"))["code"] == "cannot_read"
        await bot.join("#a")
        for call, code in (
            (bot.say("x"), "cannot_write"),
            (bot.history(), "cannot_read"),
            (bot.search("x"), "cannot_read"),
        ):
            with pytest.raises(Refused) as caught:
                await call
            assert caught.value.code == code


# --- to programs ----------------------------------------------------------------------------------


def calls(bot: trio_chat.InProcessClient) -> Iterator[tuple[object, str]]:
    """Calls of a bot in #a and #b that are refused, each with its code."""
    yield bot.take_nick("jack"), "nick_taken"
    yield bot.take_nick("a b"), "bad_nick"
    yield bot.join("#a"), "already_in_room"
    yield bot.say("x"), "say_which_room"
    yield bot.say("x", "#c"), "not_in_room"
    yield bot.say(" ", "#a"), "bad_text"
    yield bot.say("x" * 21, "#a"), "too_long"
    yield bot.say("bad", "#a"), "refused"
    yield bot.say("worse", "#a"), "bad_language"
    yield bot.tell("jim", "x"), "no_such_nick"
    yield bot.history("#a", 0), "bad_usage"
    yield bot.join("#new"), "too_many_rooms"


async def test_an_in_process_client_gets_the_code(autojump_clock) -> None:
    async with (
        small_chat() as chat,
        line_client(chat, nick="jack", room="#c"),
        chat.connect() as bot,
    ):
        await bot.join("#a")
        await bot.join("#b")
        for call, code in calls(bot):
            with pytest.raises(Refused) as caught:
                await call
            assert caught.value.code == code


async def test_a_remote_client_gets_the_code() -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp() as (_, port):
            await dial(port, nick="jack")
            url = f"ws://{HOST}:{port}/ws"
            with pytest.raises(Refused) as caught:
                async with open_client(url, nick="jack"):
                    pass
            assert caught.value.code == "nick_taken"
            async with open_client(url) as bot:
                for call, code in (
                    (bot.take_nick("jack"), "nick_taken"),
                    (bot.say("x", "#a"), "not_in_room"),
                    (bot.command("/dance"), "unknown_command"),
                ):
                    with pytest.raises(Refused) as caught:
                        await call
                    assert caught.value.code == code


def test_the_end_of_a_connection_has_a_code_where_it_is_an_answer() -> None:
    answer = session.PendingAnswer()
    one = session.RemoteSession(None, 10)
    one._take(Ended("please connect again", 1011), answer)
    assert isinstance(answer.failure, Refused)
    assert answer.failure.code == "not_served"


def test_a_server_that_was_there_before_codes_were_refuses_too() -> None:
    assert parse_event({"type": "refusal", "reason": "no"}) == Refusal("no", "refused")
    told = {"type": "refusal", "reason": "no", "code": "not_known_here"}
    assert parse_event(told) == Refusal("no", "not_known_here")


# --- to people ------------------------------------------------------------------------------------


async def test_a_line_is_the_sentence_alone() -> None:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp() as (_, port):
            await dial(port, nick="jack")
            john = await dial(port)
            await john.send("/nick jack", "/msg x", "/dance")
            await john.expect(
                "err: the nick jack is taken, or looks like one that is: please choose another",
                "err: you are in no room; use /join ROOM first",
                "err: unknown command: /dance",
            )
