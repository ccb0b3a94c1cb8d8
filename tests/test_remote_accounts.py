"""Accounts of remote clients: their calls, who they are, and what a broken line costs them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from loopback import PATIENCE, chat_on_tcp
from people import ANOTHER, PASSWORD, WRONG
from test_remote import a_line_to, url

from trio_chat import Chat, Joined, Left, Refused
from trio_chat.people import hasher
from trio_chat.protocol.events import Identified
from trio_chat.remote import (
    Disconnected,
    LoggedIn,
    LoggedOut,
    Refusal,
    RemoteClient,
    RemoteEvent,
    Resumed,
    connections,
    open_client,
    session,
)
from trio_chat.remote.parse import parse_event
from trio_chat.terminal.accounts import Confidential, before, carry_out
from trio_chat.transports import first_bytes


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(connections, "LAST_WAIT", 0.05)
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'chat.db'}"


@asynccontextmanager
async def running(store: str, **settings: object) -> AsyncIterator[tuple[Chat, int]]:
    with trio.fail_after(PATIENCE):
        async with chat_on_tcp(store=store, **settings) as (chat, port):
            yield chat, port


async def event_of(client: RemoteClient, *kinds: type) -> RemoteEvent:
    """The next event of one of these kinds."""
    async for event in client:
        if isinstance(event, kinds):
            return event
    raise AssertionError("the client has ended")


async def test_an_account_from_its_beginning_to_its_end(store: str) -> None:
    async with running(store) as (_, port), open_client(url(port), nick="john") as john:
        alone = john.id
        made = await john.register(PASSWORD, "laptop")
        assert (made.nick, made.person, bool(made.token)) == ("john", john.id, True)
        assert john.id != alone
        assert await john.log_out() == LoggedOut(alone, "anonymous")
        assert (john.id, john.nick) == (alone, "anonymous")
        with pytest.raises(Refused) as refused:
            await john.log_in("john", WRONG)
        assert refused.value.code == "wrong_password"
        assert (await john.log_in("john", PASSWORD)).token == ""
        assert john.nick == "john"
        [device] = await john.devices()
        assert device.label == "laptop"
        await john.revoke(device.number)
        assert await john.devices() == []
        assert (await john.change_password(PASSWORD, ANOTHER, "phone")).token
        assert json.loads(await john.export())["nick"] == "john"
        await john.log_out()
        again = await john.recover("john", made.recovery, PASSWORD, "phone")
        assert again.recovery not in {"", made.recovery}
        await john.log_out()
        await john.authenticate(again.token)
        assert john.id == made.person
        with pytest.raises(Refused):
            await john.delete(WRONG)
        assert (await john.delete(PASSWORD)).person == alone
        events = [type(await anext(john)) for _ in range(9)]
        login_and_logout = [LoggedIn, LoggedOut]
        # The second login in a row is that with the new password.
        assert events == [*login_and_logout, LoggedIn, *login_and_logout * 3]


async def test_its_messages_carry_its_id(store: str) -> None:
    async with (
        running(store) as (_, port),
        open_client(url(port), nick="john") as john,
        open_client(url(port), nick="mary") as mary,
    ):
        await mary.join("#a")
        await john.join("#a")
        assert isinstance(await anext(mary), Joined)
        alone = john.id
        await john.register(PASSWORD)
        assert (await john.say("hi")).author == john.id
        assert isinstance(await anext(john), LoggedIn)  # nothing about itself comes before it
        assert await mary.say("hi") == await anext(john)
        assert await anext(mary) == Identified("#a", john.id, "john", alone, "john")


async def test_a_token_logs_it_in_from_the_beginning(store: str) -> None:
    async with running(store) as (_, port):
        async with open_client(url(port), nick="john") as john:
            made = await john.register(PASSWORD, "laptop")
        async with open_client(url(port), nick="john", token=made.token) as john:
            assert (john.id, john.nick) == (made.person, "john")
            await john.log_out()
            await john.take_nick("jim")
            assert isinstance(await anext(john), LoggedOut)


async def test_a_token_that_came_later_logs_it_in_again(store: str) -> None:
    async with (
        running(store, resume_grace=0) as (_, port),
        a_line_to(port) as line,
        open_client(url(port), nick="john") as john,
        open_client(url(line.port)) as other,
    ):
        made = await john.register(PASSWORD, "laptop")
        await other.authenticate(made.token)
        line.cut()
        assert await event_of(other, Resumed) == Resumed("john", (), anew=True)
        assert other.id == made.person


async def test_a_token_that_is_refused_is_one_event(store: str) -> None:
    async with (
        running(store) as (_, port),
        open_client(url(port), nick="jim", token="no token") as jim,
    ):
        assert (jim.nick, jim.connected) == ("jim", True)
        assert await anext(jim) == Refusal(
            "this device is logged in no more: log in with the password", "bad_token"
        )
        await jim.join("#a")
        await jim.say("the next event")
        await jim.command("/me is here", echo=True)
        assert getattr(await anext(jim), "text", "") == "is here"


async def test_a_new_client_logs_in_again_before_it_joins(store: str) -> None:
    async with (
        running(store, resume_grace=0) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="john") as john,
        open_client(url(port), nick="mary") as mary,
    ):
        await john.register(PASSWORD, "laptop")
        await john.join("#a")
        await mary.join("#a")
        person = john.id
        line.cut()
        assert isinstance(await event_of(john, Disconnected), Disconnected)
        assert await event_of(john, Resumed) == Resumed("john", ("#a",), anew=True)
        assert (john.id, john.nick) == (person, "john")
        assert (await john.say("back")).author == person
        # It was never in the room as somebody else.
        assert await anext(mary) == Left("#a", person, "john")
        assert await anext(mary) == Joined("#a", person, "john")


async def test_a_token_that_ended_meanwhile_is_said_once(store: str) -> None:
    async with (
        running(store, resume_grace=0) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="jim") as john,
        open_client(url(port), nick="john") as other,
    ):
        await other.register(PASSWORD)
        await john.log_in("john", PASSWORD, "laptop")
        [device] = await other.devices()
        await other.revoke(device.number)
        for refusals in (1, 0):
            line.cut()
            assert await event_of(john, Resumed) == Resumed("jim", (), anew=True)
            assert john.id == john.hello.client
            if refusals:
                refused = await anext(john)
                assert isinstance(refused, Refusal)
                assert refused.code == "bad_token"
        line.cut()
        assert not isinstance(await anext(john), Refusal)


async def test_a_logout_during_a_break_is_told(store: str) -> None:
    async with (
        running(store) as (_, port),
        a_line_to(port) as line,
        open_client(url(line.port), nick="john") as john,
        open_client(url(port)) as other,
    ):
        alone = john.id
        await john.register(PASSWORD)
        await other.log_in("john", PASSWORD)
        line.open = False
        line.cut()
        await event_of(john, Disconnected)
        await other.delete(PASSWORD)
        line.open = True
        assert await event_of(john, Resumed) == Resumed("anonymous", (), anew=False)
        assert await anext(john) == LoggedOut(alone, "anonymous")
        assert john.id == alone


async def test_a_logout_by_another_device_is_told(store: str) -> None:
    async with (
        running(store) as (_, port),
        open_client(url(port), nick="john") as john,
        open_client(url(port)) as other,
    ):
        alone = john.id
        await john.register(PASSWORD)
        await other.log_in("john", PASSWORD)
        await other.delete(PASSWORD)
        assert await event_of(john, LoggedOut) == LoggedOut(alone, "anonymous")
        assert (john.id, john.nick) == (alone, "anonymous")


async def test_a_logout_at_a_terminal_ends_the_token(store: str) -> None:
    async with running(store) as (_, port), open_client(url(port), nick="john") as john:
        made = await john.register(PASSWORD, "laptop")
        assert john.device == made.number
        await before(john, "/logout now")  # is refused
        assert [device.number for device in await john.devices()] == [made.number]
        await before(john, " /LOGOUT ")
        assert await john.devices() == []
        await before(john, "/logout")  # the token has ended, which is no fault
        await john.log_out()
        assert john.device == 0
        with pytest.raises(Refused):
            await john.authenticate(made.token)
        await john.log_in("john", PASSWORD)
        assert john.device == 0


async def test_a_remote_client_gets_another_recovery_code(store: str) -> None:
    async with running(store) as (_, port), open_client(url(port), nick="john") as john:
        made = await john.register(PASSWORD)
        command = Confidential("/account Recovery", (PASSWORD,))
        shown = await carry_out(john, command, None)
        assert shown is not None
        assert shown.recovery not in {"", made.recovery}
        assert shown.recovery not in repr(shown)
        await john.log_out()
        await john.recover("john", shown.recovery, WRONG)


async def test_resuming_knows_of_a_login_whose_answer_was_lost() -> None:
    one = session.RemoteSession(None, 10)
    document = {"type": "resumed", "client": "c", "nick": "john", "rooms": [], "person": "a.x"}
    event = parse_event(document)
    assert event is not None
    one._take(event, None)
    assert (one.id, one.nick) == ("a.x", "john")
    assert await one.inbox.take() == Resumed("john", (), anew=False)
    assert await one.inbox.take() == LoggedIn("a.x", "john")
    del document["person"]  # a server without accounts
    event = parse_event(document)
    assert event is not None
    one._take(event, None)
    assert one.id == "c"


async def test_secrets_are_in_no_text(store: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(store) as (_, port), open_client(url(port), nick="john") as john:
        made = await john.register(PASSWORD, "laptop")
        assert made.token not in repr(made) + repr(await anext(john))
        assert made.recovery not in repr(made)
        await john.log_out()
        with pytest.raises(Refused) as refused:
            await john.log_in("john", WRONG)
        assert WRONG not in str(refused.value) + repr(refused.value)
        with pytest.raises(Refused) as refused:
            await john.log_in("john", WRONG + "\udcff")
        assert WRONG not in str(refused.value)
    assert not any(secret in caplog.text for secret in (PASSWORD, WRONG, made.token))


async def test_a_server_that_is_not_encrypted_takes_no_password(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "is_local", lambda _: False)
    async with running(store) as (_, port), open_client(url(port), token="a token") as john:
        refused = await anext(john)
        assert isinstance(refused, Refusal)
        with pytest.raises(Refused, match="this connection is not encrypted: use TLS"):
            await john.log_in("john", PASSWORD)
