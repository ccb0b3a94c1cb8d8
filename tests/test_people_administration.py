"""Accounts as the operator manages them, in the daemon and without it."""

from __future__ import annotations

import re
import stat

import pytest
from people import ANOTHER, CAFE, HOME, JACK, JOHN, PASSWORD, name, people_in, refused

from trio_chat.errors import StoreError
from trio_chat.people.administration import RESET_SECONDS
from trio_chat.people.offline import open_offline
from trio_chat.roomlog.sqlite.file import open_store


@pytest.fixture
async def people(kept, mock_clock):
    async with kept.open() as people:
        yield people


async def test_an_account_by_the_operator_begins_with_a_code(people) -> None:
    code = await people.administration.add(name("John"))
    assert re.fullmatch(r"([0-9a-f]{4}-){7}[0-9a-f]{4}", code)
    assert people.holder(JOHN.keys)
    for nothing in ("", code, PASSWORD):
        with refused("wrong_password"):
            await people.log_in(JOHN, nothing, HOME)
    made = await people.recover(JOHN, code, PASSWORD, HOME, "page")
    assert made.identity.name.display == "John"
    assert made.identity.id == people.holder(JOHN.keys)
    await people.log_in(JOHN, PASSWORD, HOME)
    with refused("wrong_password"):
        await people.recover(JOHN, code, ANOTHER, HOME)


async def test_the_operator_adds_no_name_twice(people) -> None:
    await people.administration.add(name("Ivan"))
    for taken in ("ivan", "lvan"):
        with refused("nick_registered"):
            await people.administration.add(name(taken))
        with refused("nick_registered"):
            await people.register(name(taken), PASSWORD, HOME)


async def test_the_operator_is_under_no_limit(people) -> None:
    for number in range(50):
        await people.administration.add(name(f"person{number}"))


async def test_a_reset_is_a_code_that_counts_once(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    first = await people.administration.reset(JOHN)
    code = await people.administration.reset(name("JOHN"))
    with refused("wrong_password"):
        await people.recover(JOHN, first, ANOTHER, CAFE)
    # Until it is used, all is as before.
    await people.log_in(JOHN, PASSWORD, HOME)
    await people.authenticate(made.token, HOME)
    again = await people.recover(JOHN, code, ANOTHER, CAFE)
    with refused("bad_token"):
        await people.authenticate(made.token, HOME)
    for used in (code, made.recovery):
        with refused("wrong_password"):
            await people.recover(JOHN, used, PASSWORD, CAFE)
    await people.recover(JOHN, again.recovery, PASSWORD, CAFE)


async def test_a_new_password_ends_a_code_of_the_operator(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)
    code = await people.administration.reset(JOHN)
    await people.change_password(made.identity.id, PASSWORD, ANOTHER, HOME)
    with refused("wrong_password"):
        await people.recover(JOHN, code, PASSWORD, HOME)


async def test_a_code_of_the_operator_counts_for_a_week(people, monkeypatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    await people.administration.add(JOHN)
    await people.administration.add(JACK)
    codes = [await people.administration.reset(who) for who in (JOHN, JACK)]
    now += RESET_SECONDS - 1
    await people.recover(JOHN, codes[0], PASSWORD, HOME)
    now += 1
    with refused("wrong_password"):
        await people.recover(JACK, codes[1], PASSWORD, HOME)


async def test_the_operator_deletes_without_a_password(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    assert await people.administration.delete(name("JOHN")) == made.identity.id
    with refused("bad_token"):
        await people.authenticate(made.token, HOME)
    assert people.holder(JOHN.keys) == ""
    await people.administration.delete_account(made.identity.id)
    assert await people.administration.all() == ()


async def test_the_list_is_by_name(people, monkeypatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    await people.register(name("john"), PASSWORD, HOME, "page")
    await people.administration.add(name("Ann"))
    assert [
        (one.nick, one.made, one.seen, one.devices) for one in await people.administration.all()
    ] == [("Ann", 1_800_000_000.0, 0.0, 0), ("john", 1_800_000_000.0, 1_800_000_000.0, 1)]


@pytest.mark.parametrize("call", ["reset", "delete", "export"])
async def test_a_command_about_no_account_is_refused(people, call: str) -> None:
    with refused("no_such_account") as caught:
        await getattr(people.administration, call)(JOHN)
    assert str(caught.value) == "there is no account john"


# --- without a daemon -----------------------------------------------------------------------------


async def test_the_operator_works_without_the_daemon(tmp_path) -> None:
    rooms = tmp_path / "8888.db"
    open_store(rooms, "process").close()
    people_file = tmp_path / "8888.people.db"
    async with people_in(people_file):
        pass
    (tmp_path / "link.db").symlink_to(rooms)
    async with open_offline(tmp_path / "link.db") as people:
        code = await people.administration.add(JOHN)
        # As for a daemon that would start now.
        with pytest.raises(StoreError, match="is in use by another trio-chat"):
            open_store(rooms, "process")
    open_store(rooms, "process").close()
    assert stat.S_IMODE(people_file.stat().st_mode) == 0o600
    async with people_in(people_file) as people:
        await people.recover(JOHN, code, PASSWORD, HOME)


async def test_the_operator_does_not_reach_past_a_daemon(tmp_path) -> None:
    rooms = tmp_path / "8888.db"
    daemons = open_store(rooms, "process")
    async with people_in(tmp_path / "8888.people.db"):
        with pytest.raises(StoreError) as caught:
            async with open_offline(rooms):
                pass
    assert str(caught.value) == (
        f"{rooms} is in use by another trio-chat: stop that one (trio-chat stop), "
        f"or name its control socket with --control"
    )
    daemons.close()


async def test_without_a_file_the_operator_is_told_to_start_the_daemon(tmp_path) -> None:
    with pytest.raises(StoreError) as caught:
        async with open_offline(tmp_path / "8888.db"):
            pass
    assert str(caught.value) == (
        f"there is no {tmp_path / '8888.people.db'}: start the daemon once, which makes it"
    )
    assert not list(tmp_path.iterdir())
