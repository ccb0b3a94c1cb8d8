"""The meaning of signals for a process that serves: a daemon, or the parent of workers."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol

import trio

from trio_chat.daemon.control import Response
from trio_chat.daemon.process import STDIN
from trio_chat.errors import ChatError

SIGNALS: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# The exit code of a process that a signal has ended, without the signal's number.
KILLED_BY: Final = 128

logger = logging.getLogger("trio_chat")


class Operations(Protocol):
    """The operator's commands that a signal can give too."""

    async def reload(self) -> Response:
        """Take new settings."""
        ...

    async def upgrade(self) -> Response:
        """Take a new version."""
        ...

    def end_upgrade(self) -> None:
        """Do what must follow an upgrade that has succeeded."""


class Obedient(Protocol):
    """A process that obeys signals.

    `in_terminal`: it was started in the foreground of a terminal, which sends SIGHUP at its end.
    """

    in_terminal: bool
    exit_code: int
    serving: trio.Event

    @property
    def operations(self) -> Operations | None:
        """The commands, once it serves."""

    def stop(self, **reason: str) -> None:
        """Stop gracefully; the log has the reason."""


async def obey_signals(
    process: Obedient, signals: AsyncIterator[int], nursery: trio.Nursery
) -> None:
    """Obey signals. The first SIGINT or SIGTERM stops gracefully, the second at once.

    SIGUSR1 reopens the log of other daemons, and would end this one if it were not taken. To stop
    at once, `nursery` is cancelled; the commands run there too.
    """
    stopping = False
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGHUP and not _terminal_has_gone(process):
            nursery.start_soon(_carry_out, process, name, lambda operations: operations.reload())
        elif number == signal.SIGUSR2:
            nursery.start_soon(_carry_out, process, name, lambda operations: operations.upgrade())
        elif number == signal.SIGUSR1:
            logger.warning("the signal means nothing here", extra={"signal": name})
        elif not stopping:
            process.stop(signal=name)
            stopping = True
        elif number != signal.SIGHUP:  # a terminal may send that twice
            logger.warning("stopping at once", extra={"signal": name})
            process.exit_code = KILLED_BY + number
            nursery.cancel_scope.cancel()


def _terminal_has_gone(process: Obedient) -> bool:
    """Whether the terminal that it was started from is closed, so that Ctrl-C is impossible."""
    return process.in_terminal and not os.isatty(STDIN)


async def _carry_out(
    process: Obedient, name: str, command: Callable[[Operations], Awaitable[Response]]
) -> None:
    """Reload or upgrade, as soon as the process serves; the log has the result."""
    await process.serving.wait()
    if process.operations is None:
        return
    try:
        await command(process.operations)
    except ChatError as error:
        logger.warning("the signal had no effect", extra={"signal": name, "reason": str(error)})
    except Exception:
        logger.exception("the signal had no effect", extra={"signal": name})
    process.operations.end_upgrade()
