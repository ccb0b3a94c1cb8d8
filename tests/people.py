"""Accounts in a file of a test, with hashes that take no time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from trio_chat.errors import Code, Refused
from trio_chat.people import hasher
from trio_chat.people.accounts import People, open_people
from trio_chat.protocol.names import Name, parse_nick
from trio_chat.testing import LineClient

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


async def until_line(client: LineClient, start: str) -> str:
    """Read until a line that begins so; prompts have no ends of their own."""
    read = bytearray()
    with trio.fail_after(30):
        while True:
            read += await client.stream.receive_some()
            for line in read.decode("latin-1").splitlines(keepends=True):
                if line.endswith("\n") and (at := line.find(start)) >= 0:
                    return line[at:-1]


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
