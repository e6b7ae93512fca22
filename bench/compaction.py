"""How few machines of a cell a workload needs, by policy: Borg's cell compaction, in process.

After Verma et al. (EuroSys 2015, 5.1): machines are taken away in a random order and the workload is packed again from
nothing, until it no longer fits; up to 0.2 % of tasks may stay pending. Machines have the shapes of Google's cell of
2011, the tasks are made up (long-tailed, cpu and memory loosely related), so figures compare policies and no clusters.
Our policies are asked through the placement decision itself; the others are written down here. The solver's bound is a
linear program: tasks may be cut into pieces, but not put on a type of machine that they do not fit on as a whole.
"""

import math
from collections.abc import Callable, Sequence
from random import Random

import msgspec
import numpy as np
import numpy.typing as npt

from longshore.decide.placement import place
from longshore.model.lifecycle import State
from longshore.model.objects import (
    Capacity,
    EngineFacts,
    Kind,
    Node,
    Object,
    Release,
    Service,
    Task,
    release_id,
    task_id,
)
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources, ServiceSpec

PENDING_MAX = 0.002
LARGEST = (64_000, 256 << 30)
"""Thousandths of cores and bytes of the largest machine."""
SHAPES: tuple[tuple[float, float, int], ...] = (
    (0.5, 0.5, 6732),
    (0.5, 0.25, 3863),
    (0.5, 0.75, 1001),
    (1.0, 1.0, 795),
    (0.25, 0.25, 126),
    (0.5, 0.125, 52),
)
"""Parts of the largest machine's cpu and memory, and how many there were (Reiss et al., SoCC 2012, table 1)."""
FILLED = 0.7
"""Of the scarcer resource of the whole cell."""

Floats = npt.NDArray[np.float64]
Pack = Callable[["Cell", Sequence[int]], int]
"""How many tasks stay pending on these machines."""


class Job(msgspec.Struct, frozen=True):
    """Tasks that are alike."""

    cpu_millis: int
    memory: int
    tasks: int


class Cell(msgspec.Struct, frozen=True):
    """Machines and a workload that fits on them."""

    machines: tuple[tuple[int, int], ...]
    jobs: tuple[Job, ...]

    @property
    def tasks(self) -> int:
        return sum(job.tasks for job in self.jobs)


def cell(rng: Random, machines: int) -> Cell:
    """A cell of so many machines, and jobs for a part of it."""
    made = rng.choices([shape[:2] for shape in SHAPES], [shape[2] for shape in SHAPES], k=machines)
    sizes = tuple((round(cpu * LARGEST[0]), round(memory * LARGEST[1])) for cpu, memory in made)
    left_cpu, left_memory = (FILLED * sum(size[one] for size in sizes) for one in (0, 1))
    jobs: list[Job] = []
    while True:
        cpu = rng.lognormvariate(math.log(0.02), 1.0)
        memory = 0.6 * cpu * rng.lognormvariate(0.0, 0.8)
        job = Job(
            cpu_millis=max(round(min(cpu, 0.4) * LARGEST[0]), 10),
            memory=max(round(min(memory, 0.4) * LARGEST[1]), 1 << 22),
            tasks=min(max(round(rng.lognormvariate(math.log(8), 1.2)), 1), 10 * machines),
        )
        left_cpu -= job.cpu_millis * job.tasks
        left_memory -= job.memory * job.tasks
        if min(left_cpu, left_memory) < 0:
            return Cell(sizes, tuple(jobs))
        jobs.append(job)


def compacted(one: Cell, order: Sequence[int], pack: Pack) -> int:
    """The least number of machines, taken from the front of `order`, that hold the workload. Found by halving, as
    Borg's method has it; a policy for which more machines are sometimes worse is not punished for that."""
    may_wait = int(PENDING_MAX * one.tasks)
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if pack(one, order[:middle]) <= may_wait:
            high = middle
        else:
            low = middle + 1
    return low


# -- policies


def decided_by(policy: str) -> Pack:
    """Our placement decision, with one of its policies."""

    def pack(one: Cell, machines: Sequence[int]) -> int:
        changes, _ = place.decide(_world(one, machines), 1.0, policy)
        placed = sum(isinstance(change.after, Task) and bool(change.after.node) for change in changes)
        return one.tasks - placed

    return pack


def _world(one: Cell, machines: Sequence[int]) -> Snapshot:
    objects: list[tuple[Kind, Object]] = []
    ids: list[str] = []
    for number in machines:
        cpu, memory = one.machines[number]
        name = f"m{number:05}"
        size = Capacity(cpu=cpu / 1000, memory=memory)
        node = Node(name=name, capacity=size, engine=EngineFacts(id=name), worker_version="bench")
        objects.append((Kind.NODE, node))
        ids.append(name)
    for number, job in enumerate(one.jobs):
        name = f"job{number:05}"
        spec = ServiceSpec(
            image="x", replicas=job.tasks, resources=Resources(cpu=job.cpu_millis / 1000, memory=job.memory)
        )
        objects += [
            (Kind.SERVICE, Service(name=name, spec=spec)),
            (Kind.RELEASE, Release(service=name, number=1, spec=spec)),
        ]
        ids += [name, release_id(name, 1)]
        for slot in range(1, job.tasks + 1):
            task = Task(
                id=task_id(name, slot, 1),
                service=name,
                slot=slot,
                generation=1,
                release=1,
                state=State.NEW,
                reason=Reason.CREATED,
            )
            objects.append((Kind.TASK, task))
            ids.append(task.id)
    return Snapshot.restored(1, objects, ids)


def scored_by(score: Callable[[Floats, Floats, Floats], Floats], *, decreasing: bool = False) -> Pack:
    """Task by task on the machine with the highest score of those with room; the largest jobs first if `decreasing`.
    A score sees what is free, what the machines have, and what a task needs, each as parts of the largest machine."""

    def pack(one: Cell, machines: Sequence[int]) -> int:
        if not machines:
            return one.tasks
        size = np.array([one.machines[number] for number in machines], np.float64) / LARGEST
        free = size.copy()
        jobs = [(np.array([job.cpu_millis, job.memory]) / LARGEST, job.tasks) for job in one.jobs]
        if decreasing:
            jobs.sort(key=lambda job: -float(job[0].max()))
        pending = 0
        for need, tasks in jobs:
            for task in range(tasks):
                room = (free >= need - 1e-12).all(axis=1)
                if not room.any():
                    pending += tasks - task
                    break
                free[int(np.where(room, score(free, size, need), -np.inf).argmax())] -= need
        return pending

    return pack


def best_fit(free: Floats, size: Floats, need: Floats) -> Floats:
    """The least left over, cpu and memory together."""
    return np.asarray(-(free - need).sum(axis=1), np.float64)


def dot_product(free: Floats, size: Floats, need: Floats) -> Floats:
    """Tetris' alignment: demand times what is free."""
    return np.asarray(free @ need, np.float64)


def random_fit(seed: int) -> Callable[[Floats, Floats, Floats], Floats]:
    """Any machine with room."""
    rng = np.random.default_rng(seed)
    return lambda free, size, need: rng.random(len(free))


# -- the bound


def solver_there() -> bool:
    """Whether there is a solver: scipy is wanted here alone, so it may be missing."""
    try:
        import scipy.optimize  # noqa: F401
    except ImportError:
        return False
    return True


def bound(one: Cell, machines: Sequence[int]) -> int:
    """How many tasks no policy whatsoever can place on these machines, by HiGHS: at least so many."""
    from scipy.optimize import linprog

    types = sorted({one.machines[number] for number in machines})
    count = {size: sum(one.machines[number] == size for number in machines) for size in types}
    pairs = [
        (at, type_at)
        for at, job in enumerate(one.jobs)
        for type_at, size in enumerate(types)
        if job.cpu_millis <= size[0] and job.memory <= size[1]
    ]
    if not pairs:
        return one.tasks
    rows = np.zeros((len(one.jobs) + 2 * len(types), len(pairs)))
    limits = [float(job.tasks) for job in one.jobs]
    limits += [count[size] * size[which] / LARGEST[which] for size in types for which in (0, 1)]
    for column, (at, type_at) in enumerate(pairs):
        job = one.jobs[at]
        rows[at, column] = 1.0
        rows[len(one.jobs) + 2 * type_at, column] = job.cpu_millis / LARGEST[0]
        rows[len(one.jobs) + 2 * type_at + 1, column] = job.memory / LARGEST[1]
    solved = linprog(-np.ones(len(pairs)), A_ub=rows, b_ub=limits, bounds=(0, None), method="highs")
    assert solved.success, solved.message
    return one.tasks - math.floor(1e-6 - float(solved.fun))
