"""Messages that wait in the file of the accounts: how many, how long, and what is left of them."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
from people import HOME, JACK, JOHN, PASSWORD, name, people_in, refused

from trio_chat.errors import StoreError
from trio_chat.people import mail as mails
from trio_chat.people.accounts import People
from trio_chat.people.schema import SCHEMA_VERSION, STEPS
from trio_chat.roomlog.sqlite.file import beside

SECRET = "psst, a secret of mine"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "8888.people.db"


async def account(people: People, nick: str) -> str:
    made = await people.administration.add(name(nick))
    assert made
    return people.holder(name(nick).keys[:1]) or ""


async def delivered(people: People, receiver: str, *, shown: bool = True) -> list[str]:
    """The texts that are shown; `shown` is whether somebody has got them."""
    texts: list[str] = []

    async def show(messages) -> bool:
        await trio.lowlevel.checkpoint()
        texts.extend(message.text for message in messages)
        return shown

    await people.mail.deliver(receiver, show)
    return texts


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (path, *beside(path)) if file.exists())


async def test_messages_wait_in_order_until_somebody_has_got_them(kept) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        first = await people.mail.leave(jack, john, SECRET)
        assert (first.sender_nick, first.receiver_nick, first.text) == ("jack", "john", SECRET)
        assert abs(first.time - time.time()) < 60
        await people.mail.leave(jack, john, "and more", casefolded="john")
        assert people.mail.waits_for(john)
        assert not people.mail.waits_for(jack)
        assert await delivered(people, john, shown=False) == [SECRET, "and more"]
    async with kept.open() as people:  # as after a crash
        assert people.mail.waits_for(john)
        assert await delivered(people, john) == [SECRET, "and more"]
        assert await delivered(people, john) == []
        assert not people.mail.waits_for(john)
        assert SECRET.encode() not in kept.content()


async def test_a_name_that_only_looks_like_the_accounts_gets_nothing(kept) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        with refused("no_such_nick"):
            await people.mail.leave(jack, john, "hi", casefolded="j\u043ehn")
        with refused("no_such_nick"):
            await people.mail.leave(jack, "a.nobody", "hi")
        assert not people.mail.waits_for(john)


async def test_waiting_messages_are_bounded(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        mary = await account(people, "mary")
        monkeypatch.setattr(mails, "MOST_OF_SENDER", 3)
        for receiver in (john, john, mary):
            await people.mail.leave(jack, receiver, "hi")
        with refused("too_much_waits") as caught:
            await people.mail.leave(jack, mary, "hi")
        assert str(caught.value).startswith("3 messages of yours wait already")
        monkeypatch.setattr(mails, "MOST_MESSAGES", 2)
        with refused("too_much_waits") as caught:
            await people.mail.leave(mary, john, "hi")
        assert str(caught.value).startswith("too many messages wait for john")
        monkeypatch.setattr(mails, "MOST_MESSAGES", 100)
        monkeypatch.setattr(mails, "MOST_BYTES", 8)
        with refused("too_much_waits"):
            await people.mail.leave(mary, john, "\u20ac\u20ac")  # 6 bytes, beside 4
        await people.mail.leave(mary, john, "\u20ac")
        assert await delivered(people, john) == ["hi", "hi", "\u20ac"]
        await people.mail.leave(jack, mary, "hi")


async def test_a_message_is_forgotten_after_its_time(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        await people.mail.leave(jack, john, SECRET)
        later = time.time() + mails.KEPT_SECONDS + 1
        with monkeypatch.context() as patch:
            patch.setattr(mails.time, "time", lambda: later)
            assert await delivered(people, john) == []
        await people.mail.leave(jack, john, SECRET)
    with monkeypatch.context() as patch:
        patch.setattr(mails.time, "time", lambda: later)
        async with kept.open() as people:
            assert not people.mail.waits_for(john)
            assert SECRET.encode() not in kept.content()


@pytest.mark.parametrize("deleted", [JOHN, JACK], ids=["receiver", "sender"])
async def test_a_message_goes_with_either_account(kept, deleted) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        await people.mail.leave(jack, john, SECRET)
        await people.administration.delete(deleted)
        assert SECRET.encode() not in kept.content()
        assert await delivered(people, john) == []


async def test_both_see_it_in_what_is_kept_of_them(kept) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        mary = await account(people, "mary")
        await people.mail.leave(jack, john, SECRET)
        for one in (john, jack):
            [message] = (await people.export(one)).messages
            assert (message.sender, message.receiver, message.text) == (jack, john, SECRET)
        assert (await people.export(mary)).messages == ()
        assert SECRET not in repr(await people.export(john))


async def test_a_delivery_ends_before_the_file_is_released(kept) -> None:
    """Another process would deliver the same messages again."""
    async with kept.open() as people, trio.open_nursery() as nursery:
        john, jack = await account(people, "john"), await account(people, "jack")
        await people.mail.leave(jack, john, SECRET)
        began, goes_on, paused = trio.Event(), trio.Event(), trio.Event()

        async def show(_) -> bool:
            began.set()
            await goes_on.wait()
            return True

        async def pause() -> None:
            await people.pause()
            paused.set()

        nursery.start_soon(people.mail.deliver, john, show)
        await began.wait()
        nursery.start_soon(pause)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not paused.is_set()
        goes_on.set()
        await paused.wait()
        assert SECRET.encode() not in kept.content()
        people.resume()
        await people.mail.leave(jack, john, "more")
        assert await delivered(people, john) == ["more"]


async def test_a_message_waits_on_if_it_cannot_be_removed(
    kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept.open() as people:
        john, jack = await account(people, "john"), await account(people, "jack")
        await people.mail.leave(jack, john, SECRET)

        async def fails(self, _) -> None:
            await trio.lowlevel.checkpoint()
            raise StoreError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(mails.Mail, "_remove", fails)
            with pytest.raises(StoreError):
                await delivered(people, john)
        assert await delivered(people, john) == [SECRET]


@pytest.mark.parametrize("handed_over", [False, True])
async def test_a_file_of_the_first_version_gets_what_later_ones_have(
    path: Path, *, handed_over: bool
) -> None:
    async with people_in(path) as people:
        await people.register(JOHN, PASSWORD, HOME)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for table in re.findall(r"CREATE TABLE (\w+)", "".join(STEPS)):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 1")
    async with people_in(path, handed_over=handed_over) as people:
        john = people.holder(JOHN.keys) or ""
        jack = await account(people, "jack")
        await people.mail.leave(jack, john, "hi")
        assert await delivered(people, john) == ["hi"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(SCHEMA_VERSION,)]
        made = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema")}
        assert all(sql.strip() in made for sql in "".join(STEPS).split(";") if sql.strip())
