"""The common part of reloads and upgrades, in a daemon and in the parent of workers."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio
from attrs import define, field

from trio_chat.config.settings import Settings
from trio_chat.daemon.control import Response
from trio_chat.errors import ChatClosed, Code, Refused, SettingsError

# After that, the process gives up reading a file on a disk that hangs.
READ_SECONDS: Final = 10.0

logger = logging.getLogger("trio_chat")


@define
class Changing:
    """Has a reload and an upgrade wait for each other, and a stop give up an upgrade."""

    lock: trio.Lock = field(factory=trio.Lock)
    _upgrading: trio.CancelScope | None = None

    @asynccontextmanager
    async def upgrading(self) -> AsyncGenerator[None, None]:
        """Upgrade within the block.

        Raises `Refused` if an upgrade is under way, and `ChatClosed` if this one is given up.
        """
        if self._upgrading is not None:
            raise Refused("an upgrade is under way", code=Code.CANNOT_HAND_OVER)
        try:
            with trio.CancelScope() as self._upgrading:
                async with self.lock:
                    yield
                return
        finally:
            self._upgrading = None
        raise ChatClosed("the daemon is stopping")

    def give_up(self) -> None:
        """Give up an upgrade that is under way, because the process is to stop."""
        if self._upgrading is not None:
            self._upgrading.cancel("the daemon is stopping")

    def go_through(self) -> None:
        """Have `give_up` no longer end this upgrade."""
        self._upgrading = None


async def read_again(read: Callable[[], Settings]) -> Settings:
    """Read the settings in a thread; raises `SettingsError`, also if that takes too long."""
    with trio.move_on_after(READ_SECONDS):
        return await trio.to_thread.run_sync(read, abandon_on_cancel=True)
    raise SettingsError(f"settings could not be read within {READ_SECONDS:g} seconds")


def log_reload(differing: Mapping[str, str]) -> None:
    """Log which settings differ, each with when it changes."""
    told = ", ".join(f"{name} {when}" for name, when in differing.items())
    logger.info("settings reloaded", extra={"changes": told or "none"})


def not_reloaded(error: str, problems: Sequence[str]) -> Response:
    """Log why settings are not taken; gives the answer for the operator."""
    for problem in problems:
        logger.error("settings not reloaded", extra={"problem": problem})
    return {"error": error, "problems": problems}


def not_upgraded(error: str, problems: Sequence[str]) -> Response:
    """Log why there is no upgrade; gives the answer for the operator."""
    for problem in problems:
        logger.error("not upgraded", extra={"problem": problem})
    logger.error(error)
    return {"error": error, "problems": problems}
