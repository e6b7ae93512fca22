"""How much of a cluster's GPUs a stream of tasks gets, by policy: FGD's experiment, in process.

After Weng et al. (USENIX ATC 2023): tasks are drawn until they ask for 130 % of all GPUs, none is tried twice, and what
counts is the part of the GPUs that is allocated once the demand that came is 100 % of them. The nodes are the published
ones by kind (1,213 nodes, 6,212 GPUs). The tasks are drawn from the published shares of demands, or from the trace
itself where there is a folder with it (`openb_pod_list_default.csv`, of Alibaba's cluster-trace-gpu-v2023).
A policy here is a score of a node for each class of tasks. Classes are few, so scores are kept for all of them and only
those of the node that took a task are made anew.
"""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import numpy.typing as npt

WHOLE = 1000
"""Thousandths of a GPU."""
GPUS_MAX = 8
DEMAND = 1.3
NODES: tuple[tuple[int, int, int, int], ...] = (
    (549, 96, 384, 8),
    (39, 128, 768, 8),
    (385, 104, 512, 2),
    (18, 96, 384, 4),
    (22, 64, 256, 2),
    (109, 16, 120, 2),
    (3, 8, 60, 1),
    (36, 32, 128, 4),
    (5, 64, 256, 8),
    (11, 8, 32, 1),
    (16, 96, 768, 8),
    (19, 48, 368, 4),
    (1, 128, 512, 2),
)
"""Nodes of a kind, their cores, GiB and GPUs."""
TASKS: tuple[tuple[float, int, int, tuple[tuple[int, int], ...]], ...] = (
    (13.3, 0, 0, ((2, 4), (4, 8), (8, 16), (16, 32))),
    (3.0, 1, 100, ((1, 4), (2, 8))),
    (5.0, 1, 220, ((2, 8), (4, 15))),
    (5.0, 1, 400, ((3, 12), (4, 16))),
    (8.0, 1, 500, ((4, 16), (6, 24))),
    (5.8, 1, 700, ((4, 16), (8, 30))),
    (5.5, 1, 800, ((6, 24), (8, 30))),
    (5.5, 1, 950, ((6, 24), (8, 30))),
    (48.0, 1, WHOLE, ((2, 8), (4, 16), (6, 24), (8, 30), (11, 45))),
    (0.2, 2, WHOLE, ((12, 48),)),
    (0.2, 4, WHOLE, ((24, 96),)),
    (0.5, 8, WHOLE, ((64, 256),)),
)
"""Per cent of tasks, GPUs and thousandths of each (the paper's table of shares, its shared GPUs 0.56 in the mean), and
what cores and GiB go with them, which is not published but in the trace: so much that GPUs are what is scarce."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Demand(msgspec.Struct, frozen=True, order=True):
    """A class of tasks."""

    cpu_millis: int
    memory_mib: int
    gpus: int
    gpu_millis: int
    """Of each."""

    @property
    def in_all(self) -> int:
        return self.gpus * self.gpu_millis


class State(msgspec.Struct):
    """What is free on each node; `gpus` by place, zero where there is none."""

    cpu: Ints
    memory: Ints
    gpus: Ints


def published_nodes() -> State:
    """All empty."""
    rows = [kind[1:] for kind in NODES for _ in range(kind[0])]
    gpus = np.array([[WHOLE] * count + [0] * (GPUS_MAX - count) for _, _, count in rows], np.int64)
    cpu = np.array([cores * 1000 for cores, _, _ in rows], np.int64)
    return State(cpu, np.array([gib * 1024 for _, gib, _ in rows], np.int64), gpus)


def drawn(rng: Random, gpus: int, folder: Path | None) -> list[Demand]:
    """Tasks until they ask for 130 % of so many GPUs."""
    pool, weights = traced(folder) if folder is not None else made_up()
    left = DEMAND * gpus * WHOLE
    tasks = []
    while left > 0:
        tasks.append(rng.choices(pool, weights)[0])
        left -= tasks[-1].in_all
    return tasks


def made_up() -> tuple[list[Demand], list[float]]:
    """By the published shares."""
    pool, weights = [], []
    for share, gpus, millis, sizes in TASKS:
        for cores, gib in sizes:
            pool.append(Demand(cores * 1000, gib * 1024, gpus, millis))
            weights.append(share / len(sizes))
    return pool, weights


def traced(folder: Path) -> tuple[list[Demand], list[float]]:
    """By the trace."""
    with (folder / "openb_pod_list_default.csv").open(newline="") as lines:
        names = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
        counts = Counter(Demand(*(int(row[name] or 0) for name in names)) for row in csv.DictReader(lines))
    pool = sorted(counts)
    return pool, [float(counts[one]) for one in pool]


def allocated(tasks: list[Demand], policy: str, seed: int) -> float:
    """Part of all GPUs that is allocated once the demand that came is 100 % of them."""
    state = published_nodes()
    capacity = int(state.gpus.sum())
    pool = sorted(set(tasks))
    shares = np.array([tasks.count(one) for one in pool], np.float64) / len(tasks)
    table = _Table(state, pool, shares, policy, np.random.default_rng(seed))
    came = given = 0
    at = {one: number for number, one in enumerate(pool)}
    for task in tasks:
        came += task.in_all
        if came > capacity:
            break
        given += task.in_all if table.take(at[task]) else 0
    return given / capacity


class _Classes:
    """All classes of the tasks to come, in columns, and how often each comes."""

    def __init__(self, pool: list[Demand], shares: Floats) -> None:
        self._shares = shares
        self._cpu, self._memory, self._gpus, self._millis = (
            np.array(column, np.int64)
            for column in zip(
                *((one.cpu_millis, one.memory_mib, one.gpus, one.gpu_millis) for one in pool), strict=True
            )
        )

    def unusable(self, cpu: int, memory: int, gpus: Ints) -> float:
        """Expected thousandths of a node's GPUs that the next task cannot use: all of them if it does not fit or wants
        none, else those that are too small for it."""
        shared = self._millis < WHOLE
        room = np.where(shared, gpus.max() >= self._millis, (gpus == WHOLE).sum() >= self._gpus)
        fits = (self._gpus > 0) & room & (cpu >= self._cpu) & (memory >= self._memory)
        too_small = np.where(gpus[None, :] < self._millis[:, None], gpus[None, :], 0).sum(axis=1)
        return float(self._shares @ np.where(fits, too_small, gpus.sum()))


class _Table:
    """Scores of all nodes for all classes; minus infinity where there is no room."""

    def __init__(self, state: State, pool: list[Demand], shares: Floats, policy: str, rng: np.random.Generator) -> None:
        self._state = state
        self._pool = pool
        self._classes = _Classes(pool, shares)
        self._score = POLICIES[policy]
        self._rng = rng
        self._random = policy == RANDOM
        self._whole = published_nodes()
        self._scores = np.full((len(pool), len(state.cpu)), -np.inf)
        self._kept: dict[bytes, Floats] = {}
        for row in range(len(state.cpu)):
            self._renew(row)

    def take(self, number: int) -> bool:
        """Put a task of a class on its best node; False if there is none."""
        scores = self._scores[number]
        if self._random:
            scores = np.where(scores > -np.inf, self._rng.random(len(scores)), -np.inf)
        row = int(scores.argmax())
        if scores[row] == -np.inf:
            return False
        task = self._pool[number]
        after = self._best(row, task)[1]
        self._state.cpu[row] -= task.cpu_millis
        self._state.memory[row] -= task.memory_mib
        self._state.gpus[row] = after
        self._renew(row)
        return True

    def _renew(self, row: int) -> None:
        whole = self._whole
        gpus = np.sort(self._state.gpus[row])
        # Nodes of one kind in one state are alike for all time.
        free = (self._state.cpu[row], self._state.memory[row], whole.cpu[row], whole.memory[row])
        key = np.concatenate([np.array(free), gpus, np.array([whole.gpus[row].sum()])]).tobytes()
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = np.array([self._best(row, task)[0] for task in self._pool])
        self._scores[:, row] = kept

    def _best(self, row: int, task: Demand) -> tuple[float, Ints]:
        """The score of a node for a task, and its GPUs after it."""
        state = self._state
        cpu, memory, gpus = int(state.cpu[row]), int(state.memory[row]), state.gpus[row]
        options = _options(gpus, task) if cpu >= task.cpu_millis and memory >= task.memory_mib else []
        if not options:
            return -np.inf, gpus
        seen = _Seen(cpu, memory, gpus, self._whole, row, self._classes)
        scored = [(self._score(seen, task, after), -number) for number, after in enumerate(options)]
        score, number = max(scored)
        return score, options[-number]


class _Seen(msgspec.Struct, frozen=True):
    """What a policy may look at."""

    cpu: int
    memory: int
    gpus: Ints
    whole: State
    row: int
    classes: _Classes

    def parts_free(self) -> Floats:
        """Of the largest node's cpu, memory and GPUs."""
        free = np.array([self.cpu, self.memory, self.gpus.sum()], np.float64)
        return np.asarray(free / self._largest(), np.float64)

    def parts_of(self, task: Demand) -> Floats:
        need = np.array([task.cpu_millis, task.memory_mib, task.in_all], np.float64)
        return np.asarray(need / self._largest(), np.float64)

    def _largest(self) -> Floats:
        return np.array([self.whole.cpu.max(), self.whole.memory.max(), GPUS_MAX * WHOLE], np.float64)


def _options(gpus: Ints, task: Demand) -> list[Ints]:
    """The GPUs of a node after a task, in each way that differs; the tightest first."""
    if not task.gpus:
        return [gpus]
    if task.gpu_millis == WHOLE:
        full = np.flatnonzero(gpus == WHOLE)
        if len(full) < task.gpus:
            return []
        after = gpus.copy()
        after[full[: task.gpus]] = 0
        return [after]
    ways = []
    for free in sorted(set(gpus[gpus >= task.gpu_millis].tolist())):
        after = gpus.copy()
        after[int(np.flatnonzero(gpus == free)[0])] -= task.gpu_millis
        ways.append(after)
    return ways


# -- policies: the higher the better


def _random(seen: _Seen, task: Demand, after: Ints) -> float:
    return 0.0


def _best_fit(seen: _Seen, task: Demand, after: Ints) -> float:
    return -float((seen.parts_free() - seen.parts_of(task)).sum())


def _dot_product(seen: _Seen, task: Demand, after: Ints) -> float:
    return float(seen.parts_free() @ seen.parts_of(task))


def _epvm(seen: _Seen, task: Demand, after: Ints) -> float:
    """Opportunity cost over cpu, memory and GPUs."""
    row, whole = seen.row, seen.whole
    has = np.array([whole.cpu[row], whole.memory[row], whole.gpus[row].sum()], np.float64)
    free = np.array([seen.cpu, seen.memory, seen.gpus.sum()], np.float64)
    need = np.array([task.cpu_millis, task.memory_mib, task.in_all], np.float64)
    base = float(len(whole.cpu))
    return -float((base ** (1 - (free - need) / has) - base ** (1 - free / has)).sum())


def _fragmentation(seen: _Seen, task: Demand, after: Ints) -> float:
    """FGD: the least rise of what the classes to come could not use of the node's GPUs."""
    before = seen.classes.unusable(seen.cpu, seen.memory, seen.gpus)
    return before - seen.classes.unusable(seen.cpu - task.cpu_millis, seen.memory - task.memory_mib, after)


RANDOM = "random"
POLICIES: dict[str, Callable[[_Seen, Demand, Ints], float]] = {
    RANDOM: _random,
    "dot product": _dot_product,
    "best fit": _best_fit,
    "E-PVM": _epvm,
    "FGD": _fragmentation,
}
PUBLISHED = {RANDOM: 86.30, "dot product": 90.62, "best fit": 92.86, "FGD": 95.23}
"""Per cent at 100 % demand, the mean of 10 draws from the trace."""
