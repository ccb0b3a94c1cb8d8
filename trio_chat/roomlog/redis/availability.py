"""Whether the log can take drafts now: the engine answers, and this node is among the others."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.errors import Code, Refused

if TYPE_CHECKING:
    from trio_chat.roomlog.commits import Commits
    from trio_chat.roomlog.redis.measures import Measures

logger = logging.getLogger("trio_chat")

# After so long a time without an answer, new drafts are refused, and the log says so.
PATIENCE_SECONDS: Final = 1.0


class Availability:
    """Knows since when the log has been unavailable, and writes to the daemon's log about it."""

    def __init__(self, commits: Commits, measures: Measures) -> None:
        self._commits = commits
        self._measures = measures
        # Since when the engine does not answer, and since when the others go on without this node.
        self._away_since: float | None = None
        self._apart_since: float | None = None
        self._is_full = False

    @property
    def refusal(self) -> Refused | None:
        """Why no new drafts can be taken now, or `None`."""
        times = [since for since in (self._away_since, self._apart_since) if since is not None]
        if not times or trio.current_time() - min(times) < PATIENCE_SECONDS:
            return None
        return Refused(
            "not done: the server cannot reach its store now; please try again later",
            code=Code.CANNOT_WRITE,
        )

    @property
    def is_apart(self) -> bool:
        """Whether the other nodes go on without this one."""
        return self._apart_since is not None

    @property
    def problem(self) -> str:
        """Say why new clients had better go to another node, although the engine answers."""
        if self._away_since is not None or self.refusal is None:
            return ""
        return "this node was cut off from the other nodes, and joins them again"

    def away(self, reason: str) -> None:
        """Record that the engine does not answer."""
        now = trio.current_time()
        if self._away_since is None:
            self._away_since = now
            self._measures.answers(up=False)
        elif now - self._away_since >= PATIENCE_SECONDS and not self._commits.problems:
            logger.warning("the store does not answer", extra={"reason": reason})
            self._commits.found((f"the store does not answer: {reason}",))

    def back(self) -> None:
        """Record that the engine answers."""
        if self._away_since is None:
            return
        seconds = round(trio.current_time() - self._away_since, 3)
        self._away_since = None
        self._measures.answers(up=True)
        if self._commits.problems:
            logger.info("the store answers again", extra={"seconds": seconds})
            self._commits.found(())

    def apart(self) -> None:
        """Record that the other nodes go on without this one."""
        self._apart_since = trio.current_time()

    def together(self) -> None:
        """Record that this node is among the others again."""
        self._apart_since = None

    def damaged(self, reason: str) -> None:
        """Record that the engine cannot carry out a script, because of what it finds there."""
        logger.error(
            "the chat's data in Redis is damaged, perhaps by another program, or the chat lacks "
            "rights there: restore it from a backup, delete it, or give the chat the rights",
            extra={"reason": reason},
        )

    def memory(self, *, is_full: bool) -> None:
        """Record whether the engine's memory is full."""
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if is_full:
            logger.error("the store's memory is full: raise maxmemory of Redis")
        else:
            logger.info("the store's memory is no longer full")
