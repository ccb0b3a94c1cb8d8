"""Changes of accounts on other nodes: they reach what is in memory, and the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import NoReturn

    from trio_chat.people.accounts import People
    from trio_chat.people.redis.store import RedisPeopleStore
    from trio_chat.people.redis.tables import Change


class News:
    """Keeps the names, the receivers of mail and the lists of ignored people up to date."""

    def __init__(self, store: RedisPeopleStore, people: People) -> None:
        """Begin to listen. Nothing that `people` does not know may have changed by now."""
        self._store, self._people = store, people
        self._mailed, self._ignoring = set[str](), set[str]()
        self._marked = dict[tuple[str, str], float]()
        store.listen(self._hear)

    def mailed(self) -> set[str]:
        """Return the accounts for which other nodes have kept messages since the last call."""
        mailed, self._mailed = self._mailed, set()
        return mailed

    def ignoring(self) -> set[str]:
        """Return the accounts whose lists other nodes have changed since the last call."""
        ignoring, self._ignoring = self._ignoring, set()
        return ignoring

    def marked(self) -> dict[tuple[str, str], float]:
        """Return the read markers that other nodes have moved since the last call.

        Their times are by accounts and rooms.
        """
        marked, self._marked = self._marked, {}
        return marked

    async def follow(self, told: Callable[[], Awaitable[None]]) -> NoReturn:
        """Take what others change, until cancelled. `told` is called after each, and in between."""
        await self._store.follow(told)

    def _hear(self, changes: Iterable[Change]) -> None:
        names, mail, ignored = self._people.names, self._people.mail, self._people.ignored
        # Rows that are gone come first: another row may have the same key in the same step.
        for change in sorted(changes, key=lambda change: change.after is not None):
            row = change.after or change.before or {}
            is_there = change.after is not None
            if change.table == "names":
                names.put(str(row.get("key")), str(row.get("account")) if is_there else None)
            elif change.table == "deleted" and isinstance(mark := row.get("mark"), bytes):
                names.reserve(mark, is_so=is_there)
            elif change.table == "mail" and is_there:
                receiver = str(row.get("receiver"))
                mail.expect(receiver)
                self._mailed.add(receiver)
            elif change.table == "ignored":
                account, person, nick = (str(row.get(c)) for c in ("account", "person", "nick"))
                ignored.put(account, {person: nick} if is_there else {}, (person,))
                self._ignoring.add(account)
            elif change.table == "read_markers" and is_there:
                place = str(row.get("account")), str(row.get("room"))
                self._marked[place] = float(str(row.get("until")))
