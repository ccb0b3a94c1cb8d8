"""A command of one's own: `/roll 20` throws a die with twenty sides, for everyone to see."""

from __future__ import annotations

import secrets
import sys

import trio

import trio_chat

LEAST_SIDES, MOST_SIDES = 2, 1_000


def roll(caller: trio_chat.Caller, arguments: str) -> list[trio_chat.Act]:
    """Throw a die; it has six sides unless the arguments say otherwise."""
    sides = arguments or "6"
    if not (sides.isdecimal() and LEAST_SIDES <= int(sides) <= MOST_SIDES):
        limits = f"{LEAST_SIDES} to {MOST_SIDES}"
        raise trio_chat.Refused(f"a die has {limits} sides, usage: /roll [SIDES]")
    if not caller.rooms:
        raise trio_chat.Refused("join a room first: nobody would see the die")
    # Carried out as if the caller had typed /me: it needs the same rights and gets the same checks.
    return [trio_chat.Act(f"rolls {secrets.randbelow(int(sides)) + 1} of {int(sides)}")]


ROLL = trio_chat.custom("roll", "/roll [SIDES]", "throw a die", roll)


async def main(port: int) -> None:
    """Serve, with the command, until interrupted."""
    async with trio_chat.open_chat(commands=[ROLL]) as chat:
        for host, bound in await chat.listen(port=port):
            print(f"listening on {host}:{bound}")
        await trio.sleep_forever()  # until cancelled


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8888)
    except* KeyboardInterrupt:  # a nursery passes it on in a group
        pass
