"""Fixtures for tests in a browser: Chromium, a daemon to visit, and its visitors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cable import Cable
from needs import needs
from netcat import Netcat
from playwright.sync_api import Browser, Page, expect, sync_playwright
from processes import Daemon, Talker, environment
from visitor import Visitor

pytest_plugins = ["needs"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Milliseconds until what is waited for on a page is given up. A page may wait for 38 seconds until
# it tries to connect again.
PATIENCE = 45_000
expect.set_options(timeout=PATIENCE)
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = needs("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of control sockets. The name of a test would make their paths too long."""
    return tmp_path_factory.mktemp("run")


@contextmanager
def serving(folder: Path, runtime: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons that keep their rooms in memory, and limit nobody, unless they are told to."""
    daemons: list[Daemon] = []
    settings = {**environment(), "XDG_RUNTIME_DIR": str(runtime), "TRIO_CHAT_RATE_LIMIT": "off"}

    def start(*arguments: str, port: int = 0, store: str = "memory") -> Daemon:
        command = [sys.executable, "-m", "trio_chat", f"--port={port}", f"--store={store}"]
        process = subprocess.Popen(
            [*command, "--log-level=warning", *arguments],
            env=settings,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        daemons.append(Daemon(process))
        return daemons[-1]

    try:
        yield start
    finally:
        for daemon in daemons:
            daemon.process.kill()
            daemon.process.communicate()


@pytest.fixture
def serve(tmp_path: Path, runtime: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts a daemon."""
    with serving(tmp_path, runtime) as start:
        yield start


@pytest.fixture
def cable() -> Iterator[Callable[..., Cable]]:
    """A connection to a port that can be cut."""
    with ExitStack() as stack:
        yield lambda *about: stack.enter_context(Cable(*about))


@contextmanager
def visiting(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens the page that a port serves, in a browser of its own; no error of its may pass."""
    visitors: list[Visitor] = []

    def open_page(port: int, *, size: str = "desktop", scheme: str = "light", **about) -> Visitor:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            has_touch=size == "phone",
            color_scheme=scheme,
            locale="en-GB",
            **about,
        )
        context.set_default_timeout(PATIENCE)
        visitor = Visitor(context.new_page(), port)
        visitors.append(visitor)
        return visitor

    try:
        yield open_page
    finally:
        for visitor in visitors:
            visitor.page.context.close()
    assert [error for visitor in visitors for error in visitor.errors] == []


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens the page that a port serves."""
    with visiting(browser) as open_page:
        yield open_page


@pytest.fixture(scope="session")
def entrance(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    folder, runtime = tmp_path_factory.mktemp("entrance"), tmp_path_factory.mktemp("run")
    with serving(folder, runtime) as start, visiting(browser) as open_page:
        visitor = open_page(start().port).open()
        expect(visitor.page.get_by_label("Nickname")).to_be_focused()
        yield visitor


@pytest.fixture
def modules(entrance: Visitor) -> Iterator[Page]:
    """A page for tests of its modules alone. All of them share it, so they leave it as it is."""
    yield entrance.page
    assert entrance.errors == []


@pytest.fixture
def talk() -> Iterator[Callable[..., Talker]]:
    """Comes in with lines, as nc does."""
    talkers: list[Talker] = []

    def connect(daemon: Daemon, *lines: str) -> Talker:
        talkers.append(Talker(daemon, *lines))
        return talkers[-1]

    yield connect
    for talker in talkers:
        talker.close()


@pytest.fixture
def netcat() -> Iterator[Callable[[Daemon], Netcat]]:
    """Comes in with nc itself."""
    with ExitStack() as stack:
        yield lambda daemon: stack.enter_context(closing(Netcat(daemon)))
