"""Actions of moderators around an upgrade: what waits is decided by the rules of then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from attrs import evolve
from loopback import chat_on_tcp, until
from people import PASSWORD, cheap_hashes
from snapshots import hand_over, succeed
from test_people_kept import come

from trio_chat import Chat
from trio_chat.people.accounts import People
from trio_chat.people.reports import Reports
from trio_chat.protocol.events import Acted, Said, TopicSet

# All ways to say something in a room.
WORDS = [{"type": kind, "text": "x", "room": "#a"} for kind in ("say", "act", "set_topic", "say")]
REPORT = {"type": "report", "target": "ann", "text": "slow", "room": "#a"}
ACTIONS = [
    *(("ban", "#a"), ("kick", "#a"), ("mute", "#a")),
    *(("ban", "the server"), ("mute", "the server")),
]


@pytest.fixture(autouse=True)
def cheap() -> Iterator[None]:
    with cheap_hashes():
        yield


async def said(chat: Chat) -> list[str]:
    """All that people have said in the room."""
    entries = await chat._log.read("#a", 0, 100)
    return [entry.text for entry in entries if isinstance(entry, Said | Acted | TopicSet)]


class Slow:
    """Lets the first call of a method wait for ever: the next process begins it anew."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        self.calls = 0
        method = getattr(owner, name)

        async def slow(owner: object, *arguments: object) -> object:
            self.calls += 1
            if self.calls == 1:
                await trio.sleep_forever()
            return await method(owner, *arguments)

        patch.setattr(owner, name, slow)


@pytest.mark.parametrize(("verb", "place"), ACTIONS)
async def test_what_waits_of_a_person_is_not_said_after_an_upgrade_and_a_ban(
    verb: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Slow(monkeypatch, Reports, "add")
    async with chat_on_tcp(store=f"sqlite:{tmp_path / 'chat.db'}") as (old, port):
        ann = await come(port, "ann", "register")
        await ann.ask_all("claim_room", room="#a")
        jack = await come(port, "jack", "register")
        await old.reload(evolve(old.settings, operators=("ann",)))
        await jack.send_at_once(REPORT, *WORDS)
        await until(lambda: slow.calls == 1)
        span = {} if verb == "kick" else {"seconds": 60}
        done, _ = await ann.ask_all("moderate", action=verb, target="jack", room=place, **span)
        assert done["type"] == "ruled"
        await ann.sync()
        handover = await hand_over(old)
        waiting = [len(client.queued) for client in handover.state.clients]
        # A ban from the server ends the session, and all that waits. The report comes first.
        ends = (verb, place) == ("ban", "the server")
        assert sorted(waiting) == ([0] if ends else [0, 1 + len(WORDS)])
        async with succeed(handover, old.settings) as new:
            if not ends:
                answers = [await jack.heard("refusal") for _ in WORDS]
                assert {answer["code"] for answer in answers} <= {"muted", "not_in_room", "banned"}
            await ann.sync()
            assert await said(new) == []


async def test_a_login_that_waits_over_an_upgrade_is_no_way_into_a_room_with_a_ban(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chat_on_tcp(store=f"sqlite:{tmp_path / 'chat.db'}") as (old, port):
        ann = await come(port, "ann", "register")
        await ann.ask_all("claim_room", room="#a")
        jack = await come(port, "jack", "register")
        await jack.ask_all("logout")
        slow = Slow(monkeypatch, People, "log_in")
        await jack.send_at_once({"type": "login", "name": "jack", "password": PASSWORD}, *WORDS)
        await until(lambda: slow.calls == 1)
        done, _ = await ann.ask_all("moderate", action="ban", target="jack", seconds=60, room="#a")
        assert done["type"] == "ruled"
        handover = await hand_over(old)
        async with succeed(handover, old.settings) as new:
            assert (await jack.heard("departed"))["room"] == "#a"
            await jack.sync()
            await ann.sync()
            assert await said(new) == []
            assert [user.nick for user in new._hub.state.rooms["#a"].members] == ["ann"]
