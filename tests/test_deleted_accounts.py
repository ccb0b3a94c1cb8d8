"""Nobody stays in an account that was deleted, and the log says who comes and goes."""

from __future__ import annotations

import logging

import pytest
import trio
from documents import DocumentClient, dial_documents
from hubs import running_hub
from loopback import chat_on_tcp
from people import PASSWORD, WRONG
from test_persons import FakePeople, device, log_in, types

from trio_chat.errors import Code, Refused
from trio_chat.hub.inbox import LogOutAll
from trio_chat.people import LoggedIn, hasher
from trio_chat.people.administration import Administration
from trio_chat.protocol import commands


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@pytest.fixture
def people() -> FakePeople:
    people = FakePeople()
    people.add("john")
    return people


async def test_the_operator_logs_everyone_out(people) -> None:
    async with running_hub(people=people) as run:
        watcher = await run.program("mary", "#a")
        first, second = await device(run, "john"), await device(run, "john", "#a")
        watcher.link.documents()
        request = LogOutAll("a.john")
        run.channel.send_nowait(request)
        await request.result()
        assert types(first.link.documents()) == ["logged_out"]
        assert types(second.link.documents()) == ["left", "joined", "logged_out"]
        assert types(watcher.link.documents()) == ["left", "joined"]
        assert not run.hub.state.accounts


async def test_a_person_leaves_a_deleted_account_once(people) -> None:
    async with running_hub(people=people) as run:
        watcher = await run.program("mary", "#a")
        first, second = await device(run, "john", "#a"), await device(run, "john", "#a")
        for client in (watcher, first, second):
            client.link.documents()
        run.post(first, commands.LogOut())
        run.post(second, commands.Quit())
        request = LogOutAll("a.john")
        run.channel.send_nowait(request)
        await request.result()
        assert types(first.link.documents()).count("logged_out") == 1
        assert types(watcher.link.documents()) == ["joined", "left"]
        assert second.user.id not in run.hub.state.users
        assert not run.hub.state.accounts


async def test_a_login_that_a_deletion_overtakes_is_refused(people) -> None:
    async with running_hub(people=people) as run:
        other, client = await run.member("kim"), await run.program()
        run.log.gate = trio.Event()
        run.post(client, log_in("john"))
        await run.turn(other, commands.Say("hi"))  # with which the hub waits for the log
        run.log.gate.set()
        people.accounts.clear()
        await run.settle()
        [refusal] = client.link.documents()
        assert (refusal["type"], refusal["code"]) == ("refusal", "no_such_account")


async def test_devices_are_logged_out_even_if_who_deletes_is_gone(tmp_path, monkeypatch) -> None:
    begun, go_on = trio.Event(), trio.Event()
    delete = Administration.delete_account

    async def slowly(self, account: str) -> None:
        begun.set()
        await go_on.wait()
        await delete(self, account)

    monkeypatch.setattr(Administration, "delete_account", slowly)
    async with chat_on_tcp(store=f"sqlite:{tmp_path / 'chat.db'}") as (chat, port):
        john, phone = await dial_documents(port, nick="john"), await dial_documents(port)
        assert (await john.ask("register", password=PASSWORD))["type"] == "logged_in"
        await phone.ask("login", name="john", password=PASSWORD)
        await john.send("delete_account", password=PASSWORD)
        await begun.wait()
        await chat.kick(john.hello["client"], "gone")
        go_on.set()
        assert (await phone.receive())["type"] == "logged_out"
        assert [user.account for user in await chat.users()] == [""]
        await phone.stream.aclose()


# --- the log --------------------------------------------------------------------------------------


def of_logins(caplog) -> list[logging.LogRecord]:
    told = {"registered", "logged in", "logged out", "login refused"}
    return [record for record in caplog.records if record.message in told]


def lines(caplog) -> list[tuple[str, dict]]:
    fields = ("account", "reason")
    return [
        (record.message, {key: vars(record)[key] for key in fields if key in vars(record)})
        for record in of_logins(caplog)
    ]


async def refusal_of(client: DocumentClient, type: str, **fields: str) -> str:
    answer = await client.ask(type, **fields)
    assert answer["type"] == "refusal"
    return answer["code"]


async def test_the_log_has_logins_but_no_secret(tmp_path, caplog) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with chat_on_tcp(store=f"sqlite:{tmp_path / 'chat.db'}") as (chat, port):
        john = await dial_documents(port, nick="john")
        made, _ = await john.ask_all("register", password=PASSWORD, device="page")
        await john.ask("logout")
        assert await refusal_of(john, "login", name="john", password=WRONG) == "wrong_password"
        # People type a password where a name belongs.
        assert await refusal_of(john, "login", name="hunter2", password=WRONG) == "wrong_password"
        assert await refusal_of(john, "authenticate", token=WRONG) == "bad_token"
        await john.ask("authenticate", token=made["token"])
        assert chat.statistics().logged_in == 1
        assert chat.statistics().logins_refused == 3
        [user] = await chat.users()
        assert (user.nick, user.account) == ("john", "john")
        await john.ask("delete_account", password=PASSWORD)
        [user] = await chat.users()
        assert (user.nick, user.account) == ("anonymous", "")
        await john.stream.aclose()
    john, wrong = {"account": "john"}, {"reason": "wrong_password"}
    assert lines(caplog) == [
        ("registered", john),
        ("logged out", john),
        ("login refused", {**john, **wrong}),
        ("login refused", wrong),
        ("login refused", {"reason": "bad_token"}),
        ("logged in", john),
        ("logged out", john),
    ]
    told = "".join(str(vars(record)) for record in caplog.records)
    for secret in (PASSWORD, WRONG, "hunter2", made["token"], made["recovery"]):
        assert secret not in told
    assert all(record.address.startswith("127.0.0.1:") for record in of_logins(caplog))


class Strict(FakePeople):
    async def log_in(self, *_: object) -> LoggedIn:
        raise Refused("too many wrong passwords", code=Code.TOO_MANY_TRIES)


async def test_tries_that_come_too_soon_are_counted_and_not_logged(caplog) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    async with running_hub(people=Strict()) as run:
        client = await run.program()
        for _ in range(3):
            await run.turn(client, log_in("john"))
        assert run.hub.state.counts.logins_refused == 3
    assert lines(caplog) == []
