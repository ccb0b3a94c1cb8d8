"""Accounts: to register, to log in and to get back in, and what nobody can do to others."""

from __future__ import annotations

import re
import sqlite3
from contextlib import ExitStack, closing
from functools import partial

import pytest
import trio
from argon2 import PasswordHasher
from people import ANOTHER, CAFE, HOME, JACK, JOHN, PASSWORD, WRONG, name, people_in, refused

from trio_chat.people import LoggedIn, administration, hasher, rows
from trio_chat.people.accounts import People
from trio_chat.people.throttle import ACCOUNT_FAILURES

PATIENCE = 60


@pytest.fixture
def path(tmp_path):
    return tmp_path / "8888.people.db"


@pytest.fixture
async def people(kept, mock_clock):
    async with kept.open() as people:
        yield people


async def fails(people: People, count: int, who=JOHN, address=CAFE) -> None:
    """Wrong passwords, with the waits that they call for."""
    for _ in range(count):
        people._throttle = type(people._throttle)()  # as if from networks without end
        with refused("wrong_password"):
            await people.log_in(who, WRONG, address)
    people._throttle = type(people._throttle)()


# --- to register ----------------------------------------------------------------------------------


async def test_to_register_and_to_log_in(people) -> None:
    made = await people.register(name("John"), PASSWORD, HOME)
    assert re.fullmatch(r"a\.[A-Za-z0-9_-]{16}", made.identity.id)
    assert made.identity.name == name("John")
    assert re.fullmatch(r"([0-9a-f]{4}-){7}[0-9a-f]{4}", made.recovery)
    assert (made.device, made.token) == (0, "")
    for typed in ("john", "JOHN", "John"):
        entered = await people.log_in(name(typed), PASSWORD, CAFE)
        assert entered == LoggedIn(made.identity)


async def test_an_account_outlives_its_process(kept, mock_clock) -> None:
    async with kept.open() as people:
        made = await people.register(JOHN, PASSWORD, HOME, "page")
    async with kept.open() as people:
        assert people.holder(JOHN.keys) == made.identity.id
        assert await people.log_in(JOHN, PASSWORD, CAFE) == LoggedIn(made.identity)
        assert await people.authenticate(made.token, CAFE) == LoggedIn(made.identity, 1)


async def test_a_password_may_be_typed_on_another_keyboard(people) -> None:
    await people.register(JOHN, "Ame\u0301lie und\u3000Zoe\u0308 gehen", HOME)
    await people.log_in(JOHN, "Am\u00e9lie und Zo\u00eb gehen", HOME)


async def test_a_bad_password_makes_no_account(people) -> None:
    for _ in range(10):  # and is no registration
        for bad in ("short", "liverpool123", "john12345678", "\x1b[A" * 9):
            with refused("bad_password"):
                await people.register(JOHN, bad, HOME)
    assert people.holder(JOHN.keys) is None
    await people.register(JOHN, PASSWORD, HOME)


async def test_names_that_look_alike_are_reserved(people) -> None:
    made = await people.register(name("Ivan"), PASSWORD, HOME)
    for taken in ("ivan", "IVAN", "lvan", "Ivаn", "ɪvan"):  # small L, Cyrillic a, small capital
        assert people.holder(name(taken).keys) == made.identity.id
        with refused("nick_registered") as caught:
            await people.register(name(taken), ANOTHER, CAFE)
        assert str(caught.value) == (
            f"the nick {taken}, or one like it, belongs to an account: /login {taken}, "
            f"or choose another"
        )
    # To look like somebody is not to be somebody.
    with refused("wrong_password"):
        await people.log_in(name("lvan"), PASSWORD, HOME)
    assert people.holder(name("ivana").keys) is None


async def test_stored_keys_stand_whatever_later_tables_say(path, mock_clock) -> None:
    async with people_in(path) as people:
        made = await people.register(JOHN, PASSWORD, HOME)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO names VALUES ('x-look', ?)", (made.identity.id,))
    async with people_in(path) as people:
        assert people.holder(("free", "x-look")) == made.identity.id
        entered = await people.log_in(JOHN, PASSWORD, HOME)
        assert entered.identity.name.keys == (*JOHN.keys, "x-look")
        assert entered.identity.name.casefolded == "john"


async def test_of_two_who_register_at_once_one_has_the_name(people) -> None:
    made, refusals = [], []

    async def register(nick: str, address: str) -> None:
        try:
            made.append(await people.register(name(nick), PASSWORD, address))
        except hasher.Refused as refusal:
            refusals.append(refusal.code)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(register, "b0b" if number % 2 else "bob", f"192.0.2.{number}")
    assert len(made) == 1
    assert refusals == ["nick_registered"] * 4
    assert people.holder(name("bob").keys) == made[0].identity.id


async def test_a_network_registers_three_accounts_an_hour(people, mock_clock) -> None:
    for number in range(3):
        await people.register(name(f"person{number}"), PASSWORD, f"2001:db8::{number}")
    with refused("too_many_tries"):
        await people.register(JOHN, PASSWORD, "2001:db8::ffff")
    await people.register(JOHN, PASSWORD, "2001:db8:0:1::")
    mock_clock.jump(3_600)
    await people.register(JACK, PASSWORD, "2001:db8::ffff")


async def test_a_registration_that_fails_is_none(people, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(administration, "MOST_ACCOUNTS", 0)
        for _ in range(10):
            with refused("too_many_accounts"):
                await people.register(JOHN, PASSWORD, HOME)
    assert people.holder(JOHN.keys) is None
    await people.register(JOHN, PASSWORD, HOME)


async def test_the_number_of_accounts_is_bounded(people, monkeypatch) -> None:
    monkeypatch.setattr(administration, "MOST_ACCOUNTS", 1)
    await people.register(JOHN, PASSWORD, HOME)
    with refused("too_many_accounts"):
        await people.register(JACK, PASSWORD, HOME)
    with refused("too_many_accounts"):
        await people.administration.add(JACK)


# --- wrong passwords ------------------------------------------------------------------------------


async def test_an_unknown_name_and_a_wrong_password_get_the_same_answer(people) -> None:
    await people.register(JOHN, PASSWORD, HOME)
    for who in (JOHN, JACK):
        for wrong in (WRONG, "", "short", "x" * 1_000, "\ud800"):
            with refused("wrong_password") as caught:
                await people.log_in(who, wrong, wrong[:1] + "net")
            assert str(caught.value) == (
                f"there is no account {who.display} with this password: "
                f"try again, or /recover {who.display}"
            )


async def test_an_unknown_name_and_a_wrong_password_cost_the_same(people, monkeypatch) -> None:
    await people.register(JOHN, PASSWORD, HOME)
    done: list[str] = []
    verify, run = hasher.Hasher.verify, people._store.run

    async def note_hash(self, hashed, password):
        done.append("hash")
        return await verify(self, hashed, password)

    async def note_work(work):
        def counted(connection):
            before = connection.total_changes
            result = work(connection)
            # On Redis, a trigger notes each row that is written.
            notes = connection.execute("SELECT count(*) FROM sqlite_temp_schema").fetchone()[0] > 0
            written = (connection.total_changes - before) // (2 if notes else 1)
            done.append(f"{written} rows written")
            return result

        return await run(counted)

    monkeypatch.setattr(hasher.Hasher, "verify", note_hash)
    monkeypatch.setattr(people._store, "run", note_work)
    for who in (JOHN, JACK):
        with refused("wrong_password"):
            await people.log_in(who, WRONG, CAFE)
        assert done == ["0 rows written", "1 rows written", "hash"]
        done.clear()


async def test_wrong_passwords_have_to_wait(people, mock_clock) -> None:
    await people.register(JOHN, PASSWORD, HOME)
    for who in (JOHN, JACK):
        for _ in range(5):
            with refused("wrong_password"):
                await people.log_in(who, WRONG, CAFE)
        for password in (PASSWORD, WRONG):
            with refused("too_many_tries") as caught:
                await people.log_in(who, password, CAFE)
            assert str(caught.value) == "too many wrong passwords: try again in 1 second"
    await people.log_in(JOHN, PASSWORD, HOME)  # elsewhere nobody waits
    mock_clock.jump(1)
    await people.log_in(JOHN, PASSWORD, CAFE)
    with refused("wrong_password"):
        await people.log_in(JACK, PASSWORD, CAFE)


async def test_a_flood_is_not_hashed(people, monkeypatch, mock_clock) -> None:
    """Tries at once are counted before their hashes, and those beyond the limit cost none."""
    await people.register(JOHN, PASSWORD, HOME)
    hashed, refusals = [], []
    verify = PasswordHasher.verify

    def note(self, *arguments) -> bool:
        hashed.append(arguments)
        return verify(self, *arguments)

    monkeypatch.setattr(PasswordHasher, "verify", note)

    async def log_in() -> None:
        try:
            await people.log_in(JOHN, WRONG, CAFE)
        except hasher.Refused as refusal:
            refusals.append(refusal.code)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(500):
                nursery.start_soon(log_in)
    assert len(hashed) == 5
    assert refusals.count("wrong_password") == 5
    assert refusals.count("too_many_tries") == 495


async def test_a_flood_from_many_networks_keeps_nobody_out_who_was_here(
    people, monkeypatch
) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    refusals, entered = [], []

    async def attack(number: int) -> None:
        try:
            await people.log_in(name(f"n{number}"), WRONG, f"198.51.{number >> 8}.{number & 255}")
        except hasher.Refused as refusal:
            refusals.append(refusal.code)

    async def come_back() -> None:
        await trio.testing.wait_all_tasks_blocked()  # the attackers are first
        entered.append(await people.authenticate(made.token, CAFE))
        entered.append(await people.log_in(JOHN, PASSWORD, HOME))
        entered.append(await people.recover(JOHN, made.recovery, ANOTHER, CAFE))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_back)
            for number in range(1_000):
                nursery.start_soon(attack, number)
    assert len(entered) == 3
    assert len(refusals) == 1_000
    assert refusals.count("busy") > 500


async def test_people_who_were_here_need_no_place_among_strangers(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)
    with ExitStack() as places:
        for _ in range(1 + hasher.WAITING):
            places.enter_context(people._hasher.place(known=False))
        with refused("busy"):
            await people.log_in(JOHN, PASSWORD, CAFE)
        with refused("busy"):
            await people.register(JACK, PASSWORD, CAFE)
        await people.log_in(JOHN, PASSWORD, HOME)
        again = await people.change_password(made.identity.id, PASSWORD, ANOTHER, HOME)
        assert again.identity == made.identity
        await people.recover(JOHN, made.recovery, PASSWORD, CAFE)
        await people.log_in(JOHN, PASSWORD, CAFE)
    # A try that found no place has not failed.
    kept = await people.export(made.identity.id)
    assert kept.failures == 0
    assert not people._throttle._pairs
    for number in range(3):
        await people.register(name(f"person{number}"), PASSWORD, CAFE)


async def test_after_a_hundred_failures_a_password_counts_only_where_it_was_used(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    await fails(people, ACCOUNT_FAILURES)
    for password in (PASSWORD, WRONG):
        with refused("not_from_here"):
            await people.log_in(JOHN, password, CAFE)
    # Nobody can lock another out.
    await people.authenticate(made.token, "203.0.113.1")
    await people.log_in(JOHN, PASSWORD, HOME)
    # The right password begins a new count, and a network where a token was used is known.
    await people.log_in(JOHN, PASSWORD, CAFE)
    await fails(people, ACCOUNT_FAILURES, address="192.0.2.200")
    with refused("not_from_here"):
        await people.log_in(JOHN, PASSWORD, "192.0.2.200")
    await people.log_in(JOHN, PASSWORD, "203.0.113.1")


async def test_failures_outlive_the_process(kept, mock_clock) -> None:
    async with kept.open() as people:
        made = await people.register(JOHN, PASSWORD, HOME)
        await fails(people, ACCOUNT_FAILURES)
    async with kept.open() as people:
        with refused("not_from_here"):
            await people.log_in(JOHN, PASSWORD, CAFE)
        entered = await people.recover(JOHN, made.recovery, ANOTHER, CAFE)
        assert (await people.export(made.identity.id)).failures == 0
        await people.log_in(JOHN, ANOTHER, CAFE)
        assert entered.identity == made.identity


async def test_a_name_without_an_account_is_closed_alike(people) -> None:
    with refused("wrong_password"):
        await people.log_in(JACK, WRONG, CAFE)
    people._throttle._unknown["jack"] = ACCOUNT_FAILURES
    with refused("not_from_here"):
        await people.log_in(JACK, WRONG, CAFE)


async def test_a_code_and_a_token_count_whatever_others_do(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    for number in range(20):
        with refused("wrong_password"):
            await people.log_in(name(f"n{number}"), WRONG, CAFE)
    for _ in range(5):
        with refused("wrong_password"):
            await people.log_in(JOHN, WRONG, "192.0.2.77")
    for address in (CAFE, "192.0.2.77"):
        with refused("too_many_tries"):
            await people.log_in(JOHN, PASSWORD, address)
        assert (await people.authenticate(made.token, address)).identity == made.identity
        made = await people.recover(JOHN, made.recovery, PASSWORD, address, "page")
        await people.log_in(JOHN, PASSWORD, address)
    code = await people.administration.reset(JOHN)
    await people.recover(JOHN, code, PASSWORD, CAFE)


async def test_old_hashes_are_made_anew(people, monkeypatch) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)

    async def hashed() -> str:
        found = await people._store.run(partial(rows.by_id, account=made.identity.id))
        return found.password

    assert "$m=8,t=1," in await hashed()
    with monkeypatch.context() as patch:
        patch.setattr(hasher, "PASSES", 2)
        people._hasher = hasher.Hasher()
    with refused("wrong_password"):
        await people.log_in(JOHN, WRONG, HOME)
    assert "$m=8,t=1," in await hashed()
    await people.log_in(JOHN, PASSWORD, HOME)
    assert "$m=8,t=2," in await hashed()
    await people.log_in(JOHN, PASSWORD, HOME)


async def test_a_password_that_changes_meanwhile_logs_nobody_in(people, monkeypatch) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)
    verify = hasher.Hasher.verify

    async def change_first(self, hashed, password):
        found = await verify(self, hashed, password)
        monkeypatch.setattr(hasher.Hasher, "verify", verify)
        await people.recover(JOHN, made.recovery, ANOTHER, CAFE)
        return found

    monkeypatch.setattr(hasher.Hasher, "verify", change_first)
    with refused("wrong_password"):
        await people.log_in(JOHN, PASSWORD, HOME, "page")
    assert await people.devices(made.identity.id) == ()


# --- codes ----------------------------------------------------------------------------------------


async def test_a_recovery_code_counts_once(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    again = await people.recover(name("JOHN"), made.recovery.upper(), ANOTHER, CAFE, "page")
    assert again.identity == made.identity
    assert again.recovery != made.recovery
    with refused("wrong_password") as caught:
        await people.recover(JOHN, made.recovery, PASSWORD, HOME)
    assert str(caught.value) == (
        "there is no account john with this code: look it up and try again"
    )
    with refused("wrong_password"):
        await people.log_in(JOHN, PASSWORD, HOME)
    with refused("bad_token"):
        await people.authenticate(made.token, HOME)
    assert (await people.authenticate(again.token, HOME)).device == again.device == 2
    await people.log_in(JOHN, ANOTHER, HOME)
    await people.recover(JOHN, again.recovery, PASSWORD, HOME)


async def test_a_code_counts_once_for_two_at_once(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)
    recovered, refusals = [], []

    async def recover(password: str) -> None:
        try:
            recovered.append(await people.recover(JOHN, made.recovery, password, HOME))
        except hasher.Refused as refusal:
            refusals.append(refusal.code)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(recover, f"{ANOTHER} {number}")
    assert len(recovered) == 1
    assert refusals == ["wrong_password"] * 4


async def test_a_bad_password_takes_no_code(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)
    with refused("bad_password"):
        await people.recover(JOHN, made.recovery, "short", HOME)
    await people.recover(JOHN, made.recovery, ANOTHER, HOME)


@pytest.mark.parametrize("wrong", ["", "0", "0000-" * 7 + "0000", WRONG, "\ud800"])
async def test_a_wrong_code_is_not_hashed(people, monkeypatch, wrong: str) -> None:
    await people.register(JOHN, PASSWORD, HOME)
    await people.administration.add(JACK)
    monkeypatch.setattr(PasswordHasher, "hash", None)
    for who in (JOHN, JACK, name("nobody2")):
        for _ in range(30):
            with refused("wrong_password"):
                await people.recover(who, wrong, ANOTHER, HOME)


# --- devices --------------------------------------------------------------------------------------


async def test_a_device_stays_logged_in_until_it_is_revoked(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    other = await people.log_in(JOHN, PASSWORD, HOME, "terminal")
    assert (made.device, other.device) == (1, 2)
    account = made.identity.id
    assert [(d.number, d.label) for d in await people.devices(account)] == [
        (1, "page"),
        (2, "terminal"),
    ]
    for _ in range(2):
        assert await people.authenticate(made.token, CAFE) == LoggedIn(made.identity, 1)
    await people.revoke(account, 1)
    with refused("bad_token") as caught:
        await people.authenticate(made.token, CAFE)
    assert str(caught.value) == "this device is logged in no more: log in with the password"
    assert (await people.authenticate(other.token, CAFE)).device == 2
    for wrong in (1, 3, -1):
        with refused("no_such_device"):
            await people.revoke(account, wrong)
    # A number is not given again, since a connection of the earlier device may be left.
    await people.revoke(account, 2)
    assert (await people.log_in(JOHN, PASSWORD, HOME, "page")).device == 3


async def test_nobody_revokes_the_devices_of_others(people) -> None:
    await people.register(JOHN, PASSWORD, HOME, "page")
    jack = await people.register(JACK, PASSWORD, HOME)
    with refused("no_such_device"):
        await people.revoke(jack.identity.id, 1)


@pytest.mark.parametrize("token", ["", "x", "\ud800", "x" * 100_000, "' OR 1=1 --"])
async def test_an_invalid_token_is_refused(people, token: str) -> None:
    await people.register(JOHN, PASSWORD, HOME, "page")
    for _ in range(50):  # and is not counted
        with refused("bad_token"):
            await people.authenticate(token, HOME)


async def test_devices_are_bounded_and_the_one_unused_for_longest_goes(people, monkeypatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    for _ in range(rows.DEVICES + 5):
        now += 2 * rows.SEEN_SECONDS
        await people.authenticate(made.token, HOME)
        await people.log_in(JOHN, PASSWORD, HOME, "page")
    numbers = [device.number for device in await people.devices(made.identity.id)]
    assert numbers == [1, *range(8, rows.DEVICES + 7)]


async def test_networks_are_bounded_and_the_one_unused_for_longest_goes(
    people, monkeypatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    for number in range(rows.NETWORKS + 5):
        now += 2 * rows.SEEN_SECONDS
        await people.authenticate(made.token, f"198.51.100.{number}")
        await people.authenticate(made.token, HOME)
    assert len((await people.export(made.identity.id)).networks) == rows.NETWORKS
    await fails(people, ACCOUNT_FAILURES)
    await people.log_in(JOHN, PASSWORD, HOME)
    await fails(people, ACCOUNT_FAILURES)
    with refused("not_from_here"):
        await people.log_in(JOHN, PASSWORD, "198.51.100.1")
    await people.log_in(JOHN, PASSWORD, "198.51.100.68")


# --- to change, to delete, to export --------------------------------------------------------------


async def test_to_change_a_password_logs_all_devices_out(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME, "page")
    changed = await people.change_password(made.identity.id, PASSWORD, ANOTHER, HOME, "page")
    assert changed.identity == made.identity
    with refused("bad_token"):
        await people.authenticate(made.token, HOME)
    assert (await people.authenticate(changed.token, HOME)).device == changed.device
    with refused("wrong_password"):
        await people.log_in(JOHN, PASSWORD, HOME)
    await people.log_in(JOHN, ANOTHER, HOME)
    # The code for a lost password is as before.
    assert changed.recovery == ""
    await people.recover(JOHN, made.recovery, PASSWORD, HOME)


async def test_to_change_a_password_takes_the_old_one_and_a_good_one(people) -> None:
    made = await people.register(JOHN, PASSWORD, HOME)
    account = made.identity.id
    with refused("bad_password"):
        await people.change_password(account, PASSWORD, "john12345678", HOME)
    for _ in range(5):
        with refused("wrong_password"):
            await people.change_password(account, WRONG, ANOTHER, HOME)
    with refused("too_many_tries"):  # a stolen connection guesses no more than others
        await people.change_password(account, PASSWORD, ANOTHER, HOME)
    await people.log_in(JOHN, PASSWORD, CAFE)


async def test_a_deleted_account_is_gone_and_its_name_is_held(kept, mock_clock) -> None:
    ivan = name("Ivan")
    async with kept.open() as people:
        made = await people.register(ivan, PASSWORD, HOME, "page")
        with refused("wrong_password"):
            await people.delete(made.identity.id, WRONG, HOME)
        await people.delete(made.identity.id, PASSWORD, HOME)
        await check_deleted(people, made)
    async with kept.open() as people:
        await check_deleted(people, made)


async def check_deleted(people: People, made: LoggedIn) -> None:
    account = made.identity.id
    with refused("wrong_password"):
        await people.log_in(name("Ivan"), PASSWORD, HOME)
    with refused("bad_token"):
        await people.authenticate(made.token, HOME)
    with refused("wrong_password"):
        await people.recover(name("Ivan"), made.recovery, ANOTHER, HOME)
    for held in ("Ivan", "ivan", "lvan", "Ivаn"):
        assert people.holder(name(held).keys) == ""
        with refused("nick_reserved") as caught:
            await people.register(name(held), PASSWORD, HOME)
        assert str(caught.value) == (
            f"the nick {held} belonged to an account that was deleted: choose another"
        )
        with refused("nick_reserved"):
            await people.administration.add(name(held))
    assert people.holder(JOHN.keys) is None
    assert await people.devices(account) == ()
    for call in (
        people.export(account),
        people.delete(account, PASSWORD, HOME),
        people.change_password(account, PASSWORD, ANOTHER, HOME),
    ):
        with refused("no_such_account"):
            await call


async def test_the_export_has_all_but_secrets(people, monkeypatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    made = await people.register(name("John"), PASSWORD, HOME, "page")
    with refused("wrong_password"):
        await people.log_in(JOHN, WRONG, CAFE)
    kept = await people.export(made.identity.id)
    assert kept == await people.administration.export(JOHN)
    assert (kept.id, kept.nick, kept.made, kept.seen) == (
        made.identity.id,
        "John",
        1_800_000_000.0,
        1_800_000_000.0,
    )
    assert (kept.has_password, kept.has_recovery_code, kept.failures) == (True, True, 1)
    assert [(device.number, device.label) for device in kept.devices] == [(1, "page")]
    assert kept.networks == (1_800_000_000.0,)


async def test_a_try_that_has_to_wait_costs_nothing(tmp_path, monkeypatch) -> None:
    async with people_in(tmp_path / "chat.people.db") as people:
        await people.register(JOHN, PASSWORD, HOME)
        for _ in range(5):
            with refused("wrong_password"):
                await people.log_in(JOHN, WRONG, HOME)

        async def asked(*_: object) -> None:
            pytest.fail("the file is asked")

        monkeypatch.setattr(people._store, "run", asked)
        with refused("too_many_tries"):
            await people.log_in(JOHN, PASSWORD, HOME)
