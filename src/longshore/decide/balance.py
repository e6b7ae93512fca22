"""How evenly the tasks of a cluster are spread over its nodes, as one number, and what a move would change of it.

Counted in tasks. *Uneven* is the load on nodes that have more than their share: of tasks, where each node's share is
the same, and of cpu and memory set aside, where it is by capacity; the mean of those that are in use. *Crowded* are
tasks that share a node with more of their service than an even spread of that service needs; they count double, as one
node's end would take them all. The imbalance is both together, as a part of the most that they could be: 0 is even, 1
would be all on one node. It works without reservations too, and in a cluster of equal nodes and tasks what is best for
it is what the policy `spread` does.

Knows the nodes that take part (ready, heard of, active), and the tasks on them that fill their slots. Which moves are
allowed is a filter's to say, which are worth it `rebalance`'s.
"""

from math import ceil

import numpy as np
import numpy.typing as npt

from longshore.decide.placement.ask import ask_of
from longshore.decide.placement.table import Counts, Mask, NodeTable
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, Resources, ServiceSpec

CROWDED = 2.0
"""What a crowded task counts."""

Vector = npt.NDArray[np.float64]

Need = tuple[int, int, int]
"""Of a task: one, its cpu, its memory."""


class Balance:
    """Of one snapshot, and of what is moved since."""

    def __init__(self, world: Snapshot, table: NodeTable) -> None:
        self._world = world
        self._table = table
        self.open: Mask = table.up & table.heard & table.active
        """The nodes that take part."""
        self.tasks_on: dict[int, list[Task]] = {}
        """Tasks that count, by row."""
        self._of_service: dict[str, Counts] = {}
        self._even: dict[str, int] = {}
        self._needs: dict[tuple[str, int], Need] = {}
        """By service and release, as are the next two."""
        self._weights: dict[tuple[str, int], Vector] = {}
        self._arrives: dict[tuple[str, int], Vector] = {}
        """What was worked out since the last move."""
        sums = self._counted()
        totals = sums.sum(axis=1)
        self._most = (CROWDED + 1) * max(float(totals[0]), 1.0)
        used = totals > 0
        self._scale: Vector = np.divide(totals[0], totals, out=np.zeros(3), where=used)
        """What makes a sum of each kind weigh as much as all tasks."""
        self._kinds = max(int(used.sum()), 1)
        self._load: Vector = sums * self._scale[:, None]
        capacity = np.stack([np.ones(len(table)), table.cpu, table.memory]) * self.open
        self._share: Vector = capacity * (totals[0] * used / np.maximum(capacity.sum(axis=1), 1))[:, None]

    def _counted(self) -> Vector:
        rows: list[Need] = [(0, 0, 0)] * len(self._table)
        for row in np.flatnonzero(self.open).tolist():
            here = [task for task in self._world.tasks_of_node(self._table.names[row]).values() if task.counts]
            self.tasks_on[row] = sorted(here, key=lambda task: (task.service, task.slot))
            tasks = cpu = memory = 0
            for task in here:
                need = self._need(task)
                tasks, cpu, memory = tasks + need[0], cpu + need[1], memory + need[2]
                self.of_service(task.service)[row] += 1
            rows[row] = tasks, cpu, memory
        return np.array(rows, np.float64).reshape(len(self._table), 3).T

    def _need(self, task: Task) -> Need:
        kind = (task.service, task.release)
        need = self._needs.get(kind)
        if need is None:
            release = self._world.release(*kind)
            needs = release.spec.resources if release is not None else Resources()
            need = self._needs[kind] = (1, needs.cpu_millis, needs.memory)
        return need

    def of_service(self, service: str) -> Counts:
        """Its tasks that count, on each node that takes part."""
        counts = self._of_service.get(service)
        if counts is None:
            counts = self._of_service[service] = np.zeros(len(self._table), np.int64)
        return counts

    def even(self, service: str) -> int:
        """The most tasks of `service` that a node has if they are spread over the nodes that they may be on."""
        found = self._even.get(service)
        if found is None:
            found = self._even[service] = self._evenly(service)
        return found

    def _evenly(self, service: str) -> int:
        record, count = self._world.services.get(service), int(self.of_service(service).sum())
        if record is None or record.spec.mode is not Mode.REPLICATED:
            return count  # where those are is not ours to judge
        nodes = int(_eligible(self._table, self.open, service, record.spec).sum())
        return ceil(count / nodes) if nodes else count

    # -- sums

    def imbalance(self) -> float:
        crowded = sum(
            int(np.maximum(counts - self.even(service), 0).sum()) for service, counts in self._of_service.items()
        )
        uneven = float(np.maximum(self._load - self._share, 0).sum()) / self._kinds
        return (CROWDED * crowded + uneven) / self._most

    def part(self, tasks: float) -> float:
        """So many tasks' worth, as a part of the most that there could be."""
        return tasks / self._most

    def leaves(self, task: Task, row: int) -> float:
        """How many tasks' worth it is better without `task` on its node."""
        weights, less = self._weight(task).tolist(), 0.0
        for load, share, weight in zip(self._load[:, row].tolist(), self._share[:, row].tolist(), weights, strict=True):
            less += max(load - share, 0.0) - max(load - weight - share, 0.0)
        return less / self._kinds + CROWDED * (self.of_service(task.service).item(row) > self.even(task.service))

    def arrives(self, task: Task) -> Vector:
        """How many tasks' worth it is worse with `task` on each node."""
        kind = (task.service, task.release)
        more = self._arrives.get(kind)
        if more is None:
            weight = self._weight(task)[:, None]
            over = np.maximum(self._load + weight - self._share, 0) - np.maximum(self._load - self._share, 0)
            crowded = self.of_service(task.service) >= self.even(task.service)
            more = self._arrives[kind] = over.sum(axis=0) / self._kinds + CROWDED * crowded
        return more

    def least_more(self, task: Task) -> float:
        """How many tasks' worth it is worse with `task` on the node that it suits best."""
        return float(self.arrives(task)[self.open].min())

    def move(self, task: Task, source: int, target: int) -> None:
        weight = self._weight(task)
        self._load[:, source] -= weight
        self._load[:, target] += weight
        counts = self.of_service(task.service)
        counts[source] -= 1
        counts[target] += 1
        self._arrives.clear()

    def _weight(self, task: Task) -> Vector:
        kind = (task.service, task.release)
        weight = self._weights.get(kind)
        if weight is None:
            weight = self._weights[kind] = np.array(self._need(task), np.float64) * self._scale
        return weight


def _eligible(table: NodeTable, rows: Mask, service: str, spec: ServiceSpec) -> Mask:
    return rows & table.suits(ask_of(service, spec))
