"""The data that a successor gets must agree with the daemon's description of it."""

from __future__ import annotations

import os

import pytest
import trio
from attrs import evolve

from trio_chat import Settings
from trio_chat.daemon.upgrade import protocol, successor
from trio_chat.daemon.upgrade.protocol import DaemonHandover, Fixed
from trio_chat.daemon.upgrade.wire import Wire, pair
from trio_chat.errors import HandoverError
from trio_chat.snapshot.codec import write_state
from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot

PATIENCE = 20  # seconds until a test gives up

FIXED = Fixed("127.0.0.1", 8888, "", "memory", "")
HANDOVER = DaemonHandover(
    process=1,
    instance="8888",
    listens_on_given=False,
    still_since=2.0,
    has_stderr=True,
    control=None,
    has_lock=True,
    listeners=0,
)
# One of these two has no socket.
CHAT = ChatSnapshot(
    "memory",
    clients=[
        ClientSnapshot("a", "::1", "[::1]:1"),
        ClientSnapshot("b", "::1", "[::1]:2", lagging=True, token="t", away=5.0),
    ],
)


@pytest.mark.parametrize(("listeners", "sent"), [(1, 2), (1, 3), (0, 2), (0, 4)])
async def test_descriptors_have_to_be_those_that_it_speaks_of(listeners: int, sent: int) -> None:
    ours, theirs = pair()
    daemon, handover = Wire(theirs), evolve(HANDOVER, listeners=listeners)
    with os.fdopen(os.memfd_create("x")) as file:
        await daemon.send(protocol.HANDOVER, protocol.written(handover))
        await daemon.send(protocol.STATE, write_state(CHAT), [file.fileno()] * sent)
        with trio.fail_after(PATIENCE), pytest.raises(HandoverError, match="not those desc"):
            await successor.receive(ours, FIXED, Settings(store="memory"))
    ours.close()
    daemon.close()
