"""`trio-chat store copy` to a chat on Redis and from it: complete or not at all, and compared."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import trio
from attrs import evolve
from engine import Engine
from processes import PATIENCE, Run, environment
from stores import read_all

from trio_chat import Settings, open_chat
from trio_chat.config.store_access import read_store_access
from trio_chat.errors import StoreError
from trio_chat.protocol.events import Acted, Held, PersistentEntry, Ruled, Said, TopicSet
from trio_chat.roomlog.holding import Waiting
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.checks import open_checked
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.history import History
from trio_chat.roomlog.redis.keys import KEY, SCHEMA
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.rules import Action, Rules
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.stores import redis_bulk
from trio_chat.stores.bulk import StoredRoom, StoreReader
from trio_chat.stores.copying import Copied
from trio_chat.stores.places import copy_store
from trio_chat.stores.sqlite_bulk import SqliteReader, SqliteWriter
from trio_chat.testing import line_client

P = KEY
EARLY = 1_769_860_800_000
ROOMS = 5


@pytest.fixture
def url(engine: Engine) -> str:
    """An empty database."""
    engine.ask("FLUSHALL", "SYNC")
    return f"redis://127.0.0.1:{engine.port}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries_of(room: str, first: int, count: int) -> list[PersistentEntry]:
    """Entries of all kinds; some are a millisecond apart, as those of one turn."""
    made: list[PersistentEntry] = []
    when = EARLY
    for position in range(first, first + count):
        when += 1 if position % 5 else 60_000
        about = (f"id-{position % 3}", f"nick{position % 3}", f"{position} ÄÖ 📯 {room}")
        if position % 11 == 0:
            made.append(TopicSet(room, room.upper(), *about, position, when / 1000))
        else:
            kind = Acted if position % 7 == 0 else Said
            made.append(kind(room, *about, position, when / 1000))
    return made


def room_of(name: str, entries: list[PersistentEntry], last: int = 0) -> StoredRoom:
    """The room with these entries, or without any after `last` that are gone."""
    if not entries:
        return StoredRoom(name, name, None, last, last, EARLY / 1000)
    topics = [entry for entry in entries if isinstance(entry, TopicSet)]
    topic = None
    if topics:
        newest = topics[-1]
        about = (newest.author, newest.nick, newest.text, 0, newest.time)
        topic = TopicSet(name, newest.room_name, *about)
    shown = topic.room_name if topic else name
    last_entry = entries[-1]
    return StoredRoom(
        name, shown, topic, entries[0].position - 1, last_entry.position, last_entry.time
    )


@pytest.fixture
def store(folder: Path) -> Path:
    """A file with rooms that were trimmed, are long, have no topic, or no entries any more."""
    rooms = {
        "#a": entries_of("#a", 1, 5),
        "#b": entries_of("#b", 101, 3000),
        "#c": [],
        "#dé": entries_of("#dé", 7, 30),
        "#e": entries_of("#e", 1, 1),
    }
    path = folder / "chat.db"
    path.touch()

    async def main() -> None:
        with closing(SqliteWriter(path)) as writer:
            await writer.positions_from(77)
            for name, entries in rooms.items():
                await writer.add_room(room_of(name, entries, last=40))
                await writer.add(name, entries)
            (await writer.finish()).close()

    trio.run(main)
    return path


async def read_whole(reader: StoreReader) -> tuple[int, list[StoredRoom], list[PersistentEntry]]:
    return await reader.positions_from(), *await read_all(reader)


async def read_file(path: Path) -> tuple[int, list[StoredRoom], list[PersistentEntry]]:
    with closing(SqliteReader(path)) as reader:
        return await read_whole(reader)


def in_file(path: Path) -> tuple[int, list[StoredRoom], list[PersistentEntry]]:
    return trio.run(read_file, path)


def in_engine(url: str) -> tuple[int, list[StoredRoom], list[PersistentEntry]]:
    async def main() -> tuple[int, list[StoredRoom], list[PersistentEntry]]:
        access = read_store_access(Settings(store=url))
        assert access is not None
        with closing(redis_bulk.Engine(access)) as engine:
            return await read_whole(redis_bulk.RedisReader(engine))

    return trio.run(main)


def keys(engine: Engine) -> int:
    return int(engine.ask("DBSIZE")[1:])


def lease(engine: Engine, name: str = "node-1") -> None:
    """A node that lives for some minutes."""
    now = int(engine.ask("EVAL", "return redis.call('TIME')[1]", "0")) * 1000
    engine.ask("ZADD", f"{P}:leases", str(now + 600_000), name)


def test_a_file_goes_to_redis_and_back_unchanged(
    run: Run, store: Path, engine: Engine, url: str
) -> None:
    ran = run("store", "copy", "sqlite:chat.db", url)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{url} has 3,036 entries in 5 rooms of sqlite:chat.db\n"
    floor, rooms, entries = in_file(store)
    assert (floor, len(rooms), len(entries)) == (77, ROOMS, 3036)
    found = in_engine(url)
    assert found == (floor, [seen(room) for room in rooms], entries)
    assert len(engine.ask("GET", f"{P}:id")) == 24
    assert engine.ask("GET", f"{P}:schema") == "1"  # older versions understand all of it
    # The keys of the copy are gone, and the others stay for ever.
    assert engine.ask("EVAL", f"return #redis.call('KEYS', '{redis_bulk.COPY_KEY}*')", "0") == ":0"
    assert engine.ask("EVAL", TTLS, "0") == ":0"
    ran = run("store", "copy", url, "back.db")
    assert (ran.code, ran.err) == (0, "")
    assert in_file(Path("back.db"))[::2] == (floor, entries)
    assert identity(Path("back.db")) != identity(store)


# The number of keys that expire.
TTLS = """
local count = 0
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TTL', key) ~= -1 then count = count + 1 end
end
return count
"""


def seen(room: StoredRoom) -> StoredRoom:
    """A room as Redis has it: without its name as people see it."""
    topic = room.topic
    if topic is not None:
        about = (topic.author, topic.nick, topic.text, 0, topic.time)
        topic = TopicSet(room.name, room.name, *about)
    return StoredRoom(room.name, room.name, topic, room.floor, room.position, room.time)


def identity(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        [(identity,)] = connection.execute("SELECT identity FROM log")
    return identity


FIELDS: Final = ({"pin": "1", "mute a.x": "y"}, {}, {"pin": None})


def test_settings_of_newer_versions_keep_older_ones_away_from_a_copy(
    run: Run, store: Path, engine: Engine, url: str
) -> None:
    async def limit() -> None:
        async with open_sqlite_log(store, "process", Retention(9_999, 100)) as log:
            version = log.snapshot("#b").rules.version
            await log.append([Ruled("#b", "#B", "m", "mary", "acts", {"set limit": "2"}, version)])

    trio.run(limit)
    assert run("store", "copy", "chat.db", url).code == 0
    assert engine.ask("GET", f"{P}:schema") == "4"


def test_rules_actions_and_what_waits_go_to_redis_and_back(
    run: Run, store: Path, engine: Engine, url: str
) -> None:
    async def act() -> None:
        async with open_sqlite_log(store, "process", Retention(9_999, 100)) as log:
            for number, changes in enumerate(FIELDS):
                version = log.snapshot("#b").rules.version
                about = "#b", "#B", "id-mary", "mary", f"action {number}"
                [entry] = await log.append([Ruled(*about, changes, version)])
                assert isinstance(entry, Ruled)
            waits = [
                Held("#b", "#B", "jim", "jim", "said", text, networks="net:1") for text in "xyz"
            ]
            await log.append(waits)
            await log.append([evolve(waits[1], state="dropped")])

    async def acted(place: str) -> tuple[Rules, list[Action], list[Waiting]]:
        async with open_sqlite_log(Path(place), "process", Retention(9_999, 100)) as log:
            actions, held = await log.actions("#b", None, 9), await log.held("#b")
            return log.snapshot("#b").rules, actions, [evolve(one, time=0.0) for one in held]

    trio.run(act)
    before = trio.run(acted, "chat.db")
    assert [dict(action.was) for action in before[1]][2] == {"pin": "1"}
    assert run("store", "copy", "chat.db", url).code == 0
    assert [one.number for one in before[2]] == [1, 3]
    assert engine.ask("GET", f"{P}:schema") == "3"
    assert engine.ask("EVAL", TTLS, "0") == ":0"
    assert engine.ask("HGET", f"{P}:counts", "mute a.x\ny") == "1"
    assert run("store", "copy", url, "back.db").code == 0
    assert trio.run(acted, "back.db") == before


def test_nodes_find_the_history(run: Run, store: Path, engine: Engine, url: str) -> None:
    assert run("store", "copy", "chat.db", url).code == 0
    _, _, entries = in_file(store)
    in_b = [entry for entry in entries if entry.room == "#b"]

    async def main() -> None:
        access = read_store_access(Settings(store=url))
        client = Client(partial(open_checked, access), P)
        history = History(client, lambda: 0.0)
        with closing(client):
            assert await history.read("#b", 0, 9_999) == in_b
            assert await history.read("#b", 500, 40) == in_b[400:440]
            assert await history.before("#b", None, 100) == in_b[-100:]
            assert await history.before("#b", 777, 10) == in_b[666:676]
            found = await history.search("#b", ["3099 äö"], 3, 9_999)
            assert found.entries == [entry for entry in in_b if entry.position == 3099]

    trio.run(main)


async def test_a_chat_goes_on_where_the_file_ended(store: Path, engine: Engine, url: str) -> None:
    await copy_store("chat.db", url, lambda _: None)
    node = Settings(store=url, node="a", lease=1.0)
    async with open_chat(node) as chat, line_client(chat, nick="john", room="#B") as john:
        await john.send("/history 1", "/msg more", "/msg in #B")
        lines = await john.sync()
        assert [line[-len(" 3100 ÄÖ 📯 #b") :] for line in lines if "3100" in line]
        with pytest.raises(StoreError, match=r"nodes use the chat .*: stop them first \(a\)"):
            await copy_store("chat.db", url, lambda _: None, force=True)
        copied, in_use = await copy_store(url, "backup.db", lambda _: None)
    assert (copied.entries, in_use) == (3038, True)
    entries = (await read_file(Path("backup.db")))[2]
    last = [entry for entry in entries if entry.room == "#b"][-2:]
    assert [(entry.position, entry.nick, entry.text) for entry in last] == [
        (3101, "john", "more"),
        (3102, "john", "in #B"),
    ]
    # The node has stopped.
    copied, in_use = await copy_store("backup.db", url, lambda _: None, force=True)
    assert (copied.entries, in_use) == (3038, False)


def test_bytes_are_counted_as_nodes_count_them(
    run: Run, store: Path, engine: Engine, url: str
) -> None:
    """When all rooms are forgotten, nothing is left of the count."""
    assert run("store", "copy", "chat.db", url).code == 0
    assert int(engine.ask("GET", f"{P}:bytes")) > 100_000
    forget = """
    for _, room in ipairs(call('ZRANGE', P..':sizes', 0, -1)) do
      while drop_oldest(room, 1000000, 1000000000) do end
      if tonumber(call('HGET', P..':r:'..room, 'b')) ~= ROOM_BYTES then return room end
      forget_history(room)
    end
    return call('GET', P..':bytes')
    """
    common = scripts._COMMON
    assert engine.ask("EVAL", common + forget, "1", P) == "0"


def test_a_chat_with_rooms_gives_way_to_force_alone(
    run: Run, store: Path, engine: Engine, url: str
) -> None:
    engine.ask("SET", "of another program", "1")
    assert run("store", "copy", "chat.db", url).code == 0
    first = engine.ask("GET", f"{P}:id")
    count = keys(engine)
    engine.ask("HSET", f"{P}:users", "left", "behind")
    engine.ask("SET", f"{P}:c", "41")
    ran = run("store", "copy", "chat.db", url)
    where = url.removeprefix("redis://")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"trio-chat: the chat on Redis at {where} has rooms (5): give another database, "
        f"or --force to replace them\n"
    )
    assert engine.ask("GET", f"{P}:id") == first
    assert run("store", "copy", "--force", "chat.db", url).code == 0
    assert engine.ask("GET", f"{P}:id") != first
    assert keys(engine) == count
    assert engine.ask("GET", "of another program") == "1"
    assert engine.ask("GET", f"{P}:c") == "42"
    assert in_engine(url)[2] == in_file(store)[2]


def test_a_chat_that_nodes_use_is_read_and_not_replaced(
    run: Run, store: Path, engine: Engine, url: str
) -> None:
    assert run("store", "copy", "chat.db", url).code == 0
    lease(engine)
    ran = run("store", "copy", "--force", "chat.db", url)
    where = url.removeprefix("redis://")
    assert (ran.code, ran.out) == (2, "")
    assert (
        ran.err == f"trio-chat: nodes use the chat on Redis at {where}: stop them first (node-1)\n"
    )
    ran = run("store", "copy", url, "copy.db")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(
        f"\na daemon uses {url}: what people say from now on is not in the copy\n"
    )


def test_a_node_that_starts_meanwhile_ends_the_copy(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    finish = redis_bulk.RedisWriter.finish

    async def late(self: redis_bulk.RedisWriter) -> redis_bulk.RedisReader:
        lease(engine)
        return await finish(self)

    monkeypatch.setattr(redis_bulk.RedisWriter, "finish", late)
    ran = run("store", "copy", "chat.db", url)
    assert ran.code == 2
    assert ran.err.endswith(": stop them first (node-1)\n")
    assert in_engine(url) == (0, [], [])


def test_entries_that_come_or_go_meanwhile_do_no_harm(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    """The copy has each room up to its position at the beginning."""
    assert run("store", "copy", "chat.db", url).code == 0
    read = redis_bulk.RedisReader.read

    async def busy(self: redis_bulk.RedisReader, room: str, after: int) -> list[PersistentEntry]:
        if room == "#b" and after == 100:
            engine.ask("XTRIM", f"{P}:e:#b", "MINID", "201-0")
            engine.ask(
                "XADD", f"{P}:e:#b", "3101-0", "n", "1", "t", "1", "i", "x", "d", "S\0a\0n\0m"
            )
        return await read(self, room, after)

    monkeypatch.setattr(redis_bulk.RedisReader, "read", busy)
    assert run("store", "copy", url, "copy.db").code == 0
    _, rooms, entries = in_file(Path("copy.db"))
    in_b = [entry.position for entry in entries if entry.room == "#b"]
    assert in_b[-1] == 3100
    assert in_b[0] <= 201
    assert in_b == [*range(in_b[0], 3101)]
    assert [room.position for room in rooms if room.name == "#b"] == [3100]


def test_a_newer_schema_is_refused(run: Run, store: Path, engine: Engine, url: str) -> None:
    engine.ask("SET", f"{P}:schema", str(SCHEMA + 1))
    ran = run("store", "copy", "--force", "chat.db", url)
    assert ran.code == 2
    told = f"(schema {SCHEMA + 1}, known here is {SCHEMA}): run that one, or give another"
    assert told in ran.err


def in_the_middle(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do this before a copy to Redis adds the room #dé."""
    add = redis_bulk.RedisWriter.add

    async def act_and_add(self: redis_bulk.RedisWriter, room: str, entries) -> None:
        if room == "#dé":
            act()
        await add(self, room, entries)

    monkeypatch.setattr(redis_bulk.RedisWriter, "add", act_and_add)


def test_a_full_engine_is_told_in_one_line(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    in_the_middle(monkeypatch, lambda: engine.ask("CONFIG", "SET", "maxmemory", "1"))
    try:
        ran = run("store", "copy", "chat.db", url)
    finally:
        engine.ask("CONFIG", "SET", "maxmemory", "0")
    where = url.removeprefix("redis://")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"trio-chat: Redis at {where} has no memory for the copy: raise its maxmemory, "
        f"or lower history_entries of the source first\n"
    )
    assert keys(engine) == 0


def test_passwords_are_in_files_and_nowhere_else(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    secret = Path("secret")
    secret.touch(mode=0o600)
    secret.write_text("hush\n")
    engine.ask("CONFIG", "SET", "requirepass", "hush")
    try:
        ran = run("store", "copy", "chat.db", url)
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert "wants a password" in ran.err
        assert run("store", "copy", "--store-password-file", "secret", "chat.db", url).code == 0
        monkeypatch.setenv("TRIO_CHAT_STORE_PASSWORD_FILE", str(secret))
        ran = run("store", "copy", url.replace("//", "//:hush@"), "copy.db")
        assert ran.code == 0
        assert "hush" not in ran.out
        assert run("store", "copy", "--force", url, "copy.db").code == 0
    finally:
        with socket.create_connection(("127.0.0.1", engine.port), PATIENCE) as connection:
            connection.sendall(b"AUTH hush\r\nCONFIG SET requirepass ''\r\n")
            with connection.makefile("rb") as answers:
                assert [answers.readline() for _ in range(2)] == [b"+OK\r\n"] * 2


# --- interrupted ----------------------------------------------------------------------------------

# The command, which stops at its first progress.
SLOW = """
import sys, time
from trio_chat import cli
from trio_chat.daemon import store_commands
class Line(store_commands.ProgressLine):
    def show(self, text):
        super().show(text)
        if "3 of 5 rooms" not in text and "2 of 5" not in text:
            return
        print("begun", flush=True)
        while True:
            time.sleep(60)  # until a signal
store_commands.ProgressLine = Line
sys.stderr.isatty = lambda: True
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_copy_leaves_nothing_that_looks_complete(
    number: signal.Signals, run: Run, store: Path, engine: Engine, url: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, "store", "copy", "chat.db", url],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    assert b"Traceback" not in err
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert in_engine(url) == (0, [], [])
    assert engine.ask("EXISTS", f"{P}:id", f"{P}:schema") == ":0"
    left = keys(engine)
    assert (left > 0) == (number == signal.SIGKILL)
    # All that is left goes away by itself.
    assert engine.ask("EVAL", TTLS, "0") == f":{left}"
    assert run("store", "copy", "chat.db", url).code == 0
    assert in_engine(url)[2] == in_file(store)[2]
    assert engine.ask("EVAL", TTLS, "0") == ":0"


def test_of_two_copies_the_later_one_counts(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    add = redis_bulk.RedisWriter.add
    others: list[Copied] = []

    async def overtaken(self: redis_bulk.RedisWriter, room: str, entries) -> None:
        if not others:
            with monkeypatch.context() as patch:
                patch.setattr(redis_bulk.RedisWriter, "add", add)
                others.append((await copy_store("chat.db", url, lambda _: None))[0])
        await add(self, room, entries)

    monkeypatch.setattr(redis_bulk.RedisWriter, "add", overtaken)
    ran = run("store", "copy", "chat.db", url)
    where = url.removeprefix("redis://")
    assert ran.code == 2
    assert ran.err == (
        f"trio-chat: another copy to Redis at {where} has begun, and this one has ended\n"
    )
    assert others[0].entries == 3036
    assert in_engine(url)[2] == in_file(store)[2]


def test_an_engine_that_goes_away_is_told_in_one_line(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    in_the_middle(monkeypatch, engine.kill)
    ran = run("store", "copy", "chat.db", url)
    engine.start()
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "run the command again later" in ran.err
    assert in_engine(url) == (0, [], [])


def test_an_answer_that_is_lost_at_the_end_is_looked_up(
    run: Run, store: Path, engine: Engine, url: str, monkeypatch
) -> None:
    script = redis_bulk.Engine.script
    done = True

    async def lost(self, *arguments, **options):
        publishing = "publish" in arguments
        reply = None
        if done or not publishing:
            reply = await script(self, *arguments, **options)
        if publishing:
            raise redis_bulk.EngineLost("no answer")
        return reply

    monkeypatch.setattr(redis_bulk.Engine, "script", lost)
    assert run("store", "copy", "chat.db", url).code == 0
    done = False
    ran = run("store", "copy", "--force", "chat.db", url)
    assert (ran.code, ran.err) == (2, "trio-chat: no answer\n")
