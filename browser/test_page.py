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
    jack.hears("> * jack waves", "> bert: and from me", "> * bert nods")
    for person in (anna, bert):
        person.sees("nods")
        person.sees_once("Hello all", "Hi anna", "and from me")
        expect(person.page.locator("#log-rows .acted .text")).to_have_count(2)
    anna.sees("bert and jack joined")
    expect(anna.page.locator("#members li")).to_have_text(["annayou", "bert", "jack"])
    jack.say("/leave")
    expect(anna.page.locator("#members li")).to_have_text(["annayou", "bert"])


def test_the_greeting_is_shown_once(serve, visit, cable) -> None:
    line = cable(serve("--greeting", f"Welcome {MARKUP}\nBe kind.").port)
    anna = visit(line.port).enter("anna")
    anna.sees(f"Welcome {MARKUP}")
    line.cut()
    anna.is_offline()
    line.mend()
    anna.is_online()
    anna.type("still here")
    anna.sees_once("still here")
    expect(anna.log.get_by_text("Be kind.")).to_have_count(1)


def test_messages_are_text(serve, visit, talk) -> None:
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
    expect(anna.page).to_have_title(re.compile("^<i>eve"))


def test_an_address_opens_its_room(serve, visit, talk) -> None:
    daemon = serve()
    home = f"http://127.0.0.1:{daemon.port}/"
    anna = visit(daemon.port).open("#tea")
    expect(anna.page.get_by_role("textbox", name="Room")).to_have_value("#tea")
    anna.page.get_by_label("Nickname").fill("anna")
    anna.page.keyboard.press("Enter")
    anna.is_in("#tea")
    expect(anna.page).to_have_url(f"{home}#tea")
    anna.type("/join #caf\xe9<b>")
    anna.is_in("#caf\xe9<b>")
    expect(anna.page).to_have_url(f"{home}#caf%C3%A9%3Cb%3E")
    anna.page.evaluate("location.hash = '#tea'")
    anna.is_in("#tea")
    anna.page.evaluate("location.hash = '#new'")
    anna.is_in("#new")
    # If the address names no room, the page stays in the place before.
    talk(daemon, "/nick jack", "/tell anna psst")
    anna.place("jack").click()
    anna.is_in("jack")
    expect(anna.page).to_have_url(home)
    anna.page.reload()
    anna.is_in("jack")
    anna.page.goto("about:blank")
    anna.open("#new")
    anna.is_in("#new")
    anna.page.goto("about:blank")
    anna.open("#another")
    anna.is_in("#another")
    expect(anna.page.locator("#rooms li")).to_have_count(4)
    # One that is refused is said.
    anna.page.evaluate("location.hash = '#a,b'")
    anna.sees("A room name may not contain ','.")
    anna.is_in("#another")


@pytest.mark.parametrize("grace", [60, 0])
def test_an_address_is_obeyed_by_a_page_that_was_here_before(serve, visit, grace) -> None:
    daemon = serve(f"--resume-grace={grace}")
    anna = visit(daemon.port).enter("anna", "#one")
    anna.type("/join #two")
    anna.is_in("#two")
    for fragment, rooms in (("#one", 2), ("#three", 3)):
        anna.page.goto("about:blank")
        anna.open(fragment)
        anna.is_in(fragment)
        expect(anna.page.locator("#rooms li")).to_have_count(rooms)
        anna.is_online()
    expect(anna.page.locator("#my-name")).to_have_text("anna")


def test_rooms_in_messages_are_links(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.say("/msg see #Dev, (#tea-time) or #caf\xe9. Not #1, C#x or https://example.org/#x")
    anna.sees("see #Dev")
    links = anna.page.locator("#log-rows .text a[href^='#']")
    expect(links).to_have_text(["#Dev", "#tea-time", "#caf\xe9"])
    links.first.click()
    anna.is_in("#Dev")
    anna.place("#general").click()
    links.first.click()
    anna.is_in("#Dev")


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
    other.page.get_by_label("Nickname").fill("anna")
    other.page.get_by_role("button", name="Join").click()
    expect(other.page.get_by_role("alert")).to_have_text(re.compile("^The nick anna is taken"))
    other.page.get_by_label("Nickname").fill("bert")
    other.page.get_by_role("button", name="Join").click()
    other.is_in("#general")


def test_a_refused_room_is_asked_for_again(serve, visit) -> None:
    anna = visit(serve().port).open()
    nick = anna.page.get_by_label("Nickname")
    room = anna.page.get_by_role("textbox", name="Room")
    alert = anna.page.get_by_role("alert")
    nick.fill("a b")
    room.fill("a,b")
    anna.page.keyboard.press("Enter")
    expect(alert).to_contain_text("nick")
    expect(nick).to_have_attribute("aria-invalid", "true")
    expect(room).not_to_have_attribute("aria-invalid", "true")
    expect(nick).to_be_focused()
    nick.fill("anna")
    anna.page.keyboard.press("Enter")
    expect(alert).to_contain_text("room")
    expect(nick).not_to_have_attribute("aria-invalid", "true")
    expect(room).to_have_attribute("aria-invalid", "true")
    expect(room).to_be_focused()
    room.fill("#tea")
    anna.page.keyboard.press("Enter")
    anna.is_in("#tea")
    expect(anna.page.locator("#my-name")).to_have_text("anna")
    expect(anna.page.locator("#log-rows .refusal")).to_have_count(0)


@pytest.mark.parametrize("typed", ["dev", "#dev"])
def test_a_room_asked_for_gets_its_sign(serve, visit, typed) -> None:
    anna = visit(serve().port).enter("anna")
    anna.page.get_by_role("button", name="Join a room").click()
    expect(anna.page.get_by_role("dialog")).to_be_visible()
    anna.page.keyboard.type(typed)
    anna.page.keyboard.press("Enter")
    anna.is_in("#dev")


def test_a_room_may_go_without_the_sign(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    anna.page.get_by_role("button", name="Join a room").click()
    expect(anna.page.get_by_role("dialog")).to_be_visible()
    anna.page.keyboard.press("Backspace")
    anna.page.keyboard.type("dev")
    anna.page.keyboard.press("Enter")
    anna.is_in("dev")


def test_a_sign_alone_is_no_room(serve, visit) -> None:
    anna = visit(serve().port).open()
    error = anna.page.get_by_text("A room needs a name after the #.")
    anna.page.get_by_label("Nickname").fill("anna")
    anna.page.get_by_role("textbox", name="Room").fill("#")
    anna.page.keyboard.press("Enter")
    expect(error).to_be_visible()
    expect(anna.page.get_by_role("textbox", name="Room")).to_be_focused()
    anna.page.keyboard.type("#general")
    anna.page.keyboard.press("Enter")
    anna.is_in("#general")
    anna.page.get_by_role("button", name="Join a room").click()
    expect(anna.page.get_by_role("dialog")).to_be_visible()
    anna.page.keyboard.press("Enter")
    expect(error.last).to_be_visible()
    anna.page.keyboard.press("Escape")
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.type("#")
    expect(anna.page.get_by_role("option")).to_have_text(["#general room"])


def test_a_long_name_of_an_empty_room_wraps(serve, visit) -> None:
    anna = visit(serve().port, size="phone").enter("anna", f"#{'r' * 63}")
    anna.sees("Nothing has been said in")
    note = anna.page.locator("#beginning")
    assert note.evaluate("note => note.scrollWidth <= note.clientWidth")


def test_the_room_that_exists_is_meant_at_the_entrance(serve, visit, talk) -> None:
    daemon = serve()
    talk(daemon, "/nick jack", "/join #dev").hears_until("> welcome to #dev")
    anna = visit(daemon.port).open()
    expect(anna.page.get_by_role("button", name="#dev")).to_be_visible()
    anna.page.get_by_label("Nickname").fill("anna")
    anna.page.get_by_role("textbox", name="Room").fill("dev")
    anna.page.keyboard.press("Enter")
    anna.is_in("#dev")


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
    anna.leave("#two")
    anna.is_in("#one")
    expect(anna.page.locator("#rooms li")).to_have_count(1)


def test_leaving_by_the_button_asks_first(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/tell anna psst")
    anna.page.get_by_role("button", name="Leave #general").click()
    dialog = anna.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Leave #general?")
    dialog.get_by_role("button", name="Cancel").click()
    anna.is_in("#general")
    anna.type("still here")
    jack.hears_until("> anna: still here")
    anna.place("jack").click()
    anna.page.get_by_role("button", name="Close the conversation with jack").click()
    expect(dialog).to_contain_text("Close the conversation with jack?")
    dialog.get_by_role("button", name="Close").click()
    anna.is_in("#general")
    expect(anna.place("jack")).to_have_count(0)
    anna.page.get_by_role("button", name="Leave #general").click()
    anna.page.keyboard.press("Enter")
    jack.hears_until("> anna has left the room")


def test_a_room_that_was_left_does_not_come_back_with_a_reload(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    expect(anna.page).to_have_url(re.compile("/#general$"))
    anna.leave("#general")
    anna.sees("You are in no room.")
    expect(anna.page).to_have_url(re.compile("/$"))
    anna.page.reload()
    anna.sees("You are in no room.")


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_a_button_leads_from_no_room_to_one(serve, visit, size) -> None:
    anna = visit(serve().port, size=size).enter("anna")
    expect(anna.log.get_by_role("button", name="Join a room")).to_be_hidden()
    anna.leave("#general")
    anna.log.get_by_role("button", name="Join a room").click()
    expect(anna.page.get_by_role("dialog")).to_be_visible()
    anna.page.keyboard.type("tea")
    anna.page.keyboard.press("Enter")
    anna.is_in("#tea")
    expect(anna.log.get_by_role("button", name="Join a room")).to_be_hidden()


def test_a_person_in_no_room_is_answered(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.leave("#general")
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
    assert anna.page.evaluate("document.documentElement.scrollHeight <= innerHeight")
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
    anna.is_in("jack (left)")
    anna.sees("Not sent: “still there?” (jack has left)")


def test_commands_in_a_talk_do_not_reach_a_room(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    eve = talk(daemon, "/nick eve", "/join #general")
    jack = talk(daemon, "/nick jack", "/tell anna psst")
    anna.place("jack").click()
    anna.type("/msg for jack", "/ME waves", "/topic secret", "/who", "/search hello", "/history")
    jack.hears_until("> anna (to you): for jack")
    anna.sees_once("psst", "for jack")
    refused = anna.page.locator("#log-rows .refusal .aside")
    expect(refused).to_have_text(
        [
            f"/{name} is for rooms. Here you can type a message, /tell or /leave."
            for name in ("me", "topic", "who", "search", "history")
        ]
    )
    anna.type("/leave")
    anna.is_in("#general")
    expect(anna.place("jack")).to_have_count(0)
    anna.type("for all")
    anna.sees_once("for all")
    eve.say("/quit")
    assert [said for said in eve.rest() if said.startswith("> anna")] == ["> anna: for all"]


def test_a_private_reply_does_not_reach_a_namesake(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/tell anna it's me")
    anna.place("jack").click()
    anna.sees("it's me")
    jack.say("/quit")
    jack.rest()
    other = talk(daemon, "/nick jack")
    other.hears("> all right, I will call you jack")
    anna.type("my secret")
    anna.sees("jack has left. Someone else is called jack now. Not sent: “my secret”")
    anna.page.get_by_role("button", name="Send it to the new jack").click()
    other.hears("> anna (to you): my secret")
    # That is a talk of its own, with another person.
    expect(anna.page.locator("#talks li")).to_have_text(["jack (left)", "jack"])
    anna.is_in("jack")
    anna.sees_once("my secret")
    other.say("/tell anna who are you?")
    anna.sees("who are you?")
    anna.place("jack (left)").click()
    expect(anna.said("who are you?")).to_have_count(0)


def test_a_namesake_who_joins_is_told_apart(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/tell anna it's me")
    expect(anna.place("jack")).to_be_visible()
    jack.say("/quit")
    jack.rest()
    talk(daemon, "/nick jack", "/join #general").hears_until("> welcome to #general")
    anna.sees("jack joined")
    expect(anna.page.locator("#talks .name")).to_have_text("jack (earlier)")
    anna.page.locator("#members").get_by_role("button").click()
    anna.is_in("jack")
    anna.sees("This may be another jack than the one you wrote with before.")
    expect(anna.said("it's me")).to_have_count(0)


def test_messages_that_wait_for_a_room_that_one_leaves_are_not_lost_in_silence(
    serve, visit, cable
) -> None:
    line = cable(serve().port)
    anna = visit(line.port).enter("anna")
    anna.type("/join #other")
    anna.is_in("#other")
    anna.type("/join #general")
    anna.is_in("#general")
    line.cut()
    anna.is_offline()
    anna.type("/leave", "too late")
    line.mend()
    anna.is_in("#other")
    anna.sees("Not sent: “too late” (you are not in that room)")


def test_a_talk_follows_a_change_of_the_nick(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/tell anna psst", "/nick jim")
    anna.place("jack").click()
    talk(daemon, "/nick jack").hears("> all right, I will call you jack")
    anna.type("yes?")
    jack.hears_until("> anna (to you): yes?")
    jack.say("/tell anna I am jim now")
    anna.is_in("jim")
    anna.sees("jack is now jim")
    anna.sees_once("psst", "yes?", "I am jim now")


def test_nobody_gets_no_talk(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.type("/tell nobody hi")
    anna.sees("no one here is called nobody")
    anna.is_in("#general")
    expect(anna.page.locator("#talks li")).to_have_count(0)
    jack = talk(daemon, "/nick jack")
    jack.hears("> all right, I will call you jack")
    anna.type("/tell jack hi")
    anna.is_in("jack")
    jack.hears("> anna (to you): hi")
    anna.sees_once("hi")


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
    expect(options).to_have_count(15)
    anna.field.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    first = options.first.get_attribute("id")
    expect(anna.field).to_have_attribute("aria-activedescendant", first)
    anna.field.press("Escape")
    expect(options).to_have_count(0)
    # With nothing to complete, Tab goes on.
    anna.field.fill("")
    anna.field.press("Tab")
    expect(anna.field).not_to_be_focused()


def test_a_late_answer_moves_nobody_who_has_gone_on(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    # The page is in #general already, so the second line takes effect before the first is answered.
    anna.page.evaluate(
        """() => {
            const field = document.getElementById("line");
            for (const line of ["/join #other", "/join #general"]) {
                field.value = line;
                field.form.requestSubmit();
            }
        }"""
    )
    expect(anna.page.get_by_role("button", name="#other", exact=True)).to_be_visible()
    anna.is_in("#general")


def test_mentions_are_completed(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    for nick in ("jack", "jackie", "bert"):
        talk(daemon, f"/nick {nick}", "/join #general").hears_until("> welcome to #general")
    elsewhere = talk(daemon, "/nick jacob", "/join #other")
    elsewhere.hears_until("> welcome to #other")
    anna.type("/join #other")
    anna.is_in("#other")
    anna.type("/join #general")
    anna.is_in("#general")
    options = anna.page.get_by_role("option")
    anna.field.press_sequentially("hello @")
    expect(options).to_have_text(["bert", "jack", "jackie"])
    # Nothing is chosen yet.
    assert anna.field.get_attribute("aria-activedescendant") is None
    anna.field.press_sequentially("JA")
    expect(options).to_have_text(["jack", "jackie"])
    anna.field.press("ArrowDown")
    anna.field.press("Enter")
    expect(anna.field).to_have_value("hello @jackie ")
    anna.field.press_sequentially("and @be")
    anna.field.press("Enter")
    expect(anna.field).to_have_value("hello @jackie and @bert ")
    expect(options).to_have_count(0)
    # An address is none.
    anna.field.fill("me@be")
    expect(options).to_have_count(0)
    anna.field.fill("@jack")
    anna.field.press("Escape")
    anna.field.press("Enter")
    anna.sees_once("@jack")


def test_sent_lines_can_be_called_back(serve, visit) -> None:
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
    expect(page.get_by_label("Nickname")).to_be_focused()
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
    assert {"join-room", "my-nick", "settings-button", "help-button", "topic", "leave"} <= reached
    assert {"show-members", "log", "line"} <= reached
    # Text typed anywhere goes into the message.
    page.locator("#my-nick").focus()
    page.keyboard.type("hello")
    expect(anna.field).to_have_value("hello")


def test_names_and_topics_are_changed_from_the_page(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears_until("> welcome to #general")
    anna.page.locator("#topic").click()
    anna.page.get_by_role("textbox", name="Topic").fill("Tea")
    anna.page.keyboard.press("Enter")
    jack.hears("> topic of #general: Tea")
    anna.page.locator("#my-nick").click()
    name = anna.page.get_by_role("textbox", name="Nickname")
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


def test_a_person_who_looks_elsewhere_is_told_if_they_asked_for_it(serve, visit, talk) -> None:
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
    anna.page.get_by_role("button", name="Settings").click()
    anna.page.get_by_role("switch", name="Notifications").check()
    anna.page.get_by_role("button", name="Close").click()
    anna.page.evaluate("hide(true)")
    jack.say("/msg three", "/msg anna, four", "/tell anna five")
    expect(anna.page).to_have_title("(4) #general · trio_chat")
    assert anna.page.evaluate("notified") == [
        ["jack in #general", "anna, four"],
        ["jack", "five"],
    ]
    anna.page.evaluate("hide(false)")
    expect(anna.page.locator(".row:has(.news) .text")).to_have_text("three")


def test_new_messages_are_read_out(serve, visit, talk) -> None:
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
    anna.scroll_back()
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
    # The row's place after scrolling here, before older messages arrive.
    measure = """(row, top) => {
        const log = document.getElementById("log");
        log.scrollTop = top;
        return row.getBoundingClientRect().top;
    }"""
    before = reading.evaluate(measure, top)
    expect(anna.said(texts[300])).to_have_count(1)
    assert abs(reading.evaluate("row => row.getBoundingClientRect().top") - before) < 2


@pytest.mark.parametrize("stopped_at", [0, 17])
def test_a_search_that_stopped_says_so(modules, stopped_at: int) -> None:
    shown, spoken = modules.evaluate(
        """async (event) => {
          const { answerItem, spokenAnswer } = await import("./answers.js");
          const { row } = await import("./rows.js");
          const item = answerItem(event);
          const me = { isMine: () => false, news: { mentions: () => false } };
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
def test_a_nick_is_a_mention_where_it_is_a_word(modules, nick, text, mentioned) -> None:
    found = modules.evaluate(
        """async ([nick, text]) => {
          const { News } = await import("./news.js");
          return new News({ nick }).mentions(text);
        }""",
        [nick, text],
    )
    assert found is mentioned


PRESENCES = [
    ([("renamed", "anna", "annie"), ("left", "", "annie")], "anna (now annie) left"),
    ([("left", "", "anna"), ("joined", "", "annie")], "anna (now annie) came back"),
    ([("joined", "", "anna"), ("renamed", "anna", "annie")], "annie joined"),
    (
        [("joined", "", "anna"), ("renamed", "anna", "annie"), ("left", "", "annie")],
        "annie looked in",
    ),
    ([("renamed", "anna", "annie"), ("renamed", "annie", "anna")], ""),
    ([("renamed", "anna", "annie"), ("renamed", "annie", "ann")], "anna is now ann"),
]


@pytest.mark.parametrize(("events", "sentence"), PRESENCES)
def test_a_person_who_left_is_called_as_others_knew_them(modules, events, sentence) -> None:
    shown = modules.evaluate(
        """async (events) => {
          const { Presence } = await import("./presence.js");
          const presence = new Presence();
          for (const [type, old, nick] of events) {
            presence.add({ type, author: "x", nick, ...(old ? { old } : {}) });
          }
          return presence.parts().map((part) => part.nick ?? part).join("");
        }""",
        events,
    )
    assert shown == sentence


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


def test_indented_text_stays_indented(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    anna.sees("jack joined")
    anna.field.fill("if x:\n    y()  \n\n  /me waves")
    anna.field.press("Enter")
    jack.hears_until("> anna: if x:")
    jack.hears("> anna:     y()", "> * anna waves")
    anna.sees("waves")
    assert anna.texts()[1] == "    y()"
