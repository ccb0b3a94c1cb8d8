"""Data that is handed over before the pause has the same result as data handed over in it."""

from __future__ import annotations

import json
import os
import socket
from collections import Counter, deque

import attrs
import pytest
import trio
from attrs import evolve
from documents import dial_documents
from loopback import Links, chat_on_tcp, descriptors, dial, until
from snapshots import succeed

from trio_chat import Chat, Settings
from trio_chat.daemon.upgrade import predecessor, protocol, successor
from trio_chat.daemon.upgrade.predecessor import DaemonState
from trio_chat.daemon.upgrade.protocol import Fixed, StoreInUse
from trio_chat.daemon.upgrade.wire import AHEAD, Wire, pair
from trio_chat.dialects.frames import FramesSnapshot
from trio_chat.dialects.irc.reading import IrcSnapshot
from trio_chat.dialects.irc.registration import Registration
from trio_chat.dialects.line import LineDialect, LinesSnapshot
from trio_chat.dialects.secrets import Asked, Secrets
from trio_chat.errors import Code, HandoverError, StateError, StoreError
from trio_chat.hub.counts import Counts
from trio_chat.hub.state import State
from trio_chat.protocol import commands
from trio_chat.protocol.events import Acted, Removed, Ruled, Said, TopicSet
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.presence import About
from trio_chat.protocol.table import make_table
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.room_history import HistoriesSnapshot, RoomHistory
from trio_chat.roomlog.sqlite.schema import QUICK_FROM, SCHEMA_VERSION
from trio_chat.snapshot.ahead import Ahead
from trio_chat.snapshot.arrived import Arrived
from trio_chat.snapshot.codec import (
    leave_out_news,
    read_piece,
    read_state,
    write_piece,
    write_state,
)
from trio_chat.snapshot.handover import Handover, check_handover, check_settings
from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot, QueuedLabelled
from trio_chat.snapshot.pieces import Clients, Described, Entries, Sockets, Unsent
from trio_chat.transports.first_bytes import FirstBytesSnapshot
from trio_chat.transports.rate_limit import BucketSnapshot
from trio_chat.transports.reader import ReaderSnapshot

pytestmark = pytest.mark.usefixtures("waiting")

LONG = "/msg " + "\U0001f600" * 100
SLOW = {"message_chars": 2_000, "line_bytes": 8_000, "outbox_bytes": 100_000}
FIXED = Fixed("127.0.0.1", 8888, "", "memory", "")
PATIENCE = 20  # seconds until a test gives up


def send(ahead: Ahead, arrived: Arrived) -> None:
    """Have a process that is another one get what is new."""
    for piece in ahead.pieces():
        copies = [os.dup(sock.fileno()) for sock in piece.sockets]
        arrived.add(*read_piece(write_piece(piece)), copies)


async def hand_over(
    chat: Chat, ahead: Ahead, arrived: Arrived, differing: list[str] | None = None
) -> Handover:
    """Hand over all that is left; `differing` are the nicks of the records among that."""
    async with chat.frozen() as paused:
        send(ahead, arrived)
        ahead.leave_out(paused.state)
        if differing is not None:
            assert [client.nick for client in paused.state.clients] == differing
        written = write_state(paused.state)
        state = read_state(written)
        clients = arrived.complete(state, [])
        check_handover(chat.settings, state)
        listeners = [listener.dup() for listener in paused.listeners]
        paused.hand_over()
    assert "\U0001f600" not in written.decode()
    return Handover(state, listeners, clients)


async def test_entries_sent_ahead_count_as_if_they_had_come_with_the_state(narrow: Links) -> None:
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
        await john.expect("> * john waves")
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


async def test_the_state_has_only_the_records_that_have_changed_since() -> None:
    async with chat_on_tcp() as (chat, port):
        nicks = ["john", "jack", "jill", "jim", "joan", "june"]
        john, jack, jill, jim, joan, june = everyone = [
            await dial(port, nick=nick, room="#x") for nick in nicks
        ]
        program = await dial_documents(port, nick="prog", rooms=("#x",))
        for client in everyone:
            await client.sync()
        ahead, arrived = chat.ahead(), Arrived()
        send(ahead, arrived)
        await jack.send("/nick zack")
        await jill.send("/join #y")
        await jim.stream.send_all(b"/msg half")
        await joan.send("/quit")
        await until(lambda: has_half_a_line(chat, "jim"))
        await until(lambda: chat._hub.state.nicks.keys().isdisjoint(("jack", "joan")))
        kate = await dial(port, nick="kate", room="#x")
        for client in (john, jack, jill, june, kate):
            await client.sync()
        handover = await hand_over(chat, ahead, arrived, ["zack", "jill", "jim", "kate"])
        order = ["john", "zack", "jill", "jim", "june", "prog", "kate"]
        assert [client.nick for client in handover.state.clients] == order
        async with succeed(handover, chat.settings):
            await jim.stream.send_all(b" and half\n")
            for client in (john, jack, june, kate):
                await client.expect("> jim: half and half")
            await jill.send("/who")
            await jill.expect("> in #y: jill")
            await kate.send("/who")
            await kate.expect("> in #x: jim, john, june, kate, prog, zack")
            await program.send("say", room="#x", text="hi")
            await june.expect("> prog: hi")


def has_half_a_line(chat: Chat, nick: str) -> bool:
    [link] = [s.link for s in chat._hub.state.sessions if s.user.nick == nick]
    return link.reader.snapshot().dialect.lines.buffer != b""


async def test_commands_count_against_the_rate_whenever_they_were_sent(mock_clock) -> None:
    async with chat_on_tcp(rate_limit=1, rate_burst=5) as (chat, port):
        john = await dial(port, nick="john")
        await dial(port, nick="jack")
        mock_clock.jump(10)
        ahead, arrived = chat.ahead(), Arrived()
        send(ahead, arrived)
        await john.sync()
        handover = await hand_over(chat, ahead, arrived, ["john"])
        buckets = [client.reader.bucket for client in handover.state.clients]
        assert buckets == [BucketSnapshot(4.0, 0.0), None]
        async with succeed(handover, chat.settings):
            await john.sync()


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
        Ruled("#x", "#Y", "b", "jack", "muted john", {}, 0, 7, 4.0),
        Removed(
            *("#x", "#Y", "b", "jack", "undid A2: x", {}, 0, 8, 5.0),
            positions=[[4, 4], [6, 7]],
            undoes=2,
        ),
    ]
    described = Entries(
        "#x", 4, "satrd", ["a", "b", "a", "b", "b"], ["john", "jack", "john", "jack", "jack"],
        [*(entry.text for entry in said[:4]), "4-4,6-7;2;0 undid A2: x"],
        [1.5, 2.0, 3.0, 4.0, 5.0], ["#X", "#Y", "#Y"],
    )  # fmt: skip
    assert Entries.of("#x", said) == described
    arrived = Arrived()
    arrived.add(described, b"", [])
    state = ChatSnapshot("memory")
    state.histories = HistoriesSnapshot([RoomHistory("#x", deque(), 8)], ahead={"#x": 4})
    arrived.complete(state, [])
    assert list(state.histories.rooms[0].entries) == said[1:]


ENTRY = Entries("#x", 1, "s", ["a"], ["john"], ["hi"], [1.0])


@pytest.mark.parametrize(
    ("described", "data"),
    [
        (Sockets([1]), b""),
        (Clients([ClientSnapshot("a", "::1", "[::1]:1")]), b""),
        (Clients([]), b"1"),
        (Unsent([1], [2]), b"1"),
        (Unsent([1, 2], [1]), b"1"),
        (evolve(ENTRY, kinds="ss"), b""),
        (evolve(ENTRY, kinds="x"), b""),
        (evolve(ENTRY, kinds="t"), b""),
        (evolve(ENTRY, kinds="r"), b""),
        (evolve(ENTRY, kinds="d", shown=["#X"]), b""),
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
    with pytest.raises(StateError, match="whose record has not come"):
        Arrived().complete(ChatSnapshot("memory", clients=[client], order=[1, 2]), [])
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
    check_settings(settings, settings.store, QUICK_FROM)
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


async def test_an_earlier_version_gets_no_field_that_it_does_not_know() -> None:
    known = {
        "id",
        "address",
        "peer",
        "nick",
        "keys",
        "rooms",
        "room_limit",
        "variant",
        "reader",
        "token",
    }
    sent: dict[str, bytes] = {}

    class Successor:
        @property
        def wire(self) -> Successor:
            return self

        async def send(self, kind: str, content: bytes, descriptors: list[int] | None = None):
            sent[kind] = content

    async with chat_on_tcp() as (chat, port):
        john = await dial(port, nick="john", room="#x")
        await dial_documents(port, nick="prog", rooms=("#x",))
        await john.send("/msg hi", "hello")
        await john.sync()
        await dial(port)
        own = DaemonState(FIXED, "8888", listens_on_given=False)
        async with chat.frozen() as still:
            await predecessor.send(Successor(), still, own, 0.0, None)
        await john.sync()
        assert chat._log.histories().rooms[0].bytes > 0  # the chat's own stays as it is
    state = json.loads(sent[protocol.STATE])
    assert "order" not in state
    assert [client.keys() - known for client in state["clients"]] == [set()] * 3
    lines, _, first = [client.get("reader", {}).get("dialect", {}) for client in state["clients"]]
    assert lines == {}
    assert first.keys() == {"first", "address"}
    assert "bytes" not in state["histories"]["rooms"][0]


def test_an_earlier_version_gets_no_record_that_it_does_not_know() -> None:
    name = parse_nick("jack", 20)
    by_id = commands.Tell(name, "hi", client="an id")
    client = ClientSnapshot(
        "", "", "", queued=[
            commands.Began(ready=False),
            commands.ShowGreeting(),
            commands.TakeMail(),
            commands.Tell(name, "hi"),
            by_id,
            QueuedLabelled(by_id, "1"),
            commands.Join(parse_room("#a", 64), "a key"),
        ],
    )  # fmt: skip
    leave_out_news(ChatSnapshot("memory", clients=[client]))
    # Without its client id, a private message could reach a namesake.
    refused = commands.Refuse("not sent: please try again", Code.UNREACHABLE)
    assert client.queued == [
        commands.Began(),
        commands.Tell(name, "hi"),
        refused,
        QueuedLabelled(refused, "1"),
        commands.Join(parse_room("#a", 64)),
    ]
    assert by_id.client == "an id"  # the chat's own stays as it is


def test_an_earlier_version_gets_no_counts_that_it_does_not_know() -> None:
    counts = Counts(turns=2, logins_refused=3, actions=4, ruled_out=Counter(ban=5))
    state = ChatSnapshot("memory", counts=counts)
    leave_out_news(state)
    for name in (b"logins_refused", b"actions", b"ruled_out"):
        assert name not in write_state(state)
    assert (state.counts.turns, counts.logins_refused) == (2, 3)  # the chat's own stay


def test_an_earlier_version_gets_no_line_that_is_a_password() -> None:
    def lines_left(dialect: LineDialect) -> LinesSnapshot:
        reader = ReaderSnapshot(FirstBytesSnapshot(lines=dialect.snapshot()))
        client = ClientSnapshot("", "", "", reader=reader)
        leave_out_news(ChatSnapshot("memory", clients=[client]))
        return client.reader.dialect.lines

    dialect = LineDialect(make_table(accounts=True), Settings(), private=True)
    dialect.feed(b"/login john\n")
    assert lines_left(dialect).secrets.wanted  # it refuses a state with this
    dialect.feed(b"secret\n")
    assert dialect.snapshot() != LinesSnapshot()
    assert lines_left(dialect) == LinesSnapshot()


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


# The fields of clients' records in this version of what goes ahead.
FIELDS_AHEAD = 9
FIELDS: dict[type, str] = {
    ClientSnapshot: (
        "id address peer nick keys rooms room_limit encoding reader unsent lagging positions "
        "closing queued token away socket unsent_ahead since account account_since "
        "about awaited watched"
    ),
    ReaderSnapshot: "dialect bucket",
    FirstBytesSnapshot: (
        "first over trusted lines frames left address accept requests forwards greets greeted "
        "local private irc"
    ),
    IrcSnapshot: "buffer skipping pending private registration batches",
    Registration: "capabilities negotiating nick user real introduced response framing",
    About: "user real away bot",
    LinesSnapshot: (
        "buffer skipping pending telnet waiting hinted bare_lines greets secrets private"
    ),
    FramesSnapshot: "buffer fragments over pending most private",
    Secrets: "echo asked unread",
    Asked: "record step",
}


def test_other_fields_of_clients_are_another_version_of_what_goes_ahead() -> None:
    """A version that does not know a field refuses the record, and so does not take over.

    If a field is new, raise `AHEAD` in `daemon/upgrade/wire.py`, and write both here. Then nothing
    goes ahead to earlier versions, and `leave_out_news` leaves the field out.
    """
    found = {kind: " ".join(one.name for one in attrs.fields(kind)) for kind in FIELDS}
    assert (AHEAD, found) == (FIELDS_AHEAD, FIELDS)


@pytest.mark.parametrize("undone", [False, True])
async def test_rooms_whose_older_entries_have_changed_are_sent_anew(*, undone: bool) -> None:
    log, arrived = MemoryLog(Retention(100, 10)), Arrived()
    ahead = Ahead(State(Settings(), None), log)
    await log.append([Said("#x", "a", "john", text) for text in ("one", "two", "three")])
    await log.append([Said("#y", "a", "john", "four")])
    send(ahead, arrived)
    await log.append([Removed("#x", "#X", "b", "ann", "", positions=[[1, 2]])])
    send(ahead, arrived)
    if undone:
        await log.append([Removed("#x", "#X", "b", "ann", "", positions=[[1, 2]], undoes=4)])
    await log.append([Said("#x", "a", "john", "five")])
    send(ahead, arrived)
    state = ChatSnapshot("memory", histories=log.histories())
    ahead.leave_out(state)
    written = write_state(state)
    assert b"four" not in written
    state = read_state(written)
    arrived.complete(state, [])
    log_then = MemoryLog.restored(Retention(100, 10), state.histories)
    for room in ("#x", "#y"):
        assert await log_then.read(room, 0, 99) == await log.read(room, 0, 99)
    assert log_then.histories() == log.histories()
