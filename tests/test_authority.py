"""People whom the embedding program knows: `open_chat(authenticate=...)`."""

from __future__ import annotations

import logging
import time
from functools import partial

import pytest
import trio
import trio.testing
from documents import DocumentClient, dial_documents, document_client
from loopback import chat_on_tcp, until
from people import until_line
from snapshots import successor

from trio_chat import (
    Credentials,
    Expiring,
    Identity,
    NickTaken,
    Refused,
    Settings,
    open_chat,
)
from trio_chat.hub import expiry
from trio_chat.people import authority
from trio_chat.protocol import account_rows
from trio_chat.remote import open_client
from trio_chat.testing import line_client

SECRET = "open sesame please"


class Site:
    """Knows john by one password and some tokens, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Credentials] = []
        self.expires: float | None = None
        self.nick = "john"
        self.id = "7"

    async def __call__(self, credentials: Credentials) -> Identity:
        await trio.lowlevel.checkpoint()
        self.asked.append(credentials)
        if credentials.secret != SECRET:
            raise Refused("the site does not know you", code="stranger")
        return Identity(self.id, self.nick, self.expires)


async def with_token(client: DocumentClient, token: str = SECRET) -> dict:
    return await client.ask("authenticate", token=token)


async def test_the_program_says_who_somebody_is() -> None:
    site = Site()
    async with open_chat(authenticate=site) as chat, document_client(chat) as john:
        assert (await with_token(john, "x"))["code"] == "stranger"
        answer = await with_token(john)
        assert (answer["type"], answer["person"], answer["nick"]) == ("logged_in", "x.7", "john")
        assert (await john.ask("take_nick", nick="jim"))["code"] == "logged_in"
        [user] = await chat.users()
        assert (user.nick, user.account) == ("john", "john")
        assert (await john.ask("logout"))["nick"] == "anonymous"
        answer = await john.ask("login", name="John", password=SECRET)
        assert answer["person"] == "x.7"
    token, *_, password = site.asked
    assert (token.kind, token.name, token.private) == ("token", "", True)
    assert (password.kind, password.name, password.secret) == ("password", "John", SECRET)
    assert SECRET not in repr(site.asked)


async def test_a_person_with_telnet_logs_in_and_reads_where_accounts_are() -> None:
    async with open_chat(authenticate=Site()) as chat, line_client(chat) as john:
        for line in ("/register", "/password", "/recover john", "/account", "/account delete"):
            await john.send(line)
            await john.expect(f"err: {account_rows.ELSEWHERE}")
        await john.send("/login john", SECRET)
        await until_line(john, "> you are logged in: I will call you john")
    async with open_chat(authenticate=Site()) as chat, document_client(chat) as john:
        await with_token(john)
        for command, fields in {
            "change_password": {"old": "x", "new": "y"},
            "list_devices": {},
            "show_account": {},
            "export_account": {},
            "delete_account": {"password": "x"},
        }.items():
            refusal = await john.ask(command, **fields)
            assert (refusal["code"], refusal["reason"]) == (
                "kept_elsewhere",
                account_rows.ELSEWHERE,
            )


async def test_a_person_takes_the_nick_of_a_guest_but_of_no_other_person() -> None:
    site = Site()
    async with (
        open_chat(authenticate=site) as chat,
        document_client(chat, nick="john") as guest,
        document_client(chat) as john,
        document_client(chat) as phone,
        document_client(chat) as another,
    ):
        assert (await with_token(john))["nick"] == "john"
        assert await guest.sync() != []
        assert (await with_token(phone))["person"] == "x.7"
        site.id = "8"
        assert (await with_token(another))["code"] == "nick_taken"
        site.nick = "mary"
        assert (await with_token(another))["person"] == "x.8"
        assert (await with_token(john))["code"] == "logged_in"  # as somebody else


async def test_clients_of_programs_know_that_they_have_lost_their_nick() -> None:
    async with (
        chat_on_tcp(open_with={"authenticate": Site()}) as (chat, port),
        open_client(f"ws://127.0.0.1:{port}/ws", nick="john") as remote,
        document_client(chat) as john,
    ):
        await with_token(john)
        async for event in remote:
            if event == NickTaken("anonymous"):
                break
        assert remote.nick == "anonymous"
    async with (
        open_chat(authenticate=Site()) as chat,
        chat.connect(nick="john") as bot,
        document_client(chat) as john,
    ):
        await with_token(john)
        assert await anext(bot) == NickTaken("anonymous")
        assert bot.nick == "anonymous"


@pytest.mark.parametrize(
    ("identity", "code"),
    [
        (Identity("a b", "john"), "command_failed"),
        (Identity("", "john"), "command_failed"),
        (Identity("7" * 65, "john"), "command_failed"),
        (Identity("7", "john", float("nan")), "command_failed"),
        (Identity("7", "john", 0.0), "bad_token"),
        (Identity("7", "jo hn"), "bad_nick"),
        (Identity("7", "admin"), "nick_reserved"),
        ("john", "command_failed"),
    ],
)
async def test_an_identity_has_to_be_one(identity, code: str) -> None:
    async def vouch(_: Credentials) -> Identity:
        await trio.lowlevel.checkpoint()
        return identity

    async with open_chat(authenticate=vouch) as chat, document_client(chat) as john:
        assert (await with_token(john))["code"] == code


async def test_a_failure_is_logged_without_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(credentials: Credentials) -> Identity:
        await trio.lowlevel.checkpoint()
        raise KeyError(credentials.secret)

    caplog.set_level(logging.DEBUG)
    async with open_chat(authenticate=fail) as chat, document_client(chat) as john:
        assert (await with_token(john))["code"] == "command_failed"
        assert (await john.ask("ping"))["type"] == "done"
    assert "authenticate failed" in caplog.text
    assert "KeyError" in caplog.text
    assert "in fail" in caplog.text  # where it was
    assert SECRET not in caplog.text


async def test_it_has_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authority, "ANSWER_SECONDS", 0.01)

    async def sleep(_: Credentials) -> Identity:
        await trio.sleep_forever()
        raise AssertionError

    async with open_chat(authenticate=sleep) as chat, document_client(chat) as john:
        assert (await with_token(john))["code"] == "busy"


async def test_only_some_are_asked_about_at_once() -> None:
    asked, goes_on = 0, trio.Event()

    async def wait(credentials: Credentials) -> Identity:
        nonlocal asked
        asked += 1
        await goes_on.wait()
        return Identity(credentials.secret, f"nick{credentials.secret}")

    them = authority.Authority(wait, 20)
    async with trio.open_nursery() as nursery:
        for number in range(authority.QUESTIONS + 3):
            check = partial(them.authenticate, str(number), "192.0.2.1", private=True)
            nursery.start_soon(check)
        await trio.testing.wait_all_tasks_blocked()
        assert asked == authority.QUESTIONS
        goes_on.set()
    assert asked == authority.QUESTIONS + 3


async def test_guessing_passwords_is_slowed_down() -> None:
    async with open_chat(authenticate=Site()) as chat, document_client(chat) as john:
        codes = [(await john.ask("login", name="john", password="guess"))["code"] for _ in range(6)]
        assert codes == ["stranger"] * 5 + ["too_many_tries"]
        assert (await with_token(john))["type"] == "logged_in"  # nobody guesses a token


async def test_a_login_ends_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.01)
    site = Site()
    async with (
        open_chat(authenticate=site) as chat,
        document_client(chat) as john,
        document_client(chat, nick="mary", rooms=("#a",)) as mary,
    ):
        site.expires = time.time() + 30
        await with_token(john)
        expiring = await john.receive()
        assert expiring["type"] == "expiring"
        assert 0 < expiring["seconds"] <= 30
        await john.ask_all("join", room="#a")
        await mary.sync()
        site.expires = time.time() + 3_600  # it comes back in time
        assert (await with_token(john))["type"] == "logged_in"
        assert await mary.sync() == []  # nobody notices
        assert await john.sync() == []
        site.expires = time.time() + 30
        await with_token(john)
        events = [await john.receive()]
        assert events == [expiring | {"seconds": events[0]["seconds"]}]
        now = time.time
        monkeypatch.setattr(expiry.time, "time", lambda: now() + 30)
        while events[-1]["type"] != "logged_out":
            events.append(await john.receive())
        assert events[-1]["nick"] == "anonymous"
        assert [event["type"] for event in await mary.sync()] == ["left", "joined"]
        assert not chat._hub.state.expiring


async def test_an_end_is_kept_over_an_upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.01)
    site = Site()
    site.expires = time.time() + 3_600
    async with chat_on_tcp(open_with={"authenticate": site}) as (old, port):
        john = await dial_documents(port)
        await with_token(john)
        async with successor(old, open_with={"authenticate": site}) as new:
            [user] = new._hub.state.expiring
            assert user.expires == pytest.approx(site.expires)
            now = time.time
            monkeypatch.setattr(expiry.time, "time", lambda: now() + 3_600)
            event = await john.receive()
            assert event["type"] == "expiring" or event["type"] == "logged_out"
            while event["type"] != "logged_out":
                event = await john.receive()


async def test_a_client_that_leaves_is_not_waited_for() -> None:
    site = Site()
    site.expires = time.time() + 3_600
    async with open_chat(authenticate=site) as chat:
        async with document_client(chat) as john:
            await with_token(john)
            assert len(chat._hub.state.expiring) == 1
            await john.send("quit")
        await until(lambda: not chat._hub.state.expiring, "the end")


async def test_a_remote_client_uses_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "LOOK_SECONDS", 0.01)
    site = Site()
    site.expires = time.time() + 30
    async with (
        chat_on_tcp(open_with={"authenticate": site}) as (_, port),
        open_client(f"ws://127.0.0.1:{port}/ws") as john,
    ):
        assert (await john.authenticate(SECRET)).nick == "john"
        async for event in john:
            if isinstance(event, Expiring):
                assert 0 < event.seconds <= 30
                break


async def test_rooms_have_owners_among_these_people() -> None:
    site = Site()
    async with (
        open_chat(Settings(), authenticate=site) as chat,
        document_client(chat, nick="guest") as guest,
        document_client(chat) as john,
    ):
        await with_token(john)
        await john.ask_all("join", room="#a")
        claimed, _ = await john.ask_all("claim_room", room="#a")
        assert claimed["type"] == "ruled", claimed
        await guest.ask_all("join", room="#a")
        kicked, _ = await john.ask_all("moderate", action="kick", target="guest", room="#a")
        assert kicked["type"] == "ruled", kicked
        await guest.sync()
        assert (await guest.ask("say", room="#a", text="hi"))["code"] == "not_in_room"


async def test_all_devices_of_a_person_get_the_nick_of_the_newest_login() -> None:
    site = Site()
    async with (
        open_chat(authenticate=site) as chat,
        document_client(chat) as first,
        document_client(chat) as second,
        line_client(chat, nick="jim", room="#a") as jim,
    ):
        await with_token(first)
        await first.ask("join", room="#a")
        site.nick = "mary"
        await with_token(second)
        await jim.send("/nick john", "/who")
        assert await jim.lines(4) == [
            "> john joined the room",
            "> john is now known as mary",
            "> all right, I will call you john",
            "> in #a: john, mary",
        ]
