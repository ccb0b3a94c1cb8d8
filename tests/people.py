"""Accounts in a file of a test, with hashes that take no time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from trio_chat.errors import Code, Refused
from trio_chat.people import hasher
from trio_chat.people.accounts import People, open_people
from trio_chat.protocol.names import Name, parse_nick

PASSWORD = "correct horse battery"
ANOTHER = "staple paper clip box"
WRONG = "something else entirely"
HOME, CAFE = "192.0.2.1", "198.51.100.7"


def name(text: str) -> Name:
    return parse_nick(text, 32)


JOHN, JACK = name("john"), name("jack")


class NoMail:
    """Lets no message wait."""

    def waits_for(self, account):
        return False

    async def leave(self, *_):
        raise Refused("nobody waits", code=Code.UNREACHABLE)


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[Refused]]:
    with pytest.raises(Refused) as caught:
        yield caught
    assert caught.value.code == code


@asynccontextmanager
async def people_in(path: Path, **options: bool) -> AsyncIterator[People]:
    """Accounts in a file. Their hashes are cheap, so a test with a hundred of them is quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hasher, "MEMORY_KIB", 8)
        patch.setattr(hasher, "PASSES", 1)
        async with open_people(path, **options) as people:
            yield people
