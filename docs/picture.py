"""Records the README's pictures: terminals, with what was on them while people talked.

`python docs/picture.py` starts the installed daemon, plays each scene under tmux, and draws what is
then on the screens. It needs tmux, telnet, nc and a free port 8888.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from html import escape
from pathlib import Path
from typing import TypeVar

from attrs import frozen

T = TypeVar("T")

HERE = Path(__file__).parent
PATIENCE = 10  # seconds until a line that does not come is given up

JOHN, JACK, OPERATOR = "john", "jack", "operator"


@frozen
class Picture:
    """A scene for several terminals.

    Each step of `scene` is a person, the line that they type, a reader, and the line that the
    reader must see before the next step. In the last one, `*` stands for any text.
    """

    file: Path
    title: str
    columns: int
    rows: int
    scene: list[tuple[str, str, str, str]]

    @property
    def people(self) -> list[str]:
        """The people whose screens are shown, from the left."""
        return list(dict.fromkeys(who for who, _, _, _ in self.scene))


TALK = Picture(
    HERE / "two-people.svg",
    "Two terminals: john and jack talk in #general",
    42,
    16,
    [
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
    ],
)
UPGRADE = Picture(
    HERE / "upgrade.svg",
    "Two terminals: john stays connected while the server is upgraded, and while that fails",
    60,
    15,
    [
        (JOHN, "telnet 127.0.0.1 8888", JOHN, "Escape character is '^]'."),
        (JOHN, "/nick john", JOHN, "> all right, I will call you john"),
        (JOHN, "/join #general", JOHN, "> welcome to #general"),
        (OPERATOR, "trio-chat upgrade", OPERATOR, "process * has taken over; 1 client waited *"),
        (JOHN, "/msg still here", JOHN, "/msg still here"),
        (JOHN, "/history", JOHN, "> * john: still here"),
        (
            OPERATOR,
            "echo max_clients = 0 > chat.toml",
            OPERATOR,
            "echo max_clients = 0 > chat.toml",
        ),
        (OPERATOR, "trio-chat upgrade", OPERATOR, "trio-chat: process * continues"),
        (JOHN, "/tell john and here", JOHN, "> john (to you): and here"),
    ],
)
PICTURES = [TALK, UPGRADE]

# Sizes in pixels. A monospaced character is about 0.6 times as wide as high.
FONT, LINE, MARGIN, BAR = 13, 18, 12, 26
COLOURS = {"> ": "#8bd5a0", "$ ": "#8ab4f8"}


def tmux(*arguments: str) -> str:
    # A server of its own, without anyone's configuration.
    command = ["tmux", "-L", "trio-chat-picture", "-f", "/dev/null", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def open_terminal(who: str, columns: int, rows: int) -> None:
    size = ["-x", str(columns), "-y", str(rows)]
    tmux("new-session", "-d", "-s", who, *size, "env PS1='$ ' bash --noprofile --norc")
    wait_for(who, "$")


def screen(who: str) -> list[str]:
    return tmux("capture-pane", "-p", "-t", who).splitlines()


def wait_for(who: str, line: str, is_seen: Callable[[str, str], bool] = fnmatchcase) -> None:
    end = time.monotonic() + PATIENCE
    while not any(is_seen(shown.removeprefix("$ "), line) for shown in screen(who)):
        if time.monotonic() > end:
            sys.exit(f"{who} does not see {line!r}, but:\n" + "\n".join(screen(who)))
        time.sleep(0.05)  # tmux tells nobody when a screen has changed


def wait_for_prompt(who: str) -> None:
    """Wait until the shell has ended the command before."""
    end = time.monotonic() + PATIENCE
    while [line for line in screen(who) if line][-1:] != ["$"]:
        if time.monotonic() > end:
            sys.exit(f"{who} has no prompt, but:\n" + "\n".join(screen(who)))
        time.sleep(0.05)  # tmux tells nobody, as above


def play(picture: Picture) -> dict[str, list[str]]:
    """Give every person's screen after the last step."""
    for who in picture.people:
        open_terminal(who, picture.columns, picture.rows)
    for who, typed, reader, line in picture.scene:
        if who == OPERATOR:
            wait_for_prompt(who)
        tmux("send-keys", "-t", who, "-l", typed)
        tmux("send-keys", "-t", who, "Enter")
        wait_for(reader, line)
    if picture is TALK:
        wait_for(JOHN, "Connection closed by foreign host.")
    return {who: screen(who) for who in picture.people}


def record(play: Callable[[], T]) -> T:
    """Play a scene against a daemon of its own, in a directory of its own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "chat.toml").touch()
        os.environ |= {"XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": folder}
        os.chdir(folder)
        try:
            return played(play)
        finally:
            os.chdir("/")


def played(play: Callable[[], T]) -> T:
    command = ["trio-chat", "--config", "chat.toml", "--log-level", "error"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    try:
        if not daemon.stdout.readline():  # it has said why
            sys.exit("the daemon does not start")
        return play()
    finally:
        tmux("kill-server")
        subprocess.run(["trio-chat", "stop"], check=True)
        daemon.wait()


def terminal(picture: Picture, who: str, lines: list[str], left: int) -> str:
    """One window."""
    width, height = size_of(picture)
    drawn = [
        f'<rect x="{left}" width="{width}" height="{height}" rx="8" fill="#1e2127"/>',
        f'<text x="{left + MARGIN}" y="{BAR - 8}" fill="#9aa0a6">{escape(who)}</text>',
    ]
    for number, line in enumerate(lines, 1):
        colour = COLOURS.get(line[:2], "#e8eaed")
        text = escape(line, quote=False)
        y = BAR + number * LINE - 5
        drawn.append(f'<text x="{left + MARGIN}" y="{y}" fill="{colour}">{text}</text>')
    return "\n".join(drawn)


def size_of(picture: Picture) -> tuple[int, int]:
    width = int(picture.columns * FONT * 0.6) + 2 * MARGIN
    return width, BAR + picture.rows * LINE + MARGIN


def draw(picture: Picture, screens: dict[str, list[str]]) -> str:
    """The windows, side by side."""
    width, height = size_of(picture)
    windows = [
        terminal(picture, who, lines, number * (width + MARGIN))
        for number, (who, lines) in enumerate(screens.items())
    ]
    whole = len(windows) * (width + MARGIN) - MARGIN
    size = f'viewBox="0 0 {whole} {height}" width="{whole}"'
    style = f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{FONT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} xml:space="preserve">\n'
        f"<title>{escape(picture.title)}</title>\n" + "\n".join(windows) + "\n</svg>\n"
    )


if __name__ == "__main__":
    for one in PICTURES:
        one.file.write_text(draw(one, record(partial(play, one))), encoding="utf-8")
