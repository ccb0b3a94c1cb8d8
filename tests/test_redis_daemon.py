"""A daemon on an engine: its password stays secret and can change, and connections may end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from engine import Engine, running
from processes import PATIENCE
from served import Serve, Served

SECRET, NEW = "hunter2", "correct-horse"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running(tmp_path / "engine") as engine:
        yield engine


@contextmanager
def connected(served: Served) -> Iterator[tuple[socket.socket, TextIO]]:
    with (
        socket.create_connection(("127.0.0.1", served.port), PATIENCE) as client,
        client.makefile("r", encoding="utf-8") as lines,
    ):
        yield client, lines


def said(served: Served) -> str:
    """All that the daemon says of itself, in its log and to its operator."""
    shown = served.command("status")
    out, err = shown.communicate(timeout=PATIENCE)
    assert shown.returncode == 0, err
    return f"{served.status()}\n{out}\n{err}\n{served.log.read_text()}"


def configure(tmp_path: Path, engine: Engine, password: str) -> str:
    config = tmp_path / "chat.toml"
    config.write_text(f'store = "redis://ann:{password}@127.0.0.1:{engine.port}/2"\n')
    return str(config)


def test_a_password_in_a_url_is_not_shown_and_can_be_changed(engine, serve: Serve, tmp_path):
    # These are the ones in docs/cluster.md.
    rights = ("~{trio_chat}*", "+@read", "+@write", "+@scripting", "+@connection", "+info", "+time")
    engine.ask("ACL", "SETUSER", "ann", "on", f">{SECRET}", *rights)
    served = serve("--config", configure(tmp_path, engine, SECRET))
    place = f"redis://ann@127.0.0.1:{engine.port}/2"
    assert served.status()["store"] == place
    assert f"store={place}" in served.logs("store opened")
    with connected(served) as (client, lines):
        client.sendall(b"/nick john\n/join #a\n/msg before\n/history\n")
        while "john: before" not in lines.readline():
            pass
        # Both passwords hold until all nodes have the new one.
        engine.ask("ACL", "SETUSER", "ann", f">{NEW}")
        configure(tmp_path, engine, NEW)
        served.upgraded()
        engine.ask("ACL", "SETUSER", "ann", f"<{SECRET}")
        engine.ask("CLIENT", "KILL", "TYPE", "normal")
        client.sendall(b"/msg after\n/history\n")
        while "john: after" not in lines.readline():
            pass
    everything = said(served)
    assert SECRET not in everything
    assert NEW not in everything


def test_histories_of_an_engine_that_is_away(engine, serve: Serve):
    served = serve("--store", f"redis://127.0.0.1:{engine.port}")
    with connected(served) as (client, lines):
        client.sendall(b"/nick john\n/join #a\n/msg hi\n/history\n")
        while "john: hi" not in lines.readline():
            pass
        # The connection for histories is idle, so nobody notices that it ends.
        engine.ask("CLIENT", "KILL", "TYPE", "normal")
        client.sendall(b"/history\n")
        while "john: hi" not in (line := lines.readline()):
            assert "cannot" not in line
        engine.kill()
        for command in ("/history", "/search hi"):
            client.sendall(f"{command}\n".encode())
            while "cannot be read now" not in lines.readline():
                pass
    log = served.logs("the room log cannot be read", times=2)
    assert 'room=#a reason="the store does not answer: no connection to 127.0.0.1:' in log
    assert "Traceback" not in log


def test_a_running_daemon_waits_for_a_password_that_is_right_again(engine, serve, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text(f"{SECRET}\n")
    engine.ask("CONFIG", "SET", "requirepass", SECRET)
    url = f"redis://127.0.0.1:{engine.port}"
    served = serve("--store", url, "--store-password-file", str(secret))
    with connected(served) as (client, lines):
        client.sendall(b"/nick john\n/join #a\n")
        while "welcome to #a" not in lines.readline():
            pass
        engine.command(SECRET, "CONFIG", "SET", "requirepass", NEW)
        engine.command(NEW, "CLIENT", "KILL", "TYPE", "normal")
        served.logs("WRONGPASS")
        client.sendall(b"/msg lost\n")
        assert "try again later" in lines.readline()
        engine.command(NEW, "CONFIG", "SET", "requirepass", SECRET)
        served.logs("the store answers again")
        client.sendall(b"/msg found\n/history\n")
        while "john: found" not in (line := lines.readline()):
            assert "john: lost" not in line
    everything = said(served)
    assert SECRET not in everything
    assert NEW not in everything


@pytest.mark.parametrize("trouble", ["hangs", "has another password"])
def test_an_upgrade_that_could_not_use_the_engine_leaves_the_daemon_as_it_is(
    engine, serve: Serve, tmp_path, trouble
):
    engine.ask("ACL", "SETUSER", "ann", "on", f">{SECRET}", "~*", "+@all")
    served = serve("--config", configure(tmp_path, engine, SECRET))
    with connected(served) as (client, lines):
        client.sendall(b"/nick john\n/join #a\n/msg before\n/history\n")
        while "john: before" not in lines.readline():
            pass
        if trouble == "hangs":
            engine.hang()
            expected = "cannot use Redis"
        else:
            configure(tmp_path, engine, NEW)
            expected = "refuses the password"
        answer = served.ask("upgrade")
        assert expected in str(answer), answer
        engine.go_on()
        refused = True
        while refused:  # as long as the daemon has not noticed that the engine goes on
            client.sendall(b"/msg after\n/who\n")
            while not (line := lines.readline()).startswith(("> in ", "err: ")):
                pass
            refused = line.startswith("err: ")
            if refused:
                assert "> in " in lines.readline()
        client.sendall(b"/history\n")
        while "john: after" not in lines.readline():
            pass
    configure(tmp_path, engine, SECRET)
    served.upgraded()
