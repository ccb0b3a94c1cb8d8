"""Secrets are in no repr, no log and no traceback."""

from __future__ import annotations

import logging
import sqlite3
import traceback
from contextlib import closing

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import HashingError
from people import ANOTHER, CAFE, HOME, JACK, JOHN, WRONG, people_in

from trio_chat.people import rows
from trio_chat.people.hasher import Hasher, Verified

# Words that nothing else contains.
SECRET = "Correct Horse Grübel Xyzzy"
ILL_FORMED = "Correct Horse Grübel \x1b Xyzzy"
MARKS = ("Horse", "Xyzzy", "Grübel", "Gr\\xfcbel", "$argon2id$")


@pytest.fixture
async def people(tmp_path):
    async with people_in(tmp_path / "8888.people.db") as people:
        yield people


def check(text: str, *secrets: str) -> None:
    for secret in (*MARKS, *secrets):
        assert secret not in text


async def test_no_repr_has_a_secret(people) -> None:
    made = await people.register(JOHN, SECRET, HOME, "page")
    account = await people._store.run(lambda one: rows.by_name(one, "john"))
    hashed = await Hasher().hash(SECRET)
    shown = [
        repr(made),
        repr(account),
        repr(await people.export(made.identity.id)),
        repr(await people.devices(made.identity.id)),
        repr(await people.administration.all()),
        repr(Verified(right=True, rehashed=hashed)),
        repr(people),
        repr(vars(people)),
    ]
    # All of these would be seen.
    assert account.password.startswith("$argon2id$")
    assert made.token
    assert made.recovery
    for text in shown:
        check(text, made.token, made.recovery, repr(account.recovery))


async def test_no_traceback_and_no_log_has_a_secret(people, tmp_path, caplog, monkeypatch) -> None:
    caplog.set_level(logging.DEBUG)
    made = await people.register(JOHN, SECRET, HOME, "page")
    code = await people.administration.reset(JOHN)
    account = made.identity.id
    failing = [
        lambda: people.register(JACK, ILL_FORMED, HOME),
        lambda: people.register(JACK, "Xyzzy", HOME),
        lambda: people.register(JOHN, SECRET, HOME),
        lambda: people.log_in(JOHN, SECRET + "!", HOME),
        lambda: people.log_in(JOHN, ILL_FORMED, HOME),
        lambda: people.log_in(JACK, SECRET, CAFE),
        lambda: people.recover(JACK, code, SECRET, HOME),
        lambda: people.recover(JOHN, code, ILL_FORMED, HOME),
        lambda: people.change_password(account, WRONG, SECRET, HOME),
        lambda: people.change_password(account, SECRET, ILL_FORMED, HOME),
        lambda: people.delete(account, SECRET + "!", HOME),
        lambda: people.authenticate(made.token[:-1], HOME),
    ]
    for call in failing:
        await fails(call, made.token, made.token[:-1], made.recovery, code)

    # The same while nothing works.
    def fail(*_) -> str:
        raise HashingError(SECRET)

    working = [
        lambda: people.log_in(JOHN, SECRET, CAFE),
        lambda: people.authenticate(made.token, CAFE),
        lambda: people.recover(JOHN, code, SECRET, CAFE),
        lambda: people.recover(JOHN, made.recovery, SECRET, CAFE),
        lambda: people.change_password(account, SECRET, ANOTHER, CAFE),
        lambda: people.register(JACK, SECRET, CAFE),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(PasswordHasher, "hash", fail)
        patch.setattr(PasswordHasher, "verify", fail)
        for call in (*working[:1], *working[2:]):
            await fails(call, made.token, made.recovery, code)
    with closing(sqlite3.connect(tmp_path / "8888.people.db")) as shell:
        shell.execute("DROP TABLE networks")
        shell.execute("DROP TABLE devices")
    for call in working:
        await fails(call, made.token, made.recovery, code)
    check(caplog.text, made.token, made.recovery, code)
    for record in caplog.records:
        check(repr(vars(record)), made.token, made.recovery, code)


async def fails(call, *secrets: str) -> None:
    """Call, and check what would be logged of the failure, with all of its causes."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        await call()
    error: BaseException | None = caught.value
    check("".join(traceback.format_exception(error)), *secrets)
    while error is not None:
        check(repr(error) + repr(error.args) + repr(vars(error)), *secrets)
        error = error.__cause__ or error.__context__
