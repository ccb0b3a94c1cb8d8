"""Operators' requests to the whole chat: to this process, and to the others that share its log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast

from attrs import NOTHING, asdict, fields_dict, frozen

from trio_chat.errors import Code, NoSuchNode, Refused
from trio_chat.hub.embedder import UserInfo
from trio_chat.hub.inbox import Announce, EndOrphan, FindClient, Kick, ListUsers, TellClient
from trio_chat.protocol.names import parse_nick
from trio_chat.protocol.text import clean_text, is_blank
from trio_chat.roomlog.peers import missing

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings
    from trio_chat.hub.inbox import Request
    from trio_chat.metrics.statistics import Statistics
    from trio_chat.roomlog.peers import Answers, NodeInfo, Peers

logger = logging.getLogger("trio_chat")

T = TypeVar("T")

# Users in one message from node to node: about 20 KB.
PAGE: Final = 50
FIELDS: Final = fields_dict(UserInfo)
REQUIRED: Final = {name for name, about in FIELDS.items() if about.default is NOTHING}


class AskHub(Protocol):
    """Asks the hub of this process."""

    async def __call__(self, request: Request[T]) -> T:
        """Return the answer. Raises `ChatClosed` once the chat has stopped."""
        ...


@frozen
class Outcome(Generic[T]):
    """The answers of several nodes, put together.

    `silent` are nodes that have not answered in time. `problem` says why no other node could be
    asked, or is empty.
    """

    value: T
    silent: tuple[str, ...] = ()
    problem: str = ""

    @property
    def missing(self) -> str:
        """Say in words what is missing; nothing if all have answered."""
        return missing(self.silent, self.problem)


@frozen
class Listed:
    """Users in the order in which they came, and how many clients there are."""

    users: tuple[UserInfo, ...]
    clients: int


class WholeChat:
    """Carries out requests here and in the other processes.

    A `node` means that node alone. All methods raise `NoSuchNode`, `Refused` for a
    text that is empty, too long or may not be shown, and `ChatClosed` once the chat has stopped.
    """

    def __init__(
        self,
        ask: AskHub,
        statistics: Callable[[], Statistics],
        settings: Callable[[], Settings],
        peers: Peers | None,
    ) -> None:
        """Begin. `statistics` and `settings` are those of this process. `peers` are the others."""
        self._ask = ask
        self._statistics = statistics
        self._settings = settings
        self._peers = peers

    def _clients(self) -> int:
        """Count the clients of this process, without connections that only ask by HTTP."""
        statistics = self._statistics()
        return statistics.clients - statistics.dialects.get("http", 0)

    def _others(self, node: str) -> Peers | None:
        """Return the others, if they are meant."""
        peers = self._peers
        if peers is None and node:
            raise NoSuchNode(
                "this chat is one process, without nodes: several share a chat by a store on Redis"
            )
        return None if peers is None or node == peers.name else peers

    def _means_us(self, node: str) -> bool:
        return not node or self._peers is None or node == self._peers.name

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """Return all nodes by name; none if the chat is one process. Raises `StoreError`."""
        return () if self._peers is None else await self._peers.nodes()

    async def announce(self, text: str, node: str) -> Outcome[int]:
        """Show every client a line. The value is how many were told."""
        others, text = self._others(node), self._cleaned(text, "text")
        told = await self._ask(Announce(text)) if self._means_us(node) else 0
        if others is None:
            return Outcome(told)
        answers = await others.ask({"do": "announce", "text": text}, node=node)
        return Outcome(told + answers.total, answers.silent, answers.problem)

    async def users(self, limit: int, node: str) -> Outcome[Listed]:
        """Return at most `limit` users of the whole chat."""
        others = self._others(node)
        here, clients = list[UserInfo](), 0
        if self._means_us(node):
            users = await self._ask(ListUsers(limit))
            here = list(users)
            clients = max(len(here), self._clients())
        if others is None:
            return Outcome(Listed(tuple(here), clients))
        answers = await others.ask({"do": "users", "limit": limit}, node=node)
        for value in _values(answers):
            if isinstance(value, int):
                clients += value
            elif isinstance(value, list):
                here += _users(cast("list[object]", value))
        here.sort(key=lambda user: user.since)
        return Outcome(Listed(tuple(here[:limit]), clients), answers.silent, answers.problem)

    async def tell(self, client: str, text: str) -> Outcome[bool]:
        """Show one client a line. The value is whether it was shown."""
        text = self._cleaned(text, "text")
        if await self._ask(TellClient(client, text)):
            return Outcome(value=True)
        return await self._one({"do": "tell", "client": client, "text": text}, "")

    async def kick(self, client: str, reason: str, node: str) -> Outcome[bool]:
        """End one client for good. The value is whether it was there."""
        others, reason = self._others(node), self._cleaned(reason, "reason")
        if self._means_us(node) and await self._ask(Kick(client, reason)):
            return Outcome(value=True)
        if others is None:
            return Outcome(value=False)
        outcome = await self._one({"do": "kick", "client": client, "reason": reason}, node)
        if outcome.value or outcome.missing or node:
            return outcome
        return Outcome(await self._ask(EndOrphan(client)))

    async def find(self, text: str) -> str:
        """Return the id of the client with this id or nick.

        Without one the text is returned: only the node of a client without nick and room knows it.
        """
        found = await self._ask(FindClient(text))
        if not found:
            with suppress(Refused):
                nick = parse_nick(text, self._settings().nick_chars)
                found = await self._ask(FindClient(nick.casefolded))
        return found or text

    def _cleaned(self, text: str, what: str) -> str:
        if is_blank(text):
            raise Refused(f"a {what} is required", code=Code.BAD_TEXT)
        name = "line" if what == "text" else what
        return clean_text(text, what=name, limit=self._settings().message_chars)

    async def _one(self, request: Mapping[str, object], node: str) -> Outcome[bool]:
        """Ask for something that only the node of a client can do."""
        if self._peers is None:
            return Outcome(value=False)
        answers = await self._peers.ask(request, node=node, enough=_is_true)
        found = any(map(_is_true, _values(answers)))
        return Outcome(found, answers.silent, answers.problem)

    # --- requests of others -----------------------------------------------------------------------

    async def carry_out(self, request: Mapping[str, object]) -> Iterable[object]:
        """Carry out the request of another node here. Returns what it is answered with.

        Raises `Refused` for a request of a version that this one does not know.
        """
        match request:
            case {"do": "announce", "text": str(text)}:
                told = await self._ask(Announce(text))
                logger.info("announced", extra={"by": "another node", "clients": told})
                return [told]
            case {"do": "users", "limit": int(limit)}:
                users = await self._ask(ListUsers(limit))
                return _pages(users, max(len(users), self._clients()))
            case {"do": "tell", "client": str(client), "text": str(text)}:
                return [await self._ask(TellClient(client, text))]
            case {"do": "kick", "client": str(client), "reason": str(reason)}:
                return [await self._ask(Kick(client, reason))]
            case _:
                raise Refused("this node does not know that request", code=Code.UNKNOWN_COMMAND)


def _is_true(value: object) -> bool:
    return value is True


def _values(answers: Answers) -> Iterator[object]:
    for values in answers.values.values():
        yield from values


def _pages(users: Sequence[UserInfo], clients: int) -> Iterator[object]:
    """Yield the number of clients, and then the users, in parts that take a moment each."""
    yield clients
    for begin in range(0, len(users), PAGE):
        yield [asdict(user) for user in users[begin : begin + PAGE]]


def _users(rows: Sequence[object]) -> Iterator[UserInfo]:
    """Read users of a node, whose version may know more or less of them."""
    for row in rows:
        if not isinstance(row, Mapping):
            continue
        known = {name: value for name, value in row.items() if name in FIELDS}
        rooms = known.get("rooms")
        if known.keys() >= REQUIRED and isinstance(rooms, list):
            known["rooms"] = tuple(map(str, cast("list[object]", rooms)))
            yield UserInfo(**known)
