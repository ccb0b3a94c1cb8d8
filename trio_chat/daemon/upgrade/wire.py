"""Carries messages, and open files with them, between a daemon and its successor.

A message is a header, which has the kind and the sizes, and then the content in pieces. The pieces
are there because the kernel limits the bytes and the descriptors of a packet. Packets keep their
borders (`SOCK_SEQPACKET`), so that no message has to be searched for in a stream.
"""

from __future__ import annotations

import array
import json
import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, frozen

from trio_chat.errors import HandoverError, PeerEnded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A third of the buffer that a socket has on Linux (net.core.wmem_default), so that there is always
# room for such a packet.
PIECE_BYTES: Final = 1 << 16
# Linux takes 253 with a packet (SCM_MAX_FD).
PIECE_DESCRIPTORS: Final = 250
# The most in a whole message: a thousand times as much as a thousand clients need.
MOST_BYTES: Final = 1 << 30
MOST_DESCRIPTORS: Final = 1 << 20

ANCILLARY_BYTES: Final = socket.CMSG_SPACE(PIECE_DESCRIPTORS * array.array("i").itemsize)
CUT: Final = socket.MSG_TRUNC | socket.MSG_CTRUNC
# The version of the messages that go ahead of the state; each header has it. If the two processes
# differ in it, nothing goes ahead, and the state has everything.
AHEAD: Final = 9
# The first byte of each piece, because an empty packet looks like the end.
MARK: Final = b"."


@frozen
class Message:
    """A received message. The receiver closes its descriptors, which are close-on-exec.

    `ahead`: whether its sender knows what goes ahead of the state (see `protocol`).
    """

    kind: str
    content: bytes
    descriptors: list[int]
    ahead: bool = True


@define
class Wire:
    """One end of a pair of sockets. The caller sets time limits."""

    _socket: socket.socket

    def __attrs_post_init__(self) -> None:
        self._socket.settimeout(0)

    def close(self) -> None:
        """Close this end; the other one then reads the end."""
        self._socket.close()

    def say(self, kind: str) -> None:
        """Send a message without content, at once or not at all.

        Raises `HandoverError` if it cannot be sent, `PeerEnded` if the other process has ended.
        """
        try:
            self._send(_header(kind, b"", ()), ())
        except BlockingIOError:
            raise HandoverError("the other process does not read what it is sent") from None

    async def send(self, kind: str, content: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """Send a message. The descriptors stay open here too. Raises `HandoverError`."""
        if len(content) > MOST_BYTES or len(descriptors) > MOST_DESCRIPTORS:
            raise HandoverError(f"{len(content)} bytes are more than can be handed over")
        await self._packet(_header(kind, content, descriptors), ())
        for piece, some in _pieces(content, descriptors):
            await self._packet(MARK + piece, some)

    async def _packet(self, data: bytes, descriptors: Sequence[int]) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                return self._send(data, descriptors)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)

    def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        try:
            socket.send_fds(self._socket, [data], list(descriptors), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            raise
        except (BrokenPipeError, ConnectionResetError):
            raise PeerEnded("the other process has ended") from None
        except OSError as error:
            raise HandoverError(f"cannot hand over: {error.strerror}") from None

    async def receive(self, *kinds: str) -> Message:
        """Wait for a message of one of these kinds.

        Raises `PeerEnded` at the end, `HandoverError` if another message comes or it is not whole.
        """
        with ExitStack() as closing:
            header, strays = await self._receive(closing)
            kind, size, count, ahead = _read_header(kinds, header)
            if strays:
                raise HandoverError("descriptors came with a header")
            content, descriptors = bytearray(), list[int]()
            while len(content) < size or len(descriptors) < count:
                piece, some = await self._receive(closing)
                if not piece.startswith(MARK) or not (len(piece) > len(MARK) or some):
                    raise HandoverError(f"the message {kind!r} has ended early")
                content += memoryview(piece)[len(MARK) :]
                descriptors += some
            if (len(content), len(descriptors)) != (size, count):
                raise HandoverError(f"the message {kind!r} is longer than it says")
            closing.pop_all()
        return Message(kind, bytes(content), descriptors, ahead)

    async def _receive(self, closing: ExitStack) -> tuple[bytes, list[int]]:
        """Receive one packet; `closing` closes its descriptors."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            try:
                data, ancillary, flags, _ = self._socket.recvmsg(
                    len(MARK) + PIECE_BYTES, ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                continue
            except ConnectionResetError:
                raise PeerEnded("the other process has ended") from None
        descriptors = array.array("i")
        for _, _, some in ancillary:
            descriptors.frombytes(some[: len(some) - len(some) % descriptors.itemsize])
        for descriptor in descriptors:
            closing.callback(os.close, descriptor)
        if flags & CUT:
            raise HandoverError(
                "not all that was sent has come: the limit on open files is too low"
            )
        if not data:
            raise PeerEnded("the other process has ended")
        return data, descriptors.tolist()


def pair() -> tuple[Wire, socket.socket]:
    """Make a wire, and the other end of it for another process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Wire(ours), theirs


def _header(kind: str, content: bytes, descriptors: Sequence[int]) -> bytes:
    said = {
        "message": kind,
        "bytes": len(content),
        "descriptors": len(descriptors),
        "ahead": AHEAD,
    }
    return json.dumps(said).encode()


def _read_header(kinds: Sequence[str], header: bytes) -> tuple[str, int, int, bool]:
    """Read the kind, the number of bytes and descriptors, and whether the sender knows `ahead`."""
    due = " or ".join(map(repr, kinds))
    try:
        said = json.loads(header)
    except ValueError:
        said = None
    match said:
        case {"message": str(found), "bytes": int(size), "descriptors": int(count)}:
            if found not in kinds:
                raise HandoverError(f"the other process says {found!r} where {due} is due")
            if 0 <= size <= MOST_BYTES and 0 <= count <= MOST_DESCRIPTORS:
                return found, size, count, said.get("ahead") == AHEAD
    raise HandoverError(f"the other process does not say {due} in a way that is known here")


def _pieces(content: bytes, descriptors: Sequence[int]) -> Iterator[tuple[bytes, Sequence[int]]]:
    number = 0
    while number * PIECE_BYTES < len(content) or number * PIECE_DESCRIPTORS < len(descriptors):
        yield (
            content[number * PIECE_BYTES : (number + 1) * PIECE_BYTES],
            descriptors[number * PIECE_DESCRIPTORS : (number + 1) * PIECE_DESCRIPTORS],
        )
        number += 1
