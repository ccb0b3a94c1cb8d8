"""Accounts: who logs in and out, and what people do with their accounts.

Passwords and tokens are checked outside the hub (`trio_chat.people`), and the asker's next commands
wait. Others see a login as an entry of the log.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from attrs import asdict

from trio_chat.config.endpoints import is_local
from trio_chat.config.trusted import is_trusted
from trio_chat.errors import ChatClosed, Code, Refused
from trio_chat.hub import inbox
from trio_chat.hub.handlers.asking import ACCOUNTS, Asking
from trio_chat.protocol import commands, events
from trio_chat.protocol.account_rows import ELSEWHERE
from trio_chat.protocol.names import NOBODY, Name
from trio_chat.protocol.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import Account, User
    from trio_chat.people import Device, Identity, Kept, LoggedIn
    from trio_chat.people.accounts import People

logger = logging.getLogger("trio_chat")

T = TypeVar("T")

# Seconds for a deletion, as it goes on without its asker. Others wait for a hash before it.
DELETION_SECONDS: Final = 5.0
# Refusals for a wrong password, code or token. The log has no line for others, such as those after
# too many tries: these cost a stranger nothing.
WRONG: Final = frozenset[str]({Code.WRONG_PASSWORD, Code.BAD_TOKEN, Code.NOT_FROM_HERE})


class Accounts:
    """Handles the records about accounts, and the request to log everyone out of one.

    Without accounts it refuses all records.
    """

    def __init__(self, state: State, collect: Collect) -> None:
        self._state = state
        self._collect = collect
        self.handlers: Handlers = {
            commands.Register: self._register,
            commands.LogIn: self._log_in,
            commands.Authenticate: self._authenticate,
            commands.LogOut: self._log_out,
            commands.Recover: self._recover,
            commands.ChangePassword: self._change_password,
            commands.ShowAccount: self._show,
            commands.ListDevices: self._list_devices,
            commands.RevokeDevice: self._revoke_device,
            commands.ExportAccount: self._export,
            commands.RenewRecovery: self._renew_recovery,
            commands.DeleteAccount: self._delete,
        }
        self.requests: dict[type[inbox.HubEvent], Callable[[Any], None]] = {
            inbox.LogOutAll: self._log_out_all,
            inbox.LoginsDue: self._logins_due,
        }

    # --- in and out -------------------------------------------------------------------------------

    def _register(self, session: Session, record: commands.Register) -> None:
        self._at_the_door(session)
        people, user = self._people(), session.user
        if not user.keys:
            raise Refused(
                "choose a nick first: /nick NAME; your account gets that name",
                code=Code.NOT_LOGGED_IN,
            )
        if user.keys[0] in self._state.operators:
            # The first person to register such a nick would be an operator.
            raise Refused(
                f"the nick {user.nick} is an operator's: the server's owner makes that account",
                code=Code.NICK_RESERVED,
            )
        name = Name(user.nick, user.keys[0], user.keys)
        address = session.link.address
        ask = partial(people.register, name, record.password, address, record.device)
        self._ask(session, record, ask, partial(self._enter, "registered"))

    def _log_in(self, session: Session, record: commands.LogIn) -> None:
        if not record.again:
            self._at_the_door(session)
        address, name, password = session.link.address, record.name, record.password
        if (authority := self._state.authority) is not None:
            private = self._is_private(session)
            ask = partial(authority.log_in, name, password, address, private=private)
        else:
            ask = partial(self._people().log_in, name, password, address, record.device)
        self._ask_to_enter(session, record, ask, name)

    def _authenticate(self, session: Session, record: commands.Authenticate) -> None:
        token, address = record.token, session.link.address
        if (authority := self._state.authority) is not None:
            # A person who is logged in may log in again, for longer.
            private = self._is_private(session)
            ask = partial(authority.authenticate, token, address, private=private)
        else:
            self._at_the_door(session)
            ask = partial(self._people().authenticate, token, address)
        self._ask_to_enter(session, record, ask, NOBODY)

    def _is_private(self, session: Session) -> bool:
        """Whether nobody could read a secret on its way. If not, the settings have let it pass."""
        settings, link = self._state.settings, session.link
        if settings.plaintext_passwords == "refuse" or link.tls or is_local(link.address):
            return True
        return is_trusted(session.proxy or link.address, settings.private_networks)

    def _recover(self, session: Session, record: commands.Recover) -> None:
        self._at_the_door(session)
        ask = partial(
            self._people().recover,
            record.name,
            record.code,
            record.password,
            session.link.address,
            record.device,
        )
        self._ask_to_enter(session, record, ask, record.name)

    def _at_the_door(self, session: Session) -> None:
        """Raise `Refused` for a client that is logged in."""
        if session.user.account is not None:
            raise _logged_in_already(session.user)

    def _people(self) -> People:
        """Return the accounts. Raises `Refused` if none are kept here."""
        if self._state.authority is not None:
            raise Refused(ELSEWHERE, code=Code.KEPT_ELSEWHERE)
        if self._state.people is None:
            raise Refused("this server keeps no accounts", code=Code.NO_ACCOUNTS)
        return self._state.people

    def _ask_to_enter(
        self,
        session: Session,
        record: commands.Command,
        ask: Callable[[], Awaitable[LoggedIn]],
        name: Name,
    ) -> None:
        async def enter() -> LoggedIn:
            try:
                return await ask()
            except Refused as refusal:
                self._refused_login(session, name, refusal)
                raise

        def then(session: Session, found: LoggedIn) -> None:
            self._check_who(session.user, record, found.identity)
            self._enter("logged in", session, found)

        self._ask(session, record, enter, then)

    def _refused_login(self, session: Session, name: Name, refusal: Refused) -> None:
        self._state.counts.logins_refused += 1
        if refusal.code not in WRONG:
            return
        # People type passwords in the place of names, so the log has only names of accounts.
        people = self._state.people
        known = people is not None and people.holder(name.keys)
        account = {"account": name.display} if known else {}
        extra = {"address": session.link.peer, **account, "reason": refusal.code}
        logger.info("login refused", extra=extra)

    def _enter(self, what: str, session: Session, found: LoggedIn) -> None:
        user, identity = session.user, found.identity
        name = identity.name
        people = self._state.people
        if people is not None and people.holder(name.keys) != identity.id:
            raise Refused("this account was deleted", code=Code.NO_SUCH_ACCOUNT)
        self._log(what, user, name.display)
        draft = events.PersonChanged(
            *(user.id, user.nick, identity.id, name, identity.made),
            expires=found.expires,
            read_markers=found.read_markers
            if people is None
            else people.read_markers.newest(identity.id, found.read_markers),
        )
        self._collect.claim(session, draft, _entered(found, user))
        if not user.awaited:
            self._collect.next(session, commands.TakeMail())
        elif user.about is not UNKNOWN:
            # It has introduced itself, and its nick or its network was refused.
            self._collect.next(session, commands.TakeNick(name))

    def _check_who(self, user: User, record: commands.Command, identity: Identity) -> None:
        """Raise `Refused` if a user cannot be this person by this command."""
        login = record if isinstance(record, commands.LogIn) else None
        may_change = user.account is None or (login is not None and login.again)
        if user.person != identity.id and not may_change:
            raise _logged_in_already(user)
        # Not before the password was right: nobody else learns who is an operator.
        is_one = identity.name.keys[0] in self._state.operators
        if login is not None and login.operator and not is_one:
            sentence = f"{identity.name.display} is no operator of the server"
            raise Refused(sentence, code=Code.NOT_ALLOWED)

    def _log_out(self, session: Session, _: commands.LogOut) -> None:
        if self._state.authority is None:
            self._people()
        _account_of(session)
        self._log("logged out", session.user, session.user.nick)
        draft, reply = _leaving(session.user)
        self._collect.claim(session, draft, reply)

    def _log_out_all(self, request: inbox.LogOutAll) -> None:
        for user in self._state.users_of(request.account):
            # Users with such a draft leave the account by it. A login is refused by now. The nodes
            # of others log them out.
            if user.is_here and user.id not in self._collect.turn.nicks:
                self._log("logged out", user, user.nick)
                draft, reply = _leaving(user)
                self._collect.draft_of(user, draft, None if user is request.asker else reply)
        self._collect.answer_later(request, None)

    def _logins_due(self, _: inbox.LoginsDue) -> None:
        now, expiring = time.time(), self._state.expiring
        for user, at in list(expiring.items()):
            if at > now:
                continue
            if user.expires > now:
                expiring[user] = user.expires
                if user.session is not None:
                    self._collect.reply(user.session, events.Expiring(user.expires - now))
            elif user.id not in self._collect.turn.nicks:
                self._log("login ended", user, user.nick)
                self._collect.draft_of(user, *_leaving(user))

    def _log(self, what: str, user: User, account: str) -> None:
        place = user.session.link if user.session is not None else user.detached
        address = "" if place is None else place.peer
        logger.info(what, extra={"address": address, "client": user.id, "account": account})

    # --- inside -----------------------------------------------------------------------------------

    def _inside(self, session: Session) -> tuple[People, Account]:
        """Return the accounts, and the one that a client is in. Raises `Refused`."""
        return self._people(), _account_of(session)

    def _change_password(self, session: Session, record: commands.ChangePassword) -> None:
        people, account = self._inside(session)
        address = session.link.address
        ask = partial(
            people.change_password, account.id, record.old, record.new, address, record.device
        )
        self._ask(session, record, ask, self._changed_password)

    def _changed_password(self, session: Session, found: LoggedIn) -> None:
        self._collect.reply(session, _entered(found, session.user))

    def _show(self, session: Session, _: commands.ShowAccount) -> None:
        user, others = session.user, len(self._inside(session)[1].users) - 1
        connections = f"{others} other connection{'' if others == 1 else 's'}"
        sentence = f"you are logged in as {user.nick}, with {connections}"
        self._collect.reply(session, events.Notice(sentence))

    def _list_devices(self, session: Session, record: commands.ListDevices) -> None:
        people, account = self._inside(session)
        self._ask(session, record, partial(people.devices, account.id), self._devices)

    def _devices(self, session: Session, devices: Sequence[Device]) -> None:
        listed = [events.Device(d.number, d.label, d.made, d.seen) for d in devices]
        self._collect.reply(session, events.DevicesListed(listed))

    def _revoke_device(self, session: Session, record: commands.RevokeDevice) -> None:
        people, account = self._inside(session)
        ask = partial(people.revoke, account.id, record.number)
        sentence = f"device {record.number} has to log in again"
        self._ask(session, record, ask, self._done(sentence))

    def _export(self, session: Session, record: commands.ExportAccount) -> None:
        people, account = self._inside(session)
        self._ask(session, record, partial(people.export, account.id), self._exported)

    def _exported(self, session: Session, kept: Kept) -> None:
        data = json.dumps(asdict(kept), ensure_ascii=False)
        self._collect.reply(session, events.AccountExported(data))

    def _renew_recovery(self, session: Session, record: commands.RenewRecovery) -> None:
        people, account = self._inside(session)
        address = session.link.address
        ask = partial(people.renew_recovery, account.id, record.password, address)
        self._ask(session, record, ask, self._renewed)

    def _renewed(self, session: Session, code: str) -> None:
        self._collect.reply(session, events.RecoveryRenewed(code))

    def _delete(self, session: Session, record: commands.DeleteAccount) -> None:
        people, account = self._inside(session)
        ask = partial(_delete, people, account.id, record.password, session)
        self._ask(session, record, ask, self._deleted)

    def _deleted(self, session: Session, _: None) -> None:
        self._collect.reply(session, _leaving(session.user)[1])

    # --- asking -----------------------------------------------------------------------------------

    def _ask(
        self,
        session: Session,
        record: commands.Command,
        ask: Callable[[], Awaitable[T]],
        then: Callable[[Session, T], None],
    ) -> None:
        self._collect.query(session, record, Asking(ACCOUNTS, ask, then))

    def _done(self, sentence: str) -> Callable[[Session, object], None]:
        """Return what answers a command that has no result."""
        return lambda session, _: self._collect.reply(session, events.Notice(sentence))


def _logged_in_already(user: User) -> Refused:
    return Refused(f"you are logged in as {user.nick}: /logout first", code=Code.LOGGED_IN)


def _account_of(session: Session) -> Account:
    if (account := session.user.account) is None:
        raise Refused("you are not logged in: /login NAME", code=Code.NOT_LOGGED_IN)
    return account


def _entered(found: LoggedIn, user: User) -> events.LoggedIn:
    """Return the answer to a login of a user."""
    about = found.identity.id, found.identity.name.display, found.token, found.recovery
    return events.LoggedIn(*about, found.device, old=user.nick, was=user.person)


async def _delete(people: People, account: str, password: str, session: Session) -> None:
    """Delete an account, and log everyone out of it, even if the asker is gone meanwhile."""
    request = inbox.LogOutAll(account, session.user)
    with (
        suppress(trio.ClosedResourceError, trio.BrokenResourceError, ChatClosed),
        session.channel.clone() as channel,
        trio.fail_after(DELETION_SECONDS, shield=True),
    ):
        await people.delete(account, password, session.link.address)
        await channel.send(request)
        await request.result()


def _leaving(user: User) -> tuple[events.PersonChanged, events.LoggedOut]:
    """Return the draft of a logout, and its answer."""
    draft = events.PersonChanged(user.id, user.nick, user.id, NOBODY)
    return draft, events.LoggedOut(user.id, NOBODY.display, user.nick, user.person)
