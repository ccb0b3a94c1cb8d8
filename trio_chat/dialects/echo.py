"""Telnet's option ECHO (RFC 857), on the server's side, by the states of RFC 1143.

A client shows what is typed, until the server offers to do that. The server then shows nothing. So
a password stays off the screen.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import define

ECHO: Final = 0x01
_DONT, _DO, _WONT, _WILL = 0xFE, 0xFD, 0xFC, 0xFB
# busybox telnet agrees once for each connection, and refuses after that.
_SHOWS: Final = b"\r\n> this client shows what you type; an empty line cancels\r\n"
_OFFER: Final = bytes((0xFF, _WILL, ECHO))
_END: Final = bytes((0xFF, _WONT, ECHO))

# A state that "wants" something waits for the client's answer. With "then" the opposite is wanted
# since, and is said once that answer is there.
EchoState: TypeAlias = Literal[
    "no", "yes", "wants_no", "wants_no_then_yes", "wants_yes", "wants_yes_then_no"
]
_Moves: TypeAlias = dict[EchoState, tuple[EchoState, bytes]]

# The next state, and what is sent. All else changes nothing.
_BEGINS: Final[_Moves] = {
    "no": ("wants_yes", _OFFER),
    "wants_no": ("wants_no_then_yes", b""),
    "wants_yes_then_no": ("wants_yes", b""),
}
_ENDS: Final[_Moves] = {
    "yes": ("wants_no", _END),
    "wants_yes": ("wants_yes_then_no", b""),
    "wants_no_then_yes": ("wants_no", b""),
}
_HEARS: Final[dict[int, _Moves]] = {
    _DO: {
        "no": ("no", _END),  # nobody has offered anything
        "wants_no": ("no", b""),
        "wants_no_then_yes": ("yes", b""),
        "wants_yes": ("yes", b""),
        "wants_yes_then_no": ("wants_no", _END),
    },
    _DONT: {
        "yes": ("no", _END),
        "wants_no": ("no", b""),
        "wants_no_then_yes": ("wants_yes", _OFFER),
        "wants_yes": ("no", _SHOWS),
        "wants_yes_then_no": ("no", b""),
    },
}


@define
class Echo:
    """The state of the option for one client. Each method returns what is to be sent."""

    state: EchoState = "no"

    @property
    def hides(self) -> bool:
        """Whether the client has said that it does not show what is typed."""
        return self.state == "yes"

    def begin(self) -> bytes:
        """Want the client to show nothing."""
        return self._move(_BEGINS)

    def end(self) -> bytes:
        """Want the client to show what is typed again."""
        return self._move(_ENDS)

    def hear(self, verb: int) -> bytes:
        """Take the client's DO or DONT."""
        return self._move(_HEARS.get(verb, {}))

    def _move(self, moves: _Moves) -> bytes:
        self.state, said = moves.get(self.state, (self.state, b""))
        return said
