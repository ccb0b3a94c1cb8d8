"""Names of rooms and people in IRC, and the codes within texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.dialects.irc import names
from trio_chat.dialects.irc.formatting import Ctcp, plain, read_ctcp, write_action
from trio_chat.errors import Code, Refused
from trio_chat.protocol.names import ANONYMOUS, parse_nick, parse_room


@pytest.mark.parametrize(
    ("room", "channel"),
    [("general", "&general"), ("#general", "#general"), ("&a", "&&a"), ("##a", "##a"), ("é", "&é")],
)
def test_a_room_has_one_name_in_irc(room: str, channel: str) -> None:
    assert names.channel(room) == channel
    assert names.room(channel) == room
    assert names.is_channel(channel)


@pytest.mark.parametrize("channel", ["general", "&", "&#general", "", "+a", "!a", "0", "*"])
def test_other_names_are_no_rooms(channel: str) -> None:
    with pytest.raises(Refused) as info:
        names.room(channel)
    assert info.value.code == Code.BAD_ROOM_NAME


def _is_room(text: str) -> bool:
    try:
        parse_room(text, 64)
    except Refused:
        return False
    return True


@given(one=st.text(max_size=5).filter(_is_room), other=st.text(max_size=5).filter(_is_room))
def test_rooms_and_their_names_in_irc_are_one_to_one(one: str, other: str) -> None:
    assert names.room(names.channel(one)) == one
    assert (names.channel(one) == names.channel(other)) == (one == other)
    # A name that can be a room's is the beginning of no other parameter.
    assert names.channel(one)[0] in "#&"
    assert not set(" ,\r\n\0\x07") & set(names.channel(one))


@given(channel=st.sampled_from("#&x").flatmap(lambda sign: st.text(max_size=4).map(sign.__add__)))
def test_the_name_of_a_room_survives_the_way_there_and_back(channel: str) -> None:
    try:
        room = names.room(channel)
    except Refused:
        return
    assert names.channel(room) == channel


def test_people_without_a_nick_have_one_in_irc_that_nobody_can_take() -> None:
    nick = names.nick_of("AbCdEfGhIjKlMnOp", ANONYMOUS)
    assert nick == "anonymous-AbCdEfGh"
    with pytest.raises(Refused) as info:
        parse_nick(nick, 64)
    assert info.value.code == Code.NICK_RESERVED
    assert names.nick_of("AbCdEfGhIjKlMnOp", "john") == "john"


def test_the_source_of_a_message_has_no_address() -> None:
    assert names.source_of("x1", "john", "jd", "chat.example") == "john!~jd@x1.chat.example"
    assert names.source_of("x1", ANONYMOUS, "", "chat") == "anonymous-x1!~u@x1.chat"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x02bold\x02 \x1ditalic\x0f", "bold italic"),
        ("\x0304,12red\x03 and 7", "red and 7"),
        ("\x03123", "3"),
        ("\x034,x", ",x"),
        ("\x04ff0000,00ff00red\x04", "red"),
        ("\x04ff00", "ff00"),
        ("\x11m\x16r\x1es\x1fu", "mrsu"),
        ("tea ☕", "tea ☕"),
        ("\x1b[31m", "\x1b[31m"),  # not theirs: it is refused later
    ],
)
def test_formatting_is_taken_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_ctcp() -> None:
    assert read_ctcp("\x01ACTION waves\x01") == Ctcp("ACTION", "waves")
    assert read_ctcp("\x01action waves") == Ctcp("ACTION", "waves")
    assert read_ctcp("\x01VERSION\x01") == Ctcp("VERSION", "")
    assert read_ctcp("ACTION waves") is None
    assert read_ctcp(write_action("waves  twice")) == Ctcp("ACTION", "waves  twice")
