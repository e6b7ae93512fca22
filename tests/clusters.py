"""Clusters for tests: processes of the longshore command, as a user starts them, and what a test asks of them.

Knows the command line, the files that a manager leaves in its data folder, and signals. Must not know the insides of
manager or worker: whatever is asked goes through `longshore.client` or the command. Waiting is always for something to
become true, with a deadline; whatever was started is stopped by its pid, and its containers are removed, however a
test ended.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from longshore.client import Client, Target
from longshore.model.errors import Failure, NotFound, Unavailable
from longshore.model.lifecycle import State
from longshore.model.objects import Availability, NodeStatus, Task
from longshore.model.spec import Limits, Pull, ServiceSpec
from longshore.model.views import NodePatch, Phase, ServiceView
from tests.dockerd import DEMO, EngineApi, engine_url

LONGSHORE = Path(sys.executable).with_name("longshore")
NODES = 3
POLL_S = 0.03
WITHIN_S = 30.0
"""How long a test waits for what takes a second or two on a machine with nothing else to do."""
COMMAND_S = 120.0
PORT_FIRST, PORTS = 20_000, 10_000
"""Below what clusters choose for tasks, and that is below what Linux hands out for outgoing connections."""
LOG_TAIL = 60
"""Lines of each log that a failed test shows."""

Ran = subprocess.CompletedProcess[str]
T = TypeVar("T")

RUNNING: "list[Server]" = []
"""Servers whose logs a failed test shows (tests/conftest.py)."""


def eventually(look: Callable[[], T], what: str = "", within_s: float = WITHIN_S) -> T:
    """The first thing that `look` sees that is true. An assertion in it that fails, a manager that is away or a record
    that is not there mean not yet; the last of these is what is told in the end."""
    end = time.monotonic() + within_s
    while True:
        last: Exception | None = None
        try:
            if seen := look():
                return seen
        except (AssertionError, NotFound, Unavailable) as failure:
            last = failure
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s:g} s: {what or last}") from last
        time.sleep(POLL_S)


def longshore(*words: str | Path, cwd: Path | None = None, stdin: str = "", within_s: float = COMMAND_S) -> Ran:
    """One command to its end, with nothing of this test's environment that would lead it to another cluster."""
    return subprocess.run(
        [LONGSHORE, *words], capture_output=True, text=True, input=stdin, cwd=cwd, env=_environment(), timeout=within_s
    )


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("LONGSHORE_")}


def free_port(of: range = range(PORT_FIRST, PORT_FIRST + PORTS)) -> int:
    """A port that nobody listens on now. Not one that the kernel would choose: while its owner is killed it could give
    it to a client's connection, even to one that asks for that very port and then speaks with itself."""
    while True:
        port = secrets.choice(of)
        with socket.socket() as one, suppress(OSError):
            one.bind(("", port))
            return port


def sleeper(**more: object) -> ServiceSpec:
    """The demo image, quick to start and to stop; `more` are fields of the spec."""
    fields: dict[str, object] = {"image": DEMO, "pull": Pull.NEVER, "stop_grace_s": 2.0, "limits": Limits(pids=32)}
    return ServiceSpec(**(fields | more))  # type: ignore[arg-type]


class Server:
    """A longshore command that serves. It may be killed and started again; its log goes on through all its lives."""

    def __init__(self, name: str, log: Path, *words: str | Path) -> None:
        self.name = name
        self.words = words
        self.within: tuple[str, ...] = ()
        """What has a command run in another place, such as another network."""
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Start it, and do not wait until it serves."""
        assert not self.alive, f"{self.name} runs"
        with self.log.open("ab") as out:
            words = [*self.within, LONGSHORE, *self.words]
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=_environment()
            )
        if self not in RUNNING:
            RUNNING.append(self)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self, within_s: float = 15.0) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self.ended(within_s)

    def ended(self, within_s: float = WITHIN_S) -> int:
        """The exit code of a process that is expected to end."""
        assert self._process is not None
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired as still:
            raise AssertionError(f"{self.name} did not end within {within_s:g} s") from still

    def stop(self) -> None:
        """To be rid of it, whatever state it is in."""
        if self.alive:
            try:
                self.terminate()
            except AssertionError:
                self.kill()
        if self in RUNNING:
            RUNNING.remove(self)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.is_file() else ""

    def tail(self) -> str:
        return "\n".join(self.said().splitlines()[-LOG_TAIL:])


class Manager(Server):
    """A manager with a data folder: started, asked, killed, started again."""

    def __init__(self, data_dir: Path, *words: str | Path, engine: EngineApi | None = None) -> None:
        super().__init__(data_dir.name, data_dir.with_name(f"{data_dir.name}.log"), *words)
        self.data_dir = data_dir
        self.cluster_id = ""
        self._engine = engine
        self._client: Client | None = None
        self._volumes: list[str] = []

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.spawn()
        self.answers()
        self.cluster_id = self.client.cluster().id

    def answers(self) -> None:
        """Wait until the life that was started last answers."""
        eventually(self._serves, f"{self.name} serves")

    def _serves(self) -> bool:
        if not self.alive:
            pytest.fail(f"{self.name} ended with {self.ended()}:\n{self.tail()}")
        # The file may be an earlier life's; a new one may have another port.
        record = self._record()
        if record.get("pid") != self.pid:
            return False
        self.close()
        self.client.check()
        return True

    def _record(self) -> dict[str, object]:
        with suppress(OSError, ValueError):
            record: dict[str, object] = json.loads((self.data_dir / "manager.json").read_text())
            return record
        return {}

    @property
    def url(self) -> str:
        return str(self._record()["url"])

    @property
    def client(self) -> Client:
        """Speaks with the admin's token. A new one each time that the manager is started."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self) -> Client:
        """A client of one's own, for another thread."""
        return Client.at(Target.find(data_dir=self.data_dir, env={}))

    @property
    def engine(self) -> EngineApi:
        assert self._engine is not None, "the engine is a simulated one"
        return self._engine

    def run(self, *words: str | Path, cwd: Path | None = None) -> Ran:
        """A command of the user's for this cluster."""
        return longshore("--data", self.data_dir, *words, cwd=cwd)

    def did(self, *words: str | Path, cwd: Path | None = None) -> str:
        """What a command printed that has to succeed."""
        ran = self.run(*words, cwd=cwd)
        assert ran.returncode == 0, (words, ran.returncode, ran.stdout, ran.stderr)
        return ran.stdout

    def volume(self, stem: str) -> str:
        """A name for a volume that is removed in the end."""
        self._volumes.append(f"{stem}-{secrets.token_hex(4)}")
        return self._volumes[-1]

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def stop(self) -> None:
        super().stop()
        self.close()

    def clean(self) -> None:
        """Remove what its tasks left on the engine, once no worker of it runs any more."""
        if self._engine is not None and self.cluster_id:
            self._engine.clean(self.cluster_id)
            for volume in self._volumes:
                self._engine.remove_volume(volume)

    # -- what is so, or comes to be so

    def tasks(self, service: str | None = None) -> list[Task]:
        """Those that fill their slots."""
        return [task for task in self.client.tasks(service=service) if task.counts]

    def settled(self, *names: str, within_s: float = WITHIN_S) -> list[Task]:
        """The tasks that fill the slots of these services, once they are as wished."""

        def look() -> list[Task]:
            for name in names:
                view = self.client.service(name)
                assert view.status.settled, f"{name} is {view.status.phase}: {view.status}"
            return [task for name in names for task in self.tasks(name)]

        return eventually(lambda: (look(),), within_s=within_s)[0]

    def task(self, id: str) -> Task | None:
        try:
            return self.client.task(id)
        except NotFound:
            return None

    def ended_task(self, id: str, within_s: float = WITHIN_S) -> Task:
        """The task, once it has come to its end."""

        def look() -> Task | None:
            task = self.task(id)
            return task if task is not None and not task.live else None

        found = eventually(look, f"{id} has ended", within_s)
        assert found is not None
        return found

    def nodes_ready(self, *names: str, within_s: float = WITHIN_S) -> None:
        def look() -> bool:
            ready = {node.name for node in self.client.nodes() if node.status is NodeStatus.READY}
            assert ready == set(names), f"{sorted(ready)} are ready"
            return True

        eventually(look, within_s=within_s)

    def check_engine(self) -> bool:
        """What the engine holds is what the cluster thinks it holds: each task's one container, and no others."""
        tasks = [task for task in self.client.tasks() if task.state is not State.LOST]  # given up by their nodes
        there = self.engine.containers(self.cluster_id)
        thought = sorted((task.id, task.container_id) for task in tasks if task.container_id)
        assert sorted((one.task, one.id) for one in there) == thought
        running = sorted(task.id for task in tasks if task.state is State.RUNNING)
        assert sorted(one.task for one in there if one.running) == running
        return True

    def at_rest(self, within_s: float = WITHIN_S) -> list[ServiceView]:
        """All services, once everything is as wished and the engine agrees."""

        def look() -> list[ServiceView]:
            views = list(self.client.services())
            odd = {view.name: view.status for view in views if not view.status.settled}
            assert not odd, odd
            assert not [view.name for view in views if view.status.phase is Phase.REMOVING]
            if self._engine is not None:
                self.check_engine()
            return views

        return eventually(lambda: (look(),), within_s=within_s)[0]

    def clear(self) -> None:
        """Take every wish back, and wait until nothing is left of it."""
        for node in self.client.nodes():
            kept = NodePatch(availability=Availability.ACTIVE, labels=dict.fromkeys(node.labels))
            self.client.change_node(node.name, kept)
        for service in self.client.services():
            with suppress(NotFound):  # it is on its way out already
                self.client.remove_service(service.name)

        def look() -> bool:
            left = [task.id for task in self.client.tasks()]
            assert not left, f"{left} are left"
            return True

        eventually(look)


class Cluster(Manager):
    """`longshore dev`: a manager and three workers in one process."""

    def __init__(self, folder: Path, engine: EngineApi | None) -> None:
        data = folder / "data"
        which = engine.url if engine is not None else "fake"
        words = ("dev", "--nodes", str(NODES), "--engine", which, "-p", "0", "--data", data, "--log-format", "json")
        super().__init__(data, *words, engine=engine)

    def start(self) -> None:
        super().start()
        self.nodes_ready(*(f"n{number}" for number in range(1, NODES + 1)))


class ManagerProcess(Manager):
    """A manager alone, on a port that it keeps, so that workers find it again."""

    def __init__(self, data_dir: Path, *more: str | Path, engine: EngineApi | None = None, timeout_s: float = 5.0):
        self.port = free_port()
        words = ("manager", "-p", str(self.port), "--data", data_dir, "--heartbeat-timeout", str(timeout_s))
        super().__init__(data_dir, *words, "--log-format", "json", *more, engine=engine)


class WorkerProcess(Server):
    """A worker alone, with a data folder of its own. `way` says how it meets its manager: --join, or -p."""

    def __init__(self, node: str, data_dir: Path, engine: str, token: Path, *way: str) -> None:
        words = ("worker", "-n", node, *way, "--engine", engine, "--log-format", "json")
        log = data_dir.with_name(f"{data_dir.name}.log")
        super().__init__(f"worker {data_dir.name}", log, *words, "--token", token, "--data", data_dir)


class Fleet:
    """A manager and workers as processes of their own, all in one folder, sharing one engine."""

    def __init__(self, folder: Path, engine: EngineApi | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.engine = engine
        self.workers: dict[str, WorkerProcess] = {}
        """By the name of their data folder, which is the node's unless a test says otherwise."""
        self._manager: ManagerProcess | None = None

    @property
    def manager(self) -> ManagerProcess:
        assert self._manager is not None, "not started yet"
        return self._manager

    def start(self, *names: str, data_dir: Path | None = None, log: Path | None = None, timeout_s: float = 5.0) -> None:
        """A manager, and workers that dial it with join tokens from the command line. The manager's data folder and
        log are in the fleet's folder unless said otherwise."""
        self._start_manager(data_dir or self.folder / "manager", log=log, timeout_s=timeout_s)
        for name in names:
            self.add_worker(name).spawn()
        self.manager.nodes_ready(*names)

    def start_dialled(self, workers: Mapping[str, str], *, timeout_s: float = 5.0) -> None:
        """The other way round: the manager dials the workers, and both were given one token. `workers` are the names of
        their nodes, by data folder."""
        data_dir = self.folder / "manager"
        data_dir.mkdir()
        token = data_dir / "worker.token"  # where a manager looks for it
        token.write_text(secrets.token_hex(16))
        ports = {data: free_port() for data in workers}
        dials = [word for port in ports.values() for word in ("--worker", f"127.0.0.1:{port}")]
        self._start_manager(data_dir, *dials, timeout_s=timeout_s)
        for data, node in workers.items():
            self.workers[data] = WorkerProcess(
                node, self.folder / data, self._engine_url, token, "-p", str(ports[data])
            )
            self.workers[data].spawn()
        self.manager.nodes_ready(*set(workers.values()))

    def add_worker(self, name: str, *, token: Path | None = None, data: str = "") -> WorkerProcess:
        """One that dials the manager, and is not started yet."""
        folder = self.folder / (data or name)
        way = ("--join", self.manager.url)
        worker = WorkerProcess(name, folder, self._engine_url, token or self.join_token(), *way)
        self.workers[folder.name] = worker
        return worker

    def join_token(self, *more: str) -> Path:
        """A file with a new join token, made as a user makes one."""
        path = self.folder / f"{secrets.token_hex(4)}.token"
        path.write_text(self.manager.did("token", "create", *more))
        return path

    def _start_manager(self, data_dir: Path, *more: str, log: Path | None = None, timeout_s: float) -> None:
        self._manager = ManagerProcess(data_dir, *more, engine=self.engine, timeout_s=timeout_s)
        self._manager.log = log or self._manager.log
        self._manager.start()

    @property
    def _engine_url(self) -> str:
        return self.engine.url if self.engine is not None else "fake"

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        if self._manager is not None:
            self._manager.stop()
            self._manager.clean()


def _lent(folder: Path, engine: EngineApi | None) -> Iterator[Cluster]:
    cluster = Cluster(folder, engine)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        cluster.clean()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes on a simulated engine, shared by a module's tests."""
    yield from _lent(tmp_path_factory.mktemp("cluster"), None)


@pytest.fixture(scope="module")
def shared_real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    yield from _lent(tmp_path_factory.mktemp("real"), EngineApi(engine_url()))


@pytest.fixture
def real_cluster(shared_real_cluster: Cluster) -> Iterator[Cluster]:
    """Three nodes on the real engine: shared by a module's tests, and empty again for each of them."""
    if not shared_real_cluster.alive:  # the test before broke it
        shared_real_cluster.start()
    yield shared_real_cluster
    with suppress(Failure):
        shared_real_cluster.clear()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Manager and workers as processes of their own, on the real engine; a test starts what it needs."""
    made = Fleet(tmp_path, EngineApi(engine_url()))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def fake_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """The same on simulated engines, which need nothing of the machine."""
    made = Fleet(tmp_path, None)
    try:
        yield made
    finally:
        made.close()
