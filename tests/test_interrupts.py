"""An interrupt (Ctrl-C) ends the task that embeds the chat, and none of the chat's own tasks."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio

import trio_chat
from trio_chat.testing import LineClient

if TYPE_CHECKING:
    from pathlib import Path


def test_an_interrupt_never_lands_within_a_turn() -> None:
    # It would end the hub there, and a task that waits would raise ChatClosed beside the interrupt.
    went_on = []

    def interrupted(draft: trio_chat.Said) -> str:
        signal.raise_signal(signal.SIGINT)
        went_on.append(draft.text)
        return draft.text

    async def main() -> None:
        async with trio_chat.open_chat(before_say=interrupted) as chat, chat.connect() as bot:
            await bot.join("#general")
            await bot.say("hello")
            await trio.sleep_forever()  # until cancelled

    with pytest.raises(BaseExceptionGroup) as caught:
        trio.run(main)
    assert caught.value.split(KeyboardInterrupt)[1] is None
    assert went_on == ["hello"]


async def test_no_task_of_the_chat_takes_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Trio's Event.wait is not protected: an interrupt within it leaves its task in the event. The
    # event then wakes a task that waits for something else, and Trio ends in an internal error.
    protected: dict[str, set[bool]] = {}

    def watch(owner: object, name: str) -> None:
        whole = getattr(owner, name)

        def watched(*arguments: object, **options: object) -> object:
            task = trio.lowlevel.current_task()
            protected.setdefault(task.name, set()).add(trio.lowlevel.currently_ki_protected())
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    watch(trio.Event, "wait")
    watch(trio, "sleep")
    watch(trio, "sleep_until")
    watch(trio.Lock, "acquire")
    watch(trio.MemoryReceiveChannel, "receive")
    watch(trio.to_thread, "run_sync")
    watch(trio.lowlevel, "checkpoint")
    watch(trio.lowlevel, "wait_readable")
    watch(trio.lowlevel, "wait_task_rescheduled")
    mine = trio.lowlevel.current_task().name
    settings = trio_chat.Settings(store=f"sqlite:{tmp_path / 'chat.db'}")
    async with trio_chat.open_chat(settings) as chat:
        [(host, port)] = await chat.listen(port=0)
        async with await trio.open_tcp_stream(host, port) as stream:
            client = LineClient(stream)
            await client.send("/join #tea", "/msg hello", "/search hello", "/quit")
            await client.rest()
    del protected[mine]
    assert {name.rpartition(".")[2] for name in protected} >= {"run", "_run_hub", "_run"}
    assert {name for name, seen in protected.items() if False in seen} == set()
