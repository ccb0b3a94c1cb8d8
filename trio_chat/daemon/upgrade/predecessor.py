"""Hands a running daemon over to its successor, or takes it back: the old process's side.

The successor is the same command, started again with the program and settings now on disk. Until it
is told to go on, it touches nothing and can be killed at any moment.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import trio
from attrs import asdict, define, frozen

from trio_chat.daemon import systemd
from trio_chat.daemon.process import STDERR, without_collections
from trio_chat.daemon.upgrade import protocol
from trio_chat.daemon.upgrade.process import start_successor
from trio_chat.daemon.upgrade.protocol import DaemonHandover, Fixed, StoreInUse
from trio_chat.errors import Code, HandoverError, PeerEnded, Refused, StoreError
from trio_chat.roomlog.sqlite.schema import SCHEMA_VERSION
from trio_chat.snapshot.codec import be_prepared, leave_out_news, write_piece, write_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.daemon.control_path import ControlListener
    from trio_chat.daemon.upgrade.process import SuccessorProcess
    from trio_chat.server.chat import Chat
    from trio_chat.snapshot.ahead import Ahead
    from trio_chat.snapshot.handover import PausedChat

# For the start and the settings. No client waits for this, and a machine may be slow.
START_SECONDS: Final = 30.0
# For reading what goes ahead. No client waits for this either.
AHEAD_SECONDS: Final = 120.0
# Clients stand still during these two. A thousand clients take a tenth of a second.
SEND_SECONDS: Final = 10.0
LOAD_SECONDS: Final = 10.0
# For the successor to serve. There is no way back by then; the command only reports the result.
SERVE_SECONDS: Final = 10.0

MEGABYTE: Final = 1_000_000
# The most bytes that go ahead, in a few rounds, each with what is new since the last one. The pause
# takes at most `MOST_PAUSED` bytes, a tenth of a second.
MOST_AHEAD: Final = 1 << 30
ROUNDS: Final = 4
MOST_PAUSED: Final = 1 << 24
# The most bytes for a successor that takes everything in the pause.
MOST_STATE: Final = 1 << 28

INIT: Final = 1


@define
class DaemonState:
    """The state of a daemon that a successor takes over beside the chat.

    `instance` is that of the settings, or of the inherited sockets that the daemon listens on if
    there are any (`listens_on_given`).
    """

    fixed: Fixed
    instance: str
    listens_on_given: bool
    control: ControlListener | None = None


@frozen
class Outcome:
    """The process that has the chat now, and whether it serves; clients waited for `seconds`."""

    process: int
    serves: bool
    clients: int
    seconds: float


def check_possible() -> None:
    """Raise `Refused` if this daemon cannot be handed over."""
    if sys.platform != "linux":
        raise Refused(
            "only on Linux can a daemon hand over its clients: restart it instead",
            code=Code.CANNOT_HAND_OVER,
        )
    if os.getpid() == INIT:
        raise Refused(
            "this daemon is process 1, with which its container ends: "
            "start a new container instead",
            code=Code.CANNOT_HAND_OVER,
        )
    if systemd.would_end():
        raise Refused(
            "systemd would take an upgrade for the end of this service, unless its unit had "
            "Type=notify: restart it instead",
            code=Code.CANNOT_HAND_OVER,
        )
    if not sys.executable or not sys.orig_argv:
        raise Refused(
            "this daemon does not know what command has started it: restart it instead",
            code=Code.CANNOT_HAND_OVER,
        )


async def hand_over(chat: Chat, own: DaemonState, handed_over: Callable[[int], None]) -> Outcome:
    """Start the successor and hand everything over to it.

    `handed_over` is called with the successor's process id in the step that decides it. Raises
    `HandoverError` on failure, `Refused` if an upgrade is impossible, and `ChatClosed` if the chat
    is stopping. The chat then goes on as before. It does so too if this is cancelled before the
    successor is told to go on.
    """
    check_possible()
    async with start_successor() as successor:
        # In a thread while the successor starts, so that clients do not wait.
        await trio.to_thread.run_sync(be_prepared)
        with within(START_SECONDS, "started"):
            ready = await successor.wire.receive(protocol.READY)
        check_fixed(own, protocol.read(Fixed, ready.content))
        ahead = await send_ahead(successor, chat, own, known=ready.ahead)
        begun = time.monotonic()
        try:
            with without_collections():
                async with chat.frozen() as still:
                    await pass_to(successor, still, own, begun, ahead)
                    handed_over(successor.process.pid)
                    await systemd.handed_over(successor.process.pid)
                    # Meanwhile the new process has the CPU for itself.
                    serves = await has_begun(successor)
        except trio.TooSlowError:
            raise HandoverError("the chat was too busy to be handed over: try again") from None
        except StoreError as error:
            raise HandoverError(str(error)) from None
        return Outcome(successor.process.pid, serves, len(still.clients), time.monotonic() - begun)


def check_fixed(own: DaemonState, ready: Fixed) -> None:
    """Raise `HandoverError` if the successor differs in settings that an upgrade cannot change."""
    ignored = ("host", "port", "listen") if own.listens_on_given else ()
    found = asdict(ready)
    problems = [
        f"{name} is {shown(found[name])} by now and was {shown(value)} when this daemon started: "
        "set it back, or restart the daemon"
        for name, value in asdict(own.fixed).items()
        if found[name] != value and name not in ignored
    ]
    if problems:
        raise HandoverError("\n".join(problems))


def shown(value: object) -> str:
    return "not given" if value == "" else str(value)


async def send_ahead(
    successor: SuccessorProcess, chat: Chat, own: DaemonState, *, known: bool
) -> Ahead | None:
    """Have the successor check the store and take what never changes, while the chat goes on.

    Returns what is sent so far; `None` if the successor's version does not know of this. Raises
    `HandoverError` if there is more than can be handed over.
    """
    ahead = chat.ahead()
    left, most = ahead.left(), MOST_AHEAD if known else MOST_STATE
    if left > most:
        raise HandoverError(
            f"about {left // MEGABYTE} MB wait for clients that do not read, or are kept in "
            f"memory, and at most {most // MEGABYTE} MB can be handed over: try again later, or "
            "restart the daemon"
        )
    if not known:
        return None
    with within(AHEAD_SECONDS, "read what it was sent ahead"):
        await check(successor, chat, own)
        for _ in range(ROUNDS):
            await send_pieces(successor, ahead)
            await check(successor, chat, own)
            if ahead.left() <= MOST_PAUSED:
                return ahead
    raise HandoverError("clients are being sent more than can be handed over: try again later")


async def check(successor: SuccessorProcess, chat: Chat, own: DaemonState) -> None:
    """Wait until the successor has read everything, and has checked the store."""
    store = StoreInUse(own.instance, chat.settings.shown_store, SCHEMA_VERSION)
    await successor.wire.send(protocol.CHECK, protocol.written(store))
    await successor.wire.receive(protocol.CHECKED)


async def send_pieces(successor: SuccessorProcess, ahead: Ahead) -> None:
    """Send what is new, a piece at a time."""
    with closing(ahead.pieces()) as pieces:
        for piece in pieces:
            sockets = [sock.fileno() for sock in piece.sockets]
            await successor.wire.send(protocol.AHEAD, write_piece(piece), sockets)
            await trio.lowlevel.checkpoint()


async def pass_to(
    successor: SuccessorProcess,
    still: PausedChat,
    own: DaemonState,
    begun: float,
    ahead: Ahead | None,
) -> None:
    """Send the successor the paused chat and have it go on, or kill it."""
    try:
        with within(SEND_SECONDS, "taken what it was sent"):
            await send(successor, still, own, begun, ahead)
        with within(LOAD_SECONDS, "read what it was sent"):
            await successor.wire.receive(protocol.LOADED)
        # From here on nothing else runs: a cancellation counts up to now, and not later.
        await trio.lowlevel.checkpoint_if_cancelled()
        successor.go()
    except PeerEnded:
        raise  # it is about to end by itself, and to say why
    except BaseException:
        successor.kill()
        raise
    still.hand_over()
    if own.control is not None:
        own.control.hand_over()


async def send(
    successor: SuccessorProcess,
    still: PausedChat,
    own: DaemonState,
    begun: float,
    ahead: Ahead | None,
) -> None:
    """Send everything that has not gone ahead."""
    clients = still.clients
    if ahead is None:
        leave_out_news(still.state)
    else:
        await send_pieces(successor, ahead)
        ahead.leave_out(still.state)
        clients = []
    stderr = [STDERR] if is_open(STDERR) else []
    control = [] if own.control is None else [own.control.socket.fileno()]
    lock = [] if still.lock is None else [still.lock]
    handover = DaemonHandover(
        process=os.getpid(),
        instance=own.instance,
        listens_on_given=own.listens_on_given,
        still_since=begun,
        has_stderr=bool(stderr),
        control=None if own.control is None else str(own.control.path),
        has_lock=bool(lock),
        listeners=len(still.listeners),
    )
    # In a thread, so that the time limit holds for a large state too.
    state = await trio.to_thread.run_sync(write_state, still.state, abandon_on_cancel=True)
    sockets = [sock.fileno() for sock in (*still.listeners, *clients)]
    await successor.wire.send(protocol.HANDOVER, protocol.written(handover))
    await successor.wire.send(protocol.STATE, state, [*stderr, *control, *lock, *sockets])


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


async def has_begun(successor: SuccessorProcess) -> bool:
    """Wait until the successor serves; give whether it has said so."""
    try:
        with within(SERVE_SECONDS, "begun"):
            await successor.wire.receive(protocol.SERVING)
    except HandoverError:
        return False
    return True


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Give the successor so many seconds; raises `HandoverError`."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise HandoverError(f"the new process has not {what} within {seconds:g} seconds") from None
