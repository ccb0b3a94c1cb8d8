"""Descriptors for connections. Some stay free for the operator, and some for new clients.

A closed connection lingers, and holds its descriptor beyond every limit on clients. So rejected
clients that keep connecting could otherwise use up all descriptors.
"""

from __future__ import annotations

import resource
import sys
from typing import Final

# These stay free of connections: for standard streams, the store, Trio, the listeners, and the
# control socket with its clients. Sometimes a file or a new process needs one.
SPARE_FILES: Final = 32
# Connections that may linger beyond `max_clients`.
LINGERING: Final = 100
# The part of all descriptors for connections that new clients may use and lingering ones may not.
FOR_NEWCOMERS: Final = 1 / 8


class Descriptors:
    """Counts the connections of a chat. Each holds a descriptor until it is closed."""

    def __init__(self) -> None:
        self.connections = 0

    def may_accept(self) -> bool:
        """Whether a new connection may have a descriptor. Some stay free for other uses.

        A connection counts once its task has begun. Until then, a listener may accept two more.
        """
        return self.connections < _for_connections()

    def may_linger(self, max_clients: int) -> bool:
        """Whether a connection that is over may hold its descriptor for a while."""
        most = int(_for_connections() * (1 - FOR_NEWCOMERS))
        return self.connections <= min(max_clients + LINGERING, most)


def _for_connections() -> int:
    """Return how many descriptors are for connections: at least half of the limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(limit - SPARE_FILES, limit // 2)
