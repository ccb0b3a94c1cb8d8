"""The limits on wrong passwords and new accounts, on Trio's virtual clock."""

from __future__ import annotations

import pytest
from people import CAFE, HOME, JACK, JOHN, name, refused

from trio_chat.people import throttle
from trio_chat.people.throttle import (
    ACCOUNT_FAILURES,
    HOUR,
    NETWORK_FAILURES,
    PAIR_SECONDS,
    REGISTRATIONS,
    Throttle,
)


@pytest.fixture
def limits(mock_clock) -> Throttle:
    return Throttle()


def fail(limits: Throttle, who=JOHN, network=HOME, *, known=False) -> None:
    limits.try_password(who, network, known=known)


def wait(limits: Throttle, who=JOHN, network=HOME, *, known=False) -> str:
    """The time that the next try is told to wait."""
    with refused("too_many_tries") as caught:
        limits.try_password(who, network, known=known)
    return str(caught.value).partition("try again in ")[2]


async def test_after_five_failures_the_wait_doubles_up_to_a_quarter_of_an_hour(
    limits, mock_clock
) -> None:
    for _ in range(5):
        fail(limits, known=True)
    waits = []
    for _ in range(13):
        waits.append(wait(limits, known=True))
        seconds = float(waits[-1].split()[0]) * (60 if "minute" in waits[-1] else 1)
        mock_clock.jump(min(seconds, 900))
        fail(limits, known=True)
    assert waits == [
        *("1 second", "2 seconds", "4 seconds", "8 seconds", "16 seconds", "32 seconds"),
        *("64 seconds", "3 minutes", "5 minutes", "9 minutes"),
        *("15 minutes", "15 minutes", "15 minutes"),
    ]


async def test_the_wait_is_exact(limits, mock_clock) -> None:
    for _ in range(6):
        mock_clock.jump(10)
        fail(limits)
    mock_clock.jump(1.999)
    assert wait(limits) == "1 second"
    mock_clock.jump(0.001)
    fail(limits)


async def test_a_try_that_is_refused_makes_the_wait_no_longer(limits, mock_clock) -> None:
    for _ in range(5):
        fail(limits)
    for _ in range(1_000):
        assert wait(limits) == "1 second"
    mock_clock.jump(1)
    fail(limits)
    assert wait(limits) == "2 seconds"


async def test_tries_at_once_are_counted_before_they_fail(limits) -> None:
    """A flood has not more tries than the same tries one after the other."""
    for _ in range(5):
        fail(limits)
    with refused("too_many_tries"):
        fail(limits)


async def test_a_person_who_fails_at_one_account_or_network_may_try_at_another(limits) -> None:
    for _ in range(5):
        fail(limits)
    wait(limits)
    fail(limits, JACK)
    fail(limits, JOHN, CAFE)


async def test_a_name_is_the_same_in_any_case(limits) -> None:
    for _ in range(5):
        fail(limits, name("JOHN"))
    wait(limits)


async def test_the_right_password_ends_the_wait(limits, mock_clock) -> None:
    for _ in range(7):
        mock_clock.jump(10)
        fail(limits)
    limits.right(JOHN, HOME, known=False)
    for _ in range(5):
        fail(limits)
    wait(limits)


async def test_failures_are_forgotten_after_a_quiet_day(limits, mock_clock) -> None:
    for _ in range(20):
        mock_clock.jump(1_000)
        fail(limits, known=True)
    mock_clock.jump(PAIR_SECONDS)
    fail(limits, known=True)
    assert wait(limits, known=True) == "15 minutes"
    mock_clock.jump(PAIR_SECONDS + 1)
    for _ in range(5):
        fail(limits, known=True)
    assert wait(limits, known=True) == "1 second"


async def test_a_network_may_fail_twenty_times_in_any_hour(limits, mock_clock) -> None:
    assert NETWORK_FAILURES == 20
    for number in range(20):
        fail(limits, name(f"spray{number}"))
        mock_clock.jump(60)
    with refused("too_many_tries") as caught:
        fail(limits, name("spray20"))
    assert str(caught.value) == (
        "too many wrong passwords from your network: try again in 40 minutes"
    )
    fail(limits, name("spray20"), CAFE)
    # Not all at once after an hour, but each as the one an hour before it is forgotten.
    mock_clock.jump(40 * 60)
    fail(limits, name("spray20"))
    with refused("too_many_tries"):
        fail(limits, name("spray21"))
    mock_clock.jump(60)
    fail(limits, name("spray21"))


async def test_a_known_device_is_not_locked_out_by_others_in_the_network(limits) -> None:
    for number in range(20):
        fail(limits, name(f"spray{number}"))
    with refused("too_many_tries"):
        fail(limits)
    for _ in range(5):
        fail(limits, known=True)
    wait(limits, known=True)


async def test_a_right_password_is_no_failure_of_its_network(limits) -> None:
    for number in range(100):
        fail(limits, name(f"person{number}"))
        limits.right(name(f"person{number}"), HOME, known=False)
    for number in range(20):
        fail(limits, name(f"spray{number}"))
    with refused("too_many_tries"):
        fail(limits)
    # Nor does that of somebody who is known make room for others.
    limits.right(JACK, HOME, known=True)
    with refused("too_many_tries"):
        fail(limits)


async def test_after_a_hundred_failures_only_known_networks_may_try(limits) -> None:
    assert ACCOUNT_FAILURES == 100
    limits.check_account(JOHN, 100, known=False)
    limits.check_account(JOHN, 101, known=True)
    with refused("not_from_here") as caught:
        limits.check_account(JOHN, 101, known=False)
    assert str(caught.value) == (
        "too many wrong passwords for john: log in where you did before, "
        "or give your code: /recover john"
    )


async def test_failures_of_names_without_an_account_are_counted_too(limits) -> None:
    assert [limits.fail_unknown(JOHN) for _ in range(3)] == [1, 2, 3]
    assert limits.fail_unknown(name("JOHN")) == 4
    assert limits.fail_unknown(JACK) == 1


async def test_a_network_may_register_three_times_in_any_hour(limits, mock_clock) -> None:
    assert REGISTRATIONS == 3
    for _ in range(3):
        limits.register(HOME)
    with refused("too_many_tries") as caught:
        limits.register(HOME)
    assert str(caught.value) == "too many new accounts from your network: try again in 60 minutes"
    limits.register(CAFE)
    limits.take_back_registration(HOME)
    limits.register(HOME)
    mock_clock.jump(HOUR - 1)
    with refused("too_many_tries"):
        limits.register(HOME)
    mock_clock.jump(1)
    limits.register(HOME)


async def test_memory_is_bounded_and_the_oldest_goes_first(limits, monkeypatch) -> None:
    monkeypatch.setattr(throttle, "REMEMBERED", 100)
    fail(limits)
    fail(limits, JACK)
    for number in range(1_000):
        if number in (60, 120):
            fail(limits, JACK)
        if number == 110:
            assert (JOHN.casefolded, HOME) not in limits._pairs
            assert (JACK.casefolded, HOME) in limits._pairs
        fail(limits, name(f"spray{number}"), f"192.0.2.{number}")
        limits.register(f"192.0.2.{number}")
        limits.fail_unknown(name(f"spray{number}"))
    for kept in (
        limits._pairs,
        limits._networks._times,
        limits._registrations._times,
        limits._unknown,
    ):
        assert len(kept) == 100
    assert (name("spray999").casefolded, "192.0.2.999") in limits._pairs


async def test_nothing_is_left_of_what_was_taken_back(limits) -> None:
    fail(limits)
    limits.right(JOHN, HOME, known=False)
    limits.register(HOME)
    limits.take_back_registration(HOME)
    limits.take_back_registration(HOME)
    assert not limits._pairs
    assert not limits._networks._times
    assert not limits._registrations._times
