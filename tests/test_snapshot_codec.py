"""A chat as plain data: written and read it is the same, and what is not in order is refused."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from trio_chat import (
    Acted,
    Noticed,
    Removed,
    Ruled,
    Said,
    Settings,
    SettingsError,
    StoreError,
    TopicSet,
    custom,
)
from trio_chat.dialects.answers import ANSWERS
from trio_chat.dialects.echo import Echo
from trio_chat.dialects.frames import FramesSnapshot
from trio_chat.dialects.irc.encoding import IRC, encoding_of
from trio_chat.dialects.irc.reading import IrcSnapshot
from trio_chat.dialects.irc.registration import Registration
from trio_chat.dialects.line import LinesSnapshot
from trio_chat.dialects.line_encoding import CRLF, LF
from trio_chat.dialects.secrets import Asked, Secrets
from trio_chat.dialects.websocket import DOCUMENTS
from trio_chat.errors import Code, StateError
from trio_chat.hub.counts import Counts
from trio_chat.hub.inbox import CameFrom
from trio_chat.protocol import commands
from trio_chat.protocol.commands import (
    Act,
    Announce,
    Answer,
    Authenticate,
    Began,
    ChangePassword,
    Check,
    ClaimRoom,
    DeleteAccount,
    Disconnected,
    ExportAccount,
    FinishReport,
    Greet,
    Help,
    Ignore,
    Invite,
    Join,
    JudgeHeld,
    Leave,
    ListDevices,
    ListMembers,
    ListRooms,
    LogIn,
    LogOut,
    MakeReport,
    Penalize,
    Pin,
    Ping,
    Quit,
    Recover,
    Refuse,
    Register,
    Remove,
    RenewRecovery,
    Resume,
    RevokeDevice,
    Say,
    Search,
    Served,
    SetRaid,
    SetRole,
    SetRoom,
    SetTopic,
    ShowAccount,
    ShowActions,
    ShowGreeting,
    ShowHeld,
    ShowHistory,
    ShowPin,
    ShowReports,
    ShowRoles,
    ShowRules,
    ShowTopic,
    SwitchEncoding,
    TakeMail,
    TakeNick,
    Target,
    Tell,
    Undo,
)
from trio_chat.protocol.modes import Ban, ChangeRole, ChangeSetting, ListBans
from trio_chat.protocol.names import parse_nick, parse_room
from trio_chat.protocol.past import Mark, RemoveMessage, ShowActiveRooms, ShowMessages
from trio_chat.protocol.presence import (
    About,
    AwaitIntroduction,
    DescribeRooms,
    Introduce,
    LeaveRooms,
    SetAway,
    SetBot,
    SetRealName,
    ShowPastNick,
    ShowPeople,
    ShowServer,
    ShowWatched,
    Unwatch,
    Watch,
)
from trio_chat.protocol.read_markers import MarkRead
from trio_chat.protocol.table import make_table
from trio_chat.roomlog.room_history import HistoriesSnapshot, RoomHistory
from trio_chat.roomlog.rules import Action, Rules
from trio_chat.snapshot.codec import VERSION, read_state, write_state
from trio_chat.snapshot.handover import check_handover
from trio_chat.snapshot.model import (
    ChatSnapshot,
    ClientSnapshot,
    LeftBehind,
    QueuedCustom,
    QueuedLabelled,
    QueuedRecord,
    RoomSnapshot,
)
from trio_chat.transports.first_bytes import FirstBytesSnapshot
from trio_chat.transports.rate_limit import BucketSnapshot
from trio_chat.transports.reader import ReaderSnapshot

DATA = Path(__file__).parent / "data"

QUEUED: list[QueuedRecord] = [
    Say("hi"),
    Act("waves", "#x"),
    SetTopic("bees"),
    ShowTopic(),
    TakeNick(parse_nick("Mary", 32)),
    Join(parse_room("#Straße", 64)),
    Leave("#x"),
    ListRooms(),
    ListMembers(),
    Tell(parse_nick("jack", 32), "psst"),
    ShowHistory(20, 7),
    Search(("a", "b")),
    Help("nick"),
    Quit(),
    Refuse("this line is not valid UTF-8"),
    Answer(b"\xff\xfc\x06"),
    SwitchEncoding(CRLF),
    CameFrom("192.0.2.1:99", "192.0.2.1"),
    Disconnected("closed by the client"),
    QueuedCustom("roll", "2d6"),
]
# The fields that the files in tests/data lack.
QUEUED_SINCE: list[QueuedRecord] = [
    Served(b"HTTP/1.1 403 Forbidden", 403, "GET /ws", "No.", "localhost", "https://a.example"),
    Began(),
    ShowGreeting(),
    TakeMail(),
    Register("secret"),
    LogIn(parse_nick("Mary", 32), "secret"),
    Authenticate("t0ken"),
    LogOut(),
    ChangePassword("secret", "secrets"),
    RenewRecovery("secret"),
    Recover(parse_nick("Mary", 32), "c0de", "secret"),
    ShowAccount(),
    ListDevices(),
    RevokeDevice(3),
    ExportAccount(),
    DeleteAccount("secret"),
    Join(parse_room("#x", 64), "Tea!"),
    ClaimRoom("#x"),
    ShowRules("#x"),
    SetRoom("join", "accounts", "#x"),
    SetRole(parse_nick("Mary", 32), "voice", "#x"),
    ShowRoles("#x"),
    Invite(parse_nick("Mary", 32), "#x"),
    Penalize("ban", Target(parse_nick("Mary", 32)), None, "spam", "#x"),
    Ignore(Target(entry=7), ignored=True, room="#x"),
    Check(Target(network="7f3a09c2"), "#x", "ban"),
    Announce("tea"),
    MakeReport(Target(entry=7), "spam", "#x"),
    ShowReports("#x"),
    FinishReport(7, "#x"),
    Pin(7, "#x"),
    ShowPin("#x", joined=True),
    Remove(17, 19, None, 3_600, "spam", "#x"),
    Remove(0, 0, Target(parse_nick("Mary", 32)), None, "", "#x"),
    Undo(7, "#x"),
    ShowActions(20, None, "#x"),
    ShowHeld("#x"),
    JudgeHeld("drop", 7, "#x"),
    SetRaid(600, 60, "#x"),
]
# And those of clients of IRC.
QUEUED_OF_IRC: list[QueuedRecord] = [
    commands.Notify("hi", "#x"),
    AwaitIntroduction(IRC),
    Introduce(parse_nick("Mary", 32), "mary", "Mary's name"),
    LeaveRooms(),
    SetAway("lunch"),
    SetRealName("Mary"),
    SetBot(parse_nick("Mary", 32), bot=True),
    ShowServer(),
    ShowPeople([parse_nick("jack", 32)], "#x", "j*"),
    ShowPastNick(parse_nick("jack", 32), 5),
    DescribeRooms("#x"),
    Watch([parse_nick("jack", 32)]),
    Unwatch([parse_nick("jack", 32)]),
    Unwatch(),
    ShowWatched(here=True),
    ShowMessages("#x", "between", 5, [Mark("7-0f"), Mark(time=1.5)]),
    RemoveMessage("#x", "7-0f", "spam"),
    ShowActiveRooms(1.5, 2.5, 5),
    MarkRead("#x", until=1.5),
    MarkRead(name=parse_nick("jack", 32)),
    ChangeRole(parse_nick("jack", 32), "voice", given=True, room="#x"),
    ChangeSetting("join", "members", given=False, room="#x"),
    Ban("a.jack", given=True, room="#x"),
    ListBans("#x"),
    SwitchEncoding(encoding_of(frozenset({"server-time", "echo-message"}))),
    QueuedLabelled(ShowServer(), "@label=1 MOTD"),
]
# And those of programs.
QUEUED_OF_PROGRAMS: list[QueuedRecord] = [
    Greet(DOCUMENTS),
    Resume("idm", "t0ken", {"#x": 7}),
    Ping(),
    QueuedLabelled(Say("hi", "#x"), "1"),
    QueuedLabelled(QueuedCustom("roll", "2d6", "#x"), "2"),
    QueuedLabelled(Refuse("this is not valid JSON"), "3"),
    Disconnected("closed with 1000", for_good=True),
]
KEPT = [
    Said("#x", "idj", "john", "hi", 7, 1_000_000_000.5),
    Acted("#x", "idj", "john", "waves", 8, 1_000_000_001.0),
    TopicSet("#x", "#X", "idk", "jack", "bees", 9, 1_000_000_002.0),
]


def rich() -> ChatSnapshot:
    """One with something in every field."""
    lines = LinesSnapshot(b"/msg \xc3", skipping=True, pending=True, telnet=b"\xff\xfa")
    halfway = ReaderSnapshot(
        FirstBytesSnapshot(b"PROXY", over=True, trusted=True, lines=lines),
        BucketSnapshot(-1.5, 0.25),
    )
    john = ClientSnapshot(
        id="idj",
        address="192.0.2.7",
        peer="192.0.2.7:99",
        nick="john",
        keys=["john", "jolhn"],
        rooms=["#x"],
        encoding=CRLF,
        reader=halfway,
        unsent=b"> rest \xff",
        lagging=True,
        positions={"#x": 5},
        queued=QUEUED,
    )
    jack = ClientSnapshot(
        "idk", "::1", "[::1]:98", closing="quit", unsent=b"> sad to see you go =(\n"
    )
    return ChatSnapshot(
        store="memory",
        uptime=86_400.5,
        counts=Counts(9, 8, 7, 6, Counter({"quit": 3, "closed by the client": 2}), 5, 4),
        clients=[john, jack],
        rooms=[RoomSnapshot("#x", "#X", "bees", 9, 3, KEPT), RoomSnapshot("#kept", "#kept")],
        gone=[LeftBehind("#x", "ids", "über")],
        histories=HistoriesSnapshot([RoomHistory("#x", deque(KEPT), 9, "bees")], 4),
    )


def with_programs() -> ChatSnapshot:
    """One with something in every field that programs have beside people."""
    frames = FramesSnapshot(b"\x81\xfe", b"\x01\x81abcdx", over=True, pending=True, most=26_624)
    jim = ClientSnapshot(
        id="idm",
        address="192.0.2.7",
        peer="192.0.2.7:97",
        rooms=["#x", "#y"],
        room_limit=50,
        encoding=DOCUMENTS,
        reader=ReaderSnapshot(FirstBytesSnapshot(None, frames=frames), BucketSnapshot(3.5, 0.5)),
        unsent=b"\x81\x02{}",
        queued=QUEUED_OF_PROGRAMS,
        token="t0ken",
    )
    half = FirstBytesSnapshot(b"GET /ws HTTP/1.1\r\nHo", left=7.5)
    jane = ClientSnapshot("idn", "::1", "[::1]:96", reader=ReaderSnapshot(half))
    mary = ClientSnapshot(
        id="ido",
        address="::1",
        peer="[::1]:95",
        nick="mary",
        keys=["mary", "rnary"],
        rooms=["#y"],
        room_limit=50,
        encoding=DOCUMENTS,
        lagging=True,
        positions={"#y": 0},
        token="t1ken",
        away=12.5,
    )
    return ChatSnapshot(
        "memory",
        clients=[jim, jane, mary],
        rooms=[RoomSnapshot("#x", "#X"), RoomSnapshot("#y", "#y")],
    )


# --- as it was ------------------------------------------------------------------------------------


def with_requests() -> ChatSnapshot:
    """With a client that only asks by HTTP, and one that is new to lines."""
    reader = ReaderSnapshot(FirstBytesSnapshot(b"GET ", requests=3, left=4.0))
    asks = ClientSnapshot("ida", "::1", "[::1]:1", encoding=ANSWERS, reader=reader)
    asks.queued += QUEUED_SINCE
    lines = LinesSnapshot(hinted=True, bare_lines=2, greets=True)
    first = FirstBytesSnapshot(lines=lines, greets=True, greeted=True, local=True, private=True)
    types = ClientSnapshot("idt", "::1", "[::1]:2", reader=ReaderSnapshot(first))
    counts = Counts(http_requests=Counter({"2xx": 25, "4xx": 1}))
    recover = Asked(Recover(parse_nick("Mary", 32), "c0de"), 1)
    secrets = Secrets(Echo("wants_no_then_yes"), recover, unread=2)
    lines = LinesSnapshot(b"secr", secrets=secrets, private=True)
    first = FirstBytesSnapshot(lines=lines)
    logs_in = ClientSnapshot("idl", "::1", "[::1]:3", reader=ReaderSnapshot(first))
    frames = FirstBytesSnapshot(frames=FramesSnapshot(private=True))
    page = ClientSnapshot("idp", "::1", "[::1]:4", reader=ReaderSnapshot(frames))
    return ChatSnapshot("memory", counts=counts, clients=[asks, types, logs_in, page])


def with_irc() -> ChatSnapshot:
    """With clients of IRC: one in the middle of its registration, and one with all there is."""
    negotiating = Registration(negotiating=True, nick="mary", response="AGpvaG4A")
    capabilities = frozenset({"server-time", "batch"})
    done = Registration(capabilities, nick="jack", user="jd", real="Jack D", introduced=True)
    lines = IrcSnapshot(b"PRIV", skipping=True, pending=True, private=True, batches=7)
    lines.registration = done
    dialects = IrcSnapshot(b"NI", registration=negotiating), lines
    readers = [ReaderSnapshot(FirstBytesSnapshot(irc=dialect)) for dialect in dialects]
    mary = ClientSnapshot(
        "idm", "::1", "[::1]:1", encoding=IRC, reader=readers[0], awaited=True, queued=QUEUED_OF_IRC
    )
    jack = ClientSnapshot(
        *("idj", "::1", "[::1]:2", "jack"),
        encoding=encoding_of(frozenset({"server-time"})),
        reader=readers[1],
        about=About("jd", "Jack D", "lunch", bot=True),
    )
    ann = ClientSnapshot(
        *("ida", "::1", "[::1]:3", "ann"),
        encoding=encoding_of(frozenset({"server-time"}), "binary"),
        reader=ReaderSnapshot(
            FirstBytesSnapshot(
                frames=FramesSnapshot(b"\x82"),
                irc=IrcSnapshot(registration=Registration(framing="binary")),
            )
        ),
        watched={"jack": "Jack"},
    )
    return ChatSnapshot(
        "memory",
        clients=[mary, jack, ann],
        rooms=[RoomSnapshot("#x", "#X", made=1.5)],
        read_markers={"idj": {"#x": 1.5, "with mary": 2.5}},
        unwritten_markers={"a.john": {"#x": 1.5}},
    )


@pytest.mark.parametrize("state", [rich(), with_programs(), with_requests(), with_irc()])
def test_all_that_can_be_in_a_state_is_read_as_it_was_written(state: ChatSnapshot) -> None:
    assert read_state(write_state(state)) == state


def test_each_record_that_can_wait_is_tried_here() -> None:
    tried = [*QUEUED, *QUEUED_OF_PROGRAMS, *QUEUED_SINCE, *QUEUED_OF_IRC]
    assert {type(record) for record in tried} == set(QueuedRecord.__args__)


def test_default_values_take_no_place() -> None:
    written = json.loads(
        write_state(ChatSnapshot("memory", clients=[ClientSnapshot("a", "b", "c")]))
    )
    assert written == {
        "version": VERSION,
        "store": "memory",
        "clients": [{"id": "a", "address": "b", "peer": "c"}],
    }


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
numbers = st.integers(0, 2**63 - 1)
seconds = st.floats(allow_nan=False, allow_infinity=False)
data = st.binary(max_size=9)
maybe = st.none() | texts
changed_fields = st.dictionaries(texts, maybe, max_size=3)
runs = st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=3)
kept = (
    st.builds(Said, texts, texts, texts, texts, numbers, seconds)
    | st.builds(Acted, texts, texts, texts, texts, numbers, seconds)
    | st.builds(Noticed, texts, texts, texts, texts, numbers, seconds)
    | st.builds(TopicSet, texts, texts, texts, texts, texts, numbers, seconds)
    | st.builds(Ruled, texts, texts, texts, texts, texts, changed_fields, numbers, numbers, seconds)
    | st.builds(Removed, texts, texts, texts, texts, texts, positions=runs, undoes=numbers)
)
readers = st.builds(
    ReaderSnapshot,
    st.builds(
        FirstBytesSnapshot,
        st.none() | data,
        st.booleans(),
        st.booleans(),
        st.builds(LinesSnapshot, data, st.booleans(), st.booleans(), st.none() | data, data),
        st.none() | st.builds(FramesSnapshot, data, data, st.booleans(), st.booleans(), numbers),
        st.none() | seconds,
    ),
    st.none() | st.builds(BucketSnapshot, seconds, st.none() | seconds),
)
held = (
    st.sampled_from(QUEUED)
    | st.builds(Say, texts, maybe)
    | st.builds(ShowHistory, numbers, st.none() | numbers, maybe)
    | st.builds(Search, st.lists(texts, max_size=3).map(tuple), maybe)
    | st.builds(Answer, data)
    | st.builds(Refuse, texts, texts)
    | st.builds(Refuse, texts, st.sampled_from(Code))
    | st.builds(QueuedCustom, texts, texts, maybe)
    | st.builds(Resume, texts, texts, st.dictionaries(texts, numbers, max_size=3))
)
held |= st.sampled_from(QUEUED_OF_PROGRAMS) | st.builds(QueuedLabelled, held, texts)
clients = st.builds(
    ClientSnapshot,
    id=texts,
    address=texts,
    peer=texts,
    nick=texts,
    keys=st.lists(texts, max_size=3),
    rooms=st.lists(texts, max_size=3),
    room_limit=st.none() | numbers,
    encoding=st.sampled_from([LF, CRLF, DOCUMENTS]),
    reader=readers,
    unsent=data,
    lagging=st.booleans(),
    positions=st.dictionaries(texts, numbers, max_size=3),
    closing=maybe,
    queued=st.lists(held, max_size=3),
    token=texts,
    away=st.none() | seconds,
)
rooms = st.builds(RoomSnapshot, texts, texts, texts, numbers, numbers, st.lists(kept, max_size=3))
histories = st.builds(
    RoomHistory,
    room=texts,
    entries=st.lists(kept, max_size=3).map(deque),
    position=numbers,
    topic=texts,
    topic_author=texts,
    topic_nick=texts,
    topic_time=seconds,
    newest=numbers,
    rules=st.builds(Rules, numbers, st.dictionaries(texts, texts, max_size=3)),
    actions=st.lists(
        st.builds(Action, numbers, seconds, texts, texts, texts, changed_fields, changed_fields),
        max_size=2,
    ).map(deque),
)
states = st.builds(
    ChatSnapshot,
    store=texts,
    uptime=seconds,
    counts=st.builds(Counts, turns=numbers, left=st.dictionaries(texts, numbers).map(Counter)),
    clients=st.lists(clients, max_size=3),
    rooms=st.lists(rooms, max_size=3),
    gone=st.lists(st.builds(LeftBehind, texts, texts, texts), max_size=2),
    histories=st.builds(HistoriesSnapshot, st.lists(histories, max_size=2), numbers, texts),
)


@given(states)
def test_any_state_is_read_as_it_was_written(state: ChatSnapshot) -> None:
    written = write_state(state)
    assert read_state(written) == state
    written.decode()


# --- what is refused ------------------------------------------------------------------------------

Change = Callable[[dict], object]


def changed(change: Change) -> bytes:
    fields = json.loads(write_state(rich()))
    change(fields)
    return json.dumps(fields).encode()


def client(fields: dict) -> dict:
    return fields["clients"][0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f: f.update(version=2), "the state has version 2, and only 1 is known here"),
        (lambda f: f.update(version=0), "the state has version 0, and only 1 is known here"),
        (lambda f: f.update(version="1"), 'the state has version "1", and only 1 is known here'),
        (lambda f: f.update(version=True), "the state has version true, and only 1 is known here"),
        (lambda f: f.pop("version"), "the state has no version"),
        (lambda f: f.update(colour=1), "unknown field 'colour' @ state"),
        (lambda f: client(f).update(x=1), "unknown field 'x' @ state.clients[0]"),
        (
            lambda f: client(f)["reader"]["dialect"]["lines"].update(x=1),
            "unknown field 'x' @ state.clients[0].reader.dialect.lines",
        ),
        (lambda f: client(f)["held"][0].update(x=1), "'x' @ state.clients[0].queued[0]"),
        (lambda f: client(f)["held"][0].update(kind="Shout"), "unknown kind 'Shout' @ state.cl"),
        (
            lambda f: client(f)["held"][0].pop("kind"),
            "missing field 'kind' @ state.clients[0].queued",
        ),
        (lambda f: client(f)["held"].append(5), "5 is no dict @ state.clients[0].queued[20]"),
        (lambda f: client(f).pop("id"), "missing field 'id' @ state.clients[0].id"),
        (lambda f: client(f).update(id=5), "5 is no str @ state.clients[0].id"),
        (lambda f: client(f).update(id=None), "None is no str @ state.clients[0].id"),
        (lambda f: client(f).update(lagging=1), "1 is no bool @ state.clients[0].lagging"),
        (lambda f: client(f).update(keys="john"), "'john' is no list @ state.clients[0].keys"),
        (lambda f: client(f).update(keys=[["x"]]), "['x'] is no str @ state.clients[0].keys[0]"),
        (lambda f: client(f).update(positions=[1]), "[1] is no dict @ state.clients[0].positions"),
        (lambda f: client(f)["positions"].update(a="5"), "'5' is no int @ state.clients[0].pos"),
        (lambda f: client(f)["positions"].update(a=5.0), "5.0 is no int @ state.clients[0].pos"),
        (lambda f: client(f)["positions"].update(a=True), "True is no int @ state.clients[0].po"),
        (lambda f: client(f).update(variant="ebcdic"), "unknown encoding 'ebcdic' @ state.clients"),
        (lambda f: client(f).update(rest="ä"), " @ state.clients[0].unsent"),
        (lambda f: client(f).update(rest="*abc"), "@ state.clients[0].unsent"),
        (lambda f: client(f).update(reader=[]), "[] is no dict @ state.clients[0].reader"),
        (lambda f: client(f)["reader"]["bucket"].update(tokens=2), "2 is no float @ state.client"),
        (lambda f: f.update(clients={}), "{} is no list @ state.clients"),
        (lambda f: f["counts"].update(left=[]), "[] is no dict @ state.counts.left"),
        (lambda f: f["rooms"][0]["recent"][0].update(time=None), "@ state.rooms[0].recent[0].time"),
        (lambda f: f["histories"]["rooms"][0].pop("position"), "missing field 'position' @ state."),
        (lambda f: f.update(uptime="x" * 99), f"'{'x' * 39}... is no float @ state.uptime"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(change: Change, problem: str) -> None:
    with pytest.raises(StateError) as caught:
        read_state(changed(change))
    told = str(caught.value)
    assert problem in told
    assert "\n" not in told
    assert len(told) < 200


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"5", b"null"])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(StateError, match="the state "):
        read_state(data)


@pytest.mark.parametrize("missing", ["uptime", "counts", "clients", "rooms", "gone", "histories"])
def test_a_missing_field_takes_its_default(missing: str) -> None:
    default = getattr(ChatSnapshot("memory"), missing)
    state = read_state(changed(lambda fields: fields.pop(missing)))
    assert state == evolve(rich(), **{missing: default})


# --- what versions before this have written -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state"), [("state_1", rich()), ("state_1_programs", with_programs())]
)
def test_a_state_of_version_1(name: str, state: ChatSnapshot) -> None:
    """They were written from these, as they were then; see tests/data/README.md."""
    assert read_state((DATA / f"{name}.json").read_bytes()) == state


def test_a_refusal_that_waits_keeps_its_code_and_one_of_an_older_version_has_the_default() -> None:
    waits = Refuse("the nick jack is taken", Code.NICK_TAKEN)
    state = ChatSnapshot("memory", clients=[ClientSnapshot("a", "b", "c", queued=[waits])])
    fields = json.loads(write_state(state))
    assert read_state(json.dumps(fields).encode()) == state
    [held] = client(fields)["held"]
    assert held.pop("code") == "nick_taken"
    [old] = read_state(json.dumps(fields).encode()).clients[0].queued
    assert old == Refuse("the nick jack is taken", "refused")


# --- what is seen to before a chat is handed over -------------------------------------------------


def two(**of_the_second: object) -> ChatSnapshot:
    first = ClientSnapshot("a", "::1", "[::1]:1", "john", ["john"], ["#x"])
    second = evolve(
        ClientSnapshot("b", "::1", "[::1]:2", "jack", ["jack"], ["#x"]), **of_the_second
    )
    return ChatSnapshot("memory", clients=[first, second], rooms=[RoomSnapshot("#x", "#x")])


def test_a_valid_state_passes() -> None:
    check_handover(Settings(store="memory"), two())
    check_handover(Settings(store="memory"), rich())
    check_handover(Settings(store="memory"), with_programs())


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (two(id="a"), "the state has the client a or its nick twice"),
        (two(keys=["x", "john"]), "the state has the client b or its nick twice"),
        (two(rooms=["#y"]), "the state has the client b in a room that is not there"),
        (two(lagging=True), "the state does not say how far the client b has got"),
        (two(away=5.0, token="t"), "the state has the client b away for ever"),
        (two(away=5.0, lagging=True, positions={"#x": 0}), "the client b away for ever"),
        (evolve(two(), gone=[LeftBehind("#y", "c", "jim")]), "leave a room that is not there"),
        (evolve(two(), rooms=[RoomSnapshot("#x", "#x")] * 2), "the state has a room twice"),
        (evolve(two(), store="sqlite:/x.db"), "rooms are kept in /x.db, and would be in memory: "),
    ],
)
def test_a_state_that_contradicts_itself_is_refused(state: ChatSnapshot, problem: str) -> None:
    with pytest.raises(StateError, match=problem):
        check_handover(Settings(store="memory"), state)


def test_settings_that_no_chat_can_be_opened_with_are_refused() -> None:
    with pytest.raises(SettingsError, match="keep_rooms: "):
        check_handover(Settings(store="memory", keep_rooms=("a,b",)), two())


def test_a_file_that_is_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {0x74726368}")
    connection.execute("PRAGMA user_version = 99")
    connection.execute("CREATE TABLE x (x)")
    connection.close()
    store = f"sqlite:{path}"
    with pytest.raises(StoreError, match="written by a newer trio-chat"):
        check_handover(Settings(store=store), evolve(two(), store=store))


def test_one_file_by_two_names_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "chat.db")
    state = evolve(two(), store=f"sqlite:{tmp_path}/chat.db")
    check_handover(Settings(store=f"sqlite:{tmp_path}/link.db"), state)


def test_a_custom_command_is_known_by_the_name_of_its_row() -> None:
    row = custom("roll", "/roll", "roll", lambda *_: [])
    record = make_table([row])["roll"].record("2d6", Settings())
    assert isinstance(record, commands.Custom)
    assert record.name == "roll"
