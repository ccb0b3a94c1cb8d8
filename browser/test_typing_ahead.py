"""Texts that are typed while the server has not yet answered where their author asked to go."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from slow import Slow


@pytest.fixture
def anna(serve, visit):
    return visit(serve().port)


def test_a_text_goes_along_into_the_room_that_is_entered(anna) -> None:
    slow = Slow(anna.page)
    anna.enter("anna", "#a")
    slow.hold()
    anna.type("/join #b")
    anna.field.fill("hello")
    slow.release()
    anna.is_in("#b")
    anna.field.press("Enter")
    anna.sees_once("hello")


def test_so_does_a_text_that_is_typed_before_there_is_a_room(anna) -> None:
    slow = Slow(anna.page)
    anna.enter("anna", "#a")
    slow.hold()
    anna.page.reload()
    anna.field.fill("hello")
    slow.release()
    anna.is_in("#a")
    anna.field.press("Enter")
    anna.sees_once("hello")


def test_an_older_text_stays_in_its_room(anna) -> None:
    slow = Slow(anna.page)
    anna.enter("anna", "#a")
    anna.type("/join #b")
    anna.is_in("#b")
    anna.type("/leave")
    anna.is_in("#a")
    anna.field.fill("for a")
    slow.hold()
    anna.page.keyboard.press("Control+k")
    anna.page.keyboard.type("#b")
    anna.page.keyboard.press("Enter")
    slow.release()
    anna.is_in("#b")
    expect(anna.field).to_have_value("")
    anna.place("#a").click()
    expect(anna.field).to_have_value("for a")


def test_a_text_for_a_room_that_is_gone_is_in_no_other_one(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    slow = Slow(anna.page)
    anna.enter("anna", "#a")
    anna.type("/join #b")
    anna.is_in("#b")
    slow.hold()
    anna.type("/leave")
    anna.field.fill("for b")
    slow.release()
    anna.is_in("#a")
    expect(anna.field).to_have_value("")
