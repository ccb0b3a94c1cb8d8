"""A chat inside another Trio program: its worker takes jobs from people and says when one is done.

`/job WORD` asks for a job. A command must not wait, so it only puts the job into the program's own
queue. The worker does the job, tells the caller, and says so in #jobs.
"""

from __future__ import annotations

import sys

import trio

import trio_chat

ROOM = "#jobs"
SECONDS_A_JOB = 0.1
QUEUE = 10


def job_command(queue: trio.MemorySendChannel[tuple[str, str]]) -> trio_chat.Row:
    """Make the command that puts jobs into this queue."""

    def ask(caller: trio_chat.Caller, word: str) -> list[trio_chat.Notice]:
        if not word:
            raise trio_chat.Refused("word is required, usage: /job WORD")
        try:
            queue.send_nowait((caller.id, word))
        except trio.WouldBlock:
            raise trio_chat.Refused("there are too many jobs waiting; try again later") from None
        return [trio_chat.Notice(f"{word} will be done")]

    return trio_chat.custom("job", "/job WORD", "have the worker spell a word backwards", ask)


async def work(
    chat: trio_chat.Chat,
    worker: trio_chat.InProcessClient,
    jobs: trio.MemoryReceiveChannel[tuple[str, str]],
) -> None:
    """Do one job after the other: the part that is the program's own."""
    async for asker, word in jobs:
        await trio.sleep(SECONDS_A_JOB)  # stands for the work
        await chat.tell(asker, f"your result: {word[::-1]}")
        await worker.say(f"done: {word}", ROOM)


async def main(port: int) -> None:
    """Run the chat and the worker until interrupted."""
    send, receive = trio.open_memory_channel[tuple[str, str]](QUEUE)
    async with (
        trio_chat.open_chat(commands=[job_command(send)]) as chat,
        chat.connect(nick="worker") as worker,
        trio.open_nursery() as nursery,
    ):
        await worker.join(ROOM)
        nursery.start_soon(work, chat, worker, receive)
        for host, bound in await chat.listen(port=port):
            print(f"listening on {host}:{bound}")


if __name__ == "__main__":
    try:
        trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8888)
    except* KeyboardInterrupt:  # a nursery passes it on in a group
        pass
