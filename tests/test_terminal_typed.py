"""The meaning of typed lines in the terminal client."""

from __future__ import annotations

import pytest

from trio_chat.protocol.chat_rows import ROWS
from trio_chat.protocol.events import Usage
from trio_chat.terminal.typed import (
    Clear,
    CloseTalk,
    Impossible,
    LeaveChat,
    OpenTalk,
    SayPrivately,
    Send,
    ShowHelp,
    Switch,
    read_on_screen,
    read_typed,
    usages,
)

COMMANDS = {row.name for row in ROWS}


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
        ("/Join #A", Switch("#a")),
        ("/join #A  green", Switch("#a")),
        ("/join #A green blue", Send("/join #A green blue")),
        ("/join", Send("/join")),
        ("/help", ShowHelp(None)),
        ("/help /join", ShowHelp("join")),
        ("/Help /join", ShowHelp("join")),
        ("/help me with this", Send("/help me with this")),
        ("/quit", LeaveChat()),
        ("/QUIT", LeaveChat()),
        ("/Msg Hi", Send("/Msg Hi")),
        ("/list", Send("/rooms")),
        ("/LIST", Send("/rooms")),
        ("/part", Send("/leave")),
        ("/part #a", Send("/leave #a")),
        ("/nicks", Send("/who")),
        ("/lists", Send("/lists")),
        ("/query jack", OpenTalk("jack", "")),
        ("/Query Jack  hi  there ", OpenTalk("Jack", "hi  there")),
        ("/query", Impossible("usage: /query NICK [TEXT]")),
        ("/clear", Clear()),
    ],
)
def test_a_line_in_a_room(text: str, meaning):
    assert read_on_screen(text, COMMANDS, {"#a"}, in_talk=False) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("hi there ", SayPrivately("hi there")),
        ("/msg hi", SayPrivately("hi")),
        ("/msg", Impossible("usage: /msg TEXT")),
        ("/leave", CloseTalk()),
        ("/part", CloseTalk()),
        ("/clear", Clear()),
        ("/nick jim", Send("/nick jim")),
        ("/list", Send("/rooms")),
        ("/tell ann hi", Send("/tell ann hi")),
        ("/join #A", Switch("#a")),
        ("/unknown", Impossible("/unknown works in a room, not in a private talk")),
        ("/me\twaves", Impossible("/me works in a room, not in a private talk")),
        ("/TOPIC\xa0x", Impossible("/TOPIC works in a room, not in a private talk")),
        ("/msg\thi", SayPrivately("hi")),
        ("  indented", SayPrivately("  indented")),
        ("/me waves", Impossible("/me works in a room, not in a private talk")),
        ("/topic x", Impossible("/topic works in a room, not in a private talk")),
        ("/nicks", Impossible("/nicks works in a room, not in a private talk")),
        ("/roll 2", Impossible("/roll works in a room, not in a private talk")),
    ],
)
def test_no_line_in_a_private_talk_acts_on_a_room(text: str, meaning):
    assert read_on_screen(text, {*COMMANDS, "roll"}, {"#a"}, in_talk=True) == meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("/list", Send("/rooms")), ("/query jack", Send("/query jack")), ("/quit", LeaveChat())],
)
def test_a_line_in_a_pipe(text: str, meaning):
    assert read_typed(text, COMMANDS) == meaning


def test_a_command_of_the_server_comes_before_an_alias():
    for name in ("list", "query", "clear"):
        typed = f"/{name} x"
        assert read_on_screen(typed, {*COMMANDS, name}, (), in_talk=False) == Send(typed)
        assert usages([Usage(name, f"/{name} X", "y")])[0].help == "y"


def test_help_says_what_is_different_here():
    rows = {row.name: row for row in usages([Usage("leave", "/leave", "x"), Usage("x", "/x", "y")])}
    assert rows["leave"].help == "leave the room on screen, or close the private talk"
    assert rows["x"] == Usage("x", "/x", "y")
    assert rows["part"].help == "the same as /leave"
