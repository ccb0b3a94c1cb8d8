"""A user without a home directory, as in many a container."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from processes import Run

from trio_chat.daemon import run as daemon_run

PROBLEM = (
    "trio-chat: there is no home directory for the file, because HOME is not set: "
    "give --store sqlite:PATH or --store memory\n"
)


@pytest.fixture(autouse=True)
def _no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(user: int) -> None:
        raise KeyError(user)

    for name in ("HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", [("serve",), ("check",)])
def test_it_is_told_in_a_line_and_nothing_is_made(command: tuple[str], run: Run) -> None:
    ran = run(*command)
    assert (ran.code, ran.out, ran.err) == (2, "", PROBLEM)
    assert list(Path().iterdir()) == []


def test_other_stores_need_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("check").code == 2
    monkeypatch.setenv("TRIO_CHAT_STORE", "memory")
    assert run("check").code == 0
    monkeypatch.setenv("TRIO_CHAT_STORE", "auto")
    monkeypatch.setenv("TRIO_CHAT_PORT", "0")
    assert run("check").code == 0


def test_without_a_place_for_a_control_socket_there_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_runtime_path", lambda _: Path("~/run/trio-chat"))
    with pytest.raises(OSError, match="HOME is not set"):
        daemon_run.default_path("8888")
    ran = run("status")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("trio-chat: no daemon of this user is running")
