"""A client of another make from npm, in a language of its own, talks to the server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from loopback import PATIENCE, chat_on_tcp, dial
from needs import from_npm, needs

SCRIPT = Path(__file__).parent / "outside" / "talk.mjs"


@pytest.fixture(scope="module")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory where npm has installed the client `ws`."""
    return from_npm(tmp_path_factory.mktemp("npm"))


async def test_a_client_from_npm(npm_folder: Path) -> None:
    async with chat_on_tcp() as (_, port):
        jack = await dial(port, nick="jack", room="#a")
        command = [needs("node"), SCRIPT, npm_folder, str(port)]
        with trio.fail_after(PATIENCE):
            run = partial(trio.run_process, capture_stdout=True, capture_stderr=True, check=False)
            talked = await run(command)
        assert talked.returncode == 0, talked.stderr.decode()
        assert talked.stdout.decode().splitlines() == [
            *("came in", "spoke", "spoke in pieces", "quit", "closed", "was refused"),
        ]
        await jack.expect(
            *("> outside joined the room", "> outside: Hi \U0001f600", f"> outside: {'x' * 2000}"),
            *("> outside: in pieces", "> outside (to you): psst", "> outside has left the room"),
        )
