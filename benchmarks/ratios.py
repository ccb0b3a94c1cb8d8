"""Several variants of a load, round by round: medians, and ratios to the first variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

Way = TypeVar("Way")
Figures = dict[str, float]
Rounds = list[list[Figures]]  # by round and variant; empty figures where a variant failed

# The names of figures in the output of `fanout`, and their titles.
FIGURES = {"server_cpu_us_per": "server CPU, µs a delivery", "p50": "p50, ms", "p99": "p99, ms"}


def in_turns(ways: Sequence[Way], rounds: int, measure: Callable[[Way], Figures]) -> Rounds:
    """Measure every variant ROUNDS times; every second round has the reverse order."""
    results: Rounds = []
    for number in range(rounds):
        turned = 1 if number % 2 == 0 else -1
        results.append([measure(way) for way in ways[::turned]][::turned])
        shown = [way.get("server_cpu_us_per", "failed") for way in results[-1]]
        print(f"round {number + 1} of {rounds}: µs a delivery: {shown}")
    return results


def table(ways: Sequence[str], results: dict[str, Rounds], figures: Sequence[str]) -> str:
    """A Markdown table of the figures, under its name.

    It has each variant's median, the median of its ratio to the first variant within a round, and
    the range of these ratios.
    """
    rows = [["load", "figure", *ways, *(f"{way} by {ways[0]}" for way in ways[1:])]]
    rows.append(["---", "---", *["---:"] * len(ways), *["---"] * (len(ways) - 1)])
    for name, rounds in results.items():
        whole = [ways for ways in rounds if all(ways)]
        for figure in figures if whole else []:
            columns = [[ways[way][figure] for ways in whole] for way in range(len(ways))]
            medians = [f"{median(column):.3g}" for column in columns]
            ratios = [_ratio(column, columns[0]) for column in columns[1:]]
            rows.append([name, FIGURES[figure], *medians, *ratios])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _ratio(column: list[float], first: list[float]) -> str:
    ratios = sorted(a / b for a, b in zip(column, first, strict=True))
    return f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
