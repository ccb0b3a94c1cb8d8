"""The page in Debian's Chromium, with other people in its rooms."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

MARKUP = "<img src=x onerror=alert(1)><b>bold</b>&amp;"


def test_two_browsers_and_nc_talk(serve, visit, netcat) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    bert = visit(daemon.port, size="phone").enter("bert")
    jack = netcat(daemon)
    jack.say("/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    anna.type("Hello all")
    jack.hears("> anna: Hello all")
    jack.say("/msg Hi anna", "/me waves")
    bert.sees("Hi anna")
    bert.type("and from me", "/me nods")
    jack.hears("> bert: and from me", "> * bert nods")
    for person in (anna, bert):
        person.sees("nods")
        person.sees_once("Hello all", "Hi anna", "and from me")
        assert person.page.locator("#log-rows .acted .text").count() == 2
    anna.sees("bert and jack joined")
    expect(anna.page.locator("#members li")).to_have_text(["annayou", "bert", "jack"])
    jack.say("/leave")
    expect(anna.page.locator("#members li")).to_have_text(["annayou", "bert"])


def test_what_people_say_is_text(serve, visit, talk) -> None:
    daemon = serve()
    room = "#<b>x</b>"
    anna = visit(daemon.port).enter("<u>anna", room)
    eve = talk(daemon, "/nick <b>eve", f"/join {room}")
    eve.hears_until(f"> welcome to {room}")
    eve.say(f"/msg {MARKUP}", f"/topic {MARKUP}", f"/me {MARKUP}", "/nick <i>eve")
    eve.say("/tell <u>anna <script>alert(1)</script>")
    anna.sees("<b>eve is now <i>eve")
    assert anna.texts() == [MARKUP, re.sub("^", "∗ <b>eve ", MARKUP) + anna.texts()[1][-6:]]
    expect(anna.page.locator("#topic")).to_have_text(MARKUP)
    expect(anna.page.locator("#members li").first).to_have_text("<i>eve")
    expect(anna.place(room)).to_have_text(room)
    anna.type("/rooms", "/who", "/search onerror", f"/nosuch{MARKUP}", "/topic")
    anna.sees("The topic is: " + MARKUP)
    anna.place("<i>eve").click()
    anna.sees("<script>alert(1)</script>")
    assert anna.page.locator("img[src=x], #log b, #log script, #log i, #log u").count() == 0
    assert anna.page.title().startswith("<i>eve")


def test_only_web_addresses_become_links(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    talk(
        daemon,
        "/nick jack",
        "/join #general",
        "/msg (see https://example.org/a_(b)?q=1&r=<x>, or HTTP://EXAMPLE.org/.)",
        "/msg javascript:alert(1) data:text/html,x file:///etc/passwd xhttps://no.example http://",
        "/msg [https://example.org/%20] 'https://user@example.org:99/ü'",
    )
    expect(anna.page.locator("#log-rows .text")).to_have_count(3)
    links = anna.page.locator("#log-rows a")
    assert links.all_text_contents() == [
        "https://example.org/a_(b)?q=1&r=",
        "HTTP://EXAMPLE.org/",
        "https://example.org/%20",
        "https://user@example.org:99/ü",
    ]
    for link in links.all():
        assert link.get_attribute("rel") == "noopener noreferrer"
        assert link.get_attribute("target") == "_blank"


def test_a_refused_name_is_asked_for_again(serve, visit, talk) -> None:
    daemon = serve()
    talk(daemon, "/nick anna").hears("> all right, I will call you anna")
    other = visit(daemon.port).open()
    other.page.get_by_label("What others call you").fill("anna")
    other.page.get_by_role("button", name="Come in").click()
    expect(other.page.get_by_role("alert")).to_have_text(re.compile("^The nick anna is taken"))
    other.page.get_by_label("What others call you").fill("bert")
    other.page.get_by_role("button", name="Come in").click()
    other.is_in("#general")


def test_several_rooms_and_what_is_unread_in_them(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna", "#one")
    anna.type("/join #two")
    anna.is_in("#two")
    jack = talk(daemon, "/nick jack", "/join #one", "/msg hello", "/msg hello, Anna!")
    expect(anna.place("#one")).to_have_text("#one2 unread, for you")
    expect(anna.page).to_have_title("(2) #two · trio_chat")
    anna.page.keyboard.press("Alt+ArrowUp")
    anna.is_in("#one")
    expect(anna.place("#one")).to_have_text("#one")
    expect(anna.page).to_have_title("#one · trio_chat")
    expect(anna.page.locator(".news")).to_have_count(1)
    expect(anna.page.locator(".row.mention .text")).to_have_text("hello, Anna!")
    # Read now: what comes while one looks is not new.
    jack.say("/msg more")
    anna.sees("more")
    expect(anna.place("#one")).to_have_text("#one")
    anna.type("/join #TWO")
    anna.is_in("#two")
    anna.page.keyboard.press("Alt+ArrowUp")
    anna.is_in("#one")
    anna.page.keyboard.press("Alt+ArrowDown")
    anna.is_in("#two")
    anna.page.get_by_role("button", name="Leave #two").click()
    anna.is_in("#one")
    expect(anna.page.locator("#rooms li")).to_have_count(1)


def test_who_is_in_no_room_is_answered(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.page.get_by_role("button", name="Leave #general").click()
    anna.sees("You are in no room.")
    note = anna.page.locator("#line-note")
    anna.type("hello")
    expect(note).to_have_text("You are in no room. Type /join ROOM to go into one.")
    expect(anna.field).to_have_value("hello")
    anna.type("/rooms")
    expect(note).to_have_text("There are no rooms yet")
    talk(daemon, "/join #tea").hears("> welcome to #tea")
    anna.type("/rooms")
    expect(note).to_have_text("Rooms there are: #tea")
    anna.type("/nosuch")
    expect(note).to_have_text("unknown command: /nosuch")
    anna.type("/help")
    expect(anna.page.get_by_role("dialog")).to_contain_text("/join ROOM")
    anna.page.keyboard.press("Escape")
    anna.type("/join #tea")
    anna.is_in("#tea")
    expect(note).to_be_empty()


def test_long_names_fit_a_phone(serve, visit, talk) -> None:
    daemon = serve()
    room = f"#{'long-' * 12}"
    talk(daemon, f"/nick {'W' * 32}", f"/join {room}", "/msg hi").hears_until(
        f"> welcome to {room}"
    )
    anna = visit(daemon.port, size="phone").open()
    expect(anna.page.get_by_role("button", name=room)).to_be_visible()
    width = anna.page.viewport_size["width"]
    for node in ("#entrance form", "#entrance .primary", "#entrance-rooms .chip"):
        box = anna.page.locator(node).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    anna.enter("anna", room)
    assert anna.page.evaluate("document.documentElement.scrollWidth") <= width
    assert anna.log.evaluate("log => log.scrollWidth") <= width


def test_private_messages_are_talks_of_their_own(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/tell anna psst")
    expect(anna.place("jack")).to_have_text("jack1 unread, for you")
    anna.place("jack").click()
    anna.is_in("jack")
    anna.type("yes?")
    jack.hears_until("> anna (to you): yes?")
    anna.sees_once("psst", "yes?")
    jack.say("/quit")
    anna.place("#general").click()
    anna.sees("jack looked in")
    anna.type("/tell jack still there?")
    anna.is_in("jack")
    anna.sees("Not sent: “still there?” (no one here is called jack)")


def test_commands_are_completed(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    talk(daemon, "/nick jack", "/join #general").hears_until("> welcome to #general")
    anna.sees("jack joined")
    options = anna.page.get_by_role("option")
    anna.field.press_sequentially("/to")
    expect(options).to_have_text(re.compile("^/topic"))
    anna.field.press("Tab")
    expect(anna.field).to_have_value("/topic ")
    anna.field.press_sequentially("Tea for ja")
    anna.field.press("Tab")
    expect(anna.field).to_have_value("/topic Tea for jack ")
    anna.field.press("Enter")
    expect(anna.page.locator("#topic")).to_have_text("Tea for jack")
    anna.field.press_sequentially("ja")
    anna.field.press("Tab")
    expect(anna.field).to_have_value("jack: ")
    anna.field.fill("/")
    expect(options).to_have_count(13)
    anna.field.press("ArrowDown")
    assert options.first.get_attribute("aria-selected") == "true"
    assert anna.field.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    anna.field.press("Escape")
    expect(options).to_have_count(0)
    # With nothing to complete, Tab goes on.
    anna.field.fill("")
    anna.field.press("Tab")
    expect(anna.field).not_to_be_focused()


def test_what_was_sent_can_be_called_back(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    anna.type("one", "two")
    for key, value in [("Up", "two"), ("Up", "one"), ("Up", "one"), ("Down", "two"), ("Down", "")]:
        anna.field.press(f"Arrow{key}")
        expect(anna.field).to_have_value(value)


def test_lines_that_are_pasted_become_messages(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    anna.type("one\n\n  two \nthree")
    anna.sees_once("one", "  two", "three")
    anna.type("x" * 2001)
    expect(anna.page.get_by_text("A message may have at most 2000 characters.")).to_be_visible()
    expect(anna.field).to_have_value("x" * 2001)


def test_the_keyboard_is_enough(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).open()
    page = anna.page
    expect(page.get_by_label("What others call you")).to_be_focused()
    page.keyboard.type("anna")
    page.keyboard.press("Enter")
    anna.is_in("#general")
    expect(anna.field).to_be_focused()
    page.keyboard.press("Control+/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    # Each control can be reached, and is seen to be.
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown != "none" or page.evaluate("document.activeElement === document.body")
    assert {"join-room", "my-nick", "bell-button", "help-button", "topic", "leave"} <= reached
    assert {"show-members", "log", "line"} <= reached
    # Whoever types anywhere types a message.
    page.locator("#my-nick").focus()
    page.keyboard.type("hello")
    expect(anna.field).to_have_value("hello")


def test_names_and_topics_are_changed_from_the_page(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears_until("> welcome to #general")
    anna.page.locator("#topic").click()
    anna.page.get_by_label("Topic").fill("Tea")
    anna.page.keyboard.press("Enter")
    jack.hears("> topic of #general: Tea")
    anna.page.locator("#my-nick").click()
    name = anna.page.get_by_role("textbox", name="What others call you")
    name.fill("jack")
    anna.page.keyboard.press("Enter")
    expect(anna.page.get_by_role("alert")).to_have_text(re.compile("^The nick jack is taken"))
    name.fill("annabel")
    anna.page.keyboard.press("Enter")
    jack.hears_until("> anna is now known as annabel")
    expect(anna.page.locator("#my-name")).to_have_text("annabel")
    anna.sees("anna is now annabel")


HIDDEN = """
let hidden = false;
Object.defineProperty(document, "hidden", { get: () => hidden });
window.hide = (value) => { hidden = value; document.dispatchEvent(new Event("visibilitychange")); };
window.notified = [];
window.Notification = class {
  static permission = "default";
  static async requestPermission() { return (Notification.permission = "granted"); }
  constructor(title, { body }) { window.notified.push([title, body]); }
};
"""


def test_who_looks_elsewhere_is_told_if_they_asked_for_it(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    anna.page.add_init_script(HIDDEN)
    anna.enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    anna.page.evaluate("hide(true)")
    jack.say("/msg anna, one", "/tell anna two")
    expect(anna.page).to_have_title("(2) #general · trio_chat")
    assert anna.page.evaluate("[Notification.permission, notified]") == ["default", []]
    anna.page.evaluate("hide(false)")
    expect(anna.page).to_have_title("(1) #general · trio_chat")
    anna.page.get_by_role("button", name="Notify me").click()
    expect(anna.page.get_by_role("button", name="Notify me")).to_have_attribute(
        "aria-pressed", "true"
    )
    anna.page.evaluate("hide(true)")
    jack.say("/msg three", "/msg anna, four", "/tell anna five")
    expect(anna.page).to_have_title("(4) #general · trio_chat")
    assert anna.page.evaluate("notified") == [
        ["jack in #general", "anna, four"],
        ["jack", "five"],
    ]
    anna.page.evaluate("hide(false)")
    expect(anna.page.locator(".row:has(.news) .text")).to_have_text("three")


def test_what_is_new_is_read_out(serve, visit, talk) -> None:
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general", "/msg before")
    jack.hears_until("> welcome to #general")
    anna = visit(daemon.port).enter("anna")
    anna.sees("before")
    spoken = anna.page.get_by_role("log")
    assert spoken.get_attribute("aria-live") == "polite"
    anna.type("mine")
    jack.say("/msg after")
    expect(spoken).to_have_text("jack: after")
    anna.type("/who", "/nosuch")
    expect(spoken.locator("p")).to_have_text(
        ["jack: after", "Here now: anna, jack", "unknown command: /nosuch"]
    )


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_past_is_scrolled_back_to(serve, visit, talk, size) -> None:
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general")
    texts = [f"message {number} " + "long " * (number % 30) for number in range(700)]
    jack.say(*(f"/msg {text}" for text in texts), "/who")
    jack.hears_until("> in #general: jack")
    anna = visit(daemon.port, size=size).enter("anna")
    expect(anna.said(texts[-1].strip())).to_be_in_viewport()
    for _ in range(200):
        anna.log.evaluate("log => log.scrollTop = 0")
        if anna.page.get_by_text("This is where #general begins.").is_visible():
            break
        anna.page.wait_for_timeout(20)
    assert anna.texts() == [text.strip() for text in texts]
    anna.page.keyboard.press("Escape")
    expect(anna.said(texts[-1].strip())).to_be_in_viewport()


@pytest.mark.parametrize("top", [0, 700])
def test_older_messages_do_not_push_away_what_one_reads(serve, visit, talk, top) -> None:
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general")
    texts = [f"message {number} {'long ' * (number % 60)}".strip() for number in range(500)]
    jack.say(*(f"/msg {text}" for text in texts), "/who")
    jack.hears_until("> in #general: jack")
    anna = visit(daemon.port).enter("anna")
    expect(anna.said(texts[-1])).to_be_in_viewport()
    reading = anna.said(texts[410])
    # Where it is once this is scrolled to, and before what is older has come.
    measure = """(row, top) => {
        const log = document.getElementById("log");
        log.scrollTop = top;
        return row.getBoundingClientRect().top;
    }"""
    before = reading.evaluate(measure, top)
    expect(anna.said(texts[300])).to_have_count(1)
    assert abs(reading.evaluate("row => row.getBoundingClientRect().top") - before) < 2


LINKS = {
    "看https://example.com/页面。很好": "https://example.com/页面",
    "（见https://example.com/a）然后": "https://example.com/a",
    "https://zh.wikipedia.org/wiki/Foo（bar）": "https://zh.wikipedia.org/wiki/Foo（bar）",
    "(https://en.wikipedia.org/wiki/A_(b)).": "https://en.wikipedia.org/wiki/A_(b)",
    "انظر https://example.com/a، ثم": "https://example.com/a",
    "「https://example.com/a」です": "https://example.com/a",
    "https://example.com/a，b": "https://example.com/a",
    "https://example.com/a।": "https://example.com/a",
    "“https://example.com/a”": "https://example.com/a",
    "https://ca.wikipedia.org/wiki/Col·legi": "https://ca.wikipedia.org/wiki/Col·legi",
}


def test_a_link_ends_where_its_script_ends_it(serve, visit) -> None:
    anna = visit(serve().port).open()
    shown = anna.page.evaluate(
        """async (texts) => {
          const { textNodes } = await import("./dom.js");
          const links = (text) => textNodes(text).filter((node) => node.href);
          return texts.map((text) => links(text).map((node) => node.textContent).join());
        }""",
        list(LINKS),
    )
    assert dict(zip(LINKS, shown, strict=True)) == LINKS


@pytest.mark.parametrize("stopped_at", [0, 17])
def test_a_search_that_stopped_says_so(serve, visit, stopped_at: int) -> None:
    anna = visit(serve().port).open()
    shown, spoken = anna.page.evaluate(
        """async (event) => {
          const { answerItem, spokenAnswer } = await import("./answers.js");
          const { row } = await import("./rows.js");
          const item = answerItem(event);
          const me = { ids: new Set(), news: { mentions: () => false } };
          return [row(item, {}, { me }).textContent, spokenAnswer(item)];
        }""",
        {"type": "entries_shown", "entries": [], "stopped_at": stopped_at},
    )
    note = "The search stopped, as it took too long: messages before number 17 were not searched."
    assert shown == "Nothing was found." + (note if stopped_at else "")
    assert spoken == "0 messages were found" + (
        ", and the search stopped early" if stopped_at else ""
    )


@pytest.mark.parametrize(
    ("nick", "text", "mentioned"),
    [
        ("ann", "the annual report, ann", True),
        ("ann", "annual", False),
        ("ann", "ann\u0301", False),
        ("ann", "\u00f6ann", False),
        ("ann", "annさん", True),
        ("李雷", "李雷你好", True),
        ("a.b", "axb", False),
    ],
)
def test_a_nick_is_a_mention_where_it_is_a_word(serve, visit, nick, text, mentioned) -> None:
    anna = visit(serve().port).open()
    found = anna.page.evaluate(
        """async ([nick, text]) => {
          const { News } = await import("./news.js");
          return new News({ nick }).mentions(text);
        }""",
        [nick, text],
    )
    assert found is mentioned


def test_rooms_may_be_called_as_what_every_object_has(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna", "constructor")
    anna.type("one", "/join __proto__")
    anna.is_in("__proto__")
    anna.type("two", "/join toString")
    anna.is_in("toString")
    jack = talk(daemon, "/nick jack", "/join constructor", "/msg hello")
    expect(anna.place("constructor").locator(".count")).to_have_text("1 unread")
    jack.say("/join __proto__", "/msg hello")
    expect(anna.place("__proto__").locator(".count")).to_have_text("1 unread")
    anna.page.reload()
    anna.is_online()
    for name, text in {"constructor": "one", "__proto__": "two"}.items():
        anna.place(name).click()
        anna.sees_once(text)


def test_a_key_that_ends_a_composition_sends_nothing(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.field.fill("にほん")
    anna.field.evaluate(
        """(field) => {
          const about = { key: "Enter", keyCode: 229, bubbles: true, cancelable: true };
          field.dispatchEvent(new KeyboardEvent("keydown", about));
        }"""
    )
    expect(anna.field).to_have_value("にほん")
    anna.field.press("Enter")
    anna.sees_once("にほん")


def test_what_is_indented_stays_so(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    anna.sees("jack joined")
    anna.field.fill("if x:\n    y()  \n\n  /me waves")
    anna.field.press("Enter")
    jack.hears_until("> anna: if x:")
    jack.hears("> anna:     y()", "> * anna waves")
    assert anna.texts()[1] == "    y()"
