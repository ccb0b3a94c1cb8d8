"""One task that waits for all sockets, and reads them for their tasks."""

from __future__ import annotations

import select
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat.transports.readiness import Readiness, open_readiness

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

pytestmark = pytest.mark.skipif(
    not hasattr(select, "epoll"), reason="this system has no epoll: Trio waits for each socket"
)

# Far more than any of this takes, where nothing goes round and round.
SECONDS = 5.0


@asynccontextmanager
async def readiness_running() -> AsyncGenerator[Readiness, None]:
    with open_readiness() as readiness:
        assert readiness is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readiness.run)
            with trio.fail_after(SECONDS):
                yield readiness
            nursery.cancel_scope.cancel()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        yield ours, theirs


class Reads:
    """A task's function, and what it has read until it met a full stop."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.read: list[bytes] = []

    def __call__(self) -> bool:
        self.read.append(self.sock.recv(100))
        return self.read[-1] in (b".", b"")


async def test_its_function_reads_for_a_task_until_there_is_something_for_the_task(pair) -> None:
    ours, theirs = pair
    reads = Reads(ours)
    async with readiness_running() as readiness, trio.open_nursery() as nursery:
        nursery.start_soon(readiness.until, ours.fileno(), reads)
        for data in (b"one", b"two"):
            theirs.send(data)
            await wait_all_tasks_blocked()
            assert reads.read[-1] == data
            assert nursery.child_tasks
        theirs.send(b".")
    assert reads.read == [b"one", b"two", b"."]


async def test_the_end_is_there_to_be_read(pair) -> None:
    ours, theirs = pair
    reads = Reads(ours)
    async with readiness_running() as readiness:
        theirs.close()
        await readiness.until(ours.fileno(), reads)
    assert reads.read == [b""]


async def test_what_the_function_raises_is_raised_in_its_task_and_stops_no_other(pair) -> None:
    ours, theirs = pair
    others, far = socket.socketpair()
    with others, far:
        async with readiness_running() as readiness:

            def fail() -> bool:
                raise ZeroDivisionError

            theirs.send(b"x")
            with pytest.raises(ZeroDivisionError):
                await readiness.until(ours.fileno(), fail)
            far.send(b".")
            await readiness.until(others.fileno(), Reads(others))


async def test_who_is_cancelled_has_nothing_read_and_finds_it_there_later(pair) -> None:
    ours, theirs = pair
    reads = Reads(ours)
    async with readiness_running() as readiness:
        with trio.CancelScope() as scope:
            scope.cancel()
            await readiness.until(ours.fileno(), reads)
        theirs.send(b".")
        await wait_all_tasks_blocked()
        assert reads.read == []
        await readiness.until(ours.fileno(), reads)
    assert reads.read == [b"."]


@pytest.mark.parametrize("left", [b"more", b""], ids=["bytes", "the end"])
async def test_a_socket_that_nobody_reads_costs_nothing(pair, left: bytes) -> None:
    """Else the task would come round for it for ever, and nothing would ever be at rest."""
    ours, theirs = pair
    reads = Reads(ours)
    async with readiness_running() as readiness:
        theirs.send(b".")
        await readiness.until(ours.fileno(), reads)
        theirs.send(left) if left else theirs.close()
        await wait_all_tasks_blocked()
        assert reads.read == [b"."]


async def test_a_number_that_is_used_again_is_another_socket(pair) -> None:
    ours, theirs = pair
    async with readiness_running() as readiness:
        theirs.send(b".")
        await readiness.until(ours.fileno(), Reads(ours))
        # As over a handover or under TLS: the connection lives on by another descriptor.
        with ours.dup() as other:
            number = ours.fileno()
            readiness.forget(number)
            readiness.forget(number)
            ours.close()
            theirs.send(b"for the other")
            await wait_all_tasks_blocked()
            again, far = socket.socketpair()
            with again, far:
                assert again.fileno() == number
                reads = Reads(again)
                far.send(b".")
                await readiness.until(number, reads)
                assert reads.read == [b"."]
            assert other.recv(100) == b"for the other"


async def test_many_at_once_are_all_read() -> None:
    pairs = [socket.socketpair() for _ in range(200)]
    try:
        async with readiness_running() as readiness, trio.open_nursery() as nursery:
            for ours, theirs in pairs:
                nursery.start_soon(readiness.until, ours.fileno(), Reads(ours))
                theirs.send(b".")
    finally:
        for ours, theirs in pairs:
            ours.close()
            theirs.close()
