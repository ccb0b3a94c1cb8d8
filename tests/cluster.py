"""A chat on several nodes: an engine, a proxy for each node, the nodes, and their crowd."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from cluster_crowd import ClusterCrowd
from cluster_judge import Verdict, judge
from cluster_members import Client, Late, Line
from engine import Engine, Sentinel
from engine_proxy import Proxy
from served import HERE, Served

# The line that a node logs when it finds an engine that was emptied.
GONE = "the store has lost all messages"
LEASE = 2
GRACE = 3  # of clients who may resume, in seconds


class Node(Served):
    """A daemon of the cluster, which reaches the engine through a proxy of its own."""

    def __init__(self, folder: Path, name: str, store: str, **options) -> None:
        folder.mkdir(exist_ok=True)
        self.name = name
        super().__init__(folder, *arguments(name, store), **options)

    def hang(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def arguments(name: str, store: str) -> list[str]:
    return [
        *["--store", store, "--node", name, "--lease", str(LEASE)],
        *["--resume-grace", str(GRACE), "--history-entries", "1000000"],
        "--outbox-bytes=16384",  # so that clients lag soon
        "--rooms-per-client=100",  # for those who ask about all rooms in the end
        # Pings would only make the crowd's reading longer.
        *["--ping-interval", "0", "--max-clients", "19000"],
    ]


class Cluster:
    """Nodes named a, b, c ... on one engine.

    `clocks` are the seconds by which the nodes' clocks are ahead. `sources` is a folder with
    another version of the package. Further options are those of the crowd.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        *,
        engine: Sequence[str] = (),
        seed: int = 0,
        clocks: Sequence[float] = (),
        proxies: bool = True,
        sentinel: bool = False,
        sources: Path | None = None,
        **crowd: float,
    ) -> None:
        self.folder, self.sources = folder, sources
        self.closing = ExitStack()
        self.sentinel: Sentinel | None = None
        self.proxies: dict[str, Proxy] = {}
        self.nodes: dict[str, Node] = {}
        self.clocks = dict(zip("abcdefgh", clocks, strict=False))
        with ExitStack() as unfinished:
            unfinished.callback(self.close)
            self.engine = Engine(folder / "engine", *engine)
            self.closing.callback(self.engine.close)
            if sentinel:
                self._watch()
                proxies = False
            for number in range(nodes):
                name = "abcdefgh"[number]
                if proxies:
                    self.proxies[name] = Proxy(self.engine.port, seed=seed + number)
                    self.closing.callback(self.proxies[name].close)
                self.start(name)
            ports = {name: node.port for name, node in self.nodes.items()}
            self.crowd = ClusterCrowd(ports, seed=seed, **crowd)
            self.closing.callback(self.crowd.close)
            self.crowd.come_in()
            unfinished.pop_all()

    def _watch(self) -> None:
        self.replica = Engine(self.folder / "replica", *self.engine.arguments)
        self.closing.callback(self.replica.close)
        self.replica.ask("REPLICAOF", "127.0.0.1", str(self.engine.port))
        self.replica.wait_for_link()
        self.sentinel = Sentinel(self.folder / "sentinel", self.engine)
        self.closing.callback(self.sentinel.close)

    def store(self, name: str) -> str:
        if self.sentinel is not None:
            return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{self.sentinel.name}"
        port = self.proxies[name].port if name in self.proxies else self.engine.port
        return f"redis://127.0.0.1:{port}/0"

    def start(self, name: str) -> None:
        """Start a node, or start it again."""
        options: dict[str, object] = {}
        if name in self.clocks:
            clock = (str(HERE / "other_clock.py"), str(self.clocks[name]), "serve")
            options["program"] = clock
        if self.sources is not None:
            self.use_sources(name, self.sources)
            options["env"] = {"PYTHONPATH": str(self._sources_of(name))}
        self.nodes[name] = Node(self.folder / name, name, self.store(name), **options)

    def use_sources(self, name: str, sources: Path) -> None:
        """Have a node start and upgrade from other sources."""
        link = self._sources_of(name)
        link.unlink(missing_ok=True)
        link.symlink_to(sources)

    def _sources_of(self, name: str) -> Path:
        return self.folder / f"sources-{name}"

    def restart(self, name: str) -> None:
        """Start a node that was killed; people can come to it again."""
        self.start(name)

        def up() -> None:
            self.crowd.ports[name] = self.nodes[name].port
            self.crowd.down.discard(name)

        self.crowd.do(up)

    def kill(self, name: str) -> None:
        self.take_down(name)
        self.nodes[name].kill()

    def take_down(self, name: str) -> None:
        """Expect nothing of a node, and have nobody come to it."""
        self.suspect(name)
        self.crowd.do(lambda: self.crowd.down.add(name))

    def suspect(self, *names: str) -> None:
        """Expect nothing of what nodes know of nicks and connections."""
        for name in names or self.nodes:
            self.crowd.do(lambda name=name: self.crowd.suspect(name))

    def run(self, seconds: float) -> None:
        """Let people talk."""
        time.sleep(seconds)  # the crowd talks in a thread of its own

    def talks_again(self) -> None:
        """Wait until every member on a node that is up gets a message through."""
        crowd = self.crowd
        before = crowd.do(
            lambda: {one: len(one.kept) for one in crowd.members if not isinstance(one, Late)}
        )
        crowd.until(
            lambda: not self._silent(before),
            "got a message through",
            lambda: [f"{one.nick} on {one.node}" for one in self._silent(before)],
        )

    def _silent(self, before: dict[Client, int]) -> list[Client]:
        return [
            one
            for one, kept in before.items()
            if len(one.kept) == kept and not (isinstance(one, Line) and one.gone)
        ]

    def end(self, **options: bool) -> Verdict:
        """Compare what everyone has heard; the nodes' logs are shown if that finds something."""
        verdict = judge(self.crowd, ghost_seconds=LEASE + GRACE + 4, **options)
        self.show(verdict)
        return verdict

    def show(self, verdict: Verdict) -> None:
        print(f"\n{verdict}")  # noqa: T201 - pytest shows it if the test fails
        logs = {name: node.log.read_text() for name, node in self.nodes.items()}
        for name, log in logs.items():
            lines = [line for line in log.splitlines() if " INFO " not in line]
            errors = [line for line in lines if " ERROR " in line]
            if self.crowd.lossy:
                errors = [line for line in errors if GONE not in line]
            if errors:
                verdict.wrong["error in a log"] = [name, *errors[:3]]
            print(f"--- log of {name}", *lines[-40:], sep="\n")  # noqa: T201 - likewise, as pytest shows it

    def close(self) -> None:
        for node in self.nodes.values():
            node.go_on()
            node.kill()
        self.closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
