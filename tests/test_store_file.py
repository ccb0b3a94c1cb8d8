"""The file of the SQLite room log: how it is made, who may have it, and what is not taken for one.

A refused file is left unchanged. One line names it and says what to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from loopback import PATIENCE
from searching import searched
from stored import stored
from stores import KEEP, KEPT_FILES, NOBODY, killed, said

import trio_chat
from trio_chat import Settings, open_chat
from trio_chat.errors import StoreError
from trio_chat.protocol.events import Acted, Held, PersistentEntry, Removed, Ruled, Said, TopicSet
from trio_chat.roomlog.holding import Waiting
from trio_chat.roomlog.rules import Action, Rules
from trio_chat.roomlog.sqlite import schema
from trio_chat.roomlog.sqlite.file import open_store
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.roomlog.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION, STEPS
from trio_chat.testing import line_client

PAGE = 4096
SCHEMA_1 = KEPT_FILES[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    directory.mkdir()
    return directory / "chat.db"


def append(path: Path, *texts: str, room: str = "#a", durability="process") -> list[int]:
    """Open a file, append, and close it; the positions."""

    async def main() -> list[int]:
        async with open_sqlite_log(path, durability, KEEP) as log:
            return [entry.position for entry in await log.append([said(t, room) for t in texts])]

    return trio.run(main)


def texts(path: Path, room: str = "#a") -> list[str]:
    async def main() -> list[str]:
        async with open_sqlite_log(path, "process", KEEP) as log:
            # A page of long messages ends before its limit.
            entries: list[PersistentEntry] = []
            while page := await log.read(room, entries[-1].position if entries else 0, 1_000):
                entries += page
            return [entry.text for entry in entries]

    return trio.run(main)


def made(path: Path) -> None:
    append(path, *[f"{number} {'x' * 200}" for number in range(500)])


def is_sound(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def contents(directory: Path) -> dict[str, bytes | str]:
    """All that is there, but what is no part of what is kept."""
    return {
        entry.name: entry.read_bytes() if entry.is_file() else oct(entry.lstat().st_mode)
        for entry in sorted(directory.iterdir())
        if not entry.name.endswith((".lock", "-shm"))
        # A write-ahead log that holds nothing.
        and not (entry.name.endswith("-wal") and not entry.stat().st_size)
    }


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(trio_chat.__file__).parents[1])}


# Runs the daemon once for each file, as `trio-chat` does, and loads it once for all of them. Root
# may read every file, so it changes to another user if root runs the tests. It loads the daemon
# first, because only root may be able to read the package.
DAEMONS = f"""
import encodings.idna, json, os, signal, sys
import trio_chat.daemon.run
from trio_chat import cli
if sys.argv[1] == "nobody":
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
for path in sys.argv[2:]:
    output, writing = os.pipe()
    if not os.fork():
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        # With a file that it takes it would go on for ever but for this host.
        signal.alarm(20)
        sys.argv = ["trio-chat", "--host", "192.0.2.1", "--store", "sqlite:" + path]
        cli.main()
    os.close(writing)
    text = open(output).read()
    print(json.dumps([os.waitstatus_to_exitcode(os.wait()[1]), text]), flush=True)
"""


Ended = tuple[int, str]


def daemons(*paths: Path | str, cwd: Path | None = None, user: str = "as we are") -> list[Ended]:
    """The exit codes and the output of daemons with these files."""
    ran = subprocess.run(
        [sys.executable, "-c", DAEMONS, user, *paths],
        check=False,
        capture_output=True,
        cwd=cwd,
        env=environment(),
        text=True,
        timeout=PATIENCE,
    )
    if " os.set" in ran.stderr:
        pytest.skip(f"this user may not become another: {ran.stderr.splitlines()[-1]}")
    return [(code, text) for code, text in map(json.loads, ran.stdout.splitlines())]


def refusal(ended: Ended) -> str:
    """The one line with which a daemon has refused its file."""
    code, text = ended
    assert (code, text.count("\n")) == (2, 1), text
    assert text.startswith("trio-chat: ")
    return text.removeprefix("trio-chat: ").rstrip("\n")


# --- a new file -----------------------------------------------------------------------------------


def test_a_new_file_and_all_beside_it_are_its_owners_alone(path: Path) -> None:
    async def main() -> dict[str, int]:
        async with open_sqlite_log(path, "process", KEEP) as log:
            await log.append([said("Hi")])
            return {e.name: stat.S_IMODE(e.stat().st_mode) for e in path.parent.iterdir()}

    umask = os.umask(0)
    try:
        modes = trio.run(main)
    finally:
        os.umask(umask)
    all_of_it = ["chat.db", "chat.db.lock", "chat.db-wal", "chat.db-shm"]
    assert modes == dict.fromkeys(all_of_it, 0o600)
    assert names(path.parent) == ["chat.db", "chat.db.lock"]


def test_a_file_says_whose_it_is_and_of_which_version(path: Path) -> None:
    append(path, "Hi")
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == SCHEMA_VERSION
    assert is_sound(path)


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("power", 2)])
def test_durability_is_how_far_a_commit_goes(path: Path, durability, synchronous: int) -> None:
    file = open_store(path, durability)
    with contextlib.closing(file.writer()) as connection:
        [(found,)] = connection.execute("PRAGMA synchronous")
        [(mode,)] = connection.execute("PRAGMA journal_mode")
    file.close()
    assert (found, mode) == (synchronous, "wal")
    assert append(path, "Hi", durability=durability) == [1]


def test_an_empty_file_is_made_one(path: Path) -> None:
    path.touch()
    assert append(path, "Hi") == [1]
    assert texts(path) == ["Hi"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "name",
    [
        *("chat", "with space.db", "100%25.db", "a?mode=memory", "a#b", ":memory:", "file:x"),
        *("-v", "O'Brien\".db", "grüße.db", "new\nline", os.fsdecode(b"\xff\xfe.db"), "a&b\\c"),
    ],
)
def test_a_file_may_have_any_name(name: str, path: Path) -> None:
    path = path.parent / name
    assert append(path, "Hi") == [1]
    assert names(path.parent) == sorted([name, f"{name}.lock"])
    assert texts(path) == ["Hi"]


def test_the_remains_of_a_new_file_after_a_kill_are_replaced(path: Path) -> None:
    killed(path.with_name("other.db"), "never mind")
    for left in (".new", ".new-wal", ".new-shm", ".new-journal"):
        shutil.copy(path.with_name("other.db-wal"), f"{path}{left}")
    assert append(path, "Hi") == [1]
    assert is_sound(path)
    assert [name for name in names(path.parent) if ".new" in name] == []


KILLED_AT_EACH_STEP = """
import os, signal, sqlite3, sys
from pathlib import Path
from trio_chat.roomlog.sqlite import file

def attempt(path, step, after):
    steps = 0
    def count(event, arguments):
        nonlocal steps
        if event in ("open", "os.remove", "os.rename", "sqlite3.connect"):
            steps += 1
            if steps == step:
                os.kill(os.getpid(), signal.SIGKILL)
    class Connection(sqlite3.Connection):
        def execute(self, *arguments):
            count("sqlite3.connect", ())
            return super().execute(*arguments)
        def executescript(self, script):
            for statement in script.split(";")[:-1]:
                self.execute(statement)
    connect = sqlite3.connect
    sqlite3.connect = lambda *a, **kw: connect(*a, **kw, factory=Connection)
    sys.addaudithook(count)
    file.open_store(path, "process")
    os._exit(0)

directory = Path(sys.argv[1])
for step in range(1, 100):
    path = directory / f"{step}.db"
    pid = os.fork()
    if not pid:
        attempt(path, step, False)
    _, status = os.waitpid(pid, 0)
    left = sorted(e.name.removeprefix(f"{step}.db") for e in directory.glob(f"{step}.db*"))
    file.open_store(path, "process").close()
    print(step, status, left)
    if status == 0:
        break
"""


def test_killed_at_any_step_of_making_a_file_it_is_made_the_next_time(path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STEP, path.parent],
        check=True,
        capture_output=True,
        env=environment(),
        text=True,
        timeout=PATIENCE,
    )
    steps = [line.split(maxsplit=2) for line in ran.stdout.splitlines()]
    assert [status for _, status, _ in steps] == [str(int(signal.SIGKILL))] * (len(steps) - 1) + [
        "0"
    ]
    assert len(steps) > 10
    left = {name for _, _, names in steps for name in names.strip("[]").split(", ")}
    assert {"''", "'.lock'", "'.new'", "'.new-wal'"} <= left
    for file in path.parent.glob("*.db"):
        assert is_sound(file)
    assert list(path.parent.glob("*.new*")) == []


# --- one server a file ----------------------------------------------------------------------------


class Server:
    """A daemon with a file, and one who talks to it."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trio_chat", "--port", "0", "--store", f"sqlite:{path}"],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r":(\d+) for ", line)
        assert found is not None, (line, self.process.communicate(timeout=PATIENCE))
        self.socket = socket.create_connection(("127.0.0.1", int(found[1])), PATIENCE)
        self.file = self.socket.makefile("r", encoding="utf-8")
        self.ask("/join #a", 1)

    def ask(self, line: str, answers: int) -> list[str]:
        self.socket.sendall(f"{line}\n".encode())
        return [self.file.readline().rstrip("\n") for _ in range(answers)]

    def end(self, number: int) -> tuple[int, str]:
        self.file.close()
        self.socket.close()
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err


@pytest.fixture
def start() -> Iterator[Callable[[Path], Server]]:
    servers: list[Server] = []

    def start_server(path: Path) -> Server:
        servers.append(Server(path))
        return servers[-1]

    yield start_server
    for server in servers:
        with contextlib.suppress(ProcessLookupError):
            server.end(signal.SIGKILL)


Start = Callable[[Path], Server]
IN_USE = "is in use by another trio-chat: stop that one (trio-chat stop), or start this one"


def test_a_second_server_is_refused_and_the_first_goes_on(start: Start, path: Path) -> None:
    first = start(path)
    first.ask("/msg one", 0)
    assert first.ask("/history", 1)[0].endswith("anonymous: one")
    link = path.parent / "link.db"
    link.symlink_to(path.name)
    (path.parent.parent / "there").symlink_to(path.parent, target_is_directory=True)
    before = contents(path.parent)
    spellings = [path, link, path.parent.parent / "there" / "." / "link.db", "../store/chat.db"]
    told = f"{path} {IN_USE} with another --port or --store"
    ended = daemons(*spellings, cwd=path.parent)
    assert [refusal(one) for one in ended] == [told] * len(spellings)
    assert contents(path.parent) == before
    first.ask("/msg two", 0)
    assert len(first.ask("/history", 2)) == 2
    code, log = first.end(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in log
    assert append(path, "three") == [3]


def test_a_file_is_free_again_after_a_kill_with_all_that_was_said(start: Start, path: Path) -> None:
    first = start(path)
    first.ask("/topic tea", 1)
    first.ask("/msg one", 0)
    assert len(first.ask("/history", 2)) == 2
    first.end(signal.SIGKILL)
    assert (path.parent / "chat.db-wal").stat().st_size
    second = start(path)
    assert [line.split("] ")[-1] for line in second.ask("/history", 3)] == [
        "> topic of #a: tea",
        "topic of #a: tea",
        "anonymous: one",
    ]
    second.end(signal.SIGKILL)
    assert texts(path) == ["tea", "one"]
    assert is_sound(path)


LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT sum(length(kinds)) FROM batches").fetchall())
connection.close()
"""


async def test_to_refuse_a_second_chat_in_one_program_takes_nothing_from_the_first(
    path: Path,
) -> None:
    """A program that closes a file lets go of all locks it has on it, SQLite's own among them.

    Without those, whoever looks into the file from outside takes the write-ahead log away.
    """
    async with open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said("one")])
        with pytest.raises(StoreError, match=re.escape(IN_USE)):
            async with open_sqlite_log(path, "process", KEEP):
                pass
        look = [sys.executable, "-c", LOOK, str(path)]
        assert (await trio.run_process(look, capture_stdout=True)).stdout == b"[(1,)]\n"
        await log.append([said("two")])
        assert (await trio.run_process(look, capture_stdout=True)).stdout == b"[(2,)]\n"


# --- what is refused ------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    made(path)
    os.truncate(path, path.stat().st_size // PAGE // 2 * PAGE)


def cut_within_its_header(path: Path) -> None:
    made(path)
    os.truncate(path, 50)


def garbage_header(path: Path) -> None:
    made(path)
    patch(path, 0, os.urandom(100))


def garbage_page(path: Path) -> None:
    made(path)
    patch(path, path.stat().st_size // PAGE // 2 * PAGE, bytes(range(256)) * (PAGE // 256))


def page_size_of_nothing(path: Path) -> None:
    made(path)
    patch(path, 16, b"\x00\x03")


def damaged_and_killed(path: Path) -> None:
    garbage_page_at = 20 * PAGE
    made(path)
    killed(path, "last words")
    assert Path(f"{path}-wal").stat().st_size
    patch(path, garbage_page_at, b"\xff" * PAGE)


def a_text(path: Path) -> None:
    path.write_text("SQLite is mentioned here\n" * 20)


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE rooms (id, name, shown, topic, floor)")


def newer(path: Path) -> None:
    made(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def newer_and_killed(path: Path) -> None:
    """As a newer version leaves it that was killed right after it had changed the schema."""
    made(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        for name in (path, f"{path}-wal"):
            shutil.copy(name, f"{name}.as-it-was")
    for name in (path, f"{path}-wal"):
        Path(f"{name}.as-it-was").rename(name)


def a_table_is_gone(path: Path) -> None:
    made(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE log")


def gone_but_for_its_log(path: Path) -> None:
    killed(path, "Hi")
    path.unlink()


def empty_but_for_its_log(path: Path) -> None:
    killed(path, "Hi")
    os.truncate(path, 0)


def in_a_loop(path: Path) -> None:
    path.symlink_to("other")
    (path.parent / "other").symlink_to(path.name)


ANOTHER = "choose another file with --store sqlite:PATH"
DAMAGED = r"is damaged \(.+\): bring back a copy, or move it away \(sqlite3's .recover may save "
NEWER = (
    rf"was written by a newer trio-chat \(schema {SCHEMA_VERSION + 1}, known here is "
    rf"{SCHEMA_VERSION}\): run that one, or choose another file with --store sqlite:PATH"
)
PART = r"is gone or empty, but .+chat.db-wal has a part of what was in it: bring back a copy, or "


CASES: dict[Callable[[Path], object], str] = {
    truncated: "PATH " + DAMAGED,
    garbage_page: "PATH " + DAMAGED,
    page_size_of_nothing: "PATH " + DAMAGED,
    damaged_and_killed: "PATH " + DAMAGED,
    cut_within_its_header: f"PATH is no file of trio-chat's: {ANOTHER}",
    garbage_header: f"PATH is no file of trio-chat's: {ANOTHER}",
    a_text: f"PATH is no file of trio-chat's: {ANOTHER}",
    foreign: f"PATH is no file of trio-chat's: {ANOTHER}",
    Path.mkdir: f"PATH is no regular file: {ANOTHER}",
    os.mkfifo: f"PATH is no regular file: {ANOTHER}",
    in_a_loop: "cannot read PATH: Too many levels of symbolic links; choose another file",
    newer: "PATH " + NEWER,
    newer_and_killed: "PATH " + NEWER,
    a_table_is_gone: "cannot use PATH: no such table: log",
    gone_but_for_its_log: "PATH " + PART,
    empty_but_for_its_log: "PATH " + PART,
}


@dataclass
class Case:
    """A file that is refused, with all beside it before and after, and what was said of it."""

    path: Path
    before: dict[str, bytes | str]
    ended: Ended = (0, "")
    after: dict[str, bytes | str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[Callable[[Path], object], Case]:
    cases = {}
    for make in CASES:
        path = tmp_path_factory.mktemp("store") / "chat.db"
        make(path)
        cases[make] = Case(path, contents(path.parent))
    ended = daemons(*[case.path for case in cases.values()])
    for case, one in zip(cases.values(), ended, strict=True):
        case.ended, case.after = one, contents(case.path.parent)
    return cases


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_damaged_file_is_refused_and_left_as_it_was(make, cases) -> None:
    case = cases[make]
    told = CASES[make].replace("PATH", re.escape(str(case.path)), 1)
    assert re.match(told, refusal(case.ended))
    assert case.after == case.before


@pytest.mark.parametrize(
    "make", [a_text, foreign, garbage_header, Path.mkdir, os.mkfifo, in_a_loop]
)
def test_nothing_is_left_beside_what_is_not_ours(make, path: Path) -> None:
    make(path)
    Path(f"{path}.lock").unlink(missing_ok=True)
    before = names(path.parent)
    with pytest.raises(StoreError):
        open_store(path, "process")
    assert names(path.parent) == before


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = [tmp_path / "no" / "chat.db", tmp_path / "file" / "chat.db", tmp_path / ("x" * 300)]
    before = contents(tmp_path)
    another = "choose another file with --store sqlite:PATH"
    assert [refusal(ended) for ended in daemons(*places)] == [
        f"cannot write {places[0]}: there is no directory {tmp_path / 'no'}",
        f"cannot read {places[1]}: Not a directory; {another}",
        f"cannot read {places[2]}: File name too long; {another}",
    ]
    assert contents(tmp_path) == before


def test_a_file_that_another_program_has_for_itself_is_not_called_damaged(
    path: Path, monkeypatch
) -> None:
    made(path)
    monkeypatch.setattr("trio_chat.roomlog.sqlite.file.BUSY_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"chat\.db is held by another program: close it the"):
            open_store(path, "process")
    open_store(path, "process").close()


def test_after_a_refusal_the_file_can_be_had(path: Path) -> None:
    made(path)
    sound = path.read_bytes()
    for _ in range(3):
        patch(path, path.stat().st_size // PAGE // 2 * PAGE, b"\xff" * PAGE)
        with pytest.raises(StoreError, match=DAMAGED):
            open_store(path, "process")
        path.write_bytes(sound)
        assert len(texts(path)) == 500


# --- permissions ----------------------------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that anyone may reach, unlike those of pytest, and nobody's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        place = Path(name) / "store"
        place.mkdir()
        yield place
        for directory in Path(name).rglob("*/"):
            directory.chmod(0o700)


def give_away(*paths: Path) -> None:
    if not os.getuid():
        for path in paths:
            os.chown(path, NOBODY, NOBODY)


def forbidden(place: Path, name: str, *, mode: int = 0o600, directory: int = 0o700) -> Path:
    """A sound file with its lock, as they may be used, in a directory of its own."""
    path = place / name / "chat.db"
    path.parent.mkdir()
    append(path, "Hi")
    give_away(path, Path(f"{path}.lock"), path.parent)
    path.chmod(mode)
    path.parent.chmod(directory)
    return path


def readable(path: Path) -> bytes | None:
    """The content of a file, if there is one that we may read ourselves."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        return path.read_bytes()
    return None


def test_a_file_that_this_user_may_not_use_is_refused(place: Path) -> None:
    paths = {
        forbidden(
            place, "fine"
        ): "192.0.2.1 is not an address of this machine: choose another with -",
        forbidden(place, "read-only file", mode=0o400): "cannot write {path}: the permissions of "
        "{path} do not let this user",
        forbidden(place, "no file to read", mode=0): "cannot read {path}: Permission denied; ch",
        forbidden(place, "read-only place", directory=0o500): "cannot write {path}: the "
        "permissions of {path.parent} do not let this user",
        forbidden(place, "closed place", directory=0): "cannot read {path}: Permission denied; ch",
    }
    new = place / "read-only place" / "new.db"
    paths[new] = "cannot write {path}: Permission denied; choose another file with --store sqlite:P"
    if not os.getuid():
        # As someone leaves it who has once started the daemon as root, and killed it.
        left = place / "left by root" / "chat.db"
        left.parent.mkdir()
        killed(left, "Hi")
        give_away(left, Path(f"{left}.lock"), left.parent)
        paths[left] = "cannot write {path}: the permissions of {path}-wal do not let this user"
    before = [readable(path) for path in paths]
    ended = daemons(*paths, user="nobody" if not os.getuid() else "as we are")
    for one, (path, told) in zip(ended, paths.items(), strict=True):
        assert refusal(one).startswith(told.format(path=path))
    assert [readable(path) for path in paths] == before
    assert not new.exists()


# --- the files people have ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "digest"),
    [
        (1, "31acbf941905419a052dd3545701aee8306f0a8a990452d8605e2a0ebf1dbaa8"),
        (2, "070239e605e5e23281bb7b29d5a275554260e3a9cebca74d251ce46d0955caf0"),
        (3, "59c4347375f0f2b6855543c322d08ff983fc2434969f14b4e8b1f1fad5cba61d"),
        (4, "6157657a346a24db49af51ad5c78817278922dbb8ccab5872ca660d33bfed78b"),
        (5, "ffe921b25bac4ac16c6dbf68a5d4995aaf9c0defb485f03220d95b3c48431c67"),
        (6, "26ec55cb61a6a8f51977e541c4c52243493125a48b6ee3a9ae14dc616c1fc3e4"),
    ],
)
def test_the_kept_files_are_those_they_always_were(version: int, digest: str) -> None:
    assert hashlib.sha256(KEPT_FILES[version].read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("version", KEPT_FILES)
async def test_a_file_of_any_schema_is_read_whole(version: int, path: Path) -> None:
    shutil.copy(KEPT_FILES[version], path)
    early, later = 1_769_860_860.0, 1_769_861_040.0
    # They were said at once, with those before, if the file still has them. So they are a
    # millisecond apart, even if a version that knew none wrote them.
    first = 0 if version == 1 else 5
    general = [
        *[
            Said("#general", "id-jack", "jack", f"number {n}", n, early + (first + n - 6) / 1000)
            for n in (6, 7, 8)
        ],
        Said("#general", "id-mary", "mary", "100% of it_is O'Brien's", 9, early + 60),
        Acted("#general", "id-mary", "mary", "waves", 10, early + 120),
    ]
    street = [
        Said("#strasse", "id-жора", "Жора", "Straße, ÄPFEL & Οδυσσεύς", 1, later),
        TopicSet("#strasse", "#Straße", "id-жора", "Жора", "Чай и 🍰", 2, later + 0.001),
        Said("#strasse", "id-jack", "jack", "İstanbul 👩‍👩‍👧", 3, later + 0.002),
    ]
    async with open_sqlite_log(path, "process", KEEP) as log:
        assert await log.read("#general", 0, 100) == general
        assert await log.before("#general", 9, 2) == general[1:3]
        assert await log.read("#strasse", 0, 100) == street
        snapshots = [log.snapshot(room) for room in ("#general", "#strasse", "#new")]
        assert [(known.topic, known.position) for known in snapshots] == [
            ("tea & cake", 10), ("Чай и 🍰", 3), ("", 4),
        ]  # fmt: skip
        authors = [(known.author, known.nick, known.time) for known in snapshots]
        unknown = ("", "", 0.0)
        if version < 3:
            assert authors == [unknown] * 3
        else:
            assert authors == [
                ("id-mary", "mary", early + 0.002), ("id-жора", "Жора", later + 0.001), unknown,
            ]  # fmt: skip
        assert len({known.log for known in snapshots}) == 1
        assert len(snapshots[0].log) == 24
        assert await log.read("#gone", 0, 100) == []
        assert await log.read("#new", 0, 100) == [
            Said("#new", "id-jack", "jack", "first here", 4, later + 60)
        ]
        for word, room, found in [
            ("strasse", "#strasse", street[:1]),
            ("äpfel", "#strasse", street[:1]),
            ("οδυσσεύσ", "#strasse", street[:1]),
            ("чай", "#strasse", street[1:2]),
            ("t_i", "#general", general[3:4]),
            ("o'brien", "#general", general[3:4]),
        ]:
            assert await searched(log, room, [word], 9) == found
        added = [said("more", room) for room in ("#general", "#strasse", "#new", "#newest")]
        assert [entry.position for entry in await log.append(added)] == [11, 4, 5, 4]
    assert is_sound(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # The rest of the forgotten room has been deleted meanwhile.
        assert connection.execute("SELECT * FROM batches WHERE texts LIKE 'gone%'").fetchall() == []
        assert connection.execute("SELECT * FROM rooms WHERE name IS NULL").fetchall() == []


async def test_rules_of_a_file_of_an_earlier_version_are_read_whole(path: Path) -> None:
    shutil.copy(KEPT_FILES[4], path)
    room, mary, zhora = "#moderated", ("id-mary", "mary"), ("id-жора", "Жора")
    texts = ["made Жора a moderator", "muted jack: 🍰", "removed the topic’s pin"]
    begun = 1_769_861_100.0
    async with open_sqlite_log(path, "process", KEEP) as log:
        assert log.snapshot("#general").rules == Rules()
        assert await log.actions("#general", None, 9) == []
        fields = {"role id-жора": "moderator", "mute id-jack": "🍰"}
        assert log.snapshot(room).rules == Rules(5, fields)
        assert await log.read(room, 0, 9) == [
            Ruled(room, "#Moderated", *mary, texts[0], {}, 0, 4, begun),
            Ruled(room, "#Moderated", *zhora, texts[1], {}, 0, 5, begun + 60),
            Said(room, *mary, "good", 6, begun + 60.001),
            Ruled(room, "#Moderated", *zhora, texts[2], {}, 0, 7, begun + 60.002),
        ]
        role = {"role id-жора": "moderator", "pin": "1"}
        was, now = {"mute id-jack": None, "pin": "1"}, {"mute id-jack": "🍰", "pin": None}
        assert await log.actions(room, None, 9) == [
            Action(4, begun, *mary, texts[0], dict.fromkeys(role), role),
            Action(5, begun + 60, *zhora, texts[1], was, now),
            Action(7, begun + 60.002, *zhora, texts[2], {}, {}),
        ]


async def test_removed_texts_of_a_file_of_an_earlier_version_are_read_and_put_back(
    path: Path,
) -> None:
    shutil.copy(KEPT_FILES[5], path)
    room, mary, jack = "#removed", ("id-mary", "mary"), ("id-jack", "jack")
    begun = 1_769_861_400.0
    async with open_sqlite_log(path, "process", KEEP) as log:
        own = "removed 1 message of their own"
        assert await log.read(room, 0, 9) == [
            *(Said(room, *jack, "", n, begun + (n - 4) / 1000) for n in (4, 5)),
            Said(room, *jack, "kept", 6, begun + 0.002),
            Said(room, *jack, "", 7, begun + 0.003),
            Removed(
                *(room, "#Removed", *mary, "removed 2 messages of jack", {}, 0, 8, begun + 60),
                positions=[[4, 5]],
            ),
            Removed(
                *(room, "#Removed", *jack, own, {}, 0, 9, begun + 120),
                positions=[[7, 7]],
                own=True,
            ),
        ]
        assert [action.removed for action in await log.actions(room, None, 9)] == [[[4, 5]]]
        undo = Removed(room, "#Removed", *mary, "undid it", positions=[[4, 5]], undoes=8)
        assert await log.append([undo]) == [undo]
        assert [entry.text for entry in await log.read(room, 3, 2)] == ["spam", "Straße ÄPFEL"]


async def test_held_messages_of_a_file_of_an_earlier_version_are_read_whole(
    path: Path, monkeypatch
) -> None:
    shutil.copy(KEPT_FILES[6], path)
    room, when = "#moderated", 1_769_861_200.0
    monkeypatch.setattr("time.time", lambda: when + 100)
    networks = "net:0a1b2c3d net:4e5f6071"
    async with open_sqlite_log(path, "process", KEEP) as log:
        assert await log.held("#general") == []
        assert await log.held(room) == [
            Waiting(room, 2, "said", "id-jack", "jack", "buy 🍰", when, networks),
            Waiting(room, 5, "acted", "a.жора", "Жора", "waves", when + 60.5),
        ]
        await log.append([Held(room, room, "id-mary", "mary", "said", "more")])
        assert [one.number for one in await log.held(room)] == [2, 5, 6]


@pytest.mark.parametrize(
    ("step", "done"), [(step, done) for step in STEPS for done in range(1, len(STEPS[step]) + 1)]
)
def test_a_file_is_brought_to_this_schema_whole_or_not_at_all(
    step: int, done: int, path: Path, monkeypatch
) -> None:
    shutil.copy(SCHEMA_1, path)
    with monkeypatch.context() as failing:
        changes = [*STEPS[step][:done], "no statement of SQL", *STEPS[step][done:]]
        failing.setitem(STEPS, step, tuple(changes))
        with pytest.raises(StoreError, match=r"cannot use .*chat\.db: .*syntax error"):
            append(path, "more")
    assert path.read_bytes() == SCHEMA_1.read_bytes()
    assert append(path, "more", room="#general") == [11]
    assert append(path, "and more", room="#general") == [12]
    assert [entry.position for entry in stored(path) if entry.room == "#general"] == [*range(6, 13)]


@pytest.mark.parametrize("version", KEPT_FILES)
def test_a_file_of_any_schema_has_the_columns_of_a_new_one(version: int, path: Path) -> None:
    new = path.with_name("new.db")
    for file in (path, new):
        if file == path:
            shutil.copy(KEPT_FILES[version], path)
        append(file, "Hi")
    assert columns(path) == columns(new)


def columns(path: Path) -> dict[str, list[tuple]]:
    """All tables of a file, and what each column is but for its place."""
    with contextlib.closing(sqlite3.connect(path)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM pragma_table_list")]
        return {
            name: sorted(row[1:] for row in file.execute(f"PRAGMA table_info({name})"))
            for name in tables
        }


# --- the times of files before schema 3 -----------------------------------------------------------

# Of a room: times as seconds after some moment, "" for the same as before, and what is made of them
# in milliseconds. A row is a batch.
AT = 1_769_860_800
OLD_TIMES: dict[str, tuple[list[list[float | str]], list[int]]] = {
    "as they are now": ([[0.0, 0.5], [1.0]], [0, 500, 1000]),
    "finer than they are now": ([[0.00049, 1.5004996]], [0, 1500]),
    "said at once": ([[0.0, "", ""]], [0, 1, 2]),
    "said at once, in two rows": ([[0.0, ""], [0.0, "", 0.5]], [0, 1, 2, 3, 500]),
    "in one millisecond": ([[0.0, 0.0001, 0.0002, 0.0019]], [0, 1, 2, 3]),
    "with a clock set back": ([[10.0, 0.0, ""], [5.0], [10.001]], [*range(10_000, 10_005)]),
    "caught up by the clock": ([[0.002, "", 0.0, 0.01]], [2, 3, 4, 10]),
    "one row of each": ([[0.0]] * 3, [0, 1, 2]),
}


def old_file(path: Path, batches: list[tuple[int, list[str]]]) -> None:
    """A file of schema 2 with these rows: each has a room and the times of its entries."""
    shutil.copy(KEPT_FILES[2], path)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("DELETE FROM batches")
        file.execute("DELETE FROM rooms")
        for room in sorted({room for room, _ in batches}):
            file.execute("INSERT INTO rooms VALUES (?, ?, ?, '', 0)", (room, f"#{room}", "#"))
        positions: dict[int, int] = {}
        for room, times in batches:
            position = positions.get(room, 0) + 1
            positions[room] = position + len(times) - 1
            stated = [float(line) for line in times if line]
            lines = ["\n".join(["x"] * len(times))] * 3
            file.execute(
                "INSERT INTO batches VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, '')",
                (room, position, stated[-1], "\n".join(times), "s" * len(times), *lines),
            )


async def times(path: Path, room: str) -> list[float]:
    async with open_sqlite_log(path, "process", KEEP) as log:
        return [entry.time for entry in await log.read(room, 0, 10_000)]


@pytest.mark.parametrize("stretch", [1, 2, 1000])
async def test_times_of_older_files_are_made_to_grow(stretch: int, path: Path, monkeypatch) -> None:
    monkeypatch.setattr(schema, "STRETCH", stretch)
    rooms = dict(enumerate(OLD_TIMES.values(), 1))
    batches = [
        (room, [time if time == "" else repr(AT + time) for time in batches[at]])
        for at in range(5)  # the rooms' rows are among each other
        for room, (batches, _) in rooms.items()
        if at < len(batches)
    ]
    old_file(path, batches)
    for room, (_, expected) in rooms.items():
        assert await times(path, f"#{room}") == [AT + ms / 1000 for ms in expected]
    # Nothing that is said then is earlier, even if the clock is.
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    async with open_sqlite_log(path, "process", KEEP) as log:
        for room, (_, expected) in rooms.items():
            [entry] = await log.append([said("more", f"#{room}")])
            assert entry.time == AT + (expected[-1] + 1) / 1000


async def test_a_row_whose_times_are_none_is_left_as_it_is(path: Path) -> None:
    nonsense = ["soon", "nan", "inf", "-1.0", "1e300", f"{AT}.0\nsoon"]
    sound = (1, [f"{AT}.0", ""])
    old_file(path, [sound, *[(room, ["0.0"]) for room, _ in enumerate(nonsense, 2)], sound])
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        for room, line in enumerate(nonsense, 2):
            file.execute("UPDATE batches SET times = ? WHERE room = ?", (line, room))
    assert await times(path, "#1") == [AT, AT + 0.001, AT + 0.002, AT + 0.003]
    with contextlib.closing(sqlite3.connect(path)) as file:
        kept = file.execute("SELECT times FROM batches WHERE room > 1 ORDER BY room").fetchall()
    assert [line for (line,) in kept] == nonsense


# --- what a later version may write ---------------------------------------------------------------


async def test_entries_of_a_kind_that_is_unknown_are_read_as_messages(path: Path) -> None:
    async with open_sqlite_log(path, "process", KEEP) as log:
        await log.append([said(text) for text in "abc"])
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE batches SET kinds = 's?l'")
    async with open_sqlite_log(path, "process", KEEP) as log:
        entries = await log.read("#a", 0, 9)
        assert [(type(entry), entry.position, entry.text) for entry in entries] == [
            (Said, 1, "a"), (Said, 2, "b"), (Said, 3, "c"),
        ]  # fmt: skip
        assert await searched(log, "#a", ["b"], 9) == entries[1:2]
        assert [entry.position for entry in await log.append([said("d")])] == [4]


# --- its identity ---------------------------------------------------------------------------------


def identity(path: Path) -> str:
    async def main() -> str:
        async with open_sqlite_log(path, "process", KEEP) as log:
            assert log.snapshot("#none").log == log.snapshot("#a").log
            return log.snapshot("#a").log

    return trio.run(main)


def test_a_file_keeps_its_identity(path: Path) -> None:
    new = identity(path)
    append(path, "Hi")
    killed(path, "Ho")
    assert identity(path) == new
    assert len(new) == 24


def test_another_file_has_another_identity(path: Path) -> None:
    first = identity(path)
    path.unlink()
    assert identity(path) != first
    others = [path.with_name(f"{number}.db") for number in range(3)]
    assert len({identity(other) for other in others}) == 3


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_gets_an_identity_once(version: int, path: Path) -> None:
    shutil.copy(KEPT_FILES[version], path)
    first = identity(path)
    assert len(first) == 24
    assert identity(path) == first
    shutil.copy(KEPT_FILES[version], path)
    assert identity(path) != first


# --- a successor ----------------------------------------------------------------------------------


async def test_a_successor_brings_its_predecessors_file_to_this_schema(path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "trio_chat")
    shutil.copy(SCHEMA_1, path)
    lock = open_store(path, "process").lock
    async with open_sqlite_log(path, "process", KEEP, lock=lock) as log:
        assert len(await log.read("#general", 0, 100)) == 5
    assert [record.message for record in caplog.records] == [
        "the store has the form of this version now"
    ]


async def test_a_file_comes_back_from_an_older_version(path: Path) -> None:
    """That one has used it after an upgrade back, and has given it its own number."""
    lock = open_store(path, "process").lock
    with contextlib.closing(sqlite3.connect(path)) as connection:
        before = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        connection.execute("PRAGMA user_version = 3")
    async with open_sqlite_log(path, "process", KEEP, lock=lock):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        after = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
        [(version,)] = connection.execute("PRAGMA user_version")
    assert (after, version) == (before, SCHEMA_VERSION)


async def test_a_newer_file_keeps_its_number_when_it_is_handed_over(path: Path) -> None:
    lock = open_store(path, "process").lock
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    async with open_sqlite_log(path, "process", KEEP, lock=lock):
        pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(SCHEMA_VERSION + 1,)]


@pytest.mark.parametrize("version", KEPT_FILES)
async def test_a_chat_goes_on_with_a_file_of_any_schema(version: int, path: Path) -> None:
    shutil.copy(KEPT_FILES[version], path)
    async with (
        open_chat(Settings(store=f"sqlite:{path}")) as chat,
        line_client(chat, nick="john") as john,
    ):
        await john.send(
            "/join #STRASSE", "/search istanbul äpfel", "/search ΟΔΥΣΣΕΎΣ", "/history 1"
        )
        assert await john.sync() == [
            "> welcome to #STRASSE",
            "> topic of #STRASSE: Чай и 🍰",
            "> no messages found in #STRASSE",
            "> [1 2026-01-31 12:04:00 UTC] Жора: Straße, ÄPFEL & Οδυσσεύς",
            "> [3 2026-01-31 12:04:00 UTC] jack: İstanbul 👩‍👩‍👧",
        ]
