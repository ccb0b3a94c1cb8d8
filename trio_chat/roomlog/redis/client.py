"""A connection to the engine that is made anew when it breaks, and the scripts on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.redis.connection import Connection, ScriptMissing

if TYPE_CHECKING:
    from trio_chat.roomlog.redis.codec import Argument
    from trio_chat.roomlog.redis.scripts import Script

CALL_SECONDS: Final = 2.0


class Client:
    """Makes calls to the engine, one at a time. Only one task may use it.

    Each method raises `EngineAway` if the engine cannot do it now. Then it may have done it, or
    not. The next call connects again.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        key: str,
        greet: Callable[[Client, Connection], Awaitable[None]] | None = None,
    ) -> None:
        """Begin without a connection. `key` is the prefix of all keys; `greet` comes first."""
        self._connect = connect
        self._key = key
        self._greet = greet
        self._connection: Connection | None = None

    async def call(self, *arguments: Argument, seconds: float = CALL_SECONDS) -> object:
        """Call a command of the engine. Gives its reply."""
        connection = await self._connected()
        return await connection.call(*arguments, timeout=seconds)

    async def script(
        self, script: Script, *arguments: Argument, seconds: float = CALL_SECONDS
    ) -> list[object]:
        """Run a script. Gives its reply."""
        connection = await self._connected()
        return await self._run(connection, script, arguments, seconds)

    async def run_on(
        self, connection: Connection, script: Script, *arguments: Argument
    ) -> list[object]:
        """Run a script on a connection that is being greeted."""
        return await self._run(connection, script, arguments, CALL_SECONDS)

    async def _run(
        self,
        connection: Connection,
        script: Script,
        arguments: tuple[Argument, ...],
        seconds: float,
    ) -> list[object]:
        rest = (1, self._key, *arguments)
        try:
            reply = await connection.call("EVALSHA", script.digest, *rest, timeout=seconds)
        except ScriptMissing:  # a new engine, or somebody empties its cache of scripts
            reply = await connection.call("EVAL", script.text, *rest, timeout=seconds)
        return reply if isinstance(reply, list) else [reply]

    async def _connected(self) -> Connection:
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._connect()
            try:
                if self._greet is not None:
                    await self._greet(self, connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return connection

    def close(self) -> None:
        """Close the connection. Never blocks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
