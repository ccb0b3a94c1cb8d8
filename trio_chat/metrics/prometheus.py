"""Writes metrics in Prometheus' text format, a line for each number.

It does not use prometheus-client: that library wants to keep the numbers itself, and passing them
on would take as many lines as writing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final, Literal

from attrs import frozen

from trio_chat.metrics.histogram import Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]


@frozen
class Metric:
    """A metric and its value: a number, a number for each value of a label, or a histogram."""

    name: str
    kind: Kind
    help: str
    value: float | Histogram | Mapping[str, float]
    label: str = ""


def render(metrics: Iterable[Metric]) -> bytes:
    """Write metrics in the given order."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help}\n")
        lines.append(f"# TYPE {metric.name} {metric.kind}\n")
        lines += _samples(metric)
    return "".join(lines).encode()


def _samples(metric: Metric) -> list[str]:
    name, value = metric.name, metric.value
    if isinstance(value, Histogram):
        bounds = [*(f"{bound:g}" for bound in value.bounds), "+Inf"]
        buckets = zip(bounds, accumulate(value.counts), strict=True)
        return [
            *(f'{name}_bucket{{le="{bound}"}} {count}\n' for bound, count in buckets),
            f"{name}_sum {value.sum!r}\n",
            f"{name}_count {sum(value.counts)}\n",
        ]
    if isinstance(value, Mapping):
        return [
            f'{name}{{{metric.label}="{_escaped(label)}"}} {number!r}\n'
            for label, number in value.items()
        ]
    return [f"{name} {value!r}\n"]


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
