"""Takes the pictures of the page for moderators: a menu, a dialog, a room's actions and reports.

`python docs/moderation_pictures.py` starts the installed daemon on a free port, as page_pictures.py
does, and needs the same.
"""

from __future__ import annotations

import shutil
import socket
import tempfile

from page_pictures import ARGUMENTS, FOLDER, daemon, enter, say
from playwright.sync_api import Browser, Page, expect, sync_playwright

PASSWORD = "a tall ship sails"
SIZE = (900, 540)
PLACE = {"x": 5, "y": 5}


def register(page: Page) -> None:
    page.locator("#line").fill("/register")
    page.locator("#line").press("Enter")
    for field in ("fresh", "again"):
        page.locator(f"#login-{field}").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="I have kept it").click()


def take(browser: Browser, port: int) -> None:
    anna = enter(browser, port, "anna", *SIZE, "light")
    register(anna)
    say(anna, "/claim")
    said = anna.locator("#log-rows .text")
    with socket.create_connection(("127.0.0.1", port)) as jack:
        jack.sendall(b"/nick jack\n/join #garden\n/msg CHEAP TOMATOES at www.example.org\n")
        expect(said).to_have_count(1)
        say(anna, "Please stop that, jack. This room is about gardens.")
        jack.sendall(b"/msg CHEAP TOMATOES at www.example.org\n")
        expect(said).to_have_count(3)
        said.last.hover(position=PLACE)
        anna.locator("#log-rows .more").last.click()
        # Without the list of rooms.
        beside = {"x": 249, "y": 84, "width": 435, "height": 456}
        anna.screenshot(path=FOLDER / "moderating-menu.png", clip=beside)
        anna.keyboard.press("Escape")
        with socket.create_connection(("127.0.0.1", port)) as jill:
            jill.sendall(b"/nick jill\n/join #garden\n/report jack the same in each room\n")
            jill.recv(1 << 16)
            jill.sendall(b"/report @4 an advertisement\n/quit\n")
            while jill.recv(1 << 16):
                pass
        say(anna, "/kick jack advertising")
        say(anna, "/room speak accounts")
    anna.locator("#moderation-button").click()
    expect(anna.locator("#moderation-list li")).to_have_count(3)
    anna.mouse.move(0, 0)
    below = {"x": 0, "y": 0, "width": 900, "height": 370}
    anna.screenshot(path=FOLDER / "moderating-actions.png", clip=below)
    anna.get_by_role("tab", name="Reports").click()
    expect(anna.locator("#moderation-list li")).to_have_count(2)
    anna.mouse.move(0, 0)
    anna.screenshot(path=FOLDER / "public-reports.png", clip=below)
    anna.keyboard.press("Escape")
    register(enter(browser, port, "jill", *SIZE, "light"))
    say(anna, "/role jill operator")
    anna.set_viewport_size({"width": SIZE[0], "height": 940})
    anna.locator("#line").fill("/roles")
    anna.locator("#line").press("Enter")
    expect(anna.get_by_label("Role of jill")).to_be_visible()
    anna.mouse.move(0, 0)
    anna.locator("#room-dialog").screenshot(path=FOLDER / "moderating-roles.png")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon(f"sqlite:{folder}/chat.db") as port,
        sync_playwright() as playwright,
    ):
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        take(browser, port)
        browser.close()


if __name__ == "__main__":
    main()
