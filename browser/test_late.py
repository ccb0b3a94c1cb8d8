"""A late answer, event or frame does nothing to what a person has turned to since."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from slow import Slow
from test_accounts import ANOTHER, CODE, PASSWORD, fill, is_logged_in, register
from visitor import Visitor

FROZEN = """
let hidden = false;
Object.defineProperty(document, "hidden", { get: () => hidden });
const later = window.requestAnimationFrame.bind(window);
// As in a browser: a hidden tab has no frames, also not those that were asked for before.
window.requestAnimationFrame = (draw) => later((time) => hidden || draw(time));
window.hide = (value) => { hidden = value; document.dispatchEvent(new Event("visibilitychange")); };
"""
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def in_one_frame(page: Page, steps: str) -> object:
    """Take steps in one task. Then wait until what they have left to later frames has come."""
    return page.evaluate(f"async () => {{ {steps}; await {FRAMES}; }}")


def wait_for_answers(page: Page) -> None:
    """Wait until the page has heard all that was brought to it before."""
    page.evaluate(FRAMES)


@pytest.fixture
def accounts(serve, tmp_path: Path) -> int:
    """The port of a daemon that keeps accounts."""
    return serve(store=f"sqlite:{tmp_path / 'chat.db'}").port


@pytest.fixture
def anna(accounts, visit) -> tuple[Visitor, Slow]:
    """Anna, with an account, who owns #go."""
    visitor = visit(accounts)
    slow = Slow(visitor.page)
    visitor.enter("anna", "#go")
    register(visitor)
    visitor.type("/claim")
    visitor.sees("claimed the room")
    return visitor, slow


# --- the form of an account -----------------------------------------------------------------------


def test_a_form_that_is_opened_again_at_once_stays(accounts, visit) -> None:
    anna = visit(accounts).enter("anna")
    anna.type("/register")
    again = """
      document.getElementById("login").close();
      document.getElementById("account-button").click();
    """
    in_one_frame(anna.page, again)
    expect(anna.page.get_by_role("heading", name="Log in")).to_be_visible()
    fields = anna.page.locator("#login input")
    assert fields.count() == 2
    # The last one that is closed leaves nothing.
    anna.page.keyboard.press("Escape")
    expect(fields).to_have_count(0)


def test_a_recovery_code_is_not_hidden_by_a_close_before_it(accounts, visit) -> None:
    anna = visit(accounts).enter("anna")
    anna.page.evaluate(
        """async () => {
          const { Login } = await import("./login.js");
          const answer = Promise.withResolvers();
          window.login = new Login({ register: () => answer.promise }, () => {});
          login.open("register", { name: "anna" });
          const [, fresh, again] = document.querySelectorAll("#login input");
          fresh.value = again.value = "a tall ship sails";
          fresh.form.requestSubmit();
          document.getElementById("login").close();
          answer.resolve({ recovery: "1234" });
        }"""
    )
    wait_for_answers(anna.page)
    assert anna.page.locator("#login .code").all_inner_texts() == ["1234"]


def test_a_form_that_a_break_opens_waits_until_a_recovery_code_is_kept(accounts, visit) -> None:
    anna = visit(accounts).enter("anna")
    anna.page.evaluate(
        """async () => {
          const { Login } = await import("./login.js");
          const account = { register: async () => ({ recovery: "1234" }) };
          const login = new Login(account, () => {});
          login.open("register", { name: "anna" });
          const [, fresh, again] = document.querySelectorAll("#login input");
          fresh.value = again.value = "a tall ship sails";
          fresh.form.requestSubmit();
          await null;
          login.open("login", { name: "anna", why: "Log in anew." });
        }"""
    )
    wait_for_answers(anna.page)
    assert anna.page.locator("#login .code").all_inner_texts() == ["1234"]
    anna.page.get_by_role("button", name="I have kept it").click()
    expect(anna.page.locator("#login .about")).to_have_text("Log in anew.")
    wait_for_answers(anna.page)
    assert anna.page.locator("#login input").count() == 2


def test_a_late_refusal_is_not_said_in_another_form(accounts, visit) -> None:
    anna = visit(accounts)
    slow = Slow(anna.page)
    anna.enter("anna")
    slow.hold()
    anna.type("/login jack")
    fill(anna.page, password=PASSWORD)
    anna.page.get_by_role("button", name="Make an account").click()
    anna.page.locator("#login-fresh").fill(PASSWORD)
    slow.holds("refusal")
    slow.release()
    wait_for_answers(anna.page)
    assert anna.page.locator("#login-error").inner_text() == ""
    assert anna.page.locator("#login-fresh").input_value() == PASSWORD
    # Nor is it an error of the page that there is no form.
    slow.hold()
    anna.page.get_by_role("button", name="Log in").last.click()
    fill(anna.page, name="jack", password=PASSWORD)
    anna.page.keyboard.press("Escape")
    expect(anna.page.locator("#login form")).to_have_count(0)
    slow.holds("refusal")
    slow.release()
    anna.type("hello")
    anna.sees_once("hello")


def test_a_late_success_does_not_close_another_form(anna) -> None:
    visitor, slow = anna
    visitor.type("/password")
    slow.hold()
    fill(visitor.page, password=PASSWORD, fresh=ANOTHER, again=ANOTHER)
    visitor.page.keyboard.press("Escape")
    visitor.type("/password")
    visitor.page.locator("#login-password").fill("half a pass")
    slow.holds("logged_in")
    slow.release()
    expect(visitor.page.locator("#line-note")).to_have_text("Your password is changed.")
    wait_for_answers(visitor.page)
    assert visitor.page.locator("#login-password").input_value() == "half a pass"


def test_a_late_recovery_code_is_shown_after_all(accounts, visit) -> None:
    anna = visit(accounts)
    slow = Slow(anna.page)
    anna.enter("anna")
    anna.type("/register")
    slow.hold()
    fill(anna.page, fresh=PASSWORD, again=PASSWORD)
    anna.page.keyboard.press("Escape")
    expect(anna.page.locator("#login form")).to_have_count(0)
    slow.holds("logged_in")
    slow.release()
    expect(anna.page.locator("#login .code")).to_have_text(CODE)
    anna.page.get_by_role("button", name="I have kept it").click()
    is_logged_in(anna, "anna")
    expect(anna.page.locator("#login")).to_be_hidden()


# --- other dialogs --------------------------------------------------------------------------------


def test_a_late_refusal_is_not_said_of_another_question(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    slow = Slow(anna.page)
    anna.enter("anna")
    talk(daemon, "/nick jack").hears("> all right, I will call you jack")
    slow.hold()
    anna.page.locator("#my-nick").click()
    anna.page.locator("#ask-value").fill("jack")
    anna.page.keyboard.press("Enter")
    anna.page.keyboard.press("Escape")
    anna.page.locator("#topic").click()
    anna.page.locator("#ask-value").fill("Tea")
    slow.holds("refusal")
    slow.release()
    wait_for_answers(anna.page)
    assert anna.page.locator("#ask-error").inner_text() == ""
    assert anna.page.locator("#ask-value").get_attribute("aria-invalid") == "false"


def test_a_late_success_does_not_close_another_question(serve, visit) -> None:
    anna = visit(serve().port)
    slow = Slow(anna.page)
    anna.enter("anna")
    slow.hold()
    anna.page.locator("#topic").click()
    anna.page.locator("#ask-value").fill("Tea")
    anna.page.keyboard.press("Enter")
    anna.page.keyboard.press("Escape")
    anna.page.locator("#my-nick").click()
    slow.holds("topic_set")
    slow.release()
    expect(anna.page.locator("#topic")).to_have_text("Tea")
    wait_for_answers(anna.page)
    assert anna.page.get_by_role("dialog", name="Change your nickname").is_visible()


def test_an_answer_that_is_entered_twice_is_sent_once(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    slow = Slow(anna.page)
    anna.enter("anna", "#go")
    jack = talk(daemon, "/nick jack", "/join #go")
    jack.hears_until("> welcome to #go")
    slow.hold()
    anna.page.locator("#topic").click()
    anna.page.locator("#ask-value").fill("Tea")
    for _ in range(2):
        anna.page.keyboard.press("Enter")
    slow.holds("topic_set")
    slow.release()
    expect(anna.page.get_by_role("dialog")).to_have_count(0)
    anna.type("done")
    jack.hears_until("> topic of #go: Tea")
    jack.hears("> anna: done")


def test_late_rooms_are_not_offered_as_topics(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    slow = Slow(anna.page)
    anna.enter("anna")
    talk(daemon, "/nick jack", "/join #dev").hears_until("> welcome to #dev")
    slow.hold()
    anna.page.locator("#join-room").click()
    expect(anna.page.get_by_role("dialog", name="Join a room")).to_be_visible()
    anna.page.keyboard.press("Escape")
    anna.page.locator("#topic").click()
    slow.holds("rooms_listed")
    slow.release()
    wait_for_answers(anna.page)
    assert anna.page.locator("#ask-choices button").count() == 0


def test_two_confirmations_in_one_frame_are_two(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    acted = anna.page.evaluate(
        f"""async () => {{
          const {{ confirm }} = await import("./dialogs.js");
          const acted = [];
          const ask = (ok) => confirm({{ title: ok, text: ok, ok }}, () => acted.push(ok));
          ask("one");
          document.getElementById("confirm-ok").click();
          ask("two");
          await {FRAMES};
          document.getElementById("confirm-ok").click();
          ask("three");
          document.getElementById("confirm").close();
          await {FRAMES};
          return acted;
        }}"""
    )
    assert acted == ["one", "two"]


def test_a_late_answer_does_not_close_the_dialog_of_another_penalty(anna, accounts, visit) -> None:
    visitor, slow = anna
    jack = visit(accounts).enter("jack", "#go")
    register(jack)
    jack.type("hello")
    visitor.sees("hello")

    def choose(name: str) -> None:
        row = visitor.page.locator("#log-rows .row").filter(has_text="hello")
        row.hover()
        row.locator(".more").click()
        visitor.page.get_by_role("menuitem", name=name).click()

    dialog = visitor.page.locator("#penalty")
    slow.hold()
    choose("Mute…")
    visitor.page.get_by_label("Reason").fill("flooding")
    visitor.page.get_by_role("button", name="Mute").click()
    visitor.page.keyboard.press("Escape")
    choose("Kick…")
    slow.holds("ruled")
    slow.release()
    visitor.sees("muted jack")
    wait_for_answers(visitor.page)
    assert dialog.is_visible()
    # A refusal is not said there either.
    visitor.page.keyboard.press("Escape")
    jack.type("/leave")
    visitor.sees("jack left")
    slow.hold()
    choose("Kick…")
    visitor.page.get_by_role("button", name="Kick").click()
    visitor.page.keyboard.press("Escape")
    choose("Kick…")
    slow.holds("refusal")
    slow.release()
    wait_for_answers(visitor.page)
    assert visitor.page.locator("#penalty-error").inner_text() == ""


def test_a_late_answer_does_not_close_the_dialog_of_another_raid(anna) -> None:
    visitor, slow = anna
    visitor.type("/log")
    slow.hold()
    opener, dialog = visitor.page.get_by_role("button", name="Raid…"), visitor.page.locator("#raid")
    for _ in range(2):  # the second one is refused
        opener.click()
        visitor.page.locator("#raid-time").select_option("End it now")
        visitor.page.get_by_role("button", name="OK").click()
        visitor.page.keyboard.press("Escape")
    opener.click()
    slow.holds("refusal", 2)
    slow.release()
    wait_for_answers(visitor.page)
    assert visitor.page.locator("#raid-error").inner_text() == ""
    slow.hold()
    visitor.page.get_by_role("button", name="OK").click()
    visitor.page.keyboard.press("Escape")
    opener.click()
    slow.holds("ruled")
    slow.release()
    visitor.sees("because of a raid")
    wait_for_answers(visitor.page)
    assert dialog.is_visible()


def test_a_late_refusal_is_not_said_of_an_account_that_is_looked_at_again(anna) -> None:
    visitor, slow = anna
    phone = Visitor(visitor.page.context.browser.new_context().new_page(), visitor.port)
    phone.enter("phone")
    phone.type("/login anna")
    fill(phone.page, password=PASSWORD)
    is_logged_in(phone, "anna")
    visitor.type("/account")
    revoke = visitor.page.locator("#account-devices button")
    expect(revoke).to_have_count(1)
    slow.hold()
    revoke.evaluate("button => { button.click(); button.click(); }")
    visitor.page.keyboard.press("Escape")
    visitor.page.locator("#account-button").click()
    slow.holds("refusal")
    slow.release()
    expect(visitor.page.locator("#account-devices li")).to_have_count(1)
    wait_for_answers(visitor.page)
    assert visitor.page.locator("#account-note").inner_text() == ""
    phone.page.context.close()


def test_a_late_answer_about_a_room_leaves_what_is_typed(anna) -> None:
    visitor, slow = anna
    visitor.type("/room")
    page = visitor.page
    topic = page.get_by_label("Who may set the topic")
    expect(topic).to_be_enabled()
    slow.hold()
    topic.select_option("Operators")
    seconds = page.get_by_label("Seconds between messages")
    seconds.press("End")
    seconds.press("5")
    page.get_by_label("What they get").select_option("Operator")
    seconds.focus()
    slow.holds("ruled")
    slow.release()
    expect(page.locator("#room-note")).to_contain_text("set topic to operators")
    expect(page.get_by_label("What they get")).to_have_value("operator")
    seconds.press("Tab")
    expect(page.locator("#room-note")).to_contain_text("set slow to 5")
    expect(seconds).to_have_value("5")


def test_a_late_answer_about_a_room_is_not_said_of_another_one(anna) -> None:
    visitor, slow = anna
    page = visitor.page
    visitor.type("/room")
    expect(page.get_by_label("Who may set the topic")).to_be_enabled()
    slow.hold()
    page.get_by_label("Who may set the topic").select_option("Operators")
    page.keyboard.press("Escape")
    page.locator("#room-button").click()
    slow.holds("ruled")
    slow.release()
    expect(page.get_by_label("Who may set the topic")).to_have_value("operators")
    wait_for_answers(page)
    assert page.locator("#room-note").inner_text() == ""


# --- the moderators' drawer -----------------------------------------------------------------------


def test_a_late_answer_takes_the_focus_from_nobody_who_types(anna) -> None:
    visitor, slow = anna
    visitor.type("/topic Tea", "/room slow 5", "/log")
    undo = visitor.page.locator("#moderation-list").get_by_role("button", name="Undo").first
    expect(undo).to_be_visible()
    slow.hold()
    undo.click()
    visitor.field.click()
    slow.holds("ruled")
    slow.release()
    visitor.sees("undid")
    wait_for_answers(visitor.page)
    assert visitor.page.evaluate("document.activeElement.id") == "line"


# Of a drawer for #go, whose questions are answered one by one.
DRAWER = """
  const { ModerationDrawer } = await import("./moderation-drawer.js");
  const asked = [];
  const ask = () => {
    const answer = Promise.withResolvers();
    asked.push(answer);
    return answer.promise;
  };
  const all = { moderates: () => true, has: () => true, actions: ask, held: ask, reports: ask };
  const page = { choose: {}, opens: () => {}, leave: () => {}, acts: {} };
  const drawer = new ModerationDrawer(all, page);
  const { Place } = await import("./room.js");
  const room = new Place("room", "#go", "#go");
  drawer.at(room);
  const actions = (first, last) => Array.from({ length: last - first + 1 }, (_, index) =>
    ({ position: first + index, nick: "anna", text: "did it", time: 0, undoable: false }));
  const click = (id) => document.getElementById(id).click();
  const soon = () => new Promise((done) => setTimeout(done));
  const shown = () => [...document.querySelectorAll("#moderation-list .when")]
    .map((node) => Number(node.textContent.match(/^A(\\d+)/)[1]));
  const note = () => document.getElementById("moderation-note").textContent;
  drawer.open();
"""


def with_drawer(page: Page, steps: str) -> object:
    return page.evaluate(f"async () => {{ {DRAWER} {steps} }}")


@pytest.fixture
def still(serve, visit) -> Page:
    """A page that draws nothing by itself, as it is hidden."""
    anna = visit(serve().port)
    anna.page.add_init_script(FROZEN)
    anna.open()
    expect(anna.page.get_by_label("Nickname")).to_be_focused()
    anna.page.evaluate("hide(true)")
    return anna.page


def test_a_late_refusal_is_not_said_in_another_tab(still) -> None:
    steps = """
      click("moderation-held");
      asked[1].resolve([]);
      await soon();
      asked[0].reject(new Error("only operators see actions"));
      await soon();
      return note();
    """
    assert with_drawer(still, steps) == "No message waits."


def test_older_actions_continue_those_that_are_shown(still) -> None:
    steps = """
      asked[0].resolve(actions(51, 60));
      await soon();
      room.moderated = 1;
      drawer.at(room);  // asks for the newest ones, and so does the person for older ones
      click("moderation-older");
      asked[1].resolve(actions(52, 61));
      await soon();
      asked[2].resolve(actions(41, 50));
      await soon();
      asked[3].resolve(actions(42, 51));
      await soon();
      return shown();
    """
    assert with_drawer(still, steps) == list(range(61, 41, -1))


def test_older_actions_that_are_asked_for_twice_are_shown_once(still) -> None:
    steps = """
      asked[0].resolve(actions(51, 60));
      await soon();
      click("moderation-older");
      click("moderation-older");
      asked[1].resolve(actions(41, 50));
      asked[2].resolve(actions(41, 50));
      await soon();
      asked[3].resolve(actions(31, 40));
      await soon();
      return shown();
    """
    assert with_drawer(still, steps) == list(range(60, 30, -1))


# --- rooms and their history ----------------------------------------------------------------------


def ask_for(room: str, visitor: Visitor, slow: Slow) -> None:
    """Ask for a room by its name. The answer has come, and is held."""
    visitor.page.keyboard.press("Control+k")
    visitor.page.keyboard.type(room)
    visitor.page.keyboard.press("Enter")
    slow.holds("welcomed")


def test_the_history_of_a_room_moves_nobody_who_asks_for_another_one(serve, visit) -> None:
    anna = visit(serve().port)
    slow = Slow(anna.page)
    anna.enter("anna")
    slow.hold()
    ask_for("#a", anna, slow)
    slow.let_through()
    anna.is_in("#a")
    slow.holds("entries_shown")
    ask_for("#b", anna, slow)
    slow.release()
    anna.is_in("#b")


def test_the_history_of_a_room_takes_the_focus_from_nobody(serve, visit) -> None:
    anna = visit(serve().port)
    slow = Slow(anna.page)
    anna.enter("anna")
    slow.hold()
    ask_for("#a", anna, slow)
    slow.let_through()
    anna.is_in("#a")
    expect(anna.field).to_be_focused()
    slow.holds("entries_shown")
    anna.page.get_by_role("button", name="Search", exact=True).click()
    anna.page.keyboard.type("half a ")
    slow.release()
    anna.sees("Nothing has been said in #a yet.")
    anna.page.keyboard.type("word")
    expect(anna.page.get_by_role("searchbox")).to_have_value("half a word")


def test_a_message_that_was_searched_for_is_not_shown_in_another_room(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    slow = Slow(anna.page)
    for room in ("#a", "#b"):
        jack = talk(daemon, f"/nick {room[1]}jack", f"/join {room}")
        jack.say("/msg needle", *(f"/msg {room} {at}" for at in range(300)), "/who")
        jack.hears_until(f"> in {room}: {room[1]}jack")
    anna.enter("anna", "#a")
    anna.type("/join #b")
    anna.is_in("#b")
    anna.sees("#b 299")
    anna.place("#a").click()
    anna.type("/search needle")
    found = anna.page.locator("#search-results li button")
    expect(found).to_be_visible()
    slow.hold()
    found.click()
    slow.holds("entries_shown")
    anna.place("#b").click()
    anna.is_in("#b")
    slow.release()
    wait_for_answers(anna.page)
    assert anna.page.locator(".reached").count() == 0
    expect(anna.said("#b 299")).to_be_in_viewport()
    # Nor when she is at the newest messages again.
    anna.place("#a").click()
    anna.type("/search needle")
    expect(found).to_be_visible()
    slow.hold()
    found.click()
    slow.holds("entries_shown")
    anna.type("new")
    slow.holds("said")
    slow.release()
    anna.sees_once("new")
    wait_for_answers(anna.page)
    assert anna.said("new").is_visible()


FAKE_CHAT = """
  const { RoomHistory } = await import("./room-history.js");
  const { Place } = await import("./room.js");
  const answer = Promise.withResolvers();
  const session = { hello: { limits: { history: 1000 } }, request: () => answer.promise };
  const place = Object.assign(new Place("room", "#go", "#go"), { synced: true });
  const told = [];
  const chat = {
    rooms: new Map([["#go", place]]),
    handlers: { changed: () => {} },
    hearing: { newEntry: () => told.push("entry") },
    outgoing: { resend: () => told.push("resent") },
  };
  const history = new RoomHistory(chat, session);
  const entries = (first, last) => Array.from({ length: last - first + 1 }, (_, index) =>
    ({ type: "said", author: "1", nick: "jack", text: "x", time: 1, position: first + index }));
"""


def test_older_messages_that_continue_no_longer_leave_the_way_to_them(modules) -> None:
    steps = """
      place.mergeNewest(entries(101, 1500));
      const loading = history.loadEarlier(place);
      place.shorten();
      answer.resolve({ entries: entries(1, 100) });
      await loading;
      return [place.low > 101, place.isWhole];
    """
    assert modules.evaluate(f"async () => {{ {FAKE_CHAT} {steps} }}") == [True, False]


def test_the_history_of_a_room_that_was_left_sends_nothing(modules) -> None:
    steps = """
      const filling = history.fill(place);
      chat.rooms.clear();
      answer.resolve({ entries: entries(1, 3) });
      await filling;
      return told;
    """
    assert modules.evaluate(f"async () => {{ {FAKE_CHAT} {steps} }}") == []


def test_a_search_is_repeated_with_the_words_that_were_searched_for(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    words = anna.page.evaluate(
        """async () => {
          const { Search } = await import("./search.js");
          const asked = [];
          const entry = { position: 1, nick: "jack", author: "1", text: "tea", time: 0 };
          const request = async (_, { words }) => (asked.push(words), { entries: [entry] });
          const search = new Search({ request }, { choose: {}, opens: () => {}, leave: () => {} });
          const room = { kind: "room", key: "#general", name: "#general", members: new Map() };
          search.at(room);
          search.open("tea");
          await new Promise((done) => setTimeout(done));
          document.getElementById("search-words").value = "coff";
          search.removed(room, { positions: [[1, 1]] });
          return asked;
        }"""
    )
    assert words == ["tea", "tea"]


# --- the entrance ---------------------------------------------------------------------------------


def test_a_late_refusal_at_the_entrance_is_not_of_what_is_submitted_since(serve, visit) -> None:
    anna = visit(serve().port).open()
    shown = anna.page.evaluate(
        """async () => {
          const { Entrance } = await import("./dialogs.js");
          const asked = [];
          const entrance = new Entrance(() => {
            asked.push(Promise.withResolvers());
            return asked.at(-1).promise;
          });
          const form = document.getElementById("entrance-form");
          document.getElementById("entrance-nick").value = "jack";
          form.requestSubmit();
          form.requestSubmit();
          asked[0].reject(new Error("the nick jack is taken"));
          await new Promise((done) => setTimeout(done));
          return document.getElementById("entrance-error").textContent;
        }"""
    )
    assert shown == ""


# --- frames and other events ----------------------------------------------------------------------


def test_a_tab_that_is_hidden_before_it_has_drawn_still_counts(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    anna.page.add_init_script(FROZEN)
    anna.enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    anna.sees("jack joined")
    # Something asks for a frame, which the tab does not get.
    anna.page.evaluate("document.getElementById('to-bottom').click(), hide(true)")
    jack.say("/msg one")
    expect(anna.page).to_have_title("(1) #general · trio_chat")
    anna.page.evaluate("hide(false)")
    anna.sees("one")


def test_a_menu_stays_when_the_log_has_moved_before_it(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    talk(daemon, "/nick jack", "/join #general", *(f"/msg number {at}" for at in range(60)))
    anna.sees("number 59")
    expect(anna.said("number 59")).to_be_in_viewport()
    open_menu = """
      document.getElementById("log").scrollTop -= 40;
      [...document.querySelectorAll("#log-rows .more")].at(-3).click();
    """
    in_one_frame(anna.page, open_menu)
    assert anna.page.get_by_role("menu").is_visible()
    # It moves away from a menu that is open.
    in_one_frame(anna.page, "document.getElementById('log').scrollTop -= 40")
    expect(anna.page.get_by_role("menu")).to_be_hidden()


def test_a_click_closes_the_notice_that_it_was_about(serve, visit) -> None:
    anna = visit(serve().port).open()
    left = anna.page.evaluate(
        """async () => {
          const { drawNotices } = await import("./notices.js");
          const of = (name) => ({ name, reason: "anna kicked jack" });
          const chat = { ousted: of("#a"), invited: null, current: null };
          const page = { join: () => {}, changed: () => {} };
          drawNotices(chat, page);
          chat.ousted = of("#b");
          document.getElementById("ousted-close").click();
          return chat.ousted?.name;
        }"""
    )
    assert left == "#b"


def test_a_notification_of_a_room_that_was_left_leads_nowhere(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    anna.page.add_init_script(
        FROZEN
        + """
        window.notified = [];
        window.Notification = class {
          static permission = "granted";
          static requestPermission = async () => "granted";
          constructor() { window.notified.push(this); }
          close() {}
        };"""
    )
    anna.enter("anna", "#one")
    anna.type("/join #two")
    anna.is_in("#two")
    anna.page.locator("#settings-button").click()
    anna.page.get_by_role("switch", name="Notifications").check()
    anna.page.keyboard.press("Escape")
    anna.page.evaluate("hide(true)")
    talk(daemon, "/nick jack", "/join #two", "/msg anna, hello")
    anna.page.wait_for_function("() => notified.length === 1")
    anna.page.evaluate("hide(false)")
    anna.type("/leave")
    anna.is_in("#one")
    in_one_frame(anna.page, "notified[0].onclick()")
    anna.is_in("#one")


def test_a_late_permission_does_not_turn_on_what_was_turned_off(serve, visit) -> None:
    anna = visit(serve().port)
    anna.page.add_init_script(
        """
        window.permission = Promise.withResolvers();
        window.Notification = class { static requestPermission = () => permission.promise; };
        """
    )
    anna.enter("anna")
    anna.page.locator("#settings-button").click()
    switch = anna.page.get_by_role("switch", name="Notifications")
    switch.check()
    switch.uncheck()
    in_one_frame(anna.page, "permission.resolve('granted')")
    assert not switch.is_checked()
