"""Which tasks wait for a node, without looking at all of them: services whose tasks did not change are known.

Kept from one snapshot to the next; the identity of a service's mapping of tasks tells whether it has to be read anew.
Knows nothing of nodes.
"""

from collections.abc import Iterable

from longshore.decide.placement.displacement.priorities import in_turn
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Task
from longshore.model.sharing import Shared, Slots
from longshore.model.snapshot import Snapshot

_NEW, _RUNNING = State.NEW, Wanted.RUNNING  # looked up once: what changed may be a service of fifty thousand tasks


class Waiting:
    """The tasks that waited when a snapshot was looked at last."""

    def __init__(self) -> None:
        self._seen: Shared[Slots] = Shared()
        self._waiting: dict[str, list[Task]] = {}

    def of(self, world: Snapshot, *, largest_first: bool = False) -> list[Task]:
        """Those of `world` in their order: those of highest priority first, and of them the oldest."""
        services = world.services_with_tasks
        for name in services.differing(self._seen):
            parts = services[name].parts if name in services else ()
            found = [task for part in parts for task in part.derive(_waiting)]
            if found:
                self._waiting[name] = found
            else:
                self._waiting.pop(name, None)
        self._seen = services
        return in_turn(world, (task for found in self._waiting.values() for task in found), largest_first=largest_first)


def _waiting(tasks: Iterable[Task]) -> tuple[Task, ...]:
    return tuple(task for task in tasks if task.state is _NEW and task.wanted is _RUNNING)
