"""The engine's scripts, called as nodes call them, and what they have made of the keys."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from engine import Engine
from processes import PATIENCE

from trio_chat.config.store_url import parse_store_url
from trio_chat.protocol.events import Ruled
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.codec import Argument, pack_ruled
from trio_chat.roomlog.redis.connection import Connection
from trio_chat.roomlog.redis.keys import KEY, SCHEMA

LEASE, DAY = 60_000, 86_400_000  # milliseconds
BATCH_BYTES, ROOM_BYTES, SIZE_STEP = 80, 700, 8192
Operation = tuple[Argument, ...]


def address_of(engine: Engine):
    return parse_store_url(f"redis://127.0.0.1:{engine.port}")


def text(reply: object) -> object:
    """A reply with texts for bytes, all the way down."""
    if isinstance(reply, bytes):
        return reply.decode()
    return [text(item) for item in reply] if isinstance(reply, list) else reply


def same(what: str, counted: object, there: object) -> None:
    """Compare, and say what differs, as pytest does not look into this module."""
    assert counted == there, f"{what}: {counted}, not {there}"


class Keys:
    """A connection to the engine that looks at the keys."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, command: str, key: str, *more: Argument):
        """Call a command on a key, given without its prefix."""
        return text(await self.client.call(command, f"{KEY}:{key}", *more, seconds=PATIENCE))

    async def hash(self, key: str) -> dict[str, str]:
        found = await self.ask("HGETALL", key)
        return dict(zip(found[::2], found[1::2], strict=True))

    async def user(self, user: str) -> dict | None:
        record = await self.ask("HGET", "users", user)
        return record and json.loads(record)

    async def users(self) -> dict[str, dict]:
        return {user: json.loads(record) for user, record in (await self.hash("users")).items()}

    async def inbox(self, node: str) -> list[tuple[str, str]]:
        """All that waits for a node: fields and values."""
        found: list[tuple[str, str]] = []
        for _, fields in await self.ask("XRANGE", f"in:{node}", "-", "+"):
            found += zip(fields[6::2], fields[7::2], strict=True)
        return found

    async def batches(self, room: str) -> list[tuple[int, int, str]]:
        """A room's history: last position, number of entries, what was said."""
        found = []
        rows = await self.client.script(
            scripts.PAGE, room, "-", "+", 1_000_000, 0, seconds=PATIENCE
        )
        for batch, fields in text(rows):
            about = dict(zip(fields[::2], fields[1::2], strict=True))
            found.append((int(batch.partition("-")[0]), int(about["n"]), about["d"]))
        return found

    async def holding(self, word: str) -> list[str]:
        """The keys in whose bytes a word is, whether the engine would still show it or not."""
        await self.client.call("CONFIG", "SET", "rdbcompression", "no")
        found = []
        for key in cast("list[bytes]", await self.client.call("KEYS", "*")):
            dump = cast("bytes | None", await self.client.call("DUMP", key))
            if dump is not None and word.encode() in dump:
                found.append(key.decode().removeprefix(f"{KEY}:"))
        return sorted(found)

    async def age(self, room: str, days: int, most: int = 1000) -> None:
        """Have the oldest batches of a room be older."""
        rows = await self.ask("XRANGE", f"e:{room}", "-", "+")
        await self.ask("DEL", f"e:{room}")
        for number, (batch, fields) in enumerate(rows):
            about = dict(zip(fields[::2], fields[1::2], strict=True))
            if number < most:
                about["t"] = str(int(about["t"]) - days * DAY)
            flat = [item for pair in about.items() for item in pair]
            await self.ask("XADD", f"e:{room}", batch, *flat)

    async def begun(self, room: str, days: int) -> None:
        """Have the history of a room have begun earlier."""
        began = int(await self.ask("HGET", f"r:{room}", "o"))
        await self.ask("HSET", f"r:{room}", "o", began - days * DAY)

    async def check(self) -> None:
        """The counters of the engine are right."""
        there: dict[str, list[str]] = defaultdict(list)
        for key in text(await self.client.call("KEYS", f"{KEY}:*")):
            kind, _, name = key.removeprefix(f"{KEY}:").partition(":")
            there[kind].append(name)
        await self._check_bytes(there["r"])
        users = await self.users()
        members = Counter(room for user in users.values() for room in user["r"])
        same("m", {room: int(n) for room, n in (await self.hash("m")).items()}, dict(members))
        same("rooms", set(await self.hash("rooms")), set(members))
        for room in members:
            here = Counter(u["o"] for u in users.values() if room in u["r"] and u["o"])
            counted = {node: int(n) for node, n in (await self.hash(f"i:{room}")).items()}
            same(f"i:{room}", counted, dict(here))
        persons = {about.get("p", user): about["k"] for user, about in users.items()}
        nicks = {key: person for person, keys in persons.items() for key in keys}
        same("nicks", await self.hash("nicks"), nicks)
        same("keys of nicks", sum(map(len, persons.values())), len(nicks))
        await self._check_logins(users, there["logins"])
        await self._check_rules(there)
        held = {f"{n} {room}" for room in there["held"] for n in await self.hash(f"held:{room}")}
        same("holding", set(await self.ask("ZRANGE", "holding", 0, -1)), held)
        for node in {about["o"] for about in users.values()} - {""}:
            mine = {user for user, about in users.items() if about["o"] == node}
            same(f"of:{node}", set(await self.ask("SMEMBERS", f"of:{node}")), mine)
        orphans = {user for user, about in users.items() if about["o"] == ""}
        same("orphans", set(await self.ask("ZRANGE", "orphans", 0, -1)), orphans)
        same("nobodies", [u for u, about in users.items() if not about["k"] and not about["r"]], [])

    async def _check_rules(self, there: dict[str, list[str]]) -> None:
        fields = {room: await self.hash(f"f:{room}") for room in there["f"]}
        if fields:
            same("ruled", set(await self.ask("SMEMBERS", "ruled")), set(fields))
        counts = Counter(f"{n}\n{v}" for found in fields.values() for n, v in found.items())
        if counts or "counts" in there:
            kept = {pair: int(count) for pair, count in (await self.hash("counts")).items()}
            same("counts", kept, dict(counts))
        with_rules = {*there["f"], *there["a"], *there["held"]}
        same("rules of forgotten rooms", with_rules - set(there["r"]), set())

    async def _check_logins(self, users: dict[str, dict], accounts: list[str]) -> None:
        inside = {user: about for user, about in users.items() if "p" in about}
        same("accounts", set(accounts), {about["p"] for about in inside.values()})
        for account in accounts:
            here = {user for user, about in inside.items() if about["p"] == account}
            same(account, set(await self.ask("SMEMBERS", f"logins:{account}")), here)
            same(f"nicks of {account}", len({tuple(inside[user]["k"]) for user in here}), 1)

    async def _check_bytes(self, rooms: list[str]) -> None:
        sizes = await self.ask("ZRANGE", "sizes", 0, -1, "WITHSCORES")
        ranked = {room: int(size) for room, size in zip(sizes[::2], sizes[1::2], strict=True)}
        counted, there, young = {}, {}, set()
        for room in rooms:
            said = [len(blob.encode()) for *_, blob in await self.batches(room)]
            counted[room] = int(await self.ask("HGET", f"r:{room}", "b"))
            if await self.ask("HEXISTS", f"r:{room}", "o"):
                young.add(room)
            asides = await self.ask("ZRANGE", f"asides:{room}", 0, -1)
            aside = sum(int(one.split()[1]) for one in asides)
            there[room] = ROOM_BYTES + sum(said) + BATCH_BYTES * len(said) + aside
        same("sizes", counted, there)
        # The ranks lag a little behind.
        same("ranks", set(ranked), set(counted))
        far = [room for room in ranked if abs(ranked[room] - counted[room]) >= SIZE_STEP]
        same("ranks that are far off", far, [])
        same("bytes", int(await self.ask("GET", "bytes") or 0), sum(counted.values()))
        same("young", set(await self.ask("ZRANGE", "young", 0, -1)), young)
        young_bytes = int(await self.ask("GET", "young_bytes") or 0)
        same("young bytes", young_bytes, sum(counted[room] for room in young))


class Caller:
    """A node as the engine sees one: its name, its epoch, its numbers."""

    def __init__(self, keys: Keys, name: str) -> None:
        self.keys, self.name = keys, name
        self.epoch, self.seq, self.seen = "", 0, 0
        self.limits = (100, 1000, 1 << 30)

    async def run(self, script: scripts.Script, *arguments: Argument):
        return text(await self.keys.client.script(script, *arguments, seconds=PATIENCE))

    async def register(self, epoch: str, old: str = "", *kept: str, lease: int = LEASE):
        self.epoch, self.seq = epoch, 0
        about = (self.name, epoch, old, lease, SCHEMA, "identity", "secret")
        return await self.run(scripts.REGISTER, *about, *kept)

    async def turn(self, *operations: Operation, script: scripts.Script = scripts.TURN):
        """Carry out a turn; its results, or the whole reply if there are none."""
        self.seq += 1
        reply = await self.again(*operations, script=script)
        if isinstance(reply[0], int):
            self.seen = reply[0]
            return reply[2]
        self.seq -= 1
        return reply

    async def again(self, *operations: Operation, script: scripts.Script = scripts.TURN):
        """Carry out the last turn once more; the whole reply."""
        about = (self.name, self.epoch, self.seq, self.seen)
        flat = [item for operation in operations for item in operation]
        return await self.run(script, *about, *self.limits, *flat)

    async def beat(
        self, lease: int = LEASE, read: int = 0, days: int = 0, kept: tuple[str, ...] | None = None
    ):
        about = (self.name, self.epoch, lease, self.seen, read, "{}")
        rules = (days * DAY, int(kept is not None), *(kept or ()))
        return await self.run(scripts.BEAT, *about, *rules)

    async def reap(self, victim: str, most: int = 100):
        [left] = await self.run(scripts.REAP, victim, 0, "", most)
        return left

    async def leave(self):
        [left] = await self.run(scripts.REAP, self.name, 1, self.epoch, 100)
        return left

    async def announce(self, *users: Operation, last: bool = True, positions: dict | None = None):
        """Announce users, which `announced` makes."""
        places: list[Argument] = []
        for place in (positions or {}).items():
            places += (*place, "", "", "", 0, 0, "")
        flat = [item for user in users for item in user]
        about = (self.name, self.epoch, int(last), len(positions or {}), *places)
        return await self.run(scripts.ANNOUNCE, *about, *flat)

    async def hello(self, run: str, window: int = LEASE):
        return await self.run(scripts.HELLO, run, window, LEASE)

    async def restore(self, *batches: Operation, last: bool = True, gaps: bool = False):
        put_back, *self.waiting = await self.offer(*batches, last=last, gaps=gaps)
        return put_back

    async def offer(self, *batches: Operation, last: bool, gaps: bool):
        flat = [item for batch in batches for item in batch]
        return await self.run(scripts.RESTORE, self.name, int(last), int(gaps), *flat)


def say(room: str, *texts: str) -> Operation:
    return ("S", room, len(texts), "\n".join(texts))


def topic(room: str, words: str, author: str = "u1") -> Operation:
    return ("T", room, f"topic {words}", words, author, "nick")


def join(
    user: str,
    room: str,
    name: str = "anonymous",
    *,
    leaving: str = "",
    kept: bool = False,
    token: str = "",
    grace: int = 0,
    version: int = 0,
) -> Operation:
    wire = f"{user} joins {room}"
    about = (user, token, grace, wire, name, room, room.upper(), leaving, int(kept), version)
    return ("J", *about, "", 0)


def rule(
    room: str,
    changes: dict[str, str | None],
    version: int = 0,
    bound: tuple[str, int] = ("", 0),
    text: str = "acts",
) -> Operation:
    ruled = Ruled(room, room.upper(), "a.j", "john", text, changes, version)
    return ("R", room, version, *bound, pack_ruled(ruled), 0)


def nick(user: str, name: str, *keys: str, token: str = "", grace: int = 0) -> Operation:
    keys = keys or (name,)
    return ("N", user, token, grace, f"{user} is {name}", name, len(keys), *keys)


def login(
    user: str, account: str, name: str, *keys: str, token: str = "", grace: int = 0
) -> Operation:
    """A login; a logout with an empty account, and without a name."""
    keys = keys or ((name,) if account else ())
    wire = json.dumps(["I", user, account or user, name, []], separators=(",", ":"))
    times = "5.25", "0.0"
    return ("I", user, token, grace, wire, account, *times, name or "anonymous", len(keys), *keys)


def tell(to: str, text: str, author: str = "u1") -> Operation:
    return ("P", to, text, author)


def leave(user: str, room: str) -> Operation:
    return ("L", user, f"{user} leaves {room}", room)


def gone(user: str) -> Operation:
    return ("G", user, f"{user} is gone")


def announced(
    user: str,
    name: str,
    *rooms: str,
    token: str = "",
    grace: int = 0,
    positions: str = "",
    account: str = "",
    keys: tuple[str, ...] = (),
) -> Operation:
    keys = keys or ((name,) if name else ())
    wire = f"{user} is {name}" if name else ""
    about = [user, token, grace, positions, name or "anonymous", wire, account, "5.25", "0.0", ""]
    about += (len(keys), *keys, len(rooms))
    for room in rooms:
        about += (room, room.upper(), json.dumps(["J", user, name, room], separators=(",", ":")))
    return tuple(about)


@asynccontextmanager
async def keys_of(engine: Engine) -> AsyncIterator[Keys]:
    """Look at an engine without anything in it."""

    async def connect() -> Connection:
        return await Connection.open(address_of(engine), "", 5.0)

    client = Client(connect, KEY)
    await client.call("FLUSHALL")
    try:
        yield Keys(client)
    finally:
        client.close()
