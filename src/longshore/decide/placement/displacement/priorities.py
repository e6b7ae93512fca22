"""Which waiting task comes before which: the one of higher priority, and among equals the older one.

A priority is of the service as it is wished now, so a change of it holds for all its tasks at once, whatever release
they run. Knows services alone.
"""

from collections.abc import Mapping

from longshore.decide.placement.held import Age, age
from longshore.model.objects import Service, Task
from longshore.model.snapshot import Snapshot


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


def turn(world: Snapshot, task: Task) -> tuple[int, Age]:
    """What waiting tasks are put in order by."""
    return -priority_of(world, task.service), age(task)


def _unusual(services: Mapping[str, Service]) -> Mapping[str, int]:
    return {name: one.spec.priority for name, one in services.items() if one.spec.priority}


def _lowest(services: Mapping[str, Service]) -> int:
    return min((one.spec.priority for one in services.values()), default=0)
