"""A deadline for each test, in real time: a test that hangs fails by itself, and says where.

Trio's own deadlines cannot do this: a mock clock stands still, or runs on without end. A task that
waits for a thread cannot be ended; there faulthandler ends the run, after twice as long.
"""

from __future__ import annotations

import gc
import signal
import traceback
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path

import pytest
import pytest_trio
import trio
from trio.lowlevel import Task

SHOWN = 20  # tasks whose stacks are shown
MOST_HUNG = 10  # tests until the run ends: each takes two minutes
HUNG = pytest.StashKey[int]()
MACHINERY = tuple(str(Path(module.__file__).parent) for module in (trio, pytest_trio))


class Overdue(BaseException):
    """A test has had its time. No Exception: the code that is tested may catch those."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    __tracebackhide__ = True
    try:
        with Deadline(float(item.config.getini("faulthandler_timeout")) / 2):
            return (yield)
    except Overdue:
        hung = item.session.stash[HUNG] = item.session.stash.get(HUNG, 0) + 1
        if hung >= MOST_HUNG:
            item.session.shouldfail = f"{hung} tests hung"
        raise


pytest_runtest_call = pytest_runtest_teardown = pytest_runtest_setup


class Deadline:
    """Raises `Overdue` in what takes longer; if that does not end it, again a little later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._rings = 0
        self._stacks = ""

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds / 2)

    def __exit__(self, _: object, problem: BaseException | None, __: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self._rings:
            text = f"it still ran after {self._seconds:g} seconds\n{self._stacks}"
            raise Overdue(text) from problem

    def _ring(self, number: int, frame: object) -> None:
        __tracebackhide__ = True
        self._rings += 1
        again = self._rings > 1
        if not trio.lowlevel.in_trio_run() or (again and in_test()):
            raise Overdue
        # An exception here could strike Trio's own loop.
        trio.lowlevel.current_trio_token().run_sync_soon(self._cancel)

    def _cancel(self) -> None:
        self._stacks = self._stacks or "".join(map(stack_of, islice(tasks(), SHOWN)))
        main_nursery().cancel_scope.cancel()
        if self._rings > 1:
            unshield()


def main_nursery() -> trio.Nursery:
    """The nursery of what `trio.run` was given; those of Trio's own tasks come before it."""
    return trio.lowlevel.current_root_task().child_nurseries[-1]


def tasks() -> Iterator[Task]:
    nurseries = [main_nursery()]
    for nursery in nurseries:
        for task in nursery.child_tasks:
            nurseries += task.child_nurseries
            yield task


def in_test() -> bool:
    """Whether a task of the test runs; one of Trio's own may run `Deadline._cancel`."""
    return trio.lowlevel.in_trio_task() and trio.lowlevel.current_task() in tasks()


def stack_of(task: Task) -> str:
    """The frames in which a task waits, without those of Trio and pytest-trio."""
    stack = traceback.StackSummary.extract(task.iter_await_frames())
    lines = traceback.format_list([at for at in stack if not at.filename.startswith(MACHINERY)])
    return "".join([f"{task.name}\n", *lines])


def unshield() -> None:
    """Let shielded clean-up be cancelled too: on a mock clock its timeout may never come."""
    for scope in gc.get_objects():
        if isinstance(scope, trio.CancelScope):
            scope.shield = False
