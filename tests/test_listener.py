"""Listeners: Trio accepts from them, in pauses it does not, and at the end their path is free."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trio
from loopback import HOST, ticks, until

from trio_chat.config.endpoints import Endpoint
from trio_chat.transports.listener import STEPS, Listeners, PausableListener
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

SECONDS = 5.0  # far more than any of this takes

Listener = PausableListener[trio.SocketStream]


def listener_at(path: Path | None = None, *, paused: bool = False) -> Listener:
    if path is None:
        sock = socket.create_server((HOST, 0))
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
    return PausableListener(sock, lambda stream: stream, path=path, paused=paused)


@pytest.fixture
def listener() -> Listener:
    return listener_at()


class Handler:
    """Counts the connections, and closes each."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, stream: trio.SocketStream) -> None:
        self.count += 1
        await trio.aclose_forcefully(stream)


@asynccontextmanager
async def serving(listener: Listener) -> AsyncGenerator[Handler, None]:
    """Trio accepts from the listener for the length of a block, and closes it at the end."""
    handler = Handler()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        with trio.fail_after(SECONDS):
            yield handler
        nursery.cancel_scope.cancel()
    assert listener.socket.fileno() == -1


def connection_to(listener: Listener) -> socket.socket:
    return socket.create_connection(listener.socket.getsockname())


# --- floods ---------------------------------------------------------------------------------------


async def test_a_flood_of_connections_lets_all_other_tasks_run(listener: Listener) -> None:
    ran, at = 0, []

    async def talk() -> None:
        nonlocal ran
        while True:
            await trio.lowlevel.checkpoint()
            ran += 1

    async def note(stream: trio.SocketStream) -> None:
        at.append(ran)
        await trio.aclose_forcefully(stream)

    flood = [connection_to(listener) for _ in range(5)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, note, [listener])
        nursery.start_soon(talk)
        with trio.fail_after(SECONDS):
            await until(lambda: len(at) == len(flood))
        nursery.cancel_scope.cancel()
    for client in flood:
        client.close()
    assert all(later - before >= STEPS for before, later in pairwise(at))


# --- pauses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["running", "paused", "not begun"])
async def test_in_a_pause_connections_wait_in_the_backlog(first: str) -> None:
    listener = listener_at(paused=first == "paused")
    async with serving(listener) as handler:
        if first == "running":
            await ticks()
        for pauses in range(1, 4):
            await listener.pause()
            with connection_to(listener):
                await ticks()
                assert handler.count == pauses - 1
                listener.resume()
                await until(lambda pauses=pauses: handler.count == pauses)


async def test_all_who_were_accepted_have_tasks_when_a_pause_has_begun(listener: Listener) -> None:
    """Else one could miss the word of a pause."""
    async with serving(listener) as handler:
        await ticks()
        for round_ in range(1, 31):
            clients = [connection_to(listener) for _ in range(3)]
            # Chance decides how far the task that accepts has come with them.
            await ticks(round_ % 6)
            await listener.pause()
            await trio.lowlevel.checkpoint()
            came = handler.count
            await ticks()
            assert handler.count == came
            listener.resume()
            await until(lambda count=3 * round_: handler.count == count)
            for client in clients:
                client.close()


@pytest.mark.parametrize("resumed_for", [0, 1, 50])
async def test_pauses_that_follow_each_other_at_once_are_pauses(
    listener: Listener, resumed_for: int
) -> None:
    async with serving(listener) as handler:
        await ticks()
        await listener.pause()
        listener.resume()
        await ticks(resumed_for)
        await listener.pause()
        with connection_to(listener):
            await ticks()
            assert handler.count == 0


async def test_a_pause_that_is_over_at_once_changes_nothing(listener: Listener) -> None:
    async with serving(listener) as handler:
        await ticks()
        with trio.move_on_after(0):
            await listener.pause()
        listener.resume()
        with connection_to(listener):
            await until(lambda: handler.count == 1)


async def test_to_pause_twice_or_to_resume_what_runs_is_no_error(listener: Listener) -> None:
    async with serving(listener) as handler:
        listener.resume()
        await ticks()
        await listener.pause()
        await listener.pause()
        listener.resume()
        listener.resume()
        with connection_to(listener):
            await until(lambda: handler.count == 1)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_trio_tries_again_where_the_system_is_out_of_something(
    number: int, listener: Listener, autojump_clock, caplog
) -> None:
    fail(listener, number, times=3)
    async with serving(listener) as handler:
        with connection_to(listener):
            while not handler.count:  # noqa: ASYNC110 - a second passes at once
                await trio.sleep(0.05)  # on the virtual clock
    assert [record.name for record in caplog.records] == ["trio.serve_listeners"] * 3
    assert trio.current_time() == pytest.approx(0.3, abs=0.05)


async def test_without_a_descriptor_to_spare_connections_wait(autojump_clock, caplog) -> None:
    has_room = False
    sock = socket.create_server((HOST, 0))
    listener = PausableListener(sock, lambda stream: stream, may_accept=lambda: has_room)
    async with serving(listener) as handler:
        await trio.sleep(1)  # on the virtual clock: nobody comes, so that there is nothing to tell
        assert caplog.records == []
        with connection_to(listener):
            await until(lambda: caplog.records)
            assert caplog.records[0].exc_info[1].errno == errno.EMFILE
            assert handler.count == 0
            await listener.pause()
            listener.resume()
            has_room = True
            await trio.sleep(1)  # on the virtual clock: Trio tries again after a tenth of that
            assert handler.count == 1


async def test_a_pause_may_begin_while_trio_waits_for_descriptors(
    listener: Listener, autojump_clock
) -> None:
    fail(listener, errno.EMFILE, times=1)
    async with serving(listener) as handler:
        await ticks()
        begun = trio.current_time()
        await listener.pause()
        assert trio.current_time() == begun
        with connection_to(listener):
            await trio.sleep(1)  # on the virtual clock: Trio would have tried again ten times
            assert handler.count == 0
            listener.resume()
            await until(lambda: handler.count == 1)


async def test_any_other_error_comes_out(listener: Listener) -> None:
    fail(listener, errno.EBADF, times=1)
    with pytest.raises(ExceptionGroup) as caught:
        async with serving(listener):
            await trio.sleep_forever()  # until the error comes
    assert caught.group_contains(OSError, match="Bad file descriptor")
    assert listener.socket.fileno() == -1


def fail(listener: Listener, number: int, *, times: int) -> None:
    accept, failed = listener._listener.accept, 0

    async def accept_later() -> trio.SocketStream:
        nonlocal failed
        failed += 1
        if failed <= times:
            raise OSError(number, os.strerror(number))
        return await accept()

    listener._listener.accept = accept_later


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("paused", [False, True])
async def test_it_ends_in_a_pause_and_without_one_and_its_path_is_free(
    tmp_path: Path, *, paused: bool
) -> None:
    path = tmp_path / "socket"
    listener = listener_at(path)
    async with serving(listener):
        await ticks()
        if paused:
            await listener.pause()
        assert path.exists()
    assert not path.exists()


async def test_an_end_that_comes_before_its_beginning_is_one(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(listener_at(path)):
        pass
    assert not path.exists()


async def test_a_task_that_waits_for_a_pause_is_not_left_waiting_by_the_end(
    listener: Listener,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, Handler(), [listener])
        await ticks()
        with trio.CancelScope(shield=True), trio.fail_after(SECONDS):
            nursery.cancel_scope.cancel()
            await listener.pause()


async def test_a_listener_handed_over_accepts_no_more_and_leaves_its_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = listener_at(path)
    with listener.socket.dup() as others, socket.socket(socket.AF_UNIX) as client:
        async with serving(listener) as handler:
            await ticks()
            listener.hand_over()
            client.connect(str(path))
            await ticks()
            assert handler.count == 0
        assert path.exists()
        others.accept()[0].close()


async def test_another_servers_socket_stays_at_the_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(listener_at(path)):
        path.unlink()
        another = listener_at(path)
    assert path.exists()
    await another.aclose()
    assert not path.exists()


# --- all of a chat's ------------------------------------------------------------------------------


async def test_a_chats_listeners_make_links_and_pause_and_end_together() -> None:
    served: list[SocketLink] = []

    async def handler(link: SocketLink) -> None:
        served.append(link)
        await trio.sleep_forever()  # as a client that stays

    listeners, sockets = (
        Listeners(lambda: True),
        [socket.create_server((HOST, 0)) for _ in range(2)],
    )
    link = partial(SocketLink.accepted, keepalive=60)
    added = listeners.add(sockets, [], link, paused=True)
    assert listeners.sockets == sockets
    assert listeners.endpoints == tuple(Endpoint(*sock.getsockname()) for sock in sockets)
    clients = [socket.create_connection(sock.getsockname()) for sock in sockets]
    async with trio.open_nursery() as nursery:
        for listener in added:
            nursery.start_soon(listeners.serve, listener, handler, nursery)
        await ticks()
        assert served == []
        listeners.resume()
        await until(lambda: len(served) == 2)
        await listeners.pause()
        clients.append(socket.create_connection(sockets[0].getsockname()))
        await ticks()
        assert len(served) == 2
        listeners.end()
        await until(lambda: len(nursery.child_tasks) == 2)
        assert [sock.fileno() for sock in sockets] == [-1, -1]
        nursery.cancel_scope.cancel()
    assert [one.socket.fileno() for one in served] == [-1, -1]  # Trio has closed them
    for client in clients:
        client.close()


async def test_their_end_may_come_before_they_are_served() -> None:
    listeners, sock = Listeners(lambda: True), socket.create_server((HOST, 0))
    [listener] = listeners.add([sock], [], partial(SocketLink.accepted, keepalive=60), paused=False)
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listeners.serve, listener, trio.aclose_forcefully, nursery)
            listeners.end()
    assert sock.fileno() == -1
