"""Records the README's picture: two people talking through telnet and nc, each in a terminal.

`python docs/picture.py` starts the installed daemon, plays `SCENE` under tmux, and draws what is
then on the two screens into `two-people.svg`. It needs tmux, telnet, nc and a free port 8888.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PICTURE = Path(__file__).with_name("two-people.svg")

# Who types what, and what has to be on whose screen before the next line is typed.
JOHN, JACK = "john", "jack"
SCENE = [
    (JOHN, "telnet 127.0.0.1 8888", JOHN, "Escape character is '^]'."),
    (JOHN, "/nick john", JOHN, "> all right, I will call you john"),
    (JOHN, "/join #general", JOHN, "> welcome to #general"),
    (JACK, "nc 127.0.0.1 8888", JACK, "nc 127.0.0.1 8888"),
    (JACK, "/nick jack", JACK, "> all right, I will call you jack"),
    (JACK, "/rooms", JACK, "> available rooms: #general"),
    (JACK, "/join #general", JOHN, "> jack joined the room"),
    (JACK, "/msg Hi", JOHN, "> jack: Hi"),
    (JOHN, "/msg hello jack", JACK, "> john: hello jack"),
    (JACK, "/me waves", JOHN, "> * jack waves"),
    (JOHN, "/quit", JACK, "> john has left the room"),
]
COLUMNS, ROWS = 42, 16
PATIENCE = 10  # seconds until a line that does not come is given up

# Sizes in pixels; a monospaced character is about 0.6 of its height wide.
FONT, LINE, MARGIN, BAR = 13, 18, 12, 26
WIDTH = int(COLUMNS * FONT * 0.6) + 2 * MARGIN
HEIGHT = BAR + ROWS * LINE + MARGIN
COLOURS = {"> ": "#8bd5a0", "$ ": "#8ab4f8"}


def tmux(*arguments: str) -> str:
    # A server of its own, without anyone's configuration.
    command = ["tmux", "-L", "trio-chat-picture", "-f", "/dev/null", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def open_terminal(who: str, columns: int = COLUMNS, rows: int = ROWS) -> None:
    size = ["-x", str(columns), "-y", str(rows)]
    tmux("new-session", "-d", "-s", who, *size, "env PS1='$ ' bash --noprofile --norc")
    wait_for(who, "$")


def screen(who: str) -> list[str]:
    return tmux("capture-pane", "-p", "-t", who).splitlines()


def wait_for(who: str, line: str, is_seen: Callable[[str, str], bool] = str.__eq__) -> None:
    end = time.monotonic() + PATIENCE
    while not any(is_seen(shown.removeprefix("$ "), line) for shown in screen(who)):
        if time.monotonic() > end:
            sys.exit(f"{who} does not see {line!r}, but:\n" + "\n".join(screen(who)))
        time.sleep(0.05)  # tmux tells nobody when a screen has changed


def play() -> dict[str, list[str]]:
    """What both see in the end."""
    for who in (JOHN, JACK):
        open_terminal(who)
    for who, typed, reader, line in SCENE:
        tmux("send-keys", "-t", who, "-l", typed)
        tmux("send-keys", "-t", who, "Enter")
        wait_for(reader, line)
    wait_for(JOHN, "Connection closed by foreign host.")
    return {who: screen(who) for who in (JOHN, JACK)}


def record(play: Callable[[], T]) -> T:
    """Play a scene against a daemon of its own."""
    daemon = subprocess.Popen(
        ["trio-chat", "--log-level", "warning", "--store", "memory"], stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    try:
        if not daemon.stdout.readline():  # it has said why
            sys.exit("the daemon does not start")
        return play()
    finally:
        tmux("kill-server")
        daemon.terminate()
        daemon.wait()


def terminal(who: str, lines: list[str], left: int) -> str:
    """One window."""
    drawn = [
        f'<rect x="{left}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#1e2127"/>',
        f'<text x="{left + MARGIN}" y="{BAR - 8}" fill="#9aa0a6">{escape(who)}</text>',
    ]
    for number, line in enumerate(lines, 1):
        colour = COLOURS.get(line[:2], "#e8eaed")
        text = escape(line, quote=False)
        y = BAR + number * LINE - 5
        drawn.append(f'<text x="{left + MARGIN}" y="{y}" fill="{colour}">{text}</text>')
    return "\n".join(drawn)


def draw(screens: dict[str, list[str]]) -> str:
    """Both windows, side by side."""
    windows = [
        terminal(who, lines, number * (WIDTH + MARGIN))
        for number, (who, lines) in enumerate(screens.items())
    ]
    size = f'viewBox="0 0 {2 * WIDTH + MARGIN} {HEIGHT}" width="{2 * WIDTH + MARGIN}"'
    style = f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} xml:space="preserve">\n'
        "<title>Two terminals: john and jack talk in #general</title>\n"
        + "\n".join(windows)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(record(play)), encoding="utf-8")
