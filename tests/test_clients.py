"""`trio-chat clients` and `trio-chat announce`: who is connected, and a line for all of them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import trio
from processes import Run, Start, Talk
from test_operations import OWN

from trio_chat import open_chat
from trio_chat.config.settings import Settings
from trio_chat.daemon.clients import MOST_WIDTH, client_lines
from trio_chat.daemon.control import Listing
from trio_chat.daemon.operations import Operations
from trio_chat.errors import ControlError, Refused

ANN = {
    "id": "a",
    "nick": "ann",
    "rooms": ["#general", "#go"],
    "dialect": "websocket",
    "address": "::1:5",
    "tls": True,
    "since": 1769860800.9,
    "idle": 59.4,
    "state": "connected",
}


def test_a_table_for_people() -> None:
    bob = {**ANN, "nick": "bob", "dialect": "line", "tls": False, "rooms": [], "state": "lagging"}
    bob["idle"] = 7200
    assert list(client_lines([ANN, bob])) == [
        "nick  since                 idle  from   by                  state      rooms",
        "ann   2026-01-31T12:00:00Z  59 s  ::1:5  websocket with TLS  connected  #general, #go",
        "bob   2026-01-31T12:00:00Z  2 h   ::1:5  line                lagging",
    ]
    assert list(client_lines([])) == ["no clients are connected"]


def test_nothing_in_the_table_moves_the_cursor_or_is_endless() -> None:
    _, row = client_lines([{**ANN, "nick": "\x1b[2J", "address": "x" * 1000, "rooms": ["\n"]}])
    assert "\\u001b[2J" in row
    assert row.endswith("\\n")
    assert f" {'x' * (MOST_WIDTH - 1)}\u2026 " in row
    # An older or newer daemon may say less, or something else.
    assert list(client_lines([{"rooms": 5, "since": "x"}]))[1] == ""


def operations(chat) -> Operations:
    return Operations(chat, [], Settings, lambda _: None, trio.Event(), OWN)


async def test_no_more_than_the_limit_are_listed() -> None:
    async with open_chat() as chat, chat.connect("ann"), chat.connect("bob"), chat.connect("cid"):
        listing = await operations(chat).clients(2)
        assert isinstance(listing, Listing)
        assert listing.answer == {"clients": 3, "shown": 2}
        assert [row["nick"] for row in listing.rows] == ["ann", "bob"]
        for limit in (0, 10_001):
            with pytest.raises(ControlError, match="the limit must be from 1 to 10000"):
                await operations(chat).clients(limit)


async def test_an_announcement_has_to_be_a_line(caplog) -> None:
    async with open_chat() as chat, chat.connect("ann"):
        assert await operations(chat).announce("hi") == {"clients": 1}
        for text in ("", "a\nb", "\x1b[2J", "x" * 2001):
            with pytest.raises(Refused):
                await operations(chat).announce(text)


def test_a_daemon_lists_its_clients_and_announces(
    run: Run, start: Start, talk: Talk, runtime: Path
) -> None:
    daemon = start()
    ran = run("clients")
    assert (ran.code, ran.err, ran.out) == (0, "", "no clients are connected\n")
    john, jack = talk(daemon, "/nick john", "/join #a"), talk(daemon, "/nick jack")
    john.hears("> all right, I will call you john", "> welcome to #a")
    jack.hears("> all right, I will call you jack")
    rows = [json.loads(line) for line in run("clients", "--json").out.splitlines()]
    assert [(row["nick"], row["rooms"], row["dialect"], row["tls"]) for row in rows] == [
        ("john", ["#a"], "line", False),
        ("jack", [], "line", False),
    ]
    assert abs(rows[0]["since"] - time.time()) < 60
    ran = run("clients", "--port", str(daemon.port), "--limit", "1")
    assert re.search(r"\njohn  \S+Z  \d+ s +127\.0\.0\.1:\d+  line  connected  #a\n$", ran.out)
    assert (ran.code, ran.err) == (0, "trio-chat: not shown: 1; raise --limit to see them\n")

    ran = run("announce", "Restart", "at noon.")
    assert (ran.code, ran.out, ran.err) == (0, "2 clients got the line\n", "")
    for client in (john, jack):
        client.hears("> Restart at noon.")
    ran = run("announce", "two\nlines")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    daemon.logs('INFO announced by="control socket" clients=2\n')
