"""Private messages to accounts that are away, in a whole chat."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import trio
from documents import DocumentClient, dial_documents, document_client
from hubs import labelled, running_hub, tell
from loopback import chat_on_tcp, until
from people import PASSWORD, NoMail, until_line
from snapshots import successor
from test_persons import FakePeople, device

from trio_chat import Settings, open_chat
from trio_chat.daemon.moderation import act
from trio_chat.dialects.irc.encoding import encoding_of
from trio_chat.people import Waiting, hasher
from trio_chat.people import mail as mails
from trio_chat.people.mail import Mail
from trio_chat.protocol import commands
from trio_chat.testing import line_client


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'chat.db'}"


async def register(client: DocumentClient) -> str:
    answer, _ = await client.ask_all("register", password=PASSWORD)
    assert answer["type"] == "logged_in", answer
    return answer["person"]


async def log_in(client: DocumentClient, nick: str) -> list[dict]:
    """Log in, and return what has waited."""
    answer = await client.ask("login", name=nick, password=PASSWORD)
    assert answer["type"] == "logged_in", answer
    return await client.sync()


async def left(client: DocumentClient, text: str) -> dict:
    answer = await client.ask("tell", nick="john", text=text)
    assert (answer["type"], answer["text"], answer["waited"]) == ("told", text, True), answer
    return answer


def texts(events: list[dict]) -> list[str]:
    assert all(event["type"] == "told" and event["waited"] for event in events)
    return [event["text"] for event in events]


@pytest.mark.parametrize("verb", ["ban", "mute"])
async def test_messages_left_before_the_server_silenced_their_author_are_dropped(
    store: str, verb: str
) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            await register(john)
        for nick in ("jack", "bob"):
            async with document_client(chat, nick=nick) as sender:
                await register(sender)
                await left(sender, f"from {nick}")
        await act(chat, verb, "jack 1h spam", "")
        async with document_client(chat) as john:
            assert texts(await log_in(john, "john")) == ["from bob"]


async def test_a_message_waits_and_is_delivered_once(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            johns_id = await register(john)
        async with document_client(chat, nick="jack") as jack:
            jacks_id = await register(jack)
            sent = await left(jack, "psst")
            assert (sent["author"], sent["to"]) == (jacks_id, johns_id)
            assert abs(sent["time"] - time.time()) < 60
            answer = await jack.ask("tell", nick="anybody", client=johns_id, text="by id")
            assert answer["waited"]
    async with open_chat(Settings(store=store)) as chat, document_client(chat) as john:
        [first, second] = await log_in(john, "john")
        assert first == {key: value for key, value in sent.items() if key != "id"}
        assert second["text"] == "by id"
        async with document_client(chat) as phone:
            assert await log_in(phone, "john") == []
        await john.ask("logout")
        assert await log_in(john, "john") == []


async def test_people_read_it_with_its_time(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            await register(john)
        async with document_client(chat, nick="jack") as jack:
            await register(jack)
            async with line_client(chat) as lines:
                await lines.send("/login jack", PASSWORD)
                await until_line(lines, "> you are logged in: I will call you jack")
                await lines.send("/tell john psst")
                await lines.expect("> you (to john, who is away: it waits): psst")
            [copy] = await jack.sync()  # of another device of the sender
            assert (copy["text"], copy["waited"]) == ("psst", True)
        async with line_client(chat) as lines:
            await lines.send("/login john", PASSWORD)
            line = await until_line(lines, "> jack (to you, ")
            now = r"20\d\d-\d\d-\d\d \d\d:\d\d UTC"
            assert re.fullmatch(rf"> jack \(to you, {now}\): psst", line)


async def test_only_accounts_leave_messages_and_only_for_accounts(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            await register(john)
        async with document_client(chat, nick="jim") as jim:
            answer = await jim.ask("tell", nick="john", text="psst")
            assert answer["code"] == "unreachable"
            assert answer["reason"] == "john is away: if you log in, your messages wait"
            await register(jim)
            assert (await jim.ask("tell", nick="mary", text="psst"))["code"] == "no_such_nick"
            cyrillic = await jim.ask("tell", nick="j\u043ehn", text="psst")
            assert cyrillic["code"] == "no_such_nick"


async def test_a_hook_sees_it_first(store: str) -> None:
    settings = Settings(store=store)
    async with open_chat(settings, before_say=lambda draft: draft.text.upper()) as chat:
        async with document_client(chat, nick="john") as john:
            await register(john)
        async with document_client(chat, nick="jack") as jack:
            await register(jack)
            answer = await jack.ask("tell", nick="john", text="psst")
            assert answer["text"] == "PSST"


async def test_a_client_that_has_lost_the_connection_gets_it_when_coming_back(store: str) -> None:
    async with chat_on_tcp(store=store) as (chat, port):
        john = await dial_documents(port, nick="john")
        await register(john)
        jack = await dial_documents(port, nick="jack")
        await register(jack)
        await john.stream.aclose()
        await until(lambda: chat.statistics().away == 1, "the loss")
        await left(jack, "psst")
        back = await dial_documents(port)
        ticket = {name: john.hello[name] for name in ("client", "token")}
        assert (await back.ask("resume", **ticket))["type"] == "resumed"
        assert texts(await back.sync()) == ["psst"]


async def test_a_message_that_comes_late_finds_who_has_come(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, leave = trio.Event(), trio.Event(), Mail.leave

    async def late(self, *arguments):
        begun.set()
        await goes_on.wait()
        return await leave(self, *arguments)

    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            await register(john)
        monkeypatch.setattr(Mail, "leave", late)
        async with document_client(chat, nick="jack") as jack, document_client(chat) as john:
            await register(jack)
            await jack.send("tell", nick="john", text="psst")
            await begun.wait()
            assert await log_in(john, "john") == []
            goes_on.set()
            event = await john.receive()
            assert (event["type"], event["text"], event["waited"]) == ("told", "psst", True)
            assert await john.sync() == []


async def test_an_upgrade_loses_and_doubles_nothing(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins when a message is written, and not answered, and when another one is shown."""
    async with chat_on_tcp(store=store) as (old, port):
        john = await dial_documents(port, nick="john")
        await register(john)
        jack = await dial_documents(port, nick="jack")
        await register(jack)
        await john.ask("logout")
        await left(jack, "first")
        removing, pausing, remove, pause = trio.Event(), trio.Event(), Mail._remove, Mail.pause

        async def remove_late(self, messages) -> None:
            removing.set()
            await pausing.wait()
            await remove(self, messages)

        async def pause_late(self) -> None:
            pausing.set()
            await pause(self)

        monkeypatch.setattr(Mail, "_remove", remove_late)
        monkeypatch.setattr(Mail, "pause", pause_late)
        await john.send("login", name="john", password=PASSWORD)
        assert (await john.receive())["type"] == "logged_in"
        assert texts([await john.receive()]) == ["first"]
        await removing.wait()
        async with successor(old):
            assert await john.sync() == []
            await john.ask("logout")
            await jack.send("tell", nick="john", text="second")
            assert (await jack.receive())["waited"]
            assert texts(await log_in(john, "john")) == ["second"]
            assert await log_in_again(john) == []


async def log_in_again(client: DocumentClient) -> list[dict]:
    await client.ask("logout")
    return await log_in(client, "john")


async def test_a_message_written_before_an_upgrade_is_kept_once(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, leave = trio.Event(), Mail.leave

    async def noted(self, *arguments):
        begun.set()
        return await leave(self, *arguments)

    async with chat_on_tcp(store=store) as (old, port):
        john = await dial_documents(port, nick="john")
        await register(john)
        jack = await dial_documents(port, nick="jack")
        await register(jack)
        await john.ask("logout")
        monkeypatch.setattr(Mail, "leave", noted)
        for number in range(5):
            await jack.send("tell", nick="john", text=str(number))
        await begun.wait()
        async with successor(old):
            sent = [await jack.receive() for _ in range(5)]
            assert texts(sent) == ["0", "1", "2", "3", "4"]
            assert texts(await log_in(john, "john")) == ["0", "1", "2", "3", "4"]


async def test_a_full_mailbox_is_refused(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mails, "MOST_MESSAGES", 1)
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            await register(john)
        async with document_client(chat, nick="jack") as jack:
            await register(jack)
            await left(jack, "psst")
            refusal = await jack.ask("tell", nick="john", text="again")
            assert (refusal["type"], refusal["code"]) == ("refusal", "too_much_waits")


class Kept(NoMail):
    """Lets each message wait."""

    async def leave(self, sender, receiver, text, casefolded=""):
        return Waiting(1, sender, "jack", receiver, casefolded, text, 1_800_000_000.0)


@pytest.mark.parametrize("capability", ["echo-message", "server-time"])
async def test_an_irc_client_reads_that_its_message_waits(capability: str) -> None:
    people = FakePeople(mail=Kept())
    people.add("john")
    people.add("jack")
    async with running_hub(people=people) as run:
        jack = await device(run, "jack")
        irc = encoding_of(frozenset({capability}))
        told = labelled(tell("john", "psst"), "PRIVMSG john :psst")
        await run.turn(jack, commands.SwitchEncoding(irc), told)
        [line] = jack.link.lines()
        assert line.endswith("NOTICE jack :you (to john, who is away: it waits): psst\r")
