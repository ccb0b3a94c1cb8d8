"""The memory of guests who have left."""

from __future__ import annotations

import pytest

from trio_chat.hub import departed
from trio_chat.hub.departed import Departed
from trio_chat.protocol.events import Said


def said(author: str) -> Said:
    return Said("#a", author, "jim", "spam")


def test_it_is_known_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    known, now = Departed(), 1_000_000.0
    monkeypatch.setattr(departed.time, "time", lambda: now)
    known.note("jim", ("1", "2"))
    now += departed.KEPT_SECONDS
    assert known.tags_of(said("jim")) == ("1", "2")
    assert known.tags_of(said("kim")) == ()
    now += 1
    assert known.tags_of(said("jim")) == ()
    known.note("kim", ("3",))
    assert list(known._guests) == ["kim"]


def test_it_is_bounded_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departed, "MOST_DEPARTED", 2)
    known = Departed()
    known.note("own machine", ())
    for guest in ("a", "b", "c"):
        known.note(guest, (guest,))
    assert [known.tags_of(said(guest)) for guest in ("a", "b", "c")] == [(), ("b",), ("c",)]
