"""Counts and measures of the hub; `trio_chat.metrics.statistics` says what each means."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from trio_chat.metrics.histogram import RECORDS, SECONDS, Histogram


@define
class Counts:
    """Counts since the start. `Statistics` says what each means."""

    turns: int = 0
    records: int = 0
    deliveries: int = 0
    connected: int = 0
    left: Counter[str] = field(factory=Counter)
    turned_away: int = 0
    lagged: int = 0
    messages: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    refused: Counter[str] = field(factory=Counter)
    upgrades: int = 0
    unavailable: int = 0
    http_requests: Counter[str] = field(factory=Counter)
    logins_refused: int = 0
    actions: int = 0
    ruled_out: Counter[str] = field(factory=Counter)


@define
class Measures:
    """Sizes and durations of turns in this process."""

    turn_records: Histogram = field(factory=lambda: Histogram(RECORDS))
    turn_seconds: Histogram = field(factory=lambda: Histogram(SECONDS))
