"""A client of a chat of either kind, in process or remote, and what bots' tests look at."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from trio_chat import Chat, ChatClient, MembersListed, Welcomed
from trio_chat.remote import open_client

KINDS = ["in-process", "remote"]


def nicks(listed: MembersListed | Welcomed) -> list[str]:
    """The nicks of those on a list."""
    return [member.nick for member in listed.members]


async def open_bot(
    kind: str, chat: Chat, nick: str | None = None
) -> AbstractAsyncContextManager[ChatClient]:
    """A client of this kind; a remote one connects by TCP."""
    if kind == "in-process":
        return chat.connect(nick)
    [(host, port)] = await chat.listen(port=0)
    return open_client(f"ws://{host}:{port}/ws", nick=nick)
