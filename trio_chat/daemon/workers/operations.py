"""The operator's commands for all workers together; each worker is asked for its part."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar, cast

import trio
from attrs import define, field

from trio_chat.config.changes import changed, changes
from trio_chat.config.settings import Settings
from trio_chat.daemon import systemd
from trio_chat.daemon.changing import (
    Changing,
    log_reload,
    not_reloaded,
    not_upgraded,
    read_again,
)
from trio_chat.daemon.control import Command, Listing, Response
from trio_chat.daemon.control_client import NoDaemonError
from trio_chat.daemon.operations import NODE, ROOM
from trio_chat.daemon.workers.asking import SECONDS, ask, ask_for_rows
from trio_chat.daemon.workers.together import together
from trio_chat.daemon.workers.worker import Worker
from trio_chat.errors import (
    ControlError,
    HandoverError,
    SettingsError,
)
from trio_chat.version import version

# A stop waits so long for the workers, and only to say what follows.
MOVING_SECONDS: Final = 3.0
# A worker gives up reading its settings before that.
RELOAD_SECONDS: Final = 15.0
# More than all that a worker waits for in an upgrade together.
UPGRADE_SECONDS: Final = 240.0
# The end of a process is noticed so soon after the end of its connections.
END_SECONDS: Final = 1.0
# Fields of a worker's status that the parent has values of its own for.
OF_THE_PARENT: Final = ("version", "process", "uptime", "listening", "problems", "started", "node")

Answer = TypeVar("Answer")

logger = logging.getLogger("trio_chat")


@define
class Operations:
    """The commands of the parent's control socket; the signals SIGHUP and SIGUSR2 use them too."""

    workers: Sequence[Worker]
    addresses: Sequence[str]
    settings: Settings
    read: Callable[[], Settings]
    configure: Callable[[Settings], None]
    # All workers have served once.
    serving: trio.Event
    stopping: trio.Event
    # Has the program that is on disk now read an estate, or raises `HandoverError`.
    try_out: Callable[[], Awaitable[None]]
    # Has this process become that program.
    become: Callable[[], None]
    began: float = field(factory=time.monotonic)
    # All workers are upgraded, and the parent is not yet.
    _is_last: bool = False
    _changing: Changing = field(factory=Changing)

    @property
    def commands(self) -> dict[str, Command]:
        """The commands by the names that the control socket takes."""
        return {
            "status": Command(self.status),
            "nodes": Command(partial(self._any, "nodes")),
            "clients": Command(partial(self._rows, "clients"), takes={"limit": int}, may_take=NODE),
            "announce": Command(partial(self._any, "announce"), takes={"text": str}, may_take=NODE),
            "kick": Command(
                partial(self._any, "kick"), takes={"client": str, "reason": str}, may_take=NODE
            ),
            "moderate": Command(
                partial(self._any, "moderate"), takes={"do": str, "arguments": str}, may_take=ROOM
            ),
            "actions": Command(partial(self._rows, "actions"), takes={"limit": int}, may_take=ROOM),
            "reload": Command(self.reload),
            "upgrade": Command(self.upgrade, then=self.end_upgrade),
            "stop": Command(self.stop, then=self.begin_stop),
        }

    async def _each(
        self, asked: Callable[[Worker], Awaitable[Answer]]
    ) -> list[tuple[Worker, Answer | ControlError]]:
        """Ask all workers at once, in their order; an error stands for an answer."""
        answers: dict[int, Answer | ControlError] = {}

        async def one(worker: Worker) -> None:
            try:
                answers[worker.number] = await asked(worker)
            except ControlError as error:
                answers[worker.number] = error

        async with trio.open_nursery() as nursery:
            for worker in self.workers:
                nursery.start_soon(one, worker)
        return [(worker, answers[worker.number]) for worker in self.workers]

    def _check_serving(self) -> None:
        if not self.serving.is_set():
            raise ControlError("the workers are starting: try again")

    # --- status -----------------------------------------------------------------------------------

    async def status(self) -> Response:
        """Return the statistics of all workers together, and a row for each of them."""
        answers: list[Mapping[str, object]] = []
        rows: list[Mapping[str, object]] = []
        problems: list[str] = []
        for worker, answer in await self._each(lambda worker: ask(worker.control, "status")):
            told = {"error": str(answer)} if isinstance(answer, ControlError) else answer
            found = _problems_of_status(worker, told)
            problems += [f"worker {worker.number}: {problem}" for problem in found]
            rows.append(_row(worker, told, found))
            if "error" not in told:
                answers.append(
                    {name: value for name, value in told.items() if name not in OF_THE_PARENT}
                )
        return {
            "version": version(),
            "process": os.getpid(),
            "uptime": round(time.monotonic() - self.began, 3),
            "listening": self.addresses,
            "workers": rows,
            "problems": problems,
            **together(answers),
            "stopping": self.stopping.is_set(),
        }

    # --- the whole chat ---------------------------------------------------------------------------

    async def _any(self, command: str, **arguments: object) -> Response:
        """Have one worker carry out a command for the whole chat, of which all workers are nodes.

        If one does not serve, the next is asked.
        """
        return await self._by_one(lambda worker: ask(worker.control, command, SECONDS, **arguments))

    async def _rows(self, command: str, **arguments: object) -> Listing:
        """Have one worker list what is known of the whole chat."""
        answer, rows = await self._by_one(
            lambda worker: ask_for_rows(worker.control, command, **arguments)
        )
        return Listing(answer, rows)

    async def _by_one(self, asked: Callable[[Worker], Awaitable[Answer]]) -> Answer:
        problem = ControlError("no worker serves yet: try again")
        for worker in self.workers:
            if not worker.serves:
                continue
            try:
                return await asked(worker)
            except NoDaemonError as error:  # it has just ended, and done nothing
                problem = error
        raise problem

    # --- stop -------------------------------------------------------------------------------------

    async def stop(self) -> Response:
        """Return the process that stops, and its `grace`; the stop begins after this answer.

        `moving` clients can resume within `resume_grace` seconds on `others`, which are nodes of
        other daemons. These are missing if the workers do not say at once.
        """
        logger.info("stopping", extra={"by": "control socket"})
        answer: dict[str, object] = {"process": os.getpid(), "grace": self.settings.stop_grace}
        with trio.move_on_after(MOVING_SECONDS), suppress(ControlError):
            answer |= await self._moving()
        return answer

    async def _moving(self) -> dict[str, object]:
        moving, own = 0, set[object]()
        for _, answer in await self._each(lambda worker: ask(worker.control, "status")):
            match answer:
                case {"dialects": {"websocket": int(clients)}, "node": {"name": name}}:
                    moving += clients
                    own.add(name)
                case {"node": {"name": name}}:
                    own.add(name)
                case _:
                    pass
        told = await self._any("nodes")
        nodes = cast("list[dict[str, object]]", told.get("nodes", []))
        serving = {node.get("name") for node in nodes if node.get("state") != "lease run out"}
        others = len(serving - own)
        return {"moving": moving, "others": others, "resume_grace": self.settings.resume_grace}

    def begin_stop(self) -> None:
        """Have all workers stop, and give up an upgrade that is not complete."""
        self._changing.give_up()
        self._is_last = False
        self.stopping.set()

    # --- reload -----------------------------------------------------------------------------------

    async def reload(self) -> Response:
        """Have all workers read the settings again; the answer is that of a daemon.

        If a worker does not take them, `problems` has the reasons, and the others have taken them.
        """
        self._check_serving()
        async with self._changing.lock:
            await systemd.reloading()
            answer = await self._reload()
            await systemd.ready()
            return answer

    async def _reload(self) -> Response:
        try:
            settings = await read_again(self.read)
        except SettingsError as error:
            return not_reloaded("all settings stay as they are", str(error).split("\n"))
        differing = dict(changes(self.settings, settings))
        answer: dict[str, object] = {}
        problems: list[str] = []
        for worker, found in await self._each(_reload_one):
            if isinstance(found, ControlError):
                problems.append(f"worker {worker.number}: {found}")
                continue
            problems += [f"worker {worker.number}: {problem}" for problem in _problems_of(found)]
            answer |= {name: found[name] for name in ("certificate",) if name in found}
        self.settings = changed(self.settings, settings)
        self.configure(self.settings)
        if problems:
            return not_reloaded("those workers keep their settings", problems)
        log_reload(differing)
        return {"changes": differing, **answer}

    # --- upgrade ----------------------------------------------------------------------------------

    async def upgrade(self) -> Response:
        """Upgrade one worker after the other, or stop at the first that cannot be.

        Returns this `process`, the `clients` that waited, and the most `seconds` that one waited;
        or else `problems`. `end_upgrade` must follow. Raises `Refused` if an upgrade is under way,
        and `ChatClosed` if all are stopping.
        """
        self._check_serving()
        async with self._changing.upgrading():
            return await self._upgrade()

    async def _upgrade(self) -> Response:
        logger.info("upgrading")
        try:
            await self.try_out()
        except HandoverError as error:
            return not_upgraded("no worker is upgraded", str(error).split("\n"))
        clients, seconds = 0, 0.0
        for worker in self.workers:
            if not worker.serves:
                worker.kill()  # the next process for it is of the new program
                continue
            answer, problems = await _upgrade_one(worker)
            if problems:
                return not_upgraded(
                    f"worker {worker.number} is not upgraded, nor are those after it", problems
                )
            clients += cast("int", answer.get("clients", 0))
            seconds = max(seconds, cast("float", answer.get("seconds", 0.0)))
        self._is_last = True
        return {"process": os.getpid(), "clients": clients, "seconds": seconds, "serves": True}

    def end_upgrade(self) -> None:
        """Upgrade the parent too, if all workers are upgraded."""
        if self._is_last:
            self._is_last = False
            self.become()


async def _upgrade_one(worker: Worker) -> tuple[dict[str, object], list[str]]:
    """Upgrade a worker. Return its answer, and the reasons why it is not upgraded."""
    child = worker.child
    try:
        answer = await ask(worker.control, "upgrade", UPGRADE_SECONDS)
    except ControlError as error:
        with trio.move_on_after(END_SECONDS):
            if child is not None:
                await child.ended.wait()
                return {}, [f"its process {child.fate}"]
        return {}, [str(error)]
    problems = list(_problems_of(answer))
    if not (problems or answer.get("serves")):
        problems = ["it does not say that it serves"]
    return answer, problems


async def _reload_one(worker: Worker) -> dict[str, object]:
    if not worker.serves:
        await trio.lowlevel.checkpoint()
        return {}  # it reads the settings when it starts
    return await ask(worker.control, "reload", RELOAD_SECONDS)


def _problems_of(answer: Mapping[str, object]) -> Iterable[str]:
    """Return the reasons why a worker has not done it."""
    if "error" not in answer:
        return ()
    problems = answer.get("problems", [answer["error"]])
    return map(str, cast("list[object]", problems))


def _problems_of_status(worker: Worker, answer: Mapping[str, object]) -> list[str]:
    if not worker.serves:
        return ["it does not serve yet"]
    if "error" in answer:
        return [str(answer["error"])]
    return list(map(str, cast("list[object]", answer.get("problems", []))))


def _row(worker: Worker, answer: Mapping[str, object], problems: list[str]) -> Response:
    """Return the line of a worker in the status."""
    shown = ("uptime", "clients", "resident_bytes", "cpu_seconds", "node")
    return {
        "worker": worker.number,
        "process": worker.child.pid if worker.child is not None else None,
        "restarts": worker.restarts,
        "problems": problems,
        **{name: answer[name] for name in shown if name in answer},
    }
