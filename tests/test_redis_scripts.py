"""The scripts in a real engine: claims, turns, leases, recovery, and what histories may take."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from unittest.mock import ANY

import pytest
from engine import Engine
from lua import (
    LEASE,
    Caller,
    Keys,
    Operation,
    announced,
    gone,
    join,
    keys_of,
    leave,
    login,
    nick,
    rule,
    say,
    tell,
    topic,
)

from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.connection import EngineFull
from trio_chat.roomlog.redis.keys import SCHEMA

GRACE = 60_000  # milliseconds
MEBIBYTE = "x" * (1 << 20)


@pytest.fixture
async def keys(engine: Engine) -> AsyncIterator[Keys]:
    async with keys_of(engine) as found:
        yield found
        await found.check()


@pytest.fixture
async def nodes(keys: Keys) -> list[Caller]:
    """Three nodes that have just registered."""
    found = [Caller(keys, name) for name in "abc"]
    for node in found:
        await node.register(f"{node.name}1")
    return found


# --- turns ----------------------------------------------------------------------------------------


async def test_a_turn_that_is_tried_again_gives_the_same_reply_and_does_nothing(keys, nodes):
    a, b, _ = nodes
    await b.turn(join("u2", "#a"))
    turn = join("u1", "#a"), say("#a", "one", "two"), topic("#a", "tea"), nick("u1", "jack")
    a.seq += 1
    first = await a.again(*turn)
    inbox, count = await keys.inbox("b"), await keys.ask("GET", "c")
    assert await a.again(*turn) == first
    assert await a.again(say("#a", "whatever")) == first
    assert (await keys.inbox("b"), await keys.ask("GET", "c")) == (inbox, count)
    assert await keys.batches("#a") == [(2, 2, "one\ntwo"), (3, 1, "topic tea")]
    _, barrier, [state, said, set_topic, taken] = first
    assert (barrier, state, taken) == (1, ["0", "", "", "", "", "0", ""], 1)
    assert (said[0], set_topic[0]) == (2, 3)
    assert set_topic[1] == said[1] + 2  # a millisecond apart, whatever the clock says
    fields = [f"S2 2 {said[1]} #a", f"S3 1 {set_topic[1]} #a"]
    assert [field for field, _ in inbox] == ["E", *fields, "E"]


async def test_only_nodes_with_a_member_hear_what_is_said_and_all_hear_claims(keys, nodes):
    a, b, _ = nodes
    await a.turn(join("u1", "#a"))
    await b.turn(join("u2", "#a"))
    await a.turn(say("#a", "one"))
    assert [value for _, value in await keys.inbox("b")] == ["u1 joins #a", "one"]
    assert [value for _, value in await keys.inbox("c")] == ["u1 joins #a", "u2 joins #a"]
    await b.turn(leave("u2", "#a"))
    await a.turn(say("#a", "two"))
    assert [value for _, value in await keys.inbox("b")] == ["u1 joins #a", "one"]


async def test_a_turn_waits_or_is_fenced_or_comes_from_the_past(keys, nodes):
    a, b, _ = nodes
    await keys.ask("SET", "recovering", "x")
    assert await a.turn(say("#a", "x")) == ["WAIT"]
    assert await a.beat() == ["WAIT"]
    await keys.ask("DEL", "recovering")
    a.seen = 5
    assert await a.turn(say("#a", "x")) == ["ROLLED"]
    assert await a.beat() == ["ROLLED"]
    a.seen, a.seq = 0, 1  # the engine has lost a turn, and the number of turns has grown again
    assert await a.turn(say("#a", "x")) == ["ROLLED"]
    b.epoch = "other"
    assert await b.turn(say("#a", "x")) == ["FENCED"]
    assert await b.beat() == ["FENCED"]
    assert await b.announce() == ["FENCED"]
    assert await b.run(scripts.WORLD, "b", "other") == ["FENCED"]
    assert await keys.batches("#a") == []


async def test_a_nick_is_taken_with_all_its_keys_or_not_at_all(keys, nodes):
    a, b, _ = nodes
    assert await a.turn(nick("u1", "rn", "rn", "m")) == [1]
    assert await b.turn(nick("u2", "m", "m")) == [0]
    assert await b.turn(nick("u2", "x", "x", "rn")) == [0]
    assert await keys.user("u2") is None
    assert await a.turn(nick("u1", "RN", "RN", "rn", "m")) == [1]  # some of them were its own
    assert await a.turn(nick("u1", "n")) == [1]
    assert await b.turn(nick("u2", "m", "m")) == [1]
    assert await b.turn(gone("u2")) == [1]
    assert await a.turn(nick("u3", "m"), nick("u3", "n")) == [1, 0]


async def test_there_are_at_most_so_many_rooms_and_kept_ones_count(keys, nodes):
    a, b, _ = nodes
    for node in (a, b):
        node.limits = (3, 1000, 1 << 30)
    await b.register("b2", "b1", "#lobby")
    assert await a.turn(join("u1", "#a"), join("u1", "#b"), join("u1", "#c")) == [
        ["0", "", "", "", "", "0", ""],
        ["0", "", "", "", "", "0", ""],
        0,
    ]
    # The kept one has its place, and counts once.
    assert (await a.turn(join("u1", "#lobby", kept=True)))[0] != 0
    assert await a.turn(join("u1", "#c")) == [0]
    # A room that its last member leaves in the same step still counts; see `Claims`.
    assert await a.turn(join("u1", "#c", leaving="#b")) == [0]
    assert await a.turn(leave("u1", "#b"), join("u1", "#c")) != [1, 0]
    assert (await keys.hash("rooms")) == {"#a": "#A", "#lobby": "#LOBBY", "#c": "#C"}


async def test_a_beat_tells_the_engine_of_other_kept_rooms(keys, nodes):
    a, b, _ = nodes
    a.limits = (2, 1000, 1 << 30)
    await b.register("b2", "b1", "#lobby")
    await a.turn(join("u1", "#a"))
    assert await a.turn(join("u1", "#b")) == [0]
    await b.beat()
    assert await a.turn(join("u1", "#b")) == [0]
    await b.beat(kept=())
    assert await a.turn(join("u1", "#b")) != [0]
    await a.turn(leave("u1", "#b"))
    await b.beat(kept=("#lobby", "#hall"))
    assert await a.turn(join("u1", "#b")) == [0]


async def test_a_move_between_rooms_is_one_step(keys, nodes):
    a, _, _ = nodes
    await a.turn(join("u1", "#a"), say("#b", "x"), topic("#b", "tea", "u9"))
    [[position, text, author, name, time, *_]] = await a.turn(join("u1", "#b", leaving="#a"))
    assert (position, text, author, name) == ("2", "tea", "u9", "nick")
    assert int(time) > 1_700_000_000_000
    assert await keys.hash("rooms") == {"#b": "#B"}
    assert (await keys.user("u1"))["r"] == ["#b"]


async def test_a_token_moves_its_user(keys, nodes):
    a, b, c = nodes
    grace = {"token": "hash", "grace": GRACE}
    await a.turn(nick("u1", "jack", **grace), join("u1", "#a", "jack", **grace), say("#a", "one"))
    assert await b.turn(("M", "u1", "wrong", "w"), ("M", "u9", "hash", "w")) == [0, 0]
    await a.turn(("A", "u1", '{"#a":1}'))
    moved = await b.turn(("M", "u1", "hash", "u1 moves"))
    assert moved == [['{"#a":1}', "0", "#a", ["1", "", "", "", "", "0", []]]]
    user = await keys.user("u1")
    assert (user["o"], user["n"], user["r"], "a" in user) == ("b", "jack", ["#a"], False)
    assert (await keys.inbox("a"))[-1] == ("E", "u1 moves")
    # It is no longer the first one's to end, nor to detach.
    assert await a.turn(gone("u1"), ("A", "u1", "{}")) == [0, 1]
    assert "a" not in await keys.user("u1")
    late = nick("u1", "john"), join("u1", "#b"), leave("u1", "#a")
    assert await a.turn(*late) == [-1, -1, -1]
    assert (await keys.user("u1"))["r"] == ["#a"]
    assert await b.turn(("M", "u1", "hash", "again")) == [
        ["", "0", "#a", ["1", *[""] * 4, "0", ""]]
    ]
    # Nobody can take one without a token.
    await c.turn(join("u2", "#a"))
    assert await b.turn(("M", "u2", "", "w")) == [0]


async def test_a_private_message_reaches_a_node_with_a_connection(keys, nodes):
    a, b, _ = nodes
    await b.turn(nick("u2", "jill"))
    await a.turn(nick("u1", "jack", token="hash", grace=GRACE))
    assert await a.turn(tell("u2", "psst"), tell("u1", "to itself"), tell("u9", "x")) == [
        1,
        1,
        0,
    ]
    assert (await keys.inbox("b"))[-1] == ("P", "psst")
    await b.turn(("A", "u2", "{}"))
    assert await a.turn(tell("u2", "x")) == [2]
    await b.turn(("A", "u2", ""))
    assert await a.turn(tell("u2", "y")) == [1]
    await a.leave()
    assert await b.turn(tell("u1", "x")) == [2]  # an orphan
    assert [v for f, v in await keys.inbox("b") if f == "P"] == ["psst", "y"]


async def test_leaves_of_those_who_are_not_there_do_nothing(keys, nodes):
    a, *_ = nodes
    results = await a.turn(leave("u1", "#a"), gone("u1"), join("u1", "#a"), leave("u1", "#b"))
    assert results == [1, 1, ["0", "", "", "", "", "0", ""], 1]
    assert await keys.inbox("b") == [("E", "u1 joins #a")]


@pytest.mark.parametrize("itself", [True, False])
async def test_an_inbox_that_nobody_reads_fences_its_node(keys, nodes, itself):
    a, b, _ = nodes
    await a.turn(join("u1", "#a"))
    await b.turn(join("u2", "#a"))
    for _ in range(40):
        await a.turn(say("#a", MEBIBYTE))
    assert (await b.beat())[0] == "OK"
    for _ in range(30):
        await a.turn(say("#a", MEBIBYTE))
    if itself:
        assert await b.beat() == ["FENCED"]
    await keys.ask("HSET", "node:a", "since", 0)
    assert (await a.beat())[2] == "b"  # to be reaped
    assert await b.beat() == ["FENCED"]
    assert await keys.ask("EXISTS", "in:b") == 0
    await a.turn(say("#a", "two"))
    assert [value for _, value in await keys.inbox("b")] == ["two"]
    assert await a.reap("b") == 0
    assert await keys.users() == {"u1": await keys.user("u1")}


# --- leases ---------------------------------------------------------------------------------------


async def test_a_name_is_busy_as_long_as_its_lease(keys, nodes):
    a, _, _ = nodes
    await a.turn(nick("u1", "jack"))
    other = Caller(keys, "a")
    word, left = await other.register("x1")
    assert (word, 0 < left <= GRACE) == ("BUSY", True)
    await keys.ask("ZADD", "leases", 0, "a")
    assert await other.register("x1") == ["REAP"]
    assert await other.reap("a") == 0
    assert (await other.register("x1"))[0] == "OK"
    assert await a.turn(say("#a", "x")) == ["FENCED"]
    assert await keys.users() == {}


async def test_a_registration_whose_answer_was_lost_gives_the_same_answer(nodes):
    a, b, _ = nodes
    await a.turn(join("u1", "#a"))
    about = a.seen, a.seq
    first = await a.register("a2", "a1")
    assert first[:4] == ["OK", 1, 1, [1, 0, [["0", "", "", "", "", "0", ""]]]]
    assert await a.register("a2", "a1") == first
    assert await a.register("a3", "a2") == ["OK", 1, 0, "", *first[4:]]
    assert about == (1, 1)
    assert (await b.register("b2", "b1"))[1:4] == [1, 0, ""]


async def test_a_newer_schema_is_refused(keys):
    await keys.ask("SET", "schema", SCHEMA + 1)
    assert await Caller(keys, "a").register("a1") == ["SCHEMA", SCHEMA + 1]
    await keys.ask("SET", "schema", SCHEMA)
    await keys.ask("SET", "recovering", "x")
    assert await Caller(keys, "a").register("a1") == ["WAIT"]


async def test_the_users_of_a_dead_node_leave_but_those_who_can_resume_keep_their_time(keys, nodes):
    a, b, _ = nodes
    await a.turn(
        *(nick(f"u{n}", f"n{n}") for n in range(5)),
        *(join(f"u{n}", "#a") for n in range(5)),
        join("u8", "#a", token="hash", grace=GRACE),
        nick("u8", "jack", token="hash", grace=GRACE),
        join("u9", "#a", token="hash", grace=0),
    )
    await b.turn(join("u7", "#a"))
    assert await b.reap("a") == 0  # its lease has not run out
    assert len(await keys.users()) == 8
    await keys.ask("ZADD", "leases", 0, "a")
    assert (await b.beat())[2] == ""  # it has just begun itself
    await keys.ask("HSET", "node:b", "since", 0)
    assert (await b.beat())[2] == "a"
    assert await b.reap("a", most=3) == 4
    assert await a.turn(say("#a", "x")) == ["FENCED"]
    await keys.check()
    while await b.reap("a", most=3):
        await keys.check()
    assert (await keys.users()).keys() == {"u7", "u8"}
    heard = [json.loads(value) for _, value in await keys.inbox("b") if value.startswith("[")]
    assert {entry[1] for entry in heard} == {*(f"u{n}" for n in range(5)), "u9"}
    assert all(entry[0] == "G" and entry[3] == "its node is gone" for entry in heard)
    assert (await keys.user("u8"))["o"] == ""
    assert (await b.beat())[2:4] == ["", 0]
    # Its time is over.
    await keys.ask("ZADD", "orphans", 0, "u8")
    assert (await b.beat())[3] == 1
    assert await b.reap("") == 0
    assert json.loads((await keys.inbox("b"))[-1][1]) == ["G", "u8", "jack", "did not come back"]
    assert (await keys.users()).keys() == {"u7"}
    assert (await b.beat())[3] == 0


async def test_a_node_that_leaves_is_forgotten(keys, nodes):
    a, b, _ = nodes
    await a.turn(join("u1", "#a"), join("u2", "#a", token="hash", grace=GRACE))
    assert await a.leave() == 0
    assert await a.leave() == 0
    assert (await keys.users()).keys() == {"u2"}
    assert await keys.ask("EXISTS", "node:a") == 0
    assert await keys.ask("ZRANGE", "leases", 0, -1) == ["b", "c"]
    await b.turn(join("u3", "#a"))
    assert await keys.inbox("a") == []
    assert await b.turn(("M", "u2", "hash", "w")) != [0]


async def test_a_lease_that_ran_out_is_renewed_unless_somebody_noticed(keys, nodes):
    a, b, _ = nodes
    await keys.ask("ZADD", "leases", 0, "a")
    word, _, dead, _, left, *_ = await a.beat()
    assert (word, dead, left < 0) == ("OK", "", True)
    # A node that was away does not judge: the others were perhaps cut off like itself.
    await keys.ask("ZADD", "leases", 1, "b")
    assert (await a.beat())[2] == ""
    await keys.ask("HSET", "node:a", "since", 0)
    assert (await a.beat())[2] == "b"
    assert (await b.beat())[0] == "OK"


async def test_a_beat_forgets_what_was_read(keys, nodes):
    a, b, _ = nodes
    for number in range(5):
        await a.turn(join(f"u{number}", "#a"))
    await b.beat(read=3)
    assert [value for _, value in await keys.inbox("b")] == ["u3 joins #a", "u4 joins #a"]


async def test_a_successor_goes_on(keys, nodes):
    a, _, _ = nodes
    await a.turn(join("u1", "#a"), join("u2", "#a"))
    await a.turn(nick("u1", "jack"))
    word, _, _, users, _ = await a.run(scripts.ADOPT, "a", "a2", "a1", GRACE, SCHEMA, "other")
    assert (word, sorted(users)) == ("OK", ["u1", "u2"])
    assert (await a.run(scripts.ADOPT, "a", "a2", "a1", GRACE, SCHEMA, "other"))[
        0
    ] == "OK"  # tried again
    assert await a.turn(say("#a", "x")) == ["FENCED"]
    a.epoch, a.seq = "a2", 0
    assert (await a.turn(say("#a", "x")))[0][0] == 1
    assert await a.run(scripts.ADOPT, "a", "a3", "a1", GRACE, SCHEMA, "other") == ["FENCED"]


# --- announcing -----------------------------------------------------------------------------------


async def test_to_announce_what_is_so_changes_nothing(keys, nodes):
    a, _, _ = nodes
    token = {"token": "hash", "grace": GRACE}
    await a.turn(nick("u1", "jack", **token), join("u1", "#a", "jack", **token), join("u2", "#b"))
    before, heard = await keys.users(), await keys.inbox("b")
    for _ in range(2):
        assert (await a.announce(announced("u1", "jack", "#a", **token), last=False))[0] == "OK"
        assert (await a.announce(announced("u2", "", "#b")))[0] == "OK"
    assert await keys.users() == before
    assert await keys.inbox("b") == heard


async def test_an_empty_engine_learns_who_is_there(keys, nodes):
    a, _, _ = nodes
    word, turn, *lost = await a.announce(
        announced("u1", "jack", "#a", "#b", token="hash", grace=GRACE, positions='{"#a":3}'),
        announced("u2", "", "#a"),
        positions={"#a": 40, "#b": 0},
    )
    assert (word, turn, lost) == ("OK", 1, [])
    user = await keys.user("u1")
    assert (user["n"], user["r"], user["a"]) == ("jack", ["#a", "#b"], '{"#a":3}')
    heard = [value for _, value in await keys.inbox("b")]
    assert heard == [
        "u1 is jack",
        '["J","u1","jack","#a"]',
        '["J","u1","jack","#b"]',
        '["J","u2","","#a"]',
    ]
    assert (await a.turn(say("#a", "x"), say("#b", "x")))[0][0] == 41
    await a.announce(
        announced("u1", "jack", "#a", "#b"), announced("u2", "", "#a"), positions={"#a": 7}
    )
    assert (await keys.hash("r:#a"))["p"] == "41"  # it never falls


async def test_an_engine_that_was_emptied_hears_of_all_positions_before_a_turn(keys):
    a, b = Caller(keys, "a"), Caller(keys, "b")
    # Both had a place before.
    # A node beats five times in a lease, and learns of it only then.
    assert (await a.register("a2", "a1", lease=10_000))[0] == "OK"
    assert 2_000 < await keys.ask("PTTL", "recovering") <= 3_000
    await a.announce(announced("u1", "", "#a"), positions={"#a": 33})
    assert await a.turn(say("#a", "x")) == ["WAIT"]
    assert (await b.register("b2", "b1"))[0] == "OK"
    assert await b.restore() == -1
    await b.announce(announced("u2", "", "#a"), positions={"#a": 34})
    await keys.ask("DEL", "recovering")
    assert (await a.turn(say("#a", "x")))[0][0] == 35


async def test_a_client_that_is_not_announced_has_left(keys, nodes):
    a, b, _ = nodes
    await a.turn(
        *(join("u1", "#a", "jack"), join("u1", "#b", "jack")),
        *(nick("u1", "jack"), nick("u2", "jill")),
    )
    await b.turn(join("u9", "#a"))
    await a.register("a2", "a1")
    await a.announce(announced("u1", "", "#b"), announced("u3", "", "#c"), last=False)
    assert await keys.user("u2") is not None
    await a.announce(announced("u4", "", "#c"))
    await a.announce(announced("u4", "", "#c"))  # tried again
    heard = [json.loads(value) for _, value in await keys.inbox("b") if value.startswith("[")]
    assert [entry for entry in heard if entry[0] != "J"] == [
        ["N", "u1", "jack", "anonymous", "", []],
        ["L", "u1", "anonymous", "#a"],
        ["G", "u2", "jill", "left meanwhile"],
    ]
    assert (await keys.users()).keys() == {"u1", "u3", "u4", "u9"}
    # In the next epoch all have to be announced again.
    await a.register("a3", "a2")
    await a.announce()
    assert (await keys.users()).keys() == {"u9"}


async def test_a_nick_that_somebody_has_taken_meanwhile_is_lost(keys, nodes):
    a, b, _ = nodes
    await a.turn(nick("u1", "old"))
    await b.turn(nick("u2", "jack"))
    await a.register("a2", "a1")
    lost = announced("u1", "jack", "#a")
    assert (await a.announce(lost))[2:] == ["u1"]
    user = await keys.user("u1")
    assert (user["n"], user["k"], user["r"]) == ("anonymous", {}, ["#a"])
    assert [value for _, value in await keys.inbox("b")] == [
        "u1 is old",
        '["N","u1","old","anonymous","",[]]',
        '["J","u1","anonymous","#a"]',
    ]


async def test_orphans_come_back_and_those_who_moved_stay_away(keys, nodes):
    a, b, c = nodes
    token = {"token": "hash", "grace": GRACE}
    await a.turn(join("u1", "#a", **token), join("u2", "#a", **token), join("u3", "#a", **token))
    await keys.ask("ZADD", "leases", 0, "a")
    await b.reap("a")
    await c.turn(("M", "u2", "hash", "w"))
    assert (await a.register("a2", "a1"))[0] == "OK"
    await a.announce(announced("u1", "", "#a", **token), announced("u2", "", "#a", **token))
    assert {user: about["o"] for user, about in (await keys.users()).items()} == {
        "u1": "a",
        "u2": "c",
        "u3": "",
    }


# --- recovery -------------------------------------------------------------------------------------


def batch(room: str, top: int, *texts: str, turn: str = "a a1 1", topic: tuple = ()) -> Operation:
    about = (1, *topic) if topic else (0,)
    return (room, top, len(texts), 1_000_000, turn, "\n".join(texts), *about)


async def test_a_new_engine_waits_until_all_nodes_have_put_back_what_they_have(keys, nodes):
    a, b, c = nodes
    assert await a.hello("one") == ["FIRST", 0]
    assert await b.hello("one") == ["SAME", 0]
    await keys.ask("ZADD", "leases", 0, "c")
    assert await a.restore(batch("#a", 1, "x")) == -1  # nothing is lost
    assert await a.hello("two") == ["NEW", 1]
    assert await b.hello("two") == ["SAME", 1]
    assert await a.turn(say("#a", "x")) == ["WAIT"]
    assert await a.register("a2", "a1") == ["WAIT"]
    assert float(await keys.ask("ZSCORE", "leases", "c")) > 0  # its time begins anew
    a.epoch = "a1"
    # By gaps, and by what is there, they agree on one order.
    assert await b.restore(batch("#a", 3, "two", "three", turn="b b1 1"), last=False) == 0
    assert b.waiting == [1]
    assert (
        await a.restore(batch("#a", 1, "one"), batch("#b", 1, "hi", topic=("hi", "u1", "n"))) == 2
    )
    assert await b.restore(batch("#a", 3, "two", "three", turn="b b1 1")) == 1
    assert await b.restore(batch("#a", 1, "one"), batch("#a", 3, "two", "three")) == 0
    assert await c.restore() == 0
    assert await a.restore(batch("#a", 4, "four")) == -1
    assert await keys.batches("#a") == [(1, 1, "one"), (3, 2, "two\nthree")]
    assert (await keys.hash("r:#b"))["t"] == "hi"
    # Their turns are done, so that nothing is said twice.
    assert await b.turn(say("#a", "two", "three")) == ["DONE"]
    assert (await a.register("a2", "a1"))[2:4] == [1, ["DONE"]]
    assert (await a.register("a2", "a1"))[2:4] == [1, ["DONE"]]


async def test_nothing_is_put_back_that_was_given_up(keys, nodes):
    a, b, c = nodes
    for node in nodes:
        node.limits = (1, 1000, 1 << 30)
    await a.turn(say("#a", "1", "2", "3"))
    await a.turn(say("#b", "4"))  # which takes the place of the other one
    await a.hello("one")
    await a.hello("two")
    assert await b.restore(batch("#a", 3, "1", "2", "3"), batch("#c", 4, "new")) == 1
    assert (await keys.batches("#a"), await keys.batches("#c")) == ([], [(4, 1, "new")])
    assert await a.restore() == await c.restore() == 0


async def test_the_time_of_orphans_stands_still_while_there_is_no_engine(keys, nodes):
    a, *_ = nodes
    await a.hello("one")
    await a.turn(join("u1", "#a", token="hash", grace=GRACE))
    await a.leave()
    await nodes[1].beat()
    ends, clock = float(await keys.ask("ZSCORE", "orphans", "u1")), await keys.ask("GET", "clock")
    # The replica that takes over has a clock that is an hour behind.
    hour = 3_600_000
    await keys.ask("SET", "clock", int(clock) + hour)
    await keys.ask("ZADD", "orphans", ends + hour, "u1")
    await a.hello("two")
    assert ends <= float(await keys.ask("ZSCORE", "orphans", "u1")) < ends + GRACE
    for node in nodes[1:]:
        await node.restore()


async def test_a_clock_that_is_set_back_keeps_no_dead_node(keys, nodes):
    a, b, c = nodes
    await b.turn(join("u1", "#a"), nick("u1", "jack"))
    await a.beat()
    now = int(await keys.ask("GET", "clock"))
    # An hour ago the clock was an hour ahead: so are all times. Since then b has been silent.
    hour = 3_600_000
    await keys.ask("SET", "clock", now + hour)
    for node in nodes:
        ends = now + hour + (-1 if node is b else LEASE)
        await keys.ask("ZADD", "leases", ends, node.name)
        await keys.ask("HSET", f"node:{node.name}", "since", now + hour - 2 * LEASE)
    await keys.ask("ZADD", "orphans", now + hour + GRACE, "u9")
    reply = await a.beat()
    assert reply[2] == "b"
    assert abs(float(await keys.ask("ZSCORE", "orphans", "u9")) - now - GRACE) < 10_000
    await keys.ask("ZREM", "orphans", "u9")
    assert await a.reap("b") == 0
    assert await c.turn(nick("u2", "jack")) == [1]
    # The name of one that has just died is not kept for an hour either.
    await keys.ask("SET", "clock", now + hour)
    await keys.ask("ZADD", "leases", now + hour + LEASE, "c")
    [busy, left] = await Caller(keys, "c").register("c2")
    assert (busy, left <= LEASE) == ("BUSY", True)


# --- what histories may take ----------------------------------------------------------------------


async def test_the_largest_history_gives_way(keys, nodes):
    a, _, _ = nodes
    a.limits = (100, 1000, 6_000)
    await a.turn(join("u1", "#a"), join("u1", "#b"), say("#b", "small"))
    for number in range(1, 41):
        await a.turn(say("#a", "x" * 200))
        await keys.check()
        assert (await keys.batches("#a"))[-1][0] == number
    assert int(await keys.ask("GET", "bytes")) <= 6_000
    assert await keys.batches("#b") == [(1, 1, "small")]
    # Those without members are given up as a whole, and positions never start over.
    await a.turn(leave("u1", "#a"), leave("u1", "#b"))
    a.limits = (100, 1000, 0)
    await a.turn(say("#c", "x"))
    await a.turn(say("#c", "x"))
    assert await keys.batches("#a") == []
    a.limits = (100, 1000, 1 << 30)
    [[top, _]] = await a.turn(say("#a", "x"))
    assert top > 40


async def test_rooms_whose_only_batch_is_large_do_not_let_the_others_grow(keys, nodes):
    a, b, _ = nodes
    a.limits = b.limits = (1000, 1000, 100_000)
    await b.turn(join("u1", "#a"), join("u1", "#b"))
    await b.turn(say("#a", "x" * 60_000))
    await b.turn(say("#b", "x" * 50_000))
    for number in range(40):
        await a.turn(*(say(f"#{number}", "x" * 1000) for _ in range(9)))
        await keys.check()
        assert int(await keys.ask("GET", "bytes")) <= 100_000
    # An empty history in a room with members is not taken for a large one, however it got there.
    a.limits = (1000, 1000, 20_000)
    for _ in range(30):  # each frees only as much as may take a moment
        await a.turn(say("#c", "x"))
    assert int(await keys.ask("GET", "bytes")) <= 20_000


@pytest.mark.parametrize("past", [True, False])
async def test_a_flood_of_rooms_pushes_out_its_own_histories(keys, nodes, past):
    a, *_ = nodes
    a.limits = (1000, 1000, 100_000)
    await a.turn(join("u1", "#a"), say("#a", "x" * 1000))
    await keys.begun("#a", days=past)
    for _ in range(30):
        await a.turn(say("#a", "x" * 1000))
    for number in range(20):
        await a.turn(join("u2", f"#{number}", leaving=f"#{number - 1}"))
        await a.turn(*(say(f"#{number}", "x" * 100) for _ in range(60)))
    assert int(await keys.ask("GET", "bytes")) <= 100_000
    assert (len(await keys.batches("#a")) == 31) == past
    # The flood keeps the other half.
    for _ in range(100):
        await a.turn(say("#a", "x" * 1000))
    assert len(await keys.batches("#a")) in (range(44, 48) if past else range(3, 9))


async def test_new_rooms_have_histories_though_the_others_take_all_bytes(keys, nodes):
    a, *_ = nodes
    a.limits = (1000, 1000, 100_000)
    await a.turn(join("u1", "#a"), join("u1", "#b"), say("#a", "x"))
    await keys.begun("#a", days=1)
    for _ in range(100):
        await a.turn(say("#a", "x" * 1000))
    for _ in range(20):
        await a.turn(say("#b", "x" * 1000), say("#a", "x" * 1000))
    assert len(await keys.batches("#b")) == 20


async def test_rooms_with_a_past_and_kept_ones_outlive_a_flood(keys, nodes):
    a, b, _ = nodes
    a.limits = (3, 1000, 1 << 30)
    await b.beat(kept=("#lobby",))
    await a.turn(say("#a", "1"), say("#lobby", "1"))
    await keys.begun("#a", days=1)
    await a.turn(say("#a", "2"))
    for number in range(9):
        await a.turn(say(f"#{number}", "x" * 100))
    assert set(await keys.ask("ZRANGE", "sizes", 0, -1)) == {"#a", "#lobby", "#8"}
    # If all have a past, one of them gives way.
    await keys.begun("#8", days=1)
    await a.turn(say("#8", "2"), say("#b", "1"))
    assert set(await keys.ask("ZRANGE", "sizes", 0, -1)) == {"#8", "#lobby", "#b"}


async def test_small_rooms_with_members_do_not_let_the_others_become_many(keys, nodes):
    a, _, _ = nodes
    a.limits = (150, 1000, 1 << 30)
    for number in range(110):
        await a.turn(join("u1", f"#!{number}"), say(f"#!{number}", "x"))
    for number in range(400):
        await a.turn(say(f"#{number}", "longer"))
    assert int(await keys.ask("ZCARD", "sizes")) <= 155


async def test_a_turn_frees_as_much_as_it_adds(keys, nodes):
    a, _, _ = nodes
    a.limits = (100, 10_000, 300_000)
    await a.turn(join("u1", "#a"))
    for _ in range(3):
        await a.turn(*(say("#a", "x") for _ in range(1000)))
    await a.turn(*(say(f"#{number}", "x" * 10_000) for number in range(20)))
    await keys.check()
    assert int(await keys.ask("GET", "bytes")) <= 300_000


async def test_a_room_keeps_so_many_entries(keys, nodes):
    a, _, _ = nodes
    a.limits = (100, 20, 1 << 30)
    for number in range(1, 120):
        await a.turn(say("#a", f"m{number}"))
        kept = [top for top, *_ in await keys.batches("#a")]
        assert kept == list(range(kept[0], number + 1))
        assert min(20, number) <= len(kept) <= 40
    assert len(kept) < number


async def test_beats_drop_what_is_too_old(keys, nodes):
    a, *_ = nodes
    a.limits = (200, 1000, 1 << 30)
    for number in range(150):
        await a.turn(*(say(f"#{number}", text, text) for text in ("one", "two", "three")))
        await keys.age(f"#{number}", days=2, most=2)
    await a.beat(days=0)
    await a.beat(days=3)
    assert len(await keys.batches("#0")) == 3
    await until_aged(keys, a)
    await keys.check()
    for number in range(150):
        assert await keys.batches(f"#{number}") == [(6, 2, "three\nthree")]
    assert (await keys.hash("r:#0"))["f"] == "5"
    # Positions go on, also if nothing is left.
    await keys.age("#0", days=2)
    await until_aged(keys, a)
    assert (await a.turn(say("#0", "four")))[0][0] == 7


async def test_a_beat_drops_no_more_than_takes_a_moment(keys, nodes):
    a, *_ = nodes
    count = 3_000
    a.limits = (200, count, 1 << 30)
    for _ in range(count // 100):
        await a.turn(*(say("#a", "x") for _ in range(100)))
    await keys.age("#a", days=2, most=count)
    for beats in range(1, 4):
        await a.beat(days=1)
        left = len(await keys.batches("#a"))
        assert left == max(0, count - beats * 1024)


async def until_aged(keys: Keys, node: Caller) -> None:
    """Let a node beat until it has looked at all rooms."""
    await keys.ask("DEL", "aged")
    cursor = None
    while cursor != "0":
        await node.beat(days=1)
        cursor = await keys.ask("GET", "aged")


async def test_rooms_without_members_give_way_to_new_ones(keys, nodes):
    a, _, _ = nodes
    a.limits = (3, 1000, 1 << 30)
    await a.turn(join("u1", "#a"))
    await a.turn(say("#a", "1"), say("#b", "1", "2"), say("#c", "1"))
    await a.turn(say("#d", "1"))
    assert set(await keys.ask("ZRANGE", "sizes", 0, -1)) == {"#a", "#b", "#d"}
    [[top, _]] = await a.turn(say("#c", "1"))
    assert top > 1


# --- memory that is full --------------------------------------------------------------------------


async def test_a_full_engine_refuses_turns_as_a_whole_and_lets_people_leave(keys, nodes):
    a, b, _ = nodes
    await a.turn(join("u1", "#a"), nick("u1", "jack"))
    await b.turn(join("u2", "#a", token="hash", grace=GRACE))
    await keys.client.call("CONFIG", "SET", "maxmemory", 1)
    try:
        before = await keys.users(), await keys.ask("GET", "c")
        a.seq += 1
        with pytest.raises(EngineFull):
            await a.again(leave("u1", "#a"), say("#a", "x"))
        assert (await keys.users(), await keys.ask("GET", "c")) == before
        a.seq -= 1
        assert await a.turn(leave("u1", "#a"), script=scripts.LEAVING_TURN) == [1]
        assert (await a.beat())[0] == "OK"
        assert (await a.register("a2", "a1"))[0] == "OK"
        assert (await a.announce(announced("u1", "jack")))[0] == "OK"
        assert (await a.run(scripts.WORLD, "a", "a2"))[0] == "OK"
        await a.hello("one")
        assert await b.leave() == 0
        assert await a.leave() == 0
    finally:
        await keys.client.call("CONFIG", "SET", "maxmemory", 0)
    assert (await keys.users()).keys() == {"u2"}


async def test_entries_that_nobody_has_any_more_leave_a_gap_and_lose_nothing_else(keys, nodes):
    a, b, c = nodes
    three, five = (batch("#a", top, text, turn="x x1 1") for top, text in ((3, "3"), (5, "5")))
    await a.hello("one")
    await a.hello("two")
    assert await a.restore(three, five, last=False) == 0
    assert a.waiting == [1, 2]
    assert await a.restore(three, five, gaps=True) == 2
    assert await b.restore(five, gaps=True) == 0
    await c.restore()
    assert await keys.batches("#a") == [(3, 1, "3"), (5, 1, "5")]
    a.epoch = "a1"
    await a.turn(say("#a", "six"))
    assert (await keys.batches("#a"))[-1] == (6, 1, "six")


async def test_a_successor_gets_the_users_of_its_node_however_many(keys, nodes):
    a, b, _ = nodes
    for begin in range(0, 9_000, 300):
        await a.turn(*(join(f"u{number}", "#a") for number in range(begin, begin + 300)))
    await b.turn(join("other", "#a"))
    about = ("a2", "a1", GRACE, SCHEMA, "other")
    word, identity, secret, users, _ = await a.run(scripts.ADOPT, "a", *about)
    assert (word, identity, secret) == ("OK", await keys.ask("GET", "id"), "secret")
    assert sorted(users) == sorted(f"u{number}" for number in range(9_000))
    assert await a.run(scripts.ADOPT, "a", "a3", "a1", GRACE, SCHEMA, "other") == ["FENCED"]


# --- accounts -------------------------------------------------------------------------------------


async def test_an_account_takes_its_nick_from_anyone_without_one_and_all_its_users_share_it(
    keys, nodes
):
    a, b, c = nodes
    await a.turn(nick("u1", "john"), join("u1", "#a"))
    await c.turn(nick("u5", "j0hn", "j0hn", "john2"))
    assert await b.turn(login("u2", "a.j", "john", "john", "john2", "j0hn")) == [["u1", "u5"]]
    assert [(await keys.user("u1"))[key] for key in "nk"] == ["anonymous", {}]
    assert await keys.user("u5") is None  # it had neither a room nor another nick
    told = ("E", '["I","u2","a.j","john",["u1","u5"]]')
    assert [(await keys.inbox(node))[-1] for node in "ac"] == [told, told]
    assert await a.turn(
        nick("u1", "john"), login("u1", "a.j", "john", "john", "john2", "j0hn")
    ) == [
        0,
        [],
    ]
    # Another account cannot have it, and its own users keep it until the last is gone.
    assert await c.turn(login("u3", "a.k", "john")) == [0]
    assert await b.turn(gone("u2"), nick("u4", "j0hn"), nick("u4", "x")) == [1, 0, 1]
    assert await a.turn(login("u1", "", "")) == [[]]
    assert await b.turn(nick("u4", "j0hn")) == [1]
    assert (await keys.user("u1"))["r"] == ["#a"]
    assert await keys.ask("EXISTS", "logins:a.j") == 0


async def test_a_person_with_an_account_takes_no_other_nick(keys, nodes):
    a, b, _ = nodes
    assert await a.turn(login("u1", "a.j", "john"), nick("u1", "jim")) == [[], 0]
    assert await a.turn(login("u1", "a.k", "kate")) == [[]]
    assert await b.turn(nick("u2", "john"), nick("u2", "kate")) == [1, 0]


async def test_a_private_message_reaches_all_devices_of_both(keys, nodes):
    a, b, c = nodes
    await a.turn(login("u1", "a.j", "john"), login("u2", "a.k", "kate"))
    await b.turn(login("u3", "a.j", "john"))
    await c.turn(login("u4", "a.k", "kate"))
    assert await a.turn(tell("a.k", "psst", "a.j"), tell("a.x", "psst", "a.j")) == [1, 0]
    assert [field for node in "bc" for field, _ in (await keys.inbox(node))[-1:]] == ["P", "P"]
    await c.turn(("A", "u4", "{}"))
    assert await b.turn(tell("a.k", "one", "u9")) == [1]
    await a.turn(("A", "u2", "{}"))
    assert await b.turn(tell("a.k", "two", "u9")) == [2]


async def test_a_room_has_at_most_the_users_that_a_join_names(keys, nodes):
    def among(most: int, user: str) -> Operation:
        *rest, _ = join(user, "#a")
        return (*rest, most)

    a, b, _ = nodes
    taken = ["0", "", "", "", "", "0", ""]
    assert await a.turn(among(2, "u1"), among(2, "u2")) == [taken, taken]
    assert await b.turn(among(2, "u3"), join("u4", "#a")) == [-7, taken]
    assert await keys.user("u3") is None
    await a.turn(leave("u1", "#a"))
    assert await b.turn(among(3, "u3")) == [taken]


@pytest.mark.parametrize("changes", [{"set limit": "2"}, {"set key": None}])
async def test_limits_and_keys_wait_until_all_nodes_understand_them(changes, keys, nodes):
    a, b, _ = nodes
    await keys.ask("HSET", "node:b", "v", 3)  # as an older version leaves it
    assert await a.turn(rule("#a", changes), rule("#a", {"set slow": "5"})) == [-2, [1, ANY]]
    assert await keys.ask("GET", "schema") == "2"
    await b.run(scripts.ADOPT, "b", "b2", "b1", LEASE, SCHEMA, "other")
    assert await a.turn(rule("#a", changes, version=1)) == [[2, ANY]]
    assert await keys.ask("GET", "schema") == "4"


async def test_logins_wait_until_all_nodes_understand_them(keys, nodes):
    a, b, _ = nodes
    assert await keys.ask("GET", "schema") == "1"
    await keys.ask("HDEL", "node:b", "v")  # as an older version leaves it
    assert await a.turn(login("u1", "a.j", "john"), login("u1", "", "")) == [-2, []]
    assert await keys.ask("GET", "schema") == "1"
    await b.run(scripts.ADOPT, "b", "b2", "b1", LEASE, SCHEMA, "other")
    assert await a.turn(login("u1", "a.j", "john")) == [[]]
    assert await keys.ask("GET", "schema") == "2"
    older = Caller(keys, "d")
    about = ("d", "d1", "", LEASE, 1, "identity", "secret")
    assert await older.run(scripts.REGISTER, *about) == ["SCHEMA", 2]


@pytest.mark.parametrize("was_lost", [False, True])
async def test_a_node_that_begins_anew_has_its_users_logged_in_again(keys, nodes, was_lost):
    a, b, _ = nodes
    await a.turn(login("u1", "a.j", "john"))
    if was_lost:
        await keys.ask("ZADD", "leases", 0, "a")
        await b.reap("a")
        assert await keys.user("u1") is None
    await a.register("a2", "a1")
    assert await a.announce(announced("u1", "john", account="a.j")) == ["OK", a.seen + 1 + was_lost]
    assert [(await keys.user("u1"))[key] for key in "onps"] == ["a", "john", "a.j", "5.25"]
    said = [value for _, value in await keys.inbox("b")][1:]
    assert said == (['["G","u1","john","its node is gone"]', "u1 is john"] if was_lost else [])


async def test_a_node_that_has_logged_its_users_out_meanwhile_says_so(keys, nodes):
    a, *_ = nodes
    await a.turn(login("u1", "a.j", "john"), join("u1", "#a", "john"))
    await a.register("a2", "a1")
    await a.announce(announced("u1", "", "#a"))
    assert "p" not in await keys.user("u1")
    assert (await keys.inbox("b"))[-1] == (
        "E",
        '["I","u1","john","u1",0,"anonymous","",[],0,[]]',
    )


async def test_an_orphan_stays_logged_in(keys, nodes):
    a, b, _ = nodes
    await a.turn(login("u1", "a.j", "john", token="hash", grace=GRACE))
    await a.leave()
    assert (await b.turn(("M", "u1", "hash", "w"), nick("u2", "john")))[1] == 0
    assert [(await keys.user("u1"))[key] for key in "op"] == ["b", "a.j"]
