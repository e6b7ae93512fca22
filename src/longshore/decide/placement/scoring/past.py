"""What happened on the nodes, as far as tasks are remembered: where images were started, and where services failed.

Kept from one snapshot to the next. Services whose tasks did not change are not looked at, and of those that did, only
the parts that did: what is said of a part is remembered with it. Knows tasks and nodes by name; no table, no score.
"""

from collections.abc import Iterable

from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.sharing import Shared, Slots
from longshore.model.snapshot import Snapshot

Started = frozenset[tuple[int, str]]
"""Releases, and nodes where a container of them was started."""
Failed = tuple[tuple[str, float], ...]
"""Nodes, and when a task failed there."""

FAILURES = (State.FAILED, State.REJECTED)


class Past:
    """Of the snapshot that was seen last."""

    def __init__(self) -> None:
        self._world = Snapshot()
        self._seen: Shared[Slots] = Shared()
        self._started: dict[str, dict[int, list[str]]] = {}
        """By service and release."""
        self._failed: dict[str, Failed] = {}
        """By service, of those that have any."""
        self._of_image: dict[str, dict[tuple[str, int], None]] = {}
        """Services and releases of which something was started; those that are gone are left out when asked about."""

    def see(self, world: Snapshot) -> None:
        """Be what `world` tells."""
        for name in world.services_with_tasks.differing(self._seen):
            self._read(world, name)
        self._world, self._seen = world, world.services_with_tasks

    def started(self, image: str) -> Iterable[str]:
        """The nodes where a container of this image was started: its layers are likely there."""
        kept = self._of_image.get(image, {})
        for service, number in [*kept]:
            release = self._world.release(service, number)
            nodes = self._started.get(service, {}).get(number)
            if nodes is None:
                del kept[service, number]
            elif release is not None and release.spec.image == image:
                yield from nodes

    def failed(self, service: str) -> Failed:
        """Where and when its tasks failed."""
        return self._failed.get(service, ())

    def _read(self, world: Snapshot, name: str) -> None:
        parts = [*world.tasks_of_service(name).parts]
        self._started.pop(name, None)
        for number, node in dict.fromkeys(pair for part in parts for pair in part.derive(_started)):
            release = world.release(name, number)
            if release is not None:
                self._started.setdefault(name, {}).setdefault(number, []).append(node)
                self._of_image.setdefault(release.spec.image, {})[name, number] = None
        failed = tuple(one for part in parts for one in part.derive(_failed))
        if failed:
            self._failed[name] = failed
        else:
            self._failed.pop(name, None)


def _started(tasks: Iterable[Task]) -> Started:
    return frozenset((task.release, task.node) for task in tasks if task.started_at is not None)


def _failed(tasks: Iterable[Task]) -> Failed:
    ended = [task for task in tasks if task.state in FAILURES]
    return tuple((task.node, task.finished_at) for task in ended if task.finished_at is not None)
