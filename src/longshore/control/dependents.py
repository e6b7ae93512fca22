"""Who waits for whom: the way from a service to those whose releases may start tasks once something of it changes.

Kept from world to world, and put right by those services that differ.
Knows names; what is waited for, and whether it has come, is `decide.dependencies`'.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from longshore.model.changes import Event
from longshore.model.objects import Kind, ReleasePhase, Service, Task
from longshore.model.sharing import Shared
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.model.spec import Mode


class Dependents:
    """Of the newest world that was asked about."""

    def __init__(self) -> None:
        self._table: Shared[Service] = Shared()
        self._of: dict[str, set[str]] = defaultdict(set)

    def touched(self, events: Sequence[Event], world: Snapshot) -> list[str]:
        """Services that may wait for what the events tell of."""
        names = services_named(events)
        if any(event.kind is Kind.NODE for event in events):
            # A global service has as many slots as there are nodes that it may be on.
            names.update(dict.fromkeys(world.services.derive(names_by_node)))
        self._follow(world.services)
        waiting = (one for name in names for one in sorted(self._of.get(name, ())))
        return [one for one in waiting if _may_wait(world, one)]

    def _follow(self, services: Shared[Service]) -> None:
        for name in services.differing(self._table):
            for table, act in ((self._table, set[str].discard), (services, set[str].add)):
                service = table.get(name)
                for dependency in service.spec.depends if service is not None else ():
                    act(self._of[dependency.service], name)
        self._table = services


def services_named(events: Sequence[Event]) -> dict[str, None]:
    """The services that events tell of by themselves, their tasks or their releases: each once, in order."""
    named: dict[str, None] = {}
    for event in events:
        if isinstance(event.after, Task):
            named[event.after.service] = None
        elif event.kind is Kind.TASK:
            named[service_of_task(event.id)] = None
        elif event.kind is Kind.SERVICE:
            named[event.id] = None
        elif event.kind is Kind.RELEASE:
            named[event.id.rpartition("@")[0]] = None
    return named


def names_by_node(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Of those with a task on every node, now or for as long as they wait."""
    return tuple(name for name, service in services.items() if service.spec.mode is Mode.GLOBAL or service.spec.depends)


def _may_wait(world: Snapshot, name: str) -> bool:
    """Whether its release is still being rolled out; one that is done waits for nothing."""
    service = world.services.get(name)
    release = world.release(name, service.release) if service is not None else None
    return release is not None and release.phase in (ReleasePhase.ROLLING, ReleasePhase.PAUSED)
