"""Takes telnet's own commands out of a byte stream and refuses what they propose.

RFC 854 (the protocol), RFC 855 (options), RFC 1143 (answer a request for a change, never an
acknowledgement, so that no two sides can answer each other for ever). Every option stays off: DO is
answered WONT, WILL is answered DONT, and WONT and DONT say what is so already. That includes DO
TIMING-MARK (RFC 860), which clients send after an interrupt and wait for.
"""

from __future__ import annotations

from attrs import define

IAC = 0xFF
DONT, DO, WONT, WILL = 0xFE, 0xFD, 0xFC, 0xFB
SB, SE = 0xFA, 0xF0
ARE_YOU_THERE = 0xF6

_IN_SUBNEGOTIATION = bytes((IAC, SB))
_AFTER_IAC = bytes((IAC, SB, IAC))
_REFUSALS = {DO: WONT, WILL: DONT}
_PRESENT = b"\r\n> yes, the server is here\r\n"


@define
class TelnetFilter:
    """The state of one connection: whether the next byte belongs to a telnet command."""

    # The bytes of the command begun so far; of a subnegotiation no more than its marker is kept.
    command: bytes = b""

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end within a telnet command."""
        return bool(self.command)

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Split bytes into pairs.

        Text without telnet commands, and what to answer after that text (perhaps nothing).
        """
        pairs: list[tuple[bytes, bytes]] = []
        text = bytearray()
        position = 0
        while position < len(data):
            if not self.command:
                start = data.find(IAC, position)
                if start < 0:
                    text += data[position:]
                    break
                text += data[position:start]
                self.command = b"\xff"
                position = start + 1
                continue
            answer = self._step(data[position], text)
            position += 1
            if answer:
                pairs.append((bytes(text), answer))
                text.clear()
        if text:
            pairs.append((bytes(text), b""))
        return pairs

    def _step(self, byte: int, text: bytearray) -> bytes:
        """Take one byte of a command; give what is to be answered once it is complete."""
        command = self.command
        if len(command) == 1:
            return self._verb(byte, text)
        if command[1] == SB:
            self._subnegotiation(byte)
            return b""
        self.command = b""
        refusal = _REFUSALS.get(command[1])
        return bytes((IAC, refusal, byte)) if refusal else b""

    def _verb(self, byte: int, text: bytearray) -> bytes:
        if byte in (DO, DONT, WILL, WONT, SB):
            self.command += bytes((byte,))
            return b""
        self.command = b""
        if byte == IAC:
            text.append(IAC)
        return _PRESENT if byte == ARE_YOU_THERE else b""

    def _subnegotiation(self, byte: int) -> None:
        """Skip to IAC SE; nothing in between was agreed on."""
        if self.command == _AFTER_IAC:
            self.command = b"" if byte == SE else _IN_SUBNEGOTIATION
        elif byte == IAC:
            self.command = _AFTER_IAC
