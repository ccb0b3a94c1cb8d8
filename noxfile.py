"""What is checked, and how: `nox` runs it all, `nox -s NAME` one session, `nox -l` lists them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
# The tests come last so that their closing line does.
nox.options.sessions = ["lint", "typing", "trio_typing", "docs", "browser", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEPENDENCIES = [
    *PROJECT["project"]["dependencies"],
    *(name for extra in EXTRAS.values() for name in extra),
]

# What a user's type checker sees.
TYPED = ("trio_chat", "examples", "tests/typing")

# flake8-async finds what ruff's ASYNC rules lack; it takes files and no configuration. Off are:
ASYNC_CODE = ("trio_chat", "examples")
FLAKE8_ASYNC_OFF = {
    "ASYNC114": "wants each function that takes a task_status named on its command line",
    "ASYNC124": "an async function that awaits nothing may be one by its interface (a room log)",
    "ASYNC128": "does not see that a task_status is handed on, as to serve_tcp",
    "ASYNC910": "checkpoints on every path: the hot path leaves them out on purpose",
    "ASYNC911": "the same for generators",
    "ASYNC912": "the same for cancel scopes",
    "ASYNC913": "the same for endless loops",
}

# Those of tests/feeding.py, and whole chats.
FUZZ_TARGETS = (
    *("first_bytes", "lines", "telnet", "http", "websocket", "documents", "proxy", "proxy2"),
    *("chat", "tls"),
)


# Sessions with a single test that takes minutes: what hangs is given up later.
PATIENT = ("-o", "faulthandler_timeout=1200")


def install(session: nox.Session, group: str, *requirements: str) -> None:
    """Install a dependency group of pyproject.toml and, with it, REQUIREMENTS."""
    session.install(*nox.project.dependency_groups(PROJECT, group), *requirements)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, likely bugs and Trio's own pitfalls."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    off = ",".join(FLAKE8_ASYNC_OFF)
    files = [str(path) for top in ASYNC_CODE for path in sorted(Path(top).rglob("*.py"))]
    session.run("flake8-async", "--enable=ASYNC", f"--disable={off}", *files)


@nox.session
def typing(session: nox.Session) -> None:
    """The package, an embedder's file and the examples under mypy and pyright."""
    # The checkers read the sources, so the package itself need not be built.
    install(session, "typing", *DEPENDENCIES)
    session.run("mypy", *TYPED, "--exclude", "typing/start")
    session.run("pyright")


@nox.session
def trio_typing(session: nox.Session) -> None:
    """Trio-typing's stricter `Nursery.start`: T is inferred, a wrong function rejected."""
    install(session, "trio-typing", *DEPENDENCIES)
    session.run("mypy", "--strict", "tests/typing/start.py")
    wrong = "tests/typing/start_errors.py"
    output = session.run("mypy", "--strict", wrong, silent=True, success_codes=[1]) or ""
    expected = re.findall(r"^.*# expected: \[([\w-]+)\]$", Path(wrong).read_text(), re.MULTILINE)
    found = re.findall(r"error: .* \[([\w-]+)\]$", output, re.MULTILINE)
    if found != expected:
        session.error(f"{wrong}: expected {expected}, mypy says\n{output}")


@nox.session
def docs(session: nox.Session) -> None:
    """The examples of the README and the pages, run as tests."""
    install(session, "docs", ".")
    session.run("pytest", "docs", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """The page in Debian's Chromium, without which it is skipped, and in Firefox if it is there.

    `-- ARGS` go to pytest.
    """
    lacks = ("python", "tests/programs.py", "chromium")
    if package := str(session.run(*lacks, silent=True)).strip():
        end = session.error if os.environ.get("CI") == "true" else session.skip
        end(f"needs chromium: apt-get install {package}")
    install(session, "browser", ".")
    folder = Path(session.create_tmp()).absolute()
    packages = ("axe-core@4", "puppeteer-core@24")
    session.run("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages)
    axe = folder / "node_modules" / "axe-core" / "axe.min.js"
    # A daemon and what talks to it are those of the other tests.
    arguments = ("-o", "pythonpath=tests", "-rs", "browser", *session.posargs)
    env = {
        "AXE": str(axe),
        "NODE_FOLDER": str(folder),
        # Playwright's own node needs a library, libatomic, that a minimal Debian lacks.
        "PLAYWRIGHT_NODEJS_PATH": str(Path(session.bin, "node").absolute()),
    }
    session.run("pytest", *arguments, env=env)


def run_tests(session: nox.Session) -> None:
    # The wheel is tested, not the tree: what is not packaged is missing here too.
    install(session, "test", ".")
    session.run("pytest", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on the Python that runs nox; `-- ARGS` go to pytest."""
    run_tests(session)


@nox.session(python=["3.11", "3.12", "3.13"])
def tests_on(session: nox.Session) -> None:
    """The tests, on each Python that is supported."""
    run_tests(session)


@nox.session
def soak(session: nox.Session) -> None:
    """Ten thousand connects and drops; memory and descriptors must be where they were."""
    install(session, "test", ".")
    session.run("pytest", *PATIENT, "-k", "connects_and_drops", env={"CONNECTS": "10000"})


@nox.session
def kill(session: nox.Session) -> None:
    """Fifty rounds of a daemon killed while people talk; what they saw must be in its file.

    And as many of one that is killed in the middle of an upgrade.
    """
    install(session, "test", ".")
    tests = ("tests/test_kill.py", "tests/test_upgrade_kill.py")
    session.run("pytest", *tests, *session.posargs, env={"KILLS": "50"})


@nox.session
def upgrade(session: nox.Session) -> None:
    """Ten upgrades of a daemon with a thousand clients who talk; how long they wait is printed."""
    install(session, "test", ".")
    env = {"UPGRADE_CLIENTS": "1000", "UPGRADE_ROOMS": "50", "UPGRADES": "10"}
    session.run("pytest", *PATIENT, "-s", "tests/test_upgrade_load.py", *session.posargs, env=env)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Bytes that a fuzzer makes up, a minute for each kind; `-- SECONDS [TARGET ...]`."""
    install(session, "fuzz", ".")
    seconds, *targets = session.posargs or ["60"]
    for target in targets or FUZZ_TARGETS:
        folder = Path(session.create_tmp(), target).absolute()
        limits = ("-timeout=30", "-rss_limit_mb=1024", "-max_len=2000")
        flags = (f"-max_total_time={seconds}", f"-artifact_prefix={folder}-", *limits)
        environment = {"PYTHONPATH": str(Path("tests").absolute())}
        session.run("python", "fuzz/fuzz.py", target, str(folder), *flags, env=environment)


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests again, telling which lines and branches they miss."""
    install(session, "test", ".")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def bench(session: nox.Session) -> None:
    """Server CPU a delivery beside other servers; `-- --help` tells what can be chosen."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def bench_store(session: nox.Session) -> None:
    """What rooms kept in a file cost, and those who ask for their past; `-- --rounds N`."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/stores.py", *session.posargs)
    session.run("python", "benchmarks/beside_history.py", *session.posargs)


@nox.session
def bench_transports(session: nox.Session) -> None:
    """What WebSocket clients cost beside those with lines; `-- --rounds N --loads LOAD ...`."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/transports.py", *session.posargs)


@nox.session
def bench_beside(session: nox.Session) -> None:
    """What this code costs beside another commit of it; `-- --against REV [--quick]`."""
    session.install(*DEPENDENCIES)
    session.run("python", "benchmarks/beside.py", *session.posargs)


@nox.session
def bench_costs(session: nox.Session) -> None:
    """What each kind of input costs the server, by the byte; `-- WORD ...` for some of them."""
    session.install(*DEPENDENCIES, ".")
    session.run("python", "benchmarks/costs.py", *session.posargs)


@nox.session
def changelog(session: nox.Session) -> None:
    """Gather the fragments in changes/ into CHANGELOG.md; needs `-- --version X.Y.Z`."""
    install(session, "changelog")
    session.run("towncrier", "build", *session.posargs)
