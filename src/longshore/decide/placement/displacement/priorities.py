"""Which waiting task comes before which: the one of higher priority, and among equals the older one.

A policy may have the largest first of those that were made in the same second: few nodes have room for what is large,
and what is small fills the gaps that it leaves. An order of size alone would have old tasks wait for ever.

A priority is of the service as it is wished now, so a change of it holds for all its tasks at once, whatever release
they run. Knows services and their releases.
"""

from collections.abc import Iterable, Mapping

from longshore.decide.placement.held import Age, age
from longshore.model.objects import Service, Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources

CORE = 4 << 30
"""Bytes of memory that weigh as much as one core: about what machines have of it for each."""

Turn = tuple[int, int, float, Age]
"""The lower it is, the sooner. The priority, negated; the second and the size, negated, or zeros; the age."""


def priorities(world: Snapshot) -> Mapping[str, int]:
    """By service, where it is not the usual one, zero."""
    return world.services.derive(_unusual)


def priority_of(world: Snapshot, service: str) -> int:
    """Of one service; the usual one for what was removed."""
    found = world.services.get(service)
    return found.spec.priority if found is not None else 0


def lowest(world: Snapshot) -> int:
    """The lowest of all services: who has it displaces nobody."""
    return world.services.derive(_lowest)


def turn(world: Snapshot, task: Task, *, largest_first: bool = False) -> Turn:
    """What waiting tasks are put in order by."""
    return _turn(_weight(world, task), task, largest_first)


def in_turn(world: Snapshot, tasks: Iterable[Task], *, largest_first: bool = False) -> list[Task]:
    """Tasks in their order."""
    weights: dict[tuple[str, int], tuple[int, float]] = {}
    turns = []
    for task in tasks:
        kind = task.service, task.release
        if kind not in weights:
            weights[kind] = _weight(world, task)
        turns.append((_turn(weights[kind], task, largest_first), task))
    return [task for _, task in sorted(turns)]


def _turn(weight: tuple[int, float], task: Task, largest_first: bool) -> Turn:
    priority, size = weight
    return (-priority, int(task.created_at), -size, age(task)) if largest_first else (-priority, 0, 0.0, age(task))


def _weight(world: Snapshot, task: Task) -> tuple[int, float]:
    """Priority and size of a task, which are those of all its kind."""
    release = world.release(task.service, task.release)
    needs = release.spec.resources if release is not None else Resources()
    return priority_of(world, task.service), needs.cpu + needs.memory / CORE


def _unusual(services: Mapping[str, Service]) -> Mapping[str, int]:
    return {name: one.spec.priority for name, one in services.items() if one.spec.priority}


def _lowest(services: Mapping[str, Service]) -> int:
    return min((one.spec.priority for one in services.values()), default=0)
