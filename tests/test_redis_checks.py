"""At its start, a chat refuses an engine it cannot rely on, with a line that says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from engine import EVERYSEC, Engine, Sentinel, running
from fake_engine import claiming
from loopback import until
from ports import free_port

from trio_chat import Settings, SettingsError
from trio_chat.config import store_access
from trio_chat.config.store_access import read_store_access
from trio_chat.errors import StoreError
from trio_chat.roomlog.redis.checks import open_checked, warning_of

IMPATIENT = 0.0


async def opened(url: str, password_file: Path | None = None) -> dict[str, str]:
    """Open it as a chat does; its `INFO`."""
    settings = Settings(store=url, store_password_file=str(password_file or ""))
    access = read_store_access(settings)
    assert access is not None
    connection = await open_checked(access, patience=IMPATIENT)
    connection.close()
    return connection.info


async def problem(url: str, password_file: Path | None = None) -> str:
    with pytest.raises(StoreError) as caught:
        await opened(url, password_file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def at(port: int, login: str = "", rest: str = "") -> str:
    return f"redis://{login}127.0.0.1:{port}{rest}"


# --- real servers ---------------------------------------------------------------------------------


async def test_one_with_a_log_of_its_own_passes_without_a_warning(tmp_path: Path) -> None:
    with running(tmp_path / "own", *EVERYSEC) as engine:
        assert warning_of(await opened(at(engine.port))) == ""


async def test_without_a_log_of_its_own_there_is_a_warning(tmp_path: Path) -> None:
    with running(tmp_path / "own", "--appendonly", "no") as engine:
        assert warning_of(await opened(at(engine.port))) == (
            "Redis keeps no append-only file: after a restart it has only its last snapshot, and "
            "newer messages only as far as a node of the chat still has them; "
            "set appendonly to yes"
        )


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_one_that_deletes_keys_is_refused(policy: str, tmp_path: Path) -> None:
    with running(tmp_path / "own", "--maxmemory-policy", policy) as engine:
        assert await problem(at(engine.port)) == (
            f"Redis at 127.0.0.1:{engine.port} would delete the chat's keys when its memory is "
            f"full (maxmemory-policy {policy}): set maxmemory-policy to noeviction"
        )


async def test_a_cluster_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "own", "--cluster-enabled", "yes") as engine:
        told = (
            f"Redis at 127.0.0.1:{engine.port} is part of a cluster: use one with "
            "cluster-enabled no, and with Sentinel if need be"
        )
        assert await problem(at(engine.port)) == told
        assert await problem(at(engine.port, rest="/1")) == told


async def test_a_sentinel_is_not_the_engine(tmp_path: Path) -> None:
    with running(tmp_path / "own") as engine:
        sentinel = Sentinel(tmp_path / "sentinel", engine, waits=False)
        try:
            await until(lambda: "+monitor" in sentinel.log())
            told = (
                f"Redis at 127.0.0.1:{sentinel.port} is a Sentinel: "
                "write redis+sentinel://HOST:PORT/NAME as store"
            )
            assert await problem(at(sentinel.port)) == told
            assert await problem(at(sentinel.port, rest="/1")) == told
        finally:
            sentinel.close()


async def test_passwords_and_rights(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with running(tmp_path / "own", "--requirepass", "pw") as engine:
        where = f"Redis at 127.0.0.1:{engine.port}"
        assert await problem(at(engine.port)) == (
            f"{where} wants a password: put it into a file, and name that with store_password_file"
        )
        wrong = f"{where} refuses the password: correct it in store or store_password_file"
        assert await problem(at(engine.port, ":hunter2@")) == wrong
        write(secret, "hunter2\n")
        assert await problem(at(engine.port), secret) == wrong
        write(secret, "pw\nnot this\n")
        assert await opened(at(engine.port), secret)
        assert await opened(at(engine.port, ":pw@"))
        # `Engine.ask` opens a connection for each command, and the password is for one.
        access = read_store_access(Settings(store=at(engine.port, ":pw@")))
        admin = await open_checked(access)
        await admin.call("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all", "-info")
        admin.close()
        assert await problem(at(engine.port, "ann:pw@")) == (
            f"{where} does not let this user do what the chat needs: give the user more rights"
        )


async def test_a_password_that_nobody_asked_for(tmp_path: Path) -> None:
    with running(tmp_path / "own") as engine:
        assert await problem(at(engine.port, ":pw@")) == (
            f"Redis at 127.0.0.1:{engine.port} has no password: leave it out of the settings, or "
            "set it in Redis (requirepass)"
        )
        assert await problem(at(engine.port, rest="/99")) == (
            f"Redis at 127.0.0.1:{engine.port} has no database 99: choose a smaller number, or "
            "raise its `databases`"
        )


async def test_one_that_is_not_there() -> None:
    port = free_port()
    assert await problem(at(port)) == (
        f"cannot use Redis at 127.0.0.1:{port}: no connection to 127.0.0.1:{port}: "
        "connection refused; start it, or correct store"
    )
    assert await problem("unix:///none") == (
        "cannot use Redis at unix:/none: no connection to unix:/none: no such file or directory; "
        "start it, or correct store"
    )
    assert await problem(f"redis+sentinel://127.0.0.1:{port},[::1]:{port}/chat") == (
        f"cannot use Redis at 127.0.0.1:{port},[::1]:{port} (Sentinel, chat): no connection to "
        f"[::1]:{port}: connection refused; start it, or correct store"
    )


async def test_it_may_start_a_little_later_than_the_chat(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "own")
    try:
        engine.kill()
        access = read_store_access(Settings(store=at(engine.port)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, engine.start)
            connection = await open_checked(access)
        assert await connection.call("PING") == b"PONG"
        connection.close()
    finally:
        engine.close()


# --- servers that only say so ---------------------------------------------------------------------


async def test_an_old_version_is_refused() -> None:
    async with claiming(redis_version="6.2.14") as port:
        assert await problem(at(port)) == (
            f"Redis at 127.0.0.1:{port} has version 6.2.14, and the chat needs 7.0: upgrade it"
        )


@pytest.mark.parametrize(
    "info",
    [
        {"redis_version": "7.0.0"},
        {"redis_version": "7.0-rc1"},
        {"redis_version": "10.0"},
        {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"},
        {"redis_version": "6.9", "valkey_version": "9.0.0"},
    ],
)
async def test_a_new_version_and_valkey_pass(info: dict[str, str]) -> None:
    async with claiming(**info) as port:
        assert await opened(at(port))


@pytest.mark.parametrize("mode", ["server_mode", "redis_mode"])
async def test_valkey_has_another_word_for_its_mode(mode: str) -> None:
    async with claiming(**{mode: "cluster"}) as port:
        assert "is part of a cluster" in await problem(at(port, rest="/1"))
    async with claiming(**{mode: "sentinel"}) as port:
        assert "is a Sentinel" in await problem(at(port, rest="/1"))


# --- the package and the files --------------------------------------------------------------------


def write(path: Path, text: str | bytes, mode: int = 0o600) -> str:
    path.unlink(missing_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("pw", "pw"),
        ("pw\n", "pw"),
        ("pw\r\nmore", "pw"),
        (" p w \n", " p w "),
        ("pö", "pö"),
        ("x" * 4096 + "\n", "x" * 4096),
        ("pw\n" + "x" * 9999, "pw"),
    ],
)
def test_the_password_is_the_first_line_of_its_file(text, password, tmp_path: Path) -> None:
    file = write(tmp_path / "secret", text)
    access = read_store_access(Settings(store="redis://ann@h", store_password_file=file))
    assert access.password == password
    assert access.address.user == "ann"
    assert password not in repr(access)


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("pw", 0o604, "is open to other users: close it (chmod 600)"),
        ("", 0o600, "must have the password in its first line, of 1 to 4096 bytes"),
        ("\npw", 0o600, "must have the password in its first line, of 1 to 4096 bytes"),
        ("x" * 4097, 0o600, "must have the password in its first line, of 1 to 4096 bytes"),
        (b"\xff", 0o600, "is not UTF-8 text"),
    ],
)
def test_a_password_file_that_cannot_be_used(text, mode, told, tmp_path: Path) -> None:
    file = write(tmp_path / "secret", text, mode)
    with pytest.raises(SettingsError) as caught:
        read_store_access(Settings(store="redis://h", store_password_file=file))
    assert str(caught.value) == f"store_password_file: {file} {told}"


def test_a_password_has_one_place() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(store="redis://:hunter2@h", store_password_file="secret")
    assert str(caught.value) == (
        "store has a password, and store_password_file names another: leave one of the two out"
    )
    with pytest.raises(SettingsError) as caught:
        Settings(store="redis://ann@h")
    assert str(caught.value) == (
        "store has the user ann without a password: put it into a file, and name that with "
        "store_password_file"
    )


def test_other_stores_ignore_the_settings_of_redis() -> None:
    for store in ("auto", "memory", "sqlite:/x"):
        settings = Settings(store=store, store_password_file="/none", node="n", lease=1)
        assert read_store_access(settings) is None


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_access, "find_spec", lambda _: None)


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("command", ["serve", "check"])
def test_without_the_extra_there_is_one_line(run, command, tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text('store = "redis://:hunter2@127.0.0.1"\n')
    ran = run(command, "--config", str(config))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        'trio-chat: a store on Redis needs the extra: pip install "trio-chat[redis]"\n'
    )
    config.write_text('store = "memory"\n')
    assert run("check", "--config", str(config)).code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--store", "redis://:hunter2@h:x"], "--store must have a port from 1 to 65535 behind "),
        (["--store", "REDIS://:hunter2@h"], "--store must be redis://HOST:PORT/DB, redis+sent"),
        (["--store", "rediss://h?ca=/none"], "store: cannot use ?ca=/none: No such file or "),
        (["--node", "a b"], "--node must be a name of at most 64 letters, digits and .-_:, or "),
        (["--lease", "0.5"], "--lease must be a number of seconds from 1 to 300, not 0.5"),
    ],
)
def test_a_mistake_is_one_line_without_a_password(run, options, told) -> None:
    ran = run("serve", *options)
    assert ran.code == 2
    assert ran.err.startswith(f"trio-chat: {told}")
    assert ran.err.count("\n") == 1
    assert "hunter2" not in ran.err


def test_a_correction_in_a_file_has_no_password(run, tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text('store = "REDIS://ann:hunter2@h"\n')
    ran = run("check", "--config", str(config))
    assert ran.code == 2
    assert ran.err.endswith(': write store = "redis://ann@h"\n')


def test_a_reload_and_the_environment_take_the_url(run, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(os.environ, "TRIO_CHAT_STORE", "redis://:pw@127.0.0.1:1")
    monkeypatch.setitem(os.environ, "TRIO_CHAT_NODE", "n:1")
    assert run("check").code == 0
