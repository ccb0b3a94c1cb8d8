"""The choice of a daemon for a command: by flags, variables, a settings file, or the only one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Run, Start, Talk

from trio_chat.daemon import target
from trio_chat.daemon.target import find_target
from trio_chat.errors import ControlError, SettingsError

CONTROL, PORT = {"TRIO_CHAT_CONTROL": "/run/v.sock"}, {"TRIO_CHAT_PORT": "3"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write_file(text: str) -> Path:
        file = tmp_path / "chat.toml"
        file.write_text(text)
        return file

    return write_file


@pytest.mark.parametrize(
    ("control", "port", "environ", "toml", "found"),
    [
        # A flag counts before all else.
        ("/run/f.sock", None, CONTROL | PORT, 'control = "/run/t.sock"', "/run/f.sock"),
        (None, "2", CONTROL | PORT, 'control = "/run/t.sock"', "2"),
        # Then control, as a daemon with these settings has it.
        (None, None, CONTROL, 'control = "/run/t.sock"', "/run/v.sock"),
        (None, None, PORT, 'control = "/run/t.sock"\nport = 4', "/run/t.sock"),
        # Then the port.
        (None, None, PORT, "port = 4", "3"),
        (None, None, {}, "port = 4", "4"),
        (None, None, PORT, None, "3"),
        (None, None, {}, "[[listen]]\nport = 5\n[[listen]]\nport = 6", "5"),
        (None, None, {"TRIO_CHAT_LISTEN": "unix:/run/chat.sock"}, None, "chat"),
        # A file that names neither is for the default port.
        (None, None, {}, "max_rooms = 5", "8888"),
        (None, None, {"TRIO_CHAT_CONTROL": ""}, "port = 4", "4"),
    ],
)
def test_the_daemon_that_is_named(
    control: str | None,
    port: str | None,
    environ: dict[str, str],
    toml: str | None,
    found: str,
    write: Callable[[str], Path],
    runtime: Path,
) -> None:
    file = None if toml is None else write(toml)
    expected = Path(found) if "/" in found else runtime / f"{found}.sock"
    assert find_target(control, port, file, environ).path == expected


def test_mistakes_elsewhere_do_not_matter(write: Callable[[str], Path], runtime: Path) -> None:
    file = write("prot = 1\nmax_rooms = 0\nport = 9")
    assert find_target(None, None, file, {}).name == "on port 9"
    assert find_target(None, "1", Path("/nowhere"), {}).name == "on port 1"


@pytest.mark.parametrize(
    ("control", "port", "environ", "toml", "told"),
    [
        ("a", "1", {}, None, "--control and --port both name a daemon"),
        (None, "x", {}, None, '--port must be a whole number from 0 to 65535, not "x"'),
        (None, "0", {}, None, "--port 0 is no daemon's port"),
        (None, None, {"TRIO_CHAT_PORT": "x"}, None, "TRIO_CHAT_PORT in the environment must be"),
        (None, None, {}, "port =", "chat.toml is not TOML"),
        (None, None, {}, "control = 5", "control in "),
    ],
)
def test_mistakes_are_told(
    control: str | None,
    port: str | None,
    environ: dict[str, str],
    toml: str | None,
    told: str,
    write: Callable[[str], Path],
) -> None:
    file = None if toml is None else write(toml)
    with pytest.raises(SettingsError) as caught:
        find_target(control, port, file, environ)
    assert told in str(caught.value)


def test_a_port_that_is_any_free_one_names_nobody(
    monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> None:
    monkeypatch.setattr(target, "running", lambda: [runtime / "7.sock"])
    assert find_target(None, None, None, {"TRIO_CHAT_PORT": "0"}).path == runtime / "7.sock"
    monkeypatch.setattr(target, "running", list)
    with pytest.raises(ControlError, match="no daemon of this user is running"):
        find_target(None, None, None, {})


def test_the_control_of_a_file_is_obeyed(
    run: Run, start: Start, talk: Talk, runtime: Path, tmp_path: Path
) -> None:
    file = tmp_path / "chat.toml"
    file.write_text(f'control = "{tmp_path}/run/c.sock"')
    other = start()
    ran = run("stop", "--config", str(file))
    told = f"no daemon is running at {tmp_path}/run/c.sock; these run: --port {other.port}"
    assert (ran.code, ran.err) == (1, f"trio-chat: {told}\n")
    meant = start("--config", str(file))
    assert run("stop", "--config", str(file)).out == f"process {meant.process.pid} has stopped\n"
    assert run("status", "--port", str(other.port)).code == 0
