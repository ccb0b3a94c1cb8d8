"""What goes over before a chat stands still: it counts in the end as if all had come at once."""

from __future__ import annotations

import os
import socket
from collections import deque

import pytest
import trio
from attrs import evolve
from loopback import Links, chat_on_tcp, descriptors, dial, watch_links
from snapshots import succeed

from trio_chat import Chat, Settings
from trio_chat.daemon.upgrade import predecessor, protocol, successor
from trio_chat.daemon.upgrade.predecessor import DaemonState
from trio_chat.daemon.upgrade.protocol import Fixed, StoreInUse
from trio_chat.daemon.upgrade.wire import Wire, pair
from trio_chat.errors import HandoverError, StateError, StoreError
from trio_chat.protocol.events import Acted, Said, TopicSet
from trio_chat.roomlog.memory import HistoriesSnapshot, RoomHistory
from trio_chat.roomlog.sqlite.schema import SCHEMA_VERSION
from trio_chat.snapshot.ahead import Ahead, Arrived, Described, Entries, Sockets, Unsent
from trio_chat.snapshot.codec import read_piece, read_state, write_piece, write_state
from trio_chat.snapshot.handover import Handover, check_handover, check_settings
from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot

pytestmark = pytest.mark.usefixtures("waiting")

LONG = "/msg " + "\U0001f600" * 100
SLOW = {"message_chars": 2_000, "line_bytes": 8_000, "outbox_bytes": 100_000}
FIXED = Fixed("127.0.0.1", 8888, "", "memory", "")
PATIENCE = 20  # seconds until a test gives up


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Links:
    """A client that does not read lags after a few kilobytes."""
    return watch_links(monkeypatch, send_buffer=4096)


def send(ahead: Ahead, arrived: Arrived) -> None:
    """Have a process that is another one get what is new."""
    for piece in ahead.pieces():
        copies = [os.dup(sock.fileno()) for sock in piece.sockets]
        arrived.add(*read_piece(write_piece(piece)), copies)


async def hand_over(chat: Chat, ahead: Ahead, arrived: Arrived) -> Handover:
    async with chat.frozen() as paused:
        send(ahead, arrived)
        ahead.leave_out(paused.state)
        written = write_state(paused.state)
        state = read_state(written)
        clients = arrived.complete(state, [])
        check_handover(chat.settings, state)
        listeners = [listener.dup() for listener in paused.listeners]
        paused.hand_over()
    assert "\U0001f600" not in written.decode()
    return Handover(state, listeners, clients)


async def test_what_goes_ahead_counts_as_if_it_had_come_with_the_state(narrow: Links) -> None:
    async with chat_on_tcp(**SLOW) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        jack = await dial(port, nick="jack", room="#x", receive_buffer=4096)
        gone = await dial(port, nick="gone", room="#x")
        await john.expect("> jack joined the room", "> gone joined the room")
        await jack.expect("> gone joined the room")
        said = 0
        while not chat.statistics().lagging:
            await john.send(LONG)
            await john.sync()
            said += 1
        await john.send("/topic bees")
        await john.expect("> topic of #x: bees")
        await john.send("/me waves")
        ahead, arrived = chat.ahead(), Arrived()
        assert ahead.left() > 0
        send(ahead, arrived)
        assert ahead.left() == 0
        # Someone leaves, someone comes, and more is said, in the room and in a new one.
        await gone.stream.aclose()
        await john.expect("> gone has left the room")
        await john.send("/msg more")
        jim = await dial(port, nick="jim", room="#x")
        await jim.send("/msg from jim")
        await jim.sync()
        handover = await hand_over(chat, ahead, arrived)
        assert len(handover.clients) == 3
        async with succeed(handover, chat.settings):
            lines = await jack.lines(said + 4)
            assert lines[:said] == [f"> john: {LONG[5:]}"] * said
            assert lines[said:] == [
                "> topic of #x: bees",
                "> * john waves",
                "> john: more",
                "> jim: from jim",
            ]
            await jim.send("/history 4")
            shown = await jim.lines(4)
            assert [line.partition("] ")[2] for line in shown] == [
                line[2:] for line in lines[said:]
            ]


async def test_entries_that_are_kept_no_more_are_left_behind() -> None:
    async with chat_on_tcp(history_entries=5) as (chat, port):
        john = await dial(port, nick="john", room="#x")
        ahead, arrived = chat.ahead(), Arrived()
        for number in range(4):
            await john.send(f"/msg {number}")
        await john.sync()
        send(ahead, arrived)
        for number in range(4, 8):
            await john.send(f"/msg {number}")
        await john.sync()
        handover = await hand_over(chat, ahead, arrived)
        [history] = handover.state.histories.rooms
        assert [entry.text for entry in history.entries] == ["3", "4", "5", "6", "7"]
        assert [entry.position for entry in history.entries] == [4, 5, 6, 7, 8]
        async with succeed(handover, chat.settings):
            await john.send("/msg 8")
            await john.sync()


async def test_sockets_of_those_who_have_gone_are_closed() -> None:
    before = descriptors()
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john")
        arrived = Arrived()
        send(chat.ahead(), arrived)
        arrived.close()
        await john.send("/who")
        await chat.stop()
        await john.stream.aclose()
    assert descriptors() == before


def test_all_kinds_of_entries_are_read_as_they_were_written() -> None:
    said = [
        Said("#x", "a", "john", "hi", 4, 1.5),
        Acted("#x", "b", "jack", "waves", 5, 2.0),
        TopicSet("#x", "#X", "a", "john", "\ud800 \U0001f600", 6, 3.0),
    ]
    described = Entries(
        "#x", 4, "sat", ["a", "b", "a"], ["john", "jack", "john"],
        [entry.text for entry in said], [1.5, 2.0, 3.0], ["#X"],
    )  # fmt: skip
    arrived = Arrived()
    arrived.add(described, b"", [])
    state = ChatSnapshot("memory")
    state.histories = HistoriesSnapshot([RoomHistory("#x", deque(), 6)], ahead={"#x": 2})
    arrived.complete(state, [])
    assert list(state.histories.rooms[0].entries) == said[1:]


ENTRY = Entries("#x", 1, "s", ["a"], ["john"], ["hi"], [1.0])


@pytest.mark.parametrize(
    ("described", "data"),
    [
        (Sockets([1]), b""),
        (Unsent([1], [2]), b"1"),
        (Unsent([1, 2], [1]), b"1"),
        (evolve(ENTRY, kinds="ss"), b""),
        (evolve(ENTRY, kinds="x"), b""),
        (evolve(ENTRY, kinds="t"), b""),
        (evolve(ENTRY, times=[]), b""),
        (ENTRY, b"1"),
    ],
)
def test_a_piece_that_is_not_what_it_says_is_refused(described: Described, data: bytes) -> None:
    with pytest.raises(StateError, match="is not what it says"):
        Arrived().add(described, data, [])


@pytest.mark.parametrize(
    "content",
    [b"", b"{}\n", b'{"kind": "Sockets"}\n', b'{"kind": "Sockets", "numbers": [1], "new": 1}\n'],
)
def test_a_piece_that_is_not_known_is_refused(content: bytes) -> None:
    with pytest.raises(StateError, match="ahead of the state cannot be read"):
        read_piece(content)


def test_a_state_that_refers_to_what_has_not_come_is_refused() -> None:
    client = ClientSnapshot("a", "::1", "[::1]:1", socket=1)
    with pytest.raises(StateError, match="whose socket has not come"):
        Arrived().complete(ChatSnapshot("memory", clients=[client]), [])
    ours, theirs = socket.socketpair()
    arrived = Arrived()
    arrived.add(Sockets([1]), b"", [os.dup(ours.fileno())])
    client.unsent_ahead = 1
    with ours, theirs, pytest.raises(StateError, match="unsent bytes that have not come"):
        arrived.complete(ChatSnapshot("memory", clients=[client]), [])
    arrived.close()
    state = ChatSnapshot("memory")
    state.histories = HistoriesSnapshot([RoomHistory("#x", deque(), 6)], ahead={"#x": 2})
    with pytest.raises(StateError, match="entries that have not come"):
        Arrived().complete(state, [])


# --- before the pause -----------------------------------------------------------------------------


def test_a_file_of_another_schema_is_refused_before_the_pause(tmp_path) -> None:
    settings = Settings(store=f"sqlite:{tmp_path / 'chat.db'}")
    check_settings(settings, settings.store)
    with pytest.raises(StoreError, match=r"has schema 2, and to bring it .* restart the daemon"):
        check_settings(settings, settings.store, 2)


async def test_a_successor_checks_before_anything_stands_still() -> None:
    ours, theirs = pair()
    daemon = Wire(theirs)
    store = StoreInUse("8888", "sqlite:/other.db", SCHEMA_VERSION)
    await daemon.send(protocol.CHECK, protocol.written(store))
    with trio.fail_after(PATIENCE), pytest.raises(StateError, match="another store needs a rest"):
        await successor.receive(ours, FIXED, Settings(store="memory"))
    ours.close()
    daemon.close()


@pytest.mark.parametrize("known", [True, False])
async def test_too_much_is_refused_before_anything_stands_still(
    monkeypatch, *, known: bool
) -> None:
    monkeypatch.setattr(predecessor, "MOST_AHEAD" if known else "MOST_STATE", 50)
    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await john.send("/msg hi")
        await john.sync()
        own = DaemonState(FIXED, "8888", listens_on_given=False)
        with pytest.raises(HandoverError, match="at most 0 MB can be handed over: try again later"):
            await predecessor.send_ahead(None, chat, own, known=known)


async def test_a_header_of_an_earlier_version_tells_that_it_knows_nothing_of_this() -> None:
    ours, theirs = pair()
    with theirs:
        theirs.send(b'{"message": "ready", "bytes": 0, "descriptors": 0}')
        assert not (await ours.receive("ready")).ahead
        wire = Wire(theirs.dup())
        await wire.send("ready")
        assert (await ours.receive("ready")).ahead
        wire.close()
    ours.close()
