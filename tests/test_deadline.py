"""A test that hangs fails by itself, and the next one runs; ten of them end the run."""

from __future__ import annotations

from pathlib import Path

import pytest

HANGING = """
import socket
import pytest
import trio

async def test_real_time():
    # It hangs in real time.
    await trio.sleep_forever()

async def test_virtual_time(autojump_clock):
    while True:
        # It hangs on the virtual clock.
        await trio.sleep(60)

async def test_no_time(mock_clock):
    with trio.move_on_after(1, shield=True):
        # It hangs, as no time passes.
        await trio.sleep_forever()

async def test_without_a_checkpoint():
    while True:
        pass

@pytest.fixture
async def fixture():
    yield
    # It hangs after its test.
    await trio.sleep_forever()

async def test_a_fixture(fixture):
    pass

def test_swallowed():
    try:
        # It hangs, and swallows the error that ends it.
        trio.run(trio.sleep_forever)
    except BaseException:
        pass

@pytest.mark.parametrize("number", range(3))
def test_no_trio(number):
    one, other = socket.socketpair()
    one.recv(1)

@pytest.mark.parametrize("clock", ["autojump_clock", "mock_clock"])
async def test_tests_that_end(request, clock):
    request.getfixturevalue(clock)

@pytest.fixture
def setup():
    one, other = socket.socketpair()
    one.recv(1)

def test_a_setup(setup):
    pass

def test_tests_after_ten_that_hung():
    pass
"""


def test_each_of_these_fails_by_itself(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(HANGING)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    ran = pytester.runpytest_subprocess(
        *("-p", "deadline", "-W", "error", "-o", "trio_mode=true", "-o", "faulthandler_timeout=1"),
        timeout=50,
    )
    ran.assert_outcomes(failed=9, errors=1, passed=2)
    assert sum("Overdue: it still ran after 0.5 s" in line for line in ran.outlines) >= 10
    ran.stdout.no_fnmatch_line("*TrioInternalError*")
    ran.stdout.fnmatch_lines("*10 tests hung*")
    told = ["*<test 'test_virtual_time'>", "* in test_virtual_time", "*await *"]
    ran.stdout.fnmatch_lines(told, consecutive=True)
