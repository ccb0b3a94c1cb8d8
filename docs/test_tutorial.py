"""The tutorial's files do what the page says, and pass `mypy --strict`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
import trio
from named_blocks import write_files

import trio_chat
from trio_chat.testing import LineClient, line_client

TUTORIAL = Path(__file__).parent / "tutorial.md"
FILES = ["reminder", "test_reminder", "serve", "elsewhere", "serve_with_command"]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The tutorial's files, imported."""
    assert [path.stem for path in write_files(TUTORIAL, tmp_path)] == FILES
    monkeypatch.syspath_prepend(tmp_path)
    for name in FILES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {name: __import__(name) for name in FILES}
    for name in FILES:
        monkeypatch.delitem(sys.modules, name)
    return found


def test_the_files_pass_mypy_strict(tmp_path: Path) -> None:
    write_files(TUTORIAL, tmp_path)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", "."]
    checked = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_test_runs_as_a_program(tmp_path: Path) -> None:
    write_files(TUTORIAL, tmp_path)
    program = [sys.executable, "test_reminder.py"]
    ran = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "it works\n"


async def test_the_bot_reminds(modules: dict[str, ModuleType], autojump_clock: object) -> None:
    del autojump_clock  # it is there so that ten minutes pass at once
    await modules["test_reminder"].test_it_reminds_after_ten_minutes()


async def test_the_bot_takes_so_many_requests(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    del autojump_clock  # as above
    monkeypatch.setattr(modules["reminder"], "MOST", 1)
    async with (
        trio_chat.open_chat() as chat,
        chat.connect("reminder") as bot,
        line_client(chat, nick="john", room="#general") as john,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(modules["reminder"].run, bot, "#general")
        await john.expect("> reminder joined the room")
        await john.send("/msg remind 1 tea", "/msg remind 2 coffee", "/msg remind me")
        await john.expect("> reminder: john: I am busy", "> reminder: john: tea")
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[int]:
    """Run a file that serves; gives its port."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(module.main, 0)
            printed = ""
            while not printed.endswith("\n"):
                await trio.sleep(0.01)  # nothing else says that it has begun
                printed += capsys.readouterr().out
            assert printed.startswith("telnet 127.0.0.1 ")
            yield int(printed.split()[-1])
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def dialled(port: int) -> AsyncIterator[LineClient]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield LineClient(stream)


async def test_it_serves(
    modules: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(modules["serve"], capsys) as port, dialled(port) as john:
        await john.send("/nick john", "/join #general", "/msg remind 0 tea")
        await john.lines(2)
        await john.expect("> reminder: john: tea")


async def test_it_runs_elsewhere(modules: dict[str, ModuleType]) -> None:
    with trio.fail_after(30):
        async with (
            trio_chat.open_chat() as chat,
            line_client(chat, nick="john", room="#general") as john,
            trio.open_nursery() as nursery,
        ):
            [(host, port)] = await chat.listen(port=0)
            nursery.start_soon(modules["elsewhere"].main, f"ws://{host}:{port}/ws")
            await john.expect("> reminder joined the room")
            await john.send("/msg remind 0 tea")
            await john.expect("> reminder: john: tea")
            nursery.cancel_scope.cancel()


async def test_it_has_a_command(
    modules: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(modules["serve_with_command"], capsys) as port, dialled(port) as john:
        await john.send("/minutes 2", "/minutes two")
        await john.expect("> 120 minutes", "err: hours are required, usage: /minutes HOURS")
