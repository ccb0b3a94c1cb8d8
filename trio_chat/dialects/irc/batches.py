"""Batches: lines that belong together, as IRCv3 has them (batch, labeled-response)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.message import harmless, write, write_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

# The tag of a command's id that names the batch which its answer is a part of.
IN_BATCH: Final = "in"
# The name of a batch whose lines come at once, so it is free again behind them.
_NAME: Final = "1"


def labelled(text: str, label: str, server: str) -> str:
    """Give an answer its label: several lines are a batch, and no line is an acknowledgement."""
    lines = text.count("\n")
    if not lines:
        return write("ACK", source=server, tags={"label": label})
    if lines == 1:
        return tagged(text, {"label": label})
    return batch(text, server, "labeled-response", label=label)


def batch(text: str, server: str, *params: str, label: str = "") -> str:
    """Make lines a batch: the first of `params` is its kind. Its start has the label, if any."""
    tags = {"label": label} if label else {}
    return "".join(
        (
            write("BATCH", f"+{_NAME}", *params, source=server, tags=tags),
            tagged(text, {"batch": _NAME}),
            write("BATCH", f"-{_NAME}", source=server),
        )
    )


def tagged(text: str, tags: Mapping[str, str]) -> str:
    """Put tags before those of each line."""
    added = harmless(write_tags(tags))
    return "".join(
        f"{added};{line[1:]}" if line.startswith("@") else f"{added} {line}"
        for line in text.splitlines(keepends=True)
    )
