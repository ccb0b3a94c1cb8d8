"""The smallest server: a chat on 127.0.0.1, on port 8888 or the one given."""

from __future__ import annotations

import sys

import trio

import trio_chat


async def main(port: int) -> None:
    """Serve until interrupted."""
    async with trio_chat.open_chat() as chat:
        for host, bound in await chat.listen(port=port):
            print(f"listening on {host}:{bound}")
        await trio.sleep_forever()  # until cancelled


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8888)
    except* KeyboardInterrupt:  # a nursery passes it on in a group
        pass
