"""`trio-chat mute`, `ban`, `undo` and `log`: the operator's, with a running daemon."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from people import PASSWORD
from processes import Daemon, Run, Start, Talk, Talker
from served import Serve

from trio_chat.daemon.moderation_commands import action_lines

HERE, THERE = "203.0.113.7", "198.51.100.9"
# A proxy on this machine says where a client comes from.
BEHIND_A_PROXY = ("--trusted-proxies", "127.0.0.1")


def comes_from(talk: Talk, daemon, address: str, *lines: str) -> Talker:
    talker = talk(daemon)
    port = daemon.port
    talker.socket.sendall(f"PROXY TCP4 {address} 127.0.0.1 5000 {port}\r\n".encode())
    talker.say(*lines)
    return talker


def enters(talk: Talk, daemon, address: str, nick: str) -> Talker:
    talker = comes_from(talk, daemon, address, f"/nick {nick}", "/join #a")
    talker.hears_until("> welcome to #a")
    return talker


def logs_in(talk: Talk, daemon: Daemon, nick: str, code: str) -> Talker:
    talker = talk(daemon)
    talker.file.reconfigure(errors="backslashreplace")
    talker.say(f"/recover {nick}", code, PASSWORD, PASSWORD)
    while not talker.file.readline().rstrip().endswith(f"I will call you {nick}"):
        pass
    return talker


def test_the_owner_bans_a_network_without_accounts(
    run: Run, start: Start, talk: Talk, runtime: Path
) -> None:
    daemon = start(*BEHIND_A_PROXY)
    jim, kim = enters(talk, daemon, HERE, "jim"), enters(talk, daemon, THERE, "kim")
    ran = run("ban", "203.0.113.0/24", "2h", "much", "spam")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(" from the server for 2 hours: much spam [A1]\n")
    assert ran.out.startswith("banned net:")
    assert jim.rest()[-1].startswith("err: you are banned from this server until ")
    kim.hears_until("> jim has left the room")
    back = comes_from(talk, daemon, "203.0.113.200", "/nick tom", "/join #a")
    assert back.file.readline().startswith("err: you are banned from this server until ")
    assert run("undo", "A1").out.endswith(" for 2 hours: much spam [A2]\n")
    enters(talk, daemon, HERE, "jim")
    assert run("mute", "jim", "10m").out == (
        "muted the network of jim on the server for 10 minutes [A3]\n"
    )

    head, *lines = run("log").out.splitlines()
    assert head.split() == ["action", "when", "by", "what"]
    assert [line.split()[0] for line in lines] == ["A1", "A2", "A3"]
    assert "the operator of the server  muted the network of jim" in lines[-1]
    [row] = map(json.loads, run("log", "-n", "1", "--json").out.splitlines())
    assert (row["position"], row["nick"]) == (3, "the operator of the server")
    assert HERE not in run("log").out
    clients = [json.loads(line)["nick"] for line in run("clients", "--json").out.splitlines()]
    assert "the operator of the server" not in clients


def test_a_refusal_is_one_line_and_the_exit_code_1(
    run: Run, start: Start, talk: Talk, runtime: Path
) -> None:
    daemon = start(*BEHIND_A_PROXY)
    enters(talk, daemon, HERE, "jim")
    for arguments, line in (
        (("ban", "jim", "10min"), "'10min' is no TIME: 10m, 2h, 3d or forever"),
        (("ban", "tom"), "there is no account tom, and nobody here has that nick"),
        (("ban", "127.0.0.0/8"), "that would shut out you, or a trusted proxy"),
        (("ban", "net:zz"), "net: is followed by the tag of a network, such as net:7f3a09c2"),
        (("undo", "A9"), "there is no action A9"),
        (("undo", "x"), "the action must be a number that /log shows, such as A17"),
        (("mute", "jim", "--room", "#b"), "there is no room #b"),
        (("log", "--room", "#b"), "there is no room #b"),
        (("mute", "jim", "--room", "a b"), "a room name may not contain white space"),
    ):
        ran = run(*arguments)
        assert (ran.code, ran.out, ran.err) == (1, "", f"trio-chat: {line}\n")
    assert run("log").out == "there are no actions\n"
    assert run("log", "-n", "0").code == 2


def test_a_room_has_actions_of_its_own_also_while_it_is_empty(
    run: Run, start: Start, talk: Talk, runtime: Path
) -> None:
    daemon = start(*BEHIND_A_PROXY)
    jim, kim = enters(talk, daemon, HERE, "jim"), enters(talk, daemon, THERE, "kim")
    assert run("ban", "jim", "--room", "#A").out == "banned the network of jim for 2 hours [A1]\n"
    jim.hears_until("> kim joined the room")
    jim.file.readline()
    assert jim.file.readline().startswith("> you have left #a")
    kim.hears_until("> the operator of the server banned the network of jim for 2 hours [A1]")
    kim.say("/quit")
    kim.rest()
    assert run("undo", "A1", "--room", "#a").code == 0
    assert len(run("log", "--room", "#a").out.splitlines()) == 3
    assert run("log").out == "there are no actions\n"


@pytest.mark.parametrize("store", ["memory", "sqlite:chat.db"])
def test_a_ban_goes_over_to_another_version(
    serve: Serve, run: Run, talk: Talk, runtime: Path, store: str
) -> None:
    daemon = serve("--store", store, *BEHIND_A_PROXY)
    jim = enters(talk, daemon, HERE, "jim")
    ran = run("mute", "jim", "2h", "--control", str(daemon.control))
    assert ran.code == 0, ran
    ran = run("ban", f"{THERE}/24", "2h", "--control", str(daemon.control))
    assert ran.code == 0, ran
    daemon.upgraded()
    jim.say("/msg x")
    assert jim.file.readline().startswith("err: you are muted on this server until ")
    kim = comes_from(talk, daemon, THERE, "/nick kim")
    assert kim.file.readline().startswith("err: you are banned from this server until ")
    shown = run("log", "--control", str(daemon.control)).out.splitlines()
    assert [line.split()[0] for line in shown[1:]] == ["A1", "A2"]


def test_an_account_is_banned_over_a_restart(
    run: Run, start: Start, talk: Talk, runtime: Path
) -> None:
    daemon = start("--store", "sqlite:chat.db")
    code = run("account", "add", "john").out.split()[-1]
    john = logs_in(talk, daemon, "john", code)
    assert run("ban", "john", "forever", "spam").out == (
        "banned john from the server for ever: spam [A1]\n"
    )
    assert john.rest()[-1] == "err: you are banned from this server for ever: spam"
    daemon.process.terminate()
    daemon.stopped()
    daemon = start("--store", "sqlite:chat.db")
    code = run("account", "reset", "john").out.split()[-1]
    again = logs_in(talk, daemon, "john", code)
    assert again.rest()[-1] == "err: you are banned from this server for ever: spam"


def test_lines_of_actions_move_no_terminal() -> None:
    row = {"position": 7, "time": 0.0, "nick": "a\x1b[2J", "text": "b\x07"}
    shown = "\n".join(action_lines([row]))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_the_owner_removes_messages_for_good(
    run: Run, start: Start, talk: Talk, runtime: Path, tmp_path: Path
) -> None:
    daemon = start(f"--store=sqlite:{tmp_path / 'chat.db'}")
    jim, kim = talk(daemon), talk(daemon)
    for talker, nick in (jim, "jim"), (kim, "kim"):
        talker.say(f"/nick {nick}", "/join #a")
        talker.hears_until("> welcome to #a")
    jim.say("/msg one", "/msg an address of somebody", "/msg three")
    kim.hears_until("> jim: three")
    ran = run("remove", "--room", "#a", "2", "asked", "for")
    assert (ran.code, ran.out) == (0, "removed 1 message of jim: asked for\n")
    line = "> the operator of the server removed 1 message of jim: asked for"
    kim.hears_until(line)
    kim.say("/history")
    assert [kim.file.readline() for _ in range(4)][1].endswith("] (removed)\n")
    assert run("log", "--room", "#a").out == "there are no actions\n"
    assert run("remove", "--room", "#a", "jim").out == "removed 2 messages of jim\n"
    for arguments, error in (
        (("--room", "#a", "2"), "there is nothing to remove: no such message is kept here"),
        (("--room", "#b", "2"), "there is no room #b"),
        (("--room", "#a", "2-1"), None),
    ):
        ran = run("remove", *arguments)
        assert ran.code == 1
        assert ran.out == ""
        assert error is None or ran.err == f"trio-chat: {error}\n"
    assert run("remove", "2").code == 2  # without the room


def test_the_owner_has_newcomers_only_read(
    run: Run, start: Start, talk: Talk, runtime: Path
) -> None:
    daemon = start(*BEHIND_A_PROXY)
    jim = enters(talk, daemon, HERE, "jim")
    ran = run("raid", "1h", "since", "10m")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(
        "lets newcomers on the server only read, because of a raid, for 1 hour (until "
    )
    jim.say("/msg x")
    refusal = "err: because of a raid, newcomers can only read until "
    while not jim.file.readline().startswith(refusal):
        pass
    assert run("raid", "off").out == "ended the raid [A2]\n"
    assert run("raid", "off").err == "trio-chat: there is no raid on the server\n"
    assert run("raid", "2d").err == "trio-chat: TIME must be at most 1d\n"
