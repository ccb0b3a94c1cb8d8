"""The table of claims, beside a model that looks at all users each time."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import Refused
from trio_chat.protocol.events import (
    Entered,
    Entry,
    Exited,
    Gone,
    Joined,
    NickChanged,
    PersonChanged,
    Said,
    Told,
    TopicSet,
)
from trio_chat.protocol.names import Name, parse_nick
from trio_chat.roomlog.claims import Claims

NOBODY = Name("anonymous", "", ())
TAKEN = "the nick {} is taken, or looks like one that is: please choose another"
TOO_MANY = "there are too many rooms; please join one that exists (/rooms lists them)"


def nick(user: str, shown: str) -> NickChanged:
    return NickChanged(user, "anonymous", parse_nick(shown, 30))


def log_in(user: str, account: str, shown: str) -> PersonChanged:
    return PersonChanged(user, "anonymous", account, parse_nick(shown, 30))


def log_out(user: str) -> PersonChanged:
    return PersonChanged(user, "", user, NOBODY)


def enter(user: str, room: str, leaving: str | None = None) -> Entered:
    return Entered(user, "nick", room, room, leaving)


def leave(user: str, room: str) -> Exited:
    return Exited(user, "nick", room)


def gone(user: str) -> Gone:
    return Gone(user, "nick")


def held(claims: Claims) -> dict[str, object]:
    """Return all that a table remembers of users."""
    names = ("_holders", "_keys", "_accounts", "_devices", "_members", "_rooms")
    return {name: found for name in names if (found := getattr(claims, name))}


def refused(claims: Claims, *drafts: Entry) -> list[str]:
    """Decide these in order; the codes of those refused, "" for each that is granted."""
    return ["" if (no := claims.decide(draft)) is None else no.code for draft in drafts]


# --- nicks ----------------------------------------------------------------------------------------


def test_a_nick_is_one_users_at_a_time() -> None:
    claims = Claims(10)
    assert refused(claims, nick("1", "mary")) == [""]
    refusal = claims.decide(nick("2", "Mary"))
    assert isinstance(refusal, Refused)
    assert (str(refusal), refusal.code, refusal.limit) == (TAKEN.format("Mary"), "nick_taken", None)


@pytest.mark.parametrize("alike", ["mary", "MARY", "rnary", "RNary"])
def test_a_nick_that_looks_like_one_that_is_taken_is_too(alike: str) -> None:
    claims = Claims(10)
    drafts = [nick("1", "mary"), nick("2", alike), nick("1", alike), nick("2", alike)]
    assert refused(claims, *drafts) == ["", "nick_taken", "", "nick_taken"]


def test_a_former_nick_is_free() -> None:
    claims = Claims(10)
    drafts = [nick("1", "mary"), nick("1", "jack"), nick("2", "mary"), nick("3", "jack")]
    assert refused(claims, *drafts) == ["", "", "", "nick_taken"]


def test_a_refused_nick_leaves_the_former_one() -> None:
    claims = Claims(10)
    drafts = [nick("1", "mary"), nick("2", "jack"), nick("2", "mary"), nick("3", "jack")]
    assert refused(claims, *drafts) == ["", "", "nick_taken", "nick_taken"]


# --- rooms ----------------------------------------------------------------------------------------


def test_there_are_so_many_rooms_and_no_more() -> None:
    claims = Claims(2)
    drafts = [enter("1", "#a"), enter("1", "#b"), enter("2", "#c"), enter("2", "#a")]
    assert refused(claims, *drafts) == ["", "", "too_many_rooms", ""]
    refusal = claims.decide(enter("2", "#c"))
    assert isinstance(refusal, Refused)
    assert (str(refusal), refusal.limit) == (TOO_MANY, "max_rooms")


def test_a_room_is_there_as_long_as_it_has_members() -> None:
    claims = Claims(1)
    assert refused(claims, enter("1", "#a"), enter("2", "#a"), leave("1", "#a")) == ["", "", ""]
    assert refused(claims, enter("1", "#b"), leave("2", "#a"), enter("1", "#b")) == [
        "too_many_rooms", "", "",
    ]  # fmt: skip


def test_a_move_is_granted_whole_or_refused_whole() -> None:
    claims = Claims(2)
    assert refused(claims, enter("1", "#a"), enter("2", "#b")) == ["", ""]
    # The room that is left counts still, though nobody else is in it.
    assert refused(claims, enter("1", "#c", leaving="#a")) == ["too_many_rooms"]
    claims.allow(3, ())
    assert refused(claims, enter("3", "#c"), enter("3", "#d")) == ["", "too_many_rooms"]  # #a stays
    assert refused(claims, enter("1", "#b", leaving="#a"), enter("3", "#d")) == ["", ""]


def test_to_enter_or_to_leave_once_more_changes_nothing() -> None:
    claims = Claims(1)
    assert refused(claims, enter("1", "#a"), enter("1", "#a"), leave("1", "#b")) == ["", "", ""]
    assert refused(claims, enter("1", "#a", leaving="#a"), enter("2", "#b")) == [
        "", "too_many_rooms",
    ]  # fmt: skip
    assert refused(claims, leave("1", "#a"), leave("1", "#a"), enter("2", "#b")) == ["", "", ""]


def test_kept_rooms_count_whether_or_not_anybody_is_in_them() -> None:
    claims = Claims(10)
    claims.allow(2, ["#kept"])
    drafts = [enter("1", "#a"), enter("1", "#b"), enter("1", "#kept"), leave("1", "#kept")]
    assert refused(claims, *drafts) == ["", "too_many_rooms", "", ""]
    assert refused(claims, enter("1", "#b"), enter("2", "#kept")) == ["too_many_rooms", ""]
    claims.allow(2, [])
    assert refused(claims, leave("2", "#kept"), enter("1", "#b")) == ["", ""]


def test_a_room_that_is_kept_no_more_makes_place() -> None:
    claims = Claims(10)
    claims.allow(2, ["#kept", "#other"])
    claims.allow(2, ["#other"])
    assert refused(claims, enter("1", "#a"), enter("1", "#b")) == ["", "too_many_rooms"]


def test_with_fewer_rooms_allowed_those_there_are_stay() -> None:
    claims = Claims(3)
    assert refused(claims, *(enter("1", room) for room in ("#a", "#b", "#c"))) == [""] * 3
    claims.allow(1, ())
    assert refused(claims, enter("2", "#b"), enter("2", "#d")) == ["", "too_many_rooms"]


# --- users ----------------------------------------------------------------------------------------


def test_a_client_that_is_gone_holds_nothing() -> None:
    claims = Claims(1)
    drafts = [nick("1", "mary"), enter("1", "#a"), gone("1"), nick("2", "mary"), enter("2", "#b")]
    assert refused(claims, *drafts) == [""] * 5
    assert refused(claims, gone("1"), gone("nobody"), gone("2")) == [""] * 3
    assert not held(claims)


def test_a_predecessors_users_are_taken_over() -> None:
    claims = Claims(1)
    assert refused(claims, nick("4", "mary"), enter("4", "#b"), enter("1", "#b")) == [""] * 3
    # The users before them are forgotten.
    claims.restore(
        [("1", "1", ["mary", "rnary"], ["#a", "#b"]), ("2", "2", [], ["#b"]), ("3", "3", [], [])]
    )
    drafts = [nick("2", "mary"), enter("2", "#c"), enter("2", "#a"), gone("1"), nick("2", "mary")]
    assert refused(claims, *drafts) == ["nick_taken", "too_many_rooms", "", "", ""]
    assert refused(claims, gone("2"), enter("3", "#c")) == ["", ""]


@pytest.mark.parametrize(
    "draft",
    [
        Said("#a", "2", "n", "t"),
        TopicSet("#a", "#A", "2", "n", "t"),
        Joined("#b", "2", "n"),
        Told("1", "2", "n", "t"),
    ],
)
def test_drafts_that_are_no_claims_are_granted(draft: Entry) -> None:
    claims = Claims(1)
    assert refused(claims, enter("1", "#a"), draft) == ["", ""]
    assert refused(claims, enter("2", "#b")) == ["too_many_rooms"]


# --- accounts -------------------------------------------------------------------------------------


def test_all_devices_of_an_account_have_its_nick() -> None:
    claims = Claims(1)
    assert refused(claims, log_in("1", "a.mary", "mary"), log_in("2", "a.mary", "mary")) == ["", ""]
    assert refused(claims, gone("1"), nick("3", "Mary")) == ["", "nick_taken"]
    assert refused(claims, log_out("2"), nick("3", "Mary")) == ["", ""]


def test_an_account_takes_its_nick_from_those_without_one() -> None:
    claims = Claims(1)
    assert refused(claims, nick("1", "mary"), nick("2", "rnary")) == ["", "nick_taken"]
    login = log_in("3", "a.mary", "mary")
    assert refused(claims, login, nick("1", "mary")) == ["", "nick_taken"]
    assert login.displaced == ("1",)


def test_two_accounts_never_have_one_nick() -> None:
    claims = Claims(1)
    first, second = log_in("1", "a.1", "mary"), log_in("2", "a.2", "mary")
    assert refused(claims, first, second, gone("1"), second) == ["", "nick_taken", "", ""]
    assert second.displaced == ()


def test_a_login_frees_the_nick_before_it() -> None:
    claims = Claims(1)
    drafts = [nick("1", "jim"), log_in("1", "a.mary", "mary"), nick("2", "jim")]
    assert refused(claims, *drafts) == ["", "", ""]


# --- many at once ---------------------------------------------------------------------------------


def test_drafts_are_decided_in_their_order() -> None:
    claims = Claims(10)
    drafts: list[Entry] = [
        nick("1", "mary"), Said("#a", "1", "mary", "hi"), nick("2", "mary"), nick("1", "jack"),
        nick("3", "mary"),
    ]  # fmt: skip
    results = claims.decide_all(drafts, {*map(type, drafts)})
    assert results is not drafts
    assert [result is draft for result, draft in zip(results, drafts, strict=True)] == [
        True, True, False, True, True,
    ]  # fmt: skip
    assert str(results[2]) == TAKEN.format("mary")


def test_the_drafts_themselves_come_back_if_none_is_refused() -> None:
    claims = Claims(10)
    for drafts in ([Said("#a", "1", "n", "t")] * 3, [enter("1", "#a"), nick("1", "mary")], []):
        assert claims.decide_all(drafts, {*map(type, drafts)}) is drafts


# --- beside a model -------------------------------------------------------------------------------

USERS, ROOMS = "12345", ["#a", "#b", "#c", "#d"]
# Names some of which share keys.
NAMES = [
    Name("a", "a", frozenset({"a"})),
    Name("A", "a", frozenset({"a", "A"})),
    Name("m", "m", frozenset({"m", "rn"})),
    Name("rn", "rn", frozenset({"rn"})),
    Name("b", "b", frozenset({"b"})),
]
users, rooms = st.sampled_from(USERS), st.sampled_from(ROOMS)
# Accounts and their nicks. An authority of the embedding program may have two that look alike.
ACCOUNTS = {"a.1": NAMES[0], "a.2": NAMES[2], "a.3": NAMES[3]}
accounts = st.sampled_from(sorted(ACCOUNTS))
drafts = st.one_of(
    st.builds(lambda user, to: PersonChanged(user, "", to, ACCOUNTS[to]), users, accounts),
    st.builds(log_out, users),
    st.builds(NickChanged, users, st.just(""), st.sampled_from(NAMES)),
    st.builds(Entered, users, st.just(""), rooms, st.just(""), st.none() | rooms),
    st.builds(Exited, users, st.just(""), rooms),
    st.builds(Gone, users, st.just("")),
)


@attrs.frozen
class Allow:
    """Other rules."""

    max_rooms: int
    kept: frozenset[str]


@attrs.define
class Model:
    """All nicks and all memberships. Nothing that can be found out from these is remembered."""

    rules: Allow
    names: dict[str, Name] = attrs.field(factory=dict)
    accounts: dict[str, str] = attrs.field(factory=dict)
    members: set[tuple[str, str]] = attrs.field(factory=set)

    def decide(self, draft: Entry) -> str:
        """The code of the refusal, or ""."""
        user = draft.author
        match draft:
            case NickChanged(name=name):
                person = self.person(user)
                if self.rivals(name) - {person}:
                    return "nick_taken"
                self.names[person] = name
            case PersonChanged():
                return self.change_person(draft)
            case Entered(room=room, leaving=leaving):
                there = self.rules.kept | {room for _, room in self.members}
                if room not in there and len(there) >= self.rules.max_rooms:
                    return "too_many_rooms"
                self.members = self.members - {(user, leaving)} | {(user, room)}
            case Exited(room=room):
                self.members -= {(user, room)}
            case Gone():
                self.leave_person(user)
                self.members = {(other, room) for other, room in self.members if other != user}
        return ""

    def change_person(self, draft: PersonChanged) -> str:
        user, person = draft.author, draft.person
        rivals = self.rivals(draft.name) - {person, user}
        if rivals & set(self.accounts.values()):
            return "nick_taken"
        for other in rivals:
            del self.names[other]
        if self.person(user) != person:
            self.leave_person(user)
        if person != user:
            self.accounts[user] = person
        self.names[person] = draft.name
        return ""

    def person(self, user: str) -> str:
        return self.accounts.get(user, user)

    def rivals(self, name: Name) -> set[str]:
        """The persons who hold one of a name's keys."""
        return {
            person
            for person, held in self.names.items()
            if not set(name.keys).isdisjoint(held.keys)
        }

    def leave_person(self, user: str) -> None:
        person = self.accounts.pop(user, user)
        if person not in self.accounts.values():
            self.names.pop(person, None)

    def users(self) -> list[tuple[str, str, list[str], list[str]]]:
        """All users, as a successor is told of them."""
        return [
            (
                user,
                person := self.person(user),
                sorted(self.names[person].keys) if person in self.names else [],
                [room for other, room in sorted(self.members) if other == user],
            )
            for user in USERS
        ]


allow = st.builds(Allow, st.integers(0, 4), st.frozensets(rooms, max_size=2))
RESTORED = "a successor takes over"


@given(first=allow, steps=st.lists(st.one_of(drafts, drafts, drafts, allow, st.just(RESTORED))))
def test_claims_are_decided_as_by_looking_at_everybody(first: Allow, steps: list) -> None:
    model, claims = Model(first), Claims(0)
    claims.allow(first.max_rooms, first.kept)
    for step in steps:
        if isinstance(step, Allow):
            model.rules = step
            claims.allow(step.max_rooms, step.kept)
        elif step is RESTORED:
            claims = Claims(model.rules.max_rooms)
            claims.allow(model.rules.max_rooms, model.rules.kept)
            claims.restore(model.users())
        else:
            assert refused(claims, step) == [model.decide(step)]
    # One who comes then is answered alike, whatever it asks for.
    questions = [
        *(NickChanged("new", "", name) for name in NAMES),
        *(Entered("new", "", room, room) for room in ROOMS),
    ]
    for question in questions:
        assert refused(claims, question, gone("new")) == [model.decide(question), ""]
        model.decide(gone("new"))


@given(steps=st.lists(drafts))
def test_all_that_is_held_is_let_go(steps: list[Entry]) -> None:
    claims = Claims(3)
    for step in steps:
        claims.decide(step)
    for user in USERS:
        claims.decide(gone(user))
    assert not held(claims)
