"""The key of networks' tags: nobody who sees a tag finds the address by trying all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import document_client
from loopback import until
from snapshots import successor
from test_redis_log import chats

from trio_chat import Chat, Settings, open_chat
from trio_chat.people.marks import Marks
from trio_chat.roomlog.redis.keys import KEY

ADDRESS = "192.0.2.7"


def tag(chat: Chat) -> str:
    return chat._hub.state.tags.of_address(ADDRESS)[0]


async def check_secret(chat: Chat) -> None:
    async with document_client(chat) as john:
        name = john.hello["log"]
    assert all(tag(chat) != Marks(key.encode()).of_guests(ADDRESS) for key in (name, ""))


async def test_in_memory_the_key_is_no_name_of_the_log_and_goes_to_the_successor() -> None:
    async with open_chat() as chat:
        await check_secret(chat)
        known = tag(chat)
        assert chat._log.secret not in repr(chat._log.histories())
        async with successor(chat) as new:
            assert tag(new) == known
    async with open_chat() as another:
        assert tag(another) != known


@pytest.mark.parametrize("accounts", [True, False])
async def test_of_a_file_the_key_is_beside_it_whether_there_are_accounts_or_not(
    tmp_path: Path, accounts
) -> None:
    settings = Settings(store=f"sqlite:{tmp_path / 'a.db'}", accounts=accounts)
    async with open_chat(settings) as chat:
        await check_secret(chat)
        known = tag(chat)
    async with open_chat(Settings(store=settings.store)) as again:
        assert tag(again) == known
        async with successor(again, accounts=False) as new:
            assert tag(new) == known


async def test_on_redis_all_nodes_share_the_key_and_keep_it(redis) -> None:
    async with chats(redis, "a", "b") as (one, two):
        await check_secret(one)
        known = tag(one)
        assert tag(two) == known
        async with successor(one) as new:
            assert tag(new) == known


async def test_an_engine_that_was_emptied_gets_the_key_back(forgetful) -> None:
    async with chats(forgetful, "a") as [chat]:
        known = tag(chat)
        forgetful.ask("FLUSHALL")
        forgetful.kill()
        forgetful.start()
        await until(lambda: forgetful.ask("EXISTS", f"{KEY}:secret") == ":1")
        async with chats(forgetful, "b") as [other]:
            assert tag(other) == known
