"""Going to a message that a search has found, and by Ctrl-K to a room or a person."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect


@pytest.fixture
def long_room(serve, talk):
    """A daemon whose #general has 1,000 messages; every hundredth one has the word needle."""
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.say(*(f"/msg message {at}{' needle' if at % 100 == 0 else ''}" for at in range(1_000)))
    jack.say("/who")
    jack.hears_until("> in #general: jack")
    return daemon, jack


def search(visitor, words: str) -> None:
    visitor.page.get_by_role("button", name="Search", exact=True).click()
    visitor.page.get_by_role("searchbox").fill(words)
    visitor.page.keyboard.press("Enter")


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_click_on_a_result_goes_to_its_message(visit, long_room, size: str) -> None:
    daemon, _ = long_room
    anna = visit(daemon.port, size=size).enter("anna")
    anna.sees("message 999")
    search(anna, "NEEDLE message")
    expect(anna.page.locator("#search-note")).to_have_text("10 messages found, newest first.")
    results = anna.page.locator("#search-results li")
    expect(results.first.locator("mark")).to_have_text(["message", "needle"])
    results.get_by_text("message 200 needle").click()
    reached = anna.said("message 200 needle")
    expect(reached).to_be_in_viewport()
    expect(anna.page.locator("#search")).to_be_visible(visible=size == "desktop")
    # The messages around it are there, and the newest are not.
    expect(anna.said("message 199")).to_be_in_viewport()
    expect(anna.said("message 999")).to_have_count(0)
    anna.page.get_by_role("button", name="Newest").click()
    expect(anna.said("message 999")).to_be_in_viewport()


def test_one_reads_on_from_a_result_in_both_directions(visit, long_room) -> None:
    daemon, jack = long_room
    anna = visit(daemon.port).enter("anna")
    anna.sees("message 999")
    search(anna, "needle")
    anna.page.locator("#search-results").get_by_text("message 500 needle").click()
    expect(anna.said("message 500 needle")).to_be_in_viewport()
    anna.scroll("log.scrollHeight", anna.said("message 999"))
    jack.say("/msg after all")
    anna.sees("after all")
    anna.scroll_back()
    texts = [f"message {at}{' needle' if at % 100 == 0 else ''}" for at in range(1_000)]
    assert anna.texts() == [*texts, "after all"]


def test_messages_that_come_meanwhile_are_unread(visit, long_room) -> None:
    daemon, jack = long_room
    anna = visit(daemon.port).enter("anna")
    anna.sees("message 999")
    search(anna, "needle")
    anna.page.locator("#search-results").get_by_text("message 100 needle").click()
    expect(anna.said("message 100 needle")).to_be_in_viewport()
    jack.say("/msg news")
    expect(anna.place("#general").locator(".count")).to_have_text("1 unread")
    anna.page.get_by_role("button", name="1 new").click()
    expect(anna.said("news")).to_be_in_viewport()
    expect(anna.place("#general").locator(".count")).to_have_count(0)
    # A message of her own leads back to the end.
    anna.page.locator("#search-results").get_by_text("message 100 needle").click()
    expect(anna.said("message 100 needle")).to_be_in_viewport()
    anna.type("mine")
    expect(anna.said("mine")).to_be_in_viewport()


def test_a_result_at_hand_is_scrolled_to(serve, visit, talk) -> None:
    daemon = serve()
    talk(daemon, "/nick jack", "/join #general", "/msg needle", *(f"/msg {n}" for n in range(60)))
    anna = visit(daemon.port).enter("anna")
    anna.sees("59")
    expect(anna.said("needle")).not_to_be_in_viewport()
    search(anna, "needle")
    anna.page.locator("#search-results li button").click()
    expect(anna.said("needle")).to_be_in_viewport()
    expect(anna.said("59")).to_have_count(1)


def test_a_search_is_typed_dismissed_and_of_one_room(serve, visit, talk) -> None:
    daemon = serve()
    talk(daemon, "/nick jack", "/join #general", "/msg a+b <i>tea</i>")
    anna = visit(daemon.port).enter("anna")
    anna.sees("tea")
    panel = anna.page.locator("#search")
    anna.type("/search a+b TEA")
    expect(panel.get_by_role("searchbox")).to_have_value("a+b TEA")
    expect(panel.locator("mark")).to_have_text(["a+b", "tea"])
    expect(panel.locator(".words")).to_have_text("a+b <i>tea</i>")
    anna.page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(anna.field).to_be_focused()
    search(anna, "coffee")
    expect(panel).to_contain_text("No messages found.")
    panel.get_by_role("button", name="Close search").click()
    expect(panel).to_be_hidden()
    search(anna, "x" * 3_000)
    expect(panel.locator("#search-note")).to_have_text(
        "A word may have at most 2000 characters; this one has 3000."
    )
    anna.type("/join #other")
    anna.is_in("#other")
    expect(panel).to_be_hidden()
    search(anna, "tea")
    expect(panel).to_contain_text("No messages found.")


def test_a_late_answer_does_not_replace_a_newer_one(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    notes = anna.page.evaluate(
        """async () => {
          const { Search } = await import("./search.js");
          const answers = [];
          const request = () => new Promise((resolve) => answers.push(resolve));
          const search = new Search({ request }, { choose: {}, opens: () => {}, leave: () => {} });
          search.at({ kind: "room", key: "#general", name: "#general" });
          search.open("one");
          search.open("two");
          const note = async (number, entries) => {
            answers[number]({ entries });
            await new Promise(requestAnimationFrame);
            return document.getElementById("search-note").textContent;
          };
          return [await note(0, []), await note(1, [])];
        }"""
    )
    assert notes == ["Searching…", "No messages found."]


def test_history_can_be_clicked_too(visit, long_room) -> None:
    daemon, _ = long_room
    anna = visit(daemon.port).enter("anna")
    anna.sees("message 999")
    anna.type("/history before 301 20")
    anna.page.locator(".found-list").get_by_text("message 290", exact=True).click()
    expect(anna.said("message 290")).to_be_in_viewport()


def test_ctrl_k_goes_to_rooms_and_people(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna", "#tea")
    talk(daemon, "/nick teddy", "/join #tea")
    anna.sees("teddy joined")
    anna.type("/join #other")
    anna.is_in("#other")
    talk(daemon, "/nick eve", "/join #steam").hears_until("> welcome to #steam")
    options = anna.page.get_by_role("option")
    anna.page.keyboard.press("Control+k")
    expect(anna.page.get_by_role("combobox", name="Go to a room or a person")).to_be_focused()
    anna.page.keyboard.type("te")
    expect(options).to_have_text(["#tea room", "teddy person", "#steam join", "te join"])
    anna.page.keyboard.press("Enter")
    anna.is_in("#tea")
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.type("TED")
    anna.page.keyboard.press("Enter")
    anna.is_in("teddy")
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.type("te")
    expect(options).to_have_count(4)
    anna.page.keyboard.press("ArrowUp")
    anna.page.keyboard.press("ArrowUp")
    anna.page.keyboard.press("Enter")
    anna.is_in("#steam")
    expect(anna.field).to_be_focused()
    anna.page.get_by_role("button", name="Go to…").click()
    anna.page.keyboard.type("#new")
    options.click()
    anna.is_in("#new")
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.press("Escape")
    expect(anna.page.get_by_role("dialog")).to_be_hidden()


def test_ctrl_k_finds_a_person_by_a_mention(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna", "#tea")
    talk(daemon, "/nick teddy", "/join #tea")
    anna.sees("teddy joined")
    options = anna.page.get_by_role("option")
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.type("@te")
    expect(options).to_have_text(["teddy person"])
    anna.page.keyboard.press("Enter")
    anna.is_in("teddy")
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.type("@TEDDY")
    expect(options).to_have_text(["teddy private messages"])
    anna.page.keyboard.type("-x")  # nobody, and no room to make
    expect(options).to_have_count(0)
    anna.page.keyboard.press("Enter")
    anna.page.keyboard.press("Escape")
    anna.is_in("teddy")


def test_a_click_beside_a_dialog_closes_it(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    dialog = anna.page.get_by_role("dialog")
    for opener in ("#finder-button", "#settings-button", "#help-button"):
        anna.page.locator(opener).click()
        expect(dialog).to_be_visible()
        # Its own padding is not beside it.
        dialog.click(position={"x": 3, "y": 60})
        expect(dialog).to_be_visible()
        anna.page.mouse.click(3, 400)
        expect(dialog).to_be_hidden()
    anna.page.locator("#topic").dispatch_event("click")
    anna.page.get_by_role("textbox", name="Topic").fill("half a topic")
    anna.page.mouse.click(3, 400)
    expect(dialog).to_be_visible()
