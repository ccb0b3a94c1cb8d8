"""The calls of a remote client reach all commands of the protocol, with all of their fields."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Iterator

import pytest

from trio_chat.config.settings import Settings
from trio_chat.dialects import documents
from trio_chat.dialects.account_forms import ACCOUNT_FORMS
from trio_chat.dialects.forms import FORMS, Context
from trio_chat.dialects.moderation_forms import MODERATION_FORMS
from trio_chat.protocol.commands import Refuse
from trio_chat.protocol.table import make_table
from trio_chat.remote import RemoteClient


def of_everyone(client: RemoteClient) -> Iterator[Awaitable[object]]:
    """Each call that anybody may make, with all that it may say."""
    yield client.take_nick("jim")
    yield client.join("#go", key="Tea!")
    yield client.leave()
    yield client.say("hi")
    yield client.act("waves", "#a")
    yield client.tell("jim", "hi", client="7")
    yield client.set_topic("tea")
    yield client.topic()
    yield client.history(before=7)
    yield client.search("tea")
    yield client.rooms()
    yield client.members()
    yield client.ignored()
    yield client.ignore("@7")
    yield client.unignore("jim")
    yield client.command("/me waves", "#go")
    yield client.ping()
    yield client.register("secret", "phone")
    yield client.log_in("jim", "secret", "phone")
    yield client.authenticate("token")
    yield client.recover("jim", "code", "secret", "phone")
    yield client.log_out()
    yield client.change_password("old", "new", "phone")
    yield client.renew_recovery("secret")
    yield client.devices()
    yield client.revoke(3)
    yield client.export()
    yield client.delete("secret")


def of_moderators(client: RemoteClient) -> Iterator[Awaitable[object]]:
    """Each call about rules of rooms, with all that it may say."""
    yield client.claim_room()
    yield client.rules()
    yield client.set_room("join", "members")
    yield client.roles()
    yield client.set_role("jim", "voice")
    yield client.invite("jim")
    yield client.kick("jim", reason="enough")
    yield client.mute("jim", seconds=None)
    yield client.ban("net:7f3a09c2", "the server", seconds=60, all_accounts=True)
    yield client.remove("jim", seconds=60, reason="spam")
    yield client.check("jim")
    yield client.check("jim", action="ban")
    yield client.actions(before=7)
    yield client.held()
    yield client.pass_held(7)
    yield client.drop_held(7)
    yield client.set_raid(60, since=30)
    yield client.announce("tea")
    yield client.undo(7)
    yield client.pin(7)
    yield client.pinned()
    yield client.report("jim", "spam")
    yield client.reports()
    yield client.finish_report(7)


# The client resumes by itself. To leave its block is to quit. Its `nick` and `id` say who it is.
NEEDS_NO_CALL = {"resume", "quit", "show_account"}


class Asked(Exception):
    """A call has asked this of the server."""

    def __init__(self, type: str, fields: dict[str, object]) -> None:
        super().__init__(type)
        self.document = {"type": type, **fields}


class FakeRooms:
    """The rooms of a client in #go."""

    names = ("#go",)


class FakeSession:
    """The session of a client in #go, which sends nothing."""

    rooms = FakeRooms()

    async def ask(self, kind: type, type: str, **fields: object) -> object:
        raise Asked(type, fields)

    async def live(self) -> None:
        """There is no connection."""

    async def answer(self, _: object, type: str, fields: dict[str, object], *, echo: bool) -> None:
        raise Asked(type, fields)


async def all_asked() -> list[dict[str, object]]:
    documents = []
    client = RemoteClient(FakeSession())
    for call in (*of_everyone(client), *of_moderators(client)):
        with pytest.raises(Asked) as asked:
            await call
        documents.append(asked.value.document)
    return documents


async def test_the_server_can_read_what_each_call_sends() -> None:
    context = Context(make_table(accounts=True), Settings(), private=True)
    for document in await all_asked():
        record = documents.read(json.dumps(document), context)
        assert not isinstance(record, Refuse), (document, record)


async def test_each_command_and_each_of_its_fields_has_a_call() -> None:
    sent = await all_asked()
    reached = {
        kind: {field for one in sent if one["type"] == kind for field in one} - {"type"}
        for kind in {one["type"] for one in sent}
    }
    forms = FORMS | ACCOUNT_FORMS | MODERATION_FORMS
    assert reached == {kind: set(forms[kind].fields) for kind in forms.keys() - NEEDS_NO_CALL}
