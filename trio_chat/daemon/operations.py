"""The commands for a running daemon: status, clients, accounts, reload, upgrade and stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import trio
from attrs import asdict, define, field

from trio_chat.config.changes import Changes, changes
from trio_chat.config.settings import Settings
from trio_chat.daemon import moderation, systemd
from trio_chat.daemon.accounts import DELETE, DONE, manage
from trio_chat.daemon.changing import (
    Changing,
    log_reload,
    not_reloaded,
    not_upgraded,
    read_again,
)
from trio_chat.daemon.clients import MOST_CLIENTS
from trio_chat.daemon.control import Command, Listing, Response
from trio_chat.daemon.upgrade.predecessor import DaemonState, hand_over
from trio_chat.errors import (
    ControlError,
    HandoverError,
    SettingsError,
    StoreError,
)
from trio_chat.hub.embedder import UserInfo
from trio_chat.hub.whole import Outcome
from trio_chat.metrics.process import usage
from trio_chat.server.chat import Chat
from trio_chat.version import version

# A stop waits for the engine for so long, and only to say what follows.
OTHERS_SECONDS: Final = 3.0

logger = logging.getLogger("trio_chat")


# Commands for the whole chat may be for one of its nodes.
NODE: Final[Mapping[str, type]] = {"node": str}
# Those of moderators may be for a room, and not for the whole server.
ROOM: Final[Mapping[str, type]] = {"room": str}


@define
class Operations:
    """The commands of the control socket; the signals SIGHUP and SIGUSR2 use them too.

    `read` reads the settings again, or raises `SettingsError`. `configure` takes new settings for
    the process, such as the log level. `stopping` is set to stop the daemon, and when a successor
    has taken over.
    """

    chat: Chat
    addresses: Sequence[str]
    read: Callable[[], Settings]
    configure: Callable[[Settings], None]
    stopping: trio.Event
    own: DaemonState
    # The process that has taken over, once one has.
    successor: int | None = None
    _changing: Changing = field(factory=Changing)

    @property
    def commands(self) -> dict[str, Command]:
        """The commands by the names that the control socket takes."""
        return {
            "status": Command(self.status),
            "nodes": Command(self.nodes),
            "clients": Command(self.clients, takes={"limit": int}, may_take=NODE),
            "announce": Command(self.announce, takes={"text": str}, may_take=NODE),
            "kick": Command(self.kick, takes={"client": str, "reason": str}, may_take=NODE),
            "account": Command(self.account, takes={"do": str}, may_take={"name": str}),
            "moderate": Command(self.moderate, takes={"do": str, "arguments": str}, may_take=ROOM),
            "actions": Command(self.actions, takes={"limit": int}, may_take=ROOM),
            "reload": Command(self.reload),
            "upgrade": Command(self.upgrade, then=self.end_upgrade),
            "stop": Command(self.stop, then=self.begin_stop),
        }

    async def status(self) -> Response:
        """Return the statistics of the chat and the process; times are in seconds."""
        await trio.lowlevel.checkpoint()
        self._check_ours()
        statistics = asdict(self.chat.statistics())
        if statistics["node"] is None:
            del statistics["node"]
        return {
            "version": version(),
            "process": os.getpid(),
            "uptime": round(self.chat.uptime, 3),
            "listening": self.addresses,
            "store": self.chat.settings.shown_store,
            "stopping": self.stopping.is_set(),
            "problems": self.chat.health().problems,
            **statistics,
            **asdict(usage()),
        }

    async def nodes(self) -> Response:
        """List all nodes of the chat. Raises `ControlError` if there are none."""
        self._check_ours()
        found = await self.chat.nodes()
        if not found:
            store = self.chat.settings.shown_store
            raise ControlError(
                f"this chat has no nodes: its store is {store}, and several daemons share a chat "
                "by a store on Redis"
            )
        return {"nodes": [asdict(node) for node in found]}

    async def clients(self, limit: int, node: str = "") -> Listing:
        """List at most `limit` clients, a row each, in the order in which they came.

        They are those of all nodes, or of one `node`. `missing` says which nodes have not answered.
        """
        self._check_ours()
        if not 0 < limit <= MOST_CLIENTS:
            raise ControlError(f"the limit must be from 1 to {MOST_CLIENTS}")
        outcome = await self.chat.whole.users(limit, node)
        users = outcome.value.users
        answer = {"clients": outcome.value.clients, "shown": len(users)}
        return Listing(_with_missing(answer, outcome), map(_row, users))

    async def announce(self, text: str, node: str = "") -> Response:
        """Show all clients a line, and give the number of `clients` that were told.

        They are those of all nodes, or of one `node`. `missing` says which nodes have not answered.
        Raises `Refused` for text that may not be shown.
        """
        self._check_ours()
        outcome = await self.chat.whole.announce(text, node)
        logger.info("announced", extra={"by": "control socket", "clients": outcome.value})
        return _with_missing({"clients": outcome.value}, outcome)

    async def kick(self, client: str, reason: str, node: str = "") -> Response:
        """End a client for good, by its id or its nick; `kicked` says whether it was there.

        `missing` says which nodes have not answered. Raises `Refused` for a reason that may not be
        shown.
        """
        self._check_ours()
        whole = self.chat.whole
        outcome = await whole.kick(await whole.find(client), reason, node)
        return _with_missing({"kicked": outcome.value}, outcome)

    async def account(self, do: str, name: str = "") -> Listing:
        """Manage accounts; see `manage`. The people in a deleted account are logged out.

        Raises `ControlError` if none are kept.
        """
        self._check_ours()
        if (accounts := self.chat.accounts) is None:
            raise ControlError(
                "this daemon keeps no accounts: they need a store in a file or on Redis, "
                "accounts = true, and no jwt_key"
            )
        listing = await manage(accounts, do, name, self.chat.settings.nick_chars)
        if do == DELETE:
            await self.chat.log_out(str(listing.answer["id"]))
        if do in DONE:
            # Not the answer, which may have a code.
            extra = {"by": "control socket", "account": listing.answer["nick"]}
            logger.info(DONE[do], extra=extra)
        return listing

    async def moderate(self, do: str, arguments: str, room: str = "") -> Response:
        """Mute, ban, undo or remove; see `moderation.act`."""
        self._check_ours()
        if do not in moderation.ROWS:
            raise ControlError(f"one can {', '.join(moderation.ROWS)}, but not {do!r}")
        return await moderation.act(self.chat, do, arguments, room)

    async def actions(self, limit: int, room: str = "") -> Listing:
        """List the actions of moderators; see `moderation.actions`."""
        self._check_ours()
        return await moderation.actions(self.chat, limit, room)

    def _check_ours(self) -> None:
        if self.successor is not None:
            raise ControlError(f"process {self.successor} has just taken over: ask again")

    # --- stop -------------------------------------------------------------------------------------

    async def stop(self) -> Response:
        """Return the process that stops, and its `grace`; the stop begins after this answer.

        For a node, `moving` clients can resume within `resume_grace` seconds. `others` is the
        number of other nodes with a lease, or `None` if the engine does not answer at once.
        """
        others = await self._others()
        self._check_ours()
        self._changing.give_up()
        logger.info("stopping", extra={"by": "control socket"})
        settings, statistics = self.chat.settings, self.chat.statistics()
        answer = {"process": os.getpid(), "grace": settings.stop_grace}
        if statistics.node is None:
            return answer
        return {
            **answer,
            "others": others,
            "moving": statistics.dialects.get("websocket", 0),
            "resume_grace": settings.resume_grace,
        }

    async def _others(self) -> int | None:
        with trio.move_on_after(OTHERS_SECONDS), suppress(StoreError):
            own = self.chat.statistics().node
            return sum(
                own is not None and node.name != own.name and node.lease_left > 0
                for node in await self.chat.nodes()
            )
        return None

    def begin_stop(self) -> None:
        """Have the daemon stop, and give up an upgrade that is not complete."""
        self._changing.give_up()
        self.stopping.set()

    # --- reload -----------------------------------------------------------------------------------

    async def reload(self) -> Response:
        """Read the settings again and take those that can change, or keep all old ones.

        Returns `changes`, the settings that differ with when each changes. A new `certificate` is
        given by its fingerprint. If something is wrong, it gives `problems` instead. Raises
        `ChatClosed` once the chat is stopping, `ControlError` if another process has taken over.
        """
        async with self._changing.lock:
            self._check_ours()
            await systemd.reloading()
            answer = await self._reload()
            await systemd.ready()
            return answer

    async def _reload(self) -> Response:
        before = self.chat.certificate
        try:
            differing = await self._take(await read_again(self.read))
        except SettingsError as error:
            return not_reloaded("all settings stay as they are", str(error).split("\n"))
        log_reload(differing)
        answer: dict[str, object] = {"changes": differing}
        if self.chat.certificate != before:
            answer["certificate"] = self.chat.certificate
            logger.info("certificate changed", extra={"sha256": self.chat.certificate})
        return answer

    async def _take(self, settings: Settings) -> dict[str, Changes]:
        differing = changes(self.chat.settings, settings)
        await self.chat.reload(settings)
        self.configure(self.chat.settings)
        return differing

    # --- upgrade ----------------------------------------------------------------------------------

    async def upgrade(self) -> Response:
        """Hand everything over to the program and settings that are on disk now, or go on.

        Returns the `process` that has taken over, with `clients` and `seconds`, or else `problems`.
        Raises `Refused` if an upgrade is under way or impossible, and `ChatClosed` if the chat is
        stopping. Raises `ControlError` if another process has taken over before.
        """
        self._check_ours()
        try:
            async with self._changing.upgrading():
                return await self._upgrade()
        except Exception:
            self.end_upgrade()  # the error came after the handover
            raise

    async def _upgrade(self) -> Response:
        logger.info("upgrading")
        try:
            outcome = await hand_over(self.chat, self.own, self._handed_over)
        except HandoverError as error:
            return not_upgraded(f"process {os.getpid()} continues", str(error).split("\n"))
        seconds = round(outcome.seconds, 3)
        told = {"clients": outcome.clients, "seconds": seconds, "serves": outcome.serves}
        logger.info("handed over", extra={"successor": outcome.process, **told})
        return {"process": outcome.process, **told}

    def _handed_over(self, successor: int) -> None:
        self._changing.go_through()
        self.successor = successor

    def end_upgrade(self) -> None:
        """Have this process end if another one has its chat."""
        if self.successor is not None:
            self.stopping.set()


def _row(user: UserInfo) -> Response:
    row = asdict(user)
    if not user.node:
        del row["node"]
    return row


def _with_missing(answer: Response, outcome: Outcome[Any]) -> Response:
    return {**answer, "missing": outcome.missing} if outcome.missing else answer
