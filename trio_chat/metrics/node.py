"""The numbers of a node: one of several processes that share a chat by an engine."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from trio_chat.metrics.histogram import Histogram

# For calls to a server in the private network. A tenth of a millisecond is quick, and after two
# seconds a call is given up.
ROUND_TRIPS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)


@frozen
class NodeStatistics:
    """The numbers of a node at one moment. Counters begin at the start of the process."""

    name: str
    """The name of the node."""

    engine: str
    """Where the engine was found last: a host and port, or a unix socket."""

    up: bool
    """Whether the engine answered the last call. Not while it starts, or recovers."""

    joined: bool
    """Whether the node takes part. Not while it joins the others again."""

    since: float
    """Since when `up` has been so, in seconds since 1970."""

    problem: str
    """Why the node can take no new clients now, in a few words; empty if it can."""

    nodes: int
    """Nodes with a lease, this one included, at the last beat."""

    users: int
    """Users of the whole chat with a nick or a room, at the last beat."""

    lease: float
    """The setting, in seconds."""

    lease_left: float
    """Seconds until the lease runs out, or 0."""

    fenced: int
    """Times that this node lost its lease."""

    round_trips: Histogram
    """Seconds that the engine takes to answer a turn."""

    in_doubt: float
    """Seconds since a turn was sent that is not answered; 0 if that is less than a second."""

    retries: int
    """Times that a turn was sent again."""

    unread: int
    """Entries of the inbox that the node has not read, at the last beat."""

    tail_bytes: int
    """Bytes of entries that the engine may still lose."""

    tail_most: int
    """Turns wait while the tail has more bytes than that."""

    restored: int
    """Batches of entries that were put back into an engine that had lost them."""

    refused: int = 0
    """Commands refused because the engine was away."""
