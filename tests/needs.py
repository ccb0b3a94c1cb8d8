"""A test that needs a program which is not installed is skipped, and with CI=true it fails.

A run that has skipped such tests ends with the one command that installs all programs.

PYTEST_DONT_REWRITE, as a conftest may have imported it before pytest loads it as a plugin.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import programs
import pytest

INSTALL = "apt-get install"
INSTALL_SECONDS = 120


def needs(program: str) -> str:
    """The path of a program that the test is about to run."""
    package = programs.PACKAGES[program]
    path = programs.path_of(program)
    if path is None:
        cannot_run(f"needs {program}: {INSTALL} {package}")
    return path


def from_npm(folder: Path) -> Path:
    """The directory in which npm has installed the clients of `outside/package.json`.

    nox has done so before the tests. Otherwise it is done here, in `folder`.
    """
    if "NODE_FOLDER" in os.environ:
        return Path(os.environ["NODE_FOLDER"])
    shutil.copy(Path(__file__).parent / "outside" / "package.json", folder)
    installed = subprocess.run(
        [needs("npm"), "install", "--prefix", folder, "--no-audit", "--no-fund"],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if installed.returncode:
        cannot_run(f"npm cannot install the clients: {installed.stderr.strip()[:300]}")
    return folder


def cannot_run(reason: str) -> NoReturn:
    """End a test that lacks what a machine for tests is to have."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (with CI=true this fails)", pytrace=False)
    pytest.skip(reason)  # the caller says why


@pytest.hookimpl(wrapper=True, tryfirst=True)  # so that its line comes after pytest's own
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    result = yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    packages = programs.missing_packages()
    if packages and any(INSTALL in report.longrepr[2] for report in skipped):
        reporter.write_line(f"To run all tests: {INSTALL} {' '.join(packages)}")
    return result
