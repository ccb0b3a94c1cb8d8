"""The fields of a room: their meaning, and the roles that may change them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import Refused
from trio_chat.moderation import rules as rules_module
from trio_chat.moderation.fields import GIVEN, Penalty, Role
from trio_chat.moderation.permission import check_change
from trio_chat.moderation.rules import RoomRules, Who
from trio_chat.moderation.spans import (
    LONGEST,
    describe_end,
    describe_span,
    is_span,
    parse_span,
)

NOW = 1_769_860_800.0  # 12:00 UTC
people = st.sampled_from(["a.ann", "a.bob", "a.kim"])
roles = st.sampled_from(list(GIVEN))
actors = st.sampled_from(list(Role))
given_roles = st.dictionaries(people, st.sampled_from([r for r in GIVEN if r != "none"]))
nicks = st.text(max_size=8)
penalties = st.builds(
    Penalty, nicks, st.none() | st.floats(0, 2**40), st.text(max_size=30), st.floats(0, 2**40)
)


def rules(roles: dict[str, str], **fields: str) -> RoomRules:
    return RoomRules({**{f"role {person}": role for person, role in roles.items()}, **fields})


def allowed(role: Role, person: str, known: RoomRules, name: str, value: str | None) -> bool:
    try:
        check_change(role, person, known, {name: value})
    except Refused:
        return False
    return True


# --- who may change what --------------------------------------------------------------------------


@given(given_roles, people, people, roles)
def test_nobody_gives_a_role_above_the_own_or_acts_on_an_equal(known, actor, target, role) -> None:
    before = rules(known)
    mine, old, new = before.role(actor), before.role(target), GIVEN[role]
    value = None if role == "none" else role
    if not allowed(mine, actor, before, f"role {target}", value):
        return
    if actor == target:
        assert new < old
        assert before.owners != [actor]
    else:
        assert mine >= Role.OPERATOR
        assert old < mine
        assert new < mine or new == mine == Role.OWNER


@given(given_roles, people, people, roles)
def test_an_owner_gives_each_role_to_all_but_owners(known, actor, target, role) -> None:
    before = rules({**known, actor: "owner"})
    value = None if role == "none" else role
    may = allowed(Role.OWNER, actor, before, f"role {target}", value)
    if actor != target:
        assert may == (before.role(target) < Role.OWNER)
    else:  # to step down
        assert may == (role != "owner" and len(before.owners) > 1)


@given(given_roles, people, roles)
def test_an_operator_of_the_server_gives_every_role(known, target, role) -> None:
    value = None if role == "none" else role
    assert allowed(Role.SERVER, "a.eve", rules(known), f"role {target}", value)


@given(given_roles, actors, people, st.sampled_from(["mute", "ban"]), st.none() | penalties)
def test_nobody_mutes_or_bans_an_equal_or_lifts_that(known, mine, target, kind, penalty) -> None:
    before, value = rules(known), None if penalty is None else penalty.write()
    may = allowed(mine, "a.eve", before, f"{kind} {target}", value)
    assert may == (mine >= Role.OPERATOR and before.role(target) < mine)
    assert allowed(mine, "a.eve", before, f"{kind} net:7f3a09c2", value) == (mine >= Role.OPERATOR)


@given(actors, st.sampled_from(["set join", "invite a.kim", "pin", "later x"]))
def test_all_else_is_for_operators(mine, name) -> None:
    assert allowed(mine, "a.eve", rules({}), name, "x") == (mine >= Role.OPERATOR)


@given(given_roles, people, people, roles)
def test_of_several_changes_each_is_checked(known, actor, target, role) -> None:
    before, value = rules(known), None if role == "none" else role
    mine = before.role(actor)
    both = {"set join": "accounts", f"role {target}": value}
    one_by_one = [allowed(mine, actor, before, name, new) for name, new in both.items()]
    try:
        check_change(mine, actor, before, both)
    except Refused:
        assert not all(one_by_one)
    else:
        assert all(one_by_one)


# --- penalties ------------------------------------------------------------------------------------


@given(penalties)
def test_a_penalty_is_read_as_it_was_written(penalty) -> None:
    assert Penalty.read(penalty.write()) == penalty


def test_a_penalty_of_a_later_version_is_read() -> None:
    assert Penalty.read('["jack", null, "spam", 0, "more"]') == Penalty("jack", None, "spam")


@pytest.mark.parametrize(("until", "counts"), [(None, True), (NOW + 1, True), (NOW, False)])
def test_a_penalty_ends(until, counts) -> None:
    for target in ("a.bob", "net:7f3a09c2"):
        penalty = Penalty("bob", until, "")
        known = RoomRules({f"ban {target}": penalty.write()})
        found = known.penalty("ban", Who("a.bob", ("7f3a09c2",), account=True), NOW)
        assert found == (penalty if counts else None)
        assert known.over(NOW) == ([] if counts else [f"ban {target}"])
        assert known.penalty("mute", Who("a.bob", ("7f3a09c2",)), NOW) is None


@pytest.mark.parametrize(
    ("who", "is_hit"),
    [
        (Who("guest", ("7f3a09c2",)), True),
        (Who("guest", ("00000000",)), False),
        (Who("guest"), False),
        (Who("a.new", ("7f3a09c2",), account=True, since=NOW), True),
        (Who("a.old", ("7f3a09c2",), account=True, since=NOW - 1), False),
        (Who("a.unknown", ("7f3a09c2",), account=True, since=0), True),
        (Who("a.role", ("7f3a09c2",), account=True, since=NOW), False),
    ],
)
def test_the_ban_of_a_network_hits_these_people(who, is_hit) -> None:
    known = rules({"a.role": "member"}, **{"ban net:7f3a09c2": Penalty("x", None, "", NOW).write()})
    assert (known.penalty("ban", who, NOW) is not None) == is_hit


def test_an_action_in_a_full_room_looks_at_some_fields_and_soon_at_all(monkeypatch) -> None:
    penalty = Penalty("x", NOW - 1, "").write()
    known = RoomRules({f"ban net:{number:08x}": penalty for number in range(10_000)})
    looked_at: list[str] = []
    monkeypatch.setattr(rules_module, "is_over", lambda name, *_: not looked_at.append(name))
    found = {name for second in range(20) for name in known.over(NOW + second)}
    assert len(looked_at) == 20 * rules_module.LOOKED_AT == len(found) == known.count


@given(
    st.dictionaries(st.sampled_from("abcd"), st.text(max_size=2)),
    st.dictionaries(st.sampled_from("abcdef"), st.none() | st.text(max_size=2)),
)
def test_the_number_of_fields_after_a_change(fields, changes) -> None:
    after = {**fields, **changes}
    left = [value for value in after.values() if value is not None]
    assert RoomRules(fields).grown(changes) == len(left)


# --- times ----------------------------------------------------------------------------------------


@given(st.integers(1, 9999), st.sampled_from("mhdMHD"))
def test_a_time_is_read_and_said(count, unit) -> None:
    seconds = parse_span(f"{count}{unit}")
    assert seconds == count * {"m": 60, "h": 3600, "d": 86400}[unit.lower()]
    assert 0 < seconds <= LONGEST
    word = describe_span(seconds).split()
    assert word[0] == "for"
    shown = int(word[1]) * {"m": 60, "h": 3600, "d": 86400}[word[2][0]]
    assert shown == seconds
    assert word[2].endswith("s") == (word[1] != "1")


@given(st.integers(1, LONGEST))
def test_any_number_of_seconds_is_said_whole(seconds) -> None:
    _, count, unit = describe_span(seconds).split()
    assert int(count) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit[0]] == seconds


@pytest.mark.parametrize("word", ["forever", "FOREVER"])
def test_for_ever(word) -> None:
    assert parse_span(word) is None
    assert is_span(word)
    assert describe_span(None) == describe_end(None, NOW) == "for ever"


@pytest.mark.parametrize(
    "word",
    ["10", "10min", "0m", "00d", "99999m", "1.5h", "-1d", "1w", "1h30m", "1 h", "", "٣m", "1m\n"],
)
def test_anything_else_is_no_time(word) -> None:
    with pytest.raises(Refused) as caught:
        parse_span(word)
    assert str(caught.value) == f"{word!r} is no TIME: 10m, 2h, 3d or forever"


def test_the_end_has_its_date_on_another_day() -> None:
    assert describe_end(NOW + 3_600, NOW) == "until 13:00 UTC"
    assert describe_end(NOW + 86_400, NOW) == "until 2026-02-01 12:00 UTC"
