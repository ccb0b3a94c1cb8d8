"""Lists of ignored people, reports and pins in a whole chat: over an upgrade, and after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from documents import DocumentClient, dial_documents
from loopback import chat_on_tcp
from people import PASSWORD
from snapshots import successor

from trio_chat.people import hasher
from trio_chat.people.reports import Reports


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hasher, "MEMORY_KIB", 8)
    monkeypatch.setattr(hasher, "PASSES", 1)


async def come(port: int, nick: str, how: str) -> DocumentClient:
    """A client that is logged in to its account and in a room."""
    client = await dial_documents(port)
    if how == "register":
        await client.ask("take_nick", nick=nick)
        await client.ask_all("register", password=PASSWORD)
    else:
        await client.ask_all("login", name=nick, password=PASSWORD)
    await client.ask_all("join", room="#a")
    await client.sync()
    return client


async def said(client: DocumentClient) -> list[tuple[str, str]]:
    """The type and the text of all that has come and says something."""
    return [(d["type"], d["text"]) for d in await client.sync() if "text" in d]


async def test_all_of_it_goes_on_after_an_upgrade_and_a_restart(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'chat.db'}"
    async with chat_on_tcp(store=store) as (old, port):
        ann = await come(port, "ann", "register")
        await ann.ask_all("claim_room", room="#a")
        await ann.ask_all("say", text="be kind", room="#a")
        await ann.ask_all("pin", entry=2, room="#a")
        jack = await come(port, "jack", "register")
        kim = await come(port, "kim", "register")
        await ann.ask_all("ignore", target="jack")
        await kim.ask_all("report", target="jack", text="spam", room="#a")
        assert ("reported", "spam") in await said(ann)
        async with successor(old):
            await jack.ask_all("say", text="hi", room="#a")
            await jack.ask_all("tell", nick="ann", text="psst")
            assert await said(ann) == [("said", "")]
            shown, _ = await ann.ask_all("show_reports", room="#a")
            assert [report["nick"] for report in shown["reports"]] == ["jack"]
            shown, _ = await kim.ask_all("show_pin", room="#a")
            assert [entry["text"] for entry in shown["entries"]] == ["be kind"]
    async with chat_on_tcp(store=store) as (_, port):
        ann = await come(port, "ann", "login")
        jack = await come(port, "jack", "login")
        await jack.ask_all("say", text="hi", room="#a")
        assert await said(ann) == [("said", "")]
        await ann.ask_all("finish_report", number=1, room="#a")
        shown, _ = await ann.ask_all("show_reports", room="#a")
        assert shown["reports"] == []
    rooms = b"".join(path.read_bytes() for path in tmp_path.glob("chat.db*"))
    assert b"be kind" in rooms
    assert b"spam" not in rooms


async def test_a_report_is_kept_once_if_an_upgrade_comes_before_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, begun = Reports.add, []

    async def slow(self, report, network):
        kept = await add(self, report, network)
        begun.append(kept.number)
        if len(begun) == 1:
            await trio.sleep_forever()  # the upgrade begins this anew in the next process
        return kept

    monkeypatch.setattr(Reports, "add", slow)
    async with chat_on_tcp(store=f"sqlite:{tmp_path / 'chat.db'}") as (old, port):
        ann = await come(port, "ann", "register")
        await ann.ask_all("claim_room", room="#a")
        kim = await come(port, "kim", "register")
        await kim.send("report", target="ann", text="spam", room="#a")
        while not begun:
            await trio.testing.wait_all_tasks_blocked(0.01)
        async with successor(old):
            await kim.sync()
            assert begun == [1, 1]
