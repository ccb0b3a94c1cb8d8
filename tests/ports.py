"""Free ports for programs that have to be told theirs.

The system gives connections ports of their own, from 32,768 on by default in Linux. A port from
there may be taken before the program listens. So these are below, and each test process has others.
"""

from __future__ import annotations

import itertools
import os
import socket

LOWEST, HIGHEST = 10_000, 20_000  # 10,000 above is the bus of a Redis cluster

_ports = itertools.cycle(range(LOWEST, HIGHEST))
# Processes of tests begin far from each other.
for _ in range(os.getpid() * 97 % (HIGHEST - LOWEST)):
    next(_ports)


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, at every address of this machine."""
    while True:
        first = next(_ports)
        if all(_is_free(port) for port in range(first, first + count)):
            for _ in range(count - 1):
                next(_ports)
            return first


def free_port() -> int:
    return free_ports(1)


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            sock.bind(("", port))
        except OSError:
            return False
        return True
