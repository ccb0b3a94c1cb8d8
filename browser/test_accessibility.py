"""What axe-core finds on the page, in each of its states, light and dark, wide and narrow.

AXE is the path of axe.min.js, from npm's axe-core.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NICKS = [f"person{number}" for number in range(40)]


@pytest.fixture(scope="session")
def axe() -> str:
    return Path(os.environ["AXE"]).read_text(encoding="utf-8")


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("tags => axe.run({ runOnly: tags })", TAGS)
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_the_page_keeps_anyone_out(serve, visit, talk, axe, size, scheme) -> None:
    daemon = serve()
    for nick in NICKS:  # with them come all the colours of nicks
        talk(daemon, f"/nick {nick}", "/join #general", f"/msg {nick} says https://example.org/")
    jack = talk(daemon, "/nick jack", "/join #general", "/topic Tea", "/me waves", "/who")
    jack.hears_until("> topic of #general: Tea")
    anna = visit(daemon.port, size=size, scheme=scheme)
    page, found = anna.page, []

    def look(state: str) -> None:
        # What fades in is looked at when it is there.
        page.evaluate("Promise.all(document.getAnimations().map(({ finished }) => finished))")
        found.extend(f"{state}: {violation}" for violation in violations(page, axe))

    anna.open()
    expect(page.get_by_label("What others call you")).to_be_focused()
    look("entrance")
    anna.enter("anna")
    jack.say("/msg anna, look", "/tell anna psst", "/join #other")
    anna.sees("anna, look")
    anna.sees("left")
    look("room")
    hues = page.locator("#log-rows .nick").evaluate_all("all => all.map(one => one.className)")
    assert len(set(hues)) == 12
    anna.type("/rooms", "/who", "/search look", "/nosuch")
    anna.sees("unknown command")
    anna.field.fill("/")
    look("answers and completion")
    anna.field.fill("")
    page.locator("#help-button").evaluate("button => button.click()")
    look("help")
    page.keyboard.press("Escape")
    page.locator("#topic").click()
    look("dialog")
    page.keyboard.press("Escape")
    if size == "phone":
        page.get_by_role("button", name="Rooms").click()
        look("rooms")
        page.keyboard.press("Escape")
        page.get_by_role("button", name=" members").click()
        look("members")
        page.keyboard.press("Escape")
    page.locator("#talks button").evaluate("button => button.click()")
    anna.is_in("jack")
    look("talk")
    daemon.process.kill()
    anna.type("lost")
    expect(page.locator("#banner")).to_be_visible()
    look("offline")
    assert found == []
