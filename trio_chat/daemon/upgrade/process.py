"""Runs the command of this process once more, as its successor, and finds out why it ends.

Up to `go`, the successor writes into a pipe instead of standard error. So its last line can be
shown, even if Python fails before the first line of the program. At the end, this process writes
all of it to its own standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from attrs import define

from trio_chat.daemon.upgrade import protocol
from trio_chat.daemon.upgrade import wire as handover_wire
from trio_chat.daemon.upgrade.protocol import VARIABLE
from trio_chat.errors import HandoverError, PeerEnded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_chat.daemon.upgrade.wire import Wire

# A process that was killed, or has closed its end, is gone by then.
END_SECONDS: Final = 5.0

# A pipe holds as much on Linux. A successor that writes more waits, and is too late.
STDERR_BYTES: Final = 1 << 16
# The beginning of a problem that the successor has put in words, and its exit code then.
TOLD: Final = "trio-chat: "
TOLD_CODE: Final = 2
# The watchdog watches the process with this id.
WATCHDOG_PID: Final = "WATCHDOG_PID"


@define
class SuccessorProcess:
    """A successor that has started; it is killed unless it is told to go on."""

    process: trio.Process
    wire: Wire
    _pipe: int
    _written: bytes = b""
    free: bool = False

    def go(self) -> None:
        """Tell it to go on; raises `HandoverError` if that cannot be sent at once."""
        self.wire.say(protocol.GO)
        self.free = True

    def kill(self) -> None:
        """Kill it, unless it has been told to go on."""
        if not self.free:
            self.process.kill()

    def fate(self) -> str:
        """Say how it has ended: see `told_fate`."""
        self._read()
        return told_fate(self.process.returncode, self._written)

    def pass_on(self) -> None:
        """Copy its output from the pipe to standard error."""
        self._read()
        sys.stderr.write(self._written.decode(errors="replace"))

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._written += os.read(self._pipe, STDERR_BYTES)


def told_fate(code: int | None, written: bytes) -> str:
    """Say how a new process has ended: in its own words, or else with the last line it wrote."""
    lines = [line for line in written.decode(errors="replace").split("\n") if line]
    if code == TOLD_CODE and (told := [line for line in lines if line.startswith(TOLD)]):
        return "\n".join(line.removeprefix(TOLD) for line in told)
    if code is None:
        how = "has given up"
    elif code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    else:
        how = f"has ended with exit code {code}"
    return ": ".join([f"the new process {how}", *lines[-1:]])


@asynccontextmanager
async def start_successor() -> AsyncGenerator[SuccessorProcess, None]:
    """Start a successor. At the end of the block it goes on by itself, or is gone.

    Raises `HandoverError` if it cannot be started. If the block raises `PeerEnded` before the
    successor is told to go on, that becomes a `HandoverError` with the reason.
    """
    with ExitStack() as closing:
        successor = await _start(closing)
        try:
            yield successor
        except PeerEnded:
            if successor.free:
                raise
            with trio.move_on_after(END_SECONDS, shield=True):
                await successor.process.wait()
            raise HandoverError(successor.fate()) from None
        finally:
            if not successor.free:
                successor.kill()
                with trio.move_on_after(END_SECONDS, shield=True):
                    await successor.process.wait()
            successor.pass_on()


async def _start(closing: ExitStack) -> SuccessorProcess:
    environ = {name: value for name, value in os.environ.items() if name != WATCHDOG_PID}
    try:
        with ExitStack() as its_own:
            wire, theirs = handover_wire.pair()
            closing.callback(wire.close)
            its_own.enter_context(theirs)
            reading, writing = os.pipe()
            closing.callback(os.close, reading)
            its_own.callback(os.close, writing)
            os.set_blocking(reading, False)
            process = await trio.lowlevel.open_process(
                [sys.executable, *sys.orig_argv[1:]],
                stderr=writing,
                pass_fds=[theirs.fileno()],
                env=environ | {VARIABLE: str(theirs.fileno())},
            )
    except OSError as error:
        raise HandoverError(f"the new process cannot be started: {error.strerror}") from None
    return SuccessorProcess(process, wire, reading)
