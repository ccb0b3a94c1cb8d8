"""Whatever a server sends or a keyboard types: clients say it in words, or show it harmlessly."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from typing import get_args, get_origin

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from wsproto.events import TextMessage

from trio_chat import Refused
from trio_chat.dialects.documents import TYPES
from trio_chat.dialects.line_encoding import LF
from trio_chat.errors import Code
from trio_chat.protocol.events import (
    EntriesShown,
    Joined,
    Member,
    Missed,
    NickTaken,
    Refusal,
    Said,
    Welcomed,
)
from trio_chat.protocol.text import harmless
from trio_chat.remote import inbox, parse, rooms, session, socket
from trio_chat.terminal import window
from trio_chat.terminal.log import visible_rows
from trio_chat.terminal.typed import Send, read_typed
from trio_chat.terminal.ui_state import status_row, title_row, ui_state
from trio_chat.terminal.view import MOST_GATHERED, View

# Stands for lists within lists.
DEEP = "deep"
HOSTILE = st.one_of(
    st.sampled_from([1e300, -1e300, float("nan"), float("inf"), -1, 2**53 + 1, 10**400]),
    st.sampled_from(["", "\ud800", "\x1b[31m\x07", "\u202e\u2066", "\u2028", "#a" * 500]),
    st.sampled_from([[], {}, DEEP, {"type": "hello"}, {"type": DEEP}, [{"type": "joined"}]]),
    st.sampled_from([True, None, "__proto__"]),
    st.text(max_size=50),
    st.integers(),
    st.floats(),
)
GOOD = {
    str: st.sampled_from(["#a", "#b", "1", "jack", "hi john", " " * 90 + "> admin: hi"]),
    int: st.integers(0, 9),
    float: st.floats(0, 2e9),
    bool: st.booleans(),
}


@cache
def as_it_should_be(hint) -> st.SearchStrategy:
    if get_origin(hint) is list:
        return st.lists(value(get_args(hint)[0]), max_size=3)
    if get_args(hint):
        return st.one_of(*map(document, get_args(hint)))
    return GOOD[hint] if hint in GOOD else document(hint)


@cache
def value(hint) -> st.SearchStrategy:
    # Most are good: a document is refused for its first that is not.
    return st.one_of(*[as_it_should_be(hint)] * 9, HOSTILE)


@cache
def document(kind: type) -> st.SearchStrategy[dict]:
    fields = {name: value(hint) for name, hint in parse._hints(kind).items()}
    named = {"type": st.just(TYPES[kind])} if kind in TYPES else {}
    return st.fixed_dictionaries({**named, **fields}, optional={"id": HOSTILE})


def written(sent: dict) -> str:
    return json.dumps(sent).replace(f'"{DEEP}"', "[" * 700 + "]" * 700)


def joined(*, rooms: int = 2) -> session.RemoteSession:
    """A session in #a and #b."""
    one = session.RemoteSession(None, 100)
    for number in range(rooms):
        one._take(Welcomed(f"#{'ab'[number]}", "#A", "", 0, [Member("1", "john")]), None)
    return one


def taken(one: session.RemoteSession) -> list:
    """The events that the program gets."""
    events = [event for event, _ in one.inbox._events]
    one.inbox._events.clear()
    return events


class AnySocket:
    received = 10


@given(st.lists(st.one_of(*map(document, TYPES)), max_size=9))
def test_a_document_is_an_event_that_can_be_shown_or_breaks_the_connection(documents: list[dict]):
    one, view = joined(), View("1", "john", now=lambda: 0.0)
    for sent in documents:
        with suppress(parse.MalformedDocument, socket.SocketBroken):
            one._hear(AnySocket(), socket._document(written(sent)))
    for event in taken(one):
        view.take(event)
        view.flush_presence()
        if type(event) in TYPES:
            text = str(LF.render([event])[0])
            harmless(text).encode()
            view.answered(event, "/tell jack hi")
        if isinstance(event, EntriesShown):
            for room in view.windows.rooms.values():
                view.fill(room, event.entries, 2)
                view.take_older(room, event.entries, 2)
    for shown in [view.windows.home, *view.windows]:
        view.switch(shown)
        state = ui_state(view, [])
        rows = [title_row(state, 80), *visible_rows(state.log, 80, 24), status_row(state, 80, 1)]
        for row in ["".join(text for _, text in line) for line in [*rows, state.prompt]]:
            assert harmless(row) == row
            row.encode()


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "1" * 5_000, "[1]", "NaN", ""])
def test_a_document_that_is_no_object_breaks_the_connection(text: str):
    with pytest.raises(socket.SocketBroken, match="does not keep to the protocol: no JSON object"):
        socket._document(text)


class Writing(socket.Socket):
    """A connection that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.received = 0

    async def _send(self, event) -> None:
        assert isinstance(event, TextMessage)
        await trio.lowlevel.checkpoint()
        self.sent.append(event.data)


@given(st.binary(max_size=80) | st.text(st.characters(exclude_categories=()), max_size=40))
async def test_a_typed_line_is_sent_or_refused(typed: bytes | str):
    text = typed if isinstance(typed, str) else typed.decode("utf-8", "surrogateescape")
    for line in text.splitlines():
        match read_typed(line, ()):
            case Send(line=said):
                connection, code = Writing(), None
                try:
                    await connection.send({"type": "command", "line": said}, 120)
                except Refused as refused:
                    code = refused.code
                sent = "".join(connection.sent)
                assert len(sent.encode()) <= 120
                if code is None:
                    assert json.loads(sent)["line"] == said
                else:
                    assert (code, sent) in {(Code.BAD_TEXT, ""), (Code.TOO_LONG, "")}


async def test_a_refusal_of_this_client_is_an_event_too():
    one = joined()
    taken(one)
    with pytest.raises(Refused, match="text must be valid UTF-8; this is not"):
        await one.answer(Writing(), "command", {"line": "/msg \udcff"}, echo=True)
    assert taken(one) == [Refusal("text must be valid UTF-8; this is not", Code.BAD_TEXT)]
    assert one._answers == {}


# --- what is kept for a server --------------------------------------------------------------------


def test_empty_fragments_end():
    connection = socket.Socket.__new__(socket.Socket)
    connection._text, connection._pieces = socket.StringIO(), socket.DOCUMENT_CHARS
    taking = connection._take(TextMessage("", message_finished=False))
    with pytest.raises(socket.SocketBroken, match="too long a document"):
        taking.send(None)


def test_of_a_flood_of_long_documents_few_wait():
    box = inbox.Inbox(1_000)
    long = inbox.MOST_CHARS // 10
    for number in range(20):
        box.put(Said("#a", "1", "jack", str(number), number + 1), long)
    waiting = [event for event, _ in box._events]
    assert [event.text for event in waiting] == [str(number) for number in range(10)]
    assert box._missed == {"#a": Missed("#a", "#a", 10)}


def test_entries_that_wait_for_earlier_ones_are_bounded(monkeypatch):
    monkeypatch.setattr(rooms, "MOST_QUEUED_CHARS", 10)
    one = joined()
    for name in one.rooms.names:
        one.rooms.hold(name)
    for position in range(1, 9):
        one._take(Said("#b" if position == 1 else "#a", "1", "jack", "four", position), None)
    for name in one.rooms.names:
        one.rooms.release(name, [], 0)
    assert [event.position for event in taken(one) if isinstance(event, Said)] == [8, 1]


def test_rooms_that_nobody_asked_for_break_the_connection(monkeypatch):
    monkeypatch.setattr(rooms, "MOST_ROOMS", 2)
    one = joined()
    with pytest.raises(parse.MalformedDocument, match="too many rooms"):
        one._take(Welcomed("#c", "#c"), None)
    one._take(Missed("#d", "#d", 1), None)
    assert Missed("#d", "#d", 1) not in taken(one)


def test_a_room_is_known_by_so_many_people(monkeypatch):
    monkeypatch.setattr(window, "MOST_MEMBERS", 3)
    monkeypatch.setattr(window, "MOST_SPOKE", 3)
    view = View("1", "john", now=lambda: 0.0)
    view.take(Welcomed("#a", "#a", "", 0, [Member("1", "john")]))
    for number in range(9):
        view.take(Joined("#a", f"c{number}", f"n{number}"))
        view.take(Said("#a", f"c{number}", f"n{number}", "hi", number + 1, 0.0))
    known = view.windows.rooms["#a"]
    assert len(known.members) + known.more == 10
    assert len(known.members) == 3
    assert list(known.spoke) == ["n6", "n7", "n8"]


def test_joins_of_a_room_that_is_not_on_screen_are_said_at_times():
    view = View("1", "john", now=lambda: 0.0)
    for name in ("#a", "#b"):
        view.take(Welcomed(name, name))
    for number in range(MOST_GATHERED + 1):
        view.take(Joined("#a", f"c{number}", "jack"))
    assert len(view.windows.rooms["#a"].presence) == 1
    assert len(view.windows.rooms["#a"].log.view().lines) == 2  # one says the zone
    view.take(NickTaken("jim"))
