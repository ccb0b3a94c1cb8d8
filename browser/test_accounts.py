"""Accounts in the page: its dialogs, what others see, and what the browser keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from processes import Daemon
from visitor import Visitor

PASSWORD = "a tall ship sails"
ANOTHER = "nine green kites"
CODE = re.compile(r"^[0-9a-f]{4}(-[0-9a-f]{4}){7}$")
STORAGE = "JSON.stringify([{ ...localStorage }, { ...sessionStorage }])"


@pytest.fixture
def port(serve, tmp_path: Path) -> int:
    """The port of a daemon that keeps accounts."""
    return serve(store=f"sqlite:{tmp_path / 'chat.db'}").port


def fill(page: Page, **fields: str) -> None:
    """Fill the fields of the login dialog, and submit."""
    for name, text in fields.items():
        page.locator(f"#login-{name}").fill(text)
    page.locator("#login .primary").click()


def is_called(visitor: Visitor, nick: str) -> None:
    expect(visitor.page.locator("#my-name")).to_have_text(nick)


def is_logged_in(visitor: Visitor, nick: str) -> None:
    is_called(visitor, nick)
    expect(visitor.page.locator("#account-button")).to_have_attribute("aria-label", "Your account")


def is_logged_out(visitor: Visitor) -> None:
    expect(visitor.page.locator("#account-button")).to_have_attribute("aria-label", "Log in")


def register(visitor: Visitor) -> str:
    """Register the visitor's nick. Returns the recovery code."""
    visitor.type("/register")
    fill(visitor.page, fresh=PASSWORD, again=PASSWORD)
    code = visitor.page.locator("#login .code")
    expect(code).to_have_text(CODE)
    text = code.inner_text()
    visitor.page.get_by_role("button", name="I have kept it").click()
    expect(visitor.page.locator("#login")).to_be_hidden()
    return text


def log_in(visitor: Visitor, nick: str, password: str = PASSWORD) -> None:
    visitor.type(f"/login {nick}")
    fill(visitor.page, password=password)
    is_logged_in(visitor, nick)
    expect(visitor.page.locator("#login")).to_be_hidden()


def open_anew(visitor: Visitor) -> None:
    """Open the page as another client: of the client before, only what all tabs share is left."""
    forget = "sessionStorage.clear(); localStorage.removeItem('trio_chat.left')"
    visitor.page.add_init_script(forget)
    visitor.page.reload()


def test_someone_registers_and_is_logged_in_again_after_a_reload(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    is_logged_in(john, "john")
    john.page.reload()
    is_logged_in(john, "john")
    open_anew(john)
    john.is_in("#general")
    is_logged_in(john, "john")
    expect(john.page.locator("#members li")).to_have_text(["johnyou"])


def asides(visitor: Visitor) -> list[str]:
    return visitor.page.locator("#log-rows .aside").all_inner_texts()


def test_others_see_one_person_who_logs_in_and_out(port, visit) -> None:
    john = visit(port).enter("john")
    mary = visit(port).enter("mary")
    register(john)
    john.type("registered")
    mary.sees("registered")
    expect(mary.page.locator(".row.quiet")).to_have_count(0)  # the nick is the same
    john.type("/logout", "/nick jim", "away")
    mary.sees("away")
    assert asides(mary) == ["john is now jim"]
    john.type("/tell mary psst")
    mary.place("jim").click()
    mary.type("who are you?")
    log_in(john, "john")
    john.place("mary").click()
    john.type("me")
    # The talk goes on with the account.
    mary.is_in("john")
    mary.sees_once("psst", "who are you?", "me")
    assert asides(mary) == ["jim is now john"]
    mary.type("ah")
    john.sees_once("psst", "who are you?", "me", "ah")
    expect(mary.page.locator("#talks li")).to_have_count(1)
    mary.place("#general").click()
    mary.sees("is now john")
    assert not any("left" in aside or "joined" in aside for aside in asides(mary))
    expect(mary.page.locator("#members .nick")).to_have_text(["john", "mary"])


def test_all_devices_of_a_person_are_one_and_what_they_say_is_its_own(port, visit) -> None:
    john, mary = visit(port).enter("john"), visit(port).enter("mary")
    register(john)
    phone = visit(port, size="phone").enter("jim")
    phone.type("as a guest")
    john.sees("as a guest")
    log_in(phone, "john")
    phone.type("from the phone")
    mary.sees("from the phone")
    for page in (john.page, mary.page):
        expect(page.locator("#members .nick")).to_have_text(["john", "mary"])
    for device in (john, phone):
        row = device.page.locator(".row.said", has_text="from the phone")
        expect(row).to_have_class(re.compile(r"\bmine\b"))
    assert "left" not in " ".join(asides(phone))
    # Its messages as a guest are its own for the phone alone.
    guest = phone.page.locator(".row.said", has_text="as a guest")
    expect(guest).to_have_class(re.compile(r"\bmine\b"))
    john.page.locator("#join-room").click()
    john.page.get_by_role("dialog").get_by_role("textbox").fill("#elsewhere")
    john.page.keyboard.press("Enter")
    john.is_in("#elsewhere")
    phone.type("no news for oneself")
    mary.type("news")
    expect(john.place("#general").locator(".count")).to_have_text("1 unread")
    mary.type("/tell john psst")
    phone.page.locator("#show-rooms").click()
    phone.place("mary").click()
    phone.type("yes?")
    john.place("mary").click()
    john.sees_once("psst", "yes?")
    mary.place("john").click()
    mary.sees_once("psst", "yes?")


def test_messages_before_a_login_are_ones_own_after_it(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    john.type("hello")
    phone = visit(port).enter("jim")
    row = phone.page.locator(".row.said", has_text="hello")
    expect(row).not_to_have_class(re.compile(r"\bmine\b"))
    log_in(phone, "john")
    expect(row).to_have_class(re.compile(r"\bmine\b"))
    phone.type("/logout")
    is_logged_out(phone)
    expect(row).not_to_have_class(re.compile(r"\bmine\b"))


def test_a_typed_password_is_not_kept_anywhere(port, visit) -> None:
    john = visit(port).enter("john")
    john.type("hello")
    for line in ("/login john opensesame", " /LOGIN john opensesame", "/recover john opensesame"):
        john.type(line)
        expect(john.page.locator("#login-name")).to_have_value("john")
        assert "opensesame" not in john.page.content()
        john.page.keyboard.press("Escape")
        expect(john.page.locator("#login")).to_be_hidden()
    expect(john.field).to_have_value("")
    john.field.press("ArrowUp")
    expect(john.field).to_have_value("hello")
    john.field.fill("one\n/login john opensesame")
    john.page.evaluate("dispatchEvent(new Event('pagehide'))")
    kept = john.page.evaluate(STORAGE)
    assert "#general" in kept
    assert "opensesame" not in kept
    register_fields = john.page.locator("#login input")
    john.field.fill("")
    john.type("/register")
    register_fields.nth(1).fill(PASSWORD)
    john.page.keyboard.press("Escape")
    expect(register_fields).to_have_count(0)
    assert PASSWORD not in john.page.content()


def test_password_managers_find_what_each_field_is_for(port, visit) -> None:
    john = visit(port).enter("john")
    new = ["username", "new-password", "new-password"]
    expected = {
        "/login": ["username", "current-password"],
        "/register": new,
        "/recover": ["username", "off", "new-password", "new-password"],
    }

    def fields(line: str) -> list[str | None]:
        john.type(line)
        expect(john.page.locator("#login input").nth(1)).to_be_focused()
        found = john.page.locator("#login form input").all()
        kinds = [field.get_attribute("autocomplete") for field in found]
        assert [field.get_attribute("type") == "password" for field in found] == [
            "password" in (kind or "") for kind in kinds
        ]
        john.page.keyboard.press("Escape")
        expect(john.page.locator("#login")).to_be_hidden()
        return kinds

    assert {line: fields(line) for line in expected} == expected
    register(john)
    assert fields("/password") == ["username", "current-password", *new[1:]]
    assert fields("/password john") == ["username", "current-password", *new[1:]]


def test_a_wrong_password_is_said_beside_the_field(port, visit) -> None:
    john = visit(port).enter("john")
    john.type("/register")
    fill(john.page, fresh=PASSWORD, again=ANOTHER)
    error = john.page.locator("#login-error")
    expect(error).to_have_text("The two passwords differ.")
    expect(john.page.locator("#login-again")).to_be_focused()
    fill(john.page, fresh="aaaaaaaaaaaa", again="aaaaaaaaaaaa")
    expect(john.page.locator("#login-fresh")).to_have_attribute("aria-invalid", "true")
    john.page.keyboard.press("Escape")
    john.type("/login jack")
    fill(john.page, password=PASSWORD)
    expect(error).to_have_text(
        "There is no account jack with this password: try again, or /recover jack."
    )
    expect(john.page.locator("#login-password")).to_have_attribute("aria-invalid", "true")
    john.page.get_by_role("button", name="Password forgotten?").click()
    expect(john.page.locator("#login-name")).to_have_value("jack")
    fill(john.page, code="0000", fresh=PASSWORD, again=PASSWORD)
    expect(john.page.locator("#login-code")).to_have_attribute("aria-invalid", "true")


def test_a_recovery_code_is_shown_once_and_lets_one_in(port, visit) -> None:
    john = visit(port, permissions=["clipboard-read", "clipboard-write"]).enter("john")
    john.type("/register")
    fill(john.page, fresh=PASSWORD, again=PASSWORD)
    john.page.get_by_role("button", name="Copy").click()
    expect(john.page.locator("#login [role=status]")).to_have_text("Copied.")
    code = john.page.evaluate("navigator.clipboard.readText()")
    assert CODE.match(code)
    john.page.keyboard.press("Escape")
    expect(john.page.locator("#login .code")).to_have_text(code)
    john.page.get_by_role("button", name="I have kept it").click()
    expect(john.page.locator("#login > *")).to_have_count(0)
    assert code not in john.page.content()
    assert code not in john.page.evaluate(STORAGE)
    john.type("/logout")
    is_logged_out(john)
    john.type("/recover john")
    fill(john.page, code=code, fresh=ANOTHER, again=ANOTHER)
    fresh = john.page.locator("#login .code")
    expect(fresh).to_have_text(CODE)
    expect(fresh).not_to_have_text(code)
    is_logged_in(john, "john")


def test_a_token_that_is_refused_is_forgotten_and_that_is_said(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    phone = visit(port).enter("jim")
    log_in(phone, "john")
    john.page.get_by_role("button", name="Your account").click()
    devices = john.page.locator("#account-devices li")
    expect(devices).to_have_count(2)
    expect(devices.first).to_contain_text("this browser")
    expect(devices.first.locator("bdi")).to_have_text("Chrome on Linux")
    devices.nth(1).get_by_role("button").click()
    expect(devices).to_have_count(1)
    open_anew(phone)
    error = phone.page.locator("#entrance-error")
    expect(error).to_have_text("This device is logged in no more: log in with the password.")
    assert "trio_chat.device" not in phone.page.evaluate(STORAGE)
    # The password leads into the last rooms.
    phone.page.get_by_role("button", name="Log in to your account").click()
    fill(phone.page, password=PASSWORD)
    phone.is_in("#general")
    is_logged_in(phone, "john")


def test_a_person_who_logs_out_is_logged_out_in_all_tabs_of_the_browser(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    other = Visitor(john.page.context.new_page(), port).open()
    is_logged_in(other, "john")
    john.type("/logout")
    is_logged_out(john)
    is_logged_out(other)
    assert "trio_chat.device" not in john.page.evaluate(STORAGE)
    log_in(john, "john")
    john.type("/account")
    expect(john.page.locator("#account-devices li")).to_have_count(1)


def test_a_password_can_be_changed_and_an_account_deleted(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    john.type("/password")
    fill(john.page, password=PASSWORD, fresh=ANOTHER, again=ANOTHER)
    expect(john.page.locator("#line-note")).to_have_text("Your password is changed.")
    open_anew(john)
    is_logged_in(john, "john")  # with the new token
    john.page.locator("#my-nick").click()
    john.page.get_by_role("button", name="Delete the account").click()
    fill(john.page, password=PASSWORD)
    expect(john.page.locator("#login-error")).to_contain_text("no account john with this password")
    fill(john.page, password=ANOTHER)
    expect(john.page.locator("#login")).to_be_hidden()
    is_called(john, "anonymous")
    is_logged_out(john)
    john.sees("You are logged out.")
    assert "trio_chat.device" not in john.page.evaluate(STORAGE)


def test_the_data_of_an_account_can_be_downloaded(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    john.type("/account")
    expect(john.page.locator("#account-summary")).to_have_text(
        "You are logged in as john, with 0 other connections."
    )
    with john.page.expect_download() as download:
        john.page.get_by_role("button", name="Export").click()
    kept = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert (kept["nick"], len(kept["devices"])) == ("john", 1)


def test_a_broken_connection_leaves_one_logged_in(port, visit, cable) -> None:
    line = cable(port)
    john = visit(line.port).enter("john")
    register(john)
    john.type("before")
    line.cut()
    john.is_offline()
    line.mend()
    john.is_online()
    is_logged_in(john, "john")
    john.type("after")
    john.sees_once("before", "after")
    expect(john.page.locator(".row.said.mine")).to_have_count(2)


@pytest.fixture
def restart(serve, tmp_path: Path) -> Callable[[], Daemon]:
    """Starts a daemon with accounts, each time in place of the one before."""
    daemons: list[Daemon] = []

    def start() -> Daemon:
        for daemon in daemons:
            daemon.process.terminate()
            daemon.process.wait()
        port = daemons[-1].port if daemons else 0
        daemons.append(serve(port=port, store=f"sqlite:{tmp_path / 'chat.db'}"))
        return daemons[-1]

    return start


def test_a_new_client_after_a_restart_is_the_same_person(restart, visit) -> None:
    john = visit(restart().port).enter("john")
    register(john)
    john.type("before")
    restart()
    john.is_online(within=30_000)
    is_logged_in(john, "john")
    john.type("after")
    john.sees_once("before", "after")
    expect(john.page.locator(".row.said.mine")).to_have_count(2)


def test_a_new_client_whose_token_is_void_asks_for_the_password(restart, visit) -> None:
    port = restart().port
    john, phone = visit(port).enter("john"), visit(port).enter("jim")
    register(john)
    log_in(phone, "john")
    phone.type("/password")
    fill(phone.page, password=PASSWORD, fresh=ANOTHER, again=ANOTHER)
    expect(phone.page.locator("#line-note")).to_have_text("Your password is changed.")
    phone.page.close()
    restart()
    john.is_online(within=30_000)
    expect(john.page.locator("#login .about")).to_have_text(
        "This device is logged in no more: log in with the password."
    )
    fill(john.page, password=ANOTHER)
    is_logged_in(john, "john")
    john.type("after")
    john.sees_once("after")


def test_a_connection_that_others_can_read_takes_no_password(serve, visit, cable, tmp_path) -> None:
    daemon = serve("--trusted-proxies=127.0.0.1", store=f"sqlite:{tmp_path / 'chat.db'}")
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5555 80\r\n"
    john = visit(cable(daemon.port, header).port).enter("john")
    john.type("/register")
    fill(john.page, fresh=PASSWORD, again=PASSWORD)
    expect(john.page.locator("#login-error")).to_have_text(
        "This connection is not encrypted: use TLS (https, wss)."
    )


def test_a_server_without_accounts_shows_nothing_of_them(serve, visit) -> None:
    port = serve().port
    john = visit(port).open()
    expect(john.page.get_by_label("Nickname")).to_be_focused()
    expect(john.page.locator("#entrance-account")).to_be_hidden()
    john.enter("john")
    expect(john.page.locator("#account-button")).to_be_hidden()
    john.type("/login john opensesame")
    john.sees("unknown command")
    expect(john.page.locator("#login")).to_be_hidden()
    john.field.press("ArrowUp")
    expect(john.field).to_have_value("")


def test_the_owner_of_a_nick_logs_in_before_coming_in(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    phone = visit(port).open()
    phone.page.get_by_label("Nickname").fill("john")
    phone.page.get_by_role("button", name="Join").click()
    expect(phone.page.locator("#entrance-error")).to_have_text(
        "The nick john belongs to an account: /login john, or choose another."
    )
    phone.page.get_by_role("button", name="Log in to your account").click()
    fill(phone.page, password=PASSWORD)
    expect(phone.page.locator("#entrance-nick[readonly]")).to_have_value("john")
    phone.page.get_by_role("button", name="Join").click()
    phone.is_in("#general")
    is_logged_in(phone, "john")


def test_a_message_waits_for_somebody_who_is_away(port, visit) -> None:
    john = visit(port).enter("john")
    mary = visit(port).enter("mary")
    register(john)
    register(mary)
    john.type("/quit")
    expect(mary.page.locator("#members li")).to_have_text(["maryyou"])
    mary.type("/tell john psst")
    mary.is_in("john")
    mary.sees("psst")
    mary.sees("john is away. This message waits.")
    back = visit(port).enter("guest")
    log_in(back, "john")
    back.place("mary").click()
    back.sees_once("psst")


def test_someone_makes_a_new_recovery_code(port, visit) -> None:
    john = visit(port).enter("john")
    register(john)
    john.type("/account")
    john.page.locator("#account-recovery").click()
    fill(john.page, password=PASSWORD)
    code = john.page.locator("#login .code")
    expect(code).to_have_text(CODE)
    shown = code.inner_text()
    john.page.get_by_role("button", name="I have kept it").click()
    john.type("/logout", "/recover john")
    fill(john.page, code=shown, fresh=ANOTHER, again=ANOTHER)
    expect(code).to_have_text(CODE)
