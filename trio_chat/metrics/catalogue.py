"""The metrics: the name and description of each number in the statistics."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from trio_chat.metrics.prometheus import Metric
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.metrics.histogram import Histogram
    from trio_chat.metrics.node import NodeStatistics
    from trio_chat.metrics.process import ProcessUsage
    from trio_chat.metrics.prometheus import Kind
    from trio_chat.metrics.statistics import Health, Statistics

# These are 0 from the start, so that Prometheus sees the first one of each as a change.
DIALECTS: Final = ("line", "websocket", "irc", "in-process", "http")
STATUSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
LIMITS: Final = (
    "max_clients",
    "max_clients_per_address",
    "max_rooms",
    "rooms_per_client",
    "line_bytes",
    "message_chars",
    "topic_chars",
    "nick_chars",
    "room_chars",
    "max_store_bytes",
    "min_free_disk_bytes",
)

_NUMBER: Final = re.compile(r"\d[\d.e+-]*")


def kinds(left: Mapping[str, int]) -> dict[str, int]:
    """Count ended connections by kind: reasons without numbers and without the part after a colon.

    There must be few kinds, because Prometheus keeps a series for each value of a label for weeks.
    """
    found: Counter[str] = Counter()
    for reason, count in left.items():
        found[_NUMBER.sub("N", reason.partition(":")[0])] += count
    return dict(found)


def metrics(statistics: Statistics, health: Health, usage: ProcessUsage) -> list[Metric]:
    """Return all metrics of a chat and its process."""
    return [
        *_people(statistics),
        *_traffic(statistics),
        *_load(statistics, health),
        *([] if statistics.node is None else _node(statistics.node)),
        *_own(usage),
    ]


def _people(now: Statistics) -> list[Metric]:
    return [
        Metric("trio_chat_info", "gauge", "The version of trio_chat.", {version(): 1}, "version"),
        Metric(
            "trio_chat_clients",
            "gauge",
            "Clients by dialect.",
            dict.fromkeys(DIALECTS, 0) | dict(now.dialects),
            "dialect",
        ),
        Metric("trio_chat_clients_max", "gauge", "The setting max_clients.", now.max_clients),
        Metric(
            "trio_chat_clients_lagging",
            "gauge",
            "Clients with more waiting than outbox_bytes.",
            now.lagging,
        ),
        Metric("trio_chat_clients_away", "gauge", "Detached clients, which may resume.", now.away),
        Metric("trio_chat_logged_in", "gauge", "Accounts that people are in.", now.logged_in),
        Metric(
            "trio_chat_logins_refused_total",
            "counter",
            "Refused logins: wrong passwords, codes and tokens, and tries that came too soon.",
            now.logins_refused,
        ),
        Metric("trio_chat_rooms", "gauge", "Rooms at the moment.", now.rooms),
        Metric(
            "trio_chat_connections_total", "counter", "Connections since the start.", now.connected
        ),
        Metric(
            "trio_chat_disconnections_total",
            "counter",
            "Connections that ended, by reason.",
            kinds(now.left),
            "reason",
        ),
        Metric(
            "trio_chat_refusals_total",
            "counter",
            "Refused connections and commands, by the setting that limits them.",
            dict.fromkeys(LIMITS, 0) | dict(now.refused),
            "limit",
        ),
        Metric(
            "trio_chat_actions_total",
            "counter",
            "Actions of owners and moderators of rooms, and of operators.",
            now.actions,
        ),
        Metric(
            "trio_chat_ruled_out_total",
            "counter",
            "Connections and commands that a mute or a ban refused.",
            {"ban": 0, "mute": 0} | dict(now.ruled_out),
            "rule",
        ),
        Metric("trio_chat_lags_total", "counter", "Times that a client began to lag.", now.lagged),
        Metric("trio_chat_upgrades_total", "counter", "Upgrades since the start.", now.upgrades),
    ]


def _traffic(now: Statistics) -> list[Metric]:
    return [
        Metric(
            "trio_chat_http_requests_total",
            "counter",
            "HTTP requests, by the class of their status.",
            dict.fromkeys(STATUSES, 0) | dict(now.http_requests),
            "status",
        ),
        Metric("trio_chat_commands_total", "counter", "Commands from clients.", now.records),
        Metric("trio_chat_messages_total", "counter", "Messages in rooms.", now.messages),
        Metric(
            "trio_chat_deliveries_total",
            "counter",
            "Entries times their receivers.",
            now.deliveries,
        ),
        Metric("trio_chat_received_bytes_total", "counter", "Bytes from clients.", now.bytes_in),
        Metric("trio_chat_sent_bytes_total", "counter", "Bytes for clients.", now.bytes_out),
    ]


def _load(now: Statistics, health: Health) -> list[Metric]:
    return [
        Metric("trio_chat_turn_commands", "histogram", "Commands in a batch.", now.turn_records),
        Metric(
            "trio_chat_turn_seconds",
            "histogram",
            "Seconds that a batch of commands takes.",
            now.turn_seconds,
        ),
        Metric(
            "trio_chat_turn_current_seconds",
            "gauge",
            "Seconds that the current batch has taken so far.",
            health.turn_seconds,
        ),
        Metric(
            "trio_chat_log_commit_seconds",
            "histogram",
            "Seconds that a batch waits until its messages are in the file.",
            now.commit_seconds,
        ),
        Metric(
            "trio_chat_log_writable",
            "gauge",
            "Whether the last write to the room log succeeded: 1 or 0.",
            int(health.writable),
        ),
        Metric(
            "trio_chat_loop_lateness_seconds",
            "histogram",
            "Seconds by which a task runs late.",
            now.late_seconds,
        ),
        Metric(
            "trio_chat_channel_items",
            "gauge",
            "Inputs of clients that wait to be handled.",
            now.waiting,
        ),
        Metric("trio_chat_outbox_bytes", "gauge", "Bytes in all outboxes.", now.outbox_bytes),
        Metric(
            "trio_chat_outbox_bytes_max",
            "gauge",
            "Bytes in the fullest outbox.",
            now.outbox_most,
        ),
    ]


def _node(now: NodeStatistics) -> list[Metric]:
    """Return the metrics of a chat with several nodes."""
    found: list[tuple[str, Kind, str, float | Histogram]] = [
        ("nodes", "gauge", "Nodes with a lease, this one included.", now.nodes),
        ("users", "gauge", "Users of the whole chat with a nick or a room.", now.users),
        (
            "lease_seconds",
            "gauge",
            "Seconds until the lease of this node runs out.",
            now.lease_left,
        ),
        ("lease_seconds_max", "gauge", "The setting lease.", now.lease),
        ("fenced_total", "counter", "Times that this node lost its lease.", now.fenced),
        ("engine_up", "gauge", "Whether the engine answered the last call: 1 or 0.", int(now.up)),
        (
            "engine_round_trip_seconds",
            "histogram",
            "Seconds that the engine takes to answer a turn.",
            now.round_trips,
        ),
        (
            "turn_in_doubt_seconds",
            "gauge",
            "Seconds since a turn was sent that the engine has not answered.",
            now.in_doubt,
        ),
        ("turn_retries_total", "counter", "Times that a turn was sent again.", now.retries),
        (
            "inbox_lag_turns",
            "gauge",
            "Turns of other nodes that this node has not read yet.",
            now.unread,
        ),
        ("tail_bytes", "gauge", "Bytes of entries that the engine may still lose.", now.tail_bytes),
        (
            "tail_bytes_max",
            "gauge",
            "Limit of the tail, beyond which turns wait.",
            now.tail_most,
        ),
        (
            "engine_refused_total",
            "counter",
            "Commands refused because the engine was away.",
            now.refused,
        ),
        (
            "restored_total",
            "counter",
            "Batches of entries put back into an engine that had lost them.",
            now.restored,
        ),
    ]
    return [Metric(f"trio_chat_{name}", kind, text, value) for name, kind, text, value in found]


def _own(usage: ProcessUsage) -> list[Metric]:
    """Return the metrics that all client libraries of Prometheus have, by the same names."""
    known: list[tuple[str, Kind, str, float | None]] = [
        (
            "start_time_seconds",
            "gauge",
            "Start of the process, in seconds since 1970.",
            usage.started,
        ),
        ("cpu_seconds_total", "counter", "CPU time, user and system.", usage.cpu_seconds),
        ("resident_memory_bytes", "gauge", "Resident memory.", usage.resident_bytes),
        ("open_fds", "gauge", "Open file descriptors.", usage.open_files),
        ("max_fds", "gauge", "The limit on open file descriptors.", usage.max_files),
    ]
    return [
        Metric(f"process_{name}", kind, text, value)
        for name, kind, text, value in known
        if value is not None
    ]
