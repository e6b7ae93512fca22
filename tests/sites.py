"""A cluster on several machines: a manager at a desk of its own, a worker inside each machine.

Knows the processes of `tests/clusters.py` and the machines of `tests/machines.py`, and how the ones get into the
others. Must not know what a test does to them; it can put everything right again, whatever that was.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from longshore.model.errors import Failure
from longshore.model.lifecycle import State
from longshore.model.objects import Task
from tests.clusters import ManagerProcess, WorkerProcess, eventually
from tests.dockerd import EngineApi, engine_url
from tests.machines import Machine, Machines, running, saved_images, why_not

SMALL_DISK = "64m"
DISKS = ("", "", SMALL_DISK)
"""Of n1, n2 and n3: the last has one that can be filled."""
WITHIN_S = 60.0


class Site:
    """A manager and its workers, each where it belongs."""

    def __init__(self, machines: Machines, folder: Path, timeout_s: float = 5.0) -> None:
        self.machines = machines.machines
        self.desk = machines.add_desk()
        self.workers: dict[str, WorkerProcess] = {}
        self.manager = ManagerProcess(folder / "manager", "-H", self.desk.address, timeout_s=timeout_s)
        self.manager.within = self.desk.within

    def start(self) -> None:
        self.manager.start()
        for name, machine in self.machines.items():
            token = machine.folder / "join.token"
            token.write_text(self.manager.did("token", "create"))
            way = ("--join", self.manager.url)
            folder = machine.folder / f"worker-{name}"
            self.workers[name] = WorkerProcess(name, folder, machine.engine.url, token, *way)
            self.start_worker(name)
        self.manager.nodes_ready(*self.machines, within_s=WITHIN_S)

    def start_worker(self, name: str) -> None:
        """For the first time, or again."""
        self.workers[name].within = self.machines[name].within
        self.workers[name].spawn()

    def boot(self, name: str) -> None:
        """A machine that crashed, its engine and its worker."""
        machine = self.machines[name]
        machine.boot()
        machine.answers()
        eventually(lambda: not self.workers[name].alive)
        self.start_worker(name)

    def machine_of(self, task: Task) -> Machine:
        return self.machines[task.node]

    # -- what is so

    def running(self, name: str) -> list[str]:
        """The tasks that run on a machine, by its engine."""
        return sorted(one.task for one in self.machines[name].engine.running(self.manager.cluster_id))

    def agrees(self) -> bool:
        """Every engine runs what the cluster thinks that it does, and holds nothing else."""
        tasks = list(self.manager.client.tasks())
        for name, machine in self.machines.items():
            there = machine.engine.containers(self.manager.cluster_id)
            here = [task for task in tasks if task.node == name and task.state is not State.LOST]
            thought = sorted(task.container_id for task in here if task.container_id)
            assert sorted(one.id for one in there) == thought, f"{name} holds something else than it should"
            runs = sorted(task.id for task in here if task.state is State.RUNNING)
            assert self.running(name) == runs, f"{name} runs something else than it should"
        return True

    def at_rest(self, *services: str, within_s: float = WITHIN_S) -> list[Task]:
        """The tasks that fill the slots, once all is as wished and every engine agrees."""
        self.manager.nodes_ready(*self.machines, within_s=within_s)
        self.manager.settled(*services, within_s=within_s)
        eventually(self.agrees, within_s=within_s)
        return self.manager.settled(*services)

    def elsewhere(self, node: str, service: str, count: int, within_s: float) -> list[Task]:
        """The tasks of a service that are ready on other nodes than one, once there are so many."""

        def look() -> list[Task]:
            found = [task for task in self.manager.tasks(service) if task.ready and task.node != node]
            assert len(found) >= count, f"{len(found)} of {count} run elsewhere than on {node}"
            return found

        return eventually(look, within_s=within_s)

    # -- and put right again

    def repair(self) -> None:
        """All is on, connected and empty of faults."""
        self.desk.plug.heal()
        for name, machine in self.machines.items():
            if not machine.on:
                machine.boot()
            machine.plug.heal()
            machine.thaw()
            machine.lose_nothing()
            machine.free_disk()
            if not machine.engine_on:
                machine.start_engine()
            machine.answers()
            if not self.workers[name].alive:
                self.start_worker(name)
        if not self.manager.alive:
            self.manager.start()
        self.manager.nodes_ready(*self.machines, within_s=WITHIN_S)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        self.manager.stop()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if missing := why_not():
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("site")
    with running(folder, DISKS, saved_images(EngineApi(engine_url()))) as machines:
        made = Site(machines, folder)
        try:
            made.start()
            yield made
        finally:
            made.close()


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """A manager and three machines: shared by a module's tests, whole and empty again for each of them."""
    shared_site.repair()
    yield shared_site
    with suppress(Failure, AssertionError):  # the next test says so, where it is asked for again
        shared_site.repair()
        shared_site.manager.clear()
