"""A run tells which programs are not installed, and how to install them."""

from __future__ import annotations

import pytest

TEST = """
import pytest
from needs import needs

@pytest.fixture
def nc():
    return needs("nc")

def test_with_a_program(nc):
    pass

def test_without():
    pass
"""


@pytest.fixture(autouse=True)
def _nothing_installed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(TEST)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)


def test_tests_that_need_one_are_skipped_and_the_last_line_names_all_packages(
    pytester: pytest.Pytester,
) -> None:
    ran = pytester.runpytest_inprocess("-p", "needs", "-ra")
    ran.assert_outcomes(passed=1, skipped=1)
    ran.stdout.fnmatch_lines("SKIPPED * needs nc: apt-get install netcat-openbsd")
    last = ran.outlines[-1]
    assert last.startswith("To run all tests: apt-get install busybox caddy chromium firefox-esr ")
    assert {"netcat-openbsd", "nodejs", "npm", "tmux"} < set(last.split())


def test_nothing_is_said_where_nothing_is_skipped(pytester: pytest.Pytester) -> None:
    ran = pytester.runpytest_inprocess("-p", "needs", "-k", "without")
    ran.assert_outcomes(passed=1, deselected=1)
    ran.stdout.no_fnmatch_line("*apt-get*")


def test_with_ci_it_fails_with_one_line(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    ran = pytester.runpytest_inprocess("-p", "needs")
    ran.assert_outcomes(passed=1, errors=1)
    ran.stdout.fnmatch_lines("needs nc: apt-get install netcat-openbsd (with CI=true *")
    ran.stdout.no_fnmatch_line("*Traceback*")
