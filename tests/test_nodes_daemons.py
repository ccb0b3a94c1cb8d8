"""Nodes as processes: the operator's commands for all of them, and what a stop means for people."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import Closed, dial_documents
from engine import Engine
from loopback import FAREWELL, dial
from processes import PATIENCE, Run, Talk, environment, wait_until
from served import Served
from test_redis_log import hear

from trio_chat.roomlog.redis.keys import KEY

# Longer than a busy machine holds a node up. Nodes see each other with each beat, five in a lease.
LEASE = "5"


Begin = Callable[..., Served]


@pytest.fixture
def begin(redis: Engine, tmp_path: Path) -> Iterator[Begin]:
    """A daemon of this name, on the engine."""
    daemons: list[Served] = []

    def start(name: str, *arguments: str) -> Served:
        folder = tmp_path / name
        folder.mkdir()
        store = ("--store", f"redis://127.0.0.1:{redis.port}", "--lease", LEASE)
        daemons.append(Served(folder, *store, "--node", name, *arguments))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.kill()


def at(daemon: Served) -> tuple[str, str]:
    return "--control", str(daemon.control)


def named(run: Run, daemon: Served) -> list[str]:
    """The nodes that have said something of themselves, with their states."""
    rows = map(json.loads, run("nodes", "--json", *at(daemon)).out.splitlines())
    return [f"{row['name']} {row['state']}" for row in rows if row["version"]]


def test_commands_mean_the_whole_chat(redis: Engine, begin: Begin, run: Run, talk: Talk) -> None:
    a, b = begin("a"), begin("b", "--lease", "60")
    wait_until(lambda: named(run, a) == ["a serving", "b serving"])
    ran = run("nodes", *at(b))
    assert (ran.code, ran.err) == (0, "")
    head, first, _ = ran.out.splitlines()
    assert head.split()[:5] == ["node", "state", "lease", "left", "version"]
    assert head.split()[5:] == ["process", "clients", "users", "unread", "since"]
    assert re.fullmatch(rf"a +serving +\d\.\d s +\S+ +\S+/{a.process.pid} +0 +0 +0 +\S+Z", first), (
        first
    )

    jack = talk(a, "/nick jack", "/join #a")
    jack.hears_until("> welcome to #a")
    jill = talk(b, "/nick jill", "/join #a")
    jack.hears_until("> jill joined the room")
    out = run("clients", *at(a)).out
    head, *rows = [line.split() for line in out.splitlines()]
    assert head[-2:] == ["node", "rooms"]
    assert [(row[0], *row[-2:]) for row in rows] == [("jack", "a", "#a"), ("jill", "b", "#a")]
    [row] = run("clients", "--node", "b", "--json", *at(a)).out.splitlines()
    assert (json.loads(row)["nick"], json.loads(row)["node"]) == ("jill", "b")
    ran = run("clients", "--node", "c", *at(a))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "trio-chat: there is no node c: trio-chat nodes lists them\n"

    assert run("announce", "to", "all", *at(b)).out == "2 clients got the line\n"
    assert run("announce", "--node", "a", "to a", *at(b)).out == "1 client got the line\n"
    jack.hears_until("> to all")
    jack.hears_until("> to a")
    jill.hears_until("> to all")

    ran = run("kick", "JILL", "no", "more", *at(a))
    assert (ran.code, ran.out, ran.err) == (0, "JILL is disconnected\n", "")
    jill.hears_until("err: no more")
    jack.hears_until("> jill has left the room")
    ran = run("kick", "jill", "no more", *at(a))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "trio-chat: there is no client with the nick or the id jill\n"

    # A node learns of the others with each beat.
    wait_until(lambda: "\n  other nodes       1\n" in run("status", *at(a)).out)
    out = run("status", *at(a)).out
    assert "\nnode\n  name              a\n" in out
    assert re.search(r"\n  lease left +[\d.]+ of 5 s\n", out), out
    assert re.search(
        r"\n  engine +127\.0\.0\.1:\d+, up since \S+Z\n  round trips +\d+, 99 % up to ", out
    )

    # An upgraded node goes on with its place and its mailbox.
    b.upgraded()
    assert run("announce", "after that", *at(a)).out == "1 client got the line\n"
    assert [
        row["node"] for row in map(json.loads, run("clients", "--json", *at(b)).out.splitlines())
    ] == ["a"]

    b.kill()
    ran = run("announce", "is there anybody", *at(a))
    assert (ran.code, ran.out) == (1, "1 client got the line\n")
    assert ran.err == "trio-chat: no answer from b\n"
    redis.ask("ZADD", f"{KEY}:leases", "1", "b")  # as at the end of its lease
    wait_until(lambda: named(run, a) == ["a serving"])


def test_a_daemon_alone_has_no_nodes(serve, run: Run) -> None:
    daemon = serve()
    ran = run("nodes", *at(daemon))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "trio-chat: this chat has no nodes: its store is memory, and several daemons share a chat "
        "by a store on Redis\n"
    )
    ran = run("announce", "hi", "--node", "a", *at(daemon))
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


async def test_a_stop_moves_those_who_can_resume_and_ends_the_others(begin: Begin) -> None:
    # A lease that lasts longer than the test: what happens does not happen by its end.
    a, b = begin("a", "--lease", "60"), begin("b", "--lease", "60")
    jill = await dial(b.port, nick="jill", room="#a")
    line = await dial(a.port, nick="line", room="#a")
    jack = await dial_documents(a.port, nick="jack", rooms=("#a",))
    await hear(jill, "> jack joined the room")
    stopping = a.command("stop")
    heard = [{}]
    while heard[-1].get("type") != "stopping":
        heard.append(await jack.receive())
    assert heard[-1]["restarting"]
    with pytest.raises(Closed) as closed:
        await jack.receive()
    assert closed.value.code == 1012
    assert (await line.rest())[-1] == FAREWELL
    out, err = stopping.communicate(timeout=20)
    assert err == ""
    assert out == (
        f"process {a.process.pid} has stopped\n"
        "1 WebSocket client may resume within 60 seconds, on another node\n"
    )
    # Line clients have left at once, long before a lease has run out.
    await hear(jill, "> line has left the room")
    back = await dial_documents(b.port)
    resumed = await back.ask(
        *("resume",),
        client=jack.hello["client"],
        token=jack.hello["token"],
        positions={"#a": 0},
    )
    assert (resumed["type"], resumed["nick"]) == ("resumed", "jack")
    await jill.send("/msg hello")
    while (seen := await back.receive())["type"] != "said":
        assert seen["type"] in ("members_listed", "left")
    assert seen["text"] == "hello"
    # Nobody saw jack leave or join.
    assert [text for text in await jill.sync() if "jack" in text] == []
    assert run_of(b, "stop") == (
        f"process {b.process.pid} has stopped\n"
        "1 WebSocket client may resume within 60 seconds, once a node has started: no other is "
        "there\n"
    )


def run_of(daemon: Served, command: str) -> str:
    out, _ = daemon.command(command).communicate(timeout=20)
    return out


def test_a_node_that_waits_for_a_lease_can_be_stopped(redis: Engine, tmp_path: Path) -> None:
    options = ("--store", f"redis://127.0.0.1:{redis.port}", "--node", "a", "--lease", "60")
    before = Served(tmp_path, *options)
    before.kill()
    command = [sys.executable, "-m", "trio_chat", "serve", "--port", "0", *options]
    with subprocess.Popen(
        command, env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as again:
        try:
            while "INFO waiting for an earlier node's lease" not in (
                line := again.stderr.readline()
            ):
                assert line, "it has ended"
            again.send_signal(signal.SIGTERM)
            assert again.wait(PATIENCE) == 0
            assert re.fullmatch(r"\S+ INFO stopping signal=SIGTERM\n", again.stderr.read())
        finally:
            again.kill()


def test_workers_speak_with_one_voice(begin: Begin, run: Run, talk: Talk) -> None:
    served = begin("w", "--workers", "2")
    talkers = [talk(served, f"/nick n{n}") for n in range(10)]
    for number, talker in enumerate(talkers):
        talker.hears_until(f"> all right, I will call you n{number}")
    out = run("clients", *at(served)).out
    assert sorted(line.split()[0] for line in out.splitlines()[1:]) == [f"n{n}" for n in range(10)]
    assert run("announce", "Hi", "all", *at(served)).out == "10 clients got the line\n"
    for talker in talkers:
        talker.hears_until("> Hi all")
        talker.say("/help nick")
        assert "Hi all" not in talker.file.readline()
    assert run("kick", "n3", "enough", *at(served)).out == "n3 is disconnected\n"
    wait_until(lambda: len(named(run, served)) == 2)
    for row in served.status()["workers"]:
        served.pids.add(row["process"])
        assert row["node"]["up"]


async def test_a_stop_of_workers_moves_people_too(begin: Begin) -> None:
    served = begin("w", "--workers", "2")
    for row in served.status()["workers"]:
        served.pids.add(row["process"])
    for number in range(3):
        await dial_documents(served.port, nick=f"n{number}")
    assert run_of(served, "stop") == (
        f"process {served.process.pid} has stopped\n"
        "3 WebSocket clients may resume within 60 seconds, once a node has started: no other is "
        "there\n"
    )
