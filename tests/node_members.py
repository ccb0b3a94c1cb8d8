"""Clients of the machine "three nodes on Redis": what each has heard, and whether that is right."""

from __future__ import annotations

import re
from abc import abstractmethod
from contextlib import suppress

import trio
from attrs import define, field
from chats_machine import (
    ENDED,
    ChatMember,
    ProgramMember,
    StreamMember,
    call_of,
    document_of,
    line_of,
)
from documents import DocumentClient, frame

from trio_chat import Chat, ChatClosed, Refused
from trio_chat.protocol import events
from trio_chat.testing import LineClient

# Streams of the engine: room to its entries.
Streams = dict[str, list[events.PersistentEntry]]


@define
class Stay:
    """A stay in a room: the position at its beginning, if that is known, and what was heard."""

    begin: int | None
    heard: list[str] = field(factory=list)


class Member(ChatMember):
    """A client that knows which rooms it is in, and what it heard there.

    `over`: it has ended, or its chat has. `away`: its connection broke, and it may come back.
    """

    has_token = False

    def __init__(self, number: int, chat: Chat, nursery: trio.Nursery) -> None:
        super().__init__(number, chat, nursery)
        self.stays: dict[str, Stay] = {}
        self.said: list[str] = []
        self.refused: list[str] = []
        self.missed: list[str] = []
        self.away = self.gave_up = False

    @abstractmethod
    def hears(self, entry: events.PersistentEntry) -> bool:
        """Whether it notes this entry of a room that it is in."""

    def problems(self, streams: Streams) -> list[str]:
        """All that is wrong with what it has heard."""
        found = [f"{self.name} missed {what}" for what in self.missed]
        if len(self.told) > len(set(self.told)):
            found.append(f"{self.name} was told twice: {self.told}")
        for room, stay in {} if self.away else self.stays.items():
            due = [
                entry.text
                for entry in streams.get(room, [])
                if (stay.begin is None or entry.position > stay.begin) and self.hears(entry)
            ]
            # One that does not know where it began has heard the end of it.
            if stay.begin is None:
                due = due[len(due) - len(stay.heard) :]
            if stay.heard != due:
                found.append(f"{self.name} heard in {room} {stay.heard}, not {due}")
        texts = {entry.text for stream in streams.values() for entry in stream}
        found += [f"{self.name} lost {text}" for text in self.said if text not in texts]
        found += [f"{text} was refused, and yet said" for text in self.refused if text in texts]
        return found


class OnLines(Member, StreamMember):
    def hears(self, entry: events.PersistentEntry) -> bool:
        # A join repeats a topic.
        is_topic, acts = isinstance(entry, events.TopicSet), isinstance(entry, events.Acted)
        return not is_topic and (acts or entry.author != self.user)

    async def connect(self) -> None:
        await self.open_stream()
        self.client = LineClient(self.stream)
        self.nursery.start_soon(self.listen, self.stream)
        while not self.user:
            await trio.lowlevel.checkpoint()
            here = [s for s in self.chat._hub.state.sessions if s.link.peer == self.name]
            self.user = here[0].user.id if here else ""

    async def hear(self) -> None:
        while True:
            await self.reads.wait()
            line = await self.client.line()
            if not line:
                return
            if told := re.fullmatch(r"> \S+ \(to you\): (t\d+)", line):
                self.told.append(told[1])
            elif welcome := re.fullmatch(r"> welcome to (\S+)", line):
                self.stays = {welcome[1]: Stay(None)}
            elif line.startswith("> you have left "):
                self.stays = {}
            elif line.startswith("> you missed "):
                self.missed.append(line)
            elif said := re.fullmatch(r"> (?:\* \S+|\S+:) (t\d+x*)", line):
                [stay] = self.stays.values()
                stay.heard.append(said[1])

    async def ask(self, *ops: tuple[str, ...]) -> None:
        await self.send("".join(f"{line_of(*op)}\n" for op in ops).encode())

    async def end(self, how: str) -> None:
        self.over = True
        if how == "quit":
            await self.send(b"/quit\n")
        else:
            await self.drop(how)


class OnWebSocket(Member, StreamMember):
    has_token = True

    def hears(self, entry: events.PersistentEntry) -> bool:
        return True

    async def connect(self) -> None:
        self.labels = 0
        await self._open()
        self.hello = self.client.hello
        self.user = self.hello["client"]

    async def _open(self) -> None:
        self.away = False
        self.texts: dict[str, str] = {}
        await self.open_stream()
        self.client = DocumentClient(self.stream)
        await self.client.open()
        self.nursery.start_soon(self.listen, self.stream)

    async def listen(self, stream: trio.StapledStream) -> None:
        client = self.client
        await super().listen(stream)
        if client is self.client and not self.over:
            self.away = True  # its node has stopped, or has died

    async def hear(self) -> None:
        client = self.client
        while True:
            await self.reads.wait()
            got = await client.receive()
            if client is not self.client:
                return  # it has come back on another connection
            self._hear(got)

    def _hear(self, got: dict) -> None:  # noqa: C901 - a table of the kinds of events
        text = self.texts.pop(got.get("id", ""), None)
        match got:
            case {"type": "said" | "acted" | "topic_set", "room": room}:
                stay = self.stays[room]
                if stay.begin is None:
                    stay.begin = got["position"] - 1
                stay.heard.append(got["text"])
                if text is not None:
                    self.said.append(text)
            case {"type": "welcomed", "room": room}:
                self.stays[room] = Stay(got["position"])
            case {"type": "departed", "room": room}:
                self.stays.pop(room, None)
            case {"type": "refusal", "id": "resume", "code": code}:
                self._not_resumed(code)
            case {"type": "refusal"} if text is not None:
                self.refused.append(text)
            case {"type": "resumed", "rooms": rooms}:
                names = [room["room"] for room in rooms]
                self.stays = {name: self.stays.get(name, Stay(None)) for name in names}
            case {"type": "told", "text": told} if "id" not in got:
                self.told.append(told)
            case {"type": "missed"}:
                self.missed.append(str(got))

    def _not_resumed(self, code: str) -> None:
        if code == "cannot_write":
            self.away = True
        else:
            # It may have come back before the engine knew that it had joined.
            self.over = self.gave_up = True
            if self.stays:
                self.missed.append(f"its rooms, as it could not come back: {code}")
        self.scope.cancel("it could not come back")

    async def ask(self, *ops: tuple[str, ...]) -> None:
        data = b""
        for op in ops:
            self.labels += 1
            label = str(self.labels)
            if op[0] in ("say", "act", "topic"):
                self.texts[label] = op[2]
            data += frame({**document_of(*op), "id": label})
        await self.send(data)

    async def end(self, how: str) -> None:
        if how == "quit":
            self.over = True
            await self.send(frame({"type": "quit"}))
        else:
            self.away = True
            await self.drop(how)

    async def come_back(self, chat: Chat) -> None:
        self.chat = chat
        with suppress(*ENDED):
            await self._open()
            positions = {
                room: stay.begin + len(stay.heard)
                for room, stay in self.stays.items()
                if stay.begin is not None
            }
            about = {"client": self.user, "token": self.hello["token"], "positions": positions}
            await self.send(frame({"type": "resume", **about, "id": "resume"}))
            return
        self.away = True


class InProcess(Member, ProgramMember):
    def hears(self, entry: events.PersistentEntry) -> bool:
        return entry.author != self.user

    async def connect(self) -> None:
        # Positions and texts by room. One task hears, and another one joins and leaves.
        self.heard: dict[str, list[tuple[int, str]]] = {}
        await super().connect()

    async def hear(self, bot) -> None:
        async for event in bot:
            await self.reads.wait()
            match event:
                case events.Said() | events.Acted() | events.TopicSet():
                    self.heard.setdefault(event.room, []).append((event.position, event.text))
                case events.Told(text=text):
                    self.told.append(text)
                case events.Missed():
                    self.missed.append(str(event))

    async def perform(self, bot, op: str, *what: str) -> None:
        try:
            result = await call_of(bot, op, *what)
        except Refused:
            if op in ("say", "act", "topic"):
                self.refused.append(what[1])
            return
        except ChatClosed:
            return
        if op in ("say", "act", "topic"):
            self.said.append(what[1])
        elif isinstance(result, events.Welcomed):
            self.stays[what[0]] = Stay(result.position)
        elif op == "leave":
            self.stays.pop(what[0], None)

    def problems(self, streams: Streams) -> list[str]:
        for room, stay in self.stays.items():
            heard, begin = self.heard.get(room, []), stay.begin or 0
            stay.heard = [text for position, text in heard if position > begin]
        return super().problems(streams)
