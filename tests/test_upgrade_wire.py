"""Messages and descriptors over a pair of sockets: whole, in order, or not at all."""

from __future__ import annotations

import array
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from loopback import descriptors

from trio_chat.daemon.upgrade import protocol
from trio_chat.daemon.upgrade import wire as handover_wire
from trio_chat.daemon.upgrade.protocol import PROTOCOL, DaemonHandover, Fixed
from trio_chat.daemon.upgrade.wire import PIECE_BYTES, PIECE_DESCRIPTORS, Message, Wire, pair
from trio_chat.errors import HandoverError, PeerEnded

PATIENCE = 20  # seconds until a test gives up

FIXED = Fixed("127.0.0.1", 8888, "", "memory", "")
HANDOVER = DaemonHandover(
    process=1,
    instance="8888",
    listens_on_given=False,
    still_since=2.0,
    has_stderr=True,
    control=None,
    has_lock=False,
    listeners=1,
)


@contextmanager
def wires() -> Iterator[tuple[Wire, Wire]]:
    ours, theirs = pair()
    with theirs:
        try:
            yield ours, Wire(theirs)
        finally:
            ours.close()


@contextmanager
def raw() -> Iterator[tuple[Wire, socket.socket]]:
    """A wire whose other end is played by the test."""
    ours, theirs = pair()
    with theirs:
        yield ours, theirs
        ours.close()


@contextmanager
def files(count: int) -> Iterator[list[int]]:
    """So many descriptors, each of a file of its own."""
    opened = [os.memfd_create(str(number)) for number in range(count)]
    for number, descriptor in enumerate(opened):
        os.write(descriptor, b"%d" % number)
    try:
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)


async def across(content: bytes, sent: list[int]) -> Message:
    """Give a message as it arrives at the other end."""
    got: list[Message] = []
    with wires() as (one, other):

        async def receive() -> None:
            got.append(await other.receive("state"))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                await one.send("state", content, sent)
    return got[0]


# --- what goes over -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 40 * PIECE_BYTES + 7]
)
async def test_content_comes_whole(size: int) -> None:
    content = os.urandom(size)
    assert await across(content, []) == Message("state", content, [])


@pytest.mark.parametrize("size", [0, 3 * PIECE_BYTES])
@pytest.mark.parametrize(
    "count", [1, PIECE_DESCRIPTORS, PIECE_DESCRIPTORS + 1, 3 * PIECE_DESCRIPTORS]
)
async def test_descriptors_come_all_and_in_order(count: int, size: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = descriptors()
    with files(count) as sent:
        message = await across(bytes(size), sent)
        assert len(message.content) == size
        for number, descriptor in enumerate(message.descriptors):
            assert os.pread(descriptor, 9, 0) == b"%d" % number
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        assert len(message.descriptors) == count
    assert descriptors() == before
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_messages_come_one_by_one() -> None:
    with wires() as (one, other), trio.fail_after(PATIENCE):
        await one.send("ready", b"1")
        await one.send("state", b"2")
        one.say("go")
        assert (await other.receive("ready")).content == b"1"
        assert (await other.receive("state")).content == b"2"
        assert (await other.receive("go")).content == b""


async def test_a_message_larger_than_what_may_wait_does_not_block_the_others() -> None:
    with wires() as (one, _):
        with trio.move_on_after(0.05) as scope:
            await one.send("state", bytes(1 << 24))
        assert scope.cancelled_caught


async def test_messages_sent_at_once_pass_or_are_refused() -> None:
    def say_much(wire: Wire) -> None:
        while True:
            wire.say("go")

    with wires() as (one, _), pytest.raises(HandoverError, match="does not read what it is sent"):
        say_much(one)


async def test_too_much_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_wire, "MOST_BYTES", 10)
    with wires() as (one, other):
        with pytest.raises(HandoverError, match="11 bytes are more than can be handed over"):
            await one.send("state", bytes(11))
        one.say("go")
        await other.receive("go")


# --- what does not --------------------------------------------------------------------------------


async def test_the_end_is_told_from_all_else() -> None:
    with wires() as (one, other):
        await one.send("state", b"1")
        one.close()
        with pytest.raises(HandoverError, match="says 'state' where 'ready' is due"):
            await other.receive("ready")
    with wires() as (one, other):
        one.say("ready")
        one.close()
        await other.receive("ready")
        with pytest.raises(PeerEnded):
            await other.receive("state")
        with pytest.raises(PeerEnded):
            await other.send("loaded")
        with pytest.raises(PeerEnded):
            other.say("go")


@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_an_end_within_a_message_leaves_nothing_open(pieces: int) -> None:
    with files(2) as sent:
        before = descriptors()
        with raw() as (ours, theirs):
            theirs.send(b'{"message": "state", "bytes": 300, "descriptors": 4}')
            for _ in range(pieces):
                socket.send_fds(theirs, [b"." + bytes(100)], sent[:1])
            theirs.close()
            with pytest.raises(PeerEnded):
                await ours.receive("state")
        assert descriptors() == before


@pytest.mark.parametrize(
    ("packets", "problem"),
    [
        ([b"no header"], "does not say 'state'"),
        ([b"\xff"], "does not say 'state'"),
        ([b"7"], "does not say 'state'"),
        ([b'{"message": "state"}'], "does not say 'state'"),
        ([b'{"message": "state", "bytes": -1, "descriptors": 0}'], "does not say 'state'"),
        ([b'{"message": "state", "bytes": 1e9, "descriptors": 0}'], "does not say 'state'"),
        (
            [b'{"message": "state", "bytes": 99999999999, "descriptors": 0}'],
            "does not say 'state'",
        ),
        ([b'{"message": "go", "bytes": 0, "descriptors": 0}'], "says 'go' where 'state' is due"),
        ([b'{"message": "state", "bytes": 2, "descriptors": 0}', b"."], "has ended early"),
        ([b'{"message": "state", "bytes": 2, "descriptors": 0}', b"12"], "has ended early"),
        ([b'{"message": "state", "bytes": 2, "descriptors": 0}', b".123"], "is longer than it"),
        ([bytes(PIECE_BYTES + 9)], "not all that was sent has come"),
    ],
)
async def test_bytes_that_are_no_message_are_refused(packets: list[bytes], problem: str) -> None:
    with raw() as (ours, theirs):
        for packet in packets:
            theirs.send(packet)
        with pytest.raises(HandoverError, match=problem):
            await ours.receive("state")


async def test_descriptors_with_a_header_are_refused_and_closed() -> None:
    with files(1) as sent:
        before = descriptors()
        with raw() as (ours, theirs):
            header = b'{"message": "state", "bytes": 0, "descriptors": 0}'
            socket.send_fds(theirs, [header], sent)
            with pytest.raises(HandoverError, match="with a header"):
                await ours.receive("state")
        assert descriptors() == before


async def test_descriptors_that_find_no_place_are_noticed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with files(20) as sent, raw() as (ours, theirs):
        theirs.send(b'{"message": "state", "bytes": 1, "descriptors": 20}')
        socket.send_fds(theirs, [b".x"], sent)
        before = descriptors()
        # Free numbers below the highest open descriptor count too.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(sent) + 5, hard))
        try:
            with pytest.raises(HandoverError, match="the limit on open files is too low"):
                await ours.receive("state")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert descriptors() == before


async def test_a_packet_with_too_many_descriptors_is_cut_and_noticed() -> None:
    with files(1) as sent:
        before = descriptors()
        with raw() as (ours, theirs):
            theirs.send(b'{"message": "state", "bytes": 1, "descriptors": 253}')
            many = array.array("i", sent * 253)
            theirs.sendmsg([b".x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)])
            with pytest.raises(HandoverError, match="not all that was sent has come"):
                await ours.receive("state")
        assert descriptors() == before


async def test_a_cancelled_receive_leaves_nothing_open() -> None:
    with files(1) as sent:
        before = descriptors()
        with raw() as (ours, theirs):
            theirs.send(b'{"message": "state", "bytes": 2, "descriptors": 2}')
            socket.send_fds(theirs, [b".x"], sent)
            with trio.move_on_after(0.01):
                await ours.receive("state")
        assert descriptors() == before


# --- what is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [FIXED, HANDOVER])
def test_sent_messages_are_read(said: Fixed | DaemonHandover) -> None:
    assert protocol.read(type(said), protocol.written(said)) == said


def test_another_version_is_refused_by_its_number() -> None:
    said = protocol.written(FIXED).replace(b'"protocol": 2', b'"protocol": 9')
    with pytest.raises(
        HandoverError, match=f"by version 9 of the protocol, and this one by version {PROTOCOL}: "
    ):
        protocol.read(Fixed, said)
    # Whatever else it says.
    with pytest.raises(HandoverError, match="by version 9 of the protocol"):
        protocol.read(Fixed, b'{"protocol": 9, "wishes": []}')


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"protocol": 2}',
        protocol.written(FIXED).replace(b'"host"', b'"hosts"'),
        protocol.written(FIXED).replace(b'"host"', b'"extra": 1, "host"'),
        protocol.written(FIXED).replace(b"8888", b'"8888"'),
        protocol.written(FIXED).replace(b"8888", b"8888.5"),
        protocol.written(FIXED).replace(b'"127.0.0.1"', b"null"),
    ],
)
def test_anything_else_is_refused(said: bytes) -> None:
    with pytest.raises(HandoverError, match="says what is not known here"):
        protocol.read(Fixed, said)
