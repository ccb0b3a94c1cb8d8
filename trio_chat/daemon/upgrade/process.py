"""Runs the command of this process once more, as its successor, and says why if that ends.

Up to `go` it writes into a pipe instead of to standard error. So the last it wrote can be told, and
what goes wrong before a line of its own runs needs no other way to be told. What it wrote goes to
this process's own standard error, once it is known how it went.
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

# For a process that has been killed, or has closed its end, to be gone.
END_SECONDS: Final = 5.0

# All that a pipe holds on Linux. One who writes more has to wait, and is late.
STDERR_BYTES: Final = 1 << 16
# How a problem looks that is told in words, and the exit code that goes with it.
TOLD: Final = "trio-chat: "
TOLD_CODE: Final = 2
# It watches the process that it names.
WATCHDOG_PID: Final = "WATCHDOG_PID"


@define
class SuccessorProcess:
    """A successor that has been started, and is killed unless it is told to go on."""

    process: trio.Process
    wire: Wire
    _pipe: int
    _written: bytes = b""
    free: bool = False

    def go(self) -> None:
        """Tell it to go on, at once; raises `HandoverError` if that cannot be told."""
        self.wire.say(protocol.GO)
        self.free = True

    def kill(self) -> None:
        """Let it do nothing more, unless it has been told to go on."""
        if not self.free:
            self.process.kill()

    def fate(self) -> str:
        """How it has ended: the problems it told, or else the last line it wrote."""
        self._read()
        code = self.process.returncode
        lines = [line for line in self._written.decode(errors="replace").split("\n") if line]
        if code == TOLD_CODE and (told := [line for line in lines if line.startswith(TOLD)]):
            return "\n".join(line.removeprefix(TOLD) for line in told)
        if code is None:
            how = "has given up"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"has ended with exit code {code}"
        return ": ".join([f"the new process {how}", *lines[-1:]])

    def pass_on(self) -> None:
        """Write to standard error what it has written to the pipe."""
        self._read()
        sys.stderr.write(self._written.decode(errors="replace"))

    def _read(self) -> None:
        with suppress(BlockingIOError):
            self._written += os.read(self._pipe, STDERR_BYTES)


@asynccontextmanager
async def start_successor() -> AsyncGenerator[SuccessorProcess, None]:
    """Start a successor, which at the end of the block goes on by itself or is gone.

    Raises `HandoverError` if it cannot be started. A `PeerEnded` in the block, from before it has
    been told to go on, becomes one that says why it ended.
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
