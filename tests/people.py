"""Accounts in a file of a test, with hashes that take no time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from engine import Engine

from trio_chat.config.settings import Settings
from trio_chat.errors import Code, Refused
from trio_chat.people import hasher
from trio_chat.people.accounts import People
from trio_chat.people.ignored import Ignored
from trio_chat.people.keeping import Keeping
from trio_chat.people.opening import open_people
from trio_chat.people.read_markers import ReadMarkers
from trio_chat.people.redis.opening import open_redis_people
from trio_chat.protocol.names import Name, parse_nick
from trio_chat.roomlog.sqlite.file import beside
from trio_chat.testing import LineClient

PASSWORD = "correct horse battery"
ANOTHER = "staple paper clip box"
WRONG = "something else entirely"
# A script that gives all keys of Redis with their values, a line each. Other bytes are "?".
ALL_KEYS = """
local all = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, ''
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+')
  elseif kind == 'string' then value = redis.call('GET', key) end
  all[#all + 1] = key..' '..cjson.encode(value)
end
return (table.concat(all, '\\n'):gsub('[\\128-\\255]', '?'))
"""
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


class FakeIgnored(Ignored):
    """Lists that no store keeps."""

    def __init__(self) -> None:
        super().__init__(None, ())

    async def change(self, account, add, remove) -> None:
        self.put(account, add, remove)


class NoReadMarkers(ReadMarkers):
    """Keeps no read marker beyond the chat."""

    def __init__(self) -> None:
        super().__init__(cast("Keeping", None))

    async def write(self) -> None:
        """Write nothing."""


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


@contextmanager
def cheap_hashes() -> Iterator[None]:
    """Hashes take no time, so a test with a hundred of them is quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hasher, "MEMORY_KIB", 8)
        patch.setattr(hasher, "PASSES", 1)
        yield


@asynccontextmanager
async def people_in(path: Path, **options: bool) -> AsyncIterator[People]:
    """Accounts in a file, with cheap hashes."""
    with cheap_hashes():
        async with open_people(path, **options) as people:
            yield people


class KeptInFile:
    """Accounts in a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "8888.people.db"

    def open(self) -> AbstractAsyncContextManager[People]:
        return people_in(self.path)

    def content(self) -> bytes:
        """All that is on the disk."""
        files = (self.path, *beside(self.path))
        return b"".join(file.read_bytes() for file in files if file.exists())


class KeptOnRedis:
    """Accounts on Redis."""

    def __init__(self, redis: Engine) -> None:
        self.redis = redis
        self.settings = Settings(store=f"redis://127.0.0.1:{redis.port}/0")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[People]:
        with cheap_hashes():
            async with open_redis_people(self.settings) as people:
                yield people

    def content(self) -> bytes:
        """All keys with their values."""
        return self.redis.ask("EVAL", ALL_KEYS, "0").encode()
