"""Takes telnet's own commands out of a byte stream and refuses what they propose.

RFC 854 (the protocol), RFC 855 (options), RFC 1143 (answer a request for a change, never an
acknowledgement, so that no two sides can answer each other for ever). Every option stays off: DO is
answered WONT, WILL is answered DONT, and WONT and DONT say what is so already. That includes DO
TIMING-MARK (RFC 860), which clients send after an interrupt and wait for.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define

IAC = 0xFF
DONT, DO, WONT, WILL = 0xFE, 0xFD, 0xFC, 0xFB
SB = 0xFA
ARE_YOU_THERE, ERASE_CHARACTER, ERASE_LINE = 0xF6, 0xF7, 0xF8

# It means nothing, and is sent to keep a connection alive.
NO_OPERATION: Final = b"\xff\xf1"

_REFUSALS: Final = {DO: WONT, WILL: DONT}
_PRESENT: Final = b"\r\n> yes, the server is here\r\n"
# Those that stand for text. The keys for the other two send such control characters.
_TEXTS: Final = {IAC: b"\xff", ERASE_CHARACTER: b"\b", ERASE_LINE: b"\x15"}
_WITH_OPTION: Final = frozenset({DO, DONT, WILL, WONT})
_LONGEST: Final = 3  # of those with an option; subnegotiations aside

# A subnegotiation ends at so many bytes, or with the line. None was agreed on, so nobody has to
# send one; but one without an end would mute its client for good.
_SUBNEGOTIATION_BYTES: Final = 1_024
_SUBNEGOTIATION: Final = re.compile(
    rb"\xff\xfa"
    rb"(?:\x1f(?:[^\xff]|\xff\xff){0,4}+)?+"  # the size of a window may be 10 (RFC 1073)
    rb"(?:[^\xff\n]|\xff[^\xf0\n])*+"
    rb"(?:\xff\xf0|\xff?(?=\n))"
)


@define
class TelnetFilter:
    """The state of one connection: what has come of a telnet command that is not whole yet."""

    command: bytes = b""

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end within a telnet command."""
        return bool(self.command)

    def take(self, data: bytes, at: int) -> tuple[bytes, bytes, int]:
        """Take what begins at a place: text up to the next command, or one command.

        Gives the text, what the command is answered, and where it ends. Of a command that is not
        whole, all is taken.
        """
        had = len(self.command)
        if not had and data[at] != IAC:
            end = data.find(IAC, at)
            end = len(data) if end < 0 else end
            return data[at:end], b"", end
        command = self.command + data[at : at + _LONGEST - had]
        if len(command) > 1 and command[1] == SB:
            return b"", b"", self._subnegotiation(data, at)
        size = _LONGEST if len(command) > 1 and command[1] in _WITH_OPTION else _LONGEST - 1
        if len(command) < size:
            self.command = command
            return b"", b"", len(data)
        self.command = b""
        return _TEXTS.get(command[1], b""), _answer(command), at + size - had

    def _subnegotiation(self, data: bytes, at: int) -> int:
        """Skip one, or what has come of it; gives where that ends."""
        had = len(self.command)
        command = self.command + data[at : at + _SUBNEGOTIATION_BYTES - had]
        whole = _SUBNEGOTIATION.match(command)
        if whole is not None:
            command = whole[0]
        done = whole is not None or len(command) == _SUBNEGOTIATION_BYTES
        self.command = b"" if done else command
        return at + len(command) - had


def _answer(command: bytes) -> bytes:
    if command[1] == ARE_YOU_THERE:
        return _PRESENT
    refusal = _REFUSALS.get(command[1])
    return bytes((IAC, refusal, command[2])) if refusal else b""
