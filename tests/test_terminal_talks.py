"""Private talks in the terminal client: each is a window, and belongs to a person, not a nick."""

from __future__ import annotations

import time

import pytest
from views import HOUR, JACK, ME, log_of, new_view, said, status, texts, title

from trio_chat.protocol.events import (
    Joined,
    Left,
    Member,
    MembersListed,
    Renamed,
    Told,
    Welcomed,
)
from trio_chat.terminal.ui_state import ui_state
from trio_chat.terminal.view import View
from trio_chat.terminal.window import MOST_TALKS, Talk

NAMESAKE = "9"


@pytest.fixture
def view() -> View:
    """John's, in #a with jack."""
    view = new_view()
    view.take(Welcomed("#a", "#A", "", 0, [ME, JACK]))
    view.current.log.clear()
    return view


def lines_of(talk: Talk) -> list[str]:
    return texts(line.line for line in talk.log.view().lines)


def test_a_private_message_has_a_window_of_its_own(view: View):
    view.take(Told("1", "2", "jack", "psst"))
    assert log_of(view) == [f"{HOUR} · jack writes to you alone: Alt-2 shows it"]
    view.take(Told("1", "2", "jack", "hello?"))
    assert len(log_of(view)) == 1
    assert "2:jack 2!" in status(view)
    assert view.windows.calls == 2
    view.switch(view.windows.numbered(2))
    assert log_of(view) == [f"{HOUR} jack: psst", f"{HOUR} jack: hello?"]
    assert title(view) == "── jack · private"
    assert texts([ui_state(view, []).prompt]) == ["jack> "]
    assert "2:jack ─" in status(view)


def test_a_person_of_no_common_room_has_another_nick(view: View):
    view.take(Told("1", NAMESAKE, "bob", "psst"))
    view.take(Told("1", NAMESAKE, "rob", "still me"))
    assert lines_of(view.windows.talks[0]) == [
        f"{HOUR} bob: psst",
        f"{HOUR} · bob is now rob",
        f"{HOUR} rob: still me",
    ]


def test_own_private_messages_are_in_the_talk_and_where_they_were_typed(view: View):
    view.take(Told("2", "1", "john", "hi"))  # the answer has it
    view.answered(Told("2", "1", "john", "hi"), "/tell jack hi")
    assert log_of(view) == [f"{HOUR} you → jack: hi"]
    talk = view.open_talk("jack")
    assert lines_of(talk) == [f"{HOUR} john: hi"]
    view.talks.sent(talk, "john", Told("2", "1", "john", "again"))
    view.answered(Told("2", "1", "john", "and again"), "/tell jack and again")
    assert lines_of(talk)[1:] == [f"{HOUR} john: again", f"{HOUR} john: and again"]
    assert (talk.unread, view.windows.calls) == (0, 0)


def test_a_message_that_waited_has_the_date_when_it_was_sent(view: View):
    sent = 1_700_000_000.0
    view.take(Told("1", "2", "jack", "psst", sent, waited=True))
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(sent))
    [talk] = view.windows.talks
    assert lines_of(talk) == [f"{date} jack: psst"]


def test_a_message_that_waits_is_said_to(view: View):
    view.answered(Told("2", "1", "john", "hi", waited=True), "/tell jack hi")
    [talk] = view.windows.talks
    assert lines_of(talk) == [f"{HOUR} john: hi", f"{HOUR} · jack is away: this message waits"]


def test_a_talk_can_be_opened_and_closed(view: View):
    talk = view.open_talk("JACK")
    assert talk.client == "2"
    assert lines_of(talk) == [
        f"{HOUR} · what you type here is for jack alone, and is not kept on the server"
    ]
    assert view.open_talk("jack") is talk
    view.close(talk)
    assert view.current.name == "#A"
    view.close(talk)
    assert view.windows.talks == []


def test_a_talk_follows_its_person(view: View):
    talk = view.open_talk("jack")
    view.take(Renamed("#a", "2", "jack", "jim"))
    assert title(view) == "── jim · private"
    view.take(Left("#a", "2", "jim"))
    assert title(view) == "── jim · private, has left your rooms"
    view.take(Joined("#a", "2", "jim"))
    assert title(view) == "── jim · private"
    assert lines_of(talk)[1:] == [
        f"{HOUR} · jack is now jim",
        f"{HOUR} · jim has left your rooms",
        f"{HOUR} · jim is back",
    ]


def test_a_person_who_is_still_in_another_room_has_not_left(view: View):
    talk = view.open_talk("jack")
    view.take(Welcomed("#b", "#B", "", 0, [ME, JACK]))
    view.take(Left("#a", "2", "jack"))
    assert not talk.gone
    view.take(MembersListed("#b", "#B", [ME]))
    assert talk.gone


def test_text_goes_to_a_namesake_only_if_it_is_typed_again(view: View):
    talk = view.open_talk("jack")
    view.take(Left("#a", "2", "jack"))
    assert view.talks.recipient(talk, "hi") == "2"
    view.talks.ask(talk, "hi", "the jack you mean has left")
    assert lines_of(talk)[-1] == (
        f"{HOUR} ! not sent: the jack you mean has left; type it again (↑ Enter) to send it to them"
    )
    assert view.talks.recipient(talk, "another text") == "2"
    assert view.talks.recipient(talk, "hi") == "2"  # it was not the next text
    view.talks.ask(talk, "hi", "the jack you mean has left")
    assert view.talks.recipient(talk, "hi") is None
    assert view.talks.recipient(talk, "more") == "2"  # nothing has reached the namesake yet
    # From now on the talk is with the namesake.
    view.talks.sent(talk, "john", Told(NAMESAKE, "1", "john", "hi"))
    assert view.talks.recipient(talk, "more") == NAMESAKE
    assert title(view) == "── jack · private"


def test_the_messages_of_a_namesake_are_another_talk(view: View):
    view.take(Told("1", "2", "jack", "psst"))
    view.take(Left("#a", "2", "jack"))
    view.take(Told("1", NAMESAKE, "jack", "hello"))
    assert [talk.client for talk in view.windows.talks] == ["2", NAMESAKE]


def test_a_talk_with_a_stranger_is_with_the_person_who_gets_its_first_text(view: View):
    talk = view.open_talk("ann")
    assert view.talks.recipient(talk, "hi") is None
    view.talks.sent(talk, "john", Told("7", "1", "john", "hi"))
    view.take(Told("1", "7", "ann", "hello"))
    assert view.windows.talks == [talk]
    assert view.talks.recipient(talk, "more") == "7"
    assert view.open_talk("ANN") is talk


def test_a_stranger_who_writes_first_is_in_the_talk_that_was_opened_for_them(view: View):
    talk = view.open_talk("ann")
    view.take(Told("1", "7", "ann", "hello"))
    assert view.windows.talks == [talk]
    assert lines_of(talk)[-1] == f"{HOUR} ann: hello"
    assert view.talks.recipient(talk, "hi") == "7"


def test_many_people_called_anonymous_are_many_talks(view: View):
    view.take(Told("1", "3", "anonymous", "x"))
    view.take(Told("1", "4", "anonymous", "y"))
    assert [talk.client for talk in view.windows.talks] == ["3", "4"]
    view.take(Welcomed("#b", "#B", "", 0, [ME, Member("3", "anonymous")]))
    assert view.windows.client_called("anonymous") is None


def test_talks_are_bounded_and_the_one_on_screen_stays(view: View):
    first = view.open_talk("jack")
    for number in range(2 * MOST_TALKS):
        view.take(Told("1", f"n{number}", f"nick{number}", "x"))
    assert len(view.windows.talks) == MOST_TALKS
    assert first in view.windows.talks
    assert view.windows.talks[-1].name == f"nick{2 * MOST_TALKS - 1}"


def test_a_talk_is_not_where_a_room_speaks(view: View):
    view.open_talk("jack")
    view.take(said("hello", 1))
    assert "1:#A 1" in status(view)
    assert len(log_of(view)) == 1
