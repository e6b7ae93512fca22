"""Which tasks of each node could give way to others, and which are about to leave it anyway.

Kept from pass to pass, and read anew only where a node's tasks changed; asked only where something of higher priority
finds no room. Tasks are kept in kinds: of one service, of one release, that serve or do not; those of a kind differ in
nothing but their age and their ports. Knows tasks and what they hold; not who may displace whom.
"""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

import msgspec

from longshore.decide.placement.ask import HostPort
from longshore.decide.placement.held import need_of
from longshore.model.lifecycle import ON_NODE, Wanted
from longshore.model.objects import Task
from longshore.model.sharing import Shared
from longshore.model.snapshot import Snapshot

Youth = tuple[float, int, int, str]
Aged = tuple[Youth, Task]
"""No two are equally young."""


class Sort(NamedTuple):
    """What tasks of a kind have in common."""

    service: str
    release: int
    serves: bool
    ports: tuple[HostPort, ...] = ()
    """Those that it has of host ports that are asked for; nothing is asked for where they are kept."""


class Here(msgspec.Struct, frozen=True):
    """The tasks of one node."""

    kinds: Mapping[Sort, list[Aged]]
    """Those that are wanted there, the youngest of each kind first."""
    counts: tuple[tuple[Sort, int], ...]
    """The same in numbers: nodes that have the same are alike to a search."""
    leaving: tuple[Task, ...]
    """Those that are on their way out, and still hold what they hold."""
    cpu_millis: int = 0
    """What these hold."""
    memory: int = 0
    disk: int = 0

    def without(self, gone: Container[str], ports: Iterable[HostPort]) -> "Here":
        """The same without some tasks, and with the kinds told apart by which of some host ports they have."""
        kinds: dict[Sort, list[Aged]] = {}
        for sort, those in self.kinds.items():
            for aged in those:
                if aged[1].id not in gone:
                    has = {(one.host, one.protocol) for one in aged[1].ports}
                    own = sort._replace(ports=tuple(port for port in ports if port in has))
                    kinds.setdefault(own, []).append(aged)
        return Here(kinds, counts_of(kinds), self.leaving)


def counts_of(kinds: Mapping[Sort, list[Aged]]) -> tuple[tuple[Sort, int], ...]:
    return tuple(sorted((sort, len(those)) for sort, those in kinds.items()))


NOBODY = Here({}, (), ())


def youth(task: Task) -> Youth:
    """The youngest first; of those that were made at one moment, the last by number."""
    return -task.created_at, -task.slot, -task.generation, task.service


class Yielding:
    """The nodes of the snapshot that was seen last."""

    def __init__(self) -> None:
        self._seen: Shared[Shared[Task]] = Shared()
        self._here: dict[str, Here] = {}
        self.left: dict[str, Here] = {}
        """Those from which a task is on its way out."""

    def see(self, world: Snapshot) -> None:
        """Be what `world` is."""
        before, self._seen = self._seen, world.nodes_with_tasks
        for name in self._seen.differing(before):
            here = self._here[name] = _here(world, world.tasks_of_node(name).values())
            if here.leaving:
                self.left[name] = here
            else:
                self.left.pop(name, None)
            if here is NOBODY:
                del self._here[name]

    def on(self, node: str) -> Here:
        return self._here.get(node, NOBODY)


def _here(world: Snapshot, tasks: Iterable[Task]) -> Here:
    kinds: dict[Sort, list[Aged]] = {}
    leaving = []
    for task in tasks:
        if task.state not in ON_NODE:
            continue
        if task.wanted is Wanted.RUNNING:
            sort = Sort(task.service, task.release, task.ready and not task.relieves)
            kinds.setdefault(sort, []).append((youth(task), task))
        else:
            leaving.append(task)
    if not kinds and not leaving:
        return NOBODY
    for those in kinds.values():
        those.sort()
    needs = [need for task in leaving if (need := need_of(world, task)) is not None]
    return Here(
        kinds,
        counts_of(kinds),
        tuple(sorted(leaving, key=youth)),
        sum(need[0] for need in needs),
        sum(need[1] for need in needs),
        sum(need[2] for need in needs),
    )
