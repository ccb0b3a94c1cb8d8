"""A node's place in a chat: it registers, announces its users, and leaves."""

from __future__ import annotations

import json
import logging
import secrets
from typing import TYPE_CHECKING, Final, NoReturn, cast

import trio
from attrs import frozen

from trio_chat.errors import StoreError
from trio_chat.protocol.events import Entered, NickChanged, PersonChanged
from trio_chat.protocol.names import ANONYMOUS, Name
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.codec import about_from, wire, words_of
from trio_chat.roomlog.redis.keys import SCHEMA
from trio_chat.roomlog.redis.node import (
    REAPED_AT_ONCE,
    RETRY_SECONDS,
    RejoinNeeded,
    TurnReply,
    milliseconds,
    turn_reply,
)
from trio_chat.roomlog.redis.operations import hash_of, room_from
from trio_chat.roomlog.world import World, WorldUser

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.roomlog.logged_room import LoggedRoom
    from trio_chat.roomlog.redis.codec import Argument, Batch
    from trio_chat.roomlog.redis.node import Node
    from trio_chat.roomlog.rules import Rules
    from trio_chat.roomlog.world import OwnUser, Place

logger = logging.getLogger("trio_chat")

# So long of that another node may fill gaps before what a node has at hand.
GAP_SECONDS: Final = 1.5
GAP_RETRY_SECONDS: Final = 0.25
# A try to register again after the engine says that this name is busy.
BUSY_SECONDS: Final = 0.5

ANNOUNCED_AT_ONCE: Final = 200
RESTORED_AT_ONCE: Final = 200


@frozen
class Registered:
    """The answer to `register`. `reply` answers turn `seq` of the epoch before, if it is known."""

    seq: int
    reply: TurnReply | None


class Membership:
    """The calls of one node that concern its place among the others.

    They use the node's connection for turns, so no turn may be under way.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    async def register(self, kept_rooms: Iterable[str]) -> Registered:
        """Begin a new epoch, with an empty inbox.

        Raises `StoreError` if another process has this name, or if the engine's data is of a newer
        version. Waits for the end of a lease that nobody renews.
        """
        node = self._node
        old, epoch = node.epoch, secrets.token_hex(6)
        identity = secrets.token_urlsafe(12)
        lease, left = milliseconds(node.lease), 0
        # An engine that was emptied gets back the secret by which rules know networks.
        secret = node.secret or secrets.token_urlsafe(32)
        about: list[Argument] = [node.name, epoch, old, lease, SCHEMA, identity, secret]
        while True:
            before = trio.current_time()
            reply = await node.patiently(scripts.REGISTER, *about, *kept_rooms)
            match reply:
                case [b"OK", int(seen), int(seq), answer, bytes(known), bytes(secret_of_all)]:
                    node.measures.lease_ends = before + node.lease
                    node.begin(epoch, seen, read=0)
                    node.identity, node.secret = known.decode(), secret_of_all.decode()
                    node.engine_changed = False
                    turn = f"{node.name} {old} {seq}"
                    # The engine has no reply to a turn that others have put back (DONE).
                    has_reply = isinstance(answer, list) and answer[:1] != [b"DONE"]
                    return Registered(seq, turn_reply(answer, turn) if has_reply else None)
                case [b"BUSY", int(more)] if left and more > left:
                    raise StoreError(
                        f"another node is called {node.name}: give this one another name (--node)"
                    )
                case [b"BUSY", int(first)]:
                    if not left:
                        seconds = first / 1000
                        logger.info(
                            "waiting for an earlier node's lease", extra={"seconds": seconds}
                        )
                    left = first
                    await trio.sleep(BUSY_SECONDS)  # the lease of its predecessor may run out
                case [b"REAP"]:
                    await node.patiently(scripts.REAP, node.name, 0, "", REAPED_AT_ONCE)
                case [b"SCHEMA", int(schema)]:
                    raise StoreError(
                        f"the rooms in this Redis have schema {schema}, and this version knows "
                        f"{SCHEMA}: use a newer version of trio_chat"
                    )
                case [b"WAIT"]:
                    await trio.sleep(RETRY_SECONDS)  # until the engine's recovery is over
                case _:
                    _unknown(reply)

    async def adopt(self, place: Place) -> tuple[list[str], dict[str, Rules]]:
        """Go on in the place of a process before this one.

        Returns the ids of its users, and the rules of their rooms that have some.

        Raises `RejoinNeeded` if that node has been given up.
        """
        node = self._node
        old = place.epoch
        node.begin(secrets.token_hex(6), place.seen, place.read)
        before = trio.current_time()
        about: list[Argument] = [node.name, node.epoch, old, milliseconds(node.lease), SCHEMA]
        # The process before may be of a version that knew no secret.
        reply = await node.patiently(scripts.ADOPT, *about, secrets.token_urlsafe(32))
        match reply:
            case [b"OK", bytes(identity), bytes(secret), list(users), list(ruled)]:
                node.identity, node.secret = identity.decode(), secret.decode()
                node.measures.lease_ends = before + node.lease
                rooms = zip(ruled[::2], map(room_from, ruled[1::2]), strict=True)
                rules = {cast("bytes", room).decode(): state.rules for room, state in rooms}
                return [cast("bytes", user).decode() for user in users], rules
            case _:
                node.epoch = old
                raise RejoinNeeded

    async def announce(
        self, users: Sequence[OwnUser], rooms: dict[str, LoggedRoom], *, with_rules: bool
    ) -> set[str]:
        """Say who is here, and how far rooms have got. Returns users whose nick somebody else has.

        `with_rules`, an engine that has lost everything learns the rules of these rooms. Raises
        `RejoinNeeded`.
        """
        node = self._node
        lost: set[str] = set()
        places: list[Argument] = [len(rooms)]
        for name, room in rooms.items():
            places += (name, room.position, room.topic, room.author, room.nick)
            rules = json.dumps(dict(room.rules.fields)) if with_rules and room.rules.fields else ""
            places += (milliseconds(room.time), room.rules.version, rules)
        for begin in range(0, max(1, len(users)), ANNOUNCED_AT_ONCE):
            last = begin + ANNOUNCED_AT_ONCE >= len(users)
            some: list[Argument] = [int(last), *places]
            for user in users[begin : begin + ANNOUNCED_AT_ONCE]:
                some += self._announced(user)
            reply = await node.patiently(scripts.ANNOUNCE, node.name, node.epoch, *some)
            places = [0]
            match reply:
                case [b"OK", int(turn), *ids]:
                    node.seen = max(node.seen, turn)
                    lost.update(cast("bytes", user).decode() for user in ids)
                case _:
                    raise RejoinNeeded
        return lost

    def _announced(self, user: OwnUser) -> list[Argument]:
        positions = "" if user.positions is None else json.dumps(user.positions)
        name = Name(user.nick, user.keys[0] if user.keys else "", user.keys)
        nick: NickChanged | PersonChanged = NickChanged(user.id, ANONYMOUS, name)
        if user.account:
            nick = PersonChanged(
                user.id, ANONYMOUS, user.account, name, user.since, expires=user.expires
            )
        grace = milliseconds(self._node.grace)
        said: list[Argument] = [user.id, hash_of(user.token), grace, positions]
        said += (user.nick, wire(nick), user.account, str(user.since), str(user.expires))
        said += (words_of(user.about),)
        said += (len(user.keys), *user.keys, len(user.rooms))
        for room, shown in user.rooms:
            said += (room, shown, wire(Entered(user.id, user.nick, room, shown)))
        return said

    async def world(self, rooms: Sequence[str]) -> tuple[World, int]:
        """Return all users, the state of some rooms, and the number of the last turn in it.

        Raises `RejoinNeeded`.
        """
        node = self._node
        while True:
            reply = await node.patiently(scripts.WORLD, node.name, node.epoch, *rooms)
            match reply:
                case [b"OK", int(turn), list(users), list(shown), list(states)]:
                    node.seen = max(node.seen, turn)
                    about = zip(rooms, map(room_from, states), strict=True)
                    return World(node.name, _users(users), _texts(shown), dict(about)), turn
                case [b"WAIT"]:
                    await trio.sleep(RETRY_SECONDS)  # until the engine's recovery is over
                case _:
                    raise RejoinNeeded

    async def leave(self) -> None:
        """End this node: its users leave, but those who can resume keep their time."""
        node = self._node
        left: object = 1
        while left:
            [left] = await node.patiently(scripts.REAP, node.name, 1, node.epoch, REAPED_AT_ONCE)

    async def restore(self, batches: Sequence[Batch]) -> int:
        """Put back what a new engine has lost. Returns the number of batches it had lost.

        If a batch comes after a gap, another node may have what is missing. It gets some time.
        """
        node = self._node
        put_back, waiting = await self._restore(batches, gaps=False)
        give_up = trio.current_time() + GAP_SECONDS
        while waiting and trio.current_time() < give_up:
            await trio.sleep(GAP_RETRY_SECONDS)  # until another node has filled the gap
            more, waiting = await self._restore(waiting, gaps=False)
            put_back += more
        more, _ = await self._restore(waiting, gaps=True, is_last=True)
        put_back += more
        node.measures.restored += put_back
        return put_back

    async def _restore(
        self, batches: Sequence[Batch], *, gaps: bool, is_last: bool = False
    ) -> tuple[int, list[Batch]]:
        """Offer batches to the engine. Returns how many it took, and those after a gap."""
        node = self._node
        put_back = 0
        waiting: list[Batch] = []
        for begin in range(0, max(1, len(batches)), RESTORED_AT_ONCE):
            some: list[Argument] = []
            for batch in batches[begin : begin + RESTORED_AT_ONCE]:
                topic = batch.topic()
                some += (batch.room, batch.top, batch.count, batch.time, batch.turn, batch.blob)
                some += (0,) if topic is None else (1, topic.text, topic.author, topic.nick)
            ends = is_last and begin + RESTORED_AT_ONCE >= len(batches)
            reply = await node.patiently(scripts.RESTORE, node.name, int(ends), int(gaps), *some)
            match reply:
                case [int(taken), *after_gap] if taken >= 0:
                    put_back += taken
                    numbers = cast("list[int]", after_gap)
                    waiting += [batches[begin + number - 1] for number in numbers]
                case _:  # the recovery is over
                    return put_back, []
        return put_back, waiting


def _texts(pairs: Sequence[object]) -> dict[str, str]:
    texts = [cast("bytes", text).decode() for text in pairs]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _users(pairs: Sequence[object]) -> list[WorldUser]:
    users: list[WorldUser] = []
    for user, record in _texts(pairs).items():
        about = json.loads(record)
        keys, rooms = tuple(about["k"]), tuple(about["r"])
        account, since = about.get("p", ""), float(about.get("s", 0))
        expires = float(about.get("x", 0))
        login = account, since, expires
        words = about_from(about.get("d", ""))
        users.append(WorldUser(user, about["o"], about["n"], keys, rooms, *login, words))
    return users


def _unknown(reply: object) -> NoReturn:
    raise RuntimeError(f"the engine gives an answer that nobody knows: {reply!r}")
