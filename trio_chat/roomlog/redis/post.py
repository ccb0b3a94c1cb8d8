"""Requests from node to node, by a mailbox for each node in the engine.

They go beside the turns, with connections of their own. So an operator can ask a node that lags, or
whose turn is in doubt. A message is taken once, or lost. If a connection breaks, its sender may
post it a second time, and the receiver ignores that.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeAlias, cast

import trio
from attrs import define, field

from trio_chat.errors import ChatError, NoSuchNode, StoreError
from trio_chat.roomlog.peers import LAGGING, Answers, NodeInfo
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.connection import Connection, EngineAway, EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from trio_chat.roomlog.redis.scripts import Script

    Message: TypeAlias = Mapping[str, object]
    Answer: TypeAlias = Callable[[Message], Awaitable[Iterable[object]]]

logger = logging.getLogger("trio_chat")

# A node that lives answers within milliseconds. A person waits for one that does not.
ASK_SECONDS: Final = 3.0
# A node reads its mailbox at once, so an older one belongs to nobody.
KEPT_SECONDS: Final = 10.0
WAIT_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 0.1
# Messages in a mailbox, and requests that this node has yet to carry out.
MOST_MESSAGES: Final = 200
MOST_REQUESTS: Final = 16
# The newest messages by which a second copy is known.
REMEMBERED: Final = 256


@define(eq=False)
class _Asked:
    """A request of this node, and what has been answered so far."""

    enough: Callable[[object], bool] | None
    values: dict[str, list[object]] = field(factory=dict)
    complete: set[str] = field(factory=set)
    expected: set[str] | None = None
    # Nodes that cannot be reached, or have said that they cannot do it.
    silent: set[str] = field(factory=set)
    done: trio.Event = field(factory=trio.Event)

    def hear(self, message: Message) -> None:
        """Take a message of a node that answers."""
        node = str(message.get("from", ""))
        if "error" in message:
            self.silent.add(node)
            self.complete.add(node)
        elif message.get("done"):
            self.values.setdefault(node, [])
            self.complete.add(node)
        else:
            value = message.get("value")
            self.values.setdefault(node, []).append(value)
            if self.enough is not None and self.enough(value):
                self.done.set()
        self._settle()

    def expect(self, nodes: set[str]) -> None:
        """Learn who has got the request."""
        self.expected = nodes
        self._settle()

    def _settle(self) -> None:
        if self.expected is not None and self.expected <= self.complete:
            self.done.set()

    def answers(self, problem: str) -> Answers:
        """Return what there is by now."""
        late = set() if self.expected is None else self.expected - self.complete
        values = {node: found for node, found in self.values.items() if node in self.complete}
        enough = self.enough
        if enough is not None and any(enough(v) for found in self.values.values() for v in found):
            return Answers(self.values)
        return Answers(values, tuple(sorted(late | self.silent)), problem)


class Post:
    """The post of one node; see `trio_chat.roomlog.peers.Peers`."""

    def __init__(self, name: str, connect: Callable[[], Awaitable[Connection]], key: str) -> None:
        self._name = name
        self._mailbox = f"{key}:mail:{name}"
        # One connection waits for messages, and one makes calls, one at a time.
        self._reads = Client(connect, key)
        self._calls = Client(connect, key)
        self._calling = trio.Lock()
        self._asked: dict[str, _Asked] = {}
        # Whether messages may be read, and the scope of waiting for one.
        self._may_read = trio.Event()
        self._may_read.set()
        self._reading = trio.CancelScope()
        self._taken: deque[str] = deque(maxlen=REMEMBERED)

    @property
    def name(self) -> str:
        """The name of this node."""
        return self._name

    def close(self) -> None:
        """Close the connections. Never blocks."""
        self._reads.close()
        self._calls.close()

    def pause(self) -> None:
        """Leave the mailbox alone until `resume`."""
        self._may_read = trio.Event()
        self._reading.cancel("the chat pauses")

    def resume(self) -> None:
        """Undo `pause`."""
        self._may_read.set()

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """Return all nodes by name. Raises `StoreError`."""
        try:
            rows = await self._call(scripts.NODES)
        except (EngineAway, EngineError) as error:
            raise StoreError(f"the store does not answer: {error}") from None
        found = [_node(cast("Sequence[object]", row)) for row in rows]
        return tuple(sorted(found, key=lambda node: node.name))

    async def ask(
        self,
        request: Message,
        *,
        node: str = "",
        enough: Callable[[object], bool] | None = None,
    ) -> Answers:
        """Ask one other node, or all others. Raises `NoSuchNode`."""
        asked, label, problem = _Asked(enough), secrets.token_hex(8), ""
        self._asked[label] = asked
        message = {"id": label, "from": self._name, "request": request}
        try:
            with trio.move_on_after(ASK_SECONDS):
                reached, missed = await self._post(node, message)
                if node and not (reached or missed):
                    raise NoSuchNode(f"there is no node {node}: trio-chat nodes lists them")
                asked.silent |= missed
                asked.expect(reached)
                await asked.done.wait()
            if asked.expected is None:
                problem = f"the store has not answered within {ASK_SECONDS:g} seconds"
        except (EngineAway, EngineError) as error:
            problem = f"the store does not answer: {error}"
        finally:
            del self._asked[label]
        return asked.answers(problem)

    @trio.lowlevel.enable_ki_protection
    async def serve(self, answer: Answer) -> NoReturn:
        """Read the mailbox, and carry out requests, until cancelled."""
        send, receive = trio.open_memory_channel["Message"](MOST_REQUESTS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry_out, answer, receive)
            while True:
                await self._may_read.wait()
                with trio.CancelScope() as self._reading:
                    while True:
                        self._hear(await self._next(), send)

    async def _next(self) -> object:
        """Return the next message, or `None` if there is none yet."""
        try:
            reply = await self._reads.call(
                "BLPOP", self._mailbox, int(WAIT_SECONDS), seconds=WAIT_SECONDS + 2.0
            )
        except (EngineAway, EngineError):  # the log tells people of that
            await trio.sleep(RETRY_SECONDS)  # before it is tried again
            return None
        if not isinstance(reply, list):
            return None
        _, text = cast("list[bytes]", reply)
        try:
            return json.loads(text)
        except ValueError:
            logger.warning("something in the mailbox is no message", extra={"bytes": len(text)})
            return None

    def _hear(self, message: object, send: trio.MemorySendChannel[Message]) -> None:
        if not isinstance(message, dict):
            return
        heard, copy = cast("Message", message), str(message.get("copy"))
        if copy in self._taken:
            return
        self._taken.append(copy)
        if "request" in heard:
            try:
                send.send_nowait(heard)
            except trio.WouldBlock:
                logger.warning("a node asks too much", extra={"node": heard.get("from")})
        elif (asked := self._asked.get(str(heard.get("id")))) is not None:
            asked.hear(heard)

    @trio.lowlevel.enable_ki_protection
    async def _carry_out(
        self, answer: Answer, receive: trio.MemoryReceiveChannel[Message]
    ) -> NoReturn:
        while True:
            message = await receive.receive()
            head = {"id": message.get("id"), "from": self._name}
            asker = str(message.get("from"))
            try:
                with trio.move_on_after(ASK_SECONDS):  # after that nobody waits for it
                    for value in await answer(cast("Message", message["request"])):
                        await self._send(asker, head | {"value": value})
                    await self._send(asker, head | {"done": True})
            except ChatError as error:
                await self._tell_error(asker, head | {"error": str(error)})
            except Exception:
                logger.exception("a request of another node failed")
                await self._tell_error(asker, head | {"error": "that has failed"})

    async def _tell_error(self, asker: str, message: Message) -> None:
        with trio.move_on_after(ASK_SECONDS):
            await self._send(asker, message)

    async def _send(self, asker: str, message: Message) -> None:
        """Answer, once the asker's mailbox has room. An engine that is away loses the answer."""
        try:
            while True:
                _, missed = await self._post(asker, message)
                if not missed:
                    return
                await trio.sleep(RETRY_SECONDS)  # until the asker has read some
        except (EngineAway, EngineError) as error:
            raise StoreError(f"the store does not answer: {error}") from None

    async def _post(self, node: str, message: Message) -> tuple[set[str], set[str]]:
        """Return the nodes that have got a message, and those that cannot be reached."""
        kept = round(KEPT_SECONDS * 1000)
        text = json.dumps({**message, "copy": secrets.token_hex(8)})
        reply = await self._call(scripts.POST, self._name, node, text, kept, MOST_MESSAGES)
        reached, missed = ({name.decode() for name in names} for names in _lists(reply))
        return reached, missed

    async def _call(self, script: Script, *arguments: str | int) -> list[object]:
        async with self._calling:
            try:
                return await self._calls.script(script, *arguments)
            except EngineAway:
                # The last call is long ago: the engine may have closed the connection, or moved.
                return await self._calls.script(script, *arguments)


def _lists(reply: list[object]) -> list[list[bytes]]:
    return cast("list[list[bytes]]", reply)


def _node(row: Sequence[object]) -> NodeInfo:
    name, left, since, unread, users, text = cast("tuple[bytes, int, int, int, int, bytes]", row)
    about = cast("Message", json.loads(text)) if text else {}
    state: Literal["serving", "lagging", "lease run out"] = "serving"
    if left <= 0:
        state = "lease run out"
    elif unread > LAGGING:
        state = "lagging"
    return NodeInfo(
        name=name.decode(),
        state=state,
        lease_left=left / 1000,
        version=str(about.get("version", "")),
        machine=str(about.get("machine", "")),
        process=_number(about.get("process")),
        clients=_number(about.get("clients")),
        users=users,
        unread=unread,
        since=since / 1000,
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
