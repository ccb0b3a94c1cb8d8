"""The findings of axe-core on the page, in each state, light and dark, wide and narrow.

A state is looked at in both schemes, one after the other: they differ in colours alone.

AXE is the path of axe.min.js, from npm's axe-core.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_accounts import register
from visitor import Visitor

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]
# Looks wait until animations have ended.
SETTLED = "Promise.allSettled(document.getAnimations().map(({ finished }) => finished))"
# Chromium keeps the colour of an animation that ended in the other scheme.
FADE_ANEW = """document.querySelectorAll("#pending .row")
    .forEach((row) => row.replaceWith(row.cloneNode(true)))"""
# The control that opens each dialog.
DIALOGS = {
    "help": "#help-button",
    "settings": "#settings-button",
    "dialog": "#topic",
    "question": "#leave",
    "finder": "#finder-button",
    "search": "#search-button",
}
NICKS = [f"person{number}" for number in range(40)]  # with them come all the colours of nicks


@pytest.fixture(scope="session")
def axe() -> str:
    return Path(os.environ["AXE"]).read_text(encoding="utf-8")


def violations(page: Page, axe: str) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    # The page behind an open dialog was looked at before it opened.
    run = """rules => axe.run(document.querySelector("dialog[open]") ?? document,
        { runOnly: rules, resultTypes: ["violations"] })"""
    violations = []
    for scheme, rules in (("light", TAGS), ("dark", COLOURS)):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(FADE_ANEW)
        page.evaluate(SETTLED)
        violations += [
            f"{scheme}: {rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in page.evaluate(run, rules)["violations"]
            for node in rule["nodes"]
        ]
    return violations


def small(page: Page) -> list[str]:
    """Return the controls that are too small for a finger."""
    page.evaluate(SETTLED)
    return page.evaluate(SMALL)


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_no_state_of_the_page_keeps_anyone_out(serve, visit, talk, axe, size) -> None:
    daemon = serve()
    for nick in NICKS:
        talk(
            daemon,
            f"/nick {nick}",
            "/join #general",
            f"/msg {nick} says https://example.org/ and `x` to @anna",
            "/msg > *so* ~~no~~",
        )
    jack = talk(daemon, "/nick jack", "/join #general", "/topic Tea", "/me waves", "/who")
    jack.hears_until("> topic of #general: Tea")
    anna = visit(daemon.port, size=size)
    page, found = anna.page, []

    def look(state: str) -> None:
        found.extend(f"{state}: {violation}" for violation in violations(page, axe))

    anna.open()
    expect(page.get_by_label("Nickname")).to_be_focused()
    look("entrance")
    anna.enter("anna")
    jack.say("/msg anna, look", "/tell anna psst", "/join #other")
    anna.sees("anna, look")
    anna.sees("left")
    look("room")
    hues = page.locator("#members .nick").evaluate_all("all => all.map(one => one.className)")
    assert len(set(hues)) == 12
    anna.type("/rooms", "/who", "/history", "/nosuch")
    anna.sees("unknown command")
    for state, typed in (("answers and completion", "/"), ("mention", "@")):
        anna.field.fill(typed)
        look(state)
    anna.field.fill("")
    for state, opener in DIALOGS.items():
        page.locator(opener).evaluate("button => button.click()")
        look(state)
        page.keyboard.press("Escape")
    anna.type("/search look")
    expect(page.locator("#search-results li")).to_have_count(1)
    look("search results")
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


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_accounts_keep_no_one_out(serve, visit, axe, tmp_path, size) -> None:
    daemon = serve(store=f"sqlite:{tmp_path / 'chat.db'}")
    anna = visit(daemon.port, size=size).open()
    page, found, password = anna.page, [], "a tall ship sails"

    def look(state: str) -> None:
        found.extend(f"{state}: {violation}" for violation in violations(page, axe))
        if size == "phone":
            found.extend(f"{state}: {what}" for what in small(page))

    expect(page.get_by_role("button", name="Log in to your account")).to_be_visible()
    look("entrance")
    anna.enter("anna")
    for line in ("/login", "/recover", "/register"):
        anna.type(line)
        expect(page.locator("#login form")).to_be_visible()
        look(line)
        page.keyboard.press("Escape")
    anna.type("/register")
    page.locator("#login-fresh").fill(password)
    page.locator("#login-again").fill("another")
    page.keyboard.press("Enter")
    expect(page.locator("#login-error")).to_have_text("The two passwords differ.")
    look("error")
    page.locator("#login-again").fill(password)
    page.keyboard.press("Enter")
    expect(page.locator("#login .code")).to_be_visible()
    look("code")
    page.get_by_role("button", name="I have kept it").click()
    anna.type("/account")
    expect(page.locator("#account-devices li")).to_have_count(1)
    look("account")
    page.get_by_role("button", name="Change the password").click()
    look("password")
    page.keyboard.press("Escape")
    anna.type("/account")
    page.get_by_role("button", name="Delete the account").click()
    look("delete")
    assert found == []


class Looks:
    """Looks at states of pages, and keeps what it finds."""

    def __init__(self, axe: str, size: str) -> None:
        self.found: list[str] = []
        self._axe = axe
        self._size = size

    def __call__(self, visitor: Visitor, state: str) -> None:
        page, found = visitor.page, violations(visitor.page, self._axe)
        if self._size == "phone":
            found += small(page)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append("it is too wide")
        self.found.extend(f"{state}: {problem}" for problem in found)


@pytest.fixture
def moderated(serve, visit, talk, tmp_path, size) -> tuple[Visitor, Visitor]:
    """The owner of #go, and somebody with an account. A guest with a long nick is in the room."""
    daemon = serve(store=f"sqlite:{tmp_path / 'chat.db'}")
    anna, jack = (
        visit(daemon.port, size=size).enter(nick, room)
        for nick, room in (("anna", "#go"), ("jack", "#other"))
    )
    for one in (anna, jack):
        one.page.set_viewport_size({"width": 320 if size == "phone" else 1280, "height": 700})
        register(one)
    anna.type("/claim")
    anna.sees("claimed the room")
    talk(daemon, "/nick a-nick-of-thirty-two-characters-", "/join #go", "/msg psst")
    anna.sees("psst")
    return anna, jack


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_moderators_are_kept_from_nothing(moderated, axe, size) -> None:
    (anna, _), look = moderated, Looks(axe, size)
    page, button = anna.page, anna.page.locator("#log-rows .more")
    page.locator("#log-rows .text").click(position={"x": 5, "y": 5})
    button.hover()
    look(anna, "button")
    for verb in ("Mute…", "Kick…", "Ban…"):
        button.click()
        look(anna, "menu")
        page.get_by_role("menuitem", name=verb).click()
        expect(page.locator("#penalty-check p")).to_have_count(0 if verb == "Kick…" else 2)
        look(anna, verb)
        page.keyboard.press("Escape")
    if size == "phone":
        page.get_by_role("button", name="2 members").click()
        expect(page.locator(".drawer.open")).to_be_in_viewport(ratio=1)
    look(anna, "members")
    page.locator("#moderation-button").click()
    expect(page.locator("#moderation-list li")).to_have_count(1)
    look(anna, "actions")
    page.get_by_role("tab", name="Held messages").click()
    expect(page.locator("#moderation-note")).to_have_text("No message waits.")
    look(anna, "held")
    page.get_by_role("tab", name="Reports").click()
    expect(page.locator("#moderation-note")).to_have_text("No report is open.")
    look(anna, "reports")
    page.get_by_role("button", name="Raid…").click()
    look(anna, "raid")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    anna.type("/role jack voice")
    anna.sees("made jack voice")
    anna.type("/room")
    expect(page.get_by_label("Role of jack")).to_be_visible()
    look(anna, "room")
    assert look.found == []


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_moderated_people_read_why(moderated, axe, size) -> None:
    (anna, jack), look = moderated, Looks(axe, size)
    jack.type("/join #go")
    jack.is_in("#go")
    jack.type("/room")
    expect(jack.page.get_by_label("Who may enter")).to_be_disabled()
    look(jack, "room")
    jack.page.keyboard.press("Escape")
    anna.type("/mute jack 3d flooding")
    expect(jack.page.locator("#muted")).to_be_visible()
    look(jack, "muted")
    anna.type("/kick jack enough")
    expect(jack.page.locator("#ousted")).to_be_visible()
    look(jack, "kicked")
    assert look.found == []


SMALL = """() => [...document.querySelectorAll("button, input, select, textarea, [role=option]")]
  .filter((node) => node.checkVisibility({ visibilityProperty: true }))
  .filter((node) => !node.matches(".author, .named, .switch input"))
  .map((node) => [node.id || node.className, node.getBoundingClientRect()])
  .filter(([, { width, height }]) => width < 44 || height < 44)
  .map(([name, { width, height }]) => `${name}: ${width} x ${height}`)"""


def test_fingers_find_everything_on_a_phone(serve, visit, talk) -> None:
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general", "/topic Tea", "/msg look")
    jack.hears_until("> topic of #general: Tea")
    anna = visit(daemon.port, size="phone").open()
    page, found = anna.page, []

    def look(state: str) -> None:
        found.extend(f"{state}: {what}" for what in small(page))

    expect(page.get_by_role("button", name="#general")).to_be_visible()
    look("entrance")
    anna.enter("anna")
    jack.say("/tell anna psst")
    anna.type("/rooms", "/who", "/history")
    expect(page.locator(".found-list")).to_be_visible()
    look("room")
    anna.field.fill("/")
    look("completion")
    anna.field.fill("")
    for state, opener in DIALOGS.items():
        page.locator(opener).evaluate("button => button.click()")
        look(state)
        page.keyboard.press("Escape")
    for name in ("Rooms", "2 members"):
        page.get_by_role("button", name=name, exact=True).click()
        expect(page.locator(".drawer.open")).to_be_in_viewport(ratio=1)
        look(name)
        page.keyboard.press("Escape")
    assert found == []
