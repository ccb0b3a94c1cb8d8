"""Someone at the page: what they do there, and what they see."""

from __future__ import annotations

import re
import time

from playwright.sync_api import Locator, Page, expect
from processes import PATIENCE

# Chromium's messages about a connection that a test has broken.
EXPECTED = re.compile(
    r"WebSocket connection to '[^']+' failed|net::ERR_|Failed to load resource"
    r"|An unknown error occurred when fetching the script"  # the service worker's
)


class Visitor:
    def __init__(self, page: Page, port: int) -> None:
        self.page = page
        self.port = port
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))
        page.on("console", self._console)

    def _console(self, message) -> None:
        if message.type in {"error", "warning"} and not EXPECTED.search(message.text):
            self.errors.append(message.text)

    def open(self, fragment: str = "") -> Visitor:
        self.page.goto(f"http://127.0.0.1:{self.port}/{fragment}")
        return self

    def enter(self, nick: str, room: str = "#general") -> Visitor:
        """Come in for the first time."""
        self.open()
        self.page.get_by_label("Nickname").fill(nick)
        self.page.get_by_role("textbox", name="Room").fill(room)
        self.page.get_by_role("button", name="Join").click()
        self.is_in(room)
        return self

    def is_in(self, place: str) -> None:
        expect(self.page.get_by_role("heading", level=1)).to_have_text(place)

    @property
    def field(self) -> Locator:
        return self.page.get_by_role("textbox", name=re.compile("^Message"))

    @property
    def log(self) -> Locator:
        return self.page.locator("#log")

    def type(self, *lines: str) -> None:
        """Type these and send each."""
        for line in lines:
            self.field.fill(line)
            self.field.press("Enter")

    def leave(self, place: str) -> None:
        """Leave by the button, and say that this is meant."""
        self.page.get_by_role("button", name=f"Leave {place}").click()
        self.page.get_by_role("dialog").get_by_role("button", name="Leave").click()

    def sees(self, text: str) -> None:
        expect(self.log).to_contain_text(text)

    def sees_once(self, *texts: str) -> None:
        """Each of these is a message, acknowledged, and there once; in this order."""
        expect(self.page.locator("#pending li")).to_have_count(0)
        for text in texts:
            expect(self.said(text)).to_have_count(1)
        assert [said for said in self.texts() if said in texts] == list(texts)

    def said(self, text: str) -> Locator:
        return self.page.locator("#log-rows .text").get_by_text(text, exact=True)

    def texts(self) -> list[str]:
        """The messages on the page."""
        return self.page.locator("#log-rows .text").all_text_contents()

    def scroll(self, top: str, there: Locator) -> None:
        """Scroll the log there, by an expression, and again as more comes, until this is seen."""
        end = time.monotonic() + PATIENCE
        while not there.is_visible():
            assert time.monotonic() < end, f"it is not there, but {self.texts()}"
            self.log.evaluate(f"log => log.scrollTop = {top}")
            self.page.wait_for_timeout(20)

    def scroll_back(self) -> None:
        """Scroll back to the beginning of #general."""
        self.scroll("0", self.page.get_by_text("This is where #general begins."))

    def place(self, name: str) -> Locator:
        return self.page.get_by_role("navigation").locator(f"button[title='{name}']")

    def is_online(self, within: float | None = None) -> None:
        """Its light says so, within some milliseconds."""
        expect(self.page.locator("#my-light")).to_have_class("light online", timeout=within)

    def is_offline(self, within: float | None = None) -> None:
        """Its light says so, within some milliseconds."""
        light = self.page.locator("#my-light")
        expect(light).not_to_have_class("light online", timeout=within)
