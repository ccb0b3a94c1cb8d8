"""Private messages that wait for accounts until one of their devices is there.

Messages are removed once they are delivered. A crash in between delivers them again, and loses
none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.errors import Code, Refused
from trio_chat.people import Waiting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from trio_chat.people.keeping import Keeping

# The most that waits for one account: messages, and bytes of their texts.
MOST_MESSAGES: Final = 100
MOST_BYTES: Final = 65_536
# Messages of one sender that wait, for all accounts together: so nobody fills the file.
MOST_OF_SENDER: Final = 20
# A message that nobody has got by then is removed.
KEPT_SECONDS: Final = 30 * 86_400.0
# Seconds for the rest of a delivery that has begun, as it goes on without its client.
DELIVERY_SECONDS: Final = 2.0

_MESSAGES: Final = """
SELECT number, sender.id, sender.nick, receiver.id, receiver.nick, text, time FROM mail
JOIN accounts AS sender ON sender.id = mail.sender
JOIN accounts AS receiver ON receiver.id = mail.receiver
"""


class Mail:
    """The messages that wait. Accounts are given by their ids. `receivers` have messages.

    All methods that wait raise `StoreError`.
    """

    def __init__(self, store: Keeping, receivers: Iterable[str]) -> None:
        self._store = store
        self._receivers = set(receivers)
        # Its holder delivers. While the store is released, the mail itself holds it.
        self._turn = trio.CapacityLimiter(1)
        self._paused = False

    def waits_for(self, receiver: str) -> bool:
        """Whether messages may wait for an account. This does not wait."""
        return receiver in self._receivers

    def expect(self, receiver: str) -> None:
        """Note that another node keeps a message for an account."""
        self._receivers.add(receiver)

    async def leave(self, sender: str, receiver: str, text: str, casefolded: str = "") -> Waiting:
        """Keep a message for an account, whose name is `casefolded` if that is given.

        Raises `Refused` if there is no such account, or too much waits.
        """

        def work(connection: sqlite3.Connection) -> Waiting:
            _forget_old(connection)
            _check(connection, sender, receiver, text, casefolded)
            [(number,)] = connection.execute(
                "INSERT INTO mail (sender, receiver, text, time) VALUES (?, ?, ?, ?) "
                "RETURNING number",
                (sender, receiver, text, time.time()),
            ).fetchall()
            return Waiting(
                *connection.execute(f"{_MESSAGES} WHERE number = ?", (number,)).fetchone()
            )

        waiting = await self._store.run(work)
        self._receivers.add(receiver)
        return waiting

    async def deliver(
        self, receiver: str, show: Callable[[Sequence[Waiting]], Awaitable[bool]]
    ) -> None:
        """Have the messages for an account shown, oldest first, and remove them from the disk.

        `show` returns whether somebody has got them. Otherwise they wait on.
        """

        def work(connection: sqlite3.Connection) -> tuple[Waiting, ...]:
            _forget_old(connection)
            rows = connection.execute(
                f"{_MESSAGES} WHERE receiver = ? ORDER BY number", (receiver,)
            )
            return tuple(Waiting(*row) for row in rows)

        async with self._turn:
            messages = await self._store.run(work)
            self._receivers.discard(receiver)
            if not messages:
                return
            self._receivers.add(receiver)
            with trio.move_on_after(DELIVERY_SECONDS, shield=True):
                if await show(messages):
                    await self._remove(messages)

    async def _remove(self, messages: Sequence[Waiting]) -> None:
        numbers = [(message.number,) for message in messages]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM mail WHERE number = ?", numbers)

        await self._store.run(work, scrubs=True)

    async def pause(self) -> None:
        """Let the delivery that has begun end, and begin no other until `resume`."""
        await self._turn.acquire_on_behalf_of(self)
        self._paused = True

    def resume(self) -> None:
        """Deliver again, if `pause` has stopped that."""
        if self._paused:
            self._paused = False
            self._turn.release_on_behalf_of(self)


def receivers(connection: sqlite3.Connection) -> list[str]:
    """Return the accounts with messages. Forget the messages that have waited too long."""
    _forget_old(connection)
    return [account for (account,) in connection.execute("SELECT DISTINCT receiver FROM mail")]


def of_account(connection: sqlite3.Connection, account: str) -> tuple[Waiting, ...]:
    """Return the messages that wait for an account, and those of it that wait for others."""
    rows = connection.execute(
        f"{_MESSAGES} WHERE receiver = ?1 OR sender = ?1 ORDER BY number", (account,)
    )
    return tuple(Waiting(*row) for row in rows)


def _check(
    connection: sqlite3.Connection, sender: str, receiver: str, text: str, casefolded: str
) -> None:
    """Raise `Refused` if this message cannot wait."""
    account = connection.execute(
        "SELECT nick, casefolded FROM accounts WHERE id = ?", (receiver,)
    ).fetchone()
    if account is None or casefolded not in {"", account[1]}:
        nick = casefolded or "that person"
        raise Refused(f"no one here is called {nick}", code=Code.NO_SUCH_NICK)
    nick = account[0]
    [(messages, size)] = connection.execute(
        "SELECT count(*), ifnull(sum(length(CAST(text AS BLOB))), 0) FROM mail WHERE receiver = ?",
        (receiver,),
    )
    if messages >= MOST_MESSAGES or size + len(text.encode()) > MOST_BYTES:
        raise Refused(
            f"too many messages wait for {nick}: try again when {nick} is here",
            code=Code.TOO_MUCH_WAITS,
        )
    [(sent,)] = connection.execute("SELECT count(*) FROM mail WHERE sender = ?", (sender,))
    if sent >= MOST_OF_SENDER:
        raise Refused(
            f"{sent} messages of yours wait already: try again when one of them is delivered",
            code=Code.TOO_MUCH_WAITS,
        )


def _forget_old(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM mail WHERE time < ?", (time.time() - KEPT_SECONDS,))
