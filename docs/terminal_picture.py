"""Records the README's picture of `trio-chat connect`: one terminal, in colour.

`python docs/terminal_picture.py` starts the installed daemon, plays `SCENE` under tmux as
`docs/picture.py` does, and draws what is then on john's screen into `terminal.svg`. It needs tmux,
nc and a free port 8888.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import picture

PICTURE = Path(__file__).with_name("terminal.svg")

# Each step is a person, the line that they type, a reader, and the line that the reader must see
# before the next step.
JOHN, JACK, ANN = "john", "jack", "ann"
ALT_1 = "\x1b1"
SCENE = [
    (JACK, "nc 127.0.0.1 8888", JACK, "nc 127.0.0.1 8888"),
    (JACK, "/nick jack", JACK, "> all right, I will call you jack"),
    (JACK, "/join #general", JACK, "> welcome to #general"),
    (JACK, "/topic tea and trains", JACK, "> topic of #general: tea and trains"),
    (JACK, "/me looks around", JACK, "/me looks around"),
    (JOHN, "trio-chat connect --nick john --join '#general'", JOHN, "jack looks around"),
    (JOHN, "hello jack", JOHN, "john: hello jack"),
    (ANN, "nc 127.0.0.1 8888", ANN, "nc 127.0.0.1 8888"),
    (ANN, "/nick ann", ANN, "> all right, I will call you ann"),
    (ANN, "/join #general", JOHN, "· ann joined"),
    (ANN, "/msg the 14:12 is late again, as it has been all week", JOHN, "ann: the 14:12 is late"),
    (JACK, "/me sighs", JOHN, "* jack sighs"),
    (JOHN, "/join #go", JOHN, "2:#go"),
    (ANN, "/msg john, jack: see you later", JOHN, "1:#general"),
    (ANN, "/tell john lunch at one?", JOHN, "3:ann 1!"),
    (JOHN, ALT_1, JOHN, "john, jack: see you later"),
]
TYPED = "it was on time yesterday"
COLUMNS, ROWS = 66, 13

WIDTH = int(COLUMNS * picture.FONT * 0.6) + 2 * picture.MARGIN
HEIGHT = picture.BAR + ROWS * picture.LINE + picture.MARGIN
PLAIN = "#e8eaed"

SGR = re.compile(r"\x1b\[([0-9;]*)m")
GREYS = 232
STEPS = (0, 95, 135, 175, 215, 255)


def colour(number: int) -> str:
    """A colour of xterm's palette: those of its cube, or its greys."""
    if number >= GREYS:
        red = green = blue = 8 + 10 * (number - GREYS)
    else:
        red, green, blue = (STEPS[(number - 16) // step % 6] for step in (36, 6, 1))
    return f"#{red:02x}{green:02x}{blue:02x}"


def spans(lines: list[str]) -> list[list[tuple[str, str]]]:
    """The texts of each line with their attributes, from the escape sequences in them."""
    found: list[list[tuple[str, str]]] = []
    fill, weight = PLAIN, ""  # which last beyond the end of a line
    for line in lines:
        found.append([])
        for number, part in enumerate(SGR.split(line)):
            if number % 2:
                fill, weight = changed(part.split(";"), fill, weight)
            elif part:
                # Some browsers would draw one space for several.
                text = part.replace("  ", " \N{NO-BREAK SPACE}")
                found[-1].append((f'fill="{fill}"{weight}', text))
    return found


def changed(codes: list[str], fill: str, weight: str) -> tuple[str, str]:
    """The colour and weight after these codes (ECMA-48, and xterm's for its palette)."""
    if "38" in codes:
        return colour(int(codes[codes.index("38") + 2])), weight
    for code in codes:
        match code:
            case "" | "0":
                fill, weight = PLAIN, ""
            case "1":
                weight = ' font-weight="bold"'
            case "39":
                fill = PLAIN
    return fill, weight


def play() -> list[str]:
    """Give john's screen after the last step, with the escape sequences of its colours."""
    for who in (JOHN, JACK, ANN):
        picture.open_terminal(who, COLUMNS, ROWS)
    for who, typed, reader, text in SCENE:
        picture.tmux("send-keys", "-t", who, "-l", typed)
        picture.tmux("send-keys", "-t", who, "Enter")
        picture.wait_for(reader, text, str.__contains__)
    picture.tmux("send-keys", "-t", JOHN, "-l", TYPED)
    picture.wait_for(JOHN, f"#general> {TYPED}", str.__contains__)
    return picture.tmux("capture-pane", "-p", "-e", "-t", JOHN).splitlines()


def draw(lines: list[str]) -> str:
    """The terminal as a picture."""
    drawn = []
    for number, line in enumerate(spans(lines), 1):
        y = picture.BAR + number * picture.LINE - 5
        parts = "".join(
            f"<tspan {attributes}>{escape(text, quote=False)}</tspan>" for attributes, text in line
        )
        drawn.append(f'<text x="{picture.MARGIN}" y="{y}">{parts}</text>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
    style = f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{picture.FONT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} xml:space="preserve">\n'
        "<title>A terminal: john talks with trio-chat connect</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#1e2127"/>\n'
        f'<text x="{picture.MARGIN}" y="{picture.BAR - 8}" fill="#9aa0a6">john</text>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(picture.record(play)), encoding="utf-8")
