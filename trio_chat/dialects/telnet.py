"""Takes telnet commands out of a byte stream, and refuses the options that they propose.

RFC 854 has the protocol, and RFC 855 its options. By RFC 1143 only a request for a change gets an
answer. An acknowledgement gets none: else two sides could answer each other for ever.

Every option stays off but ECHO (`trio_chat.dialects.echo`). DO is answered WONT, and WILL is
answered DONT. WONT and DONT need no answer. DO TIMING-MARK (RFC 860) is refused too: clients send
it after an interrupt, and wait.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

from trio_chat.dialects.echo import ECHO, Echo

IAC = 0xFF
DONT, DO, WONT, WILL = 0xFE, 0xFD, 0xFC, 0xFB
SB = 0xFA
INTERRUPT_PROCESS = 0xF4
ARE_YOU_THERE, ERASE_CHARACTER, ERASE_LINE = 0xF6, 0xF7, 0xF8

# It has no effect, and keeps a connection alive.
NO_OPERATION: Final = b"\xff\xf1"

_REFUSALS: Final = {DO: WONT, WILL: DONT}
_PRESENT: Final = b"\r\n> yes, the server is here\r\n"
# These commands stand for text. The keys for the others send such control characters.
_TEXTS: Final = {
    IAC: b"\xff",
    INTERRUPT_PROCESS: b"\x03",
    ERASE_CHARACTER: b"\b",
    ERASE_LINE: b"\x15",
}
_WITH_OPTION: Final = frozenset({DO, DONT, WILL, WONT})
_LONGEST: Final = 3  # the bytes of a command with an option; a subnegotiation is longer

# A subnegotiation ends after this many bytes, or at the end of the line. As no option is agreed on,
# no client needs one. But without a limit, one without an end would mute its client for ever.
_SUBNEGOTIATION_BYTES: Final = 1_024
_SUBNEGOTIATION: Final = re.compile(
    rb"\xff\xfa"
    rb"(?:\x1f(?:[^\xff]|\xff\xff){0,4}+)?+"  # a window may have 10 columns (RFC 1073)
    rb"(?:[^\xff\n]|\xff[^\xf0\n])*+"
    rb"(?:\xff\xf0|\xff?(?=\n))"
)


@define
class TelnetFilter:
    """The state of one connection: the beginning of a telnet command that is not complete.

    `echo` has the state of the only option that may be on.
    """

    command: bytes = b""
    echo: Echo = field(factory=Echo)

    @property
    def inside(self) -> bool:
        """Whether the input so far ends within a telnet command."""
        return bool(self.command)

    def take(self, data: bytes, at: int) -> tuple[bytes, bytes, int]:
        """Take the text up to the next command, or one command, from `at` on.

        Returns the text, the answer to the command, and the place where it ends. The beginning of
        an incomplete command is taken to the end of the data.
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
        return _TEXTS.get(command[1], b""), self._answer(command), at + size - had

    def _answer(self, command: bytes) -> bytes:
        if command[1] == ARE_YOU_THERE:
            return _PRESENT
        if command[1] in (DO, DONT) and command[2] == ECHO:
            return self.echo.hear(command[1])
        refusal = _REFUSALS.get(command[1])
        return bytes((IAC, refusal, command[2])) if refusal else b""

    def _subnegotiation(self, data: bytes, at: int) -> int:
        """Skip a subnegotiation, or its beginning; returns the place where it ends."""
        had = len(self.command)
        command = self.command + data[at : at + _SUBNEGOTIATION_BYTES - had]
        whole = _SUBNEGOTIATION.match(command)
        if whole is not None:
            command = whole[0]
        done = whole is not None or len(command) == _SUBNEGOTIATION_BYTES
        self.command = b"" if done else command
        return at + len(command) - had
