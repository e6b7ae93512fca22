"""What of the nodes' devices the tasks to come could not use: FGD's measure (Weng et al., ATC 2023).

A device is wasted on a task that asks for more of it than is free, and all of a node's are if the task asks for none or
does not fit there. What is expected to be wasted on the next task, drawn from what the cluster's services wish for, is
a node's fragmentation; the best node for a task is where it rises least, or falls most. Sums are of whole thousandths
times whole tasks, so they are exact. Knows needs of cpu, memory and devices; none of the other filters.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.holdings import Holdings
from longshore.decide.placement.table import Counts, NodeTable, Vector
from longshore.model.objects import Service
from longshore.model.spec import WHOLE_MILLIS, Resources

Column = tuple[int, int, int, int]
"""Cpu, memory, and of a device how many and thousandths of each."""


class Shapes(msgspec.Struct, frozen=True):
    """What tasks of all services ask for, those that ask the same as one; in columns."""

    cpu: Counts
    memory: Counts
    count: Counts
    millis: Counts
    tasks: Counts
    """How many there are to be of each."""
    needs: Counts
    """The different ones of `millis`."""
    need: Counts
    """Which of those each has."""


def shapes_of(services: Mapping[str, Service]) -> dict[str, Shapes]:
    """By the resource of which some service asks for devices."""
    wished: Counter[tuple[int, int, tuple[tuple[str, int, int], ...]]] = Counter()
    for service in services.values():
        need = service.spec.resources
        wished[need.cpu_millis, need.memory, tuple(_devices_of(need))] += service.spec.replicas
    names = sorted({name for _, _, devices in wished for name, _, _ in devices})
    return {name: _columns(_asking(wished, name)) for name in names}


def _devices_of(need: Resources) -> Iterable[tuple[str, int, int]]:
    yield from ((name, count, WHOLE_MILLIS) for name, count in sorted(need.named.items()))
    yield from ((name, 1, need.millis_of(name)) for name in sorted(need.shares))


def _asking(wished: Mapping[tuple[int, int, tuple[tuple[str, int, int], ...]], int], name: str) -> Counter[Column]:
    found: Counter[Column] = Counter()
    for (cpu, memory, devices), tasks in wished.items():
        count, millis = next(((count, millis) for one, count, millis in devices if one == name), (0, 0))
        found[cpu, memory, count, millis] += tasks
    return found


def _columns(asking: Counter[Column]) -> Shapes:
    kinds = sorted(asking)
    cpu, memory, count, millis = np.array(kinds, np.int64).reshape(len(kinds), 4).T
    needs, need = np.unique(millis, return_inverse=True)
    return Shapes(cpu, memory, count, millis, np.array([asking[kind] for kind in kinds], np.int64), needs, need)


class Fragments:
    """Of one table, and what is taken from it."""

    def __init__(self, services: Mapping[str, Shapes], table: NodeTable) -> None:
        self._services = services
        self._holdings: Holdings = table.holdings

    def eased(self, ask: Ask, rows: Counts, cpu_free: Vector, memory_free: Vector) -> Vector:
        """By how much less would be wasted of the devices of nodes with room once they have a task of `ask`, as a part
        of all that the largest node has: from -1 to 1."""
        found = np.zeros(len(rows), np.float64)
        for name, shapes in self._services.items():
            devices = self._holdings.devices(name)[rows]
            if not devices.size:
                continue
            before = _wasted(shapes, cpu_free, memory_free, devices)
            after = _wasted(shapes, cpu_free - ask.cpu_millis, memory_free - ask.memory, _after(ask, name, devices))
            most = devices.shape[1] * WHOLE_MILLIS * max(int(shapes.tasks.sum()), 1)
            found += (before - after) / most
        return found / max(len(self._services), 1)


def _wasted(shapes: Shapes, cpu_free: Vector, memory_free: Vector, devices: Counts) -> Counts:
    """Thousandths that the tasks of all shapes could not use, on each node."""
    enough = devices[:, None, :] >= np.maximum(shapes.needs, 1)[:, None]
    small = np.where(enough, 0, devices[:, None, :]).sum(axis=2)
    large = enough.sum(axis=2)
    fits = (large[:, shapes.need] >= shapes.count) & (shapes.count > 0)
    fits &= (cpu_free[:, None] >= shapes.cpu) & (memory_free[:, None] >= shapes.memory)
    wasted: Counts = np.where(fits, small[:, shapes.need], devices.sum(axis=1)[:, None]) @ shapes.tasks
    return wasted


def _after(ask: Ask, name: str, devices: Counts) -> Counts:
    """What is left of devices where a task of `ask` was given its own, as `Holdings` gives them."""
    left, extra = devices.copy(), ask.extra
    whole = dict(extra.named).get(name, 0) if extra is not None else 0
    share = dict(extra.shares).get(name, 0) if extra is not None else 0
    if whole:
        free = devices == WHOLE_MILLIS
        left[free & (free.cumsum(axis=1) <= whole)] = 0
    if share:
        tightest = np.where(devices >= share, devices, WHOLE_MILLIS + 1).argmin(axis=1)
        rows = np.arange(len(devices))
        left[rows, tightest] = np.maximum(left[rows, tightest] - share, 0)
    return left
