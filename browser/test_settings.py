"""The settings: what each of them does, and that the browser keeps them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect


def background(visitor) -> str:
    return visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")


def open_settings(visitor) -> None:
    visitor.page.locator("#settings-button").evaluate("button => button.click()")
    expect(visitor.page.get_by_role("dialog", name="Settings")).to_be_visible()


def test_a_theme_can_be_chosen_and_is_kept(serve, visit) -> None:
    anna = visit(serve().port, scheme="light").enter("anna")
    body = anna.page.locator("body")
    light = background(anna)
    open_settings(anna)
    anna.page.get_by_label("Theme").select_option("Dark")
    expect(body).not_to_have_css("background-color", light)
    dark = background(anna)
    bars = anna.page.locator("meta[name=theme-color]")
    assert [bar.get_attribute("media") for bar in bars.all()] == ["not all", "all"]
    anna.page.reload()
    anna.is_online()
    expect(body).to_have_css("background-color", dark)
    open_settings(anna)
    expect(anna.page.get_by_label("Theme")).to_have_value("dark")
    anna.page.get_by_label("Theme").select_option("Same as the system")
    expect(body).to_have_css("background-color", light)


def test_a_theme_is_there_before_the_modules(serve, visit) -> None:
    anna = visit(serve().port, scheme="light")
    # A service worker would fetch the module that is held back below.
    anna.page.add_init_script("Object.defineProperty(navigator, 'serviceWorker', {})")
    anna.enter("anna")
    open_settings(anna)
    anna.page.get_by_label("Theme").select_option("Dark")
    dark = background(anna)
    anna.page.context.route("**/main.js", lambda route: route.abort())
    anna.page.reload()
    expect(anna.page.locator("#starting")).to_be_visible()
    expect(anna.page.locator("body")).to_have_css("background-color", dark)


def test_times_are_shown_by_the_clock_that_is_chosen(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/msg one")
    anna.sees("one")
    times = anna.page.locator("#log-rows time")
    open_settings(anna)
    anna.page.get_by_label("Time format").select_option("12 hours")
    expect(times.first).to_have_text(re.compile(r"^\d{1,2}:\d\d\s[ap]m$"))
    anna.page.keyboard.press("Escape")
    jack.say("/me waves")
    expect(times.last).to_have_text(re.compile(r"^\d{1,2}:\d\d\s[ap]m$"))
    open_settings(anna)
    anna.page.get_by_label("Time format").select_option("24 hours")
    for time in times.all():
        expect(time).to_have_text(re.compile(r"^\d\d:\d\d$"))


def test_joins_can_be_left_out(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    talk(daemon, "/nick jack", "/join #general", "/msg hi")
    joined = anna.page.get_by_text("jack joined")
    expect(joined).to_be_visible()
    open_settings(anna)
    anna.page.get_by_role("switch", name="Joins and leaves").uncheck()
    anna.page.get_by_role("button", name="Close").click()
    expect(joined).to_be_hidden()
    expect(anna.said("hi")).to_be_visible()


COUNT_CHIMES = """
window.chimes = 0;
const { start } = OscillatorNode.prototype;
OscillatorNode.prototype.start = function (...when) {
  chimes += 1;
  return start.apply(this, when);
};
"""


def test_a_sound_tells_of_what_is_for_us(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    anna.page.add_init_script(COUNT_CHIMES)
    anna.enter("anna")
    anna.type("/join #other")
    anna.is_in("#other")
    jack = talk(daemon, "/nick jack", "/join #general", "/msg anna, one")
    expect(anna.place("#general").locator(".count")).to_have_text("1 unread, for you")
    assert anna.page.evaluate("chimes") == 0
    open_settings(anna)
    anna.page.get_by_role("switch", name="Sound").check()
    anna.page.keyboard.press("Escape")
    jack.say("/msg two", "/msg anna, three", "/tell anna four")
    expect(anna.place("jack").locator(".count")).to_have_text("1 unread, for you")
    assert anna.page.evaluate("chimes") == 2


def test_blocked_notifications_are_not_said_to_be_on(serve, visit) -> None:
    anna = visit(serve().port)
    anna.page.add_init_script(
        "window.Notification = class { static requestPermission = async () => 'denied'; };"
    )
    anna.enter("anna")
    open_settings(anna)
    switch = anna.page.get_by_role("switch", name="Notifications")
    switch.click()
    expect(anna.page.locator("#settings-note")).to_have_text(re.compile("^Notifications are block"))
    expect(switch).not_to_be_checked()


BROKEN = [
    'localStorage.setItem(\'trio_chat.settings\', \'{"theme": "pink", "joins": 7}\')',
    "localStorage.setItem('trio_chat.settings', 'null')",
    "localStorage.setItem('trio_chat.settings', '{')",
    "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })",
]


@pytest.mark.parametrize("script", BROKEN)
def test_settings_that_cannot_be_read_or_kept_are_no_obstacle(serve, visit, script: str) -> None:
    anna = visit(serve().port)
    anna.page.add_init_script(script)
    anna.enter("anna")
    open_settings(anna)
    expect(anna.page.get_by_label("Theme")).to_have_value("system")
    expect(anna.page.get_by_role("switch", name="Joins and leaves")).to_be_checked()
    anna.page.get_by_label("Theme").select_option("Dark")
    expect(anna.page.locator("html")).to_have_attribute("data-theme", "dark")
