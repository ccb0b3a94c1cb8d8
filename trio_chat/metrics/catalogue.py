"""The metrics there are: which of a chat's statistics are told under what name."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from trio_chat.metrics.prometheus import Metric
from trio_chat.version import version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.metrics.process import ProcessUsage
    from trio_chat.metrics.prometheus import Kind
    from trio_chat.metrics.statistics import Health, Statistics

# Those that are told from the start, so that the first one of each shows as a change.
DIALECTS: Final = ("line", "websocket", "in-process", "http")
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
    """How many connections ended, by reason, without what differs from one to another.

    That is what comes after a colon, and numbers: each value of a label is a series of its own that
    Prometheus keeps for weeks, so there must be few.
    """
    found: Counter[str] = Counter()
    for reason, count in left.items():
        found[_NUMBER.sub("N", reason.partition(":")[0])] += count
    return dict(found)


def metrics(statistics: Statistics, health: Health, usage: ProcessUsage) -> list[Metric]:
    """All metrics of a chat, and of the process it runs in."""
    return [*_people(statistics), *_traffic(statistics), *_load(statistics, health), *_own(usage)]


def _people(now: Statistics) -> list[Metric]:
    return [
        Metric("trio_chat_info", "gauge", "The version that runs.", {version(): 1}, "version"),
        Metric(
            "trio_chat_clients",
            "gauge",
            "Clients by dialect.",
            dict.fromkeys(DIALECTS, 0) | dict(now.dialects),
            "dialect",
        ),
        Metric("trio_chat_clients_max", "gauge", "The setting max_clients.", now.max_clients),
        Metric("trio_chat_clients_lagging", "gauge", "Clients that lag behind.", now.lagging),
        Metric("trio_chat_clients_away", "gauge", "Clients that may come back.", now.away),
        Metric("trio_chat_rooms", "gauge", "Rooms.", now.rooms),
        Metric("trio_chat_connections_total", "counter", "Connections.", now.connected),
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
            "What was refused, by the setting that limits it.",
            dict.fromkeys(LIMITS, 0) | dict(now.refused),
            "limit",
        ),
        Metric("trio_chat_lags_total", "counter", "How often a client fell behind.", now.lagged),
        Metric("trio_chat_upgrades_total", "counter", "Upgrades.", now.upgrades),
    ]


def _traffic(now: Statistics) -> list[Metric]:
    return [
        Metric(
            "trio_chat_http_requests_total",
            "counter",
            "Requests by HTTP, by the class of their status.",
            dict.fromkeys(STATUSES, 0) | dict(now.http_requests),
            "status",
        ),
        Metric("trio_chat_commands_total", "counter", "What clients asked for.", now.records),
        Metric("trio_chat_messages_total", "counter", "What was said in rooms.", now.messages),
        Metric("trio_chat_deliveries_total", "counter", "Entries times receivers.", now.deliveries),
        Metric("trio_chat_received_bytes_total", "counter", "Bytes from clients.", now.bytes_in),
        Metric("trio_chat_sent_bytes_total", "counter", "Bytes for clients.", now.bytes_out),
    ]


def _load(now: Statistics, health: Health) -> list[Metric]:
    return [
        Metric("trio_chat_turn_commands", "histogram", "Commands in a turn.", now.turn_records),
        Metric("trio_chat_turn_seconds", "histogram", "How long turns take.", now.turn_seconds),
        Metric(
            "trio_chat_turn_current_seconds",
            "gauge",
            "How long the turn under way has taken by now.",
            health.turn_seconds,
        ),
        Metric(
            "trio_chat_log_commit_seconds",
            "histogram",
            "How long a turn waits until what it says is in the file.",
            now.commit_seconds,
        ),
        Metric(
            "trio_chat_log_writable",
            "gauge",
            "Whether the room log could be written last.",
            int(health.writable),
        ),
        Metric(
            "trio_chat_loop_lateness_seconds",
            "histogram",
            "How late tasks that are due get to run.",
            now.late_seconds,
        ),
        Metric("trio_chat_channel_items", "gauge", "Reads that wait for the hub.", now.waiting),
        Metric("trio_chat_outbox_bytes", "gauge", "Bytes that wait for clients.", now.outbox_bytes),
        Metric(
            "trio_chat_outbox_bytes_max",
            "gauge",
            "Bytes that wait for the client with most of them.",
            now.outbox_most,
        ),
    ]


def _own(usage: ProcessUsage) -> list[Metric]:
    """Those that all of Prometheus' clients have, by their names."""
    known: list[tuple[str, Kind, str, float | None]] = [
        ("start_time_seconds", "gauge", "When the process began, since 1970.", usage.started),
        ("cpu_seconds_total", "counter", "CPU time, user and system.", usage.cpu_seconds),
        ("resident_memory_bytes", "gauge", "Resident memory.", usage.resident_bytes),
        ("open_fds", "gauge", "Open file descriptors.", usage.open_files),
        ("max_fds", "gauge", "The limit on them.", usage.max_files),
    ]
    return [
        Metric(f"process_{name}", kind, text, value)
        for name, kind, text, value in known
        if value is not None
    ]
