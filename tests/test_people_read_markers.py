"""Read markers of accounts: when they are written, and what is left of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from people import HOME, JOHN, PASSWORD, KeptInFile, people_in

from trio_chat.errors import StoreError
from trio_chat.people.accounts import People
from trio_chat.people.read_markers import WRITE_SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "8888.people.db"


async def john(people: People) -> str:
    return (await people.register(JOHN, PASSWORD, HOME)).identity.id


def count_work(people: People, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the pieces of work that the store does from now on."""
    done: list[object] = []
    run = people.read_markers._store.run

    async def counted(work, **options):
        done.append(work)
        return await run(work, **options)

    monkeypatch.setattr(people.read_markers._store, "run", counted)
    return done


async def test_markers_are_written_together(path, monkeypatch, autojump_clock) -> None:
    async with people_in(path) as people, trio.open_nursery() as nursery:
        account = await john(people)
        done = count_work(people, monkeypatch)
        nursery.start_soon(people.read_markers.keep)
        for until in range(1, 1_000):
            people.read_markers.note(account, f"#r{until % 5}", until)
        await trio.sleep(WRITE_SECONDS * 5.5)  # on the virtual clock
        assert len(done) == 1
        assert (await people.export(account)).read_markers["#r4"] == 999
        nursery.cancel_scope.cancel()


async def test_a_marker_only_goes_forward(path) -> None:
    async with people_in(path) as people:
        account = await john(people)
        for until, newest in ((5.0, 5.0), (7.0, 7.0), (3.0, 7.0)):
            people.read_markers.note(account, "#a", until)
            assert (await people.export(account)).read_markers == {"#a": newest}
        entered = await people.log_in(JOHN, PASSWORD, HOME)
        assert entered.read_markers == {"#a": 7.0}


async def test_a_login_that_has_missed_a_marker_gets_it(path) -> None:
    async with people_in(path) as people:
        account = await john(people)
        people.read_markers.note(account, "#a", 5.0)
        early = await people.log_in(JOHN, PASSWORD, HOME)
        assert early.read_markers == {}
        newest = people.read_markers.newest
        assert newest(account, early.read_markers) == {"#a": 5.0}
        await people.read_markers.write()
        assert newest(account, early.read_markers) == {"#a": 5.0}
        assert newest(account, {"#a": 6.0}) == {"#a": 6.0}


async def test_a_marker_of_a_deleted_account_is_dropped(tmp_path: Path) -> None:
    kept = KeptInFile(tmp_path)
    async with kept.open() as people:
        account = await john(people)
        people.read_markers.note(account, "#secret-room", 5.0)
        await people.read_markers.write()
        assert b"#secret-room" in kept.content()
        people.read_markers.note(account, "#another-room", 6.0)
        await people.delete(account, PASSWORD, HOME)
        await people.read_markers.write()
        assert b"-room" not in kept.content()
        again = await people.administration.all()
        assert again == ()


async def test_a_failure_is_logged_and_costs_only_these_markers(path, monkeypatch, caplog) -> None:
    async with people_in(path) as people:
        account = await john(people)

        async def fail(work, **options):
            raise StoreError("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(people.read_markers._store, "run", fail)
            people.read_markers.note(account, "#a", 5.0)
            await people.read_markers.write()
        assert [record.reason for record in caplog.records] == ["the disk is full"]
        people.read_markers.note(account, "#a", 6.0)
        assert (await people.export(account)).read_markers == {"#a": 6.0}


async def test_nothing_is_written_while_the_store_is_released(path) -> None:
    async with people_in(path) as people:
        account = await john(people)
        await people.pause()
        people.read_markers.note(account, "#a", 5.0)
        with trio.fail_after(5):
            await people.read_markers.write()
        assert people.read_markers.recent() == {account: {"#a": 5.0}}
        people.resume()
        await people.read_markers.write()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT room, until FROM read_markers").fetchall() == [
                ("#a", 5.0)
            ]


async def test_markers_of_many_accounts_are_written_in_pieces(path, monkeypatch) -> None:
    async with people_in(path) as people:
        account = await john(people)
        done = count_work(people, monkeypatch)
        for number in range(150):
            people.read_markers.note(f"a.{number}", "#a", 5.0)
        people.read_markers.note(account, "#a", 5.0)
        await people.read_markers.write()
        assert len(done) == 2
        assert (await people.export(account)).read_markers == {"#a": 5.0}
