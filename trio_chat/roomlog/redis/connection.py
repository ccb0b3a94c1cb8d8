"""A connection to the engine: one call at a time, in the protocol RESP2.

Nothing is repeated. If a connection breaks, the caller must know that a call may have been done,
and whether it does harm twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

import hiredis
import trio

from trio_chat.config.endpoints import place
from trio_chat.roomlog.redis.errors import (
    EngineAway,
    EngineError,
    EngineFull,
    EngineRefused,
    ScriptMissing,
)
from trio_chat.roomlog.redis.errors import refusal as refusal_of
from trio_chat.roomlog.redis.wire import open_wire

if TYPE_CHECKING:
    from typing import Self

    from trio_chat.config.store_url import StoreAddress
    from trio_chat.roomlog.redis.wire import Wire

__all__ = [
    "Connection",
    "EngineAway",
    "EngineError",
    "EngineFull",
    "EngineRefused",
    "ScriptMissing",
]

CALL_SECONDS: Final = 2.0
# The name in `CLIENT LIST`.
CLIENT_NAME: Final = "trio-chat"
STANDALONE: Final = "standalone"
# Far more than a page of history, so that a reply that is none cannot fill the memory.
MOST_REPLY_BYTES: Final = 1 << 28
NOTHING: Final = object()

Reply = object
# Its stub has a tuple of one for a tuple of any length.
_packed = cast("Callable[[tuple[str | bytes | int, ...]], bytes]", hiredis.pack_command)


class Connection:
    """One connection, for one task. Only `close` may be called by other tasks.

    `run_id` changes when the server is started anew, and is another one after a failover. `version`
    is Redis' version; Valkey has the one that it is compatible with. `info` is the answer to `INFO`
    at the opening. `time` is that of its clock then, in seconds since 1970. `place` is where the
    server is.
    """

    __slots__ = (
        *("_busy", "_closed", "_reader", "_wire"),
        *("info", "place", "run_id", "time", "version"),
    )

    def __init__(self, wire: Wire) -> None:
        """Use a wire on which nothing has been said yet; for everyone else there is `open`."""
        self._wire = wire
        self._reader = hiredis.Reader(notEnoughData=NOTHING)
        self._busy = False
        self._closed = False
        self.info: dict[str, str] = {}
        self.place = ""
        self.run_id = ""
        self.time = 0.0
        self.version: tuple[int, ...] = ()

    @classmethod
    async def open(
        cls,
        address: StoreAddress,
        password: str,
        timeout: float,  # noqa: ASYNC109 - after it the engine counts as away, in its own words
        *,
        name: str = CLIENT_NAME,
    ) -> Self:
        """Connect and log in, within `timeout` seconds; `name` is for `CLIENT LIST`.

        With Sentinel it finds the primary first. Raises `EngineAway` if no primary can be reached,
        and its subclass `EngineRefused` if the server refuses the password, the database or `INFO`.
        """
        with _in_time(timeout):
            if not address.master:
                host, port = (address.hosts or (("", 0),))[0]
                found = cls(await open_wire(address, host, port))
                found.place = f"unix:{address.unix}" if address.unix else place(host, port)
                await found.log_in(address, password, name)
                return found
            return await cls._by_sentinel(address, password, timeout, name)

    @classmethod
    async def _by_sentinel(
        cls, address: StoreAddress, password: str, seconds: float, name: str
    ) -> Self:
        """Ask one Sentinel after the other; each gets its part of the time, and so does the last.

        The first one may not know yet that there is a new primary.
        """
        problem = EngineAway("no Sentinel answers")
        for sentinel in address.hosts:
            try:
                with _in_time(seconds / len(address.hosts)):
                    host, port = await cls._primary(address, sentinel, password)
                    found = cls(await open_wire(address, host, port))
                    found.place = place(host, port)
                    await found.log_in(address, password, name)
            except EngineAway as error:
                problem = error
            else:
                return found
        raise problem

    @classmethod
    async def _primary(
        cls, address: StoreAddress, sentinel: tuple[str, int], password: str
    ) -> tuple[str, int]:
        """Ask one Sentinel for the primary. Raises `EngineAway`."""
        try:
            try:
                answer = await cls._asked(address, sentinel, "")
            except EngineRefused:
                # Sentinel has a password of its own. It is usually the same, if there is one.
                if not password:
                    raise
                answer = await cls._asked(address, sentinel, password)
        except (EngineRefused, EngineError) as error:
            answer = error.answer if isinstance(error, EngineRefused) else str(error)
            raise EngineAway(f"Sentinel at {place(*sentinel)} refuses: {answer}") from None
        if not isinstance(answer, list):
            raise EngineAway(f"Sentinel at {place(*sentinel)} knows no {address.master}")
        host, port = cast("list[bytes]", answer)
        return host.decode(), int(port)

    @classmethod
    async def _asked(cls, address: StoreAddress, sentinel: tuple[str, int], password: str) -> Reply:
        asked = cls(await open_wire(address, *sentinel))
        try:
            if password:
                await asked.call("AUTH", password)
            return await asked.call("SENTINEL", "get-master-addr-by-name", address.master)
        finally:
            asked.close()

    async def log_in(self, address: StoreAddress, password: str, name: str) -> None:
        """Log in, and learn what server this is; raises like `open`."""
        try:
            if password:
                user = (address.user,) if address.user else ()
                await self.call("AUTH", *user, password)
            await self._look()
            # A cluster and a Sentinel have no databases. The checks at the start refuse both.
            if address.db and mode_of(self.info) == STANDALONE:
                await self.call("SELECT", address.db)
            # A user without this right can do without the name.
            await self._exchange(("CLIENT", "SETNAME", name), CALL_SECONDS)
        except EngineError as error:
            self.close()
            raise EngineRefused(str(error)) from None
        except BaseException:
            self.close()
            raise

    async def _look(self) -> None:
        """Learn what server this is; raises `EngineAway` unless it is a primary that is ready."""
        answer = await self.call("INFO")
        lines = cast("bytes", answer).decode("utf-8", "replace").splitlines()
        self.info = dict(line.split(":", 1) for line in lines if ":" in line)
        self.run_id = self.info.get("run_id", "")
        self.time = int(self.info.get("server_time_usec", "0")) / 1e6
        self.version = version_of(self.info.get("redis_version", ""))
        if self.info.get("loading", "0") != "0":
            raise refusal_of("LOADING")
        if self.info.get("role") == "slave":
            raise EngineAway("Redis is a replica, not the primary")

    @property
    def closed(self) -> bool:
        """Whether it can no longer be used."""
        return self._closed

    async def call(
        self,
        *args: str | bytes | int,
        timeout: float = CALL_SECONDS,  # noqa: ASYNC109 - as in `open`
    ) -> Reply:
        """Send a command and return its reply: `bytes`, `int`, `None` or a list of these.

        An error inside of a list is a value, `hiredis.ReplyError`. `timeout` is in seconds, for all
        of it. Raises `EngineAway`, `EngineError` or one of its subclasses. The connection is closed
        after `EngineAway`, and if the call is cancelled: the next one would read its reply.
        """
        reply = await self._exchange(args, timeout)
        if isinstance(reply, hiredis.ReplyError):
            refusal = refusal_of(str(reply))
            if isinstance(refusal, EngineAway):
                self.close()
            raise refusal
        return reply

    async def _exchange(self, args: tuple[str | bytes | int, ...], seconds: float) -> Reply:
        """Send a command and return its reply, also if that is an error."""
        assert not self._busy, "one call at a time"  # noqa: S101 - a mistake of the caller
        if self._closed:
            raise EngineAway("the connection is closed")
        self._busy = True
        reply: Reply = NOTHING
        try:
            # As `_in_time`, at half the cost.
            with trio.CancelScope(deadline=trio.current_time() + seconds):
                await self._wire.send(_packed(args))
                reply = await self._reply()
        except BROKEN:
            self.close()
            raise EngineAway("the connection to Redis has broken") from None
        except BaseException:
            self.close()
            raise
        finally:
            self._busy = False
        if reply is NOTHING:
            self.close()
            raise _late(seconds)
        return reply

    async def _reply(self) -> Reply:
        reader, size = self._reader, 0
        while True:
            data = await self._wire.receive()
            size += len(data)
            if not data:
                raise EngineAway("Redis has closed the connection")
            reader.feed(data)
            reply = cast("Reply", reader.gets())
            if reply is not NOTHING:
                if reader.has_data():
                    raise EngineAway("Redis has said more than it was asked")
                return reply
            if size > MOST_REPLY_BYTES:
                raise EngineAway(f"Redis has sent more than {MOST_REPLY_BYTES} bytes for one reply")

    def close(self) -> None:
        """Close it, also while another task waits in `call`. Never blocks."""
        self._closed = True
        self._wire.close()


BROKEN: Final = (
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    hiredis.ProtocolError,
)


@contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Give what is inside so many seconds; raises `EngineAway`."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise _late(seconds) from None


def _late(seconds: float) -> EngineAway:
    return EngineAway(f"Redis has not answered within {seconds:g} seconds")


def mode_of(info: dict[str, str]) -> str:
    """Return the mode that `INFO` has: `standalone`, `sentinel` or `cluster`."""
    # The first one is Valkey's name for it.
    return info.get("server_mode") or info.get("redis_mode") or STANDALONE


def version_of(text: str) -> tuple[int, ...]:
    """Read a version such as `7.0.15`, without what follows a hyphen."""
    numbers = text.partition("-")[0].split(".")
    return tuple(int(part) for part in numbers if part.isdecimal())
