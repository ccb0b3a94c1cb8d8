"""What its owner can ask of a running daemon: how it does, other settings, an upgrade, to stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

import trio
from attrs import asdict, define, field

from trio_chat.config.settings import Changes, Settings, changes
from trio_chat.daemon import systemd
from trio_chat.daemon.control import Command, Response
from trio_chat.daemon.upgrade.predecessor import DaemonState, hand_over
from trio_chat.errors import ChatClosed, Code, ControlError, HandoverError, Refused, SettingsError
from trio_chat.metrics.process import usage
from trio_chat.server import Chat
from trio_chat.version import version

# A file on a disk that hangs is given up.
READ_SECONDS: Final = 10.0

logger = logging.getLogger("trio_chat")


@define
class Operations:
    """The commands of the control socket; SIGHUP, SIGUSR2 and signals that stop lead here too.

    `read` gives the settings as they are in the file by now, or raises `SettingsError`. `configure`
    is called with new ones, for what is the process's and not the chat's. `stopping` is set to
    stop, and when a successor has taken over.
    """

    chat: Chat
    addresses: Sequence[str]
    read: Callable[[], Settings]
    configure: Callable[[Settings], None]
    stopping: trio.Event
    own: DaemonState
    # The process that has taken over, once one has.
    successor: int | None = None
    # A reload and an upgrade wait for each other.
    _changing: trio.Lock = field(factory=trio.Lock)
    _upgrading: trio.CancelScope | None = None

    @property
    def commands(self) -> dict[str, Command]:
        """What the control socket takes."""
        return {
            "status": Command(self.status),
            "reload": Command(self.reload),
            "upgrade": Command(self.upgrade, then=self.end_if_handed_over),
            "stop": Command(self.stop, then=self.begin_stop),
        }

    async def status(self) -> Response:
        """What the chat knows of itself; seconds where it is a time."""
        await trio.lowlevel.checkpoint()
        self._check_ours()
        return {
            "version": version(),
            "process": os.getpid(),
            "uptime": round(self.chat.uptime, 3),
            "listening": self.addresses,
            "store": self.chat.settings.store,
            "stopping": self.stopping.is_set(),
            "problems": self.chat.health().problems,
            **asdict(self.chat.statistics()),
            **asdict(usage()),
        }

    def _check_ours(self) -> None:
        if self.successor is not None:
            raise ControlError(f"process {self.successor} has just taken over: ask again")

    # --- stop -------------------------------------------------------------------------------------

    async def stop(self) -> Response:
        """Who stops, and how long that may take; it begins once this has been said."""
        await trio.lowlevel.checkpoint()
        self._check_ours()
        self._give_up_upgrade()
        logger.info("stopping", extra={"by": "control socket"})
        return {"process": os.getpid(), "grace": self.chat.settings.stop_grace}

    def begin_stop(self) -> None:
        """Have the daemon stop; an upgrade that has not come to its end is given up."""
        self._give_up_upgrade()
        self.stopping.set()

    # --- reload -----------------------------------------------------------------------------------

    async def reload(self) -> Response:
        """Read the settings again and take those that can change, or keep the old ones whole.

        Gives `changes`, the settings that differ and when each changes, with the fingerprint of the
        `certificate` if that is another one now, or else `problems`. Raises
        `ChatClosed` once the chat is stopping, `ControlError` if another process has taken over.
        """
        async with self._changing:
            self._check_ours()
            await systemd.reloading()
            answer = await self._reload()
            await systemd.ready()
            return answer

    async def _reload(self) -> Response:
        before = self.chat.certificate
        try:
            differing = await self._take(await self._read())
        except SettingsError as error:
            problems = str(error).split("\n")
        else:
            told = ", ".join(f"{name} {when}" for name, when in differing.items())
            logger.info("settings reloaded", extra={"changes": told or "none"})
            answer: dict[str, object] = {"changes": differing}
            if self.chat.certificate != before:
                answer["certificate"] = self.chat.certificate
                logger.info("certificate changed", extra={"sha256": self.chat.certificate})
            return answer
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

    # --- upgrade ----------------------------------------------------------------------------------

    async def upgrade(self) -> Response:
        """Hand everything over to the program and settings that are on disk now, or go on.

        Gives `process`, `clients` and `seconds` of who has taken over, or else `problems`. Raises
        `Refused` if an upgrade is under way or there can be none, `ControlError` if another process
        has taken over, `ChatClosed` if the chat is stopping.
        """
        if self._upgrading is not None:
            raise Refused("an upgrade is under way", code=Code.CANNOT_HAND_OVER)
        self._check_ours()
        try:
            with trio.CancelScope() as self._upgrading:
                async with self._changing:
                    return await self._upgrade()
        except Exception:
            self.end_if_handed_over()  # whatever has gone wrong after that
            raise
        finally:
            self._upgrading = None
        raise ChatClosed("the daemon is stopping")

    async def _upgrade(self) -> Response:
        logger.info("upgrading")
        try:
            outcome = await hand_over(self.chat, self.own, self._handed_over)
        except HandoverError as error:
            problems = str(error).split("\n")
            for problem in problems:
                logger.error("not upgraded", extra={"problem": problem})  # noqa: TRY400 - told
            return {"error": f"process {os.getpid()} serves on", "problems": problems}
        seconds = round(outcome.seconds, 3)
        told = {"clients": outcome.clients, "seconds": seconds, "serves": outcome.serves}
        logger.info("handed over", extra={"successor": outcome.process, **told})
        return {"process": outcome.process, **told}

    def _handed_over(self, successor: int) -> None:
        # There is no way back from here, and nothing that a stop could give up.
        self.successor, self._upgrading = successor, None

    def _give_up_upgrade(self) -> None:
        if self._upgrading is not None:
            self._upgrading.cancel("the daemon is stopping")

    def end_if_handed_over(self) -> None:
        """Have this process end if its chat is another's by now."""
        if self.successor is not None:
            self.stopping.set()
