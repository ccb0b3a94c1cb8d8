"""The terminal client without a terminal: what it knows, and the lines that it makes of it."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from trio_chat.protocol.events import (
    Acted,
    Departed,
    EntriesShown,
    Joined,
    Left,
    Member,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    Refusal,
    Renamed,
    RoomsListed,
    Said,
    Told,
    TopicSet,
    Usage,
    Welcomed,
)
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal import lines
from trio_chat.terminal.completion import Words, completions
from trio_chat.terminal.presence import Presence
from trio_chat.terminal.room import MOST_LINES
from trio_chat.terminal.screen import CALLED, FAULT, NICK_COLOURS, QUIET
from trio_chat.terminal.typed import LeaveChat, Send, ShowHelp, Switch, read_typed, usages
from trio_chat.terminal.ui_state import ui_state
from trio_chat.terminal.view import View
from trio_chat.terminal.width import width

NOW = 1_769_860_800.0  # a noon in January
HOUR = time.strftime("%H:%M", time.localtime(NOW))
ME = Member("1", "john")
JACK = Member("2", "jack")


def said(text: str, position: int, room: str = "#a", *, who: Member = JACK, at: float = NOW):
    return Said(room, who.client, who.nick, text, position, at)


def texts(shown) -> list[str]:
    return ["".join(text for _, text in line) for line in shown]


@pytest.fixture
def view() -> View:
    """John's, in #a and #b with jack; #b is on screen."""
    view = View(ME.client, ME.nick, lambda: NOW)
    for name in ("#a", "#b"):
        view.take(Welcomed(name, name.upper(), "", 0, [ME, JACK]))
    return view


def test_a_room_that_is_joined_comes_on_screen_with_what_was_said_there():
    view = View(ME.client, ME.nick, lambda: NOW)
    shown = view.take(Welcomed("#a", "#A", "tea", 2, [ME, JACK], 3))
    shown += view.fill("#a", [said("one", 1), Acted("#a", "2", "jack", "waves", 2, NOW)])
    # What comes with the welcome may be in the history too.
    shown += view.take(said("one", 1))
    shown += view.take(said("two", 3))
    assert texts(shown) == [
        "── #A · 5 people · tea",
        f"{HOUR} jack: one",
        f"{HOUR} * jack waves",
        f"{HOUR} jack: two",
    ]


def test_an_empty_room_says_so(view: View):
    [line] = texts(view.fill("#b", []))
    assert "nothing has been said here yet" in line


def test_what_others_rooms_say_is_counted_and_shown_once_they_are_on_screen(view: View):
    assert view.take(said("one", 1)) == []
    assert view.take(said("John, tea?", 2)) == []
    assert view.take(Joined("#a", "3", "jim")) == []
    assert view.take(TopicSet("#a", "#A", "2", "jack", "cake", 3, NOW)) == []
    status = texts([ui_state(view, []).status])[0]
    assert "#A 2!" in status
    assert texts(view.switch("#a")) == [
        "── #A · 3 people · cake",
        f"{HOUR} jack: one",
        f"{HOUR} jack: John, tea?",
        f"{HOUR} · jim joined",
        f"{HOUR} topic by jack: cake",
    ]
    assert "#A" not in texts([ui_state(view, []).status])[0]


@pytest.mark.parametrize(
    ("text", "called"),
    [
        *(("john", True), ("hey JOHN!", True), ("johnny", False), ("ljohn", False)),
        *(("@john", True), ("the johnny report, john", True), ("john\u0301", False)),
        *(
            ("john\u3055\u3093", True),
            ("\u304djohn", True),
            ("john_", False),
            ("j\u00f6john", False),
        ),
    ],
)
def test_who_is_named_is_called(*, text: str, called: bool, view: View):
    view.take(said(text, 1))
    assert view.rooms["#a"].called is called


def test_own_words_call_nobody_and_are_no_news(view: View):
    view.take(said("john", 1, who=ME))
    assert not view.rooms["#a"].called
    assert view.rooms["#a"].unread == 0


def test_of_a_flood_in_another_room_the_last_lines_are_kept(view: View):
    for number in range(MOST_LINES + 50):
        view.take(said(str(number), number + 1))
    shown = texts(view.switch("#a"))
    assert len(shown) == MOST_LINES + 2
    assert shown[1] == f"{HOUR} · 50 lines before these"
    assert shown[-1] == f"{HOUR} jack: {MOST_LINES + 49}"
    # Next time a few of them are there again, to read on from.
    view.switch("#b")
    assert len(view.switch("#a")) == 11


def test_presence_changes_are_one_line_when_there_is_time_or_something_is_said(view: View):
    assert view.take(Joined("#b", "3", "jim")) == []
    assert view.take(Renamed("#b", "2", "jack", "Jack")) == []
    assert view.gathering
    assert texts(view.flush_presence()) == [f"{HOUR} · jim joined; jack is now Jack"]
    assert not view.gathering
    view.take(Left("#b", "3", "jim"))
    assert texts(view.take(said("bye", 1, "#b"))) == [f"{HOUR} · jim left", f"{HOUR} jack: bye"]


def test_presence_changes_that_come_to_nothing_are_not_said():
    presence = Presence()
    presence.add("1", None, "a")
    presence.add("1", "a", "b")
    presence.add("1", "b", None)
    presence.add("2", "c", None)
    presence.add("2", None, "c")
    assert not presence
    for number in range(20):
        presence.add(f"j{number}", None, str(number))
    assert presence.text() == "0, 1, 2, 3, 4, 5, 6, 7 and 12 more joined"
    assert presence.text() == ""


def test_members_are_known(view: View):
    view.take(Joined("#b", "3", "jim"))
    view.take(Left("#b", "2", "jack"))
    view.take(Renamed("#b", "1", "john", "johnny"))
    view.take(Renamed("#b", "3", "jim", "tim"))
    assert view.rooms["#b"].members == {"1": "johnny", "3": "tim"}
    assert view.take(MembersListed("#b", "#B", [ME], 2)) == []
    assert (view.rooms["#b"].members, view.rooms["#b"].more) == ({"1": "john"}, 2)


def test_private_messages_are_seen_in_whatever_room(view: View):
    assert texts(view.take(Told("1", "2", "jack", "psst"))) == [f"{HOUR} jack → you: psst"]
    own = Told("2", "1", "john", "what?")
    assert view.take(own) == []
    assert texts(view.answered(own, "/tell jack what?")) == [f"{HOUR} you → jack: what?"]


def test_a_search_that_stopped_says_so(view: View):
    assert texts(view.answered(EntriesShown("#b", "#B", [], 17), "/search x")) == [
        (
            "the search stopped, as it took too long: messages before 17 were not searched "
            "(/history before 17 shows them)"
        )
    ]


def test_answers(view: View):
    assert texts(view.answered(RoomsListed(["#a", "#c"]), "/rooms")) == ["available rooms: #a, #c"]
    assert "#c" in ui_state(view, []).words.rooms
    none = f"{HOUR} · there are no rooms yet; /join makes one"
    assert texts(view.answered(RoomsListed([]), "/rooms")) == [none]
    assert texts(view.answered(EntriesShown("#b", "#B", [said("x", 1), said("y", 2)]), "")) == [
        "[1 2026-01-31 12:00:00] jack: x",
        "[2 2026-01-31 12:00:00] jack: y",
    ]
    # What is an event besides is not said twice.
    for event in (said("x", 1), NickTaken("x"), Notice("x")):
        assert view.answered(event, "") == []
    assert texts(view.take(Notice("it is late"))) == ["it is late"]
    assert texts(view.take(Refusal("no", "refused"))) == [f"{HOUR} ! no"]
    assert texts(view.take(Missed("#b", "#B", 1))) == [f"{HOUR} ! 1 message is missing here"]


def test_leaving_a_room_brings_another_on_screen(view: View):
    assert texts(view.take(Departed("#b", "#B"))) == [
        f"{HOUR} · you have left #B",
        "── #A · 2 people",
    ]
    assert "no room: /join ROOM" in texts(view.take(Departed("#a", "#A")))[1]
    assert view.neighbour(1) is None
    assert texts([ui_state(view, []).prompt]) == ["no room> "]


def test_rooms_go_round(view: View):
    assert (view.neighbour(1), view.neighbour(-1), view.neighbour(2)) == ("#a", "#a", "#b")


def test_a_connection_that_breaks_and_comes_back(view: View):
    view.take(said("one", 7, "#b"))
    assert texts(view.take(Disconnected("it broke"))) == [f"{HOUR} · it broke; connecting again"]
    assert "no connection" in texts([ui_state(view, []).status])[0]
    shown = view.take(Resumed("anonymous", ("#b",), anew=True))
    assert texts(shown) == [
        f"{HOUR} · connected again, as anonymous",
        f"{HOUR} · you have left #A",
    ]
    # A server that keeps rooms in memory counts from 1 again.
    assert texts(view.take(said("anew", 1, "#b"))) == [f"{HOUR} jack: anew"]


def test_another_day_has_its_line(view: View):
    days = [NOW - 86_400 * 2, NOW - 86_400, NOW - 86_400, NOW]
    shown = view.fill("#b", [said("x", i + 1, "#b", at=at) for i, at in enumerate(days)])
    assert texts(shown)[::1] == [
        "── Thursday 2026-01-29",
        f"{HOUR} jack: x",
        "── Friday 2026-01-30",
        f"{HOUR} jack: x",
        f"{HOUR} jack: x",
        "── Saturday 2026-01-31",
        f"{HOUR} jack: x",
    ]


NASTY = "\x1b[31m\x9b\x07\u202e\u2028\r\n\t<b>[link=x]"


def test_nothing_that_a_terminal_obeys_gets_into_a_line(view: View):
    person = Member("9", f"x{NASTY}")
    events = [
        Welcomed("#c", NASTY, NASTY, 0, [ME]),
        said(NASTY, 1, "#c", who=person),
        TopicSet("#c", NASTY, "9", NASTY, NASTY, 2, NOW),
        Joined("#c", "9", NASTY),
        Told("1", "9", NASTY, NASTY),
        Refusal(NASTY, NASTY),
        Notice(NASTY),
        Disconnected(NASTY),
        Resumed(NASTY, ("#c",), anew=False),
        Departed("#c", NASTY),
    ]
    shown = [line for event in events for line in [*view.take(event), *view.flush_presence()]]
    view.known_rooms = [NASTY]
    around = ui_state(view, [])
    for line in [*shown, around.prompt, around.status, *view.answered(RoomsListed([NASTY]), "")]:
        assert all(text.isprintable() for _, text in line), line
    assert "<b>[link=x]" in texts(shown)[1]  # which means nothing here
    assert all(word.isprintable() for word in around.words.rooms)


TEXT = st.text(
    alphabet=st.sampled_from("a1: \u4f60\u00e9\u0301\u00a0\u200b\u3164\ufe0f\u2764\U0001f600"),
    max_size=80,
)


@given(TEXT, st.integers(12, 40))
def test_no_row_of_a_message_looks_like_a_line_of_its_own(text: str, columns: int):
    line = lines.entry(said(text, 1))
    broken = lines.wrapped(line, columns)
    whole = "".join(texts([broken]))
    rows = whole.split("\n")
    for row in rows[1:]:
        assert row.startswith(" " * lines.INDENT)
    assert all(max(get_cwidth(row), width(row)) <= columns for row in rows)
    # Nothing is lost but spaces at the end of a row.
    assert whole.replace(" ", "").replace("\n", "") == texts([line])[0].replace(" ", "")


@given(TEXT, st.integers(0, 40))
def test_what_is_cut_fits(text: str, columns: int):
    [(_, first), (_, second)] = lines.cut([("", text), ("", text)], columns)
    assert get_cwidth(first + second) <= columns
    assert text.startswith(first)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None),
        ("  ", None),
        ("hi there ", Send("/msg hi there")),
        ("  indented", Send("/msg   indented")),
        ("  /tell jack psst", Send("/tell jack psst")),
        ("/me waves", Send("/me waves")),
        ("/join #new", Send("/join #new")),
        ("/join #A", Switch("#a")),
        ("/help", ShowHelp(None)),
        ("/help /join", ShowHelp("join")),
        ("/help me with this", Send("/help me with this")),
        ("/quit", LeaveChat()),
        ("/QUIT", LeaveChat()),
        ("/Join #A", Switch("#a")),
        ("/Help /join", ShowHelp("join")),
        ("/Msg Hi", Send("/Msg Hi")),
    ],
)
def test_what_a_typed_line_means(text: str, meaning):
    assert read_typed(text, {"#a": 1}) == meaning


WORDS = Words(
    {"/join": "/join ROOM", "/who": "/who", "/help": "/help [COMMAND]", "/tell": "/tell NICK TEXT"},
    ("#general", "#Go"),
    ("jack", "Jim"),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/jo", [("/join", " ")]),
        ("/w", [("/who", "")]),
        ("/join #g", [("#general", ""), ("#Go", "")]),
        ("/join ", [("#general", ""), ("#Go", "")]),
        ("/join #go x", []),
        ("/tell j", [("jack", " "), ("Jim", " ")]),
        ("/tell jack ji", [("Jim", " ")]),
        ("/help w", [("who", "")]),
        ("JA", [("jack", ": ")]),
        ("well, ja", [("jack", " ")]),
        ("see #ge", [("#general", " ")]),
        ("/me hugs ji", [("Jim", " ")]),
        ("", []),
        ("hello ", []),
        ("nobody", []),
    ],
)
def test_how_a_line_may_go_on(text: str, found):
    assert completions(text, WORDS) == found


def test_those_who_spoke_last_come_first(view: View):
    for number, nick in enumerate(["zoe", "ann", "bob"]):
        view.take(Joined("#b", nick, nick))
        if nick != "bob":
            view.take(said("x", number + 1, "#b", who=Member(nick, nick)))
    assert ui_state(view, []).words.nicks == ("ann", "zoe", "bob", "jack")


def test_help_says_what_is_otherwise_here():
    rows = usages(
        [Usage("join", "/join ROOM", "leaving the one you are in"), Usage("x", "/x", "y")]
    )
    assert "Ctrl-N" in rows[0].help
    assert rows[1] == Usage("x", "/x", "y")


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 has it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", sorted({*NICK_COLOURS, QUIET, FAULT, CALLED}))
def test_colours_can_be_read_on_black_and_on_white(colour: str):
    for darker, lighter in pairwise((0.0, luminance(colour), 1.0)):
        assert (lighter + 0.05) / (darker + 0.05) >= 3.7


def test_a_nick_has_one_colour_of_those_there_are():
    styles = {lines.nick_style(str(number)) for number in range(200)}
    assert styles == {f"nick{number}" for number in range(len(NICK_COLOURS))}
