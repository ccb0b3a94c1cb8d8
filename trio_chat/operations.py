"""What the owner of a running daemon can ask of it: how it does, other settings, to stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

import trio
from attrs import asdict, define, field

from trio_chat import systemd
from trio_chat.control import Answer, Command
from trio_chat.errors import SettingsError
from trio_chat.server import Chat
from trio_chat.settings import Changes, Settings, changes
from trio_chat.usage import usage
from trio_chat.version import version

# A file on a disk that hangs is given up.
READ_SECONDS: Final = 10.0

logger = logging.getLogger("trio_chat")


@define
class Operations:
    """The commands of the control socket; SIGHUP and signals that stop lead here too.

    `read` gives the settings as they are in the file by now, or raises `SettingsError`. `configure`
    is called with new ones, for what is the process's and not the chat's. `stopping` is set to
    stop.
    """

    chat: Chat
    addresses: Sequence[str]
    read: Callable[[], Settings]
    configure: Callable[[Settings], None]
    stopping: trio.Event
    _started: float = field(factory=trio.current_time)
    _reloading: trio.Lock = field(factory=trio.Lock)

    @property
    def commands(self) -> dict[str, Command]:
        """What the control socket takes."""
        return {
            "status": Command(self.status),
            "reload": Command(self.reload),
            "stop": Command(self.stop, then=self.stopping.set),
        }

    async def status(self) -> Answer:
        """What the chat knows of itself; seconds where it is a time."""
        await trio.lowlevel.checkpoint()
        return {
            "version": version(),
            "process": os.getpid(),
            "uptime": round(trio.current_time() - self._started, 3),
            "listening": self.addresses,
            "store": self.chat.settings.store,
            "stopping": self.stopping.is_set(),
            "problems": self.chat.health().problems,
            **asdict(self.chat.statistics()),
            **asdict(usage()),
        }

    async def stop(self) -> Answer:
        """Who stops, and how long that may take; it begins once this has been said."""
        await trio.lowlevel.checkpoint()
        logger.info("stopping", extra={"by": "control socket"})
        return {"process": os.getpid(), "grace": self.chat.settings.stop_grace}

    async def reload(self) -> Answer:
        """Read the settings again and take those that can change, or keep the old ones whole.

        Gives `changes`, the settings that differ and when each changes, or else `problems`. Raises
        `ChatClosed` once the chat is stopping.
        """
        async with self._reloading:
            await systemd.reloading()
            answer = await self._reload()
            await systemd.ready()
            return answer

    async def _reload(self) -> Answer:
        try:
            differing = await self._take(await self._read())
        except SettingsError as error:
            problems = str(error).split("\n")
        else:
            told = ", ".join(f"{name} {when}" for name, when in differing.items())
            logger.info("settings reloaded", extra={"changes": told or "none"})
            return {"changes": differing}
        for problem in problems:
            logger.error("settings not reloaded", extra={"problem": problem})
        return {"error": "all settings stay as they are", "problems": problems}

    async def _take(self, settings: Settings) -> dict[str, Changes]:
        differing = changes(self.chat.settings, settings)
        await self.chat.reload(settings)
        self.configure(self.chat.settings)
        return differing

    async def _read(self) -> Settings:
        with trio.move_on_after(READ_SECONDS):
            return await trio.to_thread.run_sync(self.read, abandon_on_cancel=True)
        raise SettingsError(f"settings could not be read within {READ_SECONDS:g} seconds")
