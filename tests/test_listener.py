"""Accepting connections: as long as it may, and again once the system has what it takes."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio
from loopback import HOST, ticks, until

from trio_chat.config.endpoints import Endpoint
from trio_chat.transports.listener import Listening


@pytest.fixture
def listening() -> Listening:
    return Listening(socket.create_server((HOST, 0)), Endpoint())


class Served:
    """Takes note of who came, and hangs up."""

    def __init__(self) -> None:
        self.count = 0
        self.came = trio.Event()

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.count += 1
        self.came.set()
        await trio.aclose_forcefully(stream)


async def test_who_comes_in_a_pause_waits(listening: Listening) -> None:
    served = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.run, served, nursery)
        for pauses in range(1, 4):
            await listening.pause()
            with socket.create_connection(listening.socket.getsockname()):
                await ticks()
                assert served.count == pauses - 1
                listening.resume()
                await until(lambda pauses=pauses: served.count == pauses)
        listening.end()
    assert listening.socket.fileno() == -1


async def test_one_may_begin_with_a_pause() -> None:
    listening, served = (
        Listening(socket.create_server((HOST, 0)), Endpoint(), paused=True),
        Served(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.run, served, nursery)
        with socket.create_connection(listening.socket.getsockname()):
            await ticks()
            assert served.count == 0
            listening.resume()
            await until(lambda: served.count == 1)
        listening.end()


async def test_it_may_end_in_a_pause(listening: Listening) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.run, Served(), nursery)
        await listening.pause()
        listening.end()
    assert listening.socket.fileno() == -1


async def test_a_pause_that_is_over_at_once_changes_nothing(listening: Listening) -> None:
    served = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.run, served, nursery)
        await ticks()
        with trio.move_on_after(0):
            await listening.pause()
        listening.resume()
        with socket.create_connection(listening.socket.getsockname()):
            await until(lambda: served.count == 1)
        listening.end()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_what_the_system_is_out_of_is_waited_for(
    number: int, listening: Listening, autojump_clock, caplog
) -> None:
    fail(listening, number, times=3)
    served = Served()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listening.run, served, nursery)
        with socket.create_connection(listening.socket.getsockname()):
            await served.came.wait()
        listening.end()
    assert [record.name for record in caplog.records] == ["trio_chat.accepting"] * 3
    assert trio.current_time() == pytest.approx(0.3, abs=0.05)


async def test_any_other_error_comes_out(listening: Listening) -> None:
    fail(listening, errno.EBADF, times=1)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listening.run, Served(), nursery)
    assert caught.group_contains(OSError, match="Bad file descriptor")
    assert listening.socket.fileno() == -1


def fail(listening: Listening, number: int, *, times: int) -> None:
    accept, failed = listening._listener.accept, 0

    async def accept_later() -> trio.SocketStream:
        nonlocal failed
        failed += 1
        if failed <= times:
            raise OSError(number, os.strerror(number))
        return await accept()

    listening._listener.accept = accept_later
