"""Answers and parcels, however they arrive, are taken in the engine's order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_chat.roomlog.redis.arrivals import Answer, Arrivals, Parcel
from trio_chat.roomlog.redis.operations import Operations


def parcel(number: int) -> Parcel:
    return Parcel(number, b"b b1 1", [])


def answer(number: int) -> Answer:
    return Answer(Operations([]), [], str(number))


def taken(arrivals: Arrivals) -> list[int]:
    """The numbers of all that is ready, in order."""
    found = []
    while arrivals.ready:
        item = arrivals.ready.popleft()
        assert isinstance(item, Parcel | Answer)
        found.append(item.number if isinstance(item, Parcel) else int(item.turn))
    return found


class Life:
    """A node's turns, one at a time, and those of others that concern it, in one order.

    `step` makes one of the things happen that may happen next.
    """

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.order: list[int] = []
        self.taken: list[int] = []
        self.inbox: list[int] = []
        self.read = self.newest = self.number = 0
        # The turn under way: its number and barrier, which are 0 until it is carried out.
        self.turn: tuple[int, int] | None = None
        self.answered = False

    def possible(self) -> list[str]:
        steps = ["other"]
        if self.turn is None:
            steps.append("begin")
        elif self.turn == (0, 0):
            steps.append("carry out")
        elif not self.answered:
            steps.append("answer")
        if self.read < len(self.inbox):
            steps.append("read")
        return steps

    def step(self, what: str) -> None:
        if what == "begin":
            self.turn, self.answered = (0, 0), False
            self.arrivals.begin()
        elif what == "other":
            self.number += 1
            self.inbox.append(self.number)
            self.order.append(self.number)
        elif what == "carry out":
            self.number += 1
            self.turn = self.number, self.inbox[-1] if self.inbox else 0
            self.order.append(self.number)
        elif what == "answer":
            assert self.turn is not None
            self.answered = True
            self.arrivals.answer(*self.turn, answer(self.turn[0]))
        else:
            self.arrivals.parcel(parcel(self.inbox[self.read]))
            self.read += 1
        self.taken += taken(self.arrivals)
        if self.turn is not None and self.turn[0] in self.taken:
            self.turn = None

    def finish(self) -> None:
        while steps := [step for step in self.possible() if step not in ("other", "begin")]:
            self.step(steps[0])


@given(st.data())
def test_all_is_taken_in_the_engines_order(data: st.DataObject) -> None:
    life = Life()
    for _ in range(data.draw(st.integers(1, 40))):
        life.step(data.draw(st.sampled_from(life.possible())))
        assert life.taken == life.order[: len(life.taken)]
        if life.turn is None:  # nothing waits without a reason
            assert len(life.arrivals) == 0
    life.finish()
    assert life.taken == life.order
    assert len(life.arrivals) == 0


def test_with_another_inbox_all_that_has_come_goes_first():
    arrivals = Arrivals()
    arrivals.begin()
    arrivals.parcel(parcel(3))
    arrivals.begin_anew(0)
    assert taken(arrivals) == [3]
    arrivals.parcel(parcel(1))  # no turn is under way any more
    assert taken(arrivals) == [1]


def test_an_answer_that_waits_for_the_inbox_goes_with_it():
    arrivals = Arrivals()
    arrivals.begin()
    arrivals.parcel(parcel(3))
    arrivals.answer(7, 5, answer(7))  # and 5 never comes
    arrivals.begin_anew(0)
    assert taken(arrivals) == [3, 7]
    arrivals.begin()
    arrivals.parcel(parcel(2))
    assert taken(arrivals) == []
    arrivals.answer(1, 0, answer(1))
    assert taken(arrivals) == [1, 2]
