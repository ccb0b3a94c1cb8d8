"""CHATHISTORY by its specification (IRCv3, chathistory)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from documents import document_client
from irc import commands, irc_client, show
from people import PASSWORD

from trio_chat import Settings, open_chat
from trio_chat.testing import line_client

if TYPE_CHECKING:
    from irc import IrcClient

    from trio_chat.dialects.irc.message import Message

PAST = ("batch", "draft/chathistory", "echo-message", "labeled-response", "message-tags")
WANTED = (*PAST, "server-time")
EARLY, LATE = "timestamp=1970-01-01T00:00:00.000Z", "timestamp=2999-01-01T00:00:00.000Z"


@pytest.fixture(params=["memory", "sqlite"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    store = "memory" if request.param == "memory" else f"sqlite:{tmp_path}/chat.db"
    return Settings(rate_limit=None, store=store)


async def said(client: IrcClient, count: int = 10) -> list[Message]:
    """Say some numbers, among things that are no messages. Return them as they came."""
    await client.ask()
    lines = [f"PRIVMSG #a :{number}" for number in range(count - 2)]
    lines += [f"NOTICE #a :{count - 2}", f"PRIVMSG #a :\x01ACTION {count - 1}\x01"]
    lines[count // 2 : count // 2] = ["TOPIC #a :tea", "TOPIC #a :green tea"]
    found = await client.ask(*lines)
    return [message for message in found if message.command != "TOPIC"]


def messages(answer: list[Message], target: str = "#a") -> list[Message]:
    """Return the messages in a batch, as they came first."""
    first, *inside, last = answer
    assert (first.command, first.params[1:]) == ("BATCH", ("chathistory", target))
    name = first.params[0].removeprefix("+")
    assert (last.command, last.params) == ("BATCH", (f"-{name}",))
    for message in inside:
        assert isinstance(message.tags, dict)
        assert message.tags.pop("batch") == name
    return inside


async def test_history_is_what_came(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
    ):
        all_of_them = await said(ann)
        # "MUST be the msgid tag as originally sent", and the time, too.
        assert messages(await ann.ask("CHATHISTORY LATEST #A * 50")) == all_of_them
        # "If no content exists to return, an empty batch".
        assert messages(await ann.ask("CHATHISTORY BEFORE #a timestamp=1999-12-31T23:59:59.999Z 9")
        ) == []  # fmt: skip


@pytest.mark.parametrize("by", ["msgid", "time"])
async def test_places_in_history(settings: Settings, by: str) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
    ):
        past = await said(ann)
        kind = "msgid" if by == "msgid" else "timestamp"

        async def found(asked: str, limit: int, *at: int) -> list[Message]:
            places = " ".join(f"{kind}={past[one].tags[by]}" for one in at)
            return messages(await ann.ask(f"CHATHISTORY {asked} #a {places or '*'} {limit}"))

        assert await found("LATEST", 3) == past[-3:]
        assert await found("LATEST", 3, 5) == past[-3:]
        assert await found("LATEST", 50, 5) == past[6:]
        assert await found("LATEST", 50, 9) == []
        assert await found("BEFORE", 50, 6) == past[:6]
        assert await found("BEFORE", 2, 6) == past[4:6]
        assert await found("BEFORE", 2, 0) == []
        assert await found("AFTER", 50, 3) == past[4:]
        assert await found("AFTER", 2, 3) == past[4:6]
        assert await found("AROUND", 1, 7) == [past[7]]
        assert await found("AROUND", 3, 7) == past[6:9]
        assert await found("AROUND", 4, 0) == past[:4]
        assert await found("AROUND", 50, 5) == past
        # "Counted starting from and excluding the first, finishing on and excluding the second".
        assert await found("BETWEEN", 50, 1, 5) == past[2:5]
        assert await found("BETWEEN", 2, 1, 5) == past[2:4]
        assert await found("BETWEEN", 50, 5, 1) == past[2:5]
        assert await found("BETWEEN", 2, 5, 1) == past[3:5]
        assert await found("BETWEEN", 2, 5, 5) == []


async def test_times_between_messages(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
    ):
        past = await said(ann)
        assert messages(await ann.ask(f"CHATHISTORY AFTER #a {EARLY} 50")) == past
        assert messages(await ann.ask(f"CHATHISTORY BEFORE #a {LATE} 50")) == past
        assert messages(await ann.ask(f"CHATHISTORY AFTER #a {LATE} 50")) == []
        assert messages(await ann.ask(f"CHATHISTORY BETWEEN #a {LATE} {EARLY} 2")) == past[-2:]


async def test_long_history_is_read_in_pages(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
    ):
        past = await said(ann, 230)
        assert messages(await ann.ask("CHATHISTORY LATEST #a * 1000")) == past[-100:]
        at = f"msgid={past[0].tags['msgid']}"
        assert messages(await ann.ask(f"CHATHISTORY AFTER #a {at} 1000")) == past[1:101]


async def test_clients_that_page_by_times_alone_get_each_message_once(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
    ):
        past = await said(ann, 230)
        back = messages(await ann.ask("CHATHISTORY LATEST #a * 100"))
        while page := messages(
            await ann.ask(f"CHATHISTORY BEFORE #a timestamp={back[0].tags['time']} 100")
        ):
            back = page + back
        assert back == past
        on = messages(await ann.ask(f"CHATHISTORY AFTER #a {EARLY} 100"))
        while page := messages(
            await ann.ask(f"CHATHISTORY AFTER #a timestamp={on[-1].tags['time']} 100")
        ):
            on += page
        assert on == past


async def test_long_messages_do_not_fill_more_than_half_an_outbox() -> None:
    settings = Settings(rate_limit=None, outbox_bytes=65_536)
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
    ):
        past = [(await ann.ask(f"PRIVMSG #a :{'é' * 2000}"))[-1] for _ in range(20)]
        some = messages(await ann.ask("CHATHISTORY LATEST #a * 50"))
        assert 5 < len(some) < 9
        assert some == past[-len(some) :]
        at = f"msgid={past[0].tags['msgid']}"
        assert messages(await ann.ask(f"CHATHISTORY AFTER #a {at} 50")) == past[1 : 1 + len(some)]


async def test_removed_messages_are_left_out(tmp_path: Path) -> None:
    async with (
        open_chat(Settings(rate_limit=None, store=f"sqlite:{tmp_path}/chat.db")) as chat,
        irc_client(chat, "ann", "#a", capabilities=WANTED) as ann,
        document_client(chat, nick="web") as web,
    ):
        await web.ask("register", password=PASSWORD)
        await web.ask("join", room="#a")
        await web.ask("say", room="#a", text="one")
        await web.ask("say", room="#a", text="two")
        await web.ask("remove", room="#a", target="1")
        await ann.ask()
        [two] = messages(await ann.ask("CHATHISTORY LATEST #a * 50"))
        assert two.params == ("#a", "two")


async def test_rooms_that_one_may_not_read(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", capabilities=WANTED) as ann,
        line_client(chat, nick="tel", room="#a") as tel,
    ):
        await tel.send("/msg secret")
        await tel.sync()
        refused = await ann.ask(
            "CHATHISTORY LATEST #a * 5", "CHATHISTORY LATEST tel * 5", "CHATHISTORY AFTER & * 5"
        )
        assert [message.params[:4] for message in refused] == [
            ("CHATHISTORY", "INVALID_TARGET", "LATEST", "#a"),
            ("CHATHISTORY", "INVALID_TARGET", "LATEST", "tel"),
            ("CHATHISTORY", "INVALID_TARGET", "AFTER", "&"),
        ]


async def test_history_for_people_with_a_role_alone(tmp_path: Path) -> None:
    async with (
        open_chat(Settings(rate_limit=None, store=f"sqlite:{tmp_path}/chat.db")) as chat,
        document_client(chat, nick="web") as web,
        irc_client(chat, "ann", capabilities=WANTED) as ann,
    ):
        await web.ask("register", password=PASSWORD)
        await web.ask("join", room="#a")
        await web.ask("say", room="#a", text="secret")
        await web.ask("claim_room", room="#a")
        await ann.ask("JOIN #a")
        question = f"CHATHISTORY TARGETS {EARLY} {LATE} 5"
        await ann.ask()
        assert len(await ann.ask(question)) == 3
        await web.ask_all("set_room", room="#a", setting="history", value="members")
        await ann.ask()
        [refusal] = await ann.ask("CHATHISTORY LATEST #a * 5")
        assert refusal.params[:2] == ("CHATHISTORY", "INVALID_TARGET")
        assert len(await ann.ask(question)) == 2


@pytest.mark.parametrize(
    ("line", "code", "more"),
    [
        ("FIRST #a * 5", "INVALID_PARAMS", ("FIRST",)),
        ("LATEST #a", "INVALID_PARAMS", ("LATEST",)),
        ("LATEST #a * 5 5", "INVALID_PARAMS", ("LATEST",)),
        ("BETWEEN #a timestamp=2019-01-04T14:33:26.123Z 5", "INVALID_PARAMS", ("BETWEEN",)),
        ("LATEST #a * 0", "INVALID_PARAMS", ("LATEST", "0")),
        ("LATEST #a * -1", "INVALID_PARAMS", ("LATEST", "-1")),
        ("LATEST #a * x", "INVALID_PARAMS", ("LATEST", "x")),
        ("BEFORE #a timestamp=now 5", "INVALID_PARAMS", ("BEFORE", "timestamp=now")),
        ("BEFORE #a msgid= 5", "INVALID_PARAMS", ("BEFORE", "msgid=")),
        ("BEFORE #a * 5", "INVALID_MSGREFTYPE", ("BEFORE", "#a")),
        ("AFTER #a position=5 5", "INVALID_MSGREFTYPE", ("AFTER", "#a")),
        ("AFTER #a msgid=5-00 5", "MESSAGE_ERROR", ("AFTER", "#a")),
        ("TARGETS timestamp=2019-01-04T14:33:26.123Z 5", "INVALID_PARAMS", ("TARGETS",)),
        ("TARGETS msgid=1 timestamp=2019-01-04T14:33:26.123Z 5", "INVALID_PARAMS",
         ("TARGETS", "msgid=1")),
    ],
)  # fmt: skip
async def test_wrong_questions(line: str, code: str, more: tuple[str, ...]) -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a", capabilities=WANTED) as ann:
        await ann.ask()
        [refusal] = await ann.ask(f"CHATHISTORY {line}")
        assert refusal.command == "FAIL"
        assert refusal.params[:-1] == ("CHATHISTORY", code, *more)


async def test_the_rooms_with_news(settings: Settings) -> None:
    async with (
        open_chat(settings) as chat,
        irc_client(chat, "ann", "#a", "#b", "#c", capabilities=WANTED) as ann,
    ):
        await ann.ask()
        newest: dict[str, str] = {}

        async def speak(room: str) -> None:
            [message] = await ann.ask(f"PRIVMSG {room} :Hi")
            newest[room] = message.tags["time"]

        await speak("#b")
        await speak("#a")
        while newest["#b"] <= newest["#a"]:  # times of two rooms may be the same
            await speak("#b")

        async def rooms(first: str, second: str, limit: int) -> list[str]:
            start, *lines, _ = await ann.ask(f"CHATHISTORY TARGETS {first} {second} {limit}")
            assert start.params[1:] == ("draft/chathistory-targets",)
            for line in lines:
                assert line.command == "CHATHISTORY"
                assert line.params == ("TARGETS", line.params[1], newest[line.params[1]])
            return [line.params[1] for line in lines]

        assert await rooms(EARLY, LATE, 5) == ["#a", "#b"]
        assert await rooms(LATE, EARLY, 5) == ["#a", "#b"]
        assert await rooms(EARLY, LATE, 1) == ["#a"]
        assert await rooms(LATE, EARLY, 1) == ["#b"]
        assert await rooms(f"timestamp={newest['#a']}", LATE, 5) == ["#b"]


async def test_labels_of_history() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a", capabilities=WANTED) as ann:
        await ann.ask("PRIVMSG #a :Hi")
        start, line, end = await ann.ask("@label=x CHATHISTORY LATEST #a * 5")
        assert start.tags == {"label": "x"}
        assert start.params[1:] == ("chathistory", "#a")
        assert "label" not in line.tags
        assert end.tags == {}


async def test_history_with_fewer_capabilities() -> None:
    async with open_chat() as chat, irc_client(chat, "ann", "#a") as ann:
        await ann.ask("PRIVMSG #a :Hi")
        # "The capability MUST be negotiated".
        assert commands(await ann.ask("CHATHISTORY LATEST #a * 5")) == ["421"]
        # "Servers SHOULD NOT enforce that clients support all related capabilities".
        await ann.ask("CAP REQ draft/chathistory")
        [line] = await ann.ask("CHATHISTORY LATEST #a * 5")
        assert (show(line), line.tags) == ("ann PRIVMSG #a Hi", {})


async def test_clients_learn_what_they_may_ask_for() -> None:
    async with open_chat() as chat, irc_client(chat) as ann:
        supported = [m.params for m in await ann.register("ann", *WANTED) if m.command == "005"]
        assert {"CHATHISTORY=100", "MSGREFTYPES=msgid,timestamp"} <= {
            token for line in supported for token in line
        }
