"""The other processes of a chat: who they are, and how they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import NoReturn

# More than a node holds in memory before the hub takes them.
LAGGING: int = 1_000


@frozen
class NodeInfo:
    """A node of the chat at one moment, as `Chat.nodes` returns it."""

    name: str
    """The name of the node, by the setting `node`."""

    state: Literal["serving", "lagging", "lease run out"]
    """`lagging`: it has more than 1,000 turns of others to read. `lease run out`: it has been
    silent for a whole lease, and its users leave."""

    lease_left: float
    """Seconds until its lease runs out, negative if it has."""

    version: str
    """Its version of trio_chat."""

    machine: str
    """The name of its machine."""

    process: int
    """Its process there, or 0 if it has not said."""

    clients: int
    """Its clients, detached ones too, at its last beat."""

    users: int
    """Its users with a nick or a room."""

    unread: int
    """Turns of others that it had not read at its last beat."""

    since: float
    """Since when it has been there without a break, in seconds since 1970 by the engine's clock."""


@frozen
class Answers:
    """The answers of other nodes: for each node that has answered, its values in order.

    `silent` are nodes that may have got the request, or may not. `problem` says why nobody could be
    asked, or is empty.
    """

    values: Mapping[str, Sequence[object]]
    silent: tuple[str, ...] = ()
    problem: str = ""

    @property
    def total(self) -> int:
        """The sum of the numbers among the values."""
        return sum(v for values in self.values.values() for v in values if isinstance(v, int))

    @property
    def missing(self) -> str:
        """Say in words what is missing; nothing if all have answered."""
        return missing(self.silent, self.problem)


def missing(silent: Sequence[str], problem: str) -> str:
    """Say in words which nodes have not answered, or why none was asked; see `Answers`."""
    if problem:
        return f"the other nodes were not asked: {problem}"
    return f"no answer from {', '.join(silent)}" if silent else ""


class Peers(Protocol):
    """The other processes that share the log, and this one's name among them."""

    @property
    def name(self) -> str:
        """The name of this node."""
        ...

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """Return all nodes by name, this one too. Raises `StoreError` if that cannot be known."""
        ...

    async def ask(
        self,
        request: Mapping[str, object],
        *,
        node: str = "",
        enough: Callable[[object], bool] | None = None,
    ) -> Answers:
        """Ask one other node, or all others, within some seconds.

        A request and its answers are JSON. No more answers are waited for after a value for which
        `enough` is true. Each node carries a request out once, or not at all. Raises `NoSuchNode`.
        """
        ...

    async def serve(
        self, answer: Callable[[Mapping[str, object]], Awaitable[Iterable[object]]]
    ) -> NoReturn:
        """Answer requests of others by `answer`, one after the other, until cancelled.

        If `answer` raises `ChatError`, this node is silent for the asker.
        """
        ...
