"""Accounts in the terminal client: what is asked for, what is sent, and what is kept in files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import platformdirs
import pytest
import trio
from attrs import evolve
from test_terminal_conversation import Shown

from trio_chat.errors import Code, NoConnection, Refused
from trio_chat.protocol.account_rows import ACCOUNT_ROWS
from trio_chat.protocol.chat_rows import ROWS
from trio_chat.protocol.events import (
    Hello,
    Limits,
    LoggedIn,
    LoggedOut,
    Refusal,
    Said,
    Usage,
    Welcomed,
)
from trio_chat.remote import RemoteClient, Resumed
from trio_chat.terminal import accounts, logins
from trio_chat.terminal.accounts import (
    Confidential,
    asks_of,
    carry_out,
    this_device,
    with_secrets,
)
from trio_chat.terminal.conversation import Conversation
from trio_chat.terminal.logins import Logins, default_directory
from trio_chat.terminal.screen import Screen

URL = "wss://chat.example:8888/ws"
WITHOUT = {row.name for row in ROWS}
USAGES = [Usage(row.name, row.usage, row.help) for row in (*ROWS, *ACCOUNT_ROWS)]
WITH = WITHOUT | {row.name for row in ACCOUNT_ROWS}


class Asked:
    """A client that notes what it is asked, and refuses or breaks if a test says so."""

    id, nick, connected = "1", "john", True
    limits = Limits(*range(7))
    hello = Hello("1", "john", "", 0.0, limits, USAGES)
    commands = USAGES

    def __init__(self, *events: object, fails: Exception | None = None) -> None:
        self.events = list(events)
        self.fails = fails
        self.asked: list[tuple[str, ...]] = []

    def __getattr__(self, name: str) -> object:
        async def ask(*arguments: str) -> None:
            await trio.lowlevel.checkpoint()
            self.asked.append((name, *arguments))
            if self.fails is not None:
                raise self.fails

        if name.startswith("__"):
            raise AttributeError(name)
        return ask

    async def history(self, *_: object, **__: object) -> list[object]:
        await trio.lowlevel.checkpoint()
        return []

    async def rooms(self) -> list[str]:
        await trio.lowlevel.checkpoint()
        return []

    async def __anext__(self) -> object:
        await trio.lowlevel.checkpoint()
        if self.events:
            return self.events.pop(0)
        await trio.sleep_forever()  # until cancelled
        raise AssertionError


@pytest.mark.parametrize(
    ("line", "prompts"),
    [
        ("/login john", ["password"]),
        ("  /LOGIN john", ["password"]),
        ("/login", ["password"]),  # a line with a password may follow it all the same
        ("/register", ["password", "the password again"]),
        ("/password", ["old password", "new password", "the new password again"]),
        ("/recover john", ["recovery code", "new password"]),
        ("/account delete", ["password, to delete your account"]),
        ("/account", []),
        ("/account devices", []),
        ("/logout", []),
        ("login john", []),
        ("", []),
        ("/", []),
    ],
)
def test_the_screen_asks_for_these(line: str, prompts: list[str]) -> None:
    for commands in (WITH, WITHOUT):
        assert [ask.prompt for ask in asks_of(line, commands)] == prompts


def test_a_programs_own_command_has_no_secret() -> None:
    assert asks_of("/login john", {*WITHOUT, "login"}) == ()
    assert list(with_secrets(["/login john", "x"], accounts=False)) == ["/login john", "x"]


def test_lines_that_were_pasted_with_a_command_are_its_secrets() -> None:
    def read(*lines: str) -> list[str | Confidential]:
        return list(with_secrets(lines, accounts=True))

    assert read("hi", "/login john", "x y", "there") == [
        "hi",
        Confidential("/login john", ("x y",)),
        "there",
    ]
    [half] = read("/register", "x")
    assert isinstance(half, Confidential)
    assert [ask.prompt for ask in half.asks] == ["the password again"]
    # Without the words that it needs, a command asks for nothing: the server says what it lacks.
    assert read("/login", "/account delete it") == ["/login", "/account delete it"]


@pytest.mark.parametrize(
    ("line", "secrets", "asked"),
    [
        ("/Login John", ["p"], ("log_in", "John", "p", "here")),
        ("/register", ["p", "p"], ("register", "p", "here")),
        ("/password", ["o", "n", "n"], ("change_password", "o", "n", "here")),
        ("/recover john", ["c", "n"], ("recover", "john", "c", "n", "here")),
        ("/account DELETE", ["p"], ("delete", "p")),
        ("/login", ["p"], ("command", "/login")),
        ("/login two words", ["p"], ("command", "/login two words")),
        ("/register me", ["p", "p"], ("command", "/register me")),
        ("/account delete it", ["p"], ("command", "/account delete it")),
    ],
)
async def test_the_screen_sends_these(
    line: str, secrets: Iterable[str], asked: tuple[str, ...]
) -> None:
    client = Asked()
    command = Confidential(line, tuple(secrets))
    await carry_out(cast("RemoteClient", client), command, "here")
    assert client.asked == [asked]


async def test_two_passwords_that_differ_are_not_sent() -> None:
    client = Asked()
    with pytest.raises(Refused, match="the two passwords differ"):
        await carry_out(
            cast("RemoteClient", client), Confidential("/password", ("o", "n", "m")), None
        )
    assert client.asked == []


async def test_a_server_without_accounts_gets_no_secret() -> None:
    client = Asked()
    client.__dict__["hello"] = evolve(Asked.hello, commands=USAGES[: len(ROWS)])
    await carry_out(cast("RemoteClient", client), Confidential("/login john", ("p",)), None)
    assert client.asked == [("command", "/login john")]


def test_secrets_show_in_no_text() -> None:
    assert "hush" not in repr(Confidential("/login john", ("hush",)))


def test_the_name_of_this_device_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts.socket, "gethostname", lambda: "host\n7")
    assert this_device() == "terminal on host7"
    monkeypatch.setattr(accounts.socket, "gethostname", lambda: "x" * 64)
    assert len(this_device()) == 40


# --- in a conversation ----------------------------------------------------------------------------


async def typed(client: Asked, directory: Path | None, *lines: Confidential, until: str) -> Shown:
    """The screen once these were typed."""
    screen = Shown()
    conversation = Conversation(
        cast("RemoteClient", client), cast("Screen", screen), Logins(URL, directory), in_room=True
    )
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.run)
            await screen.waits(lambda state: state.window is not None)
            assert screen.state.window is not None
            for line in lines:
                screen.typed.give([(line, screen.state.window)])
            await screen.shows(until)
            screen.over.set()
    assert screen.state.accounts
    return screen


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (Refused("this connection is not encrypted", code=Code.NOT_ENCRYPTED), "not encrypted"),
        (NoConnection("gone"), "it may be done, or not: /login john"),
    ],
)
async def test_a_login_that_fails_is_told_and_sent_once(failure: Exception, shown: str) -> None:
    client = Asked(Welcomed("#a", "#a"), fails=failure)
    screen = await typed(client, None, Confidential("/login john", ("hush",)), until=shown)
    assert client.asked == [("log_in", "john", "hush", this_device())]
    assert not any("hush" in line for line in screen.lines())


async def test_the_kept_login_follows_the_events(tmp_path: Path) -> None:
    events = [Welcomed("#a", "#a"), LoggedIn("a.x", "john", "t1")]
    screen = await typed(Asked(*events), tmp_path, until="you are logged in as john")
    assert not any("t1" in line for line in screen.lines())
    assert Logins(URL, tmp_path).token("john") == "t1"
    events = [Welcomed("#a", "#a"), LoggedIn("a.x", "john", "t2"), LoggedOut("1", "anonymous")]
    await typed(Asked(*events), tmp_path, until="you are logged out")
    assert Logins(URL, tmp_path).token("john") == ""


async def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    events = [Welcomed("#a", "#a"), LoggedIn("a.x", "john", "t1")]
    screen = await typed(Asked(*events), blocked, until="the next start may not know this login")
    assert any(line.endswith("File exists") for line in screen.lines())


async def test_it_knows_itself_when_it_is_back_as_another() -> None:
    back = Resumed("john", ("#a",), anew=True)

    class Back(Asked):
        @property
        def id(self) -> str:  # type: ignore[override]  # it is fixed in the other one
            return "1" if back in self.events else "9"

    client = Back(Welcomed("#a", "#a"), back, Said("#a", "9", "john", "I, john", 1, 0.0))
    screen = await typed(client, None, until="I, john")
    assert screen.rung == 0


# --- in files -------------------------------------------------------------------------------------


def logged_in(nick: str, token: str, directory: Path, url: str = URL) -> None:
    assert Logins(url, directory).take(LoggedIn(f"a.{nick}", nick, token)) == ""


def test_a_login_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "logins"
    logged_in("John", "t1", directory)
    logged_in("John", "t2", directory)
    [file] = directory.iterdir()
    assert (file.stat().st_mode & 0o777, directory.stat().st_mode & 0o777) == (0o600, 0o700)
    assert json.loads(file.read_text()) == {"server": URL, "nick": "John", "token": "t2"}
    assert Logins(URL, directory).token("john") == "t2"


def test_each_server_and_account_has_its_own(tmp_path: Path) -> None:
    plain = URL.replace("wss", "ws")
    logged_in("john", "t1", tmp_path)
    logged_in("jack", "t2", tmp_path)
    logged_in("john", "t3", tmp_path, plain)
    assert Logins(URL, tmp_path).token("john") == "t1"
    assert Logins(URL, tmp_path).token("jack") == "t2"
    assert Logins(URL, tmp_path).token("jim") == ""
    assert Logins(plain, tmp_path).token(None) == "t3"


def test_without_a_nick_the_one_that_was_used_last_counts(tmp_path: Path) -> None:
    for nick in ("john", "jack"):
        logged_in(nick, nick, tmp_path)
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0) if b"john" in file.read_bytes() else (1, 1))
    assert Logins(URL, tmp_path).token(None) == "jack"
    assert Logins(URL, tmp_path).token("john") == "john"
    assert Logins(URL, tmp_path).token(None) == "john"


@pytest.mark.parametrize(
    "event", [LoggedOut("1", "anonymous"), Refusal("logged in no more", Code.BAD_TOKEN)]
)
def test_a_login_that_has_ended_is_forgotten(event: LoggedOut | Refusal, tmp_path: Path) -> None:
    for nick in ("john", "jack"):
        logged_in(nick, nick, tmp_path)
    kept = Logins(URL, tmp_path)
    assert kept.take(event) == ""  # it was not this client's
    assert kept.token("john") == "john"
    assert kept.take(Refusal("taken", Code.NICK_TAKEN)) == ""
    assert kept.take(event) == ""
    assert kept.token("john") == ""
    assert kept.token(None) == "jack"


def test_one_account_is_forgotten_or_all(tmp_path: Path) -> None:
    for nick in ("john", "jack", "jim"):
        logged_in(nick, nick, tmp_path)
    kept = Logins(URL, tmp_path)
    kept.forget("JOHN")
    assert [kept.token(nick) for nick in ("john", "jack")] == ["", "jack"]
    kept.forget(None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"server": 1}', '{"nick": "john"}'])
def test_other_files_are_passed_over(text: str, tmp_path: Path) -> None:
    logged_in("john", "t1", tmp_path)
    (tmp_path / "other.json").write_text(text)
    kept = Logins(URL, tmp_path)
    assert kept.token(None) == "t1"
    kept.forget(None)
    assert [file.name for file in tmp_path.iterdir()] == ["other.json"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged_in("john", "t1", tmp_path)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device", "there")

    monkeypatch.setattr(Path, "replace", full)
    told = Logins(URL, tmp_path).take(LoggedIn("a.x", "john", "t2"))
    assert told == "the next start may not know this login: there: No space left on device"
    assert Logins(URL, tmp_path).token("john") == "t1"
    assert len(list(tmp_path.iterdir())) == 1


def test_without_a_home_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: str) -> Path:
        raise RuntimeError

    for found in (fails, lambda _: Path("~/state")):
        monkeypatch.setattr(platformdirs, "user_state_path", found)
        assert default_directory() is None
    kept = Logins(URL, None)
    assert kept.take(LoggedIn("a.x", "john", "t1")) == ""
    assert kept.token("john") == ""
    kept.forget(None)
    assert logins.platformdirs is platformdirs
