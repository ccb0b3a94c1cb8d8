"""As `test_freeze_any`, with WebSocket clients, whose connections break now and then."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack

import pytest
import trio
from attrs import evolve, frozen
from documents import DocumentClient, dial_documents, frame
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from loopback import chat_on_tcp, ticks, until
from snapshots import hand_over, succeed

pytestmark = pytest.mark.usefixtures("waiting")

PROGRAMS = 3
ROOM = {"room": "#x"}
COMMANDS = [
    *({"type": "take_nick", "nick": nick} for nick in ("john", "rnary", "mary", "jack")),
    *({"type": "join", "room": room} for room in ("#x", "#X", "#y", "#kept")),
    {"type": "leave", **ROOM},
    {"type": "say", "text": "hi", **ROOM},
    {"type": "say", "text": "x" * 100, "room": "#y"},
    {"type": "say", "text": "x" * 101, **ROOM},
    {"type": "act", "text": "wavés", **ROOM},
    {"type": "tell", "nick": "john", "text": "psst"},
    {"type": "set_topic", "text": "bees", **ROOM},
    {"type": "show_topic", **ROOM},
    {"type": "list_members", **ROOM},
    {"type": "list_rooms"},
    {"type": "show_history", **ROOM},
    {"type": "show_history", "before": 3, "limit": 2, **ROOM},
    {"type": "search", "words": "hi", **ROOM},
    {"type": "command", "line": "/msg typed", **ROOM},
    {"type": "ping"},
    {"type": "dance"},
]
ODD = [
    frame("{"),
    frame('{"type": "list_', fin=False) + b"\x8a\x80abcd" + b"\x80\x87" + bytes(4) + b'rooms"}',
]
SETTINGS = {"message_chars": 100, "line_bytes": 400, "keep_rooms": ("#kept",), "recent_entries": 2}


@frozen
class Step:
    """Someone sends something, and after so many of its bytes the chat stands still, or not.

    `breaks`: the connection of the next one breaks before, and it comes back afterwards.
    """

    who: int
    data: bytes
    cut: int
    pause: str
    breaks: bool


# Mostly something is said, so that there is something to miss.
commands = st.sampled_from(COMMANDS) | st.just({"type": "say", "text": "hi", **ROOM})
labelled = st.builds(lambda command, label: {**command, "id": label}, commands, st.just("é"))
steps = st.lists(
    st.builds(
        Step,
        st.integers(0, PROGRAMS - 1),
        st.lists(commands | labelled, min_size=1, max_size=3).map(
            lambda some: b"".join(map(frame, some))
        )
        | st.sampled_from(ODD),
        st.integers(0, 60),
        st.sampled_from(["none", "none", "go on", "hand over"]),
        st.booleans(),
    ),
    max_size=12,
)


class Play:
    """Programs in a chat and in its successors, and what each of them has got."""

    def __init__(self, chats: AsyncExitStack) -> None:
        self.chats = chats
        self.heard: list[list[dict]] = [[] for _ in range(PROGRAMS)]

    async def begin(self) -> None:
        self.chat, self.port = await self.chats.enter_async_context(chat_on_tcp(**SETTINGS))
        self.clients = [await dial_documents(self.port, rooms=("#x",)) for _ in range(PROGRAMS)]
        for client in self.clients:
            await client.sync()
        self.hellos = [client.hello for client in self.clients]

    async def step(self, step: Step) -> None:
        client, other = self.clients[step.who], (step.who + 1) % PROGRAMS
        if step.breaks:
            await self.clients[other].stream.aclose()
            await until(lambda: self.chat.statistics().away == 1)
        await client.stream.send_all(step.data[: step.cut])
        await self.pause(step.pause)
        await client.stream.send_all(step.data[step.cut :])
        self.heard[step.who] += await client.sync()
        if step.breaks:
            self.clients[other] = await self.come_back(other)
        for number, each in enumerate(self.clients):
            self.heard[number] += await each.sync()

    async def pause(self, how: str) -> None:
        if how == "go on":
            async with self.chat.frozen():
                await ticks(3)
        elif how == "hand over":
            handover = await hand_over(self.chat)
            self.chat = await self.chats.enter_async_context(succeed(handover, self.chat.settings))

    async def come_back(self, number: int) -> DocumentClient:
        client, hello = await dial_documents(self.port), self.hellos[number]
        resumed = await client.ask("resume", client=hello["client"], token=hello["token"])
        self.heard[number].append(resumed)
        return client

    def transcripts(self) -> list[str]:
        """Each client's input, without the parts that differ in each run."""
        told = [json.dumps(list(map(ordered, documents)), indent=0) for documents in self.heard]
        for number, hello in enumerate(self.hellos):
            told = [text.replace(hello["client"], f"client {number}") for text in told]
        return [re.sub(r'"time": [0-9.]+', "", text) for text in told]


def ordered(document: dict) -> dict:
    """Without the ids of members, who are in any order if they are called the same."""
    if "members" not in document:
        return document
    return {**document, "members": [member["nick"] for member in document["members"]]}


async def transcripts(played: list[Step]) -> list[str]:
    async with AsyncExitStack() as chats:
        play = Play(chats)
        await play.begin()
        for step in played:
            await play.step(step)
        return play.transcripts()


@given(played=steps)
@settings(
    max_examples=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
async def test_each_gets_what_it_would_have_got(played: list[Step]) -> None:
    still = [evolve(step, pause="none") for step in played]
    with trio.fail_after(30):
        assert await transcripts(played) == await transcripts(still)
