"""Whatever is said, and wherever a pause falls: each client gets what it would have got."""

from __future__ import annotations

import re
import tempfile
from contextlib import AsyncExitStack

import pytest
import trio
from attrs import evolve, frozen
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from loopback import chat_on_tcp, dial, ticks
from snapshots import hand_over, succeed

pytestmark = pytest.mark.usefixtures("waiting")

PEOPLE = 3
LINES = [
    *(f"/nick {nick}" for nick in ("john", "JOHN", "rnary", "mary", "jack")),
    *(f"/join {room}" for room in ("#x", "#X", "#y", "#kept")),
    "/leave",
    "/msg hi",
    "/me wavés",
    "/tell john psst",
    "/tell jack psst",
    "/topic bees",
    "/topic",
    "/who",
    "/rooms",
    "/history",
    "/history before 3 2",
    "/search hi",
    "/help msg",
    "hi",
    "",
    "/msg " + "x" * 120,
    "/msg " + "x" * 500,
]
# Not as lines should be; with commands of telnet's own that have no answer.
ODD = [
    b"/msg \xc3\n",
    b"/ms\xff\xf1g hi\n",
    b"\xff\xfe\x06/who\r\n",
    b"\xff\xfa\x18abc\xff\xf0/who\r\0",
    b"/who\r\n",
]
SETTINGS = {"message_chars": 100, "line_bytes": 400, "keep_rooms": ("#kept",), "recent_entries": 2}

TIME = re.compile(r"\d\d:\d\d:\d\d")
# The answer to a paste, which a pause may split.
PASTED = re.compile(r"> \d lines were not sent: ")


@frozen
class Step:
    """Someone sends something, and after so many of its bytes the chat stands still, or not."""

    who: int
    data: bytes
    cut: int
    pause: str


steps = st.lists(
    st.builds(
        Step,
        st.integers(0, PEOPLE - 1),
        st.lists(st.sampled_from(LINES), min_size=1, max_size=3).map(
            lambda lines: "".join(f"{line}\n" for line in lines).encode()
        )
        | st.sampled_from(ODD),
        st.integers(0, 60),
        st.sampled_from(["none", "none", "go on", "hand over"]),
    ),
    max_size=12,
)


async def transcripts(played: list[Step], **changed) -> list[list[str]]:
    """Each client's input, line by line."""
    async with AsyncExitStack() as chats:
        chat, port = await chats.enter_async_context(chat_on_tcp(**SETTINGS, **changed))
        clients = [await dial(port) for _ in range(PEOPLE)]
        heard: list[list[str]] = [[] for _ in clients]
        for step in played:
            client = clients[step.who]
            await client.stream.send_all(step.data[: step.cut])
            if step.pause == "go on":
                async with chat.frozen():
                    await ticks(3)
            elif step.pause == "hand over":
                handover = await hand_over(chat)
                chat = await chats.enter_async_context(succeed(handover, chat.settings))
            await client.stream.send_all(step.data[step.cut :])
            # The sender is first: the others' input has arrived when they are asked.
            for number in sorted(range(PEOPLE), key=lambda number: number != step.who):
                heard[number] += await clients[number].sync()
        return [[TIME.sub("", line) for line in lines if not PASTED.match(line)] for lines in heard]


async def check(played: list[Step], *stores: str) -> None:
    """Play it without pauses, and with them; `stores` are one for each."""
    one, other = stores or ("memory", "memory")
    still = [evolve(step, pause="none") for step in played]
    with trio.fail_after(30):
        expected = await transcripts(still, store=one)
        assert await transcripts(played, store=other) == expected


ANY = settings(
    # Shrinking a failing example takes long, so it is left to a person.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


@given(played=steps)
@settings(ANY, max_examples=30)
async def test_with_a_log_in_memory(played: list[Step]) -> None:
    await check(played)


@given(played=steps)
@settings(ANY, max_examples=8)
async def test_with_a_file(played: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        await check(played, f"sqlite:{one}/x.db", f"sqlite:{other}/x.db")


@pytest.mark.parametrize("pause", ["go on", "hand over"])
async def test_each_line_cut_at_each_byte(pause: str) -> None:
    data = b"\xff\xf1/nick jo\xc3\xa9\r\n"
    for cut in range(len(data) + 1):
        await check([Step(0, data, cut, pause), Step(1, "/tell joé hi\n".encode(), 0, "none")])
