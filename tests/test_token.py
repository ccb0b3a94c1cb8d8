"""The file with the token for monitoring: its contents, and its permissions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from processes import Run, Start

from trio_chat import Settings, SettingsError, open_chat
from trio_chat.config.token import read_token

TOKEN = b"0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_bytes(TOKEN)
    return path


@pytest.mark.parametrize(
    "held", [TOKEN, TOKEN + b"\n", b" %b \r\n" % TOKEN, b"aZ09-._~+/aZ09-._~+/==", b"x" * 1024]
)
def test_a_token_may_have_white_space_around_it(path: Path, held: bytes) -> None:
    path.write_bytes(held)
    assert read_token(path) == held.strip()


@pytest.mark.parametrize(
    "held", [b"", b"\n", TOKEN[:15], b"x" * 1025, TOKEN + b" " + TOKEN, TOKEN + b"\n" + TOKEN,
             TOKEN + b"\0", "0123456789abcdé".encode(), TOKEN + b"=x", b"\xff" * 20]
)  # fmt: skip
def test_an_invalid_token_is_told_in_a_line(path: Path, held: bytes) -> None:
    path.write_bytes(held)
    with pytest.raises(SettingsError) as caught:
        read_token(path)
    assert str(caught.value).startswith(f"metrics_token_file: {path} must hold one token of 16 ")
    assert "\n" not in str(caught.value)
    assert held == b"" or held.strip() == b"" or held.decode("latin-1") not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o666, 0o644])
def test_a_file_that_is_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    told = f"metrics_token_file: {path} is open to other users: close it (chmod 600)"
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}$"):
        read_token(path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_group_may_read_it(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert read_token(path) == TOKEN


def test_a_file_that_cannot_be_read_is_told_in_a_line(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none", "No such file"),
        (tmp_path / "token" / "x", "No such file"),
    ):
        with pytest.raises(
            SettingsError, match=rf"^metrics_token_file: cannot read {path}: {reason}"
        ):
            read_token(path)


def test_a_path_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(SettingsError, match=f"{path} is not a file"):
            read_token(path)


async def test_no_chat_runs_without_its_token(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        async with open_chat(Settings(metrics_token_file=str(tmp_path / "none"))):
            pytest.fail("it runs")


def test_the_command_line_tells_it_in_a_line(path: Path, run: Run, tmp_path: Path) -> None:
    path.chmod(0o644)
    told = f"trio-chat: metrics_token_file: {path} is open to other users: close it (chmod 600)\n"
    ran = run("serve", "--metrics-token-file", str(path))
    assert (ran.code, ran.out, ran.err) == (2, "", told)
    config = tmp_path / "chat.toml"
    config.write_text(f'metrics_token_file = "{path}"')
    ran = run("check", "--config", str(config))
    assert (ran.code, ran.err) == (2, told)
    path.chmod(0o600)
    assert run("check", "--config", str(config)).code == 0


def test_a_daemon_takes_it(path: Path, start: Start) -> None:
    daemon = start("--metrics-token-file", str(path))
    daemon.process.terminate()
    code, log = daemon.stopped()
    assert code == 0
    assert TOKEN.decode() not in log
