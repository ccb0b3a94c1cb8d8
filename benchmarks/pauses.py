"""Draws how long clients waited in upgrades, from what `nox -s upgrade` prints.

    nox -s upgrade > upgrade.log; python benchmarks/pauses.py upgrade.log docs/upgrade-pauses

It needs matplotlib, which the environment of `nox -s bench` has.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

TARGET = 250  # ms, for the 99th percentile at a thousand clients
COLOURS = {"p50": "#99c1c9", "p99": "#0b7285", "max": "#adb5bd"}
LINE = re.compile(r"(\d+) clients, (upgrade \d+|without): p50 (\d+) ms, p99 (\d+) ms, max (\d+) ms")


def main() -> None:
    found = LINE.findall(Path(sys.argv[1]).read_text(encoding="utf-8"))
    names = [name for _, name, *_ in found]
    with mpl.rc_context({"svg.hashsalt": "trio-chat", "font.size": 8}):
        figure = Figure(figsize=(7, 2.6), layout="constrained")
        ax = figure.subplots()
        for number, (figure_name, colour) in enumerate(COLOURS.items()):
            places = [place + 0.27 * (number - 1) for place in range(len(names))]
            heights = [int(row[2 + number]) for row in found]
            ax.bar(places, heights, width=0.25, color=colour, label=figure_name)
        ax.axhline(TARGET, color="#868e96", linestyle=":", label="target for p99")
        ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
        ax.set_title(f"{found[0][0]} clients: the longest wait of each, in ms", fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(ncols=4, frameon=False)
        figure.savefig(Path(sys.argv[2]).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
