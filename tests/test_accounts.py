"""Accounts in a whole chat: over connections, restarts and upgrades."""

from __future__ import annotations

import json
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from documents import DocumentClient, dial_documents, document_client
from loopback import PATIENCE, chat_on_tcp, until
from people import ANOTHER, PASSWORD, WRONG
from snapshots import successor

from trio_chat import Settings, open_chat
from trio_chat.people import hasher, rows
from trio_chat.people.accounts import People
from trio_chat.people.store import PeopleStore
from trio_chat.testing import LineClient, line_client


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'chat.db'}"


async def register(client: DocumentClient, **more: str) -> dict:
    answer, _ = await client.ask_all("register", password=PASSWORD, **more)
    assert answer["type"] == "logged_in", answer
    return answer


async def answer_of(client: LineClient, *lines: str) -> str:
    """Send lines, and return the last line of the answer: prompts have no ends of their own."""
    await client.send(*lines)
    read = bytearray()
    while not read.endswith(b"\n"):
        read += await client.stream.receive_some()
    return read.decode("latin-1").splitlines()[-1].rpartition("does not show it): ")[2]


async def test_a_person_with_telnet_registers_and_logs_in(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with line_client(chat, nick="john") as john:
            recovery = await answer_of(john, "/register", PASSWORD, PASSWORD)
            assert recovery.startswith("> your recovery code is ")
        async with line_client(chat) as john:
            await john.send("/nick john")
            await john.expect(
                "err: the nick john belongs to an account: /login john, or choose another"
            )
            wrong = await answer_of(john, "/login john", WRONG)
            assert wrong.startswith("err: there is no account john with this password")
            right = await answer_of(john, "/login john", PASSWORD)
            assert right == "> you are logged in: I will call you john"


async def test_accounts_outlive_a_restart(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat, document_client(chat, nick="john") as john:
        first = await register(john)
    async with open_chat(Settings(store=store)) as chat, document_client(chat) as john:
        refusal = await john.ask("take_nick", nick="J\u043ehn")  # with a Cyrillic o
        assert (refusal["type"], refusal["code"]) == ("refusal", "nick_registered")
        again = await john.ask("login", name="john", password=PASSWORD)
        assert (again["person"], again["nick"]) == (first["person"], "john")
        assert not again["recovery"]
        assert not again["token"]


async def test_a_device_logs_in_with_its_token_until_it_is_revoked(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            made = await register(john, device="page")
            token = made["token"]
        async with document_client(chat) as john:
            answer = await john.ask("authenticate", token=token)
            assert (answer["type"], answer["nick"]) == ("logged_in", "john")
            [device] = (await john.ask("list_devices"))["devices"]
            assert device["label"] == "page"
            assert made["number"] == answer["number"] == device["number"]
            await john.ask("revoke_device", number=device["number"])
            assert (await john.ask("list_devices"))["devices"] == []
        async with document_client(chat) as john:
            assert (await john.ask("authenticate", token=token))["code"] == "bad_token"


async def test_a_recovery_code_sets_a_new_password_once(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            code = (await register(john))["recovery"]
        async with document_client(chat) as john:
            answer = await john.ask("recover", name="john", code=code, password=ANOTHER)
            assert answer["type"] == "logged_in"
            assert answer["recovery"] not in {"", code}
            await john.ask("logout")
            again = await john.ask("recover", name="john", code=code, password=PASSWORD)
            assert again["code"] == "wrong_password"
            assert (await john.ask("login", name="john", password=ANOTHER))["type"] == "logged_in"


async def test_a_person_gets_another_recovery_code(store: str) -> None:
    async with open_chat(Settings(store=store)) as chat:
        async with document_client(chat, nick="john") as john:
            first = (await register(john))["recovery"]
            assert (await john.ask("renew_recovery", password=WRONG))["code"] == "wrong_password"
            answer = await john.ask("renew_recovery", password=PASSWORD)
            assert answer["type"] == "recovery_renewed"
        async with document_client(chat) as john:
            refusal = await john.ask("renew_recovery", password=PASSWORD)
            assert refusal["code"] == "not_logged_in"
            old = await john.ask("recover", name="john", code=first, password=ANOTHER)
            assert old["code"] == "wrong_password"
            code = answer["recovery"]
            new = await john.ask("recover", name="john", code=code, password=ANOTHER)
            assert new["type"] == "logged_in"
        async with line_client(chat) as john:
            await answer_of(john, "/login john", ANOTHER)
            recovery = await answer_of(john, "/account recovery", ANOTHER)
            assert recovery.startswith("> your recovery code is ")


async def test_a_person_sees_all_that_is_kept_and_deletes_it(store: str, tmp_path: Path) -> None:
    async with open_chat(Settings(store=store)) as chat, document_client(chat, nick="john") as john:
        person = (await register(john, device="page"))["person"]
        kept = json.loads((await john.ask("export_account"))["data"])
        assert (kept["id"], kept["nick"], kept["has_password"]) == (person, "john", True)
        assert [device["label"] for device in kept["devices"]] == ["page"]
        assert "network" not in json.dumps(kept["networks"])
        answer = await john.ask("delete_account", password=PASSWORD)
        assert (answer["type"], answer["nick"]) == ("logged_out", "anonymous")
        refusal = await john.ask("take_nick", nick="john")
        assert (refusal["code"], refusal["reason"]) == (
            "nick_reserved",
            "the nick john belonged to an account that was deleted: choose another",
        )
    assert not any(b"john" in path.read_bytes() for path in tmp_path.glob("chat.people.db*"))


async def test_a_client_that_resumes_is_the_person_that_it_was(store: str) -> None:
    async with chat_on_tcp(store=store) as (_, port):
        john = await dial_documents(port, nick="john")
        await john.stream.aclose()
        back = await dial_documents(port)
        assert (await resume(back, john))["person"] == john.hello["client"]
        person = (await register(back))["person"]
        await back.stream.aclose()
        again = await dial_documents(port)
        assert (await resume(again, john))["person"] == person


async def resume(client: DocumentClient, lost: DocumentClient) -> dict:
    ticket = {name: lost.hello[name] for name in ("client", "token")}
    return await client.ask("resume", **ticket)


async def test_an_upgrade_keeps_people_logged_in(store: str) -> None:
    async with chat_on_tcp(store=store) as (old, port):
        john = await dial_documents(port, nick="john", rooms=("#a",))
        person = (await register(john))["person"]
        phone = await dial_documents(port)
        await phone.ask("login", name="john", password=PASSWORD)
        mary = await dial_documents(port, nick="mary", rooms=("#a",))
        await mary.sync()
        await john.sync()
        async with successor(old):
            said = await john.ask("say", room="#a", text="hi")
            assert (said["author"], said["nick"]) == (person, "john")
            assert (await mary.receive())["author"] == person
            joined = await phone.ask("join", room="#a")
            assert [m["nick"] for m in joined["members"]] == ["john", "mary"]
            assert await mary.sync() == []  # john was there already
            assert (await mary.ask("take_nick", nick="john"))["code"] == "nick_registered"
            await john.ask("leave", room="#a")
            assert await mary.sync() == []
            await phone.ask("leave", room="#a")
            assert (await mary.receive())["type"] == "left"
            assert (await phone.ask("logout"))["type"] == "logged_out"
            again = await phone.ask("login", name="john", password=PASSWORD)
            assert again["person"] == person


async def test_a_person_stays_as_long_as_one_device_goes_over(store: str) -> None:
    """Streams and TLS cannot be handed over."""
    async with trio.open_nursery() as nursery, chat_on_tcp(store=store) as (old, port):
        john = await dial_documents(port, nick="john")
        await register(john)
        mary = await dial_documents(port, nick="mary", rooms=("#a", "#b"))
        for room in ("#a", "#b"):
            for _ in range(2):
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(partial(old.serve_stream, theirs, private=True))
                stream = LineClient(ours)
                await answer_of(stream, "/login john", PASSWORD)
                await stream.send(f"/join {room}")
                await stream.expect(f"> welcome to {room}")
        await john.ask_all("join", room="#a")
        await mary.sync()
        async with successor(old):
            [left] = await mary.sync()
            assert (left["type"], left["room"], left["nick"]) == ("left", "#b", "john")
            members = (await mary.ask("list_members", room="#a"))["members"]
            assert [member["nick"] for member in members] == ["john", "mary"]


WRITING = {
    "register": ("set_password", {"password": PASSWORD}),
    "recover": ("set_password", {"name": "john", "password": ANOTHER}),
    "change_password": ("set_password", {"old": PASSWORD, "new": ANOTHER}),
    "renew_recovery": ("set_recovery", {"password": PASSWORD}),
    "delete_account": ("delete", {"password": PASSWORD}),
}


@pytest.mark.parametrize("command", WRITING)
async def test_requests_before_an_upgrade_are_answered(
    store: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun anew it would be refused, and nobody would ever see the recovery code."""
    name, fields = WRITING[command]
    hashes, begun, released = trio.Event(), trio.Event(), threading.Event()
    hash_now, check, pause = hasher.Hasher._in_thread, People.check, PeopleStore.pause
    write_now = getattr(rows, name)

    async def hash_late(self, work):
        hashed = await hash_now(self, work)
        await hashes.wait()
        return hashed

    def write_late(*arguments) -> None:
        trio.from_thread.run_sync(begun.set)
        released.wait(PATIENCE)
        write_now(*arguments)

    async def check_and_go_on(self) -> None:
        await check(self)
        hashes.set()
        await begun.wait()

    async def pause_and_release(self) -> None:
        released.set()
        await pause(self)

    async with chat_on_tcp(store=store) as (old, port):
        john = await dial_documents(port, nick="john")
        if command != "register":
            code = (await register(john))["recovery"]
            if command == "recover":
                await john.ask("logout")
                fields = {**fields, "code": code}
        monkeypatch.setattr(hasher.Hasher, "_in_thread", hash_late)
        monkeypatch.setattr(rows, name, write_late)
        monkeypatch.setattr(People, "check", check_and_go_on)
        monkeypatch.setattr(PeopleStore, "pause", pause_and_release)
        await john.send(command, id="it", **fields)
        await until(lambda: any(s.query for s in old._hub.state.sessions), "the query")
        async with successor(old):
            answer = await john.receive()
            others = {"delete_account": "logged_out", "renew_recovery": "recovery_renewed"}
            expected = others.get(command, "logged_in")
            assert answer["type"] == expected, answer
            assert bool(answer.get("recovery")) == (
                command in ("register", "recover", "renew_recovery")
            )
            assert await john.sync() == []


async def test_a_store_in_memory_keeps_no_accounts(tmp_path: Path) -> None:
    async with open_chat(Settings()) as chat, document_client(chat, nick="john") as john:
        answer = await john.ask("register", password=PASSWORD)
        assert (answer["type"], answer["code"]) == ("refusal", "unknown_command")
    settings = Settings(store=f"sqlite:{tmp_path / 'a.db'}", accounts=False)
    async with open_chat(settings) as chat, document_client(chat, nick="john") as john:
        answer = await john.ask("register", password=PASSWORD)
        assert answer["code"] == "unknown_command"
