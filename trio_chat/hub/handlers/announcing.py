"""Lines that an operator of the server shows to everyone, on all nodes."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.handlers.asking import NODES, Asking
from trio_chat.moderation.fields import Role
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.session import Session
    from trio_chat.roomlog import LocalLog, SharedLog
    from trio_chat.roomlog.peers import Answers

logger = logging.getLogger("trio_chat")


class Announcing:
    """Handles announcements."""

    def __init__(self, collect: Collect, authorize: Authorize, log: LocalLog | SharedLog) -> None:
        self._collect = collect
        self._authorize = authorize
        self._peers = log.peers if log.shared is True else None
        self.handlers: Handlers = {commands.Announce: self._announce}

    def _announce(self, session: Session, record: commands.Announce) -> None:
        if self._authorize.role(session.user, None) is not Role.SERVER:
            sentence = "only operators of the server may announce something"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        told = self._collect.announce(record.text)
        logger.info("announced", extra={"by": session.user.nick, "clients": told})
        if self._peers is None:
            self._tell(session, told)
            return
        ask = partial(self._peers.ask, {"do": "announce", "text": record.text})
        then = partial(self._heard, told)
        self._collect.query(session, record, Asking(NODES, ask, then))

    def _heard(self, told: int, session: Session, answers: Answers) -> None:
        self._tell(session, told + answers.total)
        if answers.missing:
            self._collect.reply(session, events.Notice(answers.missing))

    def _tell(self, session: Session, told: int) -> None:
        clients = "1 client" if told == 1 else f"{told} clients"
        self._collect.reply(session, events.Notice(f"you have told {clients}"))
