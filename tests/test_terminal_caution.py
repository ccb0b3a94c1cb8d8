"""The question before a mute, a ban or a removal that would hit many people, in a terminal."""

from __future__ import annotations

from typing import ClassVar, cast

import pytest
import trio

from trio_chat.errors import Refused
from trio_chat.protocol.events import Matches, Usage
from trio_chat.remote import RemoteClient
from trio_chat.terminal.caution import Caution


class Moderator:
    """A client whose server knows how many people each target means."""

    commands: ClassVar = [Usage(name, "", "") for name in ("ban", "mute", "remove", "check")]
    hit: ClassVar = {"jack": 1, "net:7f3a09c2": 12}

    def __init__(self) -> None:
        self.checked: list[tuple[str, str | None]] = []

    async def check(self, target: str, room: str | None) -> Matches:
        await trio.lowlevel.checkpoint()
        self.checked.append((target, room))
        if target not in self.hit:
            raise Refused("there is nobody")
        about = {"account": False, "since": 0.0, "networks": [], "accounts": 0, "spared": 0}
        ends = {"mute": "", "ban": "", "actions": []}
        return Matches("#a", "#a", target, "none", people=self.hit[target], **about, **ends)


def caution(client: Moderator) -> Caution:
    return Caution(cast("RemoteClient", client))


async def test_what_hits_many_people_is_typed_twice() -> None:
    client, line = Moderator(), "/ban net:7f3a09c2 2h spam"
    asks = caution(client)
    first = await asks.question(line, "#a")
    assert first == "/ban would hit 12 people: send the same line again if you mean it"
    assert await asks.question(line, "#a") == ""
    assert await asks.question(line, "#a") != ""
    # Another line in between is no answer.
    assert await asks.question("/who", "#a") == ""
    assert await asks.question(line, "#a") != ""


@pytest.mark.parametrize(
    ("line", "checked"),
    [
        ("/mute jack 10m", [("jack", "#a")]),
        ("/BAN server jack", [("jack", "the server")]),
        ("/remove nobody", [("nobody", "#a")]),
        ("/remove 17-19", []),
        ("/ban", []),
        ("/kick jack", []),
        ("hello", []),
    ],
)
async def test_all_else_is_done_at_once(line: str, checked: list[object]) -> None:
    client = Moderator()
    assert await caution(client).question(line, "#a") == ""
    assert client.checked == checked


async def test_people_who_may_not_check_are_not_asked() -> None:
    client = Moderator()
    client.commands = []
    assert await caution(client).question("/ban net:7f3a09c2", "#a") == ""
    assert client.checked == []
