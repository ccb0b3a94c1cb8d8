"""Lines that an operator of the server shows to everyone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.moderation.rules import Role
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.session import Session

logger = logging.getLogger("trio_chat")


class Announcing:
    """Handles announcements."""

    def __init__(self, collect: Collect, authorize: Authorize) -> None:
        self._collect = collect
        self._authorize = authorize
        self.handlers: Handlers = {commands.Announce: self._announce}

    def _announce(self, session: Session, record: commands.Announce) -> None:
        if self._authorize.role(session.user, None) is not Role.SERVER:
            sentence = "only operators of the server may announce something"
            raise Refused(sentence, code=Code.NOT_ALLOWED)
        told = self._collect.announce(record.text)
        logger.info("announced", extra={"by": session.user.nick, "clients": told})
        clients = "1 client" if told == 1 else f"{told} clients"
        self._collect.reply(session, events.Notice(f"you have told {clients}"))
