"""Takes the README's pictures of the page: on a wide screen in the light, on a phone in the dark.

`python docs/page_pictures.py` starts the installed daemon on a free port, lets a few people talk in
it, and photographs what two of them see. It needs chromium, and the dependency group `browser`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

FOLDER = Path(__file__).parent
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]

# The talk: Anna and Sam use the page, the others use nc.
TOPIC = "What grows, and what is to be done about it"
BEFORE = [
    ("maya", "Good morning! The first tomatoes are ripe."),
    ("maya", "There are far more than I can eat, so come by."),
    ("tom", "On my way. Does anyone need the big ladder today?"),
]
AFTER = [
    ("anna", "I do, for the cherries. *An hour* will be enough."),
    ("tom", "@anna it leans at the shed, take your time"),
    ("sam", "How often do you water them, maya?"),
    ("maya", "**Daily**, early. This helped: www.example.org/garden/tomatoes"),
    ("sam", "/me gets the can"),
]


@contextlib.contextmanager
def daemon(store: str = "memory") -> Iterator[int]:
    """A daemon; gives its port."""
    command = ["trio-chat", "--port=0", f"--store={store}", "--log-level=warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            started = re.search(r":(\d+) ", process.stdout.readline())
            if started is None:
                sys.exit("the daemon does not start")
            yield int(started[1])
        finally:
            process.terminate()


def enter(browser: Browser, port: int, nick: str, width: int, height: int, scheme: str) -> Page:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]  # a word of two, from a loop
        locale="en-GB",
    )
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    page.get_by_label("Nickname").fill(nick)
    page.get_by_role("textbox", name="Room").fill("#garden")
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#my-light")).to_have_class("light online")
    return page


def say(page: Page, text: str) -> None:
    page.locator("#line").fill(text)
    page.locator("#line").press("Enter")
    expect(page.locator("#pending li")).to_have_count(0)


def take(browser: Browser, port: int) -> None:
    lines: dict[str, socket.socket] = {}

    def send(nick: str, text: str) -> None:
        said = wide.locator("#log-rows .text")
        before = said.count()
        lines[nick].sendall(f"{text}\n".encode())
        expect(said).to_have_count(before + 1)

    for nick in ("maya", "tom"):
        lines[nick] = socket.create_connection(("127.0.0.1", port))
        lines[nick].sendall(f"/nick {nick}\n/join #garden\n".encode())
    lines["maya"].sendall(f"/topic {TOPIC}\n".encode())
    wide = enter(browser, port, "anna", 1100, 620, "light")
    for nick, text in BEFORE:
        send(nick, f"/msg {text}")
    phone = enter(browser, port, "sam", 390, 700, "dark")
    pages = {"anna": wide, "sam": phone}
    for nick, text in AFTER:
        if nick in pages:
            say(pages[nick], text)
        else:
            send(nick, f"/msg {text}")
    say(wide, "/join #kitchen")
    lines["tom"].sendall(b"/tell anna shall I bring it over?\n")
    lines["maya"].sendall(b"/msg sam: thank you!\n")
    expect(wide.get_by_title("tom", exact=True)).to_contain_text("1")
    wide.get_by_title("#garden", exact=True).click()
    for page in (wide, phone):
        page.mouse.move(0, 0)
        expect(page.locator("#log-rows .text").last).to_contain_text("thank you!")
    wide.screenshot(path=FOLDER / "page-light.png")
    phone.screenshot(path=FOLDER / "page-dark-phone.png")


def main() -> None:
    with daemon() as port, sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        take(browser, port)
        browser.close()


if __name__ == "__main__":
    main()
