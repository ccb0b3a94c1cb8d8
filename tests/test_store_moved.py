"""A store whose file is removed, moved or replaced while a chat has it open."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import chat_on_tcp, dial, until
from processes import PATIENCE, Talk, environment
from served import Serve

from trio_chat import StoreError
from trio_chat.errors import Refused
from trio_chat.protocol.events import Said
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite import lookout
from trio_chat.roomlog.sqlite.file import open_store
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.snapshot.freezer import Freezer

MOVED = "the store's file was removed, moved or replaced"
SAY = re.compile(
    r"\S+/chat\.db or its lock was removed, moved or replaced: "
    r"put it back, or stop the daemon and start it again"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture(autouse=True)
def _often(monkeypatch) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0)


def remove(path: Path) -> Path:
    path.unlink()
    return path


def move(path: Path) -> Path:
    return path.rename(path.with_name("moved.db"))


def replace(path: Path) -> Path:
    moved = move(path)
    path.write_bytes(moved.read_bytes())
    return moved


def point_nowhere(path: Path) -> Path:
    moved = move(path)
    path.symlink_to("/nonexistent/chat.db")
    return moved


def remove_lock(path: Path) -> Path:
    Path(f"{path}.lock").unlink()
    return path


WAYS = [remove, move, replace, point_nowhere, remove_lock]


@pytest.mark.parametrize("lose", WAYS)
async def test_it_is_noticed_and_said_once(lose: Callable, path: Path, caplog) -> None:
    async with chat_on_tcp(store=f"sqlite:{path}") as (chat, port):
        john = await dial(port, nick="john", room="#a")
        await until(lambda: chat.health().problems == [])
        lose(path)
        await until(lambda: chat.health().problems == [MOVED])
        for text in ("one", "two"):
            await john.send(f"/msg {text}", "/who")
            await john.expect("> in #a: john")
    [record] = [record for record in caplog.records if MOVED in record.getMessage()]
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"{MOVED}: put it back, or stop and start the daemon"
    assert record.file == str(path)


async def test_it_is_well_again_once_the_file_is_back(path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    async with chat_on_tcp(store=f"sqlite:{path}") as (chat, port):
        john = await dial(port, nick="john", room="#a")
        await john.send("/msg one", "/who")
        moved = point_nowhere(path)
        await until(lambda: chat.health().problems == [MOVED])
        moved.replace(path)
        await until(lambda: chat.health().problems == [])
        async with chat.frozen():
            pass
    assert "the store's file is back" in [record.getMessage() for record in caplog.records]


async def test_a_write_that_fails_opens_no_other_file(path: Path) -> None:
    async with open_sqlite_log(path, "process", Retention(10, 10)) as log:
        await log.append([Said("#a", "1", "n", "one")])
        with sqlite3.connect(path) as file:
            file.execute("DELETE FROM batches")  # so that the next one fails
        file.close()
        replace(path)
        for _ in range(3):
            [refused] = await log.append([Said("#a", "1", "n", "two")])
            assert isinstance(refused, Refused)
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT count(*) FROM batches").fetchall() == [(0,)]
    file.close()


# --- another process ------------------------------------------------------------------------------


@pytest.mark.parametrize("lose", WAYS)
async def test_nothing_stands_still_for_a_process_that_could_not_go_on(
    lose: Callable, path: Path, monkeypatch
) -> None:
    def pause(*_: object) -> None:
        pytest.fail("it was paused")

    monkeypatch.setattr(Freezer, "_begin", pause)
    async with chat_on_tcp(store=f"sqlite:{path}") as (chat, port):
        john = await dial(port, nick="john", room="#a")
        lose(path)
        with pytest.raises(StoreError, match=SAY):
            async with chat.frozen():
                pass
        await john.send("/who")
        await john.expect("> in #a: john")


async def test_a_file_that_cannot_be_read_is_noticed_too(path: Path) -> None:
    async with open_sqlite_log(path, "process", Retention(10, 10)) as log:
        await log.append([Said("#a", "1", "n", "one")])
        await log.check()
        path.write_bytes(b"\0" * path.stat().st_size)
        os.truncate(f"{path}-wal", 0)
        with pytest.raises(StoreError, match=f"cannot use {path}: "):
            await log.check()


def test_an_upgrade_is_refused_and_the_daemon_goes_on(
    serve: Serve, talk: Talk, tmp_path: Path
) -> None:
    path = tmp_path / "chat.db"
    daemon = serve("--store", f"sqlite:{path}")
    john = talk(daemon, "/join #a", "/msg one")
    path.unlink()
    answer = daemon.ask("upgrade")
    assert answer["error"] == f"process {daemon.process.pid} continues"
    [problem] = answer["problems"]
    assert SAY.fullmatch(problem)
    while MOVED not in daemon.ask("status")["problems"]:
        pass  # the daemon looks five times a second
    john.say("/who")
    john.hears_until("> in #a: anonymous")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells what is open")
def test_a_second_daemon_does_not_begin_a_file_that_the_first_has_not_left(path: Path) -> None:
    held = open_store(path, "process")
    for name in path.parent.glob("chat.db*"):
        name.unlink()
    ran = subprocess.run(
        [sys.executable, "-m", "trio_chat", "--port", "0", "--store", f"sqlite:{path}"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"trio-chat: {path} is in use by process {os.getpid()}, though its lock was removed: "
        f"stop that one, or start this one with another --port or --store\n"
    )
    assert not path.exists()
    held.close()
    open_store(path, "process").close()
