"""Owners and moderators in the page: their menus, dialogs and drawer, and what the others see."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect
from processes import Daemon
from test_accounts import is_logged_in, register
from visitor import Visitor


@pytest.fixture
def daemon(serve, tmp_path: Path) -> Daemon:
    """A daemon that keeps accounts."""
    return serve(store=f"sqlite:{tmp_path / 'chat.db'}")


@pytest.fixture
def anna(daemon, visit) -> Visitor:
    """The owner of #go."""
    anna = visit(daemon.port).enter("anna", "#go")
    register(anna)
    anna.type("/claim")
    anna.sees("anna claimed the room [A1]")
    return anna


@pytest.fixture
def jack(daemon, visit, anna) -> Visitor:
    """Somebody with an account in the room, who has said hello."""
    jack = visit(daemon.port).enter("jack", "#go")
    register(jack)
    is_logged_in(jack, "jack")
    jack.type("hello all")
    anna.sees("hello all")
    return jack


def row(visitor: Visitor, text: str) -> Locator:
    return visitor.page.locator("#log-rows .row").filter(has_text=text)


def menu(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("menu")


def choose(visitor: Visitor, name: str) -> None:
    visitor.page.get_by_role("menuitem", name=name).click()


def act_on(visitor: Visitor, text: str, name: str) -> None:
    """Open the menu of the message with this text, and choose from it."""
    row(visitor, text).hover()
    row(visitor, text).locator(".more").click()
    choose(visitor, name)


def test_a_menu_is_reached_and_left_by_keys(anna, jack) -> None:
    page = anna.page
    jack.type("and again")
    anna.sees("and again")
    page.locator("#log").focus()
    page.keyboard.press("Tab")
    expect(row(anna, "and again").locator(".more")).to_be_focused()
    page.keyboard.press("ArrowUp")
    first = row(anna, "hello all").locator(".more")
    expect(first).to_be_focused()
    page.keyboard.press("Enter")
    expect(first).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("menuitem", name="Message privately")).to_be_focused()
    for key, name in (("ArrowUp", "Ban…"), ("ArrowDown", "Message privately"), ("End", "Ban…")):
        page.keyboard.press(key)
        expect(page.get_by_role("menuitem", name=name)).to_be_focused()
    page.keyboard.press("x")
    expect(anna.field).to_have_value("")
    page.keyboard.press("Escape")
    expect(menu(anna)).to_be_hidden()
    expect(first).to_be_focused()
    expect(first).to_have_attribute("aria-expanded", "false")
    # Its dialog gives the focus back, too.
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator("#penalty")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#penalty")).to_be_hidden()
    expect(first).to_be_focused()


def test_a_menu_closes_for_a_click_elsewhere_and_for_its_own_button(anna, jack) -> None:
    button = row(anna, "hello all").locator(".more")
    row(anna, "hello all").hover()
    button.click()
    expect(menu(anna)).to_be_visible()
    button.click()
    expect(menu(anna)).to_be_hidden()
    button.click()
    anna.field.click()
    expect(menu(anna)).to_be_hidden()
    expect(anna.field).to_be_focused()


def test_others_have_a_menu_without_what_they_may_not_do(anna, jack) -> None:
    anna.type("welcome")
    jack.sees("welcome")
    row(jack, "welcome").hover()
    row(jack, "welcome").locator(".more").click()
    expect(jack.page.get_by_role("menuitem")).to_have_text(
        ["Message privately", "Ignore", "Report…"]
    )
    expect(jack.page.locator("#moderation-button")).to_be_hidden()
    expect(jack.page.locator("#members .more")).to_have_count(0)
    choose(jack, "Message privately")
    jack.is_in("anna")


def test_somebody_is_muted_and_reads_until_when(anna, jack) -> None:
    act_on(anna, "hello all", "Mute…")
    dialog = anna.page.locator("#penalty")
    expect(dialog).to_contain_text(re.compile(r"jack: an account since .*\."))
    expect(dialog).to_contain_text("hit 1 person in this room, 1 of them with an account")
    anna.page.get_by_label("For how long").select_option("1 hour")
    anna.page.get_by_label("Reason").fill("flooding")
    anna.page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    for visitor in (anna, jack):
        visitor.sees("anna muted jack for 1 hour: flooding [A")
    notice = jack.page.locator("#muted")
    expect(notice).to_have_text(re.compile(r"^You are muted in #go until .*\d\d:\d\d: flooding\.$"))
    jack.page.reload()
    expect(notice).to_contain_text("flooding")
    # The drawer undoes it.
    anna.page.get_by_role("button", name="Moderation", exact=True).click()
    actions = anna.page.locator("#moderation-list li")
    expect(actions).to_have_count(2)
    expect(actions.first).to_contain_text("muted jack for 1 hour: flooding")
    actions.first.get_by_role("button").click()
    expect(actions.first).to_contain_text("undid A")
    expect(actions.nth(1).get_by_role("button")).to_have_count(0)
    expect(notice).to_be_hidden()
    anna.page.keyboard.press("Escape")
    expect(anna.page.locator("#moderation")).to_be_hidden()


def test_somebody_is_kicked_and_may_come_back(anna, jack) -> None:
    member = anna.page.locator("#members li").filter(has_text="jack")
    member.hover()
    member.locator(".more").click()
    choose(anna, "Kick…")
    expect(anna.page.get_by_label("For how long")).to_be_hidden()
    anna.page.get_by_label("Reason").fill("enough")
    anna.page.get_by_role("button", name="Kick").click()
    notice = jack.page.locator("#ousted-text")
    expect(notice).to_have_text("You are no longer in #go: anna kicked jack: enough.")
    jack.page.get_by_role("button", name="Join again").click()
    jack.is_in("#go")
    expect(notice).to_be_hidden()


def test_somebody_is_invited_and_joins_by_the_button(anna, jack) -> None:
    jack.type("/leave")
    anna.type("/room join members")
    anna.type("/invite jack")
    expect(jack.page.locator("#invited-text")).to_have_text("anna invites you to #go.")
    jack.page.get_by_role("button", name="Join", exact=True).click()
    jack.is_in("#go")
    expect(jack.page.locator("#invited")).to_be_hidden()


def test_somebody_is_banned_and_reads_why(anna, jack) -> None:
    act_on(anna, "hello all", "Ban…")
    anna.page.get_by_label("For how long").select_option("For ever")
    anna.page.get_by_label("Reason").fill("spam")
    anna.page.get_by_role("button", name="Ban").click()
    notice = jack.page.locator("#ousted")
    expect(notice).to_contain_text("you are banned from #go for ever: spam")
    jack.page.get_by_role("button", name="Close this notice").click()
    expect(notice).to_be_hidden()
    expect(jack.field).to_be_focused()


def test_a_refusal_stays_in_the_dialog(anna, jack) -> None:
    act_on(anna, "hello all", "Kick…")
    jack.type("/leave")
    anna.sees("jack left")
    anna.page.get_by_role("button", name="Kick").click()
    expect(anna.page.locator("#penalty-error")).to_have_text("Jack is not in #go.")
    anna.page.get_by_role("button", name="Cancel").click()
    expect(anna.page.locator("#penalty")).to_be_hidden()


def test_a_room_is_claimed_and_changed_in_its_dialog(daemon, visit) -> None:
    bob = visit(daemon.port).enter("bob", "#go")
    register(bob)
    opener = bob.page.get_by_role("button", name="Settings of the room")
    opener.click()
    dialog = bob.page.locator("#room-dialog")
    expect(dialog).to_contain_text("You have no role here.")
    expect(bob.page.get_by_label("Who may enter")).to_be_disabled()
    bob.page.get_by_role("button", name="Become the owner of this room").click()
    expect(dialog).to_contain_text("Your role here: owner.")
    topic = bob.page.get_by_label("Who may set the topic")
    topic.focus()
    topic.select_option("Operators")
    expect(bob.page.locator("#room-note")).to_contain_text("set topic to operators")
    expect(topic).to_be_focused()
    bob.page.get_by_label("Seconds between messages").fill("a lot")
    bob.page.keyboard.press("Tab")
    expect(bob.page.locator("#room-note")).to_contain_text("Slow must be")
    expect(bob.page.get_by_label("Seconds between messages")).to_have_value("0")
    bob.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_a_role_counts_for_the_page_at_once(anna, jack) -> None:
    shield = jack.page.locator("#moderation-button")
    expect(shield).to_be_hidden()
    anna.type("/roles")
    anna.page.get_by_role("textbox", name="Account").fill("jack")
    anna.page.get_by_label("What they get").select_option("Operator")
    anna.page.get_by_role("button", name="Give").click()
    expect(anna.page.locator("#room-note")).to_contain_text("anna made jack operator")
    expect(shield).to_be_visible()
    anna.page.keyboard.press("Escape")
    jack.type("/log")
    expect(jack.page.locator("#moderation")).to_contain_text("made jack operator")
    anna.type("/role jack none")
    expect(jack.page.locator("#moderation")).to_be_hidden()
    expect(shield).to_be_hidden()


def test_the_dialog_of_a_room_lists_who_has_a_role_and_changes_it(anna, jack) -> None:
    anna.type("/role jack operator")
    anna.sees("made jack operator")
    anna.type("/room")
    holders = anna.page.locator("#room-holders li")
    expect(holders).to_have_count(2)
    expect(holders.first).to_have_text("annaOwner")
    role = anna.page.get_by_label("Role of jack")
    expect(role).to_have_value("operator")
    role.focus()
    role.select_option("Voice")
    expect(anna.page.locator("#room-note")).to_contain_text("anna made jack voice")
    expect(role).to_have_value("voice")
    expect(role).to_be_focused()
    role.select_option("No role")
    expect(anna.page.locator("#room-note")).to_contain_text("took the role of jack away")
    expect(holders).to_have_text(["annaOwner"])
    expect(anna.page.get_by_role("textbox", name="Account")).to_be_focused()
    # Those without a role read whom they may ask.
    jack.type("/roles")
    expect(jack.page.locator("#room-holders li")).to_have_text(["annaOwner"])
    expect(jack.page.locator("#room-holders select")).to_have_count(0)


def test_a_raid_is_begun_and_ended_in_its_dialog(anna, jack, daemon, talk) -> None:
    anna.page.get_by_role("button", name="Moderation", exact=True).click()
    drawer, opener = anna.page.locator("#moderation"), anna.page.get_by_role("button", name="Raid…")
    expect(drawer.get_by_role("button", name="Announce…")).to_be_hidden()
    opener.click()
    dialog = anna.page.get_by_role("dialog", name="Raid on #go")
    expect(dialog).to_contain_text("Messages of newcomers wait for a moderator")
    expect(dialog.get_by_label("Where")).to_be_hidden()
    expect(dialog.get_by_label("How long")).to_be_focused()
    dialog.get_by_label("How long").select_option("2 hours")
    dialog.get_by_label("Newcomers are").select_option("The last 30 minutes")
    dialog.get_by_role("button", name="OK").click()
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
    anna.sees("holds messages of newcomers, because of a raid, for 2 hours")
    expect(anna.page.locator("#moderation-list li").first).to_contain_text("because of a raid")
    talk(daemon, "/nick tom", "/join #go", "/msg psst")
    anna.sees("A message of tom waits for a moderator (H1): psst")
    anna.type("/room")
    expect(anna.page.locator("#room-role")).to_contain_text("Messages of newcomers wait until")
    anna.page.get_by_role("button", name="Close", exact=True).click()
    opener.click()
    dialog.get_by_label("How long").select_option("End it now")
    expect(dialog.get_by_label("Newcomers are")).to_be_hidden()
    dialog.get_by_role("button", name="OK").click()
    anna.sees("anna ended the raid")
    opener.click()
    dialog.get_by_label("How long").select_option("End it now")
    dialog.get_by_role("button", name="OK").click()
    expect(anna.page.locator("#raid-error")).to_have_text("There is no raid in #go.")
    anna.page.keyboard.press("Escape")


def test_an_operator_of_the_server_acts_on_all_of_it(serve, visit, tmp_path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("operators = []\n")
    daemon = serve(f"--config={config}", store=f"sqlite:{tmp_path / 'chat.db'}")
    eve = visit(daemon.port).enter("eve", "#go")
    register(eve)
    is_logged_in(eve, "eve")
    shield = eve.page.get_by_role("button", name="Moderation", exact=True)
    expect(shield).to_be_hidden()
    config.write_text('operators = ["eve"]\n')
    daemon.process.send_signal(signal.SIGHUP)
    shield.click()
    jim = visit(daemon.port).enter("jim", "#other")
    eve.page.get_by_role("button", name="Announce…").click()
    eve.page.get_by_label("Text").fill("tea is ready")
    eve.page.get_by_role("dialog").get_by_role("button", name="Announce").click()
    jim.sees("tea is ready")
    eve.sees("You have told 2 clients.")
    eve.page.get_by_role("button", name="Raid…").click()
    dialog = eve.page.get_by_role("dialog", name="Raid on #go")
    dialog.get_by_label("Where").select_option("The whole server")
    expect(dialog).to_contain_text("Newcomers can only read")
    dialog.get_by_role("button", name="OK").click()
    eve.sees("lets newcomers on the server only read")
    jim.type("hello")
    jim.sees("because of a raid, newcomers can only read")


def test_messages_are_removed_by_their_authors_and_by_moderators(anna, jack) -> None:
    jack.type("never mind")
    act_on(jack, "never mind", "Remove…")
    jack.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    for visitor in (anna, jack):
        expect(row(visitor, "never mind")).to_have_count(0)
    act_on(anna, "hello all", "Remove…")
    anna.page.get_by_label("Reason").fill("off topic")
    anna.page.get_by_role("button", name="Remove").click()
    jack.sees("removed by anna")
    expect(row(jack, "hello all")).to_have_count(0)
    anna.type("/log")
    undo = anna.page.locator("#moderation-list").get_by_role("button", name="Undo").first
    undo.click()
    jack.sees("hello all")


def test_a_message_is_pinned(anna, jack) -> None:
    act_on(anna, "hello all", "Pin")
    jack.sees("anna pinned")


def test_somebody_is_ignored(anna, jack) -> None:
    anna.type("one")
    jack.sees("one")
    act_on(jack, "one", "Ignore")
    jack.sees("You ignore anna from now on.")
    anna.type("two")
    jack.type("/ignore anna", "three")
    anna.sees("three")
    anna.type("four")
    jack.sees("four")
    expect(row(jack, "two")).to_have_count(0)
    # Also by somebody who may not read the history.
    anna.type("/room history members")
    anna.sees("set history to members")
    act_on(jack, "four", "Ignore")
    anna.type("five")
    jack.type("/ignore anna", "six")
    jack.sees("six")
    expect(row(jack, "five")).to_have_count(0)


def test_held_messages_are_passed_and_dropped(anna, daemon, talk) -> None:
    anna.type("/room new-people hold")
    anna.sees("set new-people to hold")
    talk(daemon, "/nick tom", "/join #go", "/msg one", "/msg two", "/msg three")
    anna.sees("A message of tom waits for a moderator (H1): one")
    anna.type("/held")
    held = anna.page.locator("#moderation-list li")
    expect(held).to_have_count(3)
    held.filter(has_text="one").get_by_role("button", name="Pass").click()
    expect(held).to_have_count(2)
    anna.sees_once("one")
    held.filter(has_text="two").get_by_role("button", name="Drop").click()
    expect(held).to_have_count(1)
    expect(anna.page.get_by_role("tab", name="Held messages")).to_be_focused()
    anna.page.keyboard.press("ArrowLeft")
    expect(anna.page.get_by_role("tab", name="Actions")).to_be_focused()
    expect(held.first).to_contain_text("set new-people to hold")
    assert "two" not in anna.texts()


def test_a_message_is_reported_and_the_report_finished(anna, jack, daemon, talk) -> None:
    talk(daemon, "/nick tom", "/join #go", "/msg cheap tomatoes")
    jack.sees("cheap tomatoes")
    act_on(jack, "cheap tomatoes", "Report…")
    jack.page.get_by_label("What is wrong").fill("advertising")
    jack.page.get_by_role("button", name="Report").click()
    jack.sees("The moderators of #go have your report about tom.")
    anna.sees("jack on tom")
    anna.type("/reports")
    reports = anna.page.locator("#moderation-list li")
    expect(reports).to_contain_text("About tom: advertising")
    reports.get_by_role("button", name="Show message").click()
    expect(row(anna, "cheap tomatoes")).to_have_class(re.compile("reached"))
    reports.get_by_role("button", name="Done").click()
    expect(anna.page.locator("#moderation-note")).to_have_text("No report is open.")
    expect(anna.page.get_by_role("tab", name="Reports")).to_be_focused()


def test_commands_answer_and_complete(anna, jack) -> None:
    anna.type("/check jack")
    anna.sees("A mute or a ban would hit 1 person")
    anna.field.fill("/mute ja")
    anna.field.press("Tab")
    expect(anna.field).to_have_value("/mute jack ")
    anna.field.fill("")
    jack.type("/log")
    jack.sees("only operators of the room may see its actions")


def test_a_finger_picks_a_message_first(daemon, visit, talk, anna) -> None:
    talk(daemon, "/nick tom", "/join #go", "/msg psst", "/msg hello")
    eve = visit(daemon.port, size="phone").enter("eve", "#go")
    eve.sees("hello")
    button = row(eve, "hello").locator(".more")
    expect(button).to_be_hidden()
    row(eve, "hello").locator(".text").tap()
    expect(button).to_be_visible()
    expect(row(eve, "psst").locator(".more")).to_be_hidden()
    button.tap()
    choose(eve, "Message privately")
    eve.is_in("tom")


# --- a limit and a key ----------------------------------------------------------------------------


@pytest.fixture
def locked(anna) -> Visitor:
    """#go has the key green, and anna has a place free."""
    anna.type("/room")
    field = anna.page.get_by_label("Key that people need to enter")
    expect(field).to_have_value("")
    field.fill("green")
    anna.page.keyboard.press("Tab")
    expect(anna.page.locator("#room-note")).to_have_text("anna set a key [A2]")
    expect(field).to_have_value("set")
    anna.page.keyboard.press("Escape")
    return anna


@pytest.mark.parametrize("way", ["typed", "link"])
def test_the_page_asks_for_the_key_of_a_room(way: str, daemon, visit, locked) -> None:
    tom = visit(daemon.port).enter("tom", "#else")
    if way == "typed":
        tom.type("/join #go")
    else:
        tom.type("see #go")
        tom.log.get_by_text("#go", exact=True).click()
    dialog = tom.page.get_by_role("dialog")
    expect(dialog).to_contain_text("#go has a key")
    tom.page.keyboard.type("blue")
    tom.page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("That is not the key of #go.")
    tom.page.keyboard.type("green")
    tom.page.keyboard.press("Enter")
    tom.is_in("#go")


def test_a_key_stands_behind_the_name_of_a_room(daemon, visit, locked) -> None:
    tom = visit(daemon.port).enter("tom", "#else")
    tom.type("/join #go green")
    tom.is_in("#go")
    tom.field.press("ArrowUp")
    expect(tom.field).to_have_value("")
    kim = visit(daemon.port).open()
    kim.page.get_by_label("Nickname").fill("kim")
    kim.page.get_by_role("textbox", name="Room").fill("#go")
    kim.page.keyboard.press("Enter")
    told = "#go has a key: give it behind the name of the room."
    expect(kim.page.get_by_text(told)).to_be_visible()
    kim.page.get_by_role("textbox", name="Room").fill("#go green")
    kim.page.keyboard.press("Enter")
    kim.is_in("#go")
    stored = kim.page.evaluate("JSON.stringify([{...sessionStorage}, {...localStorage}])")
    assert "green" not in stored


def test_an_empty_field_takes_a_key_or_a_limit_away(locked) -> None:
    locked.type("/room")
    for label, value, told in (
        ("Most people in the room", "5", "anna set limit to 5 [A3]"),
        ("Most people in the room", "", "anna set limit to off [A4]"),
        ("Key that people need to enter", "", "anna set key to off [A5]"),
    ):
        locked.page.get_by_label(label).fill(value)
        locked.page.keyboard.press("Tab")
        expect(locked.page.locator("#room-note")).to_have_text(told)
        expect(locked.page.get_by_label(label)).to_have_value(value)
