"""Drafts become operations in their order, and results become entries or refusals."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import (
    Acted,
    ConnectionChanged,
    Entered,
    Entry,
    Exited,
    Gone,
    Held,
    Moved,
    NickChanged,
    PersonChanged,
    Removed,
    Ruled,
    Said,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import NOBODY, Name
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.redis.codec import Batch
from trio_chat.roomlog.redis.operations import Operations, hash_of
from trio_chat.roomlog.redis.refusals import NO_TEXTS, OUT_OF_MEMORY, UNDONE
from trio_chat.roomlog.rules import NO_RULES, TEXTS_GONE, Rules, as_kept

TURN = "n e 1"
RULES = Rules(3, {"role a.k": "owner"})


def said(room: str, text: str = "hi") -> Said:
    return Said(room, "u1", "jack", text)


def nick() -> NickChanged:
    return NickChanged("u1", "jack", Name("john", "john", ("john", "j0hn")))


def login(account: str = "a.j") -> PersonChanged:
    return PersonChanged("u1", "jack", account, Name("john", "john", ("john", "j0hn")), 5.25)


def ruled(room: str = "#a", version: int = 0) -> Ruled:
    changes = {"role a.j": "owner"}
    about = room, "#A", "a.j", "john", "claimed the room"
    return Ruled(*about, changes, version, ousted=("u2",), bound=("owner", 10, "too many"))


def of(*drafts: Entry, leaves_only: bool = False, kept: tuple[str, ...] = ()) -> Operations:
    def secret(user: str) -> tuple[str, int]:
        return f"hash of {user}", 5

    def rules(room: str) -> Rules:
        return RULES if room == "#ruled" else NO_RULES

    return Operations.of(drafts, secret, kept, rules, leaves_only=leaves_only)


def letters(operations: Operations) -> str:
    """The operations; small letters for texts."""
    counts = {"S": 4, "T": 6, "J": 13, "L": 4, "G": 3, "P": 4, "A": 3, "M": 4, "H": 8, "K": 6}
    found, at, items = "", 0, operations.arguments
    while at < len(items):
        letter = str(items[at])
        found += letter
        keys = {"N": 6, "I": 9, "R": 6}.get(letter)  # where the number of keys is
        at += counts[letter] if keys is None else keys + 1 + int(items[at + keys])
    return found


def entries(operations: Operations, *results: object):
    batches: list[Batch] = []
    rooms: dict[str, LoggedRoom] = {}
    found = operations.entries(results, TURN, batches.extend, rooms.__setitem__)
    return found, batches, rooms


def test_messages_of_a_room_are_one_operation_up_to_the_next_claim():
    drafts = [said("#a", "1"), said("#b", "2"), Acted("#a", "u2", "jill", "3"), nick(), said("#a")]
    operations = of(*drafts)
    assert letters(operations) == "SSNS"
    assert operations.arguments[:4] == ["S", "#a", 2, b"SA\0u1\nu2\0jack\njill\x001\n3"]
    found, batches, _ = entries(operations, [7, 5000], [1, 5000], 1, [8, 6000])
    assert found is operations.drafts
    assert [draft.position for draft in drafts if not isinstance(draft, NickChanged)] == [
        6,
        1,
        7,
        8,
    ]
    assert [drafts[0].time, drafts[2].time, drafts[4].time] == [5.0, 5.001, 6.0]
    assert [(batch.room, batch.top, batch.count) for batch in batches] == [
        ("#a", 7, 2),
        ("#b", 1, 1),
        ("#a", 8, 1),
    ]
    assert batches[0].entries() == [drafts[0], drafts[2]]


def test_an_action_comes_between_messages_and_brings_its_changes():
    drafts = [said("#a"), ruled(), said("#a")]
    operations = of(*drafts)
    assert letters(operations) == "SRS"
    at = operations.arguments.index("R")
    assert operations.arguments[at : at + 5] == ["R", "#a", 0, "owner", 10]
    found, batches, _ = entries(operations, [7, 5000], [8, 5001], [9, 5002])
    assert found is operations.drafts
    assert [draft.position for draft in drafts] == [7, 8, 9]
    assert batches[1].ruled() == evolve(drafts[1], bound=None)
    assert batches[1].entries() == [as_kept(drafts[1])]


def test_a_removal_is_an_action():
    removed = Removed("#a", "#A", "a.j", "john", "removed 1", positions=[[1, 1]])
    back = evolve(removed, undoes=8)
    operations = of(said("#a"), removed, back)
    assert letters(operations) == "SRR"
    [_, done, refused], batches, _ = entries(operations, [7, 5000], [8, 5001], NO_TEXTS)
    assert done == batches[1].ruled()
    assert str(refused) == TEXTS_GONE


def test_messages_that_wait_are_decided_one_by_one():
    first, full = (
        Held("#a", "#A", "u1", "jim", "said", "hi"),
        Held("#a", "#A", "u1", "jim", "said", "x"),
    )
    message = Said("#a", "u1", "jim", "hi")
    passed = evolve(first, number=4, state="passed", message=message)
    gone = evolve(first, number=5, state="dropped")
    operations = of(first, full, said("#a"), passed, gone)
    assert letters(operations) == "HHSKK"
    found, [_, batch], _ = entries(operations, [4, 9000, 2], -6, [7, 5000], [8, 5001], 0)
    assert (first.number, first.time, first.waiting) == (4, 9.0, 2)
    assert (message.position, message.time, batch.entries()) == (8, 5.001, [message])
    assert [result.code for result in found if isinstance(result, Refused)] == [
        Code.TOO_MANY_HELD, Code.NO_SUCH_HELD,
    ]  # fmt: skip


def test_a_passed_message_is_recalled_as_what_it_says():
    passed = Held("#a", "#A", "u1", "jim", "said", "hi", 4, state="passed")
    passed.message = Said("#a", "u1", "jim", "hi")
    operations = of(passed, said("#a"))
    batches = [Batch("#a", 8, 1, 5000, "turn", b""), Batch("#a", 9, 1, 5001, "turn", b"")]
    assert operations.rooms == ["#a"]
    assert operations.recall({"#a": batches}) == [[8, 5000], [9, 5001]]


def test_a_login_learns_whom_it_displaces():
    operations = of(login(), login("u1"))
    assert letters(operations) == "II"
    arguments = operations.arguments
    assert arguments[:4] + arguments[5:12] == [
        *("I", "u1", "hash of u1", 5, "a.j", "5.25", "0.0", "john", 2, "john", "j0hn"),
    ]
    assert arguments[17] == ""  # the account of a logout
    [first, _], *_ = entries(operations, [b"u2", b"u3"], [])
    assert first.displaced == ("u2", "u3")


def test_a_join_by_other_rules_brings_those_of_now():
    entered = Entered("u1", "jack", "#a", "#A")
    about = [b"7", b"", b"", b"", b"", b"5", [b"role a.j", b"owner"]]
    [refused], _, rooms = entries(of(entered), [-3, about])
    assert isinstance(refused, Refused)
    assert refused.code == Code.RULES_CHANGED
    assert rooms == {"#a": LoggedRoom(position=7, rules=Rules(5, {"role a.j": "owner"}))}


def test_a_join_keeps_the_rules_by_which_it_was_decided():
    entered = Entered("u1", "jack", "#ruled", "#ruled", version=3)
    operations = of(entered, evolve(entered, version=2))
    assert [operations.arguments[at] for at in (10, 23)] == [3, -1]
    _, _, rooms = entries(operations, [b"7", b"", b"", b"", b"", b"3", b""], -1)
    assert rooms == {"#ruled": LoggedRoom(position=7, rules=RULES)}


kinds = st.sampled_from([said("#a"), said("#b"), TopicSet("#a", "#A", "u1", "n", "tea"), nick()])


@given(st.lists(kinds, max_size=12))
def test_no_message_crosses_anything_else(drafts: list[Entry]):
    expected, run = "", set()
    for draft in drafts:
        if isinstance(draft, Said):
            run.add(draft.room)
        else:
            expected += "S" * len(run) + ("T" if isinstance(draft, TopicSet) else "N")
            run = set()
    assert letters(of(*drafts)) == expected + "S" * len(run)


def test_claims_carry_what_the_engine_needs():
    entered = Entered("u1", "jack", "#a", "#A", "#b")
    arguments = of(nick(), entered, Told("u2", "u1", "jack", "psst"), kept=("#a",)).arguments
    assert arguments[:8] == ["N", "u1", "hash of u1", 5, arguments[4], "john", 2, "john"]
    joined = arguments[9:22]
    assert joined == ["J", "u1", "hash of u1", 5, joined[4], "jack", "#a", "#A", "#b", 1, 0, "", 0]
    assert arguments[22:24] == ["P", "u2"]
    assert arguments[25:] == ["u1"]
    moved = of(Moved("u1", "jack", "secret")).arguments
    assert moved[:3] == ["M", "u1", hash_of("secret")]
    assert "secret" not in str(moved)
    assert of(ConnectionChanged("u1", {"#a": 3}), ConnectionChanged("u1")).arguments == [
        *("A", "u1", '{"#a": 3}'),
        *("A", "u1", ""),
    ]
    assert hash_of("") == ""


def test_the_state_of_a_room_comes_with_a_join():
    entered = Entered("u1", "jack", "#a", "#A")
    [found], _, rooms = entries(of(entered), [b"7", b"tea", b"u2", b"jill", b"2500", b"0", b""])
    assert found is entered
    assert rooms == {"#a": LoggedRoom("tea", "u2", "jill", 2.5, 7)}
    *_, rooms = entries(of(entered), [b"0", b"", b"", b"", b"", b"0", b""])
    assert rooms == {"#a": LoggedRoom()}


def test_a_user_that_moves_here_brings_its_positions():
    moved = Moved("u1", "jack", "secret")
    about = [b"7", b"", b"", b"", b"", b"5", [b"role a.j", b"owner"]]
    others = [b"#ruled", [b"9", b"", b"", b"", b"", b"3", b""]]
    [found], _, rooms = entries(of(moved), [b'{"#a":3}', b"1", b"#a", about, *others])
    assert (found, moved.positions) == (moved, {"#a": 3})
    assert rooms == {
        "#a": LoggedRoom(position=7, rules=Rules(5, {"role a.j": "owner"})),
        "#ruled": LoggedRoom(position=9, rules=RULES),  # which this node follows
    }
    _, _, rooms = entries(of(moved), [b"", b"0"])
    assert (moved.positions, rooms) == (None, {})


@pytest.mark.parametrize(
    ("draft", "result", "code"),
    [
        (nick(), 0, Code.NICK_TAKEN),
        (login(), 0, Code.NICK_TAKEN),
        (login(), -1, Code.CLIENT_LEFT),
        (login(), -2, Code.CANNOT_WRITE),
        (ruled(), 0, Code.TOO_MANY_ROOMS),
        (ruled(), -2, Code.CANNOT_WRITE),
        (ruled(), [-3, [b"7", b"", b"", b"", b"", b"5", b""]], Code.RULES_CHANGED),
        (ruled(), -4, Code.NOT_ALLOWED),
        (Entered("u1", "jack", "#a", "#A"), 0, Code.TOO_MANY_ROOMS),
        (Told("u2", "u1", "jack", "psst"), 0, Code.CLIENT_LEFT),
        (Told("u2", "u1", "jack", "psst"), 2, Code.UNREACHABLE),
        (Gone("u1", "jack"), 0, Code.CLIENT_LEFT),
        (nick(), -1, Code.CLIENT_LEFT),
        (Entered("u1", "jack", "#a", "#A"), -1, Code.CLIENT_LEFT),
        (Entered("u1", "jack", "#a", "#A"), -7, Code.ROOM_FULL),
        (Exited("u1", "jack", "#a"), -1, Code.CLIENT_LEFT),
        (Moved("u1", "jack", "secret"), 0, Code.CANNOT_RESUME),
    ],
)
def test_refusals_say_why(draft, result, code):
    other = said("#a")
    [first, refused], *_ = entries(of(other, draft), [1, 5000], result)
    assert first is other
    assert isinstance(refused, Refused)
    assert refused.code == code


def test_with_a_full_memory_only_leaves_go_through():
    logout = PersonChanged("u1", "john", "u1", NOBODY)
    leaves = [Exited("u1", "jack", "#a"), ConnectionChanged("u1", {}), Gone("u1", "jack"), logout]
    drafts = [said("#a"), leaves[0], nick(), leaves[1], login(), *leaves[2:], ruled()]
    drafts.append(Told("u2", "u1", "jack", "x"))
    operations = of(*drafts, leaves_only=True)
    assert letters(operations) == "LAGI"
    found, batches, _ = entries(operations, 1, 1, 1, [])
    assert [one for one in found if not isinstance(one, Refused)] == leaves
    assert {str(one) for one in found if isinstance(one, Refused)} == {OUT_OF_MEMORY}
    assert batches == []


def test_of_a_turn_that_others_have_put_back_only_that_counts():
    leaves = [Exited("u1", "jack", "#a"), Gone("u1", "jack")]
    told = Told("u2", "u1", "jack", "psst")
    topic = TopicSet("#a", "#A", "u1", "jack", "tea")
    drafts = [
        said("#a", "1"),
        said("#b"),
        said("#a", "2"),
        nick(),
        topic,
        told,
        said("#a"),
        *leaves,
    ]
    operations = of(*drafts)
    assert operations.rooms == ["#a", "#b"]
    batches = [Batch("#a", 5, 2, 5000, TURN, b""), Batch("#a", 6, 1, 5002, TURN, b"")]
    results = operations.recall({"#a": batches, "#b": []})
    assert results == [[5, 5000], None, None, [6, 5002], 1, None, 1, 1]
    found, kept, _ = entries(operations, *results)
    counted = [drafts[0], drafts[2], topic, told, *leaves]
    assert [one for one in found if not isinstance(one, Refused)] == counted
    assert {str(one) for one in found if isinstance(one, Refused)} == {UNDONE}
    assert [entry.position for entry in counted[:3]] == [4, 5, 6]
    assert [(batch.top, batch.turn) for batch in kept] == [(5, TURN), (6, TURN)]
