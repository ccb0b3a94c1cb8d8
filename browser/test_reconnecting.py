"""The page when its connection breaks: no message is missed, and none is doubled."""

from __future__ import annotations

import re

import pytest
from engine import ALWAYS, running
from playwright.sync_api import expect
from processes import wait_until

from trio_chat.daemon.control_client import asking


def hold_back(page) -> None:
    """Have what is sent from now on lost on its way, as when a network has gone unnoticed."""
    page.evaluate("() => { window.sends = WebSocket.prototype.send; }")
    page.evaluate("() => { WebSocket.prototype.send = () => {}; }")


@pytest.fixture
def meet(serve, visit, talk, cable):
    """Have anna by the page, over a line that can be cut, and jack with telnet, in one room."""

    def both(*arguments: str):
        daemon = serve(*arguments)
        line = cable(daemon.port)
        anna = visit(line.port).enter("anna")
        jack = talk(daemon, "/nick jack", "/join #general")
        anna.sees("jack joined")
        return line, anna, jack

    return both


def test_nothing_is_missed_or_doubled_when_the_connection_is_cut(serve, visit, talk, cable) -> None:
    daemon = serve()
    line = cable(daemon.port)
    anna = visit(line.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/msg one")
    anna.sees("one")
    anna.type("two")
    anna.sees_once("one", "two")
    for turn in range(3):
        line.cut()
        anna.is_offline()
        jack.say(f"/msg while away {turn}", f"/msg and more {turn}")
        anna.type(f"waiting {turn}")
        expect(anna.field).to_be_empty()
        expect(anna.page.locator("#pending li")).to_have_text(f"waiting {turn}")
        line.mend()
        anna.is_online()
        anna.sees(f"and more {turn}")
        anna.type(f"back {turn}")
        texts = (f"while away {turn}", f"and more {turn}", f"waiting {turn}", f"back {turn}")
        anna.sees_once("one", "two", *texts)
    # Nobody saw her go.
    expect(anna.page.locator("#log-rows .quiet .aside")).to_have_text(["jack joined"])
    jack.say("/quit")
    assert [said for said in jack.rest() if "anna" in said] == [
        "> anna: two",
        *(f"> anna: {what} {turn}" for turn in range(3) for what in ("waiting", "back")),
    ]


def test_a_node_without_its_store_costs_nobody_the_nick(
    serve, visit, talk, cable, runtime, tmp_path_factory
) -> None:
    with running(tmp_path_factory.mktemp("redis"), *ALWAYS) as redis:
        store = f"redis://127.0.0.1:{redis.port}"
        one, two = serve("--node=one", store=store), serve("--node=two", store=store)
        line = cable(one.port)
        anna = visit(line.port).enter("anna")
        jack = talk(two, "/nick jack", "/join #general")
        anna.sees("jack joined")
        line.lead_to(two.port)
        redis.kill()
        path = runtime / "trio-chat" / f"{two.port}.sock"

        def status() -> dict[str, object]:
            with asking(path) as daemon:
                return daemon.ask("status")

        wait_until(lambda: status()["problems"])
        line.cut()
        line.mend()
        wait_until(lambda: status()["node"]["refused"] > 1)
        redis.start()
        anna.is_online()
        anna.type("here again")
        jack.hears_until("> anna: here again")
        jack.say("/quit")
        assert [said for said in jack.rest() if "anna" in said] == []


@pytest.mark.parametrize("grace", [60, 0])
def test_messages_typed_offline_are_sent_in_their_order(meet, grace) -> None:
    line, anna, jack = meet(f"--resume-grace={grace}")
    anna.type("/tell jack psst")
    jack.hears_until("> anna (to you): psst")
    anna.place("#general").click()
    line.cut()
    anna.is_offline()
    anna.type("one", "/me waves", "two", "/topic Tea")
    expect(anna.page.locator("#pending li")).to_have_text(["one", "/me waves", "two", "/topic Tea"])
    anna.type("/tell jack for you alone")
    anna.is_in("jack")
    expect(anna.page.locator("#pending li")).to_have_text(["for you alone"])
    line.mend()
    anna.is_online()
    expect(anna.page.locator("#pending li")).to_have_count(0)
    expect(anna.page.locator("#topic")).to_have_text("Private messages")
    anna.sees_once("psst", "for you alone")
    anna.place("#general").click()
    expect(anna.page.locator("#topic")).to_have_text("Tea")
    anna.sees_once("one", "two")
    jack.say("/quit")
    rest = [said for said in jack.rest() if "left" not in said and "joined" not in said]
    private = "> anna (to you): for you alone"
    assert [said for said in rest if said != private] == [
        *("> anna: one", "> * anna waves", "> anna: two", "> topic of #general: Tea"),
        "> sad to see you go =(",
    ]
    assert rest.count(private) == 1


def test_waiting_messages_are_not_sent_without_a_nick(serve, visit, talk, cable) -> None:
    daemon = serve("--resume-grace=0")
    line = cable(daemon.port)
    anna = visit(line.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/tell anna psst")
    expect(anna.place("jack")).to_be_visible()
    line.cut()
    anna.is_offline()
    anna.type("waiting", "/tell jack for you")
    anna.place("#general").click()
    jack.hears_until("> anna has left the room")
    talk(daemon, "/nick anna").hears("> all right, I will call you anna")
    line.mend()
    dialog = anna.page.get_by_role("dialog")
    expect(dialog).to_contain_text("The nick anna is taken")
    anna.page.keyboard.press("Escape")
    anna.type("more")
    expect(dialog).to_contain_text("The nick anna is taken")
    expect(anna.field).to_have_value("more")
    expect(anna.page.locator("#pending li")).to_have_text(["waiting"])
    dialog.get_by_label("Nickname").fill("annabel")
    anna.page.keyboard.press("Enter")
    anna.sees_once("waiting")
    anna.field.press("Enter")
    anna.sees_once("waiting", "more")
    jack.say("/quit")
    said = [
        line for line in jack.rest() if re.match("> (ann|anonymous)[^ ]*( \\(to you\\))?:", line)
    ]
    assert sorted(said) == [
        *("> annabel (to you): for you", "> annabel: more", "> annabel: waiting"),
    ]


def test_messages_typed_offline_outlive_a_page_that_is_loaded_anew(meet) -> None:
    line, anna, jack = meet()
    line.cut()
    anna.is_offline()
    anna.type("one", "/me waves")
    expect(anna.page.locator("#pending li")).to_have_text(["one", "/me waves"])
    line.mend()
    anna.page.reload()
    jack.hears_until("> anna: one")
    jack.hears("> * anna waves")


def test_a_room_that_cannot_be_joined_again_is_gone(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna", "#one")
    anna.type("/join #two")
    anna.is_in("#two")
    daemon.process.kill()
    daemon.stopped()
    anna.is_offline()
    anna.type("waiting")
    serve("--max-rooms=1", port=daemon.port)
    anna.is_in("#one")
    anna.sees("Not sent in #two: “waiting”")
    anna.sees("#two: there are too many rooms")
    expect(anna.page.locator("#rooms .name")).to_have_text("#one")
    anna.type("/rooms")
    anna.sees("Rooms:")


def test_only_so_much_waits_for_a_connection(meet) -> None:
    line, anna, _ = meet()
    line.cut()
    anna.is_offline()
    for part in range(6):
        anna.type("\n".join(f"message {part} {number}" for number in range(20)))
    expect(anna.page.locator("#pending li")).to_have_count(100)
    note = anna.page.locator("#line-note")
    expect(note).to_have_text("Not connected, and 100 messages wait here already.")
    assert anna.field.input_value().splitlines()[0] == "message 5 0"


def test_a_message_lost_on_its_way_is_said_once(meet) -> None:
    line, anna, jack = meet()
    hold_back(anna.page)
    anna.type("lost", "lost too")
    expect(anna.page.locator("#pending li")).to_have_text(["lost", "lost too"])
    line.cut()
    anna.is_offline()
    anna.page.evaluate("() => { WebSocket.prototype.send = window.sends; }")
    line.mend()
    anna.sees_once("lost", "lost too")
    jack.hears_until("> anna: lost")
    jack.hears("> anna: lost too")


@pytest.mark.parametrize("grace", [60, 0])
def test_a_message_that_arrived_unacknowledged_is_not_said_again(meet, grace) -> None:
    line, anna, jack = meet(f"--resume-grace={grace}")
    anna.type("again")
    anna.sees_once("again")
    line.deafen()
    anna.type("again", "/topic Tea", "other", "/tell jack psst")
    jack.hears_until("> anna: again")
    jack.hears("> anna: again", "> topic of #general: Tea", "> anna: other")
    jack.hears("> anna (to you): psst")
    line.cut()
    line.mend()
    anna.is_online()
    anna.place("#general").click()
    expect(anna.page.locator("#pending li")).to_have_count(0)
    expect(anna.said("other")).to_have_count(1)
    assert [text for text in anna.texts() if text != "psst"] == ["again", "again", "other"]
    expect(anna.page.locator("#topic")).to_have_text("Tea")
    # The page says that it cannot know.
    anna.sees("Perhaps not sent, for the connection broke: “/topic Tea”")
    anna.place("jack").click()
    anna.sees("Perhaps not sent, for the connection broke: “psst”")
    jack.say("/quit")
    assert not [said for said in jack.rest() if said.startswith("> anna: ")]


@pytest.mark.parametrize("grace", [60, 0])
def test_a_message_on_its_way_is_said_once_by_a_page_loaded_anew(meet, grace) -> None:
    line, anna, jack = meet(f"--resume-grace={grace}")
    anna.type("one")
    anna.sees_once("one")
    # One arrives, and what it is answered is lost; then others are lost.
    line.deafen()
    anna.type("arrived")
    jack.hears_until("> anna: arrived")
    hold_back(anna.page)
    anna.type("lost", "lost", "/tell jack psst")
    anna.place("#general").click()
    expect(anna.page.locator("#pending li")).to_have_text(["arrived", "lost", "lost"])
    anna.field.fill("half a thou")
    line.mend()
    anna.page.reload()
    anna.is_online()
    expect(anna.page.locator("#pending li")).to_have_count(0)
    expect(anna.said("lost")).to_have_count(2)
    texts = anna.texts()
    assert texts[texts[0] == "one" :] == ["arrived", "lost", "lost"]
    expect(anna.field).to_have_value("half a thou")
    anna.place("jack").click()
    anna.sees("Perhaps not sent, for the connection broke: “psst”")
    jack.hears_until("> anna: lost")
    jack.say("/quit")
    assert [said for said in jack.rest() if said.startswith("> anna")] == ["> anna: lost"]


def test_a_message_that_may_have_arrived_is_not_said_again(meet) -> None:
    line, anna, jack = meet("--resume-grace=0")
    anna.type("one")
    anna.sees_once("one")
    hold_back(anna.page)
    anna.type("lost")
    line.cut()
    anna.is_offline()
    # More than the page is given in one go: her message could be among those that it is not given.
    jack.say(*(f"/msg message {number}" for number in range(600)), "/who")
    jack.hears_until("> in #general: jack")
    anna.page.evaluate("() => { WebSocket.prototype.send = window.sends; }")
    line.mend()
    anna.sees("Perhaps not sent, for the connection broke: “lost”")
    expect(anna.page.locator("#pending li")).to_have_count(0)
    jack.say("/quit")
    assert not [said for said in jack.rest() if "lost" in said]


def test_a_page_that_is_loaded_anew_goes_on(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/msg one", "/tell anna psst")
    anna.sees("one")
    anna.type("two")
    anna.sees_once("one", "two")
    anna.type("/join #other")
    anna.is_in("#other")
    jack.say("/msg three")
    expect(anna.place("#general")).to_have_text("#general1 unread")
    anna.page.reload()
    anna.is_in("#other")
    anna.is_online()
    expect(anna.place("#general")).to_have_text("#general1 unread")
    anna.place("#general").click()
    anna.sees_once("one", "two", "three")
    anna.place("jack").click()
    anna.sees("psst")
    jack.say("/msg four", "/quit")
    anna.place("#general").click()
    anna.sees_once("one", "two", "three", "four")
    assert not [said for said in jack.rest() if "left" in said or "anna joined" in said]


def test_a_restart_of_the_server_is_outlived(serve, visit, talk, tmp_path) -> None:
    store = f"sqlite:{tmp_path / 'rooms.db'}"
    daemon = serve(store=store)
    anna = visit(daemon.port).enter("anna")
    anna.type("/join #other")
    anna.is_in("#other")
    anna.type("in other")
    anna.sees("in other")
    anna.place("#general").click()
    jack = talk(daemon, "/nick jack", "/join #general", "/msg one")
    anna.sees("one")
    anna.type("two")
    anna.sees_once("one", "two")
    daemon.process.terminate()
    daemon.stopped()
    anna.is_offline()
    expect(anna.page.get_by_text("Not connected (the server has been shut down).")).to_be_visible()
    daemon = serve(store=store, port=daemon.port)
    jack = talk(daemon, "/nick jack", "/join #general", "/msg three")
    anna.sees("three")
    anna.is_online()
    anna.type("four")
    jack.hears_until("> anna: four")
    anna.sees_once("one", "two", "three", "four")
    expect(anna.page.locator("#members li")).to_have_text(["annayou", "jack"])
    anna.place("#other").click()
    anna.sees_once("in other")


def test_a_page_without_server_tells_what_may_be(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    daemon.process.kill()
    banner = anna.page.locator("#banner-text")
    expect(banner).to_have_text(
        "Not connected (the server is stopped, full or out of reach). "
        "Trying again; you will see what you missed."
    )


def test_upgrades_go_unnoticed(serve, visit, talk, runtime) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    connections = []
    anna.page.on("websocket", lambda connection: connections.append(connection))  # noqa: PLW0108 - it marks them
    anna.enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/msg one")
    anna.sees("one")
    anna.type("two")
    anna.sees_once("one", "two")
    control = runtime / "trio-chat" / f"{daemon.port}.sock"
    try:
        for said in ("three", "five"):
            with asking(control) as daemon_asked:
                assert "error" not in daemon_asked.ask("upgrade")
            jack.say(f"/msg {said}")
            anna.sees(said)
            anna.type(f"after {said}")
            jack.hears_until(f"> anna: after {said}")
        anna.sees_once("one", "two", "three", "after three", "five", "after five")
        assert len(connections) == 1
    finally:
        with asking(control) as daemon_asked:
            daemon_asked.ask("stop")


def test_a_server_that_forgot_everything_begins_anew(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.type("one", "two")
    anna.sees_once("one", "two")
    daemon.process.terminate()
    daemon.stopped()
    anna.is_offline()
    daemon = serve(port=daemon.port)
    talk(daemon, "/nick jack", "/join #general", "/msg three")
    anna.sees("This room has begun anew")
    anna.type("four")
    anna.sees_once("three", "four")
    expect(anna.said("one")).to_have_count(0)


def test_a_name_that_was_taken_meanwhile_is_asked_for_anew(serve, visit, talk) -> None:
    daemon = serve("--resume-grace=0")
    anna = visit(daemon.port).enter("anna")
    anna.type("one")
    anna.sees_once("one")
    anna.page.goto("about:blank")
    talk(daemon, "/nick anna").hears("> all right, I will call you anna")
    anna.open()
    expect(anna.page.get_by_role("alert")).to_have_text(re.compile("^The nick anna is taken"))
    anna.page.get_by_label("Nickname").fill("annabel")
    anna.page.keyboard.press("Enter")
    anna.is_in("#general")
    anna.sees_once("one")


def test_a_gap_of_more_than_a_page_is_filled(serve, visit, talk, cable) -> None:
    daemon = serve("--resume-grace=0")
    line = cable(daemon.port)
    anna = visit(line.port).enter("anna")
    anna.type("before")
    anna.sees_once("before")
    line.cut()
    anna.is_offline()
    texts = [f"message {number}" for number in range(1000)]
    jack = talk(daemon, "/nick jack", "/join #general", *(f"/msg {text}" for text in texts), "/who")
    jack.hears_until("> in #general: jack")
    line.mend()
    anna.sees("message 999")
    anna.scroll_back()
    assert anna.texts() == ["before", *texts]


def test_a_second_tab_with_the_same_token_takes_over_once(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.type("one")
    anna.sees_once("one")
    while not (kept := anna.page.evaluate("({ ...sessionStorage })")):
        anna.page.wait_for_timeout(20)
    twin = visit(daemon.port)
    twin.page.add_init_script(f"Object.assign(sessionStorage, {kept!r})")
    twin.open()
    twin.is_in("#general")
    expect(anna.page.get_by_text("This chat is open in another tab.")).to_be_visible()
    twin.sees_once("one")
    anna.page.get_by_role("button", name="Use it here").click()
    anna.is_online()
    expect(twin.page.get_by_text("This chat is open in another tab.")).to_be_visible()
    anna.sees("one")
    anna.type("two")
    anna.sees_once("one", "two")


def test_a_person_who_closes_the_tab_comes_back_in_another(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.type("one", "/join #other")
    anna.is_in("#other")
    context = anna.page.context
    anna.page.close(run_before_unload=True)
    anna.page = context.new_page()
    anna.open()
    anna.is_in("#other")
    expect(anna.page.locator("#my-name")).to_have_text("anna")
    anna.place("#general").click()
    anna.sees_once("one")


def test_a_person_who_quits_is_gone_and_may_come_back(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    anna.sees("jack joined")
    anna.type("/quit")
    jack.hears_until("> anna has left the room")
    anna.type("too late")
    expect(anna.page.locator("#line-note")).to_have_text(
        "Not connected. Your text stays here until you are."
    )
    expect(anna.field).to_have_value("too late")
    anna.page.get_by_role("button", name="Join again").click()
    jack.hears("> anna joined the room")
    anna.is_online()
    anna.type("again")
    jack.hears("> anna: again")


def test_a_frozen_connection_is_noticed_when_the_clock_is_set_back(meet) -> None:
    line, anna, _ = meet()
    anna.page.evaluate("() => { const now = Date.now; Date.now = () => now() - 86_400_000; }")
    # Its own clock for time that goes by is turned on instead of waiting.
    line.deafen()
    anna.page.evaluate(
        """() => {
          const now = performance.now.bind(performance);
          let ahead = 0;
          performance.now = () => now() + ahead;
          window.haste = setInterval(() => { ahead += 16_000; }, 1_000);
        }"""
    )
    anna.is_offline(within=20_000)  # the page looks every five seconds, and has to do so twice
    # Else it would have a second for its next try.
    anna.page.evaluate("() => clearInterval(window.haste)")
    line.mend()
    # A try that began before is given up after fifteen seconds.
    anna.is_online(within=30_000)


@pytest.mark.parametrize("store", ["memory", "sqlite:rooms.db"])
def test_the_first_message_of_a_room_is_news(serve, visit, talk, store) -> None:
    daemon = serve("--resume-grace=0", store=store)
    anna = visit(daemon.port).enter("anna")
    anna.type("/join #other")
    anna.is_in("#other")
    daemon.process.kill()
    daemon.stopped()
    anna.is_offline()
    daemon = serve(port=daemon.port, store=store)
    talk(daemon, "/nick jack", "/join #general", "/msg one", "/msg two", "/msg anna?")
    anna.is_online()
    expect(anna.place("#general").locator(".count.mention")).to_have_text("3 unread, for you")
    anna.place("#general").click()
    anna.sees_once("one", "two", "anna?")


def test_positions_of_another_log_are_not_compared(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    anna.type("one")
    anna.sees_once("one")
    anna.type("/join #other")
    anna.is_in("#other")
    anna.page.goto("about:blank")
    daemon.process.kill()
    daemon.stopped()
    daemon = serve(port=daemon.port)
    jack = talk(daemon, "/nick jack", "/join #general", "/msg two", "/msg three", "/who")
    jack.hears_until("> in #general: jack")
    anna.open()
    anna.is_in("#other")
    expect(anna.place("#general").locator(".count")).to_have_text("2 unread")
    anna.place("#general").click()
    anna.sees_once("two", "three")


def test_a_visitor_joins_once_the_connection_is_back(serve, visit, cable) -> None:
    line = cable(serve().port)
    anna = visit(line.port).open()
    nick = anna.page.get_by_label("Nickname")
    nick.fill("anna")
    line.cut()
    anna.page.get_by_role("button", name="Join", exact=True).click()
    status = anna.page.get_by_text("Not connected. You will join once the connection is back.")
    expect(status).to_be_visible()
    expect(nick).not_to_have_attribute("aria-invalid", "true")
    expect(anna.page.locator("#entrance-error")).to_be_empty()
    line.mend()
    anna.is_in("#general")
    expect(anna.page.locator("#my-name")).to_have_text("anna")


def test_a_break_lets_nobody_in_without_a_name(serve, visit, cable) -> None:
    line = cable(serve().port)
    anna = visit(line.port).open()
    expect(anna.page.get_by_label("Nickname")).to_be_focused()
    line.cut()
    anna.is_offline()
    line.mend()
    anna.is_online()
    expect(anna.page.get_by_label("Nickname")).to_be_visible()
    anna.page.get_by_label("Nickname").fill("anna")
    anna.page.keyboard.press("Enter")
    anna.is_in("#general")
