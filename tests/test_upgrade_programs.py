"""Upgrades while WebSocket clients talk: none is disconnected, and detached ones resume."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from processes import PATIENCE, Talk, wait_until
from served import Serve, Served
from websockets.sync.client import connect


class Program:
    """A WebSocket client that talks all the time, and notes what it hears."""

    def __init__(self, daemon: Served, nick: str, stack: ExitStack) -> None:
        url = f"ws://127.0.0.1:{daemon.port}/ws"
        self.connection = stack.enter_context(connect(url, proxy=None))
        self.hello = self.receive()
        self.nick = nick
        self.said = 0

    def receive(self) -> dict:
        return json.loads(self.connection.recv(PATIENCE))

    def ask(self, type: str, **fields: object) -> dict:
        """Ask for something; the answer, and nothing but joins before it."""
        self.send(type, id="asked", **fields)
        while (document := self.receive()).get("id") != "asked":
            assert document["type"] == "joined"
        return document

    def send(self, type: str, **fields: object) -> None:
        self.connection.send(json.dumps({"type": type, **fields}))

    def talk(self, ended: threading.Event) -> None:
        while not ended.wait(0.01):
            self.send("say", room="#x", text=f"{self.said}", id=f"{self.nick} {self.said}")
            self.said += 1
        self.send("say", room="#x", text="end")

    def listen(self, talkers: int) -> list[dict]:
        """All that it hears until each of so many has ended."""
        heard: list[dict] = []
        while talkers:
            heard.append(self.receive())
            talkers -= heard[-1]["text"] == "end"
        return heard


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_programs_talk_on(serve: Serve, talk: Talk, stack: ExitStack) -> None:
    daemon = serve("--store", "sqlite:chat.db")
    programs = [Program(daemon, f"p{number}", stack) for number in range(5)]
    john = talk(daemon, "/nick john", "/join #x")
    john.hears("> all right, I will call you john", "> welcome to #x")
    for program in programs:
        assert program.ask("take_nick", nick=program.nick)["type"] == "nick_taken"
        assert program.ask("join", room="#x")["type"] == "welcomed"
        john.hears(f"> {program.nick} joined the room")
    lost = programs.pop()
    for program in programs:
        program.ask("ping")
    ended = threading.Event()
    with ThreadPoolExecutor(2 * len(programs)) as pool:
        talking = [pool.submit(program.talk, ended) for program in programs]
        listening = [pool.submit(program.listen, len(programs)) for program in programs]
        lost.connection.socket.shutdown(socket.SHUT_RDWR)
        for _ in range(3):
            wait_until(lambda: daemon.status()["away"])
            daemon.upgraded()
        ended.set()
        for future in talking:
            future.result()
        heard = [future.result() for future in listening]

    for program, documents in zip(programs, heard, strict=True):
        own = [d for d in documents if d["author"] == program.hello["client"]]
        said = [f"{number}" for number in range(program.said)]
        assert [d["text"] for d in own] == [*said, "end"]
        assert [d.get("id") for d in own] == [*(f"{program.nick} {n}" for n in said), None]
        assert {d.get("id") for d in documents if d not in own} == {None}
    for documents in heard:
        for document in documents:
            document.pop("id", None)
        assert documents == heard[0]
    assert [d["position"] for d in heard[0]] == list(range(1, len(heard[0]) + 1))
    john.hears(*(f"> {d['nick']}: {d['text']}" for d in heard[0]))

    again = Program(daemon, "again", stack)
    who = {"client": lost.hello["client"], "token": lost.hello["token"]}
    assert again.ask("resume", **who, positions={"#x": 0})["nick"] == "p4"
    assert again.listen(len(programs)) == heard[0]
    assert again.receive()["type"] == "members_listed"
    john.say("/who")
    john.hears("> in #x: john, p0, p1, p2, p3, p4")
    status = daemon.status()
    assert (status["upgrades"], status["clients"], status["away"]) == (3, 6, 0)
