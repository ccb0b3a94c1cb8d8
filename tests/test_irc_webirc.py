"""WEBIRC by its specification (IRCv3, WEBIRC): a gateway names its client."""

from __future__ import annotations

import pytest
from opening import records, split

from trio_chat.dialects.irc.encoding import IRC
from trio_chat.hub.inbox import CameFrom
from trio_chat.protocol.commands import Answer, Began, Disconnected, LabelledCommand
from trio_chat.protocol.presence import AwaitIntroduction
from trio_chat.transports.webirc import MOST_BYTES

LINE = b"WEBIRC secret gateway host.example 198.51.100.3\r\n"
HELLO = b"NICK ann\r\nUSER a 0 * :Ann\r\nPING x\r\n"


@pytest.mark.parametrize("pieces", split(LINE + HELLO))
def test_a_gateway_names_its_client_wherever_it_is_split(pieces: list[bytes]) -> None:
    came, begin, *others = records(pieces, trusted=True)
    assert came == CameFrom("198.51.100.3", "198.51.100.3")
    assert begin == AwaitIntroduction(IRC)
    assert all(isinstance(record, LabelledCommand) for record in others)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (b"2001:db8::1", "2001:db8::1"),
        # "The IP address begins with a 0" if it would begin with a colon.
        (b"0::1", "::1"),
        (b"::ffff:198.51.100.3 :secure", "198.51.100.3"),
        (b"198.51.100.3 :secure local-port=6697", "198.51.100.3"),
    ],
)
def test_addresses_and_options(written: bytes, address: str) -> None:
    came, *_ = records([b"WEBIRC p g h " + written + b"\r\n" + HELLO], trusted=True)
    assert came == CameFrom(address, address)


@pytest.mark.parametrize(
    "line",
    [
        b"WEBIRC secret gateway host.example\r\n",
        b"WEBIRC secret gateway host.example no.address\r\n",
        b"WEBIRC secret gateway host.example 198.51.100.300\r\n",
        b"WEBIRC " + b"x" * MOST_BYTES,
    ],
)
def test_wrong_lines_are_the_end(line: bytes) -> None:
    answer, end = records([line], trusted=True)
    assert isinstance(answer, Answer)
    assert answer.data.startswith(b"ERROR :Closing Link: WEBIRC: its line")
    assert isinstance(end, Disconnected)


@pytest.mark.parametrize("pieces", split(LINE + HELLO))
def test_others_may_not_fake_an_address(pieces: list[bytes]) -> None:
    answer, end = records(pieces, trusted=False)
    assert answer == Answer(b"ERROR :Closing Link: WEBIRC: only a trusted proxy may send it\r\n")
    assert isinstance(end, Disconnected)


def test_a_client_behind_a_gateway_cannot_name_another() -> None:
    came, _, *others = records([LINE + LINE + HELLO], trusted=True)
    assert isinstance(came, CameFrom)
    assert not any(isinstance(record, (CameFrom, Began)) for record in others)
