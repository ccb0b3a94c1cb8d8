"""WebSocket's bytes, split anywhere and made at random: the fast way and wsproto's are one."""

from __future__ import annotations

import json

import pytest
from documents import VALIDATORS, check, frame
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol

from trio_chat import Settings
from trio_chat.dialects import documents, frames
from trio_chat.dialects.frames import FramesSnapshot
from trio_chat.dialects.websocket import DOCUMENTS, WebSocketDialect
from trio_chat.errors import Code
from trio_chat.protocol import events
from trio_chat.protocol.commands import Answer, Disconnected, LabelledCommand, Refuse, Resume, Say
from trio_chat.protocol.table import make_table

SETTINGS = Settings()
TABLE = make_table(())


def dialect() -> WebSocketDialect:
    return WebSocketDialect(TABLE, SETTINGS)


def feed(pieces: list[bytes]) -> list[object]:
    one = dialect()
    return [record for piece in pieces for record in one.feed(piece)]


SAY = {"type": "say", "room": "#A", "text": "Hi \u4f60\U0001f600"}


def message_in_pieces(text: str, *cuts: int) -> bytes:
    """A message in fragments, with a ping after each."""
    writer = FrameProtocol(client=True, extensions=[])
    sent, start = b"", 0
    for cut in (*cuts, len(text)):
        last = cut == len(text)
        sent += bytes(writer.send_data(text[start:cut], fin=last))
        sent += bytes(writer.ping(str(cut).encode()))
        start = cut
    return sent


def test_a_message_is_the_same_wherever_it_is_split() -> None:
    long = {**SAY, "text": "x" * 1000, "id": "1"}
    sent = frame(SAY) + message_in_pieces(json.dumps(SAY), 3, 9, 9, 30) + frame(long) + frame("{")
    say = Say(SAY["text"], "#a")
    whole = feed([sent])
    pongs = [record for record in whole if isinstance(record, Answer)]
    assert len(pongs) == 5
    assert [record for record in whole if not isinstance(record, Answer)] == [
        *(say, say, LabelledCommand(Say("x" * 1000, "#a"), "1")),
        Refuse("this is not valid JSON", Code.BAD_DOCUMENT),
    ]
    for at in range(len(sent)):
        assert feed([sent[:at], sent[at:]]) == whole
    assert feed([bytes((byte,)) for byte in sent]) == whole


@given(
    texts=st.lists(st.text(max_size=300), max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_the_short_way_and_wsprotos_lead_to_the_same(texts: list[str], cuts: list[int]) -> None:
    sent = [frame(text) for text in texts]
    stream = b"".join(sent)
    places = sorted(min(cut, len(stream)) for cut in cuts)
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
    slow = dialect()
    # An empty fragment before it takes a message away from the short way.
    long_way = [
        record
        for text in texts
        for record in slow.feed(
            bytes(FrameProtocol(client=True, extensions=[]).send_data("", fin=False))
            + b"\x80"
            + frame(text)[1:]
        )
    ]
    assert feed(pieces) == long_way


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_no_bytes_crash_it_and_no_split_matters(data: bytes, cut: int) -> None:
    for start in (b"", b"\x81\xfe", b"\x01\x80abcd", b"\x88\x82abcd", frame(SAY)):
        sent = start + data
        whole = feed([sent])
        assert feed([sent[:cut], sent[cut:]]) == whole
        ends = [record for record in whole if isinstance(record, Disconnected)]
        assert len(ends) <= 1
        assert not ends or whole[-1] is ends[0]


def test_frames_past_the_limit_wait() -> None:
    one = dialect()
    sent = frame({"type": "ping"}) * 3
    pong = b"\x8a\x80abcd"
    assert len(one.feed(sent + pong * 4 + sent, 2)) == 2
    assert one.pending
    assert len(one.feed(b"", 2)) == 1  # one ping, and four pongs, which come to nothing
    assert one.pending
    assert len(one.feed(b"", 4)) == 3
    assert not one.pending
    assert one.feed(b"", 9) == []


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b"\x8a\x80abcd"),
        (b"", b"\x89\x80abcd"),
        (b"\x01\x80abcd", b"\x00\x80abcd"),
        (b"\x01\x80abcd", b"\x00\x81abcdx"),
    ],
)
def test_a_frame_that_makes_no_record_is_counted_as_a_part_of_a_line(
    start: bytes, part: bytes
) -> None:
    one = dialect()
    one.feed(start)
    assert len(one.feed(part * 10_000, 2)) <= 8
    assert one.spent == 2
    assert one.pending
    assert len(one.snapshot().buffer) == (10_000 - 8) * len(part)


def test_a_message_is_counted_as_a_line_and_each_fragment_as_a_part() -> None:
    one = dialect()
    one.feed(frame(SAY))
    assert one.spent == 1
    one.feed(frame("x", fin=False) + b"\x00\x80abcd\x80\x80abcd")
    assert one.spent == 1.5
    one.feed(b"")
    assert one.spent == 0


def test_the_last_of_many_fragments_takes_no_longer_than_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[bytes] = []

    def parse(data: bytes) -> list[object]:
        parsed.append(data)
        return parse_frames(data)

    parse_frames = frames._parsed
    monkeypatch.setattr(frames, "_parsed", parse)
    one = dialect()
    text = json.dumps(SAY).encode()
    one.feed(b"\x01\x80abcd" + b"\x00\x80abcd" * 20_000)
    for byte in text:
        one.feed(b"\x00\x81\0\0\0\0" + bytes([byte]))
    assert one.feed(b"\x80\x80abcd") == [Say(SAY["text"], "#a")]
    [last] = parsed
    assert len(last) < len(text) + 20


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 70_000])
def test_a_message_that_has_begun_goes_over_as_a_frame(size: int) -> None:
    settings = Settings(line_bytes=65_536)
    one = WebSocketDialect(TABLE, settings)
    long = {**SAY, "id": "x"}
    text = json.dumps(long).ljust(size + 300).encode()
    for head, part in ((b"\x01", text[:size]), (b"\x00", b"")):
        assert one.feed(head + frame(part.decode(), fin=False)[1:]) == []
    snapshot = one.snapshot()
    [begun] = frames._parsed(snapshot.fragments)
    assert begun.payload == text[:size].decode()
    assert not begun.message_finished
    other = WebSocketDialect.restored(TABLE, settings, snapshot)
    assert other.snapshot() == snapshot
    [record] = other.feed(b"\x80" + frame(text[size:].decode())[1:])
    assert record == LabelledCommand(Say(SAY["text"], "#a"), "x")


def test_a_message_that_an_earlier_version_has_begun_goes_on() -> None:
    # It kept the frames as they came.
    text = json.dumps(SAY)
    begun = frame(text[:9], fin=False) + b"\x00" + frame(text[9:20], fin=False)[1:]
    one = WebSocketDialect.restored(TABLE, SETTINGS, FramesSnapshot(fragments=begun))
    assert one.feed(b"\x80" + frame(text[20:])[1:]) == [Say(SAY["text"], "#a")]


@pytest.mark.parametrize("head", [b"\x81\xff" + (1 << 40).to_bytes(8), b"\x81\xfe\xff\xff"])
def test_a_length_is_refused_before_its_bytes_are_there(head: bytes) -> None:
    records = feed([head])
    assert records[-1] == Disconnected("sent too long a message", for_good=True)


def test_the_longest_message_fits_with_every_character_escaped() -> None:
    text = "\U0001f600" * SETTINGS.message_chars
    document = {"type": "say", "room": "\u00e4" * 64, "text": text, "id": "\u00e9" * 64}
    sent = json.dumps(document)
    assert len(sent) > 12 * SETTINGS.message_chars
    [record] = feed([frame(sent)])
    assert record == LabelledCommand(Say(text, "\u00e4" * 64), "\u00e9" * 64)
    filling = " " * (SETTINGS.document_bytes - len(sent))
    assert feed([frame(sent + filling)]) == [record]
    assert feed([frame(sent[:100], fin=False), b"\x80" + frame(sent[100:])[1:]]) == [record]
    assert isinstance(feed([frame(sent + filling + " ")])[-1], Disconnected)


def test_positions_of_rooms_are_read_without_what_takes_long(monkeypatch) -> None:
    positions = {f"#\u00c9{number}": number for number in range(1500)}
    monkeypatch.setattr("trio_chat.protocol.names._apply_precis", None)
    sent = {"type": "resume", "client": "x", "token": "y", "positions": positions}
    [record] = feed([frame(json.dumps(sent, ensure_ascii=False))])
    assert record == Resume("x", "y", {f"#\u00e9{number}": number for number in range(1500)})


def test_a_room_is_found_without_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    room = "#" + "\u00c9" * (SETTINGS.room_chars - 1)
    monkeypatch.setattr("trio_chat.protocol.names._apply_precis", None)
    [record] = feed([frame(json.dumps({"type": "say", "room": room, "text": "x"}))])
    assert record == Say("x", room.lower())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("#" + "a\u0301\u0316" * 40, "a room name may have at most 64 characters"),
        ("#" + "\ufdfa" * 5_000, "a room name may have at most 64 characters"),
        ("#a" + "\u0301\u0316" * 3_900, "a room name may have at most 64 characters"),
        ("#\udc80", "a room name may not contain the character U+DC80"),
    ],
)
def test_a_name_that_would_take_long_to_fold_or_cannot_be_sent(name: str, reason: str) -> None:
    resume = {"type": "resume", "client": "x", "token": "y", "positions": {name: 1}}
    for sent in ({"type": "say", "room": name, "text": "x"}, resume):
        ascii_only = "\udc80" in name
        [record] = feed([frame(json.dumps(sent, ensure_ascii=ascii_only))])
        assert record == Refuse(reason, Code.BAD_ROOM_NAME)


def test_a_room_in_another_form_is_the_same_however_long_that_is() -> None:
    room = "\u00e9" * SETTINGS.room_chars
    sent = {"type": "say", "room": "e\u0301" * SETTINGS.room_chars, "text": "x"}
    [record] = feed([frame(json.dumps(sent, ensure_ascii=False))])
    assert record == Say("x", room)


def test_nothing_is_kept_of_what_is_done() -> None:
    one = dialect()
    one.feed(message_in_pieces(json.dumps(SAY), 5) + frame(SAY))
    assert (one._buffer, one._fragments) == (b"", None)
    one.feed(b"\x81\x85ab")
    assert (one._buffer, one._fragments) == (b"\x81\x85ab", None)


@pytest.mark.parametrize("size", [1, 40, 1_000])
def test_the_buffer_is_bounded_however_small_the_fragments(size: int) -> None:
    one = dialect()
    piece = frame("x" * size, fin=False)
    kept = 0
    one.feed(piece)
    for _ in range(SETTINGS.document_bytes // size + 2):
        if one.feed(b"\x00" + piece[1:]):
            break
        kept = max(kept, len(one._fragments or b""))
    else:
        raise AssertionError("it goes on for ever")
    assert SETTINGS.document_bytes - size < kept <= SETTINGS.document_bytes
    assert one.feed(frame(SAY)) == []


# --- what is written ------------------------------------------------------------------------------

MEMBER = events.Member("id", "jack")
SAID = events.Said("#a", "id", 'ja"ck', "Hi \\ \U0001f600", 7, 1_800_000_000.12345)
EVENTS = [
    SAID,
    events.Acted("#a", "id", "jack", "waves", 8, 1.0),
    events.TopicSet("#a", "#A", "id", "jack", "tea", 9, 1.0),
    events.Ruled("#a", "#A", "id", "mary", "muted jack", {"mute": None}, 3, 9, 1.0),
    events.Removed(
        *("#a", "#A", "id", "mary", "removed 2 messages of jack", {}, 3, 9, 1.0),
        positions=[[3, 3], [5, 5]],
    ),
    events.Held("#a", "#A", "id", "jack", "said", "buy", 7, 1.0, waiting=2, networks="net:0"),
    events.Joined("#a", "id", "jack"),
    events.Left("#a", "id", "jack"),
    events.Renamed("#a", "id", "jack", "jim"),
    events.Told("to", "id", "jack", "hi"),
    events.Invited("#a", "#A", "id", "jack", "to", 1.0),
    events.Hello(
        "id", "anonymous", "t", 60.0, events.Limits(*range(7)), [events.Usage("a", "b", "c")]
    ),
    events.SessionResumed("id", "jack", [events.RoomAgain("#a", "#A", "tea")], "a.id"),
    events.NickTaken("jack"),
    events.LoggedIn("a.jack", "jack", "a token", "a code"),
    events.LoggedOut("id", "anonymous"),
    events.Expiring(59.5),
    events.RecoveryRenewed("a code"),
    events.DevicesListed([events.Device(1, "page", 1.0, 2.0)]),
    events.AccountExported("{}"),
    events.CommandsListed([events.Usage("a", "b", "c")]),
    events.Reported(3, "#a", "1", "jim", "2", "jack", 7, "spam", 1.0),
    events.ReportsShown([events.Reported(3, "#a", "1", "jim", "2", "jack", 0, "spam", 1.0)]),
    events.PinShown("#a", "#A", [SAID]),
    events.Ignores([MEMBER]),
    events.RulesShown("#a", "#A", "owner", [events.RoomSetting("join", "all")]),
    events.RolesShown("#a", "#A", [events.RoleHolder("a.1", "ann", "owner")], 1),
    events.HeldShown("#a", "#A", [events.Held("#a", "#A", "id", "jack", "acted", "buys", 7, 1.0)]),
    events.Standing("#a", "#A", "voice", muted=True, until=5.0, reason="flooding"),
    events.ActionsShown("#a", "#A", [events.ActionShown(7, "a.1", "ann", "kicked jack", 1.0)]),
    events.Matches(
        *("#a", "#A", "jack", "none", False, 0.0, ["net:7f3a09c2"], 3, 1, 2, "", "for ever"),
        [events.ActionShown(7, "a.1", "ann", "banned jack", 1.0)],
    ),
    events.Welcomed("#a", "#A", "tea", 7, [MEMBER], 2),
    events.Departed("#a", "#A"),
    events.RoomsListed(["#a"], 1),
    events.MembersListed("#a", "#A", [MEMBER], 3),
    events.TopicShown("#a", "#A", "tea"),
    events.EntriesShown("#a", "#A", [SAID, events.Acted("#a", "id", "jack", "waves", 8, 1.0)]),
    events.HelpShown(["/nick"]),
    events.Goodbye(),
    events.Refusal("no", Code.REFUSED),
    events.Ended("no", 1008),
    events.Done(),
    events.Notice("tea"),
    events.Missed("#a", "#A", 3),
    events.Stopping(),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_each_event_has_its_document(event: events.Event) -> None:
    document = json.loads(documents.write(event))
    check(document)
    VALIDATORS["any_event"].validate(document)
    labelled = json.loads(documents.write(events.LabelledEvent(event, 'a "1"')))
    assert labelled == {"id": 'a "1"', **document}


def test_no_event_is_without_a_document() -> None:
    assert {type(event) for event in EVENTS} == documents.TYPES.keys()


def test_the_short_way_to_write_a_message_is_the_long_one() -> None:
    assert json.loads(documents.write(SAID)) == {
        "type": "said",
        "room": "#a",
        "author": "id",
        "nick": 'ja"ck',
        "text": "Hi \\ \U0001f600",
        "position": 7,
        "time": 1_800_000_000.123,
    }


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_a_way_of_its_own_comes_to_the_same(event: events.Event) -> None:
    assert json.loads(documents.write(event)) == documents._plain(event)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (events.Goodbye(), 1000),
        (events.Stopping(), 1001),
        (events.Stopping(restarting=True), 1012),
        (events.Ended("too many", 1008), 1008),
        (events.LabelledEvent(events.Goodbye(), "1"), 1000),
    ],
)
def test_the_reason_for_an_end_is_in_a_close_frame(event: events.Event, code: int) -> None:
    sent = DOCUMENTS.join(DOCUMENTS.render([event]))
    reader = FrameProtocol(client=True, extensions=[])
    reader.receive_bytes(sent)
    document, close = reader.received_frames()
    check(json.loads(document.payload))
    assert int(close.payload[0]) == code


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 100_000])
def test_a_frame_is_as_wsproto_has_it(size: int) -> None:
    text = "x" * size
    assert frames.text_frame(text) == bytes(
        FrameProtocol(client=False, extensions=[]).send_data(text)
    )


def test_an_answer_is_as_it_is_and_all_have_the_same_bytes() -> None:
    pong = frames.close_frame(1000)
    [piece] = DOCUMENTS.render([events.Answered(pong)])
    assert piece is pong
    assert DOCUMENTS.join([piece, piece]) == pong * 2
