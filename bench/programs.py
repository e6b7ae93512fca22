"""Longshore's own programs, started for a measurement and stopped after it, whatever happens in between.

Each cluster has a fresh folder on the disk that the repository is on: a store in memory-backed /tmp would have durable
commits for nothing. What a cluster started on the engine is swept away by its label when the block ends.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from bench.figure import Trouble
from bench.raw_engine import on_engine, sweep
from longshore.client import Client, Target
from longshore.model.errors import Unavailable
from longshore.model.objects import NodeStatus
from longshore.model.views import TokenWish

LONGSHORE = str(Path(sys.executable).with_name("longshore"))
FAKE = "fake"
"""The simulated engine, which needs no sweeping."""
START_S = 20.0
STOP_S = 10.0
POLL_S = 0.02


class Memory(msgspec.Struct, frozen=True):
    """What a process holds, in bytes."""

    rss: int
    pss: int
    """Its own pages, and its share of those that it has in common with others."""


class Program:
    """A process of ours."""

    def __init__(self, words: list[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._seen = psutil.Process(self._process.pid)

    @property
    def cpu_s(self) -> float:
        """CPU seconds used so far, to the nanosecond. The kernel's ticks of 10 ms miss most of what is short."""
        clock = (~self._process.pid << 3) | 2  # clock_getcpuclockid(3), which Python lacks
        return time.clock_gettime(clock)

    @property
    def waited_s(self) -> float:
        """Seconds for which its main thread could have run and had no core, as others had them."""
        return waited_s(self._process.pid)

    @property
    def memory(self) -> Memory:
        full = self._seen.memory_full_info()
        return Memory(full.rss, full.pss)

    @property
    def log(self) -> str:
        """The end of what it said."""
        return self._log.read_text()[-2000:]

    def check(self) -> None:
        """Raise Trouble if it has ended."""
        if self._process.poll() is not None:
            raise Trouble(f"{self._log.stem} ended with {self._process.returncode}:\n{self.log}")

    def kill(self) -> None:
        """As a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """As the user would; by force if that does not help."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


class Cluster:
    """A running cluster and its programs."""

    def __init__(self, folder: Path, engine: str) -> None:
        self.folder = folder
        self.engine = engine
        self.programs: dict[str, Program] = {}
        self.id = ""

    def client(self) -> Client:
        """A new connection with the admin's token."""
        return Client.at(Target.find(data_dir=self.folder, env={}))

    def start(self, name: str, *words: str) -> Program:
        """Start `longshore WORDS` under a name of ours."""
        program = Program([LONGSHORE, *words], self.folder / f"{name}.log")
        self.programs[name] = program
        return program

    def start_manager(self, *words: str, port: int = 0) -> None:
        """Start a program that has a manager in it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        program = self.start(words[0], *words, "--data", str(self.folder), "--port", str(port))
        wait_for(lambda: self._answers(program), START_S, f"{words[0]} to answer")
        with self.client() as client:
            self.id = client.cluster().id

    def start_worker(self, name: str) -> Program:
        """Start a worker, for the first time or again."""
        token = self.folder / f"{name}.token"
        with self.client() as client:
            url = client.url
            if not token.exists():
                token.write_text(client.create_token(TokenWish(uses=1)).secret or "")
                token.chmod(0o600)
        words = ["worker", "--name", name, "--data", str(self.folder / name), "--join", url, "--token", str(token)]
        return self.start(name, *words, "--engine", self.engine)

    def wait_for_nodes(self, count: int) -> None:
        with self.client() as client:
            wait_for(
                lambda: (
                    sum(node.status is NodeStatus.READY and node.used is not None for node in client.nodes()) >= count
                ),
                START_S,
                f"{count} ready nodes",
            )

    def cpu_s(self) -> float:
        """CPU seconds of all programs together."""
        return sum(program.cpu_s for program in self.programs.values())

    def stop(self) -> None:
        for program in reversed(self.programs.values()):
            program.stop()
        if self.id and self.engine != FAKE:
            on_engine(self.engine, lambda engine: sweep(engine, self.id))

    def _answers(self, program: Program) -> bool:
        program.check()
        if not (self.folder / "manager.json").exists():
            return False
        try:
            with self.client() as client:
                client.check()
        except Unavailable:
            return False
        return True


@contextmanager
def cluster_in_one(folder: Path, engine: str, nodes: int) -> Iterator[Cluster]:
    """`longshore dev`: the manager and its workers in one process."""
    with _stopped_after(Cluster(folder, engine)) as cluster:
        cluster.start_manager("dev", "--nodes", str(nodes), "--engine", engine)
        cluster.wait_for_nodes(nodes)
        yield cluster


@contextmanager
def cluster_of_processes(folder: Path, engine: str, *workers: str) -> Iterator[Cluster]:
    """A manager and workers, each a process of its own."""
    with _stopped_after(Cluster(folder, engine)) as cluster:
        cluster.start_manager("manager")
        for name in workers:
            cluster.start_worker(name)
        cluster.wait_for_nodes(len(workers))
        yield cluster


@contextmanager
def manager_alone(folder: Path, *words: str) -> Iterator[Cluster]:
    """A manager without workers, on whatever store is in the folder."""
    with _stopped_after(Cluster(folder, FAKE)) as cluster:
        cluster.start_manager("manager", *words)
        yield cluster


@contextmanager
def _stopped_after(cluster: Cluster) -> Iterator[Cluster]:
    try:
        yield cluster
    finally:
        cluster.stop()


def wait_for(condition: Callable[[], bool], limit_s: float, what: str, *, poll_s: float = POLL_S) -> None:
    """Until it holds. Raises Trouble if it does not in time."""
    give_up = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > give_up:
            raise Trouble(f"waited {limit_s:.0f} s for {what}, in vain")
        time.sleep(poll_s)


def waited_s(pid: int | str = "self") -> float:
    """Seconds for which a program's main thread has waited for a core: what figures of a busy machine are to be read
    with. Zero where the kernel does not count that."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


def engine_url() -> str:
    """The engine that a worker would take."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
