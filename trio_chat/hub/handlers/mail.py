"""Private messages to accounts that are away: they wait in the file of the accounts.

Once a device of the account is there, all its devices that are there get them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from attrs import define

from trio_chat.errors import ChatClosed, Code, Refused, StoreError
from trio_chat.hub import inbox
from trio_chat.hub.handlers.asking import ACCOUNTS, Asking
from trio_chat.protocol import commands
from trio_chat.protocol.events import TellSent, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.people import Waiting
    from trio_chat.people.mail import Mail as KeptMail
    from trio_chat.protocol.events import Event

logger = logging.getLogger("trio_chat")


class Mail:
    """Lets messages wait, and delivers them."""

    def __init__(self, state: State, collect: Collect, authorize: Authorize) -> None:
        self._state = state
        self._collect = collect
        self._authorize = authorize
        self.handlers: Handlers = {commands.TakeMail: self._take}
        self.requests: dict[type[inbox.HubEvent], Callable[[Any], None]] = {
            inbox.DeliverMail: self._deliver,
            inbox.MailCame: self._came,
        }

    def account_of(self, record: commands.Tell) -> str:
        """Return the id of the account that a private message is for; empty if there is none.

        An id that comes from the nick may be that of a lookalike.
        """
        people = self._state.people
        if people is None:
            return ""
        if record.client is not None:
            return record.client if people.has(record.client) else ""
        return people.holder((record.name.casefolded,)) or ""

    def leave(self, session: Session, record: commands.Tell, draft: Told) -> None:
        """Keep a private message to an account. Raises `Refused`."""
        people, user = self._state.people, session.user
        if people is None or user.account is None:
            raise Refused(
                f"{record.name.display} is away: if you log in, your messages wait",
                code=Code.UNREACHABLE,
            )
        casefolded = "" if record.client is not None else record.name.casefolded
        ask = partial(people.mail.leave, user.account.id, draft.to, draft.text, casefolded)
        self._collect.query(session, record, Asking(ACCOUNTS, ask, self._left))

    def _left(self, session: Session, waiting: Waiting) -> None:
        self._collect.reply(session, _for_sender(session, waiting))
        for other in session.user.others:
            if other.session is not None:
                self._collect.tell(other, _for_sender(other.session, waiting))
        # A device may have come meanwhile, and have found nothing.
        self._take_for(waiting.receiver)

    def _came(self, event: inbox.MailCame) -> None:
        self._take_for(event.account)

    def _take_for(self, account: str) -> None:
        for device in self._state.users_of(account):
            if device.session is not None and device.session.closing is None:
                self._collect.next(device.session, commands.TakeMail())
                break

    def _take(self, session: Session, record: commands.TakeMail) -> None:
        people, account = self._state.people, session.user.account
        if people is not None and account is not None and people.mail.waits_for(account.id):
            self._collect.query(session, record, _Delivery(people.mail, session, account.id))

    def _deliver(self, request: inbox.DeliverMail) -> None:
        there = [u for u in self._state.users_of(request.account) if self._is_there(u)]
        for waiting in request.messages:
            # Somebody may have left messages for many people before a ban: it drops them.
            if not self._authorize.is_silenced(waiting.sender):
                for user in there:
                    self._collect.tell(user, _told(waiting))
        self._collect.answer_later(request, bool(there))

    def _is_there(self, user: User) -> bool:
        session = user.session
        return session is not None and session.closing is None and not session.slow_consumer


def _for_sender(session: Session, waiting: Waiting) -> Event:
    """Return what says that a message waits: to programs the message, and to others a sentence.

    In IRC, a message to somebody who is not there would be to nobody.
    """
    if session.local or session.encoding.dialect == "websocket":
        return _told(waiting)
    return TellSent(waiting.receiver_nick, waiting.text, waits=True)


def _told(waiting: Waiting) -> Told:
    return Told(
        waiting.receiver,
        waiting.sender,
        waiting.sender_nick,
        waiting.text,
        waiting.time,
        waited=True,
    )


@define(eq=False)
class _Delivery:
    """Has the hub deliver the messages that wait for an account."""

    _mail: KeptMail
    _session: Session
    _account: str

    async def look(self) -> None:
        """Do that."""
        try:
            await self._mail.deliver(self._account, self._show)
        except StoreError as error:
            logger.warning("private messages cannot be read", extra={"reason": str(error)})

    async def _show(self, messages: Sequence[Waiting]) -> bool:
        request = inbox.DeliverMail(self._account, messages)
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError, ChatClosed):
            async with self._session.channel.clone() as channel:
                await channel.send(request)
                return await request.result()
        return False

    def finish(self, session: Session) -> None:
        """Answer nothing: the messages are delivered."""
