"""Draws the medians: a panel for each load, and a bar for each peer."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

OURS_COLOUR, PEER_COLOUR = "#0b7285", "#adb5bd"
COLUMNS = 3


def draw(panels: dict[str, dict[str, float]], ours: str, output: Path) -> None:
    """Write OUTPUT.svg and OUTPUT.png; PANELS are figures by peer, by the panel's title."""
    rows = -(-len(panels) // COLUMNS)
    with mpl.rc_context({"svg.hashsalt": "trio-chat", "font.size": 8}):
        figure = Figure(figsize=(9, 2 * rows + 0.4), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
        for ax, (title, bars) in zip(axes, panels.items(), strict=False):
            # Bars are drawn from below, so the order of the table is reversed.
            names = list(reversed(bars))
            colours = [OURS_COLOUR if name == ours else PEER_COLOUR for name in names]
            drawn = ax.barh(names, [bars[name] for name in names], color=colours)
            ax.bar_label(drawn, fmt="%.3g", padding=2)
            ax.set_title(title, fontsize=8)
            ax.spines[["top", "right"]].set_visible(False)
            ax.margins(x=0.15)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        figure.savefig(output.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(output.with_suffix(".png"), dpi=150)
