"""Accounts as a chat uses them: people register, log in, and prove who they are.

Passwords are hashed with argon2id, and never kept. Tokens and codes are kept as SHA-256.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection
from functools import partial
from hmac import compare_digest
from typing import TYPE_CHECKING

from attrs import field, frozen

from trio_chat.errors import Code, Refused, StoreError
from trio_chat.people import Device, Kept, LoggedIn, rows
from trio_chat.people.administration import Administration, new_account
from trio_chat.people.hasher import Hasher
from trio_chat.people.ignored import Ignored
from trio_chat.people.keeping import Keeping
from trio_chat.people.mail import Mail
from trio_chat.people.names import Names
from trio_chat.people.networks import Tags, network_of
from trio_chat.people.passwords import check_new, prepare
from trio_chat.people.read_markers import ReadMarkers, of_account
from trio_chat.people.reports import Reports
from trio_chat.people.rows import Account, Known
from trio_chat.people.throttle import Throttle
from trio_chat.people.tokens import code_digest, new_code, new_token, token_digest
from trio_chat.protocol.names import Name

if TYPE_CHECKING:
    from trio_chat.people.redis.news import News


@frozen
class _Proved:
    """An account whose password was right, and its new hash if the old one is out of date."""

    account: Account
    network: str
    rehashed: str = field(repr=False)


class People:
    """The accounts of a chat, made by `open_people`, or by `open_redis_people` for several nodes.

    `address` is that of the client who asks. `device` is the label of a device that is to stay
    logged in, such as "page"; without one, there is no token. All methods that wait raise
    `Refused`, and `StoreError` if the store cannot be read or written. With several nodes, `news`
    has what others change.
    """

    def __init__(
        self, store: Keeping, known: Known, mailed: Collection[str], ignored: Ignored
    ) -> None:
        """`mailed` are the accounts that messages wait for."""
        self._store = store
        self.news: News | None = None
        self._marks = known.marks
        self.tags = Tags(known.marks)
        self.names = Names(known.keys, known.deleted, known.marks)
        self._hasher = Hasher()
        self._throttle = Throttle()
        self.ignored = ignored
        self.administration = Administration(store, self.names, ignored, known.marks)
        self.mail = Mail(store, mailed)
        self.reports = Reports(store)
        self.read_markers = ReadMarkers(store)

    def holder(self, keys: Collection[str]) -> str | None:
        """Return the id of the account whose nick has one of these keys, or `None`.

        The id is empty if that account was deleted. This does not wait.
        """
        return self.names.holder(keys)

    def has(self, account: str) -> bool:
        """Whether there is an account with this id. This does not wait."""
        return self.names.has(account)

    # --- to prove who one is ----------------------------------------------------------------------

    async def register(
        self, name: Name, password: str, address: str, device: str | None = None
    ) -> LoggedIn:
        """Make an account for a nick that its client has. The result has the recovery code."""
        chosen = check_new(password, name)
        self.names.check_free(name)
        network = network_of(address)
        with self._hasher.place(known=False):
            self._throttle.register(network)
            try:
                hashed = await self._hasher.hash(chosen)
                made = await self._store.run(
                    lambda connection: self._renew(
                        connection, new_account(connection, name), hashed, network, device
                    )
                )
            except (Refused, StoreError):
                self._throttle.take_back_registration(network)
                raise
        self.names.add(made.identity)
        return made

    async def log_in(
        self, name: Name, password: str, address: str, device: str | None = None
    ) -> LoggedIn:
        """Log in with a password. An unknown name is refused like a wrong password."""
        find = partial(rows.by_name, casefolded=name.casefolded)
        proved = await self._prove(find, name, password, address)

        def note(connection: sqlite3.Connection) -> LoggedIn:
            _check_current(connection, proved.account)
            rows.forget_failures(connection, proved.account.id)
            if proved.rehashed:
                rows.rehash(connection, proved.account.id, proved.rehashed)
            return self._enter(connection, proved.account, proved.network, device)

        return await self._store.run(note)

    async def authenticate(self, token: str, address: str) -> LoggedIn:
        """Log in with the token of a device. The result has no new one."""
        digest, network = token_digest(token), network_of(address)

        def look(connection: sqlite3.Connection) -> LoggedIn:
            now = time.time()
            found = rows.by_token(connection, digest, now)
            if found is None:
                raise Refused(
                    "this device is logged in no more: log in with the password",
                    code=Code.BAD_TOKEN,
                )
            account, number = found
            rows.see(connection, account.id, self._marks.of_network(account.id, network), now)
            return self._entered(connection, account, number)

        return await self._store.run(look)

    async def recover(
        self, name: Name, code: str, password: str, address: str, device: str | None = None
    ) -> LoggedIn:
        """Choose a new password with a recovery code, or with a code from the operator.

        All devices are logged out. The result has a new recovery code.
        """
        chosen = check_new(password, name)
        digest, network = code_digest(code), network_of(address)

        def find(connection: sqlite3.Connection) -> Account:
            account = rows.by_name(connection, name.casefolded)
            if account is None or digest is None or not _is_code(account, digest):
                raise Refused(
                    f"there is no account {name.display} with this code: look it up and try again",
                    code=Code.WRONG_PASSWORD,
                )
            return account

        await self._store.run(find)
        # A code needs no place: a flood of wrong passwords must not keep its person out.
        hashed = await self._hasher.hash(chosen)
        entered = await self._store.run(
            # Somebody else may have used the code meanwhile.
            lambda connection: self._renew(connection, find(connection), hashed, network, device)
        )
        self._throttle.forgive(name, network)
        return entered

    # --- for who is logged in ---------------------------------------------------------------------

    async def change_password(
        self, account: str, old: str, new: str, address: str, device: str | None = None
    ) -> LoggedIn:
        """Change the password of an account. All devices are logged out."""
        found = await self._store.run(partial(_existing, account=account))
        chosen = check_new(new, found.name)
        find = partial(rows.by_id, account=account)
        proved = await self._prove(find, found.name, old, address)
        hashed = await self._hasher.hash(chosen)

        def change(connection: sqlite3.Connection) -> LoggedIn:
            _check_current(connection, proved.account)
            rows.set_password(connection, account, hashed)
            return self._enter(connection, proved.account, proved.network, device)

        return await self._store.run(change, scrubs=True)

    async def renew_recovery(self, account: str, password: str, address: str) -> str:
        """Return a new recovery code for an account. The one before counts no more."""
        found = await self._store.run(partial(_existing, account=account))
        find = partial(rows.by_id, account=account)
        proved = await self._prove(find, found.name, password, address)
        code, digest = new_code()

        def renew(connection: sqlite3.Connection) -> None:
            _check_current(connection, proved.account)
            rows.set_recovery(connection, account, digest)
            rows.forget_failures(connection, account)

        await self._store.run(renew)
        return code

    async def devices(self, account: str) -> tuple[Device, ...]:
        """Return the devices of an account that stay logged in."""
        return await self._store.run(partial(rows.devices, account=account))

    async def revoke(self, account: str, device: int) -> None:
        """Log out a device of an account, given by its number."""
        if not await self._store.run(partial(rows.revoke, account=account, number=device)):
            raise Refused(
                f"you have no device {device}: see /account devices", code=Code.NO_SUCH_DEVICE
            )

    async def export(self, account: str) -> Kept:
        """Return all that is kept of an account but its secrets."""
        await self.read_markers.write()
        return await self._store.run(
            lambda connection: rows.kept(connection, _existing(connection, account))
        )

    async def made(self, account: str) -> float:
        """Return when an account was made, in seconds since 1970; 0 if there is none by this id."""
        found = await self._store.run(partial(rows.by_id, account=account))
        return 0.0 if found is None else found.made

    async def nicks(self, accounts: Collection[str]) -> dict[str, str]:
        """Return the nicks of these accounts by their ids."""
        return await self._store.run(partial(rows.nicks, accounts=accounts))

    async def delete(self, account: str, password: str, address: str) -> None:
        """Delete an account for good. Nobody can have its nick again."""
        found = await self._store.run(partial(_existing, account=account))
        find = partial(rows.by_id, account=account)
        await self._prove(find, found.name, password, address)
        await self.administration.delete_account(account)

    # --- handing over -----------------------------------------------------------------------------

    async def check(self) -> None:
        """Check that a successor could use the store now. Raises `StoreError`."""
        await self._store.check()

    async def pause(self) -> None:
        """Let go of the store, so that a successor can use it. All calls wait until `resume`."""
        self.read_markers.pause()
        await self.mail.pause()  # first: a delivery that has begun needs the store
        await self._store.pause()

    def resume(self) -> None:
        """Go on with the store, if `pause` has let go of it."""
        self._store.resume()
        self.mail.resume()
        self.read_markers.resume()

    # --- steps ------------------------------------------------------------------------------------

    async def _prove(
        self,
        find: Callable[[sqlite3.Connection], Account | None],
        name: Name,
        password: str,
        address: str,
    ) -> _Proved:
        """Return the account if this is its password. Otherwise raise `Refused`, and count that."""
        network = network_of(address)
        self._throttle.check_wait(name, network)  # before the file is asked: that costs a thread

        def look(connection: sqlite3.Connection) -> tuple[Account | None, bool]:
            account = find(connection)
            if account is None:
                return None, False
            mark = self._marks.of_network(account.id, network)
            return account, rows.is_known(connection, account.id, mark)

        account, known = await self._store.run(look)
        with self._hasher.place(known=known):
            self._throttle.try_password(name, network, known=known)
            if account is None:
                await self._store.run(rows.fail_unknown)
                failures, hashed = self._throttle.fail_unknown(name), ""
            else:
                failures = await self._store.run(partial(rows.fail, account=account.id))
                hashed = account.password
            self._throttle.check_account(name, failures, known=known)
            verified = await self._hasher.verify(hashed, prepare(password))
        if account is None or not verified.right:
            raise _wrong(name)
        self._throttle.right(name, network, known=known)
        return _Proved(account, network, verified.rehashed)

    def _renew(
        self,
        connection: sqlite3.Connection,
        account: Account,
        hashed: str,
        network: str,
        device: str | None,
    ) -> LoggedIn:
        """Give an account a password and a recovery code, and log it in."""
        code, digest = new_code()
        rows.set_password(connection, account.id, hashed)
        rows.set_recovery(connection, account.id, digest)
        return self._enter(connection, account, network, device, code)

    def _enter(
        self,
        connection: sqlite3.Connection,
        account: Account,
        network: str,
        device: str | None,
        recovery: str = "",
    ) -> LoggedIn:
        """Note a login, and make the token of the device if there is one."""
        now = time.time()
        rows.see(connection, account.id, self._marks.of_network(account.id, network), now)
        if device is None:
            return self._entered(connection, account, recovery=recovery)
        token = new_token()
        number = rows.add_device(connection, account.id, device, token_digest(token), now)
        return self._entered(connection, account, number, token, recovery)

    def _entered(
        self,
        connection: sqlite3.Connection,
        account: Account,
        device: int = 0,
        token: str = "",
        recovery: str = "",
    ) -> LoggedIn:
        """Return a login with all that the chat keeps in memory for the account."""
        return LoggedIn(
            account.identity,
            device,
            token,
            recovery,
            read_markers=of_account(connection, account.id),
        )


def _existing(connection: sqlite3.Connection, account: str) -> Account:
    """Return an account by its id. Raises `Refused` if it was deleted."""
    found = rows.by_id(connection, account)
    if found is None:
        raise Refused("this account was deleted", code=Code.NO_SUCH_ACCOUNT)
    return found


def _check_current(connection: sqlite3.Connection, account: Account) -> None:
    """Raise `Refused` if the password has changed since it was read."""
    found = rows.by_id(connection, account.id)
    if found is None or found.password != account.password:
        raise _wrong(account.name)


def _is_code(account: Account, digest: bytes) -> bool:
    """Whether a digest is that of the recovery code, or of a code of the operator in its time."""
    recovers = compare_digest(account.recovery, digest)
    resets = compare_digest(account.reset, digest)
    return recovers or (resets and time.time() < account.reset_until)


def _wrong(name: Name) -> Refused:
    nick = name.display
    return Refused(
        f"there is no account {nick} with this password: try again, or /recover {nick}",
        code=Code.WRONG_PASSWORD,
    )
