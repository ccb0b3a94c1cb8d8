"""A hash has its parameters and its cost, and few strangers wait for one."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest
import trio
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import HashingError
from people import PASSWORD, WRONG, refused

from trio_chat.people import hasher
from trio_chat.people.hasher import WAITING, Hasher, Verified

PATIENCE = 30


async def test_a_hash_has_owasps_parameters_and_a_salt() -> None:
    hashes = [await Hasher().hash(PASSWORD) for _ in range(2)]
    assert len(set(hashes)) == 2
    for hashed in hashes:
        assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await Hasher().verify(hashed, PASSWORD) == Verified(right=True)
        assert await Hasher().verify(hashed, WRONG) == Verified(right=False)


async def test_nothing_is_the_password_of_nobody() -> None:
    one = Hasher()
    hashed = await one.hash(PASSWORD)
    for against, password in (("", PASSWORD), ("", ""), (hashed, "")):
        assert await one.verify(against, password) == Verified(right=False)
    assert await one.verify("no hash at all", PASSWORD) == Verified(right=False)


@pytest.mark.parametrize("options", [{"memory_cost": 8}, {"time_cost": 1}, {"parallelism": 2}])
async def test_a_hash_with_other_parameters_is_made_anew(options) -> None:
    old = PasswordHasher(**({"time_cost": 2, "memory_cost": 19_456, "parallelism": 1} | options))
    one = Hasher()
    found = await one.verify(old.hash(PASSWORD), PASSWORD)
    assert found.right
    assert await one.verify(found.rehashed, PASSWORD) == Verified(right=True)
    assert await one.verify(old.hash(PASSWORD), WRONG) == Verified(right=False)


async def test_no_account_takes_as_long_as_a_wrong_password(monkeypatch) -> None:
    """Both take the same work. The time itself depends on the machine's load."""
    one, verified = Hasher(), []
    hashed = await one.hash(PASSWORD)
    verify = PasswordHasher.verify

    def note(self, against, password) -> bool:
        verified.append((extract_parameters(against), len(password)))
        return verify(self, against, password)

    monkeypatch.setattr(PasswordHasher, "verify", note)
    for against in (hashed, ""):
        assert await one.verify(against, WRONG) == Verified(right=False)
    assert verified[0] == verified[1]


async def test_one_hash_at_a_time(monkeypatch) -> None:
    running, most = [], []

    def hash_slowly(self, password) -> str:
        running.append(password)
        most.append(len(running))
        time.sleep(0.002)  # long enough for a second thread to begin
        running.remove(password)
        return ""

    monkeypatch.setattr(PasswordHasher, "hash", hash_slowly)
    one = Hasher()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one.hash, str(number))
    assert most == [1] * 20


async def test_sixteen_strangers_may_wait_for_the_one_who_is_hashed() -> None:
    one = Hasher()
    with ExitStack() as places:
        for _ in range(1 + WAITING):
            places.enter_context(one.place(known=False))
        with refused("busy") as caught, one.place(known=False):
            pass
        assert str(caught.value) == ("the server checks many passwords now: try again in a moment")
        # People who were here before get in, and take no place of a stranger.
        for _ in range(100):
            places.enter_context(one.place(known=True))
    for _ in range(2):
        with one.place(known=False):
            pass


async def test_a_place_is_free_again_after_a_failure() -> None:
    one = Hasher()
    for _ in range(100):
        with pytest.raises(ValueError, match="x"), one.place(known=False):
            raise ValueError("x")


async def test_a_client_that_leaves_waits_for_no_hash(monkeypatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hash_until(self, password) -> str:
        begun.set()
        go_on.wait(PATIENCE)
        return password

    monkeypatch.setattr(PasswordHasher, "hash", hash_until)
    one = Hasher()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.hash, "gone")
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
        # It goes on by itself, and the next one waits for its end.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.hash, "next")
            await trio.testing.wait_all_tasks_blocked()
            assert one._limiter.borrowed_tokens == 1
            go_on.set()


async def test_without_memory_there_is_no_hash(monkeypatch) -> None:
    def fail(*_) -> str:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr(PasswordHasher, "hash", fail)
    with refused("busy"):
        await Hasher().hash(PASSWORD)


def test_the_parameters_are_those_of_the_design() -> None:
    assert (hasher.MEMORY_KIB, hasher.PASSES, hasher.LANES, WAITING) == (19_456, 2, 1, 16)
