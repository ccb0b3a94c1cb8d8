"""The calls of a remote client about its account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.protocol.events import (
    AccountExported,
    DevicesListed,
    LoggedIn,
    LoggedOut,
    Notice,
    RecoveryRenewed,
)
from trio_chat.remote.calls import Calls, unless

if TYPE_CHECKING:
    from trio_chat.protocol.events import Device


class AccountCalls(Calls):
    """Logging in, and what somebody may do with an account."""

    # Secrets are in no exception, and in no log.

    async def register(self, password: str, device: str | None = None) -> LoggedIn:
        """Make an account for the client's nick. The result has a recovery code.

        Here and in all such calls, `device` is what a list of devices calls this one. With it, the
        result has a token, and the client logs in by itself if it has to come back as a new one.
        """
        return await self._enter("register", device, password=password)

    async def log_in(self, nick: str, password: str, device: str | None = None) -> LoggedIn:
        """Log in to an account; see `register`."""
        return await self._enter("login", device, name=nick, password=password)

    async def authenticate(self, token: str) -> LoggedIn:
        """Log in with the token of a device."""
        entered = await self._ask(LoggedIn, "authenticate", token=token)
        self._session.token = token
        return entered

    async def recover(
        self, nick: str, code: str, password: str, device: str | None = None
    ) -> LoggedIn:
        """Set a new password with a recovery code, and log in. The result has a new code."""
        return await self._enter("recover", device, name=nick, code=code, password=password)

    async def log_out(self) -> LoggedOut:
        """Log out of the account, on this connection."""
        return await self._ask(LoggedOut, "logout")

    async def change_password(self, old: str, new: str, device: str | None = None) -> LoggedIn:
        """Change the password of the account. The tokens of all devices end; see `register`."""
        return await self._enter("change_password", device, old=old, new=new)

    async def renew_recovery(self, password: str) -> str:
        """Give a new recovery code for the account. The one before counts no more."""
        return (await self._ask(RecoveryRenewed, "renew_recovery", password=password)).recovery

    async def devices(self) -> list[Device]:
        """Give the devices that stay logged in to the account."""
        return (await self._ask(DevicesListed, "list_devices")).devices

    async def revoke(self, number: int) -> None:
        """End the login of the device with this number."""
        await self._ask(Notice, "revoke_device", number=number)

    async def export(self) -> str:
        """Give all that the server keeps of the account, as JSON."""
        return (await self._ask(AccountExported, "export_account")).data

    async def delete(self, password: str) -> LoggedOut:
        """Delete the account. Nobody can have its nick again."""
        return await self._ask(LoggedOut, "delete_account", password=password)

    async def _enter(self, type: str, device: str | None, **fields: str) -> LoggedIn:
        entered = await self._ask(LoggedIn, type, **fields, **unless(None, device=device))
        self._session.token = entered.token
        return entered
