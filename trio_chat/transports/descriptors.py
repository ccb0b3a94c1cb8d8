"""Descriptors that connections hold: some stay free for the daemon's owner, some for newcomers.

A connection that is closed lingers, and holds its descriptor beyond every limit on clients. So a
client that is turned away again and again could take them all.
"""

from __future__ import annotations

import resource
import sys
from typing import Final

# These stay free of connections: for standard streams, the store, Trio, listeners and the control
# socket with those who ask there. Sometimes a file or a new process needs one.
SPARE_FILES: Final = 32
# Connections that may linger beyond `max_clients`.
LINGERING: Final = 100
# This part of all descriptors for connections is for those who come, not for those who linger.
FOR_NEWCOMERS: Final = 1 / 8


class Descriptors:
    """Counts the connections of a chat; each holds a descriptor from its accepting to its close."""

    def __init__(self) -> None:
        self.connections = 0

    def may_accept(self) -> bool:
        """Whether there is one for a new connection, without those that are to stay free.

        A connection counts once its task has begun. Until then, a listener may accept two more.
        """
        return self.connections < _for_connections()

    def may_linger(self, max_clients: int) -> bool:
        """Whether a connection that is over may hold its own for a while."""
        most = int(_for_connections() * (1 - FOR_NEWCOMERS))
        return self.connections <= min(max_clients + LINGERING, most)


def _for_connections() -> int:
    """Give how many descriptors the limit leaves for connections; at least half of it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(limit - SPARE_FILES, limit // 2)
