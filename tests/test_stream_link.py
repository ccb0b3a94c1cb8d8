"""A link over a stream of whatever kind."""

from __future__ import annotations

import trio
import trio.testing

from trio_chat.transports.stream import StreamLink


async def test_nothing_waits_for_a_stream_whose_connection_is_given_up():
    ours, theirs = trio.testing.lockstep_stream_pair()
    link = StreamLink(theirs, "peer")
    async with trio.open_nursery() as nursery:
        assert link.write(b"stuck", None) == 5
        nursery.start_soon(link.drain)
        await trio.testing.wait_all_tasks_blocked()
        link.discard()
        # A shared log answers later. A second `drain` would be an error.
        assert link.write(b"late", None) == 0
        await ours.aclose()
        nursery.cancel_scope.cancel("the connection has ended")
