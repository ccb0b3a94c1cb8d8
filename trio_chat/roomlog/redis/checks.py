"""Checks at the start that the engine is one that the log can rely on.

A problem that no waiting would change is a `StoreError`. Its line says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_chat.config.endpoints import place
from trio_chat.errors import StoreError
from trio_chat.roomlog.redis.connection import (
    Connection,
    EngineAway,
    EngineRefused,
    mode_of,
    version_of,
)

if TYPE_CHECKING:
    from trio_chat.config.store_access import StoreAccess
    from trio_chat.config.store_url import StoreAddress

# Scripts see the errors of commands by their codes from this version on.
OLDEST: Final = (7, 0)
# Redis and the daemon may start together, as after a reboot.
PATIENCE: Final = 10.0
TRY_SECONDS: Final = 5.0
PAUSE: Final = 0.2

POLICY: Final = "noeviction"
# The engine's reasons to refuse a connection, and what to do.
REFUSALS: Final = {
    "WRONGPASS": "refuses the password: correct it in store or store_password_file",
    "NOAUTH": "wants a password: put it into a file, and name that with store_password_file",
    "NOPERM": "does not let this user do what the chat needs: give the user more rights",
    "DENIED": "takes no clients from other machines without a password: set one (requirepass)",
}
NONE_SET: Final = "called without any password configured"
NO_SUCH_DB: Final = "DB index is out of range"


async def open_checked(access: StoreAccess, *, patience: float = PATIENCE) -> Connection:
    """Open the first connection, trying again for so many seconds, and check the engine.

    Raises `StoreError`.
    """
    where, end = shown(access.address), trio.current_time() + patience
    found: Connection | None = None
    while found is None:
        try:
            found = await Connection.open(access.address, access.password, TRY_SECONDS)
        except EngineRefused as error:
            raise StoreError(f"Redis at {where} {_refusal(error, access.address)}") from None
        except EngineAway as error:
            if trio.current_time() + PAUSE >= end:
                raise StoreError(
                    f"cannot use Redis at {where}: {error}; start it, or correct store"
                ) from None
            await trio.sleep(PAUSE)  # nothing tells that a server has started
    problem = problem_of(found.info)
    if problem:
        found.close()
        raise StoreError(f"Redis at {where} {problem}")
    return found


def shown(address: StoreAddress) -> str:
    """Write where the engine is, for messages."""
    if address.unix:
        return f"unix:{address.unix}"
    servers = ",".join(place(*host) for host in address.hosts)
    return f"{servers} (Sentinel, {address.master})" if address.master else servers


def problem_of(info: dict[str, str]) -> str:
    """Say what is wrong with the engine by its `INFO`, and what to do; nothing if it will do."""
    version, mode = info.get("redis_version", "unknown"), mode_of(info)
    policy = info.get("maxmemory_policy", POLICY)
    if mode == "sentinel":
        return "is a Sentinel: write redis+sentinel://HOST:PORT/NAME as store"
    if mode == "cluster" or info.get("cluster_enabled", "0") != "0":
        return "is part of a cluster: use one with cluster-enabled no, and with Sentinel if need be"
    if "valkey_version" not in info and version_of(version) < OLDEST:
        return f"has version {version}, and the chat needs {OLDEST[0]}.{OLDEST[1]}: upgrade it"
    if policy != POLICY:
        return (
            f"would delete the chat's keys when its memory is full (maxmemory-policy {policy}): "
            f"set maxmemory-policy to {POLICY}"
        )
    return ""


def warning_of(info: dict[str, str]) -> str:
    """Say what the operator should know about the engine, and what to do; nothing if all is well.

    It is a sentence for the daemon's log.
    """
    if info.get("aof_enabled", "0") == "0":
        return (
            "Redis keeps no append-only file: after a restart it has only its last snapshot, and "
            "newer messages only as far as a node of the chat still has them; "
            "set appendonly to yes"
        )
    return ""


def _refusal(error: EngineRefused, address: StoreAddress) -> str:
    if NONE_SET in error.answer:
        return "has no password: leave it out of the settings, or set it in Redis (requirepass)"
    if NO_SUCH_DB in error.answer:
        return f"has no database {address.db}: choose a smaller number, or raise its `databases`"
    return REFUSALS.get(error.code, f"refuses the connection: {error.answer}")
