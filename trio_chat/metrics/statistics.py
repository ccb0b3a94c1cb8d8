"""The numbers of a chat at one moment, as plain data, and whether the chat is well."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.hub.hub import Hub
    from trio_chat.hub.session import Session
    from trio_chat.metrics.histogram import Histogram
    from trio_chat.metrics.node import NodeStatistics

# A turn takes milliseconds; one that waits for a slow disk may take a second.
HANGING_SECONDS: Final = 10.0


@frozen
class Statistics:
    """The numbers of a chat at one moment. Counters begin at the start of the chat."""

    clients: int
    dialects: Mapping[str, int]
    rooms: int
    lagging: int
    away: int
    max_clients: int
    waiting: int
    outbox_bytes: int
    outbox_most: int
    connected: int
    turned_away: int
    refused: Mapping[str, int]
    left: Mapping[str, int]
    http_requests: Mapping[str, int]
    turns: int
    records: int
    messages: int
    deliveries: int
    bytes_in: int
    bytes_out: int
    lagged: int
    upgrades: int
    turn_records: Histogram
    turn_seconds: Histogram
    commit_seconds: Histogram
    late_seconds: Histogram
    node: NodeStatistics | None = None
    logged_in: int = 0
    logins_refused: int = 0
    actions: int = 0
    ruled_out: Mapping[str, int] = field(factory=dict)


@frozen
class Health:
    """The state that decides whether a chat is well."""

    turn_seconds: float
    listening: bool
    writable: bool
    store_problems: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether the hub finishes its turns."""
        return self.turn_seconds < HANGING_SECONDS

    @property
    def problems(self) -> list[str]:
        """The reasons why it is not ready for new clients, a few words each; empty if it is."""
        problems = []
        if not self.live:
            problems.append(f"a batch of commands has taken {self.turn_seconds:.0f} seconds so far")
        if not self.listening:
            problems.append("the chat does not listen, or is stopping")
        if not self.writable:
            problems.append("the room log cannot be written")
        return [*problems, *self.store_problems]


def take(hub: Hub, loop_lag: Histogram, besides: Session | None = None) -> Statistics:
    """Count everything, without the connection `besides`."""
    state = hub.state
    counts, measures = state.counts, state.measures
    dialects: Counter[str] = Counter()
    lagging = away = outbox_bytes = outbox_most = 0
    for user in state.users.values():
        if user.detached is not None:
            dialects[user.detached.encoding.dialect] += 1
            away += 1
    for session in state.sessions:
        if session is besides:
            continue
        dialects[session.encoding.dialect] += 1
        lagging += session.slow_consumer
        if session.draining or session.local:  # the outboxes of all others are empty
            unsent = session.link.unsent_bytes
            outbox_bytes += unsent
            outbox_most = max(outbox_most, unsent)
    return Statistics(
        clients=dialects.total(),
        dialects=dict(dialects),
        rooms=len(state.rooms),
        lagging=lagging,
        away=away,
        max_clients=state.settings.max_clients,
        waiting=hub.waiting,
        outbox_bytes=outbox_bytes,
        outbox_most=outbox_most,
        connected=counts.connected,
        turned_away=counts.turned_away,
        refused=dict(counts.refused),
        left=dict(counts.left),
        http_requests=dict(counts.http_requests),
        turns=counts.turns,
        records=counts.records,
        messages=counts.messages,
        deliveries=counts.deliveries,
        bytes_in=counts.bytes_in,
        bytes_out=counts.bytes_out,
        lagged=counts.lagged,
        upgrades=counts.upgrades,
        turn_records=measures.turn_records.copy(),
        turn_seconds=measures.turn_seconds.copy(),
        commit_seconds=hub.log_commits.seconds.copy(),
        late_seconds=loop_lag.copy(),
        node=hub.node,
        logged_in=len(state.accounts),
        logins_refused=counts.logins_refused,
        actions=counts.actions,
        ruled_out=dict(counts.ruled_out),
    )
