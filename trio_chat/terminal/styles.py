"""The colours and styles of the terminal's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.styles import Style

if TYPE_CHECKING:
    from trio_chat.terminal.lines import Line

# A terminal does not say whether it is dark or light. Each of these colours has a contrast of about
# 4 to 1 both to black and to white. No colour has more than 4.58 to both.
NICK_COLOURS: Final = (
    *("#d75f00", "#008700", "#0087af", "#d700af", "#af5f5f", "#5f5fd7", "#008787", "#5f8700"),
)
QUIET: Final = "#808080"
FAULT: Final = "#ff0000"
CALLED: Final = "#d700af"

STYLE: Final = Style.from_dict(
    {
        **{f"nick{number}": colour for number, colour in enumerate(NICK_COLOURS)},
        "time": QUIET,
        "quiet": QUIET,
        "rule": QUIET,
        "mark": QUIET,
        "heading": "bold",
        "called": "bold",
        "private": "bold",
        "fault": FAULT,
        "prompt": "bold",
        "status": QUIET,
        "status.current": "bold",
        "status.unread": "bold",
        "status.called": f"bold {CALLED}",
        "status.newer": "bold",
        "status.fault": FAULT,
    }
)


def formatted(line: Line) -> FormattedText:
    """Return a line as prompt_toolkit has it."""
    return FormattedText([(f"class:{style}" if style else "", text) for style, text in line])
