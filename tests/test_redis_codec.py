"""The form of entries in the engine, and the additions of neighbouring versions."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.protocol.events import (
    Acted,
    ConnectionChanged,
    Entered,
    Exited,
    Gone,
    Invited,
    Moved,
    NickChanged,
    Noticed,
    PersonChanged,
    Removed,
    Ruled,
    Said,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import Name
from trio_chat.roomlog.redis.codec import (
    Batch,
    batch_from_inbox,
    batch_from_stream,
    from_wire,
    pack,
    pack_ruled,
    pack_topic,
    wire,
)

# Names and texts have no control characters.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=9)
rooms = texts.filter(bool)
said = st.tuples(st.sampled_from([Said, Noticed, Acted]), texts, texts, texts)

CLAIMS = [
    PersonChanged("u1", "jim", "a.j", Name("John", "john", ("john",)), 5.25, ("u2",), expires=9.5),
    PersonChanged("u1", "John", "u1", Name("anonymous", "", ())),
    NickChanged("u1", "anonymous", Name("Jürgen", "jürgen", ("jürgen", "jurgen"))),
    NickChanged("u1", "jack", Name("anonymous", "", ())),
    Entered("u1", "jack", "#a", "#A", "#b"),
    Entered("u1", "jack", "#a", "#A"),
    Exited("u1", "jack", "#a"),
    Exited("u1", "jack", "#a", ousted=("a.1", "ann", "kicked jack: spam")),
    Gone("u1", "jack", "left"),
    Moved("u1", "jack"),
    Told("u2", "u1", "jack", 'a "word"\\'),
    Told("u2", "u1", "jack", "x", notice=True),
    Invited("#a", "#A", "u1", "jack", "u2", 1.5),
]


@pytest.mark.parametrize("entry", CLAIMS)
def test_claims_come_back_and_readers_ignore_what_is_more(entry):
    text = wire(entry)
    assert from_wire(text.encode()) == entry
    more = json.dumps([*json.loads(text), "of a", {"newer": "version"}])
    assert from_wire(more.encode()) == entry


def test_a_token_stays_with_its_node():
    moved = Moved("u1", "jack", "secret", {"#a": 1})
    assert "secret" not in wire(moved)
    assert from_wire(wire(moved).encode()) == Moved("u1", "jack")


def test_readers_ignore_letters_that_they_do_not_know():
    assert from_wire(b'["Z","u1",3]') is None
    assert from_wire(b"[]") is None
    with pytest.raises(TypeError):
        wire(ConnectionChanged("u1", {}))


@given(rooms, st.lists(said, min_size=1, max_size=5), st.integers(0, 1 << 50))
def test_messages_come_back_with_positions_and_times(room, lines, before):
    time = 1_700_000_000_000
    run = [
        kind(room, author, nick, text, before + n, (time + n - 1) / 1000)
        for n, (kind, author, nick, text) in enumerate(lines, 1)
    ]
    batch = Batch(room, before + len(run), len(run), time, "n e 1", pack(run))
    assert batch.entries() == run
    assert batch.topic() is None
    about = f"S{batch.top} {batch.count} {time} {room}".encode()
    assert batch_from_inbox(about, "n e 1", batch.blob) == batch
    fields = [b"n", b"%d" % batch.count, b"t", b"%d" % time, b"d", batch.blob, b"i", b"n e 1"]
    newer = [*fields, b"x", b"of a newer version"]
    assert batch_from_stream(room, b"%d-0" % batch.top, newer) == batch


def test_names_that_are_all_the_same_take_the_space_of_one() -> None:
    run = [Said("#a", "u1", "jack", str(number)) for number in range(9)]
    assert pack(run) == b"SSSSSSSSS\0u1\0jack\x000\n1\n2\n3\n4\n5\n6\n7\n8"
    first, *others = Batch("#a", 9, 9, 1, "n e 1", pack(run)).entries()
    assert all(entry.author is first.author and entry.nick is first.nick for entry in others)


@given(rooms, rooms, texts)
def test_a_topic_comes_back(room, shown, text):
    topic = TopicSet(room, shown, "u1", "jack", text, 7, 3.5)
    batch = Batch(room, 7, 1, 3500, "n e 1", pack_topic(topic))
    assert batch.entries() == [topic]
    assert batch.topic() == topic


def test_history_tells_removals_from_other_actions():
    """A copy from a file may have some."""
    about = "#a", "#A", "a.j", "john", "removed 1"
    for entry in (Ruled(*about), Removed(*about, positions=[[1, 2]], undoes=3, own=True)):
        [read] = Batch("#a", 7, 1, 5000, "n e 1", pack_ruled(entry)).entries()
        assert read == evolve(entry, position=7, time=5.0)
