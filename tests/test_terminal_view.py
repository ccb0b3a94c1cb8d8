"""The terminal client without a terminal: what its windows show after which events."""

from __future__ import annotations

import time
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth
from views import HOUR, JACK, ME, NOW, log_of, new_view, said, status, texts, title

from trio_chat.protocol.events import (
    AccountExported,
    Acted,
    ActionsShown,
    Departed,
    Device,
    DevicesListed,
    EntriesShown,
    HeldShown,
    Identified,
    Invited,
    Joined,
    Left,
    LoggedIn,
    LoggedOut,
    Member,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    Refusal,
    Removed,
    Renamed,
    RoleHolder,
    RolesShown,
    RoomSetting,
    RoomsListed,
    Ruled,
    RulesShown,
    Said,
    Standing,
    Told,
    TopicSet,
    Welcomed,
)
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal import lines
from trio_chat.terminal.completion import Words, completions
from trio_chat.terminal.log import MOST_BACK, MOST_LINES, visible_rows
from trio_chat.terminal.presence import Presence
from trio_chat.terminal.styles import CALLED, FAULT, NICK_COLOURS, QUIET
from trio_chat.terminal.ui_state import status_row, title_row, ui_state
from trio_chat.terminal.view import View
from trio_chat.terminal.width import width


@pytest.fixture
def view() -> View:
    """John's, in #a and #b with jack; #b is on screen."""
    view = new_view()
    for name in ("#a", "#b"):
        view.take(Welcomed(name, name.upper(), "", 0, [ME, JACK]))
    return view


def test_a_newcomer_is_told_where_they_are_and_in_which_zone_times_are():
    view = View(ME.client, "anonymous", "hello\nbe kind", lambda: NOW)
    view.begin()
    assert log_of(view) == [
        "hello",
        "be kind",
        f"{HOUR} \xb7 all times are local: {lines.zone(NOW)}",
        f"{HOUR} \xb7 you are called anonymous, as everyone is at first: /nick NAME changes that",
        f"{HOUR} \xb7 you are in no room: /join ROOM goes into one, /rooms lists them",
        f"{HOUR} \xb7 /help lists all commands",
    ]
    view.take(Welcomed("#a", "#A"))
    assert log_of(view) == []  # the zone is said once


def test_the_greeting_and_the_zone_are_in_the_first_room():
    view = View(ME.client, ME.nick, "hello", lambda: NOW)
    view.take(Welcomed("#a", "#A"))
    assert log_of(view) == ["hello", f"{HOUR} \xb7 all times are local: {lines.zone(NOW)}"]
    view.take(Welcomed("#b", "#B"))
    assert log_of(view) == []


def test_an_invitation_is_on_screen_and_rings(view: View):
    rung = view.windows.calls
    view.take(Invited("#c", "#C", "2", "jack", ME.client))
    assert log_of(view)[-1] == f"{HOUR} \xb7 jack invites you to #C: /join #C"
    assert view.windows.calls == rung + 1
    own = Invited("#b", "#B", ME.client, "john", "7")
    view.take(own)
    view.answered(own, "/invite mary")
    assert log_of(view)[-1] == f"{HOUR} \xb7 your invitation to #B is on its way"
    assert view.windows.calls == rung + 1


@pytest.mark.parametrize(("zone", "shown"), [("UTC", "UTC"), ("EST5", "EST (UTC-05:00)")])
def test_a_zone_has_its_name_and_offset(zone: str, shown: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert lines.zone(NOW) == shown
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_room_that_is_joined_comes_on_screen_with_what_was_said_there():
    view = new_view()
    view.take(Welcomed("#a", "#A", "tea", 2, [ME, JACK], 3))
    view.fill(
        view.windows.rooms["#a"], [said("one", 1), Acted("#a", "2", "jack", "waves", 2, NOW)], 9
    )
    # Entries that come with the welcome may be in the history too.
    view.take(said("one", 1))
    view.take(said("two", 3))
    assert title(view) == "\u2500\u2500 #A \xb7 5 people \xb7 tea"
    assert log_of(view) == [
        f"{HOUR} jack: one",
        f"{HOUR} * jack waves",
        f"{HOUR} jack: two",
    ]


def test_a_history_that_comes_late_stands_before_what_came_meanwhile(view: View):
    view.take(Welcomed("#b", "#B", "", 2, [ME, JACK]))
    view.take(said("three", 3, "#b"))
    view.fill(view.windows.rooms["#b"], [said("two", 2, "#b"), said("three", 3, "#b")], 2)
    assert log_of(view) == [f"{HOUR} jack: two", f"{HOUR} jack: three"]
    view.take_older(view.windows.rooms["#b"], [said("one", 1, "#b")], 2)
    assert log_of(view) == [
        f"{HOUR} \xb7 the server has no older messages of this room",
        f"{HOUR} jack: one",
        f"{HOUR} jack: two",
        f"{HOUR} jack: three",
    ]
    assert not view.windows.rooms["#b"].has_older


def test_a_log_that_has_no_room_for_older_messages_says_so():
    view = new_view()
    view.take(Welcomed("#b", "#B", "", MOST_BACK + 500, [ME, JACK]))
    room = view.windows.rooms["#b"]
    for start in range(MOST_BACK + 1, 1, -500):
        assert not room.log.is_full
        view.take_older(room, [said("x", at, "#b") for at in range(start, start + 500)], 500)
    assert room.log.is_full
    room.log.scroll_up(2 * MOST_BACK, 80, 24)
    rows = texts(visible_rows(room.log.view(), 80, 24))
    assert rows[1] == f"{HOUR} \xb7 older messages do not fit here; /search finds them"


def test_a_message_that_comes_with_the_history_calls_too(view: View):
    view.take(Welcomed("#b", "#B", "", 1, [ME, JACK]))
    view.fill(view.windows.rooms["#b"], [said("one", 1, "#b"), said("john?", 2, "#b")], 50)
    assert log_of(view) == [f"{HOUR} jack: one"]
    view.take(said("john?", 2, "#b"))
    assert log_of(view) == [f"{HOUR} jack: one", f"{HOUR} jack: john?"]
    assert view.windows.calls == 1


def test_an_empty_room_says_so(view: View):
    view.fill(view.windows.rooms["#b"], [], 50)
    assert "nothing has been said here yet" in log_of(view)[0]
    assert not view.windows.rooms["#b"].has_older


def test_messages_in_other_rooms_are_counted_and_shown_once_the_rooms_are_on_screen(view: View):
    view.take(said("one", 1))
    view.take(said("John, tea?", 2))
    view.take(Joined("#a", "3", "jim"))
    view.take(TopicSet("#a", "#A", "2", "jack", "cake", 3, NOW))
    view.take(Ruled("#a", "#A", "2", "jack", "muted jim", {}, 0, 4, NOW))
    assert "1:#A 2!" in status(view)
    assert log_of(view) == []
    view.switch(view.windows.rooms["#a"])
    assert title(view) == "\u2500\u2500 #A \xb7 3 people \xb7 cake"
    assert log_of(view) == [
        f"{HOUR} jack: one",
        f"{HOUR} jack: John, tea?",
        f"{HOUR} \xb7 jim joined",
        f"{HOUR} topic by jack: cake",
        f"{HOUR} jack muted jim [A4]",
    ]
    assert "2!" not in status(view)


def test_messages_that_are_removed_leave_the_screen(view: View):
    view.switch(view.windows.rooms["#a"])
    for position, text in enumerate(("one", "two", "three"), 1):
        view.take(said(text, position))
    view.take(
        Removed(
            "#a",
            "#A",
            "2",
            "jack",
            "removed 2 messages of jack",
            {},
            0,
            4,
            NOW,
            positions=[[1, 1], [3, 3]],
        )
    )
    own = Removed("#a", "#A", "2", "jack", "removed 1 message of their own", {}, 0, 5, NOW)
    view.take(attrs.evolve(own, own=True, positions=[[], [2]]))  # no honest server sends these runs
    view.take(
        Removed("#a", "#A", "2", "jack", "undid A4", {}, 0, 6, NOW, positions=[[1, 3]], undoes=4)
    )
    view.take(said("", 7))
    assert log_of(view) == [
        f"{HOUR} (removed)",
        f"{HOUR} (removed)",
        f"{HOUR} (removed)",
        f"{HOUR} jack removed 2 messages of jack [A4]",
        f"{HOUR} jack removed 1 message of their own",
        f"{HOUR} jack undid A4 [A6]",
        f"{HOUR} (removed)",
    ]


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
def test_a_message_with_the_nick_calls(*, text: str, called: bool, view: View):
    view.take(said(text, 1))
    assert view.windows.rooms["#a"].called is called
    assert view.windows.calls == called


def test_own_words_call_nobody_and_are_no_news(view: View):
    view.take(said("john", 1, who=ME))
    assert not view.windows.rooms["#a"].called
    assert (view.windows.rooms["#a"].unread, view.windows.calls) == (0, 0)


def test_history_calls_nobody(view: View):
    view.take(Welcomed("#b", "#B", "", 1, [ME, JACK]))
    view.fill(view.windows.rooms["#b"], [said("john?", 1, "#b")], 50)
    assert view.windows.calls == 0


def test_unread_messages_have_a_mark_until_their_reader_goes_elsewhere(view: View):
    a, b = view.windows
    view.take(said("seen", 1, "#b"))
    view.switch(a)
    for position, text in enumerate(["new", "newer"], 2):
        view.take(said(text, position, "#b"))
    view.switch(b)
    rows = texts(visible_rows(b.log.view(), 40, 4))
    assert rows == [
        f"{HOUR} jack: seen",
        "\u2500\u2500 new",
        f"{HOUR} jack: new",
        f"{HOUR} jack: newer",
    ]
    view.switch(b)
    assert texts(visible_rows(b.log.view(), 40, 4)) == rows
    view.switch(a)
    view.switch(b)
    assert texts(visible_rows(b.log.view(), 40, 3)) == [rows[0], *rows[2:]]


def test_of_a_flood_the_last_lines_are_kept(view: View):
    for number in range(MOST_LINES + 50):
        view.take(said(str(number), number + 1))
    view.switch(view.windows.rooms["#a"])
    assert view.current.log.oldest == 51
    assert log_of(view)[-1] == f"{HOUR} jack: {MOST_LINES + 49}"
    assert view.windows.rooms["#a"].has_older


def test_presence_changes_are_one_line_when_there_is_time_or_something_is_said(view: View):
    view.take(Joined("#b", "3", "jim"))
    view.take(Renamed("#b", "2", "jack", "Jack"))
    assert log_of(view) == []
    assert view.gathering
    view.flush_presence()
    assert log_of(view) == [f"{HOUR} \xb7 jim joined; jack is now Jack"]
    assert not view.gathering
    view.take(Left("#b", "3", "jim"))
    view.take(said("bye", 1, "#b"))
    assert log_of(view)[1:] == [f"{HOUR} \xb7 jim left", f"{HOUR} jack: bye"]


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
    room = view.windows.rooms["#b"]
    assert room.members == {"1": "johnny", "3": "tim"}
    view.take(MembersListed("#b", "#B", [ME], 2))
    assert (room.members, room.more) == ({"1": "john"}, 2)
    assert log_of(view) == []


def test_a_login_of_another_member_is_a_new_nick(view: View):
    view.take(Identified("#b", "a.x", "mary", "2", "jack"))
    view.flush_presence()
    assert view.windows.rooms["#b"].members == {"1": "john", "a.x": "mary"}
    assert log_of(view) == [f"{HOUR} \xb7 jack is now mary"]
    view.take(Identified("#b", "2", "mary", "a.x", "mary"))  # the nick is the same
    view.take(Identified("#c", "a.x", "mary", "2", "jack"))  # a room that was left
    view.flush_presence()
    assert len(log_of(view)) == 1


def test_a_talk_follows_a_person_who_logs_in_or_out(view: View):
    view.take(Told("1", "2", "jack", "psst"))
    [talk] = view.windows.talks
    view.take(Identified("#a", "a.x", "mary", "2", "jack"))
    view.take(Identified("#b", "a.x", "mary", "2", "jack"))
    assert (talk.client, talk.name, talk.gone) == ("a.x", "mary", False)
    view.take(Told("1", "a.x", "mary", "again"))
    assert view.windows.talks == [talk]
    view.take(Identified("#a", "2", "anonymous", "a.x", "mary"))
    assert (talk.client, talk.name) == ("2", "anonymous")


def test_ones_own_login_is_told_and_changes_who_one_is(view: View):
    view.take(LoggedIn("a.x", "joe", "a-token", "a-code"))
    assert view.windows.rooms["#a"].members == {"2": "jack", "a.x": "joe"}
    assert log_of(view) == [
        f"{HOUR} \xb7 you are logged in as joe",
        (
            f"{HOUR} \xb7 your recovery code is a-code: keep it, as it is shown only now. With "
            "/recover joe it lets you in if you forget your password"
        ),
    ]
    assert "a-token" not in str(ui_state(view, []))
    view.take(Said("#a", "a.x", "joe", "joe himself, with another device", 1, NOW))
    assert "1:#A 1" not in status(view)
    view.take(LoggedIn("a.x", "joe", "another-token"))
    assert log_of(view)[2:] == [
        f"{HOUR} \xb7 your password is changed: your other devices have to log in again"
    ]
    view.take(LoggedOut("1", "anonymous"))
    assert log_of(view)[3:] == [f"{HOUR} \xb7 you are logged out"]
    assert (view.me, view.nick) == ("1", "anonymous")


def test_devices_and_what_is_kept_are_shown(view: View):
    view.answered(DevicesListed([Device(2, "page", NOW, NOW)]), "/account devices")
    view.answered(DevicesListed([]), "/account devices")
    view.answered(AccountExported("{}"), "/account export")
    assert log_of(view) == [
        "2: page, since 2026-01-31 12:00 UTC, last seen 2026-01-31 12:00 UTC",
        "no device stays logged in",
        "{}",
    ]


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (RulesShown("#b", "#B", "owner", [RoomSetting("join", "all")]), "#B: join all; your role"),
        (RolesShown("#b", "#B", [RoleHolder("a.1", "ann", "owner")]), "owner: ann"),
        (ActionsShown("#b", "#B", []), "no actions in #B"),
        (HeldShown("#b", "#B", []), "no message waits in #B"),
    ],
)
def test_moderators_read_the_answers_to_what_they_ask(view: View, event, shown: str):
    view.answered(event, "/x")
    assert log_of(view)[0].startswith(shown)


def test_a_search_that_stopped_says_so(view: View):
    view.answered(EntriesShown("#b", "#B", [], 17), "/search x")
    assert log_of(view) == [
        (
            "the search stopped, as it took too long: messages before 17 were not searched "
            "(/history before 17 shows them)"
        )
    ]


def test_answers(view: View):
    def answers(event, typed: str = "") -> list[str]:
        view.current.log.clear()
        view.answered(event, typed)
        return log_of(view)

    assert answers(RoomsListed(["#a", "#c"])) == ["available rooms: #a, #c"]
    assert "#c" in ui_state(view, []).words.rooms
    assert answers(RoomsListed([])) == [f"{HOUR} \xb7 there are no rooms yet; /join makes one"]
    # A search has the local time too.
    found = [said("x", 1), Acted("#b", "2", "jack", "waves", 2, NOW)]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW))
    assert answers(EntriesShown("#b", "#B", found, 1)) == [
        f"[1] {when} jack: x",
        f"[2] {when} * jack waves",
        (
            "the search stopped, as it took too long: messages before 1 were not searched "
            "(/history before 1 shows them)"
        ),
    ]
    # An answer that is an event besides is not shown twice.
    for event in (said("x", 1), NickTaken("x"), Notice("x")):
        assert answers(event) == []
    for event in (Notice("it is late"), Refusal("no", "refused"), Missed("#b", "#B", 1)):
        view.take(event)
    assert log_of(view) == [
        f"{HOUR} \xb7 it is late",
        f"{HOUR} ! no",
        f"{HOUR} ! 1 message is missing here",
    ]


def test_leaving_a_room_brings_another_on_screen(view: View):
    view.take(Departed("#b", "#B"))
    assert title(view) == "\u2500\u2500 #A \xb7 2 people"
    assert log_of(view) == [f"{HOUR} \xb7 you have left #B"]
    view.take(Departed("#a", "#A"))
    assert "no room: /join ROOM" in log_of(view)[1]
    assert view.windows.next() is view.windows.previous() is view.current
    assert texts([ui_state(view, []).prompt]) == ["no room> "]


def test_windows_go_round_and_have_numbers(view: View):
    windows = view.windows
    a, b = windows
    view.take(Welcomed("#c", "#C"))
    c = windows.current
    assert (windows.next(), windows.previous()) == (a, b)
    view.switch(a)
    assert (windows.next(), windows.previous()) == (b, c)
    assert [windows.numbered(number) for number in range(4)] == [None, a, b, c]


def test_the_next_window_with_news_is_one_that_calls_first(view: View):
    assert view.windows.next_with_news() is None
    view.take(said("x", 1))
    view.take(Told("1", "2", "jack", "psst"))
    [a, b, jack] = view.windows
    assert view.current is b
    view.switch(view.windows.next_with_news())
    assert view.current is jack
    view.switch(view.windows.next_with_news())
    assert view.current is a
    assert view.windows.next_with_news() is None


def test_from_the_first_window_keys_lead_to_a_talk():
    view = new_view()
    view.take(Told("1", "2", "jack", "psst"))
    [talk] = view.windows
    assert view.current is not talk
    assert view.windows.next() is view.windows.previous() is view.windows.next_with_news() is talk


def test_a_cleared_room_gets_its_messages_again(view: View):
    room = view.windows.rooms["#b"]
    view.take(said("one", 1, "#b"))
    view.fill(room, [], 50)
    room.clear()
    assert log_of(view) == []
    assert room.has_older
    view.take_older(room, [said("one", 1, "#b")], 50)
    assert log_of(view)[1:] == [f"{HOUR} jack: one"]


def test_a_long_name_is_cut_to_its_columns():
    view = new_view()
    view.open_talk("\u4f60" * 30)
    [prompt] = texts([ui_state(view, []).prompt])
    assert prompt == "\u4f60" * 9 + "\u2026> "


def test_windows_without_news_are_left_out_if_not_all_fit():
    view = new_view()
    for number in range(9):
        view.take(Welcomed(f"#r{number}", f"#r{number}"))
    view.take(said("x", 1, "#r3"))
    assert "1:#r0 \xb7 2:#r1" in status(view)
    assert status(view, 40).startswith("\u2500 john \xb7 4:#r3 1 \xb7 9:#r8 \u2500")
    for columns in (0, 1, 12, 40):
        assert get_cwidth(status(view, columns)) == columns


def test_a_connection_that_breaks_and_comes_back(view: View):
    view.take(said("one", 7, "#b"))
    view.current.log.clear()
    view.take(Disconnected("it broke"))
    assert log_of(view) == [f"{HOUR} \xb7 it broke; connecting again"]
    assert status(view).startswith("\u2500 no connection \xb7 john")
    view.take(Resumed("anonymous", ("#b",), anew=True))
    # A server that keeps rooms in memory counts from 1 again.
    view.take(said("anew", 1, "#b"))
    assert log_of(view)[1:] == [
        f"{HOUR} \xb7 connected again, as anonymous",
        f"{HOUR} \xb7 you have left #A",
        f"{HOUR} jack: anew",
    ]
    view.forget_positions()
    assert not view.windows.rooms["#b"].has_older


NASTY = "\x1b[31m\x9b\x07\u202e\u2028\r\n\t<b>[link=x]"


def test_nothing_that_a_terminal_obeys_gets_into_a_line(view: View):
    person = Member("9", f"x{NASTY}")
    events = [
        Welcomed("#c", NASTY, NASTY, 0, [ME]),
        said(NASTY, 1, "#c", who=person),
        TopicSet("#c", NASTY, "9", NASTY, NASTY, 2, NOW),
        Ruled("#c", NASTY, "9", NASTY, NASTY, {}, 0, 3, NOW),
        Joined("#c", "9", NASTY),
        Told("1", "9", NASTY, NASTY),
        Refusal(NASTY, NASTY),
        Notice(NASTY),
        Disconnected(NASTY),
        Resumed(NASTY, ("#c",), anew=False),
        Departed("#c", NASTY),
    ]
    shown = []
    for event in events:
        view.take(event)
        view.flush_presence()
        view.answered(RoomsListed([NASTY]), "")
        view.known_rooms = [NASTY]
        state = ui_state(view, [])
        shown += [state.prompt, title_row(state, 900), status_row(state, 900, 0)]
        shown += [line.line for window in view.windows for line in window.log.view().lines]
        assert all(word.isprintable() for word in [*state.words.rooms, *state.words.nicks])
    for line in shown:
        assert all(text.isprintable() for _, text in line), line
    assert any("<b>[link=x]" in text for text in texts(shown))  # it means nothing here


TEXT = st.text(
    alphabet=st.sampled_from("a1: \u4f60\u00e9\u0301\u00a0\u200b\u3164\ufe0f\u2764\U0001f600"),
    max_size=80,
)


@given(TEXT, st.integers(12, 40))
def test_no_row_of_a_message_looks_like_a_line_of_its_own(text: str, columns: int):
    line = lines.entry(said(text, 1))
    rows = texts(lines.wrapped(line, columns))
    whole = "".join(rows)
    for row in rows[1:]:
        assert row.startswith(" " * lines.INDENT)
    assert all(max(get_cwidth(row), width(row)) <= columns for row in rows)
    # Nothing is lost but spaces at the end of a row.
    assert whole.replace(" ", "") == texts([line])[0].replace(" ", "")


@given(TEXT, st.integers(0, 40))
def test_cut_text_fits(text: str, columns: int):
    [(_, first), (_, second)] = lines.cut([("", text), ("", text)], columns)
    assert get_cwidth(first + second) <= columns
    assert text.startswith(first)


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


def test_people_who_spoke_last_come_first(view: View):
    for number, nick in enumerate(["zoe", "ann", "bob"]):
        view.take(Joined("#b", nick, nick))
        if nick != "bob":
            view.take(said("x", number + 1, "#b", who=Member(nick, nick)))
    assert tuple(ui_state(view, []).words.nicks) == ("ann", "zoe", "bob", "jack")


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


MODERATOR = Words(
    {f"/{name}": f"/{name}" for name in ("room", "role", "mute", "ban", "held", "raid")},
    (),
    ("jack",),
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/mute ja", ["jack"]),
        ("/mute jack 1", ["10m", "1h", "1d"]),
        ("/ban jack f", ["forever"]),
        ("/role jack op", ["operator"]),
        ("/room to", ["topic"]),
        ("/room topic ", ["all", "operators"]),
        ("/held p", ["pass"]),
        ("/raid o", ["off"]),
        ("/raid 1", ["10m", "1h", "1d"]),
        ("/mute jack 10m x", []),
    ],
)
def test_how_a_moderators_line_may_go_on(text: str, found: list[str]):
    assert [word for word, _ in completions(text, MODERATOR)] == found


def test_people_who_may_not_moderate_are_not_offered_it():
    assert completions("/room to", WORDS) == []


def test_somebody_reads_about_a_role_and_a_mute(view: View):
    until = NOW + 3600
    view.take(Standing("#b", "#B", "none"))
    assert log_of(view) == []
    view.take(Standing("#b", "#B", "voice", muted=True, until=until, reason="flooding"))
    muted = f"muted until {time.strftime('%H:%M', time.localtime(until))}"
    assert log_of(view) == [
        f"{HOUR} \xb7 your role in #B: voice",
        f"{HOUR} ! you are {muted}: flooding",
    ]
    assert title(view) == f"\u2500\u2500 #B \xb7 2 people \xb7 voice \xb7 {muted}"
    view.take(Standing("#b", "#B", "voice"))
    assert log_of(view)[2:] == [f"{HOUR} \xb7 you are not muted any more"]
    assert title(view) == "\u2500\u2500 #B \xb7 2 people \xb7 voice"
    view.take(Standing("#b", "#B", "none", muted=True))
    assert title(view) == "\u2500\u2500 #B \xb7 2 people \xb7 muted for ever"


def test_a_mute_that_is_over_is_not_in_the_title(view: View):
    view.take(Standing("#b", "#B", "none", muted=True, until=NOW - 1))
    assert title(view) == "\u2500\u2500 #B \xb7 2 people"


def test_somebody_who_is_sent_out_reads_why(view: View):
    view.take(Departed("#b", "#B", "ann kicked john: enough"))
    assert log_of(view) == [f"{HOUR} ! you are no longer in #B: ann kicked john: enough"]
