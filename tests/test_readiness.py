"""Waiting for sockets: one task for all of them, or each client's own; both read alike."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from loopback import descriptors
from trio.testing import wait_all_tasks_blocked

from trio_chat.transports.readiness import Readiness, open_readiness
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.usefixtures("waiting")

# Far more than any of this takes, where nothing goes round and round.
SECONDS = 5.0


class Pairs:
    """Makes links to sockets at hand, and closes them all."""

    def __init__(self, readiness: Readiness | None) -> None:
        self.readiness = readiness
        self.made: list[tuple[SocketLink, socket.socket]] = []

    def make(self) -> tuple[SocketLink, socket.socket]:
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        pair = SocketLink.accepted(stream, 60, self.readiness), theirs
        self.made.append(pair)
        return pair

    def close(self) -> None:
        for link, theirs in self.made:
            link.close()
            theirs.close()


@asynccontextmanager
async def running() -> AsyncGenerator[Pairs, None]:
    with open_readiness() as readiness:
        pairs = Pairs(readiness)
        async with trio.open_nursery() as nursery:
            if readiness is not None:
                nursery.start_soon(readiness.run)
            try:
                with trio.fail_after(SECONDS):
                    yield pairs
            finally:
                pairs.close()
            nursery.cancel_scope.cancel()


@pytest.fixture
async def pairs(waiting: None) -> AsyncGenerator[Pairs, None]:
    async with running() as made:
        yield made


class Reads:
    """A task's function, and what it has read until it met a full stop."""

    def __init__(self, link: SocketLink) -> None:
        self.link = link
        self.read: list[bytes | None] = []

    def __call__(self) -> bool:
        self.read.append(self.link.take())
        return self.read[-1] in (b".", b"")


async def test_without_epoll_there_is_none(request: pytest.FixtureRequest) -> None:
    with open_readiness() as readiness:
        assert (readiness is None) == ("no epoll" in request.node.name)


async def test_its_function_reads_for_a_task_until_there_is_something_for_the_task(
    pairs: Pairs,
) -> None:
    link, theirs = pairs.make()
    reads = Reads(link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.until, reads)
        for data in (b"one", b"two"):
            theirs.send(data)
            await wait_all_tasks_blocked()
            assert reads.read[-1] == data
            assert nursery.child_tasks
        theirs.send(b".")
    assert reads.read == [b"one", b"two", b"."]


async def test_the_end_is_there_to_be_read(pairs: Pairs) -> None:
    link, theirs = pairs.make()
    reads = Reads(link)
    theirs.close()
    await link.until(reads)
    assert reads.read == [b""]


async def test_an_exception_of_the_function_is_raised_in_its_task_and_stops_no_other(
    pairs: Pairs,
) -> None:
    (link, theirs), (other, far) = pairs.make(), pairs.make()

    def fail() -> bool:
        raise ZeroDivisionError

    theirs.send(b"x")
    with pytest.raises(ZeroDivisionError):
        await link.until(fail)
    far.send(b".")
    await other.until(Reads(other))


async def test_a_cancelled_reader_has_read_nothing_and_finds_it_there_later(pairs: Pairs) -> None:
    link, theirs = pairs.make()
    reads = Reads(link)
    with trio.CancelScope() as scope:
        scope.cancel()
        await link.until(reads)
    theirs.send(b".")
    await wait_all_tasks_blocked()
    assert reads.read == []
    await link.until(reads)
    assert reads.read == [b"."]


@pytest.mark.parametrize("left", [b"more", b""], ids=["bytes", "the end"])
async def test_a_socket_that_nobody_reads_costs_nothing(pairs: Pairs, left: bytes) -> None:
    """Else the task would come round for it for ever, and nothing would ever be at rest."""
    link, theirs = pairs.make()
    reads = Reads(link)
    theirs.send(b".")
    await link.until(reads)
    theirs.send(left) if left else theirs.close()
    await wait_all_tasks_blocked()
    assert reads.read == [b"."]


# Without epoll each task is told by itself.
@pytest.mark.parametrize("waiting", ["epoll"], indirect=True)
async def test_a_pause_reads_nothing_and_wakes_nobody(pairs: Pairs) -> None:
    link, theirs = pairs.make()
    reads = Reads(link)
    number = link.socket.fileno()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.until, reads)
        await wait_all_tasks_blocked()
        assert pairs.readiness.waits(number)
        pairs.readiness.pause()
        theirs.send(b".")
        await wait_all_tasks_blocked()
        assert reads.read == []
        assert pairs.readiness.waits(number)
        pairs.readiness.resume()
    assert reads.read == [b"."]
    assert not pairs.readiness.waits(number)


async def test_a_number_that_is_used_again_is_another_socket(pairs: Pairs) -> None:
    link, theirs = pairs.make()
    theirs.send(b".")
    await link.until(Reads(link))
    # As over a handover or under TLS: the connection lives on by another descriptor.
    with link.socket.dup() as other:
        number = link.socket.fileno()
        link.close()
        link.close()
        theirs.send(b"for the other")
        await wait_all_tasks_blocked()
        again, far = pairs.make()
        assert again.socket.fileno() == number
        reads = Reads(again)
        far.send(b".")
        await again.until(reads)
        assert reads.read == [b"."]
        assert other.recv(100) == b"for the other"


async def test_many_at_once_are_all_read(pairs: Pairs) -> None:
    made = [pairs.make() for _ in range(200)]
    async with trio.open_nursery() as nursery:
        for link, theirs in made:
            nursery.start_soon(link.until, Reads(link))
            theirs.send(b".")


async def test_nothing_of_it_stays_open() -> None:
    before = descriptors()
    async with running() as pairs:
        link, theirs = pairs.make()
        theirs.send(b".")
        await link.until(Reads(link))
    assert descriptors() == before
