"""Who waits for whom: the way from a service to those whose releases may start tasks once something of it changes.

Kept for as long as no service changes: snapshots share the table of services until then, so the table itself tells.
Knows names; what is waited for, and whether it has come, is `decide.dependencies`'.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from longshore.model.changes import Event
from longshore.model.objects import Kind, ReleasePhase, Service
from longshore.model.snapshot import Snapshot, service_of_task


class Dependents:
    """Of the newest world that was asked about."""

    def __init__(self) -> None:
        self._table: Mapping[str, Service] | None = None
        self._of: dict[str, list[str]] = {}

    def touched(self, event: Event, world: Snapshot) -> Iterable[str]:
        """Services that may wait for what the event tells of."""
        match event.kind:
            case Kind.SERVICE:
                name = event.id
            case Kind.TASK:
                name = service_of_task(event.id)
            case Kind.RELEASE:
                name = event.id.rpartition("@")[0]
            case Kind.NODE:
                # A global service has as many slots as there are nodes that it may be on.
                return [one for every in self._index(world).values() for one in every if _may_wait(world, one)]
            case _:
                return ()
        return [one for one in self._index(world).get(name, ()) if _may_wait(world, one)]

    def _index(self, world: Snapshot) -> Mapping[str, list[str]]:
        if self._table is not world.services:
            found = defaultdict(list)
            for name, service in sorted(world.services.items()):
                for dependency in service.spec.depends:
                    found[dependency.service].append(name)
            self._table, self._of = world.services, dict(found)
        return self._of


def _may_wait(world: Snapshot, name: str) -> bool:
    """Whether its release is still being rolled out; one that is done waits for nothing."""
    service = world.services.get(name)
    release = world.release(name, service.release) if service is not None else None
    return release is not None and release.phase in (ReleasePhase.ROLLING, ReleasePhase.PAUSED)
